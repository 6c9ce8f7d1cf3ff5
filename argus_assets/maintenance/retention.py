"""Retention policy: what has expired, and the order in which it is safe to delete it. Carried out through a port.

Of a batch, its accepted manifests go first (those that were replaced before the one that counts), then everything that
Dagster knows of it in one transaction, then the runs that have no batch left. Killed anywhere, the next pass does the
rest: a batch without manifests is still a completed batch, and a run without batches is still an old run.

A deleted batch stays deleted: its result in `results/` names the manifest it was made from, so `reconcile` counts what
it finds of it as settled. A manifest dropped anew is another drop, and is processed as one.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Annotated, Final, Literal, Protocol

from pydantic import BaseModel, Field

from argus_assets.drop.bucket import Bucket, ObjectInfo
from argus_assets.drop.keys import (
    BATCH_ID,
    VEHICLE_ID,
    BatchRef,
    batch_prefix,
    inbox_key,
    parse_accepted_key,
    parse_inbox_key,
)
from argus_assets.drop.manifest import parse_manifest
from argus_assets.drop.results import BatchResult, read_result
from argus_assets.errors import BadManifest

GRACE: Final = timedelta(hours=1)
"""What was completed so recently stays, however many batches there are: its result may still be on its way."""

RUN_GRACE: Final = timedelta(days=1)
"""What ended so recently may still be read by sensors, or be started again."""

CHUNK: Final = 200
"""Batches that are deleted in one transaction."""

READERS: Final = 16
MAX_LISTED: Final = 50
"""Batches that are listed for each reason; the others are counted."""

Memory = Literal["answers", "drives", "model calls", "alerts", "alerted manifests"]
MEMORIES: Final[tuple[Memory, ...]] = ("answers", "drives", "model calls", "alerts", "alerted manifests")
Kind = Literal["batches", "accepted manifests", "runs", "events", "recordings"] | Memory

Because = Literal[
    "failed, and waits for a person",
    "in flight, or a rerun was asked for",
    "not completed",
    "outcome not delivered",
    "last outcome is not its completion",
    "manifest waits in the inbox",
    "a later manifest was never taken up",
    "other systems were not told yet",
    "in the golden set",
]


@dataclass(frozen=True, slots=True)
class Policy:
    """How long, and how much, is kept.

    Attributes:
        batches: Since a batch was completed; its partition, its events, its accepted manifests.
        max_batches: Live partitions; beyond that the oldest completed ones expire earlier.
        accepted: Of manifests whose batch is deleted or which a later one replaced; `None` as `batches`. When it is
            longer than `batches`, manifests outlive their batch.
        runs: Of runs without batches, and of events without a run.
        memory: Of saved answers, drives, model calls, and alerts of batches that are deleted.
        recordings: Since the batch was completed; `None` for ever.
        others_are_notified: Other systems are notified of events: a batch waits until its own are in the outbox.
    """

    batches: timedelta = timedelta(days=90)
    max_batches: int = 20_000
    accepted: timedelta | None = None
    runs: timedelta = timedelta(days=90)
    memory: timedelta = timedelta(days=365)
    recordings: timedelta | None = None
    others_are_notified: bool = True

    @property
    def manifests(self) -> timedelta:
        """Return how long accepted manifests are kept."""
        return self.batches if self.accepted is None else self.accepted


@dataclass(frozen=True, slots=True)
class LiveBatch:
    """A batch that has a partition.

    Attributes:
        digest: Of the manifest that was taken last, `None` when that event is not there.
        taken: Storage id of that event: another one when the batch was dropped again.
        state: `working`: a run is at it, or was requested. `resting`: nothing runs, nothing failed, and it is not complete.
        since: When it was taken or completed, whichever was later.
        reported: Its events are in the outbox, where there is one.
        pinned: It is in the golden set: it stays, and so do its recordings.
    """

    partition: str
    ref: BatchRef
    digest: str | None
    taken: int
    state: Literal["completed", "failed", "working", "resting"]
    since: datetime
    reported: bool = True
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class OldRun:
    """A run that has ended and has no batch left."""

    run_id: str
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Span:
    """Rows of a table, by age."""

    count: int
    oldest: datetime | None = None
    newest: datetime | None = None


class RetentionStore(Protocol):
    """Looks up and deletes what Dagster and Argus recorded. Every deletion can be repeated."""

    def live_batches(self) -> Sequence[LiveBatch]: ...

    def delete_batches(self, batches: Sequence[LiveBatch]) -> Sequence[LiveBatch]:
        """Delete partitions and all their events in one transaction, except those that were dropped again.

        Returns:
            Those that were deleted.
        """
        ...

    def old_runs(self, *, before: datetime, ended_before: datetime, deleted: Sequence[str]) -> Sequence[OldRun]:
        """Return ended runs, the oldest first.

        Args:
            before: Runs that never had a batch: ended earlier than this.
            ended_before: Runs whose batches are deleted: ended earlier than this.
            deleted: Partitions that count as deleted.
        """
        ...

    def delete_run(self, run_id: str) -> None: ...

    def old_events(self, *, before: datetime) -> Span:
        """Return the span of events of no run and no live partition, quarantined manifests excepted."""
        ...

    def delete_events(self, *, before: datetime) -> int: ...

    def old_memory(self, memory: Memory, *, before: datetime) -> Span: ...

    def delete_memory(self, memory: Memory, *, before: datetime) -> int: ...

    def manifest(self, partition: str, digest: str) -> bytes | None:
        """Return the manifest that a batch was made from, `None` when it is not kept."""
        ...

    def delete_object(self, key: str) -> None:
        """Delete an object of the drop bucket."""
        ...

    def refresh(self) -> None:
        """Let Dagster count partitions anew."""
        ...


# ---------------------------------------------------------------------------------------------- the report


class Gone(BaseModel):
    """What was deleted of one kind.

    Attributes:
        oldest: Age of the oldest, by when it was completed, ended, taken or put.
        size_bytes: Of objects.
    """

    kind: Kind
    count: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    size_bytes: int | None = None

    def add(self, at: datetime | None, *, count: int = 1, size_bytes: int | None = None) -> None:
        """Count some more."""
        self.count += count
        if size_bytes is not None:
            self.size_bytes = (self.size_bytes or 0) + size_bytes
        if at is not None:
            self.oldest = min(self.oldest or at, at)
            self.newest = max(self.newest or at, at)


class Kept(BaseModel):
    """What is old enough and stays, for one reason."""

    because: Because
    count: int = 0
    batches: Annotated[list[str], Field(max_length=MAX_LISTED)] = []


class RetentionReport(BaseModel):
    """Record of what a pass deleted, or would delete.

    Attributes:
        live: Partitions before the pass.
        over: Partitions beyond the allowed number that could not be deleted.
        listed_at: When all accepted manifests and recordings were last listed.
    """

    version: Literal[1] = 1
    started_at: datetime
    ended_at: datetime | None = None
    dry_run: bool
    live: int = 0
    over: int = 0
    listed_at: datetime | None = None
    gone: list[Gone] = []
    kept: list[Kept] = []

    def of(self, kind: Kind) -> Gone:
        """Return the entry of a kind, which is added when there is none."""
        for found in self.gone:
            if found.kind == kind:
                return found
        self.gone.append(Gone(kind=kind))
        return self.gone[-1]

    def keep(self, because: Because, partition: str) -> None:
        """Count a batch that stays."""
        found = next((k for k in self.kept if k.because == because), None)
        if found is None:
            found = Kept(because=because)
            self.kept.append(found)
        found.count += 1
        if len(found.batches) < MAX_LISTED:
            found.batches.append(partition)

    def lines(self) -> list[str]:
        """Return the report, a line for each kind and each reason."""
        verb = "would be deleted" if self.dry_run else "deleted"
        found = [
            f"{g.count:,} {g.kind} {verb}"
            + (f", {g.oldest:%Y-%m-%d %H:%M} to {g.newest:%Y-%m-%d %H:%M}" if g.oldest and g.newest else "")
            + (f", {g.size_bytes:,} bytes" if g.size_bytes is not None else "")
            for g in self.gone
            if g.count
        ] or [f"Nothing {verb}: {self.live:,} live partitions."]
        found += [f"{k.count:,} old batches kept: {k.because}" for k in self.kept]
        if self.over:
            found.append(f"{self.over:,} partitions more than allowed: none of them may be deleted yet.")
        return found


# ---------------------------------------------------------------------------------------------- what may go


def plan_batches(
    batches: Iterable[LiveBatch], *, policy: Policy, now: datetime
) -> tuple[list[LiveBatch], list[tuple[LiveBatch, Because]]]:
    """Return which batches have expired, as far as Dagster's records show.

    Args:
        batches: All that have a partition.
        policy: How long, and how many.
        now: The time.

    Returns:
        Those that have expired, the one completed first at the head; and those that are old enough but stay.
    """
    known = list(batches)
    by_age = sorted(known, key=lambda b: (b.since, b.partition))
    completed = [b for b in by_age if b.state == "completed" and not b.pinned]
    too_many = len(known) - policy.max_batches
    due = [
        batch
        for position, batch in enumerate(completed)
        if now - batch.since > (GRACE if position < too_many else policy.batches)
    ]
    why: dict[str, Because] = {
        "failed": "failed, and waits for a person",
        "working": "in flight, or a rerun was asked for",
        "resting": "not completed",
    }
    kept: list[tuple[LiveBatch, Because]] = [
        (b, why.get(b.state, "in the golden set"))
        for b in by_age
        if (b.state != "completed" or b.pinned) and now - b.since > policy.batches
    ]
    return due, kept


def judge_outcome(
    batch: LiveBatch, result: BatchResult | None, *, waits: bool, manifests: Sequence["Accepted"]
) -> Because | None:
    """Return why a batch that has expired stays after all, `None` when it may be deleted.

    Args:
        batch: A completed one.
        result: Its result in `results/`.
        waits: A manifest of it is in the inbox.
        manifests: Its accepted ones.
    """
    if waits:
        return "manifest waits in the inbox"
    if manifests and batch.digest not in {a.digest for a in latest(manifests)}:
        return "a later manifest was never taken up"
    if result is None:
        return "outcome not delivered"
    if not batch.reported:
        return "other systems were not told yet"
    if result.state != "completed" or result.manifest_digest != batch.digest:
        return "last outcome is not its completion"
    return None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A manifest that was taken."""

    ref: BatchRef
    digest: str
    info: ObjectInfo


def latest(manifests: Iterable[Accepted]) -> list[Accepted]:
    """Return the last one of a batch; more when the store's clock cannot distinguish them."""
    known = list(manifests)
    last = max((a.info.modified.timestamp() for a in known if a.info.modified is not None), default=None)
    return [a for a in known if a.info.modified is None or a.info.modified.timestamp() == last]


def replaced_first(manifests: Iterable[Accepted], counts: str | None) -> list[Accepted]:
    """Return a batch's manifests in the order in which they are deleted.

    The one that counts is the last: while it is there, `reconcile` sees nothing but a settled batch.
    """
    return sorted(
        manifests, key=lambda a: (a.digest == counts, a.info.modified.timestamp() if a.info.modified else 0.0, a.digest)
    )


# ---------------------------------------------------------------------------------------------- the pass


def retain(
    store: RetentionStore,
    bucket: Bucket,
    *,
    policy: Policy,
    now: datetime,
    dry_run: bool,
    listing: bool = True,
    stop: Callable[[], bool] = lambda: False,
    log: Callable[[str], object] = lambda _: None,
) -> RetentionReport:
    """Find what has expired, and delete it.

    Args:
        store: Deletes it.
        bucket: The drop bucket, to look things up in.
        policy: How long, and how much.
        now: The time.
        dry_run: Delete nothing.
        listing: List all accepted manifests, and all recordings where those expire by age.
        stop: Asked before each step; the rest is left to the next pass.
        log: Logs progress.

    Returns:
        What was deleted, or would be, and what stays although it is old. `ended_at` is for the caller to set.

    Raises:
        Unavailable: The bucket or the database did not answer; what was deleted stays deleted, the next pass does the rest.
    """
    return _Pass(store, bucket, policy, now, dry_run, listing, stop, log).run()


@dataclass
class _Pass:
    store: RetentionStore
    bucket: Bucket
    policy: Policy
    now: datetime
    dry_run: bool
    listing: bool
    stop: Callable[[], bool]
    log: Callable[[str], object]
    deleted: set[str] = field(default_factory=set)

    def run(self) -> RetentionReport:
        self.report = RetentionReport(started_at=self.now, dry_run=self.dry_run)
        live = self.store.live_batches()
        self.report.live = len(live)
        gone = self._batches(live)
        left = {b.ref: b for b in live if b.partition not in gone}
        for part in (lambda: self._runs(list(gone)), self._events, self._memories):
            if self.stop():
                break
            part()
        if self.listing and not self.stop():
            self._accepted(left)
            self._recordings(left)
            self.report.listed_at = None if self.stop() else self.now
        if not self.dry_run and any(g.count for g in self.report.gone):
            self.store.refresh()
        return self.report

    def _batches(self, live: Sequence[LiveBatch]) -> set[str]:
        """Delete batches; return the partitions that were deleted."""
        due, kept = plan_batches(live, policy=self.policy, now=self.now)
        for batch, because in kept:
            self.report.keep(because, batch.partition)
        gone: set[str] = set()
        with ThreadPoolExecutor(READERS) as pool:
            for start in range(0, len(due), CHUNK):
                if self.stop():
                    break
                chunk = due[start : start + CHUNK]
                vehicles = sorted({b.ref.vehicle_id for b in chunk})
                accepted = dict(zip(vehicles, pool.map(self._accepted_of, vehicles), strict=True))
                manifests_of = [accepted[b.ref.vehicle_id].get(b.ref, []) for b in chunk]
                looked_up = list(zip(chunk, pool.map(self._why_kept, chunk, manifests_of), manifests_of, strict=True))
                going = [(batch, manifests) for batch, because, manifests in looked_up if because is None]
                for batch, because, _ in looked_up:
                    if because is not None:
                        self.report.keep(because, batch.partition)
                # Manifests that outlive their batch expire by their own age, see `_accepted`.
                for batch, manifests in going if self.policy.manifests <= self.policy.batches else ():
                    self._delete_manifests(manifests, batch.digest)
                wanted = [batch for batch, _ in going]
                done = wanted if self.dry_run else self.store.delete_batches(wanted)
                for batch in done:
                    self.report.of("batches").add(batch.since)
                gone |= {b.partition for b in done}
                self.log(f"{len(gone):,} of {len(due):,} old batches")
        self.report.over = max(0, len(live) - len(gone) - self.policy.max_batches)
        return gone

    def _why_kept(self, batch: LiveBatch, manifests: Sequence[Accepted]) -> Because | None:
        waits = self.bucket.exists(inbox_key(batch.ref.vehicle_id, batch.ref.batch_id))
        known = batch if self.policy.others_are_notified else replace(batch, reported=True)
        return judge_outcome(known, read_result(self.bucket, batch.ref), waits=waits, manifests=manifests)

    def _accepted_of(self, vehicle: str) -> dict[BatchRef, list[Accepted]]:
        by_batch: dict[BatchRef, list[Accepted]] = defaultdict(list)
        for info in self.bucket.iterate(f"accepted/{vehicle}/"):
            parsed = parse_accepted_key(info.key)
            if parsed is not None:
                by_batch[parsed[0]].append(Accepted(*parsed, info))
        return by_batch

    def _delete_manifests(self, manifests: Iterable[Accepted], counts: str | None) -> None:
        for accepted in replaced_first((a for a in manifests if a.info.key not in self.deleted), counts):
            self.deleted.add(accepted.info.key)
            self.report.of("accepted manifests").add(accepted.info.modified, size_bytes=accepted.info.size)
            if not self.dry_run:
                self.store.delete_object(accepted.info.key)

    def _accepted(self, left: dict[BatchRef, LiveBatch]) -> None:
        """Delete manifests that a later one replaced, or whose batch is deleted and had its result."""
        for vehicle in sorted(self.bucket.list_names("accepted")):
            if self.stop():
                return
            by_batch = self._accepted_of(vehicle)
            old_of = {ref: old for ref, found in by_batch.items() if (old := self._old(found))}
            waiting = _waiting(self.bucket, vehicle) if old_of else set[BatchRef]()
            for ref, old in old_of.items():
                batch, manifests = left.get(ref), by_batch[ref]
                if ref in waiting or (batch is not None and batch.state != "completed"):
                    continue
                result = read_result(self.bucket, ref)
                settled = result.manifest_digest if result is not None and result.state == "completed" else None
                last = latest(manifests)
                # The last one goes when nothing needs it: no partition, and its completion was reported.
                going = [a for a in old if a not in last or (a.digest == settled and batch is None)]
                self._delete_manifests(going, settled)

    def _old(self, manifests: Iterable[Accepted]) -> list[Accepted]:
        return [a for a in manifests if self._is_old(a.info.modified, self.policy.manifests)]

    def _is_old(self, at: datetime | None, limit: timedelta) -> bool:
        return at is not None and self.now - at > limit

    def _runs(self, gone: Sequence[str]) -> None:
        runs = self.store.old_runs(
            before=self.now - max(self.policy.runs, RUN_GRACE), ended_before=self.now - RUN_GRACE, deleted=gone
        )
        for number, run in enumerate(runs, start=1):
            if self.stop():
                return
            if not self.dry_run:
                self.store.delete_run(run.run_id)
            self.report.of("runs").add(run.ended_at)
            if number % 500 == 0:
                self.log(f"{number:,} of {len(runs):,} runs")

    def _events(self) -> None:
        before = self.now - self.policy.runs
        span = self.store.old_events(before=before)
        if span.count:
            self._add("events", span, lambda: self.store.delete_events(before=before))

    def _memories(self) -> None:
        before = self.now - self.policy.memory
        for memory in MEMORIES:
            span = self.store.old_memory(memory, before=before)
            if span.count and not self.stop():
                self._add(memory, span, lambda memory=memory: self.store.delete_memory(memory, before=before))

    def _add(self, kind: Kind, span: Span, delete: Callable[[], int]) -> None:
        found = self.report.of(kind)
        found.add(span.oldest, count=span.count if self.dry_run else delete())
        found.add(span.newest, count=0)

    def _recordings(self, left: dict[BatchRef, LiveBatch]) -> None:
        """Delete recordings of batches that were completed long ago and have not changed since."""
        limit = self.policy.recordings
        if limit is None:
            return
        for vehicle in sorted(self.bucket.list_names("batches")):
            if self.stop():
                return
            if not VEHICLE_ID.fullmatch(vehicle):
                continue
            waiting = _waiting(self.bucket, vehicle)
            for ref, files in _by_batch(self.bucket, vehicle):
                objects = list(files)
                batch = left.get(ref)
                changed = any(not self._is_old(info.modified, limit) for info in objects)
                if changed or ref in waiting or (batch is not None and (batch.state != "completed" or batch.pinned)):
                    continue
                result = read_result(self.bucket, ref)
                if (
                    result is None
                    or result.state != "completed"
                    or not self._is_old(result.at, limit)
                    or (batch is not None and batch.digest != result.manifest_digest)
                ):
                    continue
                names = self._named(result)
                prefix = batch_prefix(ref.vehicle_id, ref.batch_id)
                for info in (o for o in objects if o.key.removeprefix(prefix) in names):
                    self.report.of("recordings").add(info.modified, size_bytes=info.size)
                    if not self.dry_run:
                        self.store.delete_object(info.key)

    def _named(self, result: BatchResult) -> frozenset[str]:
        """Return the files that were processed: what no manifest names was never read, and stays."""
        raw = self.store.manifest(result.partition_key, result.manifest_digest) if result.partition_key else None
        try:
            manifest = parse_manifest(raw, vehicle_id=result.vehicle_id, batch_id=result.batch_id) if raw else None
        except BadManifest:
            manifest = None
        return frozenset(f.name for f in manifest.files) if manifest is not None else frozenset()


def _waiting(bucket: Bucket, vehicle: str) -> set[BatchRef]:
    return {ref for info in bucket.iterate(f"inbox/{vehicle}/") if (ref := parse_inbox_key(info.key)) is not None}


def _by_batch(bucket: Bucket, vehicle: str) -> Iterator[tuple[BatchRef, Iterator[ObjectInfo]]]:
    def batch_of(info: ObjectInfo) -> str:
        _, _, batch, *rest = info.key.split("/", 3)
        return batch if rest else ""

    for batch, files in groupby(bucket.iterate(f"batches/{vehicle}/"), key=batch_of):
        if BATCH_ID.fullmatch(batch):
            yield BatchRef(vehicle, batch), files
