"""All paths of the lake; no other module spells one.

manifests/<partition>/<digest>.json             the manifest that a run works from
parts/<reader version>/<sha256[:2]>/<sha256>/   one parsed recording (`recordings/parts.py`), `summary.json` last
verified/<sha256>/<proof>                       an object that was read and has this content, by key, ETag and size
batches/<partition>/<table>.parquet             the tables of one batch, by their declared names
batches/<partition>/                            notes.json, evidence.json, diagnosis.json and report.html beside them
golden/<partition>.json                         the golden set, with the outcome that each batch is to have
upkeep/                                         reports of maintenance
upkeep/reruns/waiting/, upkeep/reruns/done/     what `argus rerun` asked for
.doctor/<process>                               what `argus doctor` writes and deletes
"""

from hashlib import sha256
from typing import Final

from argus_assets.common.tables import Table

NOTES: Final = "notes.json"
EVIDENCE: Final = "evidence.json"
DIAGNOSIS: Final = "diagnosis.json"
PAGE: Final = "report.html"

BATCHES: Final = "batches"
GOLDEN: Final = "golden"
RERUNS_WAITING: Final = "upkeep/reruns/waiting"

RECONCILE_REPORT: Final = "upkeep/reconcile.json"
RETENTION_REPORT: Final = "upkeep/retain.json"
STALE_UPLOADS_REPORT: Final = "upkeep/stale_uploads.json"

_PROOF_CHARS: Final = 32
"""Digits of a SHA-256: 128 bits are unique among all objects."""


def manifest(partition: str, digest: str) -> str:
    """Return the path of a manifest that runs work from."""
    return f"manifests/{partition}/{digest}.json"


def document(partition: str, name: str) -> str:
    """Return the path of a document of a batch: `NOTES`, `EVIDENCE`, `DIAGNOSIS` or `PAGE`."""
    return f"{BATCHES}/{partition}/{name}"


def table(partition: str, declared: Table) -> str:
    """Return the path of a table of a batch."""
    return document(partition, f"{declared.name}.parquet")


def part(reader_version: str, content_sha256: str) -> str:
    """Return the folder of a parsed recording.

    Args:
        reader_version: `recordings.parts.reader_version`.
        content_sha256: Of the recording, in hexadecimal.
    """
    return f"parts/{reader_version}/{content_sha256[:2]}/{content_sha256}"


def proof(content_sha256: str, *, key: str, etag: str, size: int) -> str:
    """Return the path of the proof that an object of the bucket was read and has this content.

    Args:
        content_sha256: Of the object, in hexadecimal.
        key: Of the object.
        etag: Of the object, when it was read.
        size: Of the object, bytes.
    """
    read = sha256(f"{key}|{etag}|{size}".encode()).hexdigest()
    return f"verified/{content_sha256}/{read[:_PROOF_CHARS]}"


def golden(partition: str) -> str:
    """Return the path of a batch of the golden set."""
    return f"{GOLDEN}/{partition}.json"


def rerun_waiting(request: str) -> str:
    """Return the path of a request of `argus rerun` that waits for the sensor."""
    return f"{RERUNS_WAITING}/{request}.json"


def rerun_done(request: str) -> str:
    """Return the path of a request once all of its runs were requested."""
    return f"upkeep/reruns/done/{request}.json"


def probe(process: int) -> str:
    """Return the path at which `argus doctor` tries to write."""
    return f".doctor/{process}"
