"""Object keys of the drop bucket, and partition keys: made and parsed here only.

batches/<vehicle_id>/<batch_id>/<file>          recordings
inbox/<vehicle_id>/<batch_id>.json              completion manifest, the last PUT
accepted/<vehicle_id>/<batch_id>.<digest>.json  the same manifest, once taken
quarantine/<vehicle_id>/<batch_id>/             what cannot be used, with the reason
results/<vehicle_id>/<batch_id>.json            the outcome
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

VEHICLE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")
"""No underscore, so that a partition key splits in only one way."""

BATCH_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
"""No comma: commas break backfills in the Dagster UI (dagster #32183)."""

INBOX: Final = "inbox/"

VERSION_MARK: Final = "?versionId="
"""S3 clients read what follows it in a key as a version: such a key would name another object."""

_PARTITION: Final = re.compile(
    rf"(?P<date>\d{{4}}-\d{{2}}-\d{{2}})_(?P<vehicle>{VEHICLE_ID.pattern})_(?P<batch>{BATCH_ID.pattern})"
)
_MARKER: Final = re.compile(rf"inbox/(?P<vehicle>{VEHICLE_ID.pattern})/(?P<batch>{BATCH_ID.pattern})\.json")
_ACCEPTED: Final = re.compile(
    rf"accepted/(?P<vehicle>{VEHICLE_ID.pattern})/(?P<batch>{BATCH_ID.pattern})\.(?P<digest>[0-9a-f]{{16}})\.json"
)


@dataclass(frozen=True, slots=True, order=True)
class BatchRef:
    """Identity of a batch: the vehicle and its name for the drive."""

    vehicle_id: str
    batch_id: str


@dataclass(frozen=True, slots=True, order=True)
class PartitionRef(BatchRef):
    """A batch with the date in its partition key."""

    recorded_on: date


def batch_prefix(vehicle_id: str, batch_id: str) -> str:
    """Return the prefix of a batch's recordings, ending in a slash."""
    return f"batches/{vehicle_id}/{batch_id}/"


def recording_key(vehicle_id: str, batch_id: str, file: str) -> str:
    """Return the key of a recording."""
    return f"{batch_prefix(vehicle_id, batch_id)}{file}"


def inbox_key(vehicle_id: str, batch_id: str) -> str:
    """Return the key of a completion manifest that waits to be taken."""
    return f"{INBOX}{vehicle_id}/{batch_id}.json"


def parse_inbox_key(key: str) -> BatchRef | None:
    """Return the batch of a completion manifest's key, `None` when it is not such a key."""
    match = _MARKER.fullmatch(key)
    return BatchRef(match["vehicle"], match["batch"]) if match else None


def accepted_prefix(vehicle_id: str, batch_id: str) -> str:
    """Return the prefix of the manifests that were taken for a batch."""
    return f"accepted/{vehicle_id}/{batch_id}."


def accepted_key(vehicle_id: str, batch_id: str, digest: str) -> str:
    """Return the key of a manifest that was taken."""
    return f"{accepted_prefix(vehicle_id, batch_id)}{digest}.json"


def parse_accepted_key(key: str) -> tuple[BatchRef, str] | None:
    """Return batch and digest of a taken manifest's key, `None` when it is not such a key."""
    match = _ACCEPTED.fullmatch(key)
    return (BatchRef(match["vehicle"], match["batch"]), match["digest"]) if match else None


def quarantine_prefix(vehicle_id: str, batch_id: str) -> str:
    """Return the prefix of what cannot be used of a batch."""
    return f"quarantine/{vehicle_id}/{batch_id}/"


def results_key(vehicle_id: str, batch_id: str) -> str:
    """Return the key of a batch's outcome."""
    return f"results/{vehicle_id}/{batch_id}.json"


def partition_key(recorded_from: datetime, vehicle_id: str, batch_id: str) -> str:
    """Return `<date>_<vehicle_id>_<batch_id>`, which sorts by time; the date is that of the drive's start in UTC."""
    return f"{recorded_from.astimezone(UTC):%Y-%m-%d}_{vehicle_id}_{batch_id}"


def parse_partition_key(key: str) -> PartitionRef | None:
    """Return the batch and date of a partition key, `None` when it is not one of a batch."""
    match = _PARTITION.fullmatch(key)
    if match is None:
        return None
    try:
        day = date.fromisoformat(match["date"])
    except ValueError:
        return None
    return PartitionRef(match["vehicle"], match["batch"], day)


def is_hidden(key: str) -> bool:
    """Return whether a part of a key begins with a dot, as names of unfinished files do when a program copies them."""
    return key.startswith(".") or "/." in key


def printable(text: str) -> str:
    """Escape in a text from outside what moves a cursor, turns the direction of writing or is not valid Unicode."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
