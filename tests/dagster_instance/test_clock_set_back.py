"""A clock that was set back: Dagster's own scheduler and sensor rules, on PostgreSQL, look again; the daemon starts again."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._daemon.controller import create_daemon_grpc_server_registry
from dagster._daemon.daemon import get_default_daemon_logger
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._scheduler.scheduler import launch_scheduled_runs
from dagster._time import datetime_from_timestamp

from argus_assets.dagster_instance import run_coordinator
from tests.support.dagster_home import KINDS, Kind, instance_on

DEFINITIONS = """
import dagster as dg

@dg.op
def nothing(): ...

@dg.job
def work():
    nothing()

@dg.sensor(job=work, minimum_interval_seconds=600, default_status=dg.DefaultSensorStatus.RUNNING)
def looks(): ...

@dg.schedule(job=work, cron_schedule="* * * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
def comes(): return dg.SkipReason("nothing to do")

defs = dg.Definitions(jobs=[work], sensors=[looks], schedules=[comes])
"""
YEARS = 10 * 365 * 86_400.0


@contextmanager
def workspace(instance: dg.DagsterInstance, file: Path) -> Iterator[WorkspaceProcessContext]:
    """What a daemon has of a file's definitions; its code server has ended afterwards."""
    target = PythonFileTarget(str(file), attribute=None, working_directory=None, location_name="work")
    with create_daemon_grpc_server_registry(instance) as servers:
        with WorkspaceProcessContext(instance, target, grpc_server_registry=servers) as context:
            yield context
        servers.shutdown_all_processes()
        servers.wait_for_processes()


@pytest.mark.parametrize(
    ("ahead_s", "kind"), [(3600.0, KINDS[0]), (2 * 86_400.0, KINDS[0]), (YEARS, KINDS[0]), (86_400.0, KINDS[1])]
)
def test_sensors_and_schedules_look_again(
    database_url, tmp_path: Path, monkeypatch, ahead_s: float, kind: Kind
) -> None:
    file = tmp_path / "work.py"
    file.write_text(DEFINITIONS)
    logger = get_default_daemon_logger("SensorDaemon")
    with (
        instance_on(database_url, tmp_path / "home", monkeypatch, kind) as instance,
        workspace(instance, file) as context,
    ):
        repository = next(iter(context.create_request_context().code_locations)).get_repository("__repository__")
        sensor, schedule = repository.get_sensor("looks"), repository.get_schedule("comes")
        then = time.time() + ahead_s
        for remote, what, data in (
            (sensor, InstigatorType.SENSOR, SensorInstigatorData(then, None, 600, None, then, then)),
            (schedule, InstigatorType.SCHEDULE, ScheduleInstigatorData("* * * * *", then, then)),
        ):
            origin = remote.get_remote_origin()
            state = InstigatorState(origin, what, InstigatorStatus.DECLARED_IN_CODE, data)
            instance.add_instigator_state(state)
            instance.create_tick(
                TickData(origin.get_id(), remote.name, what, TickStatus.SKIPPED, then, selector_id=remote.selector_id)
            )

        def looks(remote) -> int:
            ticks = instance.get_ticks(remote.get_remote_origin().get_id(), remote.selector_id)
            return sum(tick.timestamp < then - 1800 for tick in ticks)

        list(execute_sensor_iteration(context, logger, None, None))
        assert looks(sensor) == 1
        list(execute_sensor_iteration(context, logger, None, None))
        assert looks(sensor) == 1, "ten minutes have not passed"

        times: dict = {}
        began = time.time()
        for minutes in (0, 0, 1, 2):
            list(launch_scheduled_runs(context, logger, datetime_from_timestamp(began + 60 * minutes), times))
        assert looks(schedule) == 3, "once for the last minute, and for each one that came"


@pytest.mark.parametrize(
    ("steps", "started_again"),
    [
        ([0, 86_400, 0], True),
        ([0, -86_400], True),
        ([0, -20, -20, -40], True),
        ([0, 86_400, 2 * 86_400], False),
        ([0, -20, -20, 5, -15], False),
    ],
)
def test_the_daemon_starts_again_when_its_clock_goes_back(monkeypatch, steps: list[float], started_again: bool) -> None:
    class Ended(Exception): ...

    rest = iter(steps)
    now = next(rest)

    def sleep(_seconds: float) -> None:
        nonlocal now
        try:
            now = next(rest)
        except StopIteration:
            raise Ended from None

    monkeypatch.setattr(run_coordinator, "_ahead_s", lambda: now)
    monkeypatch.setattr(run_coordinator.time, "sleep", sleep)
    started: list[bool] = []
    try:
        run_coordinator.restart_when_set_back(lambda: started.append(True))
    except Ended:
        assert not started_again
    else:
        assert started == [True]
        assert started_again


DAEMON = """
import os, sys, time
from pathlib import Path
clock = time.time
time.time = lambda: clock() + float(Path(sys.argv[1]).read_text())
import dagster as dg
from argus_assets.dagster_instance.run_coordinator import ClockStepTolerantRunCoordinator
instance = dg.DagsterInstance.ephemeral()
ClockStepTolerantRunCoordinator().register_instance(instance)
print(os.getpid(), *sys.argv[1:], flush=True)
time.sleep(120)
"""


def test_a_daemon_takes_its_own_place(tmp_path: Path) -> None:
    clock, program = tmp_path / "clock", tmp_path / "dagster-daemon"
    clock.write_text("0")
    program.write_text(DAEMON)
    command = [sys.executable, str(program), str(clock), "run", "-w", "a workspace"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        try:
            first = daemon.stdout.readline()
            assert first == f"{daemon.pid} {clock} run -w a workspace\n"
            for at in ("86400", "-86400"):
                (tmp_path / "next").write_text(at)
                (tmp_path / "next").replace(clock)
                time.sleep(2.5)  # it looks each second
            assert daemon.stdout.readline() == first, "the same process, with the same arguments"
        finally:
            daemon.kill()
        assert "The clock was set back by" in daemon.communicate()[1]
