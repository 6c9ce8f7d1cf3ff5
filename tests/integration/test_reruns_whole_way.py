"""Batches run again by the real daemon: a backfill as the Dagster UI starts one, and `argus rerun`."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from argus_assets.cli import root
from argus_assets.drop.bucket import Bucket
from argus_assets.event_log.states import partition_states
from argus_assets.partitions import BATCHES
from argus_assets.pipeline import STAGES, BatchState
from argus_assets.runtime.supervisor import LOCATION, Supervisor
from argus_assets.settings import Settings
from argus_assets.simulate.drop import drop_drive
from argus_assets.simulate.fleet import simulate_drive

pytestmark = [pytest.mark.integration, pytest.mark.timeout(420)]

WAIT_SECONDS = 150.0
LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that PostgreSQL's own user can reach."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="argus-it-") as folder:
        yield Path(folder)


@pytest.fixture
def platform(home: Path) -> Iterator[Supervisor]:
    made = Supervisor(
        Settings(home=home, bucket_url=str(home / "bucket"), lake_url=str(home / "lake"), sensor_interval_s=1, port=0)
    )
    made.start()
    try:
        yield made
    finally:
        made.stop()


def drop(home: Path, folder: Path, count: int) -> None:
    drive = simulate_drive(
        folder / "drive", scenario="truck_oil_pressure", seed=2, vehicle_id="truck", vin="1M8GDM9AXKP042788",
        release="1", batch_id="b", started_ns=1_795_000_000 * 10**9, seconds=10,
    )  # fmt: skip
    bucket = Bucket.from_url(str(home / "bucket"))
    for number in range(count):
        drop_drive(bucket, replace(drive, batch_id=f"b{number}"))


def made(instance: dg.DagsterInstance, key: str) -> list[int]:
    def count(asset: str) -> int:
        records = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key])
        return len(instance.fetch_materializations(records, limit=100).records)

    return [count(stage) for stage in STAGES]


def wait(platform: Supervisor, reached: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not reached():
        assert time.monotonic() < deadline, what + "\n" + "\n".join(c.tail(30) for c in platform.children)
        platform.watch()
        time.sleep(0.3)


def ask(platform: Supervisor, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{platform.ui_url}/graphql",
        data=json.dumps({"query": query, "variables": variables}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["data"]


def test_a_backfill_of_keys_that_are_no_neighbours_and_a_rerun(
    platform: Supervisor, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(home, tmp_path, 4)
    with platform.instance() as instance:
        keys: list[str] = []

        def all_completed() -> bool:
            keys[:] = instance.get_dynamic_partitions(BATCHES)
            states = {state for state, _ in partition_states(instance, keys).values()}
            return len(keys) == 4 and states == {BatchState.COMPLETED}

        wait(platform, all_completed, "batches are completed")
        before = len(instance.get_runs())

        # As the UI does: three of four keys, two of them neighbours, two of the five assets.
        chosen = [keys[0], keys[1], keys[3]]
        launched = ask(
            platform,
            LAUNCH,
            {
                "params": {
                    "partitionNames": chosen,
                    "assetSelection": [{"path": ["diagnosis"]}, {"path": ["batch_report"]}],
                    "title": "again",
                }
            },
        )["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        wait(
            platform,
            lambda: [made(instance, k) for k in chosen] == [[1, 1, 1, 2, 2]] * 3,
            f"the backfill runs {[made(instance, k) for k in keys]}",
        )
        assert made(instance, keys[2]) == [1] * 5, "a key that was not chosen is left alone"
        assert len(instance.get_runs()) - before == 2, "one run for each stretch of neighbours"

        for name, value in (("HOME", home), ("BUCKET_URL", home / "bucket"), ("LAKE_URL", home / "lake")):
            monkeypatch.setenv(f"ARGUS_{name}", str(value))
        asked = CliRunner().invoke(root, ["rerun", "truck/b2", "--from-stage", "error_stats", "--yes"])
        assert asked.exit_code == 0, asked.output + repr(asked.exception)
        wait(platform, lambda: made(instance, keys[2])[2] == 2, "the request is carried out")
        wait(platform, all_completed, "and ends")
        assert made(instance, keys[2]) == [1, 1, 2, 1, 1], "the same came out: what follows stays"
        (run,) = instance.get_runs(filters=dg.RunsFilter(tags={"argus/why": "rerun"}))
        assert run.tags["dagster/priority"] == "-1"
        assert LOCATION in str(run.remote_job_origin)
