"""Drop the idle sessions of loggers that write no manifest: a sensor, and its job that makes the manifests.

The sensor only lists. A session that is idle, and was not taken as it is, goes to the job, which reads, copies and drops
it; then the intake sensor takes the batch. The job runs once at a time, so that no session is taken twice at once.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import dagster as dg

from argus_assets.common.texts import one_line
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.idle_sessions import (
    MARKERS,
    Logger,
    checked_prefix,
    drop_session,
    is_idle,
    read_loggers,
    sessions,
)
from argus_assets.errors import ArgusError, PermanentError
from argus_assets.partitions import IN_FLIGHT
from argus_assets.resources.bucket import BucketResource

INTERVAL_S: Final = 60
TICK_SECONDS: Final = 20.0
MAX_SESSIONS: Final = 50
_BEHIND: Final = "\U0010ffff"
"""Sorts behind every key of a session."""


def build_quiet_prefixes(
    prefix: str, loggers: Path, *, quiet: timedelta
) -> tuple[dg.SensorDefinition, dg.JobDefinition]:
    """Return the sensor and its job.

    Args:
        prefix: Where the loggers put their sessions.
        loggers: TOML file with the vehicle of each; it is read at each tick.
        quiet: A session is complete when nothing of it arrived for so long.

    Raises:
        BadSetting: The prefix cannot be used.
    """
    whole = checked_prefix(prefix)

    @dg.op(
        name="take_quiet_sessions",
        config_schema={"sessions": [str]},
        description="Writes the manifests of sessions, and drops them as their vehicles would have.",
    )
    def take_quiet_sessions(context: dg.OpExecutionContext, bucket: BucketResource) -> None:
        failed = take_sessions(
            bucket.bucket(), whole, context.op_config["sessions"], read_loggers(loggers), log=context.log.info
        )
        if failed:
            raise dg.Failure("; ".join(failed), allow_retries=False)

    @dg.job(
        name="quiet_sessions_job",
        executor_def=dg.in_process_executor,
        description="Drops the sessions of loggers that write no manifest.",
    )
    def quiet_sessions_job() -> None:
        take_quiet_sessions()

    @dg.sensor(
        name="quiet_prefixes_sensor",
        job=quiet_sessions_job,
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Finds idle sessions of loggers that write no manifest.",
    )
    def quiet_prefixes_sensor(context: dg.SensorEvaluationContext, bucket: BucketResource) -> dg.SensorResult:
        running = dg.RunsFilter(job_name=quiet_sessions_job.name, statuses=list(IN_FLIGHT))
        if context.instance.get_runs(filters=running, limit=1):
            return dg.SensorResult(skip_reason=dg.SkipReason("Previous run still in progress."), cursor=context.cursor)
        store = bucket.bucket()
        found, cursor = find_quiet(
            store,
            whole,
            read_loggers(loggers),
            now=store.now(),
            quiet=quiet,
            start_after=context.cursor or "",
            log=context.log.warning,
        )
        if not found:
            return dg.SensorResult(skip_reason=dg.SkipReason("No session is idle."), cursor=cursor)
        config = {"ops": {"take_quiet_sessions": {"config": {"sessions": found}}}}
        return dg.SensorResult(run_requests=[dg.RunRequest(run_config=config)], cursor=cursor)

    return quiet_prefixes_sensor, quiet_sessions_job


def find_quiet(
    bucket: Bucket,
    prefix: str,
    loggers: Mapping[str, Logger],
    *,
    now: datetime,
    quiet: timedelta,
    start_after: str = "",
    log: Callable[[str], object] = lambda _: None,
) -> tuple[list[str], str]:
    """Run one tick: return the prefixes of sessions to take, and where the next tick continues (empty: at the beginning).

    Args:
        bucket: The drop bucket.
        prefix: Of the loggers.
        loggers: The vehicle of each.
        now: By the store's clock.
        quiet: See `is_idle`.
        start_after: Where the last tick stopped.
        log: Logs devices without a vehicle.
    """
    began = time.monotonic()
    found: list[str] = []
    taken: dict[str, frozenset[str]] = {}
    unknown: set[str] = set()
    for session in sessions(bucket, prefix, start_after=start_after):
        if session.device not in loggers:
            unknown.add(session.device)
        elif is_idle(session, now=now, after=quiet):
            if session.device not in taken:
                taken = {session.device: frozenset(i.key for i in bucket.iterate(f"{MARKERS}{session.device}/"))}
            if session.marker not in taken[session.device]:
                found.append(session.prefix)
        if len(found) == MAX_SESSIONS or time.monotonic() - began > TICK_SECONDS:
            return found, f"{session.prefix}{_BEHIND}"
    if unknown:
        names = one_line(", ".join(sorted(unknown)[:20]))
        log(f"No vehicle is configured for {names}: add them to the file of ARGUS_QUIET_LOGGERS.")
    return found, ""


def take_sessions(
    bucket: Bucket,
    prefix: str,
    wanted: list[str],
    loggers: Mapping[str, Logger],
    *,
    log: Callable[[str], object] = lambda _: None,
) -> list[str]:
    """Take sessions one by one; return what went wrong, for each that could not be taken.

    One that can never be taken as it is counts as taken, so that it is reported once; one that may be taken later is
    found again by the next tick.
    """
    failed: list[str] = []
    for name in wanted:
        # The first one after its own prefix: what comes behind it is not listed.
        session = next(sessions(bucket, prefix, start_after=name), None)
        if session is None or session.prefix != name:
            continue
        try:
            manifest = drop_session(bucket, session, loggers[session.device])
        except ArgusError as error:
            failed.append(f"{name}: {error}")
            if isinstance(error, PermanentError):
                bucket.put(session.marker, b"")
            continue
        log(f"{one_line(name)}: {'no recordings' if manifest is None else f'{len(manifest.files)} files dropped'}")
    return failed
