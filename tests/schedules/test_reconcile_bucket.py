"""Dagster's database is lost or is older than the bucket, and every batch still comes to its end."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from click.testing import CliRunner

from argus_assets.cli import root
from argus_assets.drop.manifest import manifest_digest
from argus_assets.drop.results import BatchResult, write_result
from argus_assets.lake.reports import RECONCILE
from argus_assets.maintenance.reconcile import GRACE, ReconcileReport
from argus_assets.partitions import BATCHES
from argus_assets.schedules import reconcile_bucket as schedule
from argus_assets.schedules.reconcile_bucket import build_reconcile_job, is_due, known_batches, run_pass

RETAIN = timedelta(days=90)


def later(monkeypatch: pytest.MonkeyPatch, site, by: timedelta = GRACE * 2) -> None:
    """Let the store's clock be later than it is."""
    now = site.bucket.now
    monkeypatch.setattr(type(site.bucket), "now", lambda _: now() + by)


def test_a_lost_database_brings_back_what_has_no_outcome(site, drives, monkeypatch: pytest.MonkeyPatch) -> None:
    done, lost = drives["truck_oil_pressure"], drives["car_healthy"]
    site.drop(done)
    site.tick_and_run()
    site.drop(lost)
    site.tick()
    site.tick()  # its manifest has left the inbox, its run has never been started
    later(monkeypatch, site)
    known = known_batches(site.instance)
    assert {r.vehicle_id: k.state for r, k in known.items()} == {
        done.vehicle_id: "completed",
        lost.vehicle_id: "resting",
    }
    assert all(k.digest for k in known.values())

    # The database is gone: neither partitions nor events, and the sensor has no cursor.
    for key in site.instance.get_dynamic_partitions(BATCHES):
        site.instance.delete_dynamic_partition(BATCHES, key)
    site.instance.wipe_assets([dg.AssetKey("vehicle_drop"), dg.AssetKey("batch_report")])
    site.cursor = None
    result = build_reconcile_job(retain=RETAIN).execute_in_process(instance=site.instance, resources=site.resources)
    assert result.success
    report = RECONCILE.load(site.lake)
    assert report is not None
    assert report.put_back == [f"{lost.vehicle_id}/b1"], "the completed one has its outcome"
    (event,) = site.instance.fetch_observations(dg.AssetKey("vehicle_drop"), limit=10).records
    assert event.asset_observation.metadata["put_back"].value == 1

    (run,) = site.tick_and_run()
    assert run.success
    (key,) = site.instance.get_dynamic_partitions(BATCHES)
    assert site.made("batch_report", key) == 1


def test_a_run_that_was_never_started_is_found(site, drives, monkeypatch: pytest.MonkeyPatch) -> None:
    drive = drives["car_healthy"]
    site.drop(drive)
    site.tick()
    site.tick()
    assert run_pass(site.instance, site.bucket, site.lake, retain=RETAIN).put_back_count == 0, "it may be on its way"
    later(monkeypatch, site)
    assert run_pass(site.instance, site.bucket, site.lake, retain=RETAIN).put_back_count == 1
    (run,) = site.tick_and_run()
    assert run.success
    site.tick()
    assert run_pass(site.instance, site.bucket, site.lake, retain=RETAIN).put_back_count == 0


def test_the_command_looks_without_touching(site, drives, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.drop(drives["car_healthy"])
    site.tick()
    site.tick()
    later(monkeypatch, site)
    monkeypatch.setenv("ARGUS_BUCKET_URL", site.bucket.url)
    monkeypatch.setenv("ARGUS_LAKE_URL", str(tmp_path / "lake"))
    monkeypatch.setenv("ARGUS_HOME", str(tmp_path / "home"))
    told = CliRunner().invoke(root, ["reconcile", "--dry-run"], catch_exceptions=False).output
    assert "lost: car-healthy/b1" in told
    assert RECONCILE.load(site.lake) is None
    assert not site.bucket.list_inbox(limit=1)
    told = CliRunner().invoke(root, ["reconcile", "--json"], catch_exceptions=False).output
    assert ReconcileReport.model_validate_json(told).put_back == ["car-healthy/b1"]
    assert site.bucket.list_inbox(limit=1)


def test_a_pass_begins_once_a_day_and_is_finished() -> None:
    at = datetime(2026, 11, 25, schedule.HOUR, 17, tzinfo=UTC)
    done = ReconcileReport(started_at=at - timedelta(days=1), ended_at=at - timedelta(hours=23))
    hours = [at + timedelta(hours=h) for h in range(-2, 22)]
    assert [h for h in hours if is_due(None, h)] == [at]
    assert [h for h in hours[:4] if is_due(done, h)] == [at]
    assert is_due(done, at + timedelta(hours=2)), "the platform was down at its hour"
    assert all(is_due(done.model_copy(update={"ended_at": None}), hour) for hour in hours)


def wipe_drops(site) -> None:
    site.instance.wipe_assets([dg.AssetKey("vehicle_drop")])


def wipe_reports(site) -> None:
    site.instance.wipe_assets([dg.AssetKey("batch_report")])


def wipe_all(site) -> None:
    site.instance.wipe_assets(site.instance.all_asset_keys())


def delete_partitions(site) -> None:
    for key in site.instance.get_dynamic_partitions(BATCHES):
        site.instance.delete_dynamic_partition(BATCHES, key)


@pytest.mark.parametrize("act", [wipe_drops, wipe_reports, wipe_all, delete_partitions])
def test_what_a_person_wiped_in_the_ui_comes_back_once_and_nothing_completed_does(
    site, drives, monkeypatch: pytest.MonkeyPatch, act
) -> None:
    done, lost = drives["truck_oil_pressure"], drives["car_healthy"]
    site.drop(done)
    site.tick_and_run()
    site.drop(lost)
    site.tick()
    site.tick()
    frames = {key: site.made("rec_frames", key) for key in site.instance.get_dynamic_partitions(BATCHES)}
    act(site)
    later(monkeypatch, site)
    for expected in (1, 0):  # it waits in the inbox
        assert run_pass(site.instance, site.bucket, site.lake, retain=RETAIN).put_back_count == expected
    (run,) = site.tick_and_run()
    assert run.success
    site.tick()
    assert run_pass(site.instance, site.bucket, site.lake, retain=RETAIN).put_back_count == 0
    for key, before in frames.items():
        assert site.made("batch_report", key) == (lost.vehicle_id in key or act in (wipe_drops, delete_partitions))
        if done.vehicle_id in key:
            assert site.made("rec_frames", key) == (0 if act is wipe_all else before)


@pytest.mark.parametrize("act", [wipe_drops, delete_partitions])
def test_a_batch_at_work_is_left_alone(site, drives, monkeypatch: pytest.MonkeyPatch, act) -> None:
    site.drop(drives["car_healthy"])
    (request,) = site.tick().run_requests or ()
    site.tick()
    site.instance.create_run_for_job(
        dg.job(name="at_work")(lambda: None),
        tags={**request.tags, "dagster/partition": request.partition_key},
        status=dg.DagsterRunStatus.STARTED,
    )
    act(site)
    later(monkeypatch, site)
    assert run_pass(site.instance, site.bucket, site.lake, retain=RETAIN).put_back_count == 0
    (run,) = site.instance.get_runs(filters=dg.RunsFilter(job_name="at_work"))
    site.instance.delete_run(run.run_id)
    assert run_pass(site.instance, site.bucket, site.lake, retain=RETAIN).put_back_count == 1


def test_what_failed_for_good_and_was_wiped_is_tried_once_more_and_then_known(
    site, drives, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = drives["car_healthy"]
    manifest = site.drop(drive)
    (request,) = site.tick().run_requests or ()
    site.tick()
    result = BatchResult(
        vehicle_id=manifest.vehicle_id,
        batch_id=manifest.batch_id,
        partition_key=request.partition_key,
        manifest_digest=manifest_digest(site.bucket.read(_accepted(site), max_bytes=10**6)),
        state="failed",
        at=datetime.now(UTC),
        error_is_permanent=True,
    )
    write_result(site.bucket, result)
    wipe_drops(site)
    later(monkeypatch, site)
    assert run_pass(site.instance, site.bucket, site.lake, retain=RETAIN).put_back_count == 1
    assert all(run.success for run in site.tick_and_run())
    assert site.made("batch_report", request.partition_key) == 1


def _accepted(site) -> str:
    (info,) = site.bucket.iterate("accepted/")
    return info.key
