"""Status of batches and recordings, derived from Dagster's records and the bucket. Nothing here is stored.

A batch: pending → uploaded → scattering → scattered → gathering → gathered → diagnosing → completed, and failed from
each of them. States that end in -ing mean that a run is at work, the others that none is. A completed
batch whose manifest is dropped again is uploaded again.

A recording: pending → parsing → parsed → aggregating → completed, or failed.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import dagster as dg

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.intake import first_keys
from argus_assets.drop.keys import BatchRef, batch_prefix, inbox_key, parse_partition_key
from argus_assets.drop.results import BatchResult, read_result
from argus_assets.event_log.events import EVENT_KEY, name_of, plain
from argus_assets.event_log.queries import asset_event, history
from argus_assets.event_log.states import BatchFacts, derive_state, partition_states
from argus_assets.events import BatchCreated, FileParsed, StatusChanged
from argus_assets.partitions import BATCHES
from argus_assets.pipeline import REACHED, REC_FRAMES, BatchState

READERS: Final = 16
"""Results that are read from the bucket at the same time."""


class RecordingState(StrEnum):
    """Where a recording is."""

    PENDING = "pending"
    PARSING = "parsing"
    PARSED = "parsed"
    AGGREGATING = "aggregating"
    COMPLETED = "completed"
    FAILED = "failed"


def derive_recording_state(batch: BatchState, parsed: str | None, failed_stage: str | None = None) -> RecordingState:
    """Return the state of a recording.

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
        result: The result written to the bucket for this manifest, if there is one.
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
        """Return it as a JSON document."""
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


# ---------------------------------------------------------------------------------------------- what happened


def timeline(instance: dg.DagsterInstance, partition: str) -> list[TimelineEvent]:
    """Return everything that happened to a batch, oldest first."""
    events: list[TimelineEvent] = []
    for asset, record in history(instance, partition):
        what = asset_event(record)
        name, details = name_of(what), _details(what.metadata)
        if isinstance(what, dg.AssetMaterialization):
            state = REACHED.get(asset)
            details = {"state": str(state), **details} if state else details
            name = name or (StatusChanged.__name__ if state else "AssetMaterialized")
        at = datetime.fromtimestamp(record.timestamp, UTC)
        events.append(TimelineEvent(at, name or "Observed", asset, details, record.run_id or None))
    return sorted(events, key=lambda event: event.at)


_NOT_SHOWN: Final = {
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


def _details(metadata: Mapping[str, dg.MetadataValue]) -> dict[str, object]:
    """Return the values that fit on a line."""
    return {key: value for key, value in plain(metadata).items() if key not in _NOT_SHOWN}


# ---------------------------------------------------------------------------------------------- batches


def find_partition(instance: dg.DagsterInstance, name: str) -> str | None:
    """Return the partition key for what a person typed: the key itself, `vehicle/batch`, or a unique batch id."""
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
    """Return all batches: those that Dagster knows, and those only in the bucket (uploading, waiting, quarantined)."""
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
    """Return one batch with its recordings."""
    parsed = parse_partition_key(partition)
    assert parsed is not None, "a partition key of the batches"
    ref = BatchRef(parsed.vehicle_id, parsed.batch_id)
    state, stage = partition_states(instance, [partition])[partition]
    rows: dict[str, dict[str, Any]] = {}
    for event in timeline(instance, partition):
        if event.event == BatchCreated.__name__:
            rows = {}
        elif event.event == FileParsed.__name__:
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
    """Add why a failed batch failed, where its result says so."""
    if status.state is not BatchState.FAILED:
        return status
    result = status.result
    if result is None or result.state == "completed":
        reason = "The run ended without a result: its worker died or it was cancelled. See its page in the Dagster UI."
    elif result.reasons:
        first = result.reasons[0]
        reason = f"{first.kind}: {first.file}: expected {first.expected}, found {first.actual}. {first.help}"
    else:
        reason = result.error or "No reason was recorded."
    return replace(status, reason=reason)
