"""What to do with the completion manifests in the inbox: a pure plan, carried out by the sensor.

The protocol in three steps, each harmless when repeated:

1. A tick reads some manifests and plans. What it requests stands in the cursor that the tick returns.
2. Dagster records the cursor together with the runs it will submit, and submits them even after a crash.
3. The next tick finds the request in its cursor, so it was recorded: only now the manifest leaves the inbox.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from hashlib import sha256

from pydantic import BaseModel, ConfigDict

from argus_assets.drop.bucket import ObjectInfo
from argus_assets.drop.keys import BatchRef, parse_partition_key, partition_key, recording_key
from argus_assets.drop.manifest import Manifest, ManifestFile
from argus_assets.drop.quarantine import Reason


class Requested(BaseModel):
    """A manifest whose batch was requested, still to leave the inbox.

    Attributes:
        vehicle_id: From the marker's key.
        batch_id: From the marker's key.
        digest: Which manifest it was.
        stamp: Which drop of it: see `Candidate`.
        partition: The batch's partition key.
    """

    model_config = ConfigDict(frozen=True)

    vehicle_id: str
    batch_id: str
    digest: str
    stamp: str
    partition: str

    @property
    def ref(self) -> BatchRef:
        """The batch."""
        return BatchRef(self.vehicle_id, self.batch_id)


class IntakeCursor(BaseModel):
    """What one tick leaves for the next. Bounded by the limits of one tick.

    Attributes:
        requested: Manifests to archive.
        start_after: Inbox key after which the next listing starts; empty for the beginning.
    """

    model_config = ConfigDict(frozen=True)

    version: int = 1
    requested: tuple[Requested, ...] = ()
    start_after: str = ""

    @classmethod
    def load(cls, text: str | None) -> "IntakeCursor":
        """Read a cursor; one of another version, or none, is an empty one.

        An empty cursor is always safe: manifests still in the inbox are planned again, and those that were
        requested before are recognised as finished, or as in flight, or requested once more.
        """
        if not text:
            return cls()
        try:
            cursor = cls.model_validate_json(text)
        except ValueError:
            return cls()
        return cursor if cursor.version == cls().version else cls()


@dataclass(frozen=True, slots=True)
class Candidate:
    """One manifest of the inbox, as read.

    Attributes:
        ref: The batch, from the marker's key.
        digest: First 16 hex digits of the manifest's SHA-256.
        stamp: Changes with every drop of the marker, even of the same bytes (ETag and time).
        raw: The manifest's bytes, `None` when it was too large to be read.
        manifest: The parsed manifest, or `None` when `reasons` says why there is none.
        reasons: Why it cannot be used, as far as reading it told.
        files: What the bucket holds under the batch's prefix, by file name.
    """

    ref: BatchRef
    digest: str
    stamp: str
    raw: bytes | None
    manifest: Manifest | None
    reasons: tuple[Reason, ...] = ()
    files: Mapping[str, ObjectInfo] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """A batch to process now."""

    partition: str
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run over partitions that are neighbours in the order of the dynamic partitions.

    Attributes:
        partitions: Keys in that order; the run's range goes from the first to the last.
        run_key: The same for the same manifests, dropped the same times.
    """

    partitions: tuple[str, ...]
    run_key: str


@dataclass(frozen=True, slots=True)
class IntakePlan:
    """What one tick does.

    Attributes:
        batches: Batches to process.
        runs: The runs that process them.
        new_partitions: Keys to add, sorted, so by time.
        quarantined: Manifests that cannot be used, each with its reasons.
        duplicates: Manifests that were processed before and did not fail; they only leave the inbox.
        waiting: Batches in processing right now; their manifests stay in the inbox until the run has ended.
    """

    batches: tuple[PlannedBatch, ...]
    runs: tuple[PlannedRun, ...]
    new_partitions: tuple[str, ...]
    quarantined: tuple[tuple[Candidate, tuple[Reason, ...]], ...]
    duplicates: tuple[PlannedBatch, ...]
    waiting: tuple[str, ...]


def check_files(manifest: Manifest, files: Mapping[str, ObjectInfo]) -> tuple[Reason, ...]:
    """Compare what the manifest says with what the bucket holds, without reading file contents.

    Args:
        manifest: The manifest.
        files: What the bucket holds under the batch's prefix, by file name.

    Returns:
        A reason for each file that is missing or has another size. Contents are compared when they are read.
    """
    reasons: list[Reason] = []
    for file in manifest.files:
        where = recording_key(manifest.vehicle_id, manifest.batch_id, file.name)
        found = files.get(file.name)
        if found is None:
            reasons.append(missing_file(file, where))
        elif found.size != file.size:
            reasons.append(wrong_size(file, found.size))
    return tuple(reasons)


def missing_file(file: ManifestFile, key: str) -> Reason:
    """The reason for a file of the manifest that is not in the bucket."""
    return Reason(
        kind="missing_file",
        file=file.name,
        expected=f"{file.size} bytes at {key}",
        actual="nothing there",
        help="Upload the file, then drop the manifest again.",
    )


def wrong_size(file: ManifestFile, actual: int) -> Reason:
    """The reason for a file that is longer or shorter than the manifest says."""
    return Reason(
        kind="wrong_size",
        file=file.name,
        expected=f"{file.size} bytes",
        actual=f"{actual} bytes",
        help="Upload the whole file again, or correct the manifest, then drop the manifest again.",
    )


def wrong_sha256(file: ManifestFile, actual: str) -> Reason:
    """The reason for a file whose content is not what the manifest says."""
    return Reason(
        kind="wrong_sha256",
        file=file.name,
        expected=f"sha256 {file.sha256}",
        actual=f"sha256 {actual}",
        help="The file changed or was damaged on the way. Upload it again, then drop the manifest again.",
    )


def plan_intake(
    candidates: Iterable[Candidate],
    *,
    existing: Sequence[str],
    in_flight: AbstractSet[str] = frozenset(),
    finished: AbstractSet[tuple[str, str]] = frozenset(),
    max_batches_per_run: int = 100,
) -> IntakePlan:
    """Decide what happens to each manifest.

    Args:
        candidates: The manifests of this tick.
        existing: All batch partition keys, in the order Dagster keeps them (order of insertion).
        in_flight: Keys whose batches are queued or running.
        finished: (Key, digest) of batches that were processed to the end from that very manifest. Any other
            manifest that is dropped again tries again.
        max_batches_per_run: Longest range of one run.

    Returns:
        The plan. Every candidate is in exactly one of batches, quarantined, duplicates and waiting.
    """
    # A batch dropped again keeps its first key, whatever drive time the new manifest states.
    key_of = first_keys(existing)
    batches: list[PlannedBatch] = []
    quarantined: list[tuple[Candidate, tuple[Reason, ...]]] = []
    duplicates: list[PlannedBatch] = []
    waiting: list[str] = []
    for candidate in candidates:
        manifest = candidate.manifest
        if manifest is None or candidate.reasons:
            quarantined.append((candidate, candidate.reasons))
            continue
        ref = (manifest.vehicle_id, manifest.batch_id)
        partition = key_of.setdefault(ref, partition_key(manifest.recorded_from, *ref))
        if partition in in_flight:
            waiting.append(partition)
            continue
        if (partition, candidate.digest) in finished:
            duplicates.append(PlannedBatch(partition, candidate))
            continue
        reasons = check_files(manifest, candidate.files)
        if reasons:
            quarantined.append((candidate, reasons))
            continue
        batches.append(PlannedBatch(partition, candidate))

    known_keys = set(existing)
    new = tuple(sorted({b.partition for b in batches} - known_keys))
    runs = plan_runs(batches, order=[*existing, *new], max_batches_per_run=max_batches_per_run)
    return IntakePlan(tuple(batches), runs, new, tuple(quarantined), tuple(duplicates), tuple(waiting))


def first_keys(existing: Iterable[str]) -> dict[tuple[str, str], str]:
    """The partition key of each batch, by (vehicle_id, batch_id)."""
    key_of: dict[tuple[str, str], str] = {}
    for key in existing:
        known = parse_partition_key(key)
        if known is not None:
            key_of.setdefault((known.vehicle_id, known.batch_id), key)
    return key_of


def plan_runs(
    batches: Sequence[PlannedBatch], *, order: Sequence[str], max_batches_per_run: int
) -> tuple[PlannedRun, ...]:
    """Cut the batches into runs over contiguous stretches of `order`."""
    batch_of = {b.partition: b for b in batches}
    return tuple(
        PlannedRun(keys, _run_key([batch_of[key] for key in keys]))
        for keys in stretches(batch_of, order=order, most=max_batches_per_run)
    )


def stretches(keys: Iterable[str], *, order: Sequence[str], most: int) -> list[tuple[str, ...]]:
    """Cut keys into contiguous stretches of `order`, of at most so many keys.

    A Dagster range includes every key between its ends, so a stretch never spans a key that is not wanted.
    """
    position = {key: at for at, key in enumerate(order)}
    wanted = sorted(keys, key=position.__getitem__)
    found: list[list[str]] = []
    for key in wanted:
        if found and len(found[-1]) < most and position[key] == position[found[-1][-1]] + 1:
            found[-1].append(key)
        else:
            found.append([key])
    return [tuple(stretch) for stretch in found]


def _run_key(stretch: Sequence[PlannedBatch]) -> str:
    """`<first partition>@<manifest>` of a lone batch; with a hash over all of them for a range."""
    names = [f"{b.partition}@{b.candidate.digest}@{b.candidate.stamp}" for b in stretch]
    if len(names) == 1:
        return names[0]
    return f"{stretch[0].partition}+{len(names) - 1}@{sha256('|'.join(names).encode()).hexdigest()[:32]}"
