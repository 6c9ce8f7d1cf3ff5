"""A clock that was set back: Dagster's own scheduler and sensor rules, on PostgreSQL, look again."""

import time
from pathlib import Path

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
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._daemon.daemon import get_default_daemon_logger
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._scheduler.scheduler import launch_scheduled_runs
from dagster._time import datetime_from_timestamp
from dagster_home import instance_on

DEFINITIONS = """
import dagster as dg

@dg.op
def nothing(): ...

@dg.job
def work():
    nothing()

@dg.sensor(job=work, minimum_interval_seconds=5, default_status=dg.DefaultSensorStatus.RUNNING)
def looks(): ...

@dg.schedule(job=work, cron_schedule="* * * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
def comes(): return dg.SkipReason("nothing to do")

defs = dg.Definitions(jobs=[work], sensors=[looks], schedules=[comes])
"""
YEARS = 10 * 365 * 86_400.0


@pytest.mark.parametrize("ahead_s", [3600.0, 2 * 86_400.0, YEARS])
def test_sensors_and_schedules_look_again(database_url, tmp_path: Path, monkeypatch, ahead_s: float) -> None:
    file = tmp_path / "work.py"
    file.write_text(DEFINITIONS)
    target = PythonFileTarget(str(file), attribute=None, working_directory=None, location_name="work")
    logger = get_default_daemon_logger("SensorDaemon")
    with (
        instance_on(database_url, tmp_path / "home", monkeypatch) as instance,
        create_test_daemon_workspace_context(target, instance) as context,
    ):
        repository = next(iter(context.create_request_context().code_locations)).get_repository("__repository__")
        sensor, schedule = repository.get_sensor("looks"), repository.get_schedule("comes")
        then = time.time() + ahead_s
        for remote, kind, data in (
            (sensor, InstigatorType.SENSOR, SensorInstigatorData(then, None, 5, None, then, then)),
            (schedule, InstigatorType.SCHEDULE, ScheduleInstigatorData("* * * * *", then, then)),
        ):
            origin = remote.get_remote_origin()
            state = InstigatorState(origin, kind, InstigatorStatus.DECLARED_IN_CODE, data)
            instance.add_instigator_state(state)
            instance.create_tick(
                TickData(origin.get_id(), remote.name, kind, TickStatus.SKIPPED, then, selector_id=remote.selector_id)
            )

        def looks(remote) -> int:
            ticks = instance.get_ticks(remote.get_remote_origin().get_id(), remote.selector_id)
            return sum(tick.timestamp < then - 1800 for tick in ticks)

        list(execute_sensor_iteration(context, logger, None, None))
        assert looks(sensor) == 1
        list(execute_sensor_iteration(context, logger, None, None))
        assert looks(sensor) == 1, "five seconds have not passed"

        times: dict = {}
        for minutes in (0, 0, 1, 2):
            at = time.time() + 60 * minutes
            list(launch_scheduled_runs(context, logger, datetime_from_timestamp(at), times))
        assert looks(schedule) == 3, "once for the last minute, and for each one that came"
