"""Plan what happens to the completion manifests in the inbox. Pure; the sensor carries the plan out.

The protocol in three steps, each harmless when repeated:

1. A tick reads some manifests and plans. What it requests is in the cursor that the tick returns.
2. Dagster records the cursor together with the runs it will submit, and submits them even after a crash.
3. The next tick finds the request in its cursor, so it was recorded: only then does the manifest leave the inbox.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final

from pydantic import BaseModel, ConfigDict

from argus_assets.drop.bucket import ObjectInfo
from argus_assets.drop.keys import BatchRef, batch_prefix, parse_partition_key, partition_key, recording_key
from argus_assets.drop.manifest import MAX_FILES, Manifest, ManifestFile
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
        """Read a cursor; a missing one, or one of another version, is empty.

        An empty cursor is always safe: manifests still in the inbox are planned again, and those that were
        requested before are recognised as finished or in flight, or are requested once more.
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
        reasons: Why it cannot be used, as far as reading it showed.
        files: What the bucket holds under the batch's prefix, by file name.
        put_at: When the manifest was put, by the bucket's clock.
    """

    ref: BatchRef
    digest: str
    stamp: str
    raw: bytes | None
    manifest: Manifest | None
    reasons: tuple[Reason, ...] = ()
    files: Mapping[str, ObjectInfo] = field(default_factory=dict)
    put_at: datetime | None = None


BATCH_S: Final = 0.3
"""Fixed work of a batch: events, tables, page (docs/benchmarks/throughput.md)."""

FILE_S: Final = 0.011
"""Fixed work of each recording: a process takes it up, its tables are written and scanned.

Measured 8 to 15 ms; the duration of the last runs corrects it, as it does the bytes (`Sizing.pace`).
"""

BYTE_S: Final = 0.04e-6
"""Work per byte of a recording: read, parse, find faults (docs/benchmarks)."""

PACKED_BYTE_S: Final = 0.2e-6
"""The same for a recording inside gzip or zstd."""

_PACKED: Final = (".gz", ".zst")

TOP_PRIORITY: Final = 8
"""Priority of the first batch of a vehicle in Dagster's queue; reruns have -1."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """How much work goes into one run.

    A lone batch starts at once. A backlog is cut into as many runs as may run concurrently, as long as each has enough
    work to be worth its start, and into more when they would take longer than they should.

    Attributes:
        run_s: Most seconds of work in one run.
        worth_s: Seconds of work that make the start of another run worth it.
        runs_at_once: Concurrent runs.
        max_batches: Most batches in one run.
        pace: Seconds that work took per estimated second.
    """

    run_s: float = 60.0
    worth_s: float = 15.0
    runs_at_once: int = 2
    max_batches: int = 500
    pace: float = 1.0

    def seconds(self, candidate: Candidate) -> float:
        """Return the seconds of work that a batch is expected to take."""
        files = candidate.manifest.files if candidate.manifest is not None else ()
        return self.pace * estimated_seconds(files)

    def is_large(self, candidate: Candidate) -> bool:
        """Return whether a batch takes longer than a run should."""
        return self.seconds(candidate) > self.run_s

    def run_seconds(self, total_s: float) -> float:
        """Return the seconds of work of each run, given the work of all."""
        runs = min(self.runs_at_once, max(1, int(total_s / self.worth_s)))
        return min(self.run_s, total_s / runs * 1.0001)


def estimated_seconds(files: Sequence[ManifestFile]) -> float:
    """Return the seconds of work that a batch of these files takes on the benchmark machine."""
    packed = sum(f.size for f in files if f.name.lower().endswith(_PACKED))
    plain = sum(f.size for f in files) - packed
    return BATCH_S + FILE_S * len(files) + BYTE_S * plain + PACKED_BYTE_S * packed


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """A batch to process now."""

    partition: str
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run over partitions that are adjacent in the order of the dynamic partitions.

    Attributes:
        partitions: Keys in that order; the run's range goes from the first to the last.
        run_key: The same for the same drops of the same manifests.
        estimated_s: Seconds of work on the benchmark machine.
        large: It is one batch that takes longer than a run should.
        priority: In Dagster's queue; see `priority_of_turn`.
    """

    partitions: tuple[str, ...]
    run_key: str
    estimated_s: float
    large: bool = False
    priority: int = 0


@dataclass(frozen=True, slots=True)
class IntakePlan:
    """What one tick does.

    Attributes:
        batches: Batches to process.
        runs: The runs that process them.
        new_partitions: Keys to add; those of one vehicle are sorted, that is by time.
        quarantined: Manifests that cannot be used, each with its reasons.
        duplicates: Manifests that were processed before without failing; they only leave the inbox.
        waiting: Batches that are being processed; their manifests stay in the inbox until the run has ended.
    """

    batches: tuple[PlannedBatch, ...]
    runs: tuple[PlannedRun, ...]
    new_partitions: tuple[str, ...]
    quarantined: tuple[tuple[Candidate, tuple[Reason, ...]], ...]
    duplicates: tuple[PlannedBatch, ...]
    waiting: tuple[str, ...]


def check_files(
    manifest: Manifest, files: Mapping[str, ObjectInfo], *, max_bytes: int | None = None
) -> tuple[Reason, ...]:
    """Compare the manifest with what the bucket holds, without reading contents.

    Args:
        manifest: The manifest.
        files: What the bucket holds under the batch's prefix, by file name; listing stops after `MAX_FILES + 1`.
        max_bytes: Largest batch that is taken, `None` for no limit.

    Returns:
        A reason for each file that is missing or has another size, or one for a batch that is too large. Contents
        are compared when they are read.
    """
    too_large = _too_large(manifest, files, max_bytes)
    if too_large is not None:
        return (too_large,)
    reasons: list[Reason] = []
    for file in manifest.files:
        where = recording_key(manifest.vehicle_id, manifest.batch_id, file.name)
        found = files.get(file.name)
        if found is None:
            reasons.append(missing_file(file, where))
        elif found.size != file.size:
            reasons.append(wrong_size(file, found.size))
    return tuple(reasons)


def _too_large(manifest: Manifest, files: Mapping[str, ObjectInfo], max_bytes: int | None) -> Reason | None:
    prefix = batch_prefix(manifest.vehicle_id, manifest.batch_id)
    if len(files) > MAX_FILES:
        return Reason(
            kind="too_many_files",
            file=prefix,
            expected=f"at most {MAX_FILES} objects",
            actual=f"more than {MAX_FILES} objects",
            help="Split the drive into batches under other names, each with its own manifest.",
        )
    if max_bytes is not None and manifest.size_bytes > max_bytes:
        return Reason(
            kind="too_large",
            file=prefix,
            expected=f"at most {max_bytes} bytes",
            actual=f"{manifest.size_bytes} bytes",
            help="Split the drive into batches, or raise ARGUS_MAX_BATCH_GB.",
        )
    return None


def missing_file(file: ManifestFile, key: str) -> Reason:
    """Return the reason for a file of the manifest that is not in the bucket."""
    return Reason(
        kind="missing_file",
        file=file.name,
        expected=f"{file.size} bytes at {key}",
        actual="nothing there",
        help="Upload the file, then drop the manifest again.",
    )


def wrong_size(file: ManifestFile, actual: int) -> Reason:
    """Return the reason for a file that is longer or shorter than the manifest says."""
    return Reason(
        kind="wrong_size",
        file=file.name,
        expected=f"{file.size} bytes",
        actual=f"{actual} bytes",
        help="Upload the whole file again, or correct the manifest, then drop the manifest again.",
    )


def wrong_sha256(file: ManifestFile, actual: str) -> Reason:
    """Return the reason for a file whose content differs from the manifest."""
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
    sizing: Sizing = Sizing(),
    max_batch_bytes: int | None = None,
) -> IntakePlan:
    """Decide what happens to each manifest.

    Args:
        candidates: The manifests of this tick.
        existing: All batch partition keys, in the order Dagster keeps them (order of insertion).
        in_flight: Keys whose batches are queued or running.
        finished: (Key, digest) of batches that were completed from that very manifest. Any other manifest that is
            dropped again is processed again.
        sizing: How much work goes into one run.
        max_batch_bytes: Largest batch that is taken, `None` for no limit.

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
        reasons = check_files(manifest, candidate.files, max_bytes=max_batch_bytes)
        if reasons:
            quarantined.append((candidate, reasons))
            continue
        batches.append(PlannedBatch(partition, candidate))

    known_keys = set(existing)
    # Dagster keeps the order in which keys are added, and a run takes adjacent ones: large batches must not be between.
    large = {b.partition: sizing.is_large(b.candidate) for b in batches}
    turn = turns([b.partition for b in batches], in_flight=in_flight)
    new = tuple(sorted({b.partition for b in batches} - known_keys, key=lambda key: (large[key], turn[key], key)))
    runs = plan_runs(batches, order=[*existing, *new], sizing=sizing, turn=turn)
    return IntakePlan(tuple(batches), runs, new, tuple(quarantined), tuple(duplicates), tuple(waiting))


def turns(partitions: Iterable[str], *, in_flight: Iterable[str]) -> dict[str, int]:
    """Return how many batches of the same vehicle come before each: those in flight, and the older ones of these.

    Vehicles take turns: the first batch of each comes before the second of any.
    """
    before = Counter(ref.vehicle_id for key in in_flight if (ref := parse_partition_key(key)) is not None)
    turn: dict[str, int] = {}
    for key in sorted(partitions):
        ref = parse_partition_key(key)
        vehicle = ref.vehicle_id if ref is not None else ""
        turn[key] = before[vehicle]
        before[vehicle] += 1
    return turn


def priority_of_turn(turn: int) -> int:
    """Return the priority of a run whose first batch has this turn: highest for 0, one less with each doubling, at least 0.

    Doubling steps keep the order among many drops of one vehicle, and never put a drop behind a rerun.
    """
    return max(0, TOP_PRIORITY - turn.bit_length())


def first_keys(existing: Iterable[str]) -> dict[tuple[str, str], str]:
    """Return the partition key of each batch, by (vehicle_id, batch_id)."""
    key_of: dict[tuple[str, str], str] = {}
    for key in existing:
        known = parse_partition_key(key)
        if known is not None:
            key_of.setdefault((known.vehicle_id, known.batch_id), key)
    return key_of


def plan_runs(
    batches: Sequence[PlannedBatch], *, order: Sequence[str], sizing: Sizing, turn: Mapping[str, int]
) -> tuple[PlannedRun, ...]:
    """Cut the batches into runs over contiguous stretches of `order`, each of about as much work as a run should have.

    A large batch has a run of its own, so that it holds no small one.

    Args:
        batches: What is to be processed.
        order: All partition keys, in Dagster's order.
        sizing: How much work goes into one run.
        turn: Turn of each batch among those of its vehicle.
    """
    batch_of = {b.partition: b for b in batches}
    small = {key: sizing.seconds(b.candidate) for key, b in batch_of.items() if not sizing.is_large(b.candidate)}
    run_s = sizing.run_seconds(sum(small.values()))

    def planned(keys: tuple[str, ...], *, large: bool = False) -> PlannedRun:
        chosen = [batch_of[key] for key in keys]
        work_s = sum(sizing.seconds(b.candidate) for b in chosen) / sizing.pace
        priority = priority_of_turn(min(turn[key] for key in keys))
        return PlannedRun(keys, _run_key(chosen), work_s, large=large, priority=priority)

    return (
        *(
            planned(keys)
            for stretch in stretches(small, order=order, max_keys=len(small))
            for keys in _cut(stretch, small, run_s, sizing.max_batches)
        ),
        *(planned((key,), large=True) for key in batch_of if key not in small),
    )


def _cut(
    keys: Sequence[str], seconds: Mapping[str, float], run_s: float, max_batches: int
) -> Iterable[tuple[str, ...]]:
    """Cut a stretch wherever a run is full."""
    run: list[str] = []
    work_s = 0.0
    for key in keys:
        if run and (work_s + seconds[key] > run_s or len(run) == max_batches):
            yield tuple(run)
            run, work_s = [], 0.0
        run.append(key)
        work_s += seconds[key]
    if run:
        yield tuple(run)


def stretches(keys: Iterable[str], *, order: Sequence[str], max_keys: int) -> list[tuple[str, ...]]:
    """Cut keys into contiguous stretches of `order`, of at most `max_keys` keys.

    A Dagster range includes every key between its ends, so a stretch never spans a key that is not wanted.
    """
    position = {key: at for at, key in enumerate(order)}
    wanted = sorted(keys, key=position.__getitem__)
    found: list[list[str]] = []
    for key in wanted:
        if found and len(found[-1]) < max_keys and position[key] == position[found[-1][-1]] + 1:
            found[-1].append(key)
        else:
            found.append([key])
    return [tuple(stretch) for stretch in found]


def _run_key(stretch: Sequence[PlannedBatch]) -> str:
    """Return `<first partition>@<manifest>` for a lone batch; for a range, with a hash over all of them."""
    names = [f"{b.partition}@{b.candidate.digest}@{b.candidate.stamp}" for b in stretch]
    if len(names) == 1:
        return names[0]
    return f"{stretch[0].partition}+{len(names) - 1}@{sha256('|'.join(names).encode()).hexdigest()[:32]}"
