"""Runs that were killed or cancelled: their batches' outcomes are told all the same, by a sensor that keeps up."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from argus_assets.drop.keys import BatchRef
from argus_assets.drop.results import read_result
from argus_assets.event_log.states import partition_states
from argus_assets.sensors.crashed_runs import PAGE, CrashedRunsCursor, write_missing_results
from argus_assets.status import timeline

pytestmark = pytest.mark.wiring

DAY = "2026-11-18"


def start() -> str:
    return CrashedRunsCursor(updated_at=(datetime.now(UTC) - timedelta(minutes=1)).timestamp()).model_dump_json()


def look(site, cursor: str) -> dg.SensorResult:
    later = datetime.now(UTC) + timedelta(minutes=1)
    result = write_missing_results(site.instance, cursor, site.bucket, now=later)
    for event in result.asset_events:
        site.instance.report_runless_asset_event(event)
    return result


def result_of(site, batch: str):
    return read_result(site.bucket, BatchRef("car-healthy", batch))


def test_a_batch_whose_worker_died_gets_its_outcome_once(site, drives) -> None:
    cursor = start()
    for number in range(3):
        site.drop(drives["car_healthy"], batch_id=f"b{number}")
    (request,) = site.tick().run_requests
    shutil.rmtree(Path(site.bucket.url) / "batches" / "car-healthy" / "b1")
    assert not site.run(request).success
    # b0 and b2 are completed, b1 has told why it failed; now as if the worker had died before it could.
    told = result_of(site, "b1")
    assert told.state == "quarantined"
    site.bucket.delete("results/car-healthy/b1.json")
    before = {n: result_of(site, n) for n in ("b0", "b2")}
    result = look(site, cursor)
    assert len(result.asset_events) == 1
    written = result_of(site, "b1")
    assert (written.state, written.error_is_permanent, written.partition_key) == (
        "failed", False, f"{DAY}_car-healthy_b1",
    )  # fmt: skip
    assert written.manifest_digest == told.manifest_digest
    assert {n: result_of(site, n) for n in ("b0", "b2")} == before, "the others are not touched"
    assert timeline(site.instance, f"{DAY}_car-healthy_b1")[-1].details["crashed"] is True
    again = look(site, result.cursor)
    assert not again.asset_events
    assert result_of(site, "b1") == written


def test_a_newer_outcome_stands_and_a_run_that_starts_again_is_waited_for(site, drives) -> None:
    cursor = start()
    site.drop(drives["car_healthy"], batch_id="b0")
    (request,) = site.tick().run_requests
    shutil.move(Path(site.bucket.url) / "batches", Path(site.bucket.url) / "aside")
    run = site.run(request)
    site.bucket.delete("results/car-healthy/b0.json")
    site.instance.add_run_tags(run.run_id, {"dagster/will_retry": "true"})
    result = look(site, cursor)
    assert not result.asset_events
    assert result_of(site, "b0") is None
    shutil.move(Path(site.bucket.url) / "aside", Path(site.bucket.url) / "batches")
    assert site.run(request).success
    site.instance.add_run_tags(run.run_id, {"dagster/will_retry": "false"})
    result = look(site, cursor)
    assert not result.asset_events
    assert result_of(site, "b0").state == "completed"
    assert partition_states(site.instance, [request.partition_key])[request.partition_key][0] == "completed"


def test_a_clock_that_was_set_back_makes_no_run_unseen(site, drives) -> None:
    site.drop(drives["car_healthy"])
    (request,) = site.tick().run_requests
    shutil.move(Path(site.bucket.url) / "batches", Path(site.bucket.url) / "aside")
    assert not site.run(request).success
    site.bucket.delete("results/car-healthy/b1.json")
    ten_years_on = datetime.now(UTC) + timedelta(days=3650)
    result = look(site, CrashedRunsCursor(updated_at=ten_years_on.timestamp()).model_dump_json())
    assert len(result.asset_events) == 1
    assert result_of(site, "b1").state == "failed"
    assert CrashedRunsCursor.model_validate_json(result.cursor).updated_at < ten_years_on.timestamp()


def test_hundreds_of_ended_runs_are_looked_at_in_a_tick(site) -> None:
    cursor = start()
    job = dg.define_asset_job("nothing", selection=dg.AssetSelection.assets("a"))

    @dg.asset
    def a() -> None: ...

    resolved = dg.Definitions(assets=[a], jobs=[job]).resolve_job_def("nothing")
    for _ in range(PAGE + 5):
        run = site.instance.create_run_for_job(resolved, status=dg.DagsterRunStatus.FAILURE)
        assert run.status is dg.DagsterRunStatus.FAILURE
    ticks = 0
    while True:
        result = look(site, cursor)
        ticks += 1
        if result.cursor == cursor:
            break
        cursor = result.cursor
    assert ticks == 2, "the second finds nothing; Dagster's own failure sensor looks at five in a tick"


def test_the_first_look_begins_at_the_present(site) -> None:
    result = write_missing_results(site.instance, None, site.bucket, now=datetime(2026, 11, 25, tzinfo=UTC))
    assert (
        CrashedRunsCursor.model_validate_json(result.cursor).updated_at
        == datetime(2026, 11, 25, tzinfo=UTC).timestamp()
    )
