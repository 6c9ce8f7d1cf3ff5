"""A `dagster.yaml` of one's own: of this version it is taken, of the last one it is told what to change."""

from pathlib import Path

import dagster as dg
import pytest
import yaml

from argus_assets.errors import BadSetting
from argus_assets.runtime.connection import dagster_yaml

NOW = yaml.safe_load(dagster_yaml().read_text())
FORMER = "argus_assets.resources."


def opened(home: Path, changed: dict[str, object]) -> None:
    (home / "dagster.yaml").write_text(yaml.safe_dump({**NOW, **changed}))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.run_coordinator
        assert instance.run_launcher


CHANGED = {
    "storage": {"storage": {"custom": {**NOW["storage"]["custom"], "module": FORMER + "storage"}}},
    "run_coordinator": {
        "run_coordinator": {"module": FORMER + "run_coordinator", "class": "SteadyRunCoordinator", "config": {}}
    },
    "run_launcher": {"run_launcher": {"module": FORMER + "run_launcher", "class": "WatchedRunLauncher"}},
    "celery_launcher": {"run_launcher": {"module": FORMER + "celery_launcher", "class": "WatchedCeleryLauncher"}},
}


@pytest.mark.parametrize("module", CHANGED)
def test_one_of_the_last_version_says_what_to_write_instead(module, tmp_path, database_url, monkeypatch) -> None:
    monkeypatch.setenv("ARGUS_DATABASE_URL", database_url)
    with pytest.raises(BadSetting, match=f"names {FORMER}{module}, which has moved") as told:
        opened(tmp_path, CHANGED[module])
    new = told.value.help.partition("module: ")[2].rstrip(".").partition(", class: ")
    assert new[0] == f"argus_assets.dagster_instance.{module}"
    if new[2]:
        assert new[2] == NOW[module]["class"]


def test_one_of_this_version_is_taken(tmp_path, database_url, monkeypatch) -> None:
    monkeypatch.setenv("ARGUS_DATABASE_URL", database_url)
    opened(tmp_path, {})
