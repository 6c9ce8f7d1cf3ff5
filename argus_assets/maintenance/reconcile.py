"""Compare the bucket with what Dagster knows: one pass over everything, vehicle by vehicle.

The inbox is read every few seconds, the rest of the bucket never. This pass finds what was lost in between: a manifest
that was taken, but of which Dagster knows nothing because its database was lost or restored from an older copy, somebody
wiped `vehicle_drop` or deleted the partition, or the daemon died at a bad moment. Such a manifest goes back into the
inbox, and from there its usual way. What was completed is not repeated. Recordings that no manifest names are reported
and stay where they are.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field

from argus_assets.drop.bucket import Bucket, ObjectInfo
from argus_assets.drop.keys import (
    BATCH_ID,
    INBOX,
    VEHICLE_ID,
    BatchRef,
    batch_prefix,
    inbox_key,
    parse_accepted_key,
    parse_inbox_key,
    results_key,
)
from argus_assets.drop.manifest import MAX_MANIFEST_BYTES, parse_manifest
from argus_assets.drop.quarantine import latest_record
from argus_assets.drop.results import BatchResult, read_result
from argus_assets.errors import BadFile, BadManifest

GRACE: Final = timedelta(minutes=5)
"""A manifest leaves the inbox after its run was recorded. The store's clock may differ by less than this."""

UPLOADING: Final = timedelta(hours=24)
"""Recordings without a manifest are being uploaded until they have not changed for so long."""

MAX_LISTED: Final = 200
"""Findings of a kind that are listed one by one; the others are counted."""


@dataclass(frozen=True, slots=True)
class KnownBatch:
    """What Dagster knows of a batch.

    Attributes:
        digest: Of the manifest that was taken last, `None` when that event is not there, as after a wipe.
        state: `resting`: nothing runs, nothing failed, and it is not complete.
        reported: Digest of the manifest from which its report was made last, where `digest` is not there.
    """

    digest: str | None
    state: Literal["completed", "failed", "working", "resting"]
    reported: str | None = None


@dataclass(frozen=True, slots=True)
class TakenManifest:
    """The newest of a batch's accepted manifests."""

    ref: BatchRef
    digest: str
    key: str
    taken_at: datetime


Verdict = Literal["settled", "old", "recent", "waiting", "working", "ask_outcome"]
"""`old`, `recent`, `waiting` in the inbox and `working` are left alone; `ask_outcome`: only its result decides."""


def judge(taken: TakenManifest, *, known: KnownBatch | None, waits: bool, now: datetime, retain: timedelta) -> Verdict:
    """Decide whether an accepted manifest was lost, as far as Dagster's records show.

    Args:
        taken: The manifest.
        known: What Dagster knows of its batch, `None` for nothing.
        waits: A manifest of the batch is in the inbox.
        now: By the store's clock.
        retain: What was taken longer ago may have been removed on purpose.
    """
    if waits:
        return "waiting"
    if now - taken.taken_at > retain:
        return "old"
    if now - taken.taken_at < GRACE:
        return "recent"
    if known is not None and known.state == "working":
        # The run may be at work on this very manifest. A later pass sees how it ended.
        return "working"
    if known is not None and taken.digest == known.reported:
        return "settled"
    known_end = known is not None and known.digest == taken.digest and known.state != "resting"
    return "settled" if known_end else "ask_outcome"


def judge_outcome(taken: TakenManifest, result: BatchResult | None) -> Literal["settled", "lost"]:
    """Decide from the batch's result whether a manifest whose end Dagster does not know was lost.

    What was completed stays so. A quarantine counts when it came after the manifest was taken: an earlier one is why it
    was dropped again. A failure does not count, even a permanent one: no command that works on failed batches finds one
    that Dagster does not know. It is taken once more, and if it fails again, Dagster knows it.
    """
    if result is None or result.manifest_digest != taken.digest:
        return "lost"
    if result.state == "completed":
        return "settled"
    return "settled" if result.state == "quarantined" and result.at > taken.taken_at - GRACE else "lost"


UnnamedWhy = Literal["no manifest", "not in the manifest", "not a batch's name"]


class Unnamed(BaseModel):
    """Recordings that no manifest names.

    Attributes:
        where: Their batch's prefix, or their own key.
        objects: How many.
        size_bytes: Together.
        newest: When the last of them was put.
        why: What is missing.
    """

    where: str
    objects: int
    size_bytes: int
    newest: datetime | None
    why: UnnamedWhy


class ReconcileReport(BaseModel):
    """Findings of a pass, and its progress.

    Attributes:
        started_at: By the store's clock.
        ended_at: `None` until every vehicle was read.
        after_vehicle: The pass continues after this one.
        changed_since: What has not changed since then was compared with its manifest by an earlier pass.
        recent_count: Manifests that were taken within `GRACE` before the pass, and left alone.
        put_back: Manifests that went back into the inbox, or would without `dry_run`.
        told: Quarantined batches whose result was missing in `results/`.
    """

    version: Literal[1] = 1
    started_at: datetime
    dry_run: bool = False
    changed_since: datetime | None = None
    ended_at: datetime | None = None
    after_vehicle: str = ""
    vehicles: int = 0
    batches: int = 0
    objects: int = 0
    size_bytes: int = 0
    manifests: int = 0
    recent_count: int = 0
    put_back_count: int = 0
    put_back: Annotated[list[str], Field(max_length=MAX_LISTED)] = []
    told_count: int = 0
    told: Annotated[list[str], Field(max_length=MAX_LISTED)] = []
    unnamed_count: int = 0
    unnamed_bytes: int = 0
    unnamed: Annotated[list[Unnamed], Field(max_length=MAX_LISTED)] = []

    def add_put_back(self, ref: BatchRef) -> None:
        """Count a manifest that was put back."""
        self.put_back_count += 1
        if len(self.put_back) < MAX_LISTED:
            self.put_back.append(f"{ref.vehicle_id}/{ref.batch_id}")

    def add_told(self, ref: BatchRef) -> None:
        """Count a result that was written."""
        self.told_count += 1
        if len(self.told) < MAX_LISTED:
            self.told.append(f"{ref.vehicle_id}/{ref.batch_id}")

    def add_unnamed(self, found: Unnamed) -> None:
        """Count recordings that no manifest names."""
        self.unnamed_count += found.objects
        self.unnamed_bytes += found.size_bytes
        if len(self.unnamed) < MAX_LISTED:
            self.unnamed.append(found)

    def text(self) -> str:
        """Return the pass in a sentence or two."""
        verb = "would be put" if self.dry_run else "were put"
        return (
            f"{self.vehicles} vehicles, {self.batches:,} batches with recordings ({self.objects:,} objects, "
            f"{self.size_bytes:,} bytes), {self.manifests:,} accepted manifests: {self.put_back_count} {verb} back into "
            f"the inbox, {self.told_count} missing results of quarantined batches, {self.unnamed_count:,} recordings "
            f"({self.unnamed_bytes:,} bytes) that no manifest names."
            + (
                f" {self.recent_count:,} manifests were taken less than {GRACE.seconds // 60} minutes before: "
                "the next pass will check them."
                if self.recent_count
                else ""
            )
            + (
                ""
                if self.ended_at
                else f" Not finished: it continues after {self.after_vehicle or 'the first vehicle'}."
            )
        )


def begin_pass(last: ReconcileReport | None, *, now: datetime, dry_run: bool = False) -> ReconcileReport:
    """Return the report to continue: the unfinished one, or a new one.

    Args:
        last: The report of the last pass that changed something.
        now: By the store's clock.
        dry_run: A pass of its own, which changes nothing.
    """
    if last is not None and last.ended_at is None and not dry_run:
        return last
    done = last if last is not None and last.ended_at is not None else None
    # What changed while the last pass ran may have been missed by it.
    return ReconcileReport(started_at=now, dry_run=dry_run, changed_since=done.started_at if done else None)


def reconcile(
    bucket: Bucket,
    report: ReconcileReport,
    *,
    known: Mapping[BatchRef, KnownBatch],
    retain: timedelta,
    stop: Callable[[], bool] = lambda: False,
    on_vehicle: Callable[[ReconcileReport], None] = lambda _: None,
) -> ReconcileReport:
    """Check the vehicles that the report has not reached, and put back what was lost.

    Memory holds one vehicle's manifests and one batch's names at a time. Every step can be repeated.

    Args:
        bucket: The drop bucket.
        report: Of the pass; it is changed.
        known: What Dagster knows, by batch.
        retain: See `judge`.
        stop: Asked before each vehicle.
        on_vehicle: Called after each vehicle.

    Raises:
        Unavailable: The bucket did not answer; the pass can continue from the report.
    """
    tops = ("accepted", "batches", "quarantine")
    for vehicle in sorted({name for top in tops for name in bucket.list_names(top)}):
        if vehicle <= report.after_vehicle or vehicle == "_unknown":
            continue
        if stop():
            return report
        if VEHICLE_ID.fullmatch(vehicle):
            _check_vehicle(bucket, vehicle, report, known=known, retain=retain)
            report.vehicles += 1
        else:
            _add_foreign(report, bucket.iterate(f"batches/{vehicle}/"), f"batches/{vehicle}/")
        report.after_vehicle = vehicle
        on_vehicle(report)
    report.ended_at = bucket.now()
    return report


def _check_vehicle(
    bucket: Bucket, vehicle: str, report: ReconcileReport, *, known: Mapping[BatchRef, KnownBatch], retain: timedelta
) -> None:
    # The inbox first: what leaves it in the meantime is then found among the accepted ones, recently taken.
    waiting = {ref for info in bucket.iterate(f"{INBOX}{vehicle}/") if (ref := parse_inbox_key(info.key)) is not None}
    taken = _newest_taken(bucket, vehicle, report)
    for manifest in taken.values():
        verdict = judge(
            manifest,
            known=known.get(manifest.ref),
            waits=manifest.ref in waiting,
            now=report.started_at,
            retain=retain,
        )
        report.recent_count += verdict == "recent"
        lost = verdict == "ask_outcome" and judge_outcome(manifest, read_result(bucket, manifest.ref)) == "lost"
        if lost and _put_back(bucket, manifest, dry_run=report.dry_run):
            report.add_put_back(manifest.ref)

    quarantined = {
        BatchRef(vehicle, name) for name in bucket.list_names(f"quarantine/{vehicle}") if BATCH_ID.fullmatch(name)
    }
    outcomes = set(bucket.list_names(f"results/{vehicle}"))
    for ref in sorted(quarantined):
        missing = f"{ref.batch_id}.json" not in outcomes and ref not in waiting and ref not in taken
        if missing and _write_result_of_quarantined(bucket, ref, dry_run=report.dry_run):
            report.add_told(ref)

    for ref, files in _by_batch(bucket, vehicle, report):
        named = ref in waiting or ref in quarantined or f"{ref.batch_id}.json" in outcomes
        _check_recordings(bucket, ref, files, report, taken=taken.get(ref), named=named)


def _newest_taken(bucket: Bucket, vehicle: str, report: ReconcileReport) -> dict[BatchRef, TakenManifest]:
    newest: dict[BatchRef, TakenManifest] = {}
    for info in bucket.iterate(f"accepted/{vehicle}/"):
        parsed = parse_accepted_key(info.key)
        if parsed is None:
            continue
        report.manifests += 1
        ref, digest = parsed
        at = info.modified or report.started_at
        if ref not in newest or at > newest[ref].taken_at:
            newest[ref] = TakenManifest(ref, digest, info.key, at)
    return newest


def _put_back(bucket: Bucket, manifest: TakenManifest, *, dry_run: bool) -> bool:
    """Put a manifest into the inbox unless one waits there; return `False` when one does or it has just been removed."""
    if dry_run:
        return True
    try:
        raw = bucket.read(manifest.key, max_bytes=MAX_MANIFEST_BYTES)
    except BadFile:
        return False
    return bucket.put_new(inbox_key(manifest.ref.vehicle_id, manifest.ref.batch_id), raw)


def _write_result_of_quarantined(bucket: Bucket, ref: BatchRef, *, dry_run: bool) -> bool:
    record = latest_record(bucket, ref)
    if record is None:
        return False
    result = BatchResult(
        vehicle_id=ref.vehicle_id,
        batch_id=ref.batch_id,
        partition_key=None,
        manifest_digest=record.digest,
        state="quarantined",
        at=record.at,
        reasons=record.reasons,
    )
    document = result.model_dump_json(indent=2, exclude_none=True).encode()
    return dry_run or bucket.put_new(results_key(ref.vehicle_id, ref.batch_id), document)


def _by_batch(bucket: Bucket, vehicle: str, report: ReconcileReport) -> Iterator[tuple[BatchRef, Iterator[ObjectInfo]]]:
    """Yield the vehicle's recordings, batch by batch; report what lies outside of a batch."""

    def batch_of(info: ObjectInfo) -> str:
        _, _, batch, *rest = info.key.split("/", 3)
        return batch if rest else ""

    for batch, files in groupby(bucket.iterate(f"batches/{vehicle}/"), key=batch_of):
        if BATCH_ID.fullmatch(batch):
            yield BatchRef(vehicle, batch), files
        else:
            _add_foreign(report, files, f"batches/{vehicle}/{batch}")


def _add_foreign(report: ReconcileReport, files: Iterator[ObjectInfo], where: str) -> None:
    found = _Sum()
    for info in files:
        found.add(info)
    report.objects += found.objects
    report.size_bytes += found.size_bytes
    if found.objects:
        report.add_unnamed(found.unnamed(where, "not a batch's name"))


def _check_recordings(
    bucket: Bucket,
    ref: BatchRef,
    files: Iterator[ObjectInfo],
    report: ReconcileReport,
    *,
    taken: TakenManifest | None,
    named: bool,
) -> None:
    """Count a batch's recordings, and those that no manifest names."""
    prefix = batch_prefix(ref.vehicle_id, ref.batch_id)
    since = report.changed_since
    all_new = taken is not None and (since is None or taken.taken_at >= since)
    names: frozenset[str] | None = None
    everything, others = _Sum(), _Sum()
    for info in files:
        everything.add(info)
        if taken is None or not (all_new or info.modified is None or since is None or info.modified >= since):
            continue
        if names is None:
            names = _names(bucket, taken)
        if info.key.removeprefix(prefix) not in names:
            others.add(info)
    report.batches += 1
    report.objects += everything.objects
    report.size_bytes += everything.size_bytes
    quiet = everything.newest is None or report.started_at - everything.newest > UPLOADING
    if taken is None and not named and quiet:
        report.add_unnamed(everything.unnamed(prefix, "no manifest"))
    elif others.objects:
        report.add_unnamed(others.unnamed(prefix, "not in the manifest"))


@dataclass(slots=True)
class _Sum:
    objects: int = 0
    size_bytes: int = 0
    newest: datetime | None = None

    def add(self, info: ObjectInfo) -> None:
        self.objects += 1
        self.size_bytes += info.size
        if info.modified is not None and (self.newest is None or info.modified > self.newest):
            self.newest = info.modified

    def unnamed(self, where: str, why: UnnamedWhy) -> Unnamed:
        return Unnamed(where=where, objects=self.objects, size_bytes=self.size_bytes, newest=self.newest, why=why)


def _names(bucket: Bucket, taken: TakenManifest) -> frozenset[str]:
    """Return the files that an accepted manifest names; none when it is gone or damaged, so that all are reported."""
    try:
        raw = bucket.read(taken.key, max_bytes=MAX_MANIFEST_BYTES)
        manifest = parse_manifest(raw, vehicle_id=taken.ref.vehicle_id, batch_id=taken.ref.batch_id)
    except (BadFile, BadManifest):
        return frozenset()
    return frozenset(file.name for file in manifest.files)
