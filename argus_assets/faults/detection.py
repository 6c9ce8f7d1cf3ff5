"""All detectors over one drive: frame tables → error events."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Final, Protocol, cast

import polars as pl

from argus_assets.common.texts import MAX_NAME_CHARS, clean, clean_column
from argus_assets.faults.activations import numbered
from argus_assets.faults.bounds import bounded_frames
from argus_assets.faults.config import FaultConfig, default_config
from argus_assets.faults.declaration import Declaration
from argus_assets.faults.detector import Found
from argus_assets.faults.detectors import DETECTORS
from argus_assets.faults.schema import BUS_STATS, ERROR_EVENTS
from argus_assets.faults.severity import with_dictionary_severity
from argus_assets.recordings.drive import Drive

_NAMES: Final = ("code", "ecu", "ecu_name", "channel", "lamp_status")
_TEXTS: Final = ("message", "details", "payload_hex")
_MAX_NOTE_CHARS: Final = 1000


class BuiltIn(Protocol):
    """A detector of this package: a module with these two functions, which its `Declaration` names."""

    def wanted(self, frames: pl.LazyFrame, config: FaultConfig, /) -> pl.LazyFrame | None:
        """Select the frames that it wants, of all frames of a drive; `None` where it reads the drive itself."""
        ...

    def find(self, drive: Drive, rows: pl.DataFrame, config: FaultConfig, /) -> Found:
        """Find error events in a drive.

        Args:
            drive: The drive.
            rows: The frames that it wants, which it may drop to save memory: nobody else holds them.
            config: Configuration of fault detection.
        """
        ...


BUILT_IN: Final = tuple((d, cast("BuiltIn", import_module(d.module))) for d in DETECTORS)
"""The detectors of this package with their declarations."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Findings of all detectors in a drive.

    Attributes:
        events: `schema.ERROR_EVENTS`, sorted by first_seen.
        notes: What could not be read, a sentence for each reporter.
        buses: `schema.BUS_STATS`.
    """

    events: pl.DataFrame
    notes: tuple[str, ...]
    buses: pl.DataFrame


def find_events(drive: Drive, config: FaultConfig | None = None) -> Findings:
    """Find the error events of a drive.

    An activation or a transport session that spans two recordings is one. Only payloads that a detector wants are read.

    Args:
        drive: Its tables.
        config: Configuration of fault detection; the shipped rules and dictionary unless given.
    """
    config = default_config() if config is None else config
    return with_plug_ins(find_built_in(drive, config), [plug_in.find(drive) for plug_in in config.plug_ins], config)


def find_built_in(drive: Drive, config: FaultConfig) -> Found:
    """Find what the detectors of this package find; the dictionary and the plug-ins of `config` are not asked."""
    found: list[Found] = []

    def read(declared: Declaration, detector: BuiltIn) -> pl.DataFrame:
        rows = detector.wanted(drive.frames, config)
        if rows is None:
            return pl.DataFrame()
        if not declared.reads:
            return rows.collect()
        kept, notes = bounded_frames(rows, drive.frames, declared.reads, config.bounds)
        found.append(Found(ERROR_EVENTS.empty(), notes))
        return kept

    # One after another, so that the frames of one detector are in memory at a time.
    for declared, detector in BUILT_IN:
        if config.runs(declared.name):
            found.append(detector.find(drive, read(declared, detector), config))
    return Found.together(found)


def with_plug_ins(built_in: Found, found: Iterable[Found], config: FaultConfig) -> Findings:
    """Add what detectors of other packages found, and let the dictionary decide severities that nobody stated."""
    plugged = Found.together(found)
    # Two of them may report the same fault.
    together = Found.together([built_in, Found(numbered(plugged.events), plugged.notes)])
    events = with_dictionary_severity(_cleaned(together.events), config.dictionary)
    ordered = events.sort("first_seen", "source", "channel", "ecu", "code", "occurrence")
    notes = tuple(clean(note, max_chars=_MAX_NOTE_CHARS) for note in together.notes)
    return Findings(ERROR_EVENTS.check(ordered), notes, BUS_STATS.check(built_in.buses))


def _cleaned(events: pl.DataFrame) -> pl.DataFrame:
    """Clean what detectors make of bytes, which enters here; texts of recordings were cleaned when they were read."""
    if events.is_empty():
        return events
    return events.with_columns(
        *(clean_column(events[name], max_chars=MAX_NAME_CHARS) for name in _NAMES),
        *(clean_column(events[name]) for name in _TEXTS),
    )
