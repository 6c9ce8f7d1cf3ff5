"""Alert rules, runbook and figures belong together: each alert has its section, each figure it asks for is told."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from argus_assets.monitoring.metrics import SOURCES, Snapshot, example, families

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "argus.rules.yaml"
RUNBOOK = ROOT / "docs" / "operations.md"


def scraped(snapshot: Snapshot):
    class Once:
        def collect(self):
            return families(snapshot)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())
    return list(text_string_to_metric_families(generate_latest(registry).decode()))


TOLD = {sample.name: set(sample.labels) for family in scraped(example()) for sample in family.samples}
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_has_a_runbook_and_asks_for_what_is_told(rule) -> None:
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert ROOT / page == RUNBOOK
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^#|\Z)", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL))
    assert anchor == rule["alert"].lower()
    text = sections[rule["alert"]]
    assert "*Look:*" in text
    assert "*Do:*" in text
    asked = re.findall(r"\bargus_\w+", rule["expr"])
    assert asked
    assert set(asked) <= TOLD.keys()
    for name, label in re.findall(r"(argus_\w+)\{(\w+)=", rule["expr"]):
        assert label in TOLD[name]
    for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
        assert any(label in TOLD[name] for name in asked)
    assert rule["labels"]["severity"] in {"page", "ticket"}


def test_every_section_of_the_runbook_is_of_an_alert() -> None:
    assert sorted(re.findall(r"^### (\w+)$", RUNBOOK.read_text(), re.MULTILINE)) == sorted(r["alert"] for r in ALERTS)


def test_queries_of_the_runbook_ask_for_what_is_told() -> None:
    asked = set(re.findall(r"\bargus_[a-z_]+", RUNBOOK.read_text()))
    assert asked
    assert asked <= TOLD.keys() | {name.removesuffix("_bucket") for name in TOLD}


def test_names_follow_the_conventions() -> None:
    for family in scraped(example()):
        assert family.documentation.endswith(".")
        assert re.fullmatch(r"argus_[a-z_]+", family.name)
        assert not re.search(r"_(ms|kb|mb|minutes|hours)$", family.name)
        names = {sample.name for sample in family.samples}
        if family.type == "counter":
            assert names == {f"{family.name}_total"}


@pytest.mark.parametrize("source", SOURCES)
def test_a_missing_source_is_told_and_nothing_is_made_up_for_it(source) -> None:
    field = {"records": "records", "bucket": "inbox", "lake": "upkeep", "budget": "tokens", "outbox": "outbox"}[source]
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in scraped(replace(example(), **{field: None}))
        for sample in family.samples
    }
    assert found["argus_source_up", source] == 0
    assert sum(found["argus_source_up", s] for s in SOURCES) == len(SOURCES) - 1
    gone = TOLD.keys() - {name for name, *_ in found}
    assert gone
    assert all(name.startswith("argus_") for name in gone)


@pytest.mark.parametrize("answers", [True, False, None])
def test_a_code_server_is_told_where_its_address_is_known(answers: bool | None) -> None:
    snapshot = replace(example(), code_server=answers)
    told = {s.labels["source"]: s.value for f in scraped(snapshot) if f.name == "argus_source_up" for s in f.samples}
    assert told.get("code_server") == (None if answers is None else float(answers))
    assert ("code_server" in snapshot.missing) is (answers is False)


def test_prometheus_takes_the_rules_and_they_fire_when_they_should() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: Debian's package prometheus has it")
    for command in (["check", "rules", RULES.name], ["test", "rules", "argus.rules.test.yaml"]):
        done = subprocess.run([promtool, *command], cwd=RULES.parent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
