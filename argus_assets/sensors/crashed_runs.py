"""Write a result for every batch whose run ended without one: its worker died, or it was cancelled.

What fails inside a batch is reported by its run. A run that is killed cannot: this sensor reads ended runs in the order
in which they ended, hundreds in a tick, and writes what is missing in `results/`.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg
from pydantic import BaseModel, ConfigDict

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import BatchRef, parse_partition_key
from argus_assets.drop.results import BatchResult, read_result, write_result
from argus_assets.event_log.events import AssetEvent, to_dagster
from argus_assets.event_log.queries import is_cancelled_by_person, latest_digest
from argus_assets.event_log.states import partition_states
from argus_assets.events import StatusChanged
from argus_assets.partitions import BATCHES, partitions_of, positions, starts_again
from argus_assets.pipeline import DROP, BatchState
from argus_assets.resources.bucket import BucketResource

INTERVAL_S: Final = 30
MAX_RUNS: Final = 1000
PAGE: Final = 200
WRITERS: Final = 16
ENDED: Final = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)

SET_BACK: Final = timedelta(minutes=10)
"""How far back runs are read once more when the clock was set back."""

SETTLE_S: Final = 10.0
"""A run that has just ended may be about to be started again."""


class CrashedRunsCursor(BaseModel):
    """How far runs were read.

    Attributes:
        updated_at: Of the last run that was read, seconds since 1970.
        run_ids: Runs with exactly that time that were read.
    """

    model_config = ConfigDict(frozen=True)

    updated_at: float
    run_ids: tuple[str, ...] = ()


@dg.sensor(
    name="lost_outcomes_sensor",
    minimum_interval_seconds=INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Writes a result for every batch whose run was killed or cancelled before reporting one.",
)
def lost_outcomes_sensor(context: dg.SensorEvaluationContext, bucket: BucketResource) -> dg.SensorResult:
    """See `write_missing_results`."""
    return write_missing_results(context.instance, context.cursor, bucket.bucket(), now=datetime.now(UTC))


def write_missing_results(
    instance: dg.DagsterInstance, cursor_text: str | None, bucket: Bucket, *, now: datetime
) -> dg.SensorResult:
    """Run one tick.

    Args:
        instance: Dagster's records.
        cursor_text: The cursor of the last tick; without one, runs that end from now on are read.
        bucket: Where results go.
        now: The time.

    Raises:
        Unavailable: The bucket did not answer. The tick fails and its cursor stays.
    """
    if not cursor_text:
        return dg.SensorResult(cursor=CrashedRunsCursor(updated_at=now.timestamp()).model_dump_json())
    cursor = CrashedRunsCursor.model_validate_json(cursor_text)
    if cursor.updated_at > now.timestamp():
        # The clock was set back: what ends from now on would never be read. What has a result gets no second one.
        cursor = CrashedRunsCursor(updated_at=(now - SET_BACK).timestamp())
    existing = instance.get_dynamic_partitions(BATCHES)
    position = positions(existing)
    run_of: dict[str, dg.DagsterRun] = {}
    count = 0
    for record in _ended_runs(instance, cursor):
        updated_at = record.update_timestamp.timestamp()
        if updated_at > now.timestamp() - SETTLE_S:
            break
        run = record.dagster_run
        if not starts_again(run):
            run_of.update(dict.fromkeys(partitions_of(run, existing, position), run))
        same = updated_at == cursor.updated_at
        cursor = CrashedRunsCursor(updated_at=updated_at, run_ids=(*(cursor.run_ids if same else ()), run.run_id))
        count += 1
    # One query for the states of all: it costs the same for one batch as for many.
    states = partition_states(instance, list(run_of)) if run_of else {}
    failed = [(key, stage) for key, (state, stage) in states.items() if state is BatchState.FAILED and stage]
    with ThreadPoolExecutor(WRITERS) as pool:
        written = pool.map(lambda f: _report(instance, run_of[f[0]], *f, bucket=bucket, now=now), failed)
        events = [event for event in written if event is not None]
    return dg.SensorResult(
        asset_events=events,
        cursor=cursor.model_dump_json(),
        skip_reason=dg.SkipReason(f"{count} ended runs read, {len(events)} results written."),
    )


def _ended_runs(instance: dg.DagsterInstance, cursor: CrashedRunsCursor) -> Iterator[dg.RunRecord]:
    """Yield ended runs after the cursor, the earliest first, at most `MAX_RUNS`."""
    seen = set(cursor.run_ids)
    from_s = cursor.updated_at
    for _ in range(MAX_RUNS // PAGE):
        records = instance.get_run_records(
            # Dagster only filters by "later than": ask from a little earlier, and skip those that were seen.
            filters=dg.RunsFilter(statuses=list(ENDED), updated_after=datetime.fromtimestamp(from_s - 1e-3, UTC)),
            limit=PAGE + len(seen),
            order_by="update_timestamp",
            ascending=True,
        )
        new = [r for r in records if r.dagster_run.run_id not in seen and r.update_timestamp.timestamp() >= from_s]
        if not new:
            return
        yield from new
        from_s = new[-1].update_timestamp.timestamp()
        seen = {r.dagster_run.run_id for r in records if r.update_timestamp.timestamp() >= from_s - 2e-3}


def _report(
    instance: dg.DagsterInstance, run: dg.DagsterRun, partition: str, stage: str, *, bucket: Bucket, now: datetime
) -> AssetEvent | None:
    """Write the result of a failed batch when there is none for its manifest; return the event."""
    parsed = parse_partition_key(partition)
    digest = latest_digest(instance, DROP, partition)
    if parsed is None or digest is None:
        return None
    ref = BatchRef(parsed.vehicle_id, parsed.batch_id)
    known = read_result(bucket, ref)
    if known is not None and known.manifest_digest == digest:
        return None
    if is_cancelled_by_person(instance, run):
        error = f"Run {run.run_id} was cancelled. It is not retried automatically: `argus rerun {partition}`."
    else:
        error = (
            f"Run {run.run_id} ended before the batch was done: its worker was stopped, killed, or ran out of time or "
            "memory."
        )
    write_result(
        bucket,
        BatchResult(
            vehicle_id=ref.vehicle_id,
            batch_id=ref.batch_id,
            partition_key=partition,
            manifest_digest=digest,
            state="failed",
            at=now,
            run_id=run.run_id,
            error=error,
            error_is_permanent=False,
        ),
    )
    event = StatusChanged(
        asset=stage,
        manifest_digest=digest,
        state=BatchState.FAILED,
        error=error,
        permanent=False,
        crashed=True,
        run_id=run.run_id,
    )
    return to_dagster(event, partition=partition)
