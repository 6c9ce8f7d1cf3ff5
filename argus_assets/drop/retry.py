"""Check quarantined manifests again, and put them back into the inbox when nothing is wrong any more."""

import json
from dataclasses import dataclass
from typing import Literal

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.intake import check_files
from argus_assets.drop.keys import VEHICLE_ID, BatchRef, inbox_key
from argus_assets.drop.manifest import MAX_MANIFEST_BYTES, Manifest, parse_manifest
from argus_assets.drop.presence import present_files
from argus_assets.drop.quarantine import QuarantineRecord, Reason, reasons_of
from argus_assets.drop.results import read_result
from argus_assets.errors import BadFile, BadManifest

State = Literal["open", "waiting", "settled"]


@dataclass(frozen=True, slots=True)
class Recheck:
    """The present state of a quarantined manifest.

    Attributes:
        ref: Its batch, `None` when it names none that its key permits.
        raw: The manifest.
        reasons: What is still wrong.
    """

    ref: BatchRef | None
    raw: bytes
    reasons: tuple[Reason, ...]


def state_of(bucket: Bucket, record: QuarantineRecord) -> State:
    """Return `open` when somebody has to act, `waiting` when it is in the inbox again, `settled` after a later drop."""
    if record.vehicle_id is None or record.batch_id is None:
        return "open"
    ref = BatchRef(record.vehicle_id, record.batch_id)
    if bucket.exists(inbox_key(ref.vehicle_id, ref.batch_id)):
        return "waiting"
    result = read_result(bucket, ref)
    # Only the latest outcome is kept: one that is not this quarantine's is later.
    other = result is not None and (result.state != "quarantined" or result.manifest_digest != record.digest)
    return "settled" if other and result is not None and result.at >= record.at else "open"


def recheck(bucket: Bucket, record: QuarantineRecord, *, max_bytes: int | None = None) -> Recheck:
    """Repeat the checks of the sensor, and keep what was found when the recordings were read.

    Args:
        bucket: The drop bucket.
        record: Record of the manifest.
        max_bytes: Largest batch that is taken.
    """
    try:
        raw = bucket.read(record.manifest, max_bytes=MAX_MANIFEST_BYTES)
    except BadFile:  # too large, or deleted
        return Recheck(None, b"", record.reasons)
    ref = _batch_of(record, raw)
    if ref is None:
        return Recheck(None, raw, record.reasons)
    try:
        manifest = parse_manifest(raw, vehicle_id=ref.vehicle_id, batch_id=ref.batch_id)
    except BadManifest as error:
        return Recheck(ref, raw, reasons_of(error))
    files = present_files(bucket, manifest)
    reasons = check_files(manifest, files, max_bytes=max_bytes)
    # Contents are not read here: a recording that was not put again since is unchanged.
    wrong = {r.file for r in reasons}
    same = tuple(
        reason
        for reason in record.reasons
        if reason.kind == "wrong_sha256"
        and reason.file not in wrong
        and (found := files.get(reason.file)) is not None
        and found.modified is not None
        and found.modified <= record.at
        and _stated(manifest, reason.file) in reason.expected
    )
    return Recheck(ref, raw, (*reasons, *same))


def retry(bucket: Bucket, checked: Recheck) -> bool:
    """Put a manifest without problems back into the inbox; return `False` when another one waits there."""
    if checked.ref is None or checked.reasons:
        raise BadManifest("A manifest that still cannot be used was not put back.", help="Fix what its reasons name.")
    return bucket.put_new(inbox_key(checked.ref.vehicle_id, checked.ref.batch_id), checked.raw)


def _stated(manifest: Manifest, name: str) -> str:
    return next((f.sha256 for f in manifest.files if f.name == name), "")


def _batch_of(record: QuarantineRecord, raw: bytes) -> BatchRef | None:
    """Return the batch of a record. An object under a key that names none may name it itself, for its own vehicle only.

    The vehicle in the key had the right to put it there; it has none to act for another vehicle.
    """
    if record.vehicle_id is not None and record.batch_id is not None:
        return BatchRef(record.vehicle_id, record.batch_id)
    _, _, rest = record.reasons[0].file.partition("inbox/")
    vehicle_id = rest.partition("/")[0]
    try:
        batch_id = str(json.loads(raw)["batch_id"])
        parse_manifest(raw, vehicle_id=vehicle_id, batch_id=batch_id)
    except (ValueError, TypeError, KeyError, RecursionError, BadManifest):
        return None
    return BatchRef(vehicle_id, batch_id) if VEHICLE_ID.fullmatch(vehicle_id) else None
