"""Processes that live and do nothing: a run worker that sleeps or computes for ever, a code server that sleeps."""

import os
import signal
import time

import dagster as dg
import psutil
import pytest

from argus_assets.event_log.queries import is_cancelled_by_person
from argus_assets.pipeline import BatchState
from tests.support.reliability_report import Report, Row
from tests.support.reliability_site import Dropped, Site

pytestmark = [pytest.mark.reliability, pytest.mark.timeout(420)]

FEW = ("truck_oil_pressure", "car_healthy")


def working(site: Site) -> list[str]:
    with site.instance() as instance:
        return [r.run_id for r in instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))]


def cancel(site: Site, run_ids: list[str], *, by_force: bool = False) -> None:
    """What the UI does, in another process than code server and daemon."""
    with site.instance() as instance:
        for run_id in run_ids:
            began = time.monotonic()
            assert instance.run_coordinator.cancel_run(run_id)
            assert time.monotonic() - began < 10, "it waits for the worker"
            if by_force:
                run = instance.get_run_by_id(run_id)
                assert run is not None
                instance.report_run_canceled(run)


def hold(site: Site, batches: list[Dropped], number: int) -> tuple[list[psutil.Process], list[str]]:
    """Have every worker receive a signal while it is at work; returns the workers and their runs."""
    site.wait(site.at_work(batches), 60, "a batch is at work")
    workers, runs = site.run_workers(), working(site)
    assert workers
    for worker in workers:
        worker.send_signal(number)
    return workers, runs


def person_asks_again(site: Site, row: Row, batches: list[Dropped]) -> None:
    """What was cancelled stays failed, and is made when a person asks for it."""
    row.recovered_s = site.outcome_known(batches, 120)
    row.happened = site.story(batches)
    cancelled = [b for b in batches if site.states([b])[b.partition] is BatchState.FAILED]
    assert cancelled
    for batch in cancelled:
        site.put_manifest(batch.manifest)
    site.settle(batches, 120)
    site.check(batches, once=False)
    row.batches = len(batches)
    row.retries = f"{len(cancelled)} batches, by a person"


def is_over(site: Site, runs: list[str], workers: list[psutil.Process]) -> bool:
    with site.instance() as instance:
        found = [instance.get_run_by_id(run_id) for run_id in runs]
        ended = all(run is not None and is_cancelled_by_person(instance, run) for run in found)
    return ended and not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)


@pytest.mark.parametrize(
    ("number", "fault", "held_by", "by_force"),
    [
        pytest.param(55, "run worker: stopped (SIGSTOP), then its run is cancelled", signal.SIGSTOP, False),
        pytest.param(
            56, "run worker: holds the interpreter's lock for ever, then its run is cancelled", signal.SIGUSR1, False
        ),
        pytest.param(
            57,
            "run worker: holds the interpreter's lock for ever, then its run is cancelled by force",
            signal.SIGUSR1,
            True,
            marks=pytest.mark.reliability_full,
        ),
    ],
    ids=["stopped", "computes", "computes, by force"],
)
def test_a_worker_that_does_not_answer_is_ended_and_stops_nothing_else(
    site: Site, report: Report, number: int, fault: str, held_by: signal.Signals, by_force: bool
) -> None:
    with report.scenario(number, fault, "mid-run, other batches are dropped meanwhile") as row:
        batches = site.drop(f"held-{number}", FEW)
        workers, runs = hold(site, batches, held_by)
        cancel(site, runs, by_force=by_force)
        others = site.drop(f"beside-{number}", ("car_healthy",))
        site.wait(lambda: is_over(site, runs, workers), 60, "the worker is gone, its run is cancelled")
        site.outcome_known(others)
        site.check(others)
        assert not any("code server" in name for name, _ in site.told), "it was not started again for it"
        person_asks_again(site, row, batches)


def test_a_code_server_that_sleeps_is_started_again(site: Site, report: Report) -> None:
    with report.scenario(58, "code server: stopped (SIGSTOP)", "mid-run") as row:
        batches = site.drop("code-server-stopped", FEW)
        site.wait(site.at_work(batches), 60, "a batch is at work")
        workers = site.run_workers()
        stopped = site.child("code server")
        os.kill(stopped, signal.SIGSTOP)
        site.wait(lambda: site.child("code server") != stopped, 90, "it is started again")
        assert ("code server", "no longer answers, killed with its run workers") in site.told
        assert not any(w.is_running() and w.status() != psutil.STATUS_ZOMBIE for w in workers)
        row.recovered_s = site.outcome_known(batches, 240)
        row.happened = site.story(batches)
        assert site.again(batches) == 0
        site.check(batches)
        row.batches = len(batches)
