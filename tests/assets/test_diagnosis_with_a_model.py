"""Diagnoses by a language model, through Dagster and PostgreSQL: paid once, reused, degraded and tried again."""

import json
import os
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from click.testing import CliRunner

from argus_assets.cli import root
from argus_assets.diagnosis import fast_path
from argus_assets.diagnosis.model import Diagnosis
from argus_assets.drop.keys import BatchRef
from argus_assets.drop.results import read_result
from argus_assets.jobs import rediagnose_job
from argus_assets.resources.diagnosis import DiagnosisResource
from argus_assets.schedules.rediagnose_degraded import build_rediagnose_schedule, find_degraded
from tests.support.scripted_model import ScriptedModel, Seen, error, says

pytestmark = pytest.mark.wiring

DAY = "2026-11-18"
TRUCK, HOT = f"{DAY}_truck-oil-pressure_b1", f"{DAY}_truck-overheating_b1"
KEY = "sk-very-secret-1234567890"


def engineer(seen: Seen) -> str:
    """Answers as a sensible model would: the first candidate, shown by the first item."""
    data = json.loads(seen.body["messages"][1]["content"].split("\n")[1])
    item, cause = data["items"][0], data["candidates"][0]["cause"]
    return json.dumps(
        {
            "summary": f"Look at {cause} first [{item['id']}].", "severity": "error", "drivable": "no",
            "root_causes": [
                {
                    "cause": cause, "title": cause, "system": "unknown", "kind": "unknown", "confidence": 0.7,
                    "explanation": f"It shows by [{item['id']}].", "checks": ["Look at it."],
                    "claims": [{"text": f"[{item['id']}] shows it.", "speaks": "for",
                                "evidence": [{"item": item["id"], "code": item["code"]}]}],
                }
            ],
        }
    )  # fmt: skip


@pytest.fixture
def with_model(site, tmp_path, monkeypatch):
    """Gives the site a model behind a URL, which is asked about each drive, however well known its fault is."""
    monkeypatch.setattr(fast_path, "MIN_CONFIDENCE", 2.0)

    def use(url: str, *, tokens: int = 100_000) -> DiagnosisResource:
        made = DiagnosisResource(
            database_url=os.environ["ARGUS_DATABASE_URL"], home=str(tmp_path / "home"), model="scripted-1", url=url,
            api_key=KEY, daily_tokens=tokens, deadline_s=5.0,
        )  # fmt: skip
        site.resources["diagnostician"] = made
        return made

    return use


def diagnosis_of(site, key: str) -> Diagnosis:
    return Diagnosis.model_validate_json(site.lake.read_bytes(f"batches/{key}/diagnosis.json"))


def metadata_of(site, key: str) -> dict[str, object]:
    records = dg.AssetRecordsFilter(asset_key=dg.AssetKey("diagnosis"), asset_partitions=[key])
    made = site.instance.fetch_materializations(records, limit=1).records[0].asset_materialization
    return {name: value.value for name, value in made.metadata.items()}


def test_a_model_answers_once_for_the_same_faults_and_the_ledger_knows(site, drives, with_model) -> None:
    with ScriptedModel([says(engineer)]) as server:
        resource = with_model(server.url)
        site.drop(drives["truck_oil_pressure"])
        (run,) = site.tick_and_run()
        assert run.success
        made = diagnosis_of(site, TRUCK)
        assert (made.mode, made.degraded, made.calls, made.prompt_tokens, made.cached_tokens) == (
            "llm",
            None,
            1,
            100,
            40,
        )
        assert made.model == "scripted-1"
        shown = metadata_of(site, TRUCK)
        assert (shown["mode"], shown["tokens"], shown["degraded"]) == ("llm", 120, "no")
        assert "cost_usd" not in shown, "nobody knows what it costs"
        result = read_result(site.bucket, BatchRef("truck-oil-pressure", "b1"))
        assert result.diagnosis["root_causes"][0]["claims"][0]["cites"][0]["recording_sha256"]
        checks = {
            e.asset_check_evaluation_data.check_name: e.asset_check_evaluation_data.passed
            for e in run.all_events
            if e.event_type_value == "ASSET_CHECK_EVALUATION"
        }
        assert checks["cites_evidence"]

        site.drop(drives["truck_oil_pressure"], batch_id="b2")
        site.tick_and_run()
        again = diagnosis_of(site, f"{DAY}_truck-oil-pressure_b2")
        assert (again.mode, again.calls, again.precedent) == ("cached", 0, TRUCK)
        assert again.root_causes[0].cause == made.root_causes[0].cause
        assert len(server.seen) == 1
        told = server.seen[0].text
        assert drives["truck_oil_pressure"].vin not in told
        assert "truck-oil-pressure" not in told, "a vehicle goes by its pseudonym"
        assert resource.pseudonym("truck-oil-pressure") in told
        today = resource.ledger().today()
        assert (today.spent, today.reserved, today.calls, today.calls_without_price) == (120, 0, 1, 1)
        logs = "\n".join(e.user_message for e in site.instance.all_logs(run.run_id))
        assert KEY not in logs


def test_a_second_drive_of_a_vehicle_knows_the_first(site, drives, with_model) -> None:
    with ScriptedModel([says(engineer)]) as server:
        with_model(server.url)
        site.drop(drives["truck_oil_pressure"])
        site.tick_and_run()
        site.drop(drives["truck_oil_pressure"], batch_id="b2")
        site.tick_and_run()
    evidence = json.loads(site.lake.read_bytes(f"batches/{DAY}_truck-oil-pressure_b2/evidence.json"))
    assert evidence["history"]["vehicle_drives"] == 1
    assert {item["history"]["vehicle"] for item in evidence["items"]} == {"recurring"}
    first = json.loads(site.lake.read_bytes(f"batches/{TRUCK}/evidence.json"))
    assert first["history"]["vehicle_drives"] == 0


def test_what_rules_had_to_answer_is_diagnosed_again_when_the_model_is_back(site, drives, with_model) -> None:
    site.drop(drives["truck_oil_pressure"])
    site.drop(drives["truck_overheating"])
    with ScriptedModel([error(401, "no such key")]) as server:
        with_model(server.url)
        site.tick_and_run()
    for key in (TRUCK, HOT):
        made = diagnosis_of(site, key)
        assert (made.mode, made.degraded) == ("offline", "model_failed")
        assert KEY not in made.model_dump_json()
        assert made.root_causes, "rules answer meanwhile"
    schedule = build_rediagnose_schedule(rediagnose_job)

    def requests():
        with dg.build_schedule_context(
            instance=site.instance, scheduled_execution_time=datetime(2026, 11, 19, 0, 7, tzinfo=UTC),
            resources={"diagnostician": site.resources["diagnostician"]},
        ) as context:  # fmt: skip
            return schedule.evaluate_tick(context).run_requests

    with ScriptedModel([says(engineer)]) as server:
        with_model(server.url, tokens=0)
        assert requests() == [], "without budget nothing is tried"
        with_model(server.url)
        wanted = requests()
        assert wanted
        for request in wanted:
            assert site.run(request, selection=["diagnosis", "batch_report"]).success
        assert {diagnosis_of(site, key).mode for key in (TRUCK, HOT)} == {"llm"}
        assert requests() == []
    assert find_degraded(site.instance, [TRUCK, HOT], since=datetime.now(UTC) - timedelta(days=1)) == []
    assert read_result(site.bucket, BatchRef("truck-oil-pressure", "b1")).diagnosis_mode == "llm"


def test_after_three_failures_a_person_has_to_look(site, drives, with_model) -> None:
    site.drop(drives["truck_oil_pressure"])
    with ScriptedModel([says("no JSON")]) as server:
        with_model(server.url)
        site.tick_and_run()
        for attempts in (1, 2, 3):
            (found,) = find_degraded(site.instance, [TRUCK], since=datetime.now(UTC) - timedelta(days=1))
            assert (found.reason, found.attempts) == ("invalid_answer", attempts)
            assert found.priority > 0
            site.run(dg.RunRequest(partition_key=TRUCK), selection=["diagnosis", "batch_report"])
    assert diagnosis_of(site, TRUCK).degraded == "invalid_answer"


def test_the_budget_command_tells_what_was_spent(site, drives, with_model, monkeypatch, tmp_path) -> None:
    with ScriptedModel([says(engineer)]) as server:
        with_model(server.url)
        site.drop(drives["truck_oil_pressure"])
        site.tick_and_run()
    monkeypatch.setenv("ARGUS_LLM_MODEL", "scripted-1")
    monkeypatch.setenv("ARGUS_BUCKET_URL", site.bucket.url)
    monkeypatch.setenv("ARGUS_HOME", str(tmp_path / "home"))
    run = CliRunner().invoke(root, ["budget", "--json"])
    assert run.exit_code == 0, run.output
    told = json.loads(run.output)
    assert (told["today"]["spent"], told["today"]["left"]) == (120, 99_880)
    text = CliRunner().invoke(root, ["budget"]).output
    assert "120 tokens spent" in text
    assert "cost unknown" in text
    calls = json.loads(CliRunner().invoke(root, ["budget", TRUCK, "--json"]).output)
    assert [c["outcome"] for c in calls] == ["answered"]
    assert "answered" in CliRunner().invoke(root, ["budget", TRUCK]).output
