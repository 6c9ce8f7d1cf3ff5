"""The schedule that runs failed batches again, on what really failed."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from argus_assets.assets import batch_assets as batch_module
from argus_assets.assets import run as run_module
from argus_assets.drop.keys import BatchRef
from argus_assets.drop.results import read_result
from argus_assets.errors import Unavailable
from argus_assets.event_log.states import partition_states
from argus_assets.partitions import BATCHES
from argus_assets.pipeline import stages_from
from argus_assets.schedules.rerun_failed_batches import find_failed, rerun_failed
from argus_assets.sensors.crashed_runs import CrashedRunsCursor, write_missing_results
from tests.support.stages import made_by

pytestmark = pytest.mark.wiring

DAY = "2026-11-18"
KEY = f"{DAY}_car-healthy_b1"


def later(minutes: float) -> datetime:
    return datetime.now(UTC) + timedelta(minutes=minutes)


def failures(site, key: str = KEY) -> list[str]:
    existing = site.instance.get_dynamic_partitions(BATCHES)
    found = find_failed(site.instance, existing, since=datetime.now(UTC) - timedelta(days=1))
    return [f.kind for b in found if b.partition == key for f in b.failures]


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a run nothing is waited for."""
    monkeypatch.setattr(run_module.time, "sleep", lambda _: None)


def away(*_: object) -> None:
    raise Unavailable("The bucket did not answer.", help="Wait.")


def test_a_transient_failure_runs_again_after_its_pause_from_where_it_stopped(site, drives, no_pauses) -> None:
    site.drop(drives["car_healthy"])
    (request,) = site.tick().run_requests
    with made_by("error_stats", away):
        assert not site.run(request).success
        assert failures(site) == ["transient"]
        assert isinstance(rerun_failed(site.instance, now=datetime.now(UTC)), dg.SkipReason), "its pause is not over"
        (again,) = rerun_failed(site.instance, now=later(3))
        assert [k.to_user_string() for k in again.asset_selection] == list(stages_from("error_stats"))
        assert again.tags["argus/why"] == "rerun_failed"
        assert not site.run(again, selection=again.asset_selection).success
    assert failures(site) == ["transient", "transient"]
    assert isinstance(rerun_failed(site.instance, now=later(9)), dg.SkipReason), "the second pause is longer"
    (third,) = rerun_failed(site.instance, now=later(11))
    assert third.run_key != again.run_key
    assert site.run(third, selection=third.asset_selection).success
    assert site.made("rec_frames", KEY) == 1
    assert site.made("batch_report", KEY) == 1
    assert isinstance(rerun_failed(site.instance, now=later(600)), dg.SkipReason)
    assert partition_states(site.instance, [KEY])[KEY][0] == "completed"


def test_what_is_wrong_with_the_drop_stays_for_a_person_until_it_is_dropped_again(site, drives) -> None:
    site.drop(drives["car_healthy"])
    (request,) = site.tick().run_requests
    shutil.rmtree(Path(site.bucket.url) / "batches" / "car-healthy")
    assert not site.run(request).success
    assert failures(site) == ["quarantined"]
    skipped = rerun_failed(site.instance, now=later(10_000))
    assert isinstance(skipped, dg.SkipReason)
    assert "1 need a person" in skipped.skip_message
    site.drop(drives["car_healthy"], release="2026.11")
    (repaired,) = site.tick().run_requests
    assert failures(site) == [], "failures of another manifest do not count"
    assert site.run(repaired).success


def test_a_run_that_died_is_a_crash_and_the_second_stays_for_a_person(site, drives, monkeypatch) -> None:
    site.drop(drives["car_healthy"])
    (request,) = site.tick().run_requests

    def dies(*_: object, **__: object) -> None:
        raise dg.DagsterExecutionInterruptedError

    with monkeypatch.context() as broken:
        broken.setattr(batch_module, "take_batches", dies)
        assert not site.run(request).success
        assert failures(site) == ["crashed"]
        (again,) = rerun_failed(site.instance, now=later(3))
        assert not site.run(again, selection=again.asset_selection).success
    assert failures(site) == ["crashed", "crashed"]
    assert isinstance(rerun_failed(site.instance, now=later(10_000)), dg.SkipReason)


@pytest.mark.parametrize(
    ("canceling", "canceled", "kind"),
    [
        (["Sending run termination request."], "", "cancelled"),
        ([], "This pipeline was forcibly marked as canceled from outside the execution context.", "cancelled"),
        (["Canceling due to exceeding maximum runtime of 7200 seconds.", "Sending run termination request."], "",
         "crashed"),
    ],
    ids=["cancelled", "by force before it began", "out of time"],
)  # fmt: skip
def test_what_a_person_cancelled_stays_for_a_person(
    site, drives, monkeypatch, canceling: list[str], canceled: str, kind: str
) -> None:
    cursor = CrashedRunsCursor(updated_at=(datetime.now(UTC) - timedelta(minutes=1)).timestamp()).model_dump_json()
    site.drop(drives["car_healthy"])
    (request,) = site.tick().run_requests

    def dies(*_: object, **__: object) -> None:
        (run,) = site.instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        for message in canceling:
            site.instance.report_run_canceling(run, message=message)
        if canceled:
            site.instance.report_run_canceled(run, message=canceled)
        raise dg.DagsterExecutionInterruptedError

    with monkeypatch.context() as broken:
        broken.setattr(batch_module, "take_batches", dies)
        site.run(request)
    assert failures(site) == [kind]
    write_missing_results(site.instance, cursor, site.bucket, now=later(1))
    outcome = read_result(site.bucket, BatchRef("car-healthy", "b1"))
    assert outcome is not None
    assert outcome.error is not None
    assert ("argus rerun" in outcome.error) is (kind == "cancelled")
    again = rerun_failed(site.instance, now=later(10_000))
    assert isinstance(again, dg.SkipReason) is (kind == "cancelled")
    if kind == "cancelled":
        # A person asks for it: it is made, and nothing remembers.
        job = site.run(request)
        assert job.success
        assert failures(site) == []


def test_a_batch_in_a_run_is_not_started_beside_it(site, drives, no_pauses) -> None:
    site.drop(drives["car_healthy"])
    (request,) = site.tick().run_requests
    with made_by("rec_frames", away):
        assert not site.run(request).success
    (again,) = rerun_failed(site.instance, now=later(3))
    job = dg.Definitions(
        assets=[batch_module.batch_assets], jobs=[dg.define_asset_job("again", selection="*")], resources=site.resources
    ).resolve_job_def("again")
    site.instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.STARTED, tags={**again.tags, "dagster/partition": again.partition_key}
    )
    assert isinstance(rerun_failed(site.instance, now=later(3)), dg.SkipReason)
