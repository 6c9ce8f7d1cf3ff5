"""A batch on its way through the stages: what is known of it, its tables, and the processes that work on it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

import polars as pl

from argus_assets.assets.event_writer import BatchEvents
from argus_assets.assets.open_drive import OpenDrive, open_drive
from argus_assets.common.capacity import Capacity, computing_bytes
from argus_assets.common.tables import Table
from argus_assets.containment.client import Pool, pool
from argus_assets.diagnosis.model import Diagnosis, Evidence
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import BatchRef
from argus_assets.drop.manifest import Manifest
from argus_assets.events import BatchCreated
from argus_assets.faults.config import FaultConfig
from argus_assets.lake.batches import BatchStore
from argus_assets.lake.store import Lake
from argus_assets.monitoring.latency import Latency, StepName, waterfall
from argus_assets.pipeline import BATCH_REPORT, STAGES
from argus_assets.recordings.model import Limits
from argus_assets.recordings.registry import Decoders
from argus_assets.recordings.schema import RECORDINGS
from argus_assets.resources.diagnosis import DiagnosisResource


@dataclass(frozen=True, slots=True)
class Services:
    """Services shared by all batches of a run."""

    bucket: Bucket
    store: BatchStore
    decoders: Decoders
    limits: Limits
    faults: FaultConfig
    diagnostician: DiagnosisResource
    capacity: Capacity

    @property
    def lake(self) -> Lake:
        """The lake under the store."""
        return self.store.lake


@dataclass
class BatchContext:
    """One batch of a run. Loads from the lake what this run did not make itself.

    Attributes:
        partition: Its key.
        ref: Its vehicle and batch.
        digest: Of its manifest.
        manifest: What was dropped.
        services: What it shares with the other batches of the run.
        events: Where its events go.
        created: How it was taken, where this run takes it whole from its drop; else `None`.
        run_started_at: When the run began to execute.
        begun_at: When the batch's first stage began.
        seconds: How long each stage took that this run made.
        kept_parts: Local folders of the parts, by their folder in the lake, as long as `processes` has them.
    """

    partition: str
    ref: BatchRef
    digest: str
    manifest: Manifest
    services: Services
    events: BatchEvents
    created: BatchCreated | None
    run_started_at: datetime
    begun_at: datetime
    seconds: dict[StepName, float] = field(default_factory=dict)
    kept_parts: Mapping[str, Path] = field(default_factory=dict)
    _tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    _open: ExitStack = field(default_factory=ExitStack)

    # ------------------------------------------------------------------------------------------ tables and documents

    def table(self, table: Table) -> pl.DataFrame:
        """Return a table of the batch."""
        if table.name not in self._tables:
            self._tables[table.name] = self.services.store.table(self.partition, table)
        return self._tables[table.name]

    def table_if_there(self, table: Table) -> pl.DataFrame:
        """Return a table of the batch; an empty one for a batch of an earlier version, which has none."""
        if table.name not in self._tables and not self.services.store.has_table(self.partition, table):
            return table.empty()
        return self.table(table)

    def tables(self, *tables: Table) -> dict[str, pl.DataFrame]:
        """Return tables of the batch, by name."""
        return {table.name: self.table(table) for table in tables}

    def save_table(self, table: Table, frame: pl.DataFrame) -> str:
        """Write a table of the batch; return its path."""
        self._tables[table.name] = frame
        return self.services.store.save_table(self.partition, frame, table)

    @property
    def recordings(self) -> pl.DataFrame:
        """`recordings.schema.RECORDINGS`."""
        return self.table(RECORDINGS)

    @cached_property
    def evidence(self) -> Evidence:
        """The evidence that the diagnosis rests on."""
        return self.services.store.evidence(self.partition)

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """The diagnosis, as this run made it or as it was made last."""
        return self.services.store.diagnosis(self.partition)

    def save_diagnosis(self, evidence: Evidence, diagnosis: Diagnosis) -> str:
        """Write the diagnosis and what it rests on; return the path of the diagnosis."""
        self.evidence, self.diagnosis = evidence, diagnosis
        self.services.store.save_evidence(self.partition, evidence)
        return self.services.store.save_diagnosis(self.partition, diagnosis)

    # ------------------------------------------------------------------------------------------ processes and memory

    @cached_property
    def drive(self) -> OpenDrive:
        """The parts of the drive, open until `close_drive`."""
        drive = open_drive(self.recordings, lake=self.services.lake, processes=self.processes, kept=self.kept_parts)
        return self._open.enter_context(drive)

    @cached_property
    def processes(self) -> Pool:
        """Confined processes that touch nothing but this batch, until `close_drive`."""
        return self._open.enter_context(pool())

    def close_drive(self) -> None:
        """End the processes that read the recordings and compute on the parts."""
        self._open.close()
        self.kept_parts = {}
        for name in ("drive", "processes"):
            self.__dict__.pop(name, None)

    def computing(self) -> AbstractContextManager[None]:
        """Hold the memory that it takes to compute on the frames of the drive."""
        return self.services.capacity.computing(computing_bytes(int(self.recordings["frames"].sum())))

    # ------------------------------------------------------------------------------------------ latency

    def latency(self, *, report_s: float | None = None) -> Latency | None:
        """Return the waterfall so far; `None` for a batch that this run did not take whole from its drop.

        Args:
            report_s: Seconds that the last stage has taken; it is left out unless given.
        """
        created = self.created
        if created is None or created.marker_at is None or created.taken_at is None:
            return None
        if len(self.seconds) < len(STAGES) - 1:
            return None
        return waterfall(
            first_byte_at=created.first_byte_at,
            marker_at=created.marker_at,
            taken_at=created.taken_at,
            run_started_at=self.run_started_at,
            begun_at=self.begun_at,
            stages={**self.seconds, **({} if report_s is None else {BATCH_REPORT.step: report_s})},
        )
