"""PostgreSQL is killed, restarted and away, in mid-run and in mid-tick."""

import signal
import time

import pytest

from tests.support.fault_proxy import Rule
from tests.support.reliability_report import Report, Row
from tests.support.reliability_site import Dropped, Site, kill

pytestmark = [pytest.mark.reliability, pytest.mark.timeout(420)]


def finish(site: Site, row: Row, batches: list[Dropped]) -> None:
    row.recovered_s = site.outcome_known(batches, 240)
    row.happened = site.story(batches)
    again = site.again(batches)
    site.check(batches, once=again == 0)
    row.batches = len(batches)
    row.retries = f"{again} batches" if again else "no"


def stop_postgres(site: Site, mode: str) -> None:
    """Stop the server; `watch` starts it again."""
    postgres = site.platform.postgres
    assert postgres is not None
    assert postgres.stop(mode)


def test_postgres_is_killed_in_the_middle_of_a_run(site: Site, report: Report) -> None:
    with report.scenario(30, "PostgreSQL: kill -9, started again at once", "mid-run") as row:
        batches = site.drop("pg-killed")
        site.wait(site.at_work(batches), 60, "a batch is at work")
        kill(site.postgres_pid())
        finish(site, row, batches)


@pytest.mark.reliability_full
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgres_is_restarted_in_the_middle_of_a_run(site: Site, report: Report, mode: str) -> None:
    number = 31 if mode == "fast" else 32
    with report.scenario(number, f"PostgreSQL: restart, mode {mode}", "mid-run") as row:
        batches = site.drop(f"pg-{mode}")
        site.wait(site.at_work(batches), 60, "a batch is at work")
        stop_postgres(site, mode)
        finish(site, row, batches)


@pytest.mark.reliability_full
def test_postgres_is_killed_in_the_middle_of_ticks(site: Site, report: Report) -> None:
    with report.scenario(33, "PostgreSQL: kill -9, five times", "mid-tick") as row:
        site.proxy.breaks(Rule("slow", seconds=0.2))  # so that a tick lasts
        batches = site.drop("pg-tick")
        for _ in range(5):
            site.wait(
                lambda: bool(site.sql("SELECT 1 FROM job_ticks WHERE status = 'STARTED'")), 60, "a tick is at work"
            )
            kill(site.postgres_pid())
            site.platform.watch()
            time.sleep(0.5)
        site.proxy.heals()
        finish(site, row, batches)


@pytest.mark.reliability_full
def test_postgres_is_away_in_the_middle_of_a_run(site: Site, report: Report) -> None:
    with report.scenario(34, "PostgreSQL: away", "mid-run, 20 s") as row:
        batches = site.drop("pg-away")
        site.wait(site.at_work(batches), 60, "a batch is at work")
        stop_postgres(site, "immediate")
        time.sleep(20)
        finish(site, row, batches)


@pytest.mark.reliability_full
def test_postgres_is_away_for_longer_than_a_run_tries(site: Site, report: Report) -> None:
    with report.scenario(35, "PostgreSQL: away", "mid-run, 60 s") as row:
        batches = site.drop("pg-away-long")
        site.wait(site.at_work(batches), 60, "a batch is at work")
        stop_postgres(site, "immediate")
        time.sleep(60)
        finish(site, row, batches)


@pytest.mark.reliability_full
def test_a_worker_dies_while_postgres_is_away(site: Site, report: Report) -> None:
    with report.scenario(36, "PostgreSQL away and the run worker killed meanwhile", "mid-run, 25 s") as row:
        batches = site.drop("pg-away-worker")
        site.wait(site.at_work(batches), 60, "a batch is at work")
        stop_postgres(site, "immediate")
        for worker in site.run_workers():
            worker.send_signal(signal.SIGKILL)
        time.sleep(25)
        finish(site, row, batches)
