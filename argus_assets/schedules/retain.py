"""Remove what has expired: the schedule, and the job that does the work. `maintenance/retention.py` decides.

A run works for `RUN_SECONDS` at most and leaves the rest to the next hour. A pass begins once a day, and at any hour
when there are more live partitions than allowed.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from argus_assets.adapters.postgres.database import Database
from argus_assets.assets.replay import pinned
from argus_assets.assets.specs import BATCH_CHECKS
from argus_assets.drop.bucket import Bucket
from argus_assets.event_log.events import AssetEvent, to_dagster
from argus_assets.event_log.retention_store import PostgresRetentionStore
from argus_assets.events import OldRemoved
from argus_assets.lake.reports import RETENTION
from argus_assets.lake.store import Lake
from argus_assets.maintenance.retention import Policy, RetentionReport, retain
from argus_assets.partitions import BATCHES, IN_FLIGHT
from argus_assets.resources.bucket import BucketResource
from argus_assets.resources.database import DatabaseResource
from argus_assets.resources.lake import LakeResource
from argus_assets.sensors.rerun_requests import requested_partitions
from argus_assets.settings import Settings

CRON: Final = "43 * * * *"
HOUR: Final = 4
"""Of the day, UTC, at which the daily pass begins: after `reconcile_bucket`."""

LATEST: Final = timedelta(hours=25)
"""A pass begins at any hour when the last one ended so long ago: the system was down at its hour."""

LISTED: Final = timedelta(hours=20)
"""The whole bucket is listed when the last listing was so long ago."""

RUN_SECONDS: Final = 1800.0


def policy_of(settings: Settings) -> Policy:
    """Return the policy that the settings describe."""

    def days(count: int | None) -> timedelta | None:
        return None if count is None else timedelta(days=count)

    return Policy(
        batches=timedelta(days=settings.retention.days),
        max_batches=settings.retention.batches,
        accepted=days(settings.retention.accepted_days),
        runs=timedelta(days=settings.retention.runs_days),
        memory=timedelta(days=settings.retention.memory_days),
        recordings=days(settings.retention.recordings_days),
        others_are_notified=settings.notifications.webhooks is not None,
    )


def build_retain_job(policy: Policy) -> dg.JobDefinition:
    """Return the job.

    Args:
        policy: How long, and how much, is kept.
    """

    @dg.op(
        name="retain",
        description="Removes partitions, events and manifests of batches that were completed long ago, old runs, and "
        "whatever else the settings `ARGUS_RETAIN_…` let go. Tables and pages stay.",
    )
    def remove_old(
        context: dg.OpExecutionContext, bucket: BucketResource, lake: LakeResource, database: DatabaseResource
    ) -> None:
        now = datetime.now(UTC)
        last = RETENTION.load(lake.lake())
        listed_at = last.listed_at if last is not None else None
        report = run_retention(
            context.instance,
            bucket.bucket(),
            lake.lake(),
            database.database(),
            policy=policy,
            now=now,
            dry_run=False,
            # Listing the whole bucket costs a request for each vehicle: once a day, not whenever there is too much.
            listing=listed_at is None or now - listed_at > LISTED,
            seconds=RUN_SECONDS,
            log=context.log.info,
        )
        context.log_event(_observed(report))

    @dg.job(
        name="retain_job",
        executor_def=dg.in_process_executor,
        description="Removes what is old from Dagster's records and from the bucket.",
    )
    def retain_job() -> None:
        remove_old()

    return retain_job


def build_retain_schedule(job: dg.JobDefinition, *, max_batches: int) -> dg.ScheduleDefinition:
    """Return the schedule: hourly, and mostly skipped. A pass begins once a day, and whenever there is too much.

    Args:
        job: What it starts.
        max_batches: Live partitions that are allowed.
    """

    @dg.schedule(
        name="retain",
        job=job,
        cron_schedule=CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Once a day, and when there are too many batches, removes what is old.",
    )
    def retain_schedule(context: dg.ScheduleEvaluationContext, lake: LakeResource) -> dg.RunRequest | dg.SkipReason:
        if context.instance.get_runs(filters=dg.RunsFilter(job_name=job.name, statuses=list(IN_FLIGHT)), limit=1):
            return dg.SkipReason("Previous run still in progress.")
        at = context.scheduled_execution_time
        live = len(context.instance.get_dynamic_partitions(BATCHES))
        if not is_due(RETENTION.load(lake.lake()), at, too_many=live > max_batches):
            return dg.SkipReason(f"{live:,} of {max_batches:,} batches; the next pass begins at {HOUR:02}:43 UTC.")
        return dg.RunRequest(run_key=at.isoformat())

    return retain_schedule


def is_due(last: RetentionReport | None, at: datetime, *, too_many: bool) -> bool:
    """Return whether a pass begins at this hour."""
    if too_many or at.hour == HOUR:
        return True
    return last is not None and (last.ended_at is None or at - last.ended_at > LATEST)


def run_retention(
    instance: dg.DagsterInstance,
    bucket: Bucket,
    lake: Lake,
    database: Database,
    *,
    policy: Policy,
    now: datetime,
    dry_run: bool,
    listing: bool = True,
    seconds: float | None = None,
    log: Callable[[str], object] = lambda _: None,
) -> RetentionReport:
    """Run one pass.

    Args:
        instance: Dagster's records.
        bucket: The drop bucket.
        lake: Where manifests and the report are.
        database: Where Dagster's records and Argus' own are.
        policy: How long, and how much, is kept.
        now: The time.
        dry_run: Read everything, remove nothing.
        listing: See `maintenance.retention.retain`.
        seconds: Time limit, `None` for none.
        log: Logs progress.
    """
    began = time.monotonic()
    stopped = False

    def stop() -> bool:
        nonlocal stopped
        stopped = seconds is not None and time.monotonic() - began > seconds
        return stopped

    report = retain(
        retention_store(instance, database, bucket, lake),
        bucket,
        policy=policy,
        now=now,
        dry_run=dry_run,
        listing=listing,
        stop=stop,
        log=log,
    )
    if not stopped:
        report.ended_at = now + timedelta(seconds=time.monotonic() - began)
    if not dry_run:
        last = RETENTION.load(lake)
        report.listed_at = report.listed_at or (last.listed_at if last is not None else None)
        RETENTION.save(lake, report)
    for line in report.lines():
        log(line)
    return report


def retention_store(
    instance: dg.DagsterInstance,
    database: Database,
    bucket: Bucket,
    lake: Lake,
    *,
    kind: type[PostgresRetentionStore] = PostgresRetentionStore,
) -> PostgresRetentionStore:
    """Return the store that a pass looks things up in, and removes them from."""
    return kind(
        instance,
        database,
        bucket,
        lake,
        checks=[check.key for check in BATCH_CHECKS],
        requested=lambda: requested_partitions(lake),
        pinned=lambda: frozenset(pinned(lake)),
    )


def _observed(report: RetentionReport) -> AssetEvent:
    event = OldRemoved(
        finished=report.ended_at is not None,
        live=report.live,
        over=report.over,
        kept=tuple(kept.model_dump(mode="json") for kept in report.kept),
        removed={gone.kind.replace(" ", "_"): gone.count for gone in report.gone},
    )
    return to_dagster(event, description=". ".join(report.lines()))
