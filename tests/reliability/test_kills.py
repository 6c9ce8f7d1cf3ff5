"""kill -9 of the run worker, the code server, the daemon and everything; two daemons by mistake."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from argus_assets.pipeline import BatchState
from argus_assets.runtime.embedded.s3 import S3Server
from argus_assets.simulate.fleet import Drive
from tests.support.reliability_report import Report, Row
from tests.support.reliability_site import Dropped, Site, kill, running_site

pytestmark = [pytest.mark.reliability, pytest.mark.timeout(420)]


def finish(site: Site, row: Row, batches: list[Dropped]) -> None:
    """A process that is killed once costs no batch: all are completed, and nobody drops them again."""
    row.recovered_s = site.outcome_known(batches, 240)
    row.happened = site.story(batches)
    assert site.again(batches) == 0
    site.check(batches)
    row.batches = len(batches)
    row.retries = "no"


def kill_workers(site: Site) -> int:
    workers = site.run_workers()
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
    return len(workers)


def test_the_run_worker_is_killed(site: Site, report: Report) -> None:
    with report.scenario(40, "run worker: kill -9", "mid-run") as row:
        batches = site.drop("worker-killed")
        site.wait(site.at_work(batches), 60, "a batch is at work")
        assert kill_workers(site) >= 1
        finish(site, row, batches)


@pytest.mark.reliability_full
def test_the_run_worker_is_killed_again_and_again(site: Site, report: Report) -> None:
    with report.scenario(41, "run worker: kill -9, each time it is started", "mid-run") as row:
        batches = site.drop("worker-killed-always")
        killed = 0
        deadline = time.monotonic() + 180
        # Until Dagster gives up. A drive whose manifests came between two looks is in two runs.
        while not all(state is BatchState.FAILED for state in site.states(batches).values()):
            assert time.monotonic() < deadline, site.run_lines()
            killed += kill_workers(site)
            time.sleep(0.1)
        assert killed >= 4
        row.recovered_s = site.outcome_known(batches)
        row.happened = site.story(batches)
        again = site.again(batches)
        site.check(batches, once=False)
        row.batches = len(batches)
        row.retries = f"{again} batches"
        assert again == len(batches)


@pytest.mark.parametrize("name", [pytest.param("code server", marks=pytest.mark.reliability_full), "daemon"])
def test_a_part_of_the_platform_is_killed(site: Site, report: Report, name: str) -> None:
    with report.scenario(42 if name == "daemon" else 43, f"{name}: kill -9", "mid-run") as row:
        batches = site.drop(f"{name.replace(' ', '-')}-killed")
        site.wait(site.at_work(batches), 60, "a batch is at work")
        os.killpg(site.child(name), signal.SIGKILL)
        finish(site, row, batches)


@pytest.mark.reliability_full
def test_only_the_code_servers_process_is_killed_and_its_workers_end_with_it(site: Site, report: Report) -> None:
    with report.scenario(44, "code server: kill -9 of its process, not of its workers", "mid-run") as row:
        batches = site.drop("code-server-alone")
        site.wait(site.at_work(batches), 60, "a batch is at work")
        kill(site.child("code server"))
        finish(site, row, batches)


def test_everything_is_killed(site: Site, report: Report) -> None:
    with report.scenario(45, "everything: kill -9, then started again", "mid-run") as row:
        batches = site.drop("everything-killed")
        site.wait(site.at_work(batches), 60, "a batch is at work")
        for name in ("daemon", "code server"):
            os.killpg(site.child(name), signal.SIGKILL)
        kill(site.postgres_pid())
        site.platform.stop()  # what is left of it, as after a crash of the machine
        site.start()
        finish(site, row, batches)


@pytest.mark.reliability_full
def test_everything_is_killed_in_the_middle_of_a_tick(site: Site, report: Report) -> None:
    with report.scenario(46, "everything: kill -9, then started again", "mid-tick, 3 times") as row:
        batches = site.drop("everything-killed-tick")
        for _ in range(3):
            site.wait(
                lambda: bool(site.sql("SELECT 1 FROM job_ticks WHERE status = 'STARTED'")), 60, "a tick is at work"
            )
            for name in ("daemon", "code server"):
                os.killpg(site.child(name), signal.SIGKILL)
            kill(site.postgres_pid())
            site.platform.stop()
            site.start()
        finish(site, row, batches)


@pytest.mark.reliability_full
def test_argus_up_itself_is_killed(
    moto_server: S3Server, reliability_drives: dict[str, Drive], shared_site: Site, report: Report
) -> None:
    with (
        report.scenario(48, "`argus up`: kill -9 of the supervisor alone, then started again", "mid-run") as row,
        tempfile.TemporaryDirectory(prefix="argus-rel-") as home,
        running_site(Path(home), moto_server, reliability_drives, start=False) as site,
    ):
        site.undisturbed = shared_site.undisturbed
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "argus_assets", "up", "--home", home, "--port", "0"],
            env={**site.environment, **site.settings.environment(), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert supervisor.stdout is not None
        assert any("Ctrl-C stops" in line for line in supervisor.stdout)
        batches = site.drop("supervisor-killed")
        batches += site.drop("supervisor-killed-too")
        site.wait(site.begun(batches), 90, "a batch is completed")
        supervisor.kill()
        supervisor.wait()
        supervisor.stdout.close()
        site.start()
        site.mark()
        finish(site, row, batches)


@pytest.mark.reliability_full
def test_two_daemons_run_by_mistake(site: Site, report: Report, tmp_path: Path) -> None:
    with report.scenario(47, "two daemons on one database", "from drop to page") as row:
        home = site.platform.dagster_home
        with (tmp_path / "second.log").open("wb") as log:
            second = subprocess.Popen(
                [Path(sys.executable).parent / "dagster-daemon", "run", "-w", home / "workspace.yaml"],
                env=site.platform.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            site.wait(lambda: "daemon" in (tmp_path / "second.log").read_text(), 60, "the second daemon has begun")
            end = time.monotonic() + 8
            site.wait(lambda: time.monotonic() > end, 20, "both work")
            batches = site.drop("two-daemons-a")
            batches += site.drop("two-daemons-b")
            site.outcome_known(batches)
            assert second.poll() is None
        finally:
            os.killpg(second.pid, signal.SIGKILL)
            second.wait()
        finish(site, row, batches)


@pytest.mark.reliability_full
def test_the_same_manifest_is_dropped_a_hundred_times(site: Site, report: Report) -> None:
    with report.scenario(60, "the same manifest dropped 100 times", "before, during and after its run") as row:
        batches = site.drop("hundred-times")
        for number in range(100):
            for batch in batches:
                assert site.put_manifest(batch.manifest) == batch.raw
            if number % 5 == 0:
                site.platform.watch()
                time.sleep(0.5)
        finish(site, row, batches)
