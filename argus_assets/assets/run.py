"""Take batches through the selected stages, side by side; each has its own failure.

The one place that knows which stage is at work: it sets the stage, records the state, has the asset made, writes its
tables and records the result. So a failure is always recorded for the stage that it happened in.
"""

import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from threading import Event
from typing import Final, TypeVar

import dagster as dg

from argus_assets.assets.batch_asset import BatchAsset
from argus_assets.assets.batch_context import BatchContext, Services
from argus_assets.assets.event_writer import BatchEvents, RunEvents
from argus_assets.assets.ingest import FilesDiffer
from argus_assets.drop.keys import BatchRef, parse_partition_key
from argus_assets.drop.quarantine import Reason, quarantine
from argus_assets.drop.results import BatchResult, write_result
from argus_assets.errors import ArgusError, PermanentError, TransientError
from argus_assets.event_log.queries import last_drops, materialization_records
from argus_assets.maintenance.staleness import MaterializationRecord, stale_because
from argus_assets.monitoring.logs import fields
from argus_assets.pipeline import DROP, ENTERED, STAGES, BatchState

TRANSIENT_ATTEMPTS: Final = 4
"""Attempts at a stage, with pauses of 1, 2 and 4 s. A longer outage is left to the schedule that reruns failed batches."""

_Done = TypeVar("_Done")


@dataclass(frozen=True)
class Run:
    """The work of one run.

    Attributes:
        events: Where the run's events go.
        services: What its batches share.
        assets: Those selected, in the order in which they are made.
        done_before: What earlier attempts of this run finished: (asset, partition, manifest digest).
        started_at: When it began to execute.
        only_stale: Make only the assets that would not come out the same again.
        from_stage: Make this asset in any case.
        stopping: Set when the run is cancelled.
    """

    events: RunEvents
    services: Services
    assets: Sequence[BatchAsset]
    done_before: AbstractSet[tuple[str, str, str]]
    started_at: datetime
    only_stale: bool = False
    from_stage: str | None = None
    stopping: Event = field(default_factory=Event)


def take_batches(run: Run, partitions: Sequence[str]) -> dict[str, Exception]:
    """Take all batches through the stages, as many side by side as the capacity allows; return those that failed."""
    failures: dict[str, Exception] = {}
    at_once = min(run.services.capacity.batches, len(partitions))
    with ThreadPoolExecutor(at_once, thread_name_prefix="batch") as threads:
        futures = {threads.submit(_take_one, run, partition): partition for partition in partitions}
        try:
            for future in as_completed(futures):
                error = future.result()
                if error is not None:
                    failures[futures[future]] = error
        except BaseException:
            # The run is cancelled: what is at work ends its stage, and nothing new begins.
            run.stopping.set()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return {key: failures[key] for key in partitions if key in failures}


def _take_one(run: Run, partition: str) -> Exception | None:
    """Take one batch through the selected stages; return what failed it."""
    with fields(run_id=run.events.run_id, batch=partition) as shown:
        return _take_through_stages(run, partition, shown)


def _take_through_stages(run: Run, partition: str, shown: dict[str, str]) -> Exception | None:
    events = BatchEvents(run.events, partition, stage=run.assets[0].stage.name)
    begun_at = datetime.now(UTC)
    started = time.perf_counter()
    batch: BatchContext | None = None
    try:
        batch = _with_retries(events, partial(_load, run, events, begun_at))
        made = (
            materialization_records(run.events.instance, [partition], assets=STAGES).get(partition, {})
            if run.only_stale
            else {}
        )
        for asset in run.assets:
            if run.stopping.is_set():
                return None
            stage = events.stage = shown["stage"] = asset.stage.name
            if (stage, partition, batch.digest) in run.done_before:
                events.info(f"{stage} was made before the interruption: kept")
                continue
            if run.only_stale and not _is_stale(run, events, made.get(stage)):
                continue
            at = time.perf_counter()
            if stage in ENTERED:
                events.state(ENTERED[stage])
            _with_retries(events, partial(_make, asset, batch))
            batch.seconds[asset.stage.step] = time.perf_counter() - at
        events.info(f"done in {time.perf_counter() - started:.2f} s")
    except Exception as error:  # noqa: BLE001 - recorded with the batch, and the run fails at its end
        events.error(error)
        _report_failure(events, run.services, error)
        return error
    finally:
        if batch is not None:
            batch.close_drive()
    return None


def _make(asset: BatchAsset, batch: BatchContext) -> None:
    """Make one asset of one batch, write its tables and record it."""
    made = asset.make(batch)
    paths = [batch.save_table(table, frame) for table, frame in made.tables]
    batch.events.materialized(
        data=made.data,
        metadata={**made.metadata, **({"path": dg.MetadataValue.path(paths[0])} if paths else {})},
        unused=made.unused,
    )
    for check in made.checks:
        batch.events.checked(check.name, passed=check.passed, severity=check.severity, metadata=check.metadata)


def _is_stale(run: Run, events: BatchEvents, made: MaterializationRecord | None) -> bool:
    """Return whether the stage would not come out the same again, or is to be made in any case."""
    stage = events.stage
    if stage == run.from_stage:
        events.info(f"{stage} is made again as requested")
        return True
    why = stale_because(
        made, digest=events.digest, recipe=run.events.recipes[stage], input_version=events.input_version()
    )
    events.info(f"{stage} is up to date: kept" if why is None else f"{stage} is made again: {why}")
    if why is None and made is not None:
        events.data_versions[stage] = made.data_version
    return why is not None


def _load(run: Run, events: BatchEvents, begun_at: datetime) -> BatchContext:
    """Return the batch as the sensor took it last.

    Raises:
        PermanentError: It never did.
        Unavailable: The lake did not answer, or its manifest came damaged.
    """
    partition, services = events.partition, run.services
    ref = parse_partition_key(partition)
    created = last_drops(run.events.instance, [partition]).get(partition)
    if ref is None or created is None:
        raise PermanentError(
            f"No manifest was ever taken for partition {partition!r}.",
            help="Drop the batch with its manifest; don't add partitions by hand.",
        )
    manifest = services.store.manifest(partition, created.manifest_digest)
    events.digest = created.manifest_digest
    events.data_versions[DROP] = created.manifest_digest
    return BatchContext(
        partition=partition,
        ref=BatchRef(ref.vehicle_id, ref.batch_id),
        digest=created.manifest_digest,
        manifest=manifest,
        services=services,
        events=events,
        created=created if run.events.why == "intake" else None,
        run_started_at=run.started_at,
        begun_at=begun_at,
    )


def _with_retries(events: BatchEvents, make: Callable[[], _Done]) -> _Done:
    """Call `make`, again after 1, 2 and 4 s when storage or another service did not answer."""
    for attempt in range(TRANSIENT_ATTEMPTS - 1):
        try:
            return make()
        except TransientError as error:
            events.warning(f"{error} Trying again in {2**attempt} s.")
            time.sleep(2**attempt)
    return make()


def _report_failure(events: BatchEvents, services: Services, error: Exception) -> None:
    """Record why a batch failed: in the event log, in `results/`, and in quarantine when its files are at fault."""
    permanent = isinstance(error, PermanentError)
    reasons: tuple[Reason, ...] = error.reasons if isinstance(error, FilesDiffer) else ()
    events.state(
        BatchState.FAILED,
        error=str(error),
        permanent=permanent,
        quarantined=bool(reasons),
        reasons=reasons,
    )
    ref = parse_partition_key(events.partition)
    if ref is None:
        return
    at = datetime.now(UTC)

    def report() -> None:
        if reasons:
            quarantine(
                services.bucket,
                BatchRef(ref.vehicle_id, ref.batch_id),
                raw_manifest=services.store.raw_manifest(events.partition, events.digest),
                digest=events.digest,
                reasons=reasons,
                at=at,
            )
        write_result(
            services.bucket,
            BatchResult(
                vehicle_id=ref.vehicle_id,
                batch_id=ref.batch_id,
                partition_key=events.partition,
                manifest_digest=events.digest,
                state="quarantined" if reasons else "failed",
                at=at,
                run_id=events.run.run_id,
                reasons=reasons,
                error=str(error),
                error_is_permanent=permanent,
            ),
        )

    try:
        _with_retries(events, report)
    except ArgusError as second:
        # The event log has the failure already; the bucket itself may be down.
        events.warning(f"The result could not be written to the bucket: {second}")
