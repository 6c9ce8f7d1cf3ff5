"""Find uploads that were begun and never completed, and what is missing of each.

A vehicle that loses its connection leaves recordings without a manifest, or a file in parts. Only listings are read;
of quarantined batches, the record and a listing.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import BaseModel

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import (
    BATCH_ID,
    INBOX,
    VEHICLE_ID,
    BatchRef,
    batch_prefix,
    inbox_key,
    parse_accepted_key,
    parse_inbox_key,
)
from argus_assets.drop.manifest import MAX_FILES
from argus_assets.drop.quarantine import latest_record
from argus_assets.drop.retry import state_of
from argus_assets.errors import ArgusError

MAX_LISTED: Final = 200
MAX_MISSING: Final = 5
MAX_PARTS: Final = 1000

Kind = Literal["no_manifest", "unfinished_file", "missing_files"]


class StaleUpload(BaseModel):
    """An upload that stalled.

    Attributes:
        kind: Recordings whose manifest never came, a file that was sent in parts and not completed, or a quarantined
            manifest whose files are still not there.
        missing: Keys that have to be put; at most `MAX_MISSING`.
        missing_count: How many there are.
        since: When something last came, by the store's clock.
        objects: Recordings that are there.
        size_bytes: Together.
    """

    vehicle_id: str
    batch_id: str
    kind: Kind
    missing: tuple[str, ...]
    missing_count: int
    since: datetime
    objects: int = 0
    size_bytes: int = 0

    @property
    def name(self) -> str:
        """Return a name that no other upload has, nor this one after more of it arrived."""
        return f"{self.vehicle_id}/{self.batch_id}/{self.kind}@{self.since.isoformat()}"

    def text(self) -> str:
        """Return it as a sentence."""
        more = f" and {self.missing_count - len(self.missing)} more" if self.missing_count > len(self.missing) else ""
        return (
            f"{self.vehicle_id}/{self.batch_id}: nothing since {self.since:%Y-%m-%d %H:%M} UTC, {self.objects:,} objects "
            f"({self.size_bytes:,} bytes) have arrived. Missing ({self.kind}): {', '.join(self.missing)}{more}."
        )


class StaleUploads(BaseModel):
    """Findings of a pass over the vehicles.

    Attributes:
        started_at: By the store's clock.
        ended_at: `None` while the pass is in progress.
        after_vehicle: It continues after this one.
        uploads: At most `MAX_LISTED`; all are counted.
        parts_not_listed: Why incomplete multipart uploads could not be listed.
    """

    version: Literal[1] = 1
    started_at: datetime
    ended_at: datetime | None = None
    after_vehicle: str = ""
    count: int = 0
    size_bytes: int = 0
    uploads: list[StaleUpload] = []
    parts_not_listed: str | None = None

    def add(self, upload: StaleUpload) -> None:
        """Count an upload."""
        self.count += 1
        self.size_bytes += upload.size_bytes
        if len(self.uploads) < MAX_LISTED:
            self.uploads.append(upload)


def find_stale(
    bucket: Bucket, found: StaleUploads, *, quiet: timedelta, stop: Callable[[], bool] = lambda: False
) -> StaleUploads:
    """Scan the vehicles that the pass has not reached.

    Args:
        bucket: The drop bucket.
        found: The report of the pass; it is changed.
        quiet: An upload is reported when nothing of it arrived for so long.
        stop: Asked before each vehicle but the first, so that every call makes progress.

    Raises:
        Unavailable: The bucket did not answer.
    """
    vehicles = sorted(
        name
        for name in {*bucket.list_names("batches"), *bucket.list_names("quarantine")}
        if VEHICLE_ID.fullmatch(name) and name > found.after_vehicle
    )
    for index, vehicle in enumerate(vehicles):
        if index and stop():
            return found
        for upload in _of_vehicle(bucket, vehicle):
            if found.started_at - upload.since > quiet:
                found.add(upload)
        found.after_vehicle = vehicle
    # A vehicle that never completed a file is in no listing of objects.
    try:
        unfinished = _unfinished(bucket)
    except ArgusError as error:
        # Not every store lists them, nor allows everybody to: the rest is worth reporting.
        found.parts_not_listed = str(error)
        unfinished = []
    for upload in unfinished:
        if found.started_at - upload.since > quiet:
            found.add(upload)
    found.ended_at = bucket.now()
    return found


def _of_vehicle(bucket: Bucket, vehicle: str) -> list[StaleUpload]:
    batches = [BatchRef(vehicle, name) for name in bucket.list_names(f"batches/{vehicle}") if BATCH_ID.fullmatch(name)]
    quarantined = [
        BatchRef(vehicle, name) for name in bucket.list_names(f"quarantine/{vehicle}") if BATCH_ID.fullmatch(name)
    ]
    outcomes = set(bucket.list_names(f"results/{vehicle}"))
    waiting = {parse_inbox_key(info.key) for info in bucket.iterate(f"{INBOX}{vehicle}/")}
    answered = {*waiting, *quarantined}
    open_ones = [ref for ref in batches if ref not in answered and f"{ref.batch_id}.json" not in outcomes]
    taken = _taken(bucket, vehicle) if open_ones else set()
    found = [_without_manifest(bucket, ref) for ref in open_ones if ref not in taken]
    found += [_missing_files(bucket, ref) for ref in quarantined if ref not in waiting]
    return [upload for upload in found if upload is not None]


def _taken(bucket: Bucket, vehicle: str) -> set[BatchRef]:
    parsed = (parse_accepted_key(info.key) for info in bucket.iterate(f"accepted/{vehicle}/"))
    return {ref for ref, _ in filter(None, parsed)}


def _without_manifest(bucket: Bucket, ref: BatchRef) -> StaleUpload | None:
    files = bucket.list_prefix(batch_prefix(ref.vehicle_id, ref.batch_id), limit=MAX_FILES + 1)
    since = max((info.modified for info in files if info.modified is not None), default=None)
    if since is None:
        return None
    return StaleUpload(
        vehicle_id=ref.vehicle_id,
        batch_id=ref.batch_id,
        kind="no_manifest",
        missing=(inbox_key(ref.vehicle_id, ref.batch_id),),
        missing_count=1,
        since=since,
        objects=len(files),
        size_bytes=sum(info.size for info in files),
    )


def _missing_files(bucket: Bucket, ref: BatchRef) -> StaleUpload | None:
    """Return a quarantined batch whose files are still missing, `None` for any other."""
    record = latest_record(bucket, ref)
    if record is None or state_of(bucket, record) != "open":
        return None
    wanted = [reason.file for reason in record.reasons if reason.kind == "missing_file"]
    if not wanted:
        return None
    prefix = batch_prefix(ref.vehicle_id, ref.batch_id)
    files = bucket.list_prefix(prefix, limit=MAX_FILES + 1)
    there = {info.key for info in files}
    missing = [key for name in wanted if (key := f"{prefix}{name}") not in there]
    if not missing:
        return None
    return StaleUpload(
        vehicle_id=ref.vehicle_id,
        batch_id=ref.batch_id,
        kind="missing_files",
        missing=tuple(missing[:MAX_MISSING]),
        missing_count=len(missing),
        since=max([record.at, *(info.modified for info in files if info.modified is not None)]),
        objects=len(files),
        size_bytes=sum(info.size for info in files),
    )


def _unfinished(bucket: Bucket) -> list[StaleUpload]:
    """Return incomplete multipart uploads, batch by batch."""
    keys: dict[BatchRef, dict[str, datetime]] = {}
    for upload in bucket.list_unfinished_uploads("batches/", limit=MAX_PARTS):
        _, vehicle, batch, name = [*upload.key.split("/", 3), "", "", ""][:4]
        if name and VEHICLE_ID.fullmatch(vehicle) and BATCH_ID.fullmatch(batch):
            of_batch = keys.setdefault(BatchRef(vehicle, batch), {})
            of_batch[upload.key] = max(of_batch.get(upload.key, upload.initiated), upload.initiated)
    return [
        StaleUpload(
            vehicle_id=ref.vehicle_id,
            batch_id=ref.batch_id,
            kind="unfinished_file",
            missing=tuple(sorted(of_batch)[:MAX_MISSING]),
            missing_count=len(of_batch),
            since=max(of_batch.values()),
        )
        for ref, of_batch in sorted(keys.items())
    ]
