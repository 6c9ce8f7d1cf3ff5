"""The lake by batch: manifest, tables and documents of a partition, without a path."""

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
    """Reads and writes what the lake keeps of batches, by partition key. Safe to use from several threads.

    What is read raises `PermanentError` where it is not there, and `Unavailable` where the lake does not answer. What is
    written returns its path, as the file system of the lake names it.

    Args:
        lake: Where it is kept.
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
            PermanentError: The partition is not one of a batch.
            Unavailable: Its bytes do not have this digest.
        """
        ref = parse_partition_key(partition)
        if ref is None:
            raise PermanentError(f"{partition!r} is not a batch.", help="See `argus status`.")
        return parse_manifest(self.raw_manifest(partition, digest), vehicle_id=ref.vehicle_id, batch_id=ref.batch_id)

    def save_manifest(self, partition: str, digest: str, raw: bytes) -> str:
        """Keep the bytes of a manifest that is taken."""
        return self.lake.write_bytes(layout.manifest(partition, digest), raw)

    # ------------------------------------------------------------------------------------------ tables

    def has_table(self, partition: str, table: Table) -> bool:
        """Return whether a table was made."""
        return self.lake.exists(layout.table(partition, table))

    def table(self, partition: str, table: Table) -> pl.DataFrame:
        """Return a table."""
        return self.lake.read_table(layout.table(partition, table), table)

    def save_table(self, partition: str, frame: pl.DataFrame, table: Table) -> str:
        """Write a table."""
        return self.lake.write_table(layout.table(partition, table), frame, table)

    # ------------------------------------------------------------------------------------------ documents

    def notes(self, partition: str) -> tuple[str, ...]:
        """Return what the detectors left out; nothing for a batch of a version that kept none."""
        path = layout.document(partition, layout.NOTES)
        return _NOTES.validate_json(self.lake.read_bytes(path)) if self.lake.exists(path) else ()

    def save_notes(self, partition: str, notes: Sequence[str]) -> str:
        """Write what the detectors left out: `faults.detection.Findings.notes`."""
        return self._save(partition, layout.NOTES, _NOTES.dump_json(tuple(notes), indent=2))

    def evidence(self, partition: str) -> Evidence:
        """Return what the diagnosis rests on."""
        return Evidence.model_validate_json(self._read(partition, layout.EVIDENCE))

    def save_evidence(self, partition: str, evidence: Evidence) -> str:
        """Write what the diagnosis rests on."""
        return self._save(partition, layout.EVIDENCE, evidence.model_dump_json(indent=2).encode())

    def has_diagnosis(self, partition: str) -> bool:
        """Return whether the batch was diagnosed."""
        return self.lake.exists(layout.document(partition, layout.DIAGNOSIS))

    def diagnosis(self, partition: str) -> Diagnosis:
        """Return the diagnosis."""
        return Diagnosis.model_validate_json(self._read(partition, layout.DIAGNOSIS))

    def save_diagnosis(self, partition: str, diagnosis: Diagnosis) -> str:
        """Write the diagnosis."""
        return self._save(partition, layout.DIAGNOSIS, diagnosis.model_dump_json(indent=2).encode())

    def page_path(self, partition: str) -> str:
        """Return where the page is, as the file system of the lake names it."""
        return self.lake.path(layout.document(partition, layout.PAGE))

    def page(self, partition: str) -> bytes:
        """Return the page, HTML in UTF-8."""
        return self._read(partition, layout.PAGE)

    def save_page(self, partition: str, page: bytes) -> str:
        """Write the page."""
        return self._save(partition, layout.PAGE, page)

    def _read(self, partition: str, name: str) -> bytes:
        return self.lake.read_bytes(layout.document(partition, name))

    def _save(self, partition: str, name: str, content: bytes) -> str:
        return self.lake.write_bytes(layout.document(partition, name), content)
