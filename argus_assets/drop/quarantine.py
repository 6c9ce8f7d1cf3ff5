"""Quarantine: set aside what cannot be used, with the reason. Nothing that was dropped is deleted.

quarantine/<vehicle_id>/<batch_id>/<digest>.manifest.json   the manifest, as dropped
quarantine/<vehicle_id>/<batch_id>/<digest>.reason.json     why, for that manifest
quarantine/<vehicle_id>/<batch_id>/reason.json              why, for the latest one
quarantine/_unknown/<digest of the key>/                    an inbox object whose key names no batch
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import BATCH_ID, VEHICLE_ID, BatchRef, batch_prefix, inbox_key, printable, quarantine_prefix
from argus_assets.errors import ArgusError, BadFile

ReasonKind = Literal[
    "bad_manifest", "bad_key", "missing_file", "wrong_size", "wrong_sha256", "too_large", "too_many_files"
]

UNKNOWN_PREFIX: Final = "quarantine/_unknown/"

MAX_RECORD_BYTES: Final = 32 * 1024**2
"""A record may name 10,000 missing files, each twice, by names of up to 800 bytes."""


class Reason(BaseModel):
    """One thing wrong with a drop: which file, what was expected, what was found, what to do."""

    model_config = ConfigDict(frozen=True)

    kind: ReasonKind
    file: str
    expected: str
    actual: str
    help: str


class QuarantineRecord(BaseModel):
    """`reason.json`.

    Attributes:
        manifest: Key of the manifest as dropped.
        recordings: Prefix under which the batch's recordings stay: they are not moved.
        at: When it was set aside.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    vehicle_id: str | None
    batch_id: str | None
    manifest: str
    recordings: str | None
    at: datetime
    reasons: tuple[Reason, ...]

    @property
    def digest(self) -> str:
        """Return the digest of the manifest, or of the key where that names no batch."""
        parts = self.manifest.split("/")
        return parts[-2] if self.batch_id is None else parts[-1].partition(".")[0]


def reasons_of(error: ArgusError, file: str = "manifest") -> tuple[Reason, ...]:
    """Return the reason for a manifest that could not be parsed."""
    return (
        Reason(
            kind="bad_manifest",
            file=file,
            expected="a manifest as in docs/manifest.schema.json",
            actual=error.what,
            help=error.help,
        ),
    )


def quarantine(
    bucket: Bucket, ref: BatchRef, *, raw_manifest: bytes | None, digest: str, reasons: Sequence[Reason], at: datetime
) -> QuarantineRecord:
    """Set a manifest aside with its reasons. The caller removes the marker from the inbox afterwards.

    Args:
        bucket: The drop bucket.
        ref: The batch.
        raw_manifest: The manifest, `None` to copy it from the inbox.
        digest: Of the manifest.
        reasons: At least one.
        at: Now, in UTC.
    """
    prefix = quarantine_prefix(ref.vehicle_id, ref.batch_id)
    kept = f"{prefix}{digest}.manifest.json"
    if raw_manifest is None:
        bucket.copy(inbox_key(ref.vehicle_id, ref.batch_id), kept)
    else:
        bucket.put(kept, raw_manifest)
    record = QuarantineRecord(
        vehicle_id=ref.vehicle_id,
        batch_id=ref.batch_id,
        manifest=kept,
        recordings=batch_prefix(ref.vehicle_id, ref.batch_id),
        at=at,
        reasons=tuple(reasons),
    )
    document = record.model_dump_json(indent=2).encode()
    bucket.put(f"{prefix}{digest}.reason.json", document)
    bucket.put(f"{prefix}reason.json", document)
    return record


def read_record(bucket: Bucket, key: str) -> QuarantineRecord | None:
    """Return the record at a key, `None` when there is none or it is not valid."""
    try:
        return QuarantineRecord.model_validate_json(bucket.read(key, max_bytes=MAX_RECORD_BYTES))
    except (BadFile, ValueError):
        return None


def latest_record(bucket: Bucket, ref: BatchRef) -> QuarantineRecord | None:
    """Return the record of the batch's latest quarantined manifest, `None` when there is none."""
    return read_record(bucket, f"{quarantine_prefix(ref.vehicle_id, ref.batch_id)}reason.json")


def list_records(bucket: Bucket, *, vehicle_id: str | None = None) -> Iterator[QuarantineRecord]:
    """Yield the latest record of each batch, by vehicle and batch, then those of keys that name no batch.

    Args:
        bucket: The drop bucket.
        vehicle_id: Only those of this vehicle.
    """
    vehicles = [vehicle_id] if vehicle_id is not None else bucket.list_names("quarantine")
    for vehicle in vehicles:
        if VEHICLE_ID.fullmatch(vehicle):
            for batch in bucket.list_names(f"quarantine/{vehicle}"):
                record = latest_record(bucket, BatchRef(vehicle, batch)) if BATCH_ID.fullmatch(batch) else None
                if record is not None:
                    yield record
    if vehicle_id is None:
        for name in bucket.list_names(UNKNOWN_PREFIX):
            record = read_record(bucket, f"{UNKNOWN_PREFIX}{name}/reason.json")
            if record is not None:
                yield record


def quarantine_unknown(bucket: Bucket, key: str, *, at: datetime) -> QuarantineRecord:
    """Move an inbox object whose key names no batch out of the inbox, with the reason."""
    prefix = f"{UNKNOWN_PREFIX}{sha256(key.encode(errors='surrogatepass')).hexdigest()[:16]}/"
    kept = f"{prefix}object"
    record = QuarantineRecord(
        vehicle_id=None,
        batch_id=None,
        manifest=kept,
        recordings=None,
        at=at,
        reasons=(
            Reason(
                kind="bad_key",
                file=printable(key),
                expected="inbox/<vehicle_id>/<batch_id>.json with letters, digits, dots and dashes",
                actual=printable(key),
                help="Drop the manifest again under a key with allowed ids.",
            ),
        ),
    )
    bucket.copy(key, kept)
    bucket.put(f"{prefix}reason.json", record.model_dump_json(indent=2).encode())
    bucket.delete(key)
    return record
