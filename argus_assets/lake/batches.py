"""Manifests, tables and documents of batches in the lake, by partition key instead of path."""

from collections.abc import Sequence

import polars as pl
from pydantic import TypeAdapter

from argus_assets.common.tables import Table
from argus_assets.diagnosis.model import Diagnosis, Evidence
from argus_assets.drop.keys import parse_partition_key
from argus_assets.drop.manifest import Manifest, manifest_digest, parse_manifest
from argus_assets.errors import PermanentError, Unavailable
from argus_assets.lake import layout
from argus_assets.lake.store import Lake

_NOTES = TypeAdapter(tuple[str, ...])


class BatchStore:
    """Read and write manifests, tables and documents of batches. Safe to use from several threads.

    Reading raises `PermanentError` for what does not exist, and `Unavailable` when the lake does not answer. Saving returns
    the path, as the file system of the lake names it.

    Args:
        lake: The lake.
    """

    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    # ------------------------------------------------------------------------------------------ manifests

    def raw_manifest(self, partition: str, digest: str) -> bytes:
        """Return the bytes of a manifest that was taken.

        Raises:
            Unavailable: They do not have this digest.
        """
        raw = self.lake.read_bytes(layout.manifest(partition, digest))
        if manifest_digest(raw) != digest:
            raise Unavailable(
                f"The manifest {digest} of {partition} came damaged from the lake.",
                help="Run it again, or drop it again.",
            )
        return raw

    def manifest(self, partition: str, digest: str) -> Manifest:
        """Return a manifest that was taken.

        Raises:
            PermanentError: It is not the partition key of a batch.
            Unavailable: Its bytes do not have this digest.
        """
        ref = parse_partition_key(partition)
        if ref is None:
            raise PermanentError(f"{partition!r} is not a batch.", help="See `argus status`.")
        return parse_manifest(self.raw_manifest(partition, digest), vehicle_id=ref.vehicle_id, batch_id=ref.batch_id)

    def save_manifest(self, partition: str, digest: str, raw: bytes) -> str:
        """Save the bytes of a manifest when it is taken."""
        return self.lake.write_bytes(layout.manifest(partition, digest), raw)

    # ------------------------------------------------------------------------------------------ tables

    def has_table(self, partition: str, table: Table) -> bool:
        """Return whether a table exists."""
        return self.lake.exists(layout.table(partition, table))

    def table(self, partition: str, table: Table) -> pl.DataFrame:
        """Read a table."""
        return self.lake.read_table(layout.table(partition, table), table)

    def save_table(self, partition: str, frame: pl.DataFrame, table: Table) -> str:
        """Save a table."""
        return self.lake.write_table(layout.table(partition, table), frame, table)

    # ------------------------------------------------------------------------------------------ documents

    def notes(self, partition: str) -> tuple[str, ...]:
        """Return what the detectors left out; nothing for batches of Argus 0.1, which kept no notes."""
        path = layout.document(partition, layout.NOTES)
        return _NOTES.validate_json(self.lake.read_bytes(path)) if self.lake.exists(path) else ()

    def save_notes(self, partition: str, notes: Sequence[str]) -> str:
        """Save what the detectors left out: `faults.detection.Findings.notes`."""
        return self._save(partition, layout.NOTES, _NOTES.dump_json(tuple(notes), indent=2))

    def evidence(self, partition: str) -> Evidence:
        """Return the evidence of the diagnosis."""
        return Evidence.model_validate_json(self._read(partition, layout.EVIDENCE))

    def save_evidence(self, partition: str, evidence: Evidence) -> str:
        """Save the evidence of the diagnosis."""
        return self._save(partition, layout.EVIDENCE, evidence.model_dump_json(indent=2).encode())

    def has_diagnosis(self, partition: str) -> bool:
        """Return whether there is a diagnosis."""
        return self.lake.exists(layout.document(partition, layout.DIAGNOSIS))

    def diagnosis(self, partition: str) -> Diagnosis:
        """Return the diagnosis."""
        return Diagnosis.model_validate_json(self._read(partition, layout.DIAGNOSIS))

    def save_diagnosis(self, partition: str, diagnosis: Diagnosis) -> str:
        """Save the diagnosis."""
        return self._save(partition, layout.DIAGNOSIS, diagnosis.model_dump_json(indent=2).encode())

    def page_path(self, partition: str) -> str:
        """Return the path of the page, as the file system of the lake names it."""
        return self.lake.path(layout.document(partition, layout.PAGE))

    def page(self, partition: str) -> bytes:
        """Return the page, HTML in UTF-8."""
        return self._read(partition, layout.PAGE)

    def save_page(self, partition: str, page: bytes) -> str:
        """Save the page."""
        return self._save(partition, layout.PAGE, page)

    def _read(self, partition: str, name: str) -> bytes:
        return self.lake.read_bytes(layout.document(partition, name))

    def _save(self, partition: str, name: str, content: bytes) -> str:
        return self.lake.write_bytes(layout.document(partition, name), content)
