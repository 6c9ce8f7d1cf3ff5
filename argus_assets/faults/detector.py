"""Findings of a detector, and what a detector of another package is.

Detectors of this package implement `detection.BuiltIn`; `detectors.py` lists them. A team's own detector joins by the
entry point `argus.faults` (see `plugins/packages.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

import polars as pl

from argus_assets.faults.schema import BUS_STATS, ERROR_EVENTS
from argus_assets.plugins.workplace import Workplace
from argus_assets.recordings.drive import Drive


@dataclass(frozen=True, slots=True)
class Found:
    """Findings of one detector in a drive.

    Attributes:
        events: `schema.ERROR_EVENTS`, in any order.
        notes: What could not be read, a sentence for each reporter: lost packets, messages cut short.
        buses: `schema.BUS_STATS`, of a detector that measures CAN channels.
    """

    events: pl.DataFrame
    notes: tuple[str, ...] = ()
    buses: pl.DataFrame = field(default_factory=BUS_STATS.empty)

    @classmethod
    def together(cls, found: Iterable[Self]) -> Self:
        """Combine the findings of several detectors."""
        every = tuple(found)
        return cls(
            pl.concat([ERROR_EVENTS.empty(), *(f.events for f in every)]),
            tuple(note for f in every for note in f.notes),
            pl.concat([BUS_STATS.empty(), *(f.buses for f in every)]),
        )


class Detector(Protocol):
    """A detector of the entry point `argus.faults`, which names an object of this kind or a class without arguments.

    It runs in a process of its own. `timeout_s`, `memory_mib`, `output_mib`, `processes` and `network` are further
    attributes that it may have (`plugins.process.PlugInBounds`).

    Attributes:
        name: Its name, in lower case.
        version: Raise it when it finds something else in the same drive.
    """

    name: str
    version: int

    def find(self, drive: Drive) -> Found:
        """Find error events in a drive; source, occurrence and active_s are filled in for it."""
        ...


class Collector(Protocol):
    """Reads the events that a detector of another package wrote. Can be pickled, and runs no foreign code."""

    def found(self, output: Path) -> Found:
        """Return what lies in a folder; whatever cannot be used becomes a note."""
        ...

    def failed(self, why: str) -> Found:
        """Return a note, and no events."""
        ...


class PlugIn(Protocol):
    """A detector of another package as this one runs it: whatever it does, its findings are a valid table.

    Attributes:
        name: Its name.
        identity: Name, version and package: its findings may differ when this does.
    """

    name: str
    identity: str

    @property
    def collector(self) -> Collector:
        """Reads what it wrote."""
        ...

    def run(self, drive: Drive, place: Workplace) -> str | None:
        """Run it over a drive; returns why it failed, if it did."""
        ...

    def find(self, drive: Drive) -> Found:
        """Run it over a drive and read what it wrote, here; a failure is a note."""
        ...
