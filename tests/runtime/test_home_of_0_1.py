"""A home that version 0.1 made opens and goes on: what it holds is shown, and is processed further."""

import gzip
import json
import os
import tarfile
from pathlib import Path

import dagster as dg
import psycopg2
import pytest
from click.testing import CliRunner

from argus_assets.cli import root
from argus_assets.definitions import build_defs
from argus_assets.runtime.connection import connect
from argus_assets.settings import Settings
from tests.support.dagster_home import new_database

pytestmark = pytest.mark.wiring

KEPT = Path(__file__).parent / "home_0_1"
PARTITION = "2026-11-18_car-01_drive-0001"
CAUSE = "ignition_coil_cylinder_1"


@pytest.fixture
def home(tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch):
    with tarfile.open(KEPT / "home.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "dagster").mkdir()
    # As that version left it: it names modules that have moved since.
    (tmp_path / "dagster" / "dagster.yaml").write_text(
        "run_coordinator: {module: argus_assets.resources.run_coordinator, class: SteadyRunCoordinator}\n"
    )
    tmp_path.chmod(0o700)
    with new_database(postgres, "template0") as url:
        connection = psycopg2.connect(url)
        with connection, connection.cursor() as cursor:
            cursor.execute(gzip.decompress((KEPT / "database.sql.gz").read_bytes()).decode())
        connection.close()
        monkeypatch.setenv("ARGUS_HOME", str(tmp_path))
        monkeypatch.setenv("ARGUS_DATABASE_URL", url)
        yield tmp_path


def status() -> dict[str, object]:
    result = CliRunner().invoke(root, ["status", "--json"])
    assert result.exception is None, result.output
    return {batch["partition_key"]: batch for batch in json.loads(result.output)}[PARTITION]


def test_what_it_holds_is_shown(home: Path) -> None:
    batch = status()
    assert batch["state"] == "completed"
    events = CliRunner().invoke(root, ["events", PARTITION])
    assert events.exception is None, events.output
    assert f"cause={CAUSE}" in events.output


def test_its_batches_are_diagnosed_anew_from_its_lake(home: Path) -> None:
    definitions = build_defs(Settings.from_env(os.environ))
    with connect() as (instance, _):
        done = definitions.resolve_job_def("batch_job").execute_in_process(
            instance=instance,
            partition_key=PARTITION,
            asset_selection=[dg.AssetKey("diagnosis"), dg.AssetKey("batch_report")],
        )
        assert done.success
        made = instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey("diagnosis"), asset_partitions=[PARTITION]), limit=10
        ).records
    assert len(made) == 2, "that of version 0.1, and this one"
    assert {record.asset_materialization.metadata["cause"].value for record in made} == {CAUSE}
    assert status()["state"] == "completed"
