"""Events of batches and of the platform's upkeep, as typed values. Pure: `event_log` writes and reads them.

The name of a class is the name under which Dagster's event log holds the event, the name of a field the key of its
metadata: homes hold them for months, so neither may be renamed. A field that may be `None` is left out of the log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final

from argus_assets.drop.quarantine import Reason
from argus_assets.pipeline import DIAGNOSIS, DROP, REC_FRAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCreated:
    """A manifest was taken. The VIN stays in the manifest: it is personal data.

    Attributes:
        manifest_digest: SHA-256 of the manifest, the first digits.
        files: Number of its recordings.
        estimated_s: Seconds of work that are expected of it.
        first_byte_at: When the first of its recordings was put, by the bucket's clock.
        marker_at: When its manifest was put, by the bucket's clock.
        taken_at: When the sensor took it.
    """

    ASSET: ClassVar = DROP

    manifest_digest: str
    vehicle_id: str
    batch_id: str
    platform: str
    release: str
    recorded_from: datetime
    recorded_to: datetime
    files: int
    size_bytes: int
    estimated_s: float | None = None
    first_byte_at: datetime | None = None
    marker_at: datetime | None = None
    taken_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateDropped:
    """A manifest that was processed already was dropped again unchanged."""

    ASSET: ClassVar = DROP

    manifest_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchQuarantined:
    """A manifest was set aside at intake: what was dropped cannot be used."""

    ASSET: ClassVar = DROP

    manifest_digest: str
    vehicle_id: str
    batch_id: str
    at: datetime
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileParsed:
    """One recording was read.

    Attributes:
        recording: Its name in the batch.
        state: `parsed`, `damaged` (a part was lost) or `failed`.
        format: `blf`, `mf4`, `mcap` and so on.
    """

    ASSET: ClassVar = REC_FRAMES.name

    manifest_digest: str
    recording: str
    state: str
    format: str
    frames: int
    frames_lost: int
    parse_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChanged:
    """The batch is in another state.

    Attributes:
        asset: The stage that is being made, or that failed; the log holds it as the asset of the event.
        state: The new state.
        error: What failed it.
        permanent: Trying again without a change cannot help.
        quarantined: What was dropped cannot be used; `reasons` say why.
        crashed: The run ended without an outcome: its worker died, or it was cancelled.
        run_id: The run, where a sensor reports for it.
    """

    asset: str
    manifest_digest: str
    state: str
    error: str | None = None
    permanent: bool | None = None
    quarantined: bool | None = None
    crashed: bool | None = None
    reasons: tuple[Reason, ...] | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadStalled:
    """An upload never completed; see `maintenance.stale_uploads.StaleUpload`."""

    ASSET: ClassVar = DROP

    vehicle_id: str
    batch_id: str
    kind: str
    missing: tuple[str, ...]
    missing_count: int
    since: datetime
    objects: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketReconciled:
    """A pass over the bucket ended, or used up its time; see `maintenance.reconcile.ReconcileReport`."""

    ASSET: ClassVar = DROP

    finished: bool
    vehicles: int
    batches: int
    objects: int
    size_bytes: int
    put_back: int
    put_back_batches: tuple[str, ...]
    outcomes_told: int
    unnamed_recordings: int
    unnamed_bytes: int
    unnamed: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OldRemoved:
    """A pass of retention ended, or used up its time; see `maintenance.retention.RetentionReport`.

    Attributes:
        live: Partitions before the pass.
        over: Partitions beyond the allowed number that could not go.
        kept: What is old enough and stays.
        removed: How much went, by kind. Each kind is a key of its own in the log.
    """

    ASSET: ClassVar = DROP

    finished: bool
    live: int
    over: int
    kept: tuple[Mapping[str, Any], ...]
    removed: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisMade:
    """The diagnosis was made: what the log says of it. Read only; the asset records more beside it.

    Attributes:
        degraded: Why no language model answered though one should have; `no` where none had to.
        faults: `{code, severity}`, the worst first.
    """

    ASSET: ClassVar = DIAGNOSIS.name

    manifest_digest: str
    verdict: str
    severity: str
    drivable: str
    cause: str
    confidence: float
    mode: str
    degraded: str | None = None
    platform: str | None = None
    release: str | None = None
    faults: Sequence[Mapping[str, str]] = ()
    priority: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetMade:
    """Another asset of a batch was made. Read only."""

    asset: str
    manifest_digest: str


Named = (
    BatchCreated
    | DuplicateDropped
    | BatchQuarantined
    | FileParsed
    | StatusChanged
    | UploadStalled
    | BucketReconciled
    | OldRemoved
)
"""Events that the log holds under a name."""

Event = Named | DiagnosisMade | AssetMade

NAMED: Final[Mapping[str, type[Named]]] = {
    event.__name__: event
    for event in (
        BatchCreated,
        DuplicateDropped,
        BatchQuarantined,
        FileParsed,
        StatusChanged,
        UploadStalled,
        BucketReconciled,
        OldRemoved,
    )
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """One event with where and when it was recorded.

    Attributes:
        at: When.
        event: What happened.
        partition: Key of the batch; none for what was set aside before it became one.
        run_id: The run, none for what a sensor saw.
        why: Why that run was started.
    """

    at: datetime
    event: Event
    partition: str | None
    run_id: str | None = None
    why: str | None = None

    @property
    def asset(self) -> str:
        """The asset that it is recorded of."""
        return asset_of(self.event)


def asset_of(event: Event) -> str:
    """Return the asset that an event is recorded of."""
    return event.asset if isinstance(event, StatusChanged | AssetMade) else event.ASSET
