"""Compare the whole bucket with Dagster's records once a day: the schedule, and the job that does the work.

A schedule's evaluation has 60 seconds, and a bucket may hold millions of objects: hence the job. A run works for
`RUN_SECONDS` at most and leaves the rest to the next hour. The progress of the pass is kept in the lake.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import dagster as dg

from argus_assets.common.texts import one_line
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.intake import first_keys
from argus_assets.drop.keys import BatchRef
from argus_assets.event_log.events import AssetEvent, to_dagster
from argus_assets.event_log.queries import dropped_digests, latest_digests
from argus_assets.event_log.states import partition_states, phase_of
from argus_assets.events import BucketReconciled
from argus_assets.lake.reports import RECONCILE
from argus_assets.lake.store import Lake
from argus_assets.maintenance.reconcile import KnownBatch, ReconcileReport, begin_pass, reconcile
from argus_assets.partitions import BATCHES, IN_FLIGHT, partitions_in_flight
from argus_assets.pipeline import BATCH_REPORT, BatchState
from argus_assets.resources.bucket import BucketResource
from argus_assets.resources.lake import LakeResource

CRON: Final = "17 * * * *"
HOUR: Final = 3
"""Of the day, UTC, at which a pass begins."""

LATEST: Final = timedelta(hours=25)
"""A pass begins at any hour when the last one began so long ago: the system was down at its hour."""

RUN_SECONDS: Final = 900.0

_SAVE_SECONDS: Final = 10.0


def build_reconcile_job(*, retain: timedelta) -> dg.JobDefinition:
    """Return the job.

    Args:
        retain: What was taken longer ago is not put back: it may have been removed on purpose.
    """

    @dg.op(
        name="reconcile_bucket",
        description="Lists the whole bucket, puts what Dagster lost back into the inbox, and reports the rest.",
    )
    def reconcile_bucket(context: dg.OpExecutionContext, bucket: BucketResource, lake: LakeResource) -> None:
        report = run_pass(
            context.instance, bucket.bucket(), lake.lake(), retain=retain, seconds=RUN_SECONDS, log=context.log.info
        )
        context.log_event(_observed(report))

    @dg.job(
        name="reconcile_bucket_job",
        executor_def=dg.in_process_executor,
        description="Compares the whole bucket with Dagster's records: what was lost goes back into the inbox.",
    )
    def reconcile_bucket_job() -> None:
        reconcile_bucket()

    return reconcile_bucket_job


def build_reconcile_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Return the schedule: hourly, and mostly skipped. A pass begins once a day and continues each hour until it ends."""

    @dg.schedule(
        name="reconcile_bucket",
        job=job,
        cron_schedule=CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Once a day, finds in the whole bucket whatever the inbox missed.",
    )
    def reconcile_bucket(context: dg.ScheduleEvaluationContext, lake: LakeResource) -> dg.RunRequest | dg.SkipReason:
        if context.instance.get_runs(filters=dg.RunsFilter(job_name=job.name, statuses=list(IN_FLIGHT)), limit=1):
            return dg.SkipReason("Previous run still in progress.")
        at = context.scheduled_execution_time
        if not is_due(RECONCILE.load(lake.lake()), at):
            return dg.SkipReason(f"The next pass begins at {HOUR:02}:17 UTC.")
        return dg.RunRequest(run_key=at.isoformat())

    return reconcile_bucket


def is_due(last: ReconcileReport | None, at: datetime) -> bool:
    """Return whether a pass begins, or continues, at this hour."""
    if last is not None and (last.ended_at is None or at - last.started_at > LATEST):
        return True
    return at.hour == HOUR


def run_pass(
    instance: dg.DagsterInstance,
    bucket: Bucket,
    lake: Lake,
    *,
    retain: timedelta,
    seconds: float | None = None,
    dry_run: bool = False,
    log: Callable[[str], object] = lambda _: None,
) -> ReconcileReport:
    """Continue the pass, or begin one.

    Args:
        instance: Dagster's records.
        bucket: The drop bucket.
        lake: Where the report is.
        retain: See `maintenance.reconcile.judge`.
        seconds: Time limit, `None` for none.
        dry_run: Read everything, change nothing.
        log: Logs progress.
    """
    report = begin_pass(RECONCILE.load(lake), now=bucket.now(), dry_run=dry_run)
    began = saved = time.monotonic()

    def on_vehicle(report: ReconcileReport) -> None:
        nonlocal saved
        if not dry_run and time.monotonic() - saved > _SAVE_SECONDS:
            RECONCILE.save(lake, report)
            log(one_line(report.text()))
            saved = time.monotonic()

    reconcile(
        bucket,
        report,
        known=known_batches(instance),
        retain=retain,
        stop=lambda: seconds is not None and time.monotonic() - began > seconds,
        on_vehicle=on_vehicle,
    )
    if not dry_run:
        RECONCILE.save(lake, report)
    log(one_line(report.text()))
    return report


def known_batches(instance: dg.DagsterInstance) -> dict[BatchRef, KnownBatch]:
    """Return what Dagster knows of each batch, in a few queries."""
    existing = instance.get_dynamic_partitions(BATCHES)
    in_flight = partitions_in_flight(instance, existing)
    # A run goes on with a batch whose key somebody deleted.
    keys = [*existing, *sorted(in_flight.difference(existing))]
    states = partition_states(instance, keys)
    dropped = dropped_digests(instance)
    key_of = {BatchRef(*ref): key for ref, key in first_keys(keys).items()}
    # Dagster's history of an asset may have been wiped in its UI: then the report still says what was processed.
    reported = latest_digests(instance, BATCH_REPORT.name, [key for key in key_of.values() if key not in dropped])

    def known(key: str) -> KnownBatch:
        state, _ = states[key]
        # What came to an end counts as such, also while a run makes it again.
        ended = state in (BatchState.COMPLETED, BatchState.FAILED)
        return KnownBatch(
            digest=dropped.get(key),
            state=phase_of(state, in_flight=key in in_flight and not ended),
            reported=reported.get(key),
        )

    return {ref: known(key) for ref, key in key_of.items()}


def _observed(report: ReconcileReport) -> AssetEvent:
    event = BucketReconciled(
        finished=report.ended_at is not None,
        vehicles=report.vehicles,
        batches=report.batches,
        objects=report.objects,
        size_bytes=report.size_bytes,
        put_back=report.put_back_count,
        put_back_batches=tuple(report.put_back),
        outcomes_told=report.told_count,
        unnamed_recordings=report.unnamed_count,
        unnamed_bytes=report.unnamed_bytes,
        unnamed=tuple(found.model_dump(mode="json") for found in report.unnamed),
    )
    return to_dagster(event, description=report.text())
