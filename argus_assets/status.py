"""Batch and recording states, derived from Dagster's records and the bucket. Nothing here is stored.

A batch: pending → uploaded → scattering → scattered → gathering → gathered → diagnosing → completed, and failed from
each of them. Names that end in -ing mean that a run is at work, the others that nothing is running. A completed
batch whose manifest is dropped again is uploaded again.

A recording: pending → parsing → parsed → aggregating → completed, or failed.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import dagster as dg
from dagster import DagsterEventType

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.intake import first_keys
from argus_assets.drop.keys import BatchRef, batch_prefix, inbox_key, parse_partition_key
from argus_assets.drop.results import BatchResult, read_result
from argus_assets.event_log.events import EVENT_KEY
from argus_assets.partitions import BATCHES, starts_again
from argus_assets.pipeline import ASSETS, DROP, REACHED, REC_FRAMES, RESTING, RUNNING, STAGES, BatchState

NAMED_KEYS: Final = 500
"""Partition keys that are named in a query; of more, all are read."""

READERS: Final = 16
"""Outcomes that are read from the bucket at the same time."""


class RecordingState(StrEnum):
    """Where a recording is."""

    PENDING = "pending"
    PARSING = "parsing"
    PARSED = "parsed"
    AGGREGATING = "aggregating"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """What Dagster and the bucket know of a batch.

    Attributes:
        dropped: Storage id of the event that took its current manifest, `None` before.
        made: Storage id of the latest materialisation of each asset.
        run: Status of the run that last planned to make something that is not made yet, `None` without one.
        quarantined: The current manifest was quarantined.
    """

    dropped: int | None = None
    made: Mapping[str, int] = field(default_factory=dict)
    run: dg.DagsterRunStatus | None = None
    quarantined: bool = False


def derive_state(facts: BatchFacts) -> tuple[BatchState, str | None]:
    """The state of a batch, and for a failed one the asset at which it failed."""
    if facts.dropped is None:
        return (BatchState.FAILED, DROP) if facts.quarantined else (BatchState.PENDING, None)
    done = 0
    for stage in STAGES:
        if facts.made.get(stage, -1) < facts.dropped:
            break
        done += 1
    if done == len(STAGES):
        return BatchState.COMPLETED, None
    match facts.run:
        case dg.DagsterRunStatus.STARTED | dg.DagsterRunStatus.CANCELING:
            return RUNNING[done], None
        case dg.DagsterRunStatus.FAILURE | dg.DagsterRunStatus.CANCELED:
            return BatchState.FAILED, STAGES[done]
        case _:
            return RESTING[done], None


def derive_recording_state(batch: BatchState, parsed: str | None, failed_stage: str | None = None) -> RecordingState:
    """The state of a recording.

    Args:
        batch: State of its batch.
        parsed: `state` of the recording's row in the recordings table, `None` before it was read.
        failed_stage: Where the batch failed, if it did.
    """
    if parsed == "failed":
        return RecordingState.FAILED
    if parsed is None:
        if batch is BatchState.SCATTERING:
            return RecordingState.PARSING
        return (
            RecordingState.FAILED
            if batch is BatchState.FAILED and failed_stage == REC_FRAMES.name
            else RecordingState.PENDING
        )
    match batch:
        case BatchState.COMPLETED:
            return RecordingState.COMPLETED
        case BatchState.GATHERING | BatchState.GATHERED | BatchState.DIAGNOSING:
            return RecordingState.AGGREGATING
        case _:
            return RecordingState.PARSED


@dataclass(frozen=True, slots=True)
class RecordingStatus:
    """A recording with its state."""

    recording: str
    state: RecordingState
    format: str | None = None
    frames: int | None = None
    frames_lost: int | None = None


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """A batch with its state and what came of it.

    Attributes:
        partition_key: `None` while it is only in the bucket.
        failed_stage: Asset at which it failed.
        reason: Why it failed.
        result: The outcome written to the bucket for this manifest, if there is one.
    """

    vehicle_id: str
    batch_id: str
    state: BatchState
    partition_key: str | None = None
    failed_stage: str | None = None
    reason: str | None = None
    result: BatchResult | None = None
    recordings: tuple[RecordingStatus, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON document of it."""
        return {
            "vehicle_id": self.vehicle_id,
            "batch_id": self.batch_id,
            "partition_key": self.partition_key,
            "state": str(self.state),
            "failed_stage": self.failed_stage,
            "reason": self.reason,
            "result": self.result.model_dump(mode="json", exclude_none=True) if self.result else None,
            "recordings": [
                {
                    "recording": r.recording,
                    "state": str(r.state),
                    "format": r.format,
                    "frames": r.frames,
                    "frames_lost": r.frames_lost,
                }
                for r in self.recordings
            ],
        }


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """One event of a batch, as `argus events` prints it."""

    at: datetime
    event: str
    asset: str
    details: Mapping[str, object]
    run_id: str | None


# ---------------------------------------------------------------------------------------------- reading Dagster


def partition_states(
    instance: dg.DagsterInstance, partitions: Sequence[str]
) -> dict[str, tuple[BatchState, str | None]]:
    """State of each batch that Dagster knows. A few queries, however many partitions.

    Args:
        instance: Where the records are.
        partitions: Partition keys, at most a few tens of thousands.
    """
    if not partitions:
        return {}
    storage = instance.event_log_storage

    def latest(asset: str) -> Mapping[str, int]:
        return storage.get_latest_storage_id_by_partition(
            dg.AssetKey(asset),
            DagsterEventType.ASSET_MATERIALIZATION,
            # Naming thousands of keys takes longer than reading them all.
            set(partitions) if len(partitions) <= NAMED_KEYS else None,
        )

    dropped = latest(DROP)
    made = {stage: latest(stage) for stage in STAGES}
    facts = {
        key: BatchFacts(
            dropped=dropped.get(key), made={stage: made[stage][key] for stage in STAGES if key in made[stage]}
        )
        for key in partitions
    }
    states = {key: derive_state(known) for key, known in facts.items()}
    # Runs tell of nothing but what was taken and is not complete. To look for them is what costs most.
    open_since = {
        key: known.dropped
        for key, known in facts.items()
        if known.dropped is not None and states[key][0] is not BatchState.COMPLETED
    }
    attempts = _open_attempts(instance, open_since)
    runs = _run_statuses(instance, set(attempts.values()))
    for key, run_id in attempts.items():
        states[key] = derive_state(replace(facts[key], run=runs.get(run_id)))
    return states


def _open_attempts(instance: dg.DagsterInstance, since: Mapping[str, int]) -> dict[str, str]:
    """The run that last planned to make something of a batch that it did not make.

    Args:
        instance: Where the records are.
        since: Storage id of the event that took each batch: what was planned earlier says nothing of it.
    """
    if not since:
        return {}
    latest: dict[str, tuple[str, int]] = {}
    for stage in STAGES:
        attempts = (
            instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations(
                dg.AssetKey(stage), after_storage_id=min(since.values())
            )
        )
        for key, attempt in attempts.items():
            if key in since and attempt[1] > max(since[key], latest.get(key, ("", -1))[1]):
                latest[key] = attempt
    return {key: run_id for key, (run_id, _) in latest.items()}


def _run_statuses(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> dict[str, dg.DagsterRunStatus]:
    wanted = sorted(run_ids)
    if not wanted:
        return {}
    return {
        run.run_id: dg.DagsterRunStatus.QUEUED if starts_again(run) else run.status
        for run in instance.get_runs(filters=dg.RunsFilter(run_ids=wanted))
    }


def timeline(instance: dg.DagsterInstance, partition: str) -> list[TimelineEvent]:
    """Everything that happened to a batch, oldest first."""
    events: list[TimelineEvent] = []
    for asset in ASSETS:
        records = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition])
        for record in _all_records(instance.fetch_materializations, records):
            made = record.asset_materialization
            assert made is not None, "a materialisation record holds one"
            name = _text(made.metadata, EVENT_KEY) or "StatusChanged"
            state = REACHED.get(asset)
            if name == "StatusChanged" and state is None:
                name = "AssetMaterialized"
            details = {"state": str(state)} if state else {}
            events.append(_event(record, name, asset, {**details, **_plain(made.metadata)}))
        for record in _all_records(instance.fetch_observations, records):
            seen = record.asset_observation
            assert seen is not None, "an observation record holds one"
            events.append(_event(record, _text(seen.metadata, EVENT_KEY) or "Observed", asset, _plain(seen.metadata)))
    return sorted(events, key=lambda e: e.at)


def _all_records(
    fetch: Callable[..., dg.EventRecordsResult], records: dg.AssetRecordsFilter
) -> Generator[dg.EventLogRecord]:
    """Every record that the filter allows, newest first, read in pages."""
    cursor: str | None = None
    while True:
        page = fetch(records, limit=1000, cursor=cursor)
        yield from page.records
        if not page.has_more:
            return
        cursor = page.cursor


_NOT_TOLD: Final = {
    EVENT_KEY,
    "preview",
    "diagnosis",
    "faults",
    "path",
    "page",
    "reasons",
    "notes",
    "dagster/column_schema",
}


def _plain(metadata: Mapping[str, dg.MetadataValue]) -> dict[str, object]:
    """Metadata values that fit on a line."""
    return {key: value.value for key, value in metadata.items() if key not in _NOT_TOLD}


def _text(metadata: Mapping[str, dg.MetadataValue], key: str) -> str | None:
    return str(metadata[key].value) if key in metadata else None


def _event(record: dg.EventLogRecord, name: str, asset: str, details: Mapping[str, object]) -> TimelineEvent:
    return TimelineEvent(
        at=datetime.fromtimestamp(record.timestamp, UTC),
        event=name,
        asset=asset,
        details=details,
        run_id=record.run_id or None,
    )


# ---------------------------------------------------------------------------------------------- batches


def find_partition(instance: dg.DagsterInstance, name: str) -> str | None:
    """The partition key for what a person typed: the key itself, `vehicle/batch`, or a batch id that is unique."""
    keys = instance.get_dynamic_partitions(BATCHES)
    if name in keys:
        return name
    by_ref = first_keys(keys)
    vehicle, _, batch = name.partition("/")
    if (vehicle, batch) in by_ref:
        return by_ref[vehicle, batch]
    same_id = [key for (_, batch_id), key in by_ref.items() if batch_id == name]
    return same_id[0] if len(same_id) == 1 else None


def list_batches(instance: dg.DagsterInstance, bucket: Bucket) -> list[BatchStatus]:
    """All batches: those that Dagster knows, and those that only the bucket knows (uploading, waiting, quarantined)."""
    keys = list(instance.get_dynamic_partitions(BATCHES))
    states = partition_states(instance, keys)
    found: dict[BatchRef, BatchStatus] = {}
    for key in keys:
        parsed = parse_partition_key(key)
        if parsed is None:
            continue
        ref = BatchRef(parsed.vehicle_id, parsed.batch_id)
        state, stage = states[key]
        found[ref] = BatchStatus(ref.vehicle_id, ref.batch_id, state, partition_key=key, failed_stage=stage)
    only_in_bucket = [ref for ref in bucket.list_batches() if ref not in found]
    with ThreadPoolExecutor(READERS) as pool:
        results = pool.map(lambda ref: read_result(bucket, ref), (*found, *only_in_bucket))
        waiting = pool.map(lambda ref: bucket.exists(inbox_key(ref.vehicle_id, ref.batch_id)), only_in_bucket)
        for ref, status in list(found.items()):
            found[ref] = replace(status, result=next(results))
        for ref, waits in zip(only_in_bucket, waiting, strict=True):
            result = next(results)
            state, stage = derive_state(BatchFacts(quarantined=result is not None and not waits))
            if waits:
                state, stage = BatchState.UPLOADED, None
            found[ref] = BatchStatus(ref.vehicle_id, ref.batch_id, state, failed_stage=stage, result=result)
    return [_with_reason(status) for status in found.values()]


def batch_status(instance: dg.DagsterInstance, bucket: Bucket, partition: str) -> BatchStatus:
    """One batch with its recordings."""
    parsed = parse_partition_key(partition)
    assert parsed is not None, "a partition key of the batches"
    ref = BatchRef(parsed.vehicle_id, parsed.batch_id)
    state, stage = partition_states(instance, [partition])[partition]
    rows: dict[str, dict[str, Any]] = {}
    for event in timeline(instance, partition):
        if event.event == "BatchCreated":
            rows = {}
        elif event.event == "FileParsed":
            rows[str(event.details["recording"])] = dict(event.details)
    prefix = batch_prefix(ref.vehicle_id, ref.batch_id)
    names = sorted({*rows, *(o.key.removeprefix(prefix) for o in bucket.list_prefix(prefix))})
    recordings = tuple(
        RecordingStatus(
            name,
            derive_recording_state(state, rows.get(name, {}).get("state"), stage),
            format=rows.get(name, {}).get("format"),
            frames=rows.get(name, {}).get("frames"),
            frames_lost=rows.get(name, {}).get("frames_lost"),
        )
        for name in names
    )
    return _with_reason(
        BatchStatus(
            ref.vehicle_id,
            ref.batch_id,
            state,
            partition_key=partition,
            failed_stage=stage,
            result=read_result(bucket, ref),
            recordings=recordings,
        )
    )


def _with_reason(status: BatchStatus) -> BatchStatus:
    """Add why a failed batch failed, where its outcome says so."""
    if status.state is not BatchState.FAILED:
        return status
    result = status.result
    if result is None or result.state == "completed":
        reason = "The run ended without an outcome: its worker died or it was cancelled. Dagster's run page says more."
    elif result.reasons:
        first = result.reasons[0]
        reason = f"{first.kind}: {first.file}: expected {first.expected}, found {first.actual}. {first.help}"
    else:
        reason = result.error or "No reason was recorded."
    return replace(status, reason=reason)
