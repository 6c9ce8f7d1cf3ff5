"""All detectors over one drive: frame tables → error events."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import polars as pl

from argus_assets.common.texts import MAX_NAME_CHARS, clean, clean_column
from argus_assets.faults import software
from argus_assets.faults.activations import numbered
from argus_assets.faults.bounds import bounded_frames
from argus_assets.faults.can_bus import errors as can_errors
from argus_assets.faults.can_bus.health import bus_health
from argus_assets.faults.can_frames import data_frames
from argus_assets.faults.config import FaultConfig, default_config
from argus_assets.faults.detector import Found
from argus_assets.faults.j1939 import detector as j1939
from argus_assets.faults.rules import detector as rule_events
from argus_assets.faults.rules.signals import wanted as wanted_by_rules
from argus_assets.faults.schema import BUS_STATS, ERROR_EVENTS
from argus_assets.faults.severity import with_dictionary_severity
from argus_assets.faults.uds_obd import detector as diagnostic
from argus_assets.faults.uds_obd.addressing import wanted as wanted_by_diagnostics
from argus_assets.recordings.drive import Drive

BUILT_IN: Final = ("j1939", "diagnostics", "can_errors", "bus_health", "software", "rules")
"""Names of the detectors of this package, by which they are disabled."""

_NAMES: Final = ("code", "ecu", "ecu_name", "channel", "lamp_status")
_TEXTS: Final = ("message", "details", "payload_hex")
_MAX_NOTE_CHARS: Final = 1000


@dataclass(frozen=True, slots=True)
class Findings:
    """What all detectors found in a drive.

    Attributes:
        events: `schema.ERROR_EVENTS`, sorted by first_seen.
        notes: What could not be read, a sentence for each reporter.
        buses: `schema.BUS_STATS`.
    """

    events: pl.DataFrame
    notes: tuple[str, ...]
    buses: pl.DataFrame


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """What the detectors of this package found.

    Attributes:
        found: Their events, before the dictionary and the plug-ins have their say.
        buses: `schema.BUS_STATS`.
    """

    found: Found
    buses: pl.DataFrame


def find_events(drive: Drive, config: FaultConfig | None = None) -> Findings:
    """Find the error events of a drive.

    An activation or a transport session that spans two recordings is one. Only payloads that a detector wants are read.

    Args:
        drive: Its tables.
        config: How faults are looked for; the shipped rules and dictionary unless given.
    """
    config = default_config() if config is None else config
    return with_plug_ins(find_built_in(drive, config), [plug_in.find(drive) for plug_in in config.plug_ins], config)


def find_built_in(drive: Drive, config: FaultConfig) -> BuiltIn:
    """Find what the detectors of this package find; the dictionary and the plug-ins of `config` are not asked."""
    found: list[Found] = []

    def bounded(rows: pl.LazyFrame, what: str) -> pl.DataFrame:
        kept, notes = bounded_frames(rows, drive.frames, what)
        found.append(Found(ERROR_EVENTS.empty(), notes))
        return kept

    # One after another, so that the frames of one detector are in memory at a time.
    if config.runs("j1939"):
        found.append(j1939.find(bounded(data_frames(drive.frames, j1939.WANTED), "J1939 diagnostics")))
    if config.runs("diagnostics"):
        wanted = wanted_by_diagnostics(config.addressings)
        found.append(
            diagnostic.find(bounded(data_frames(drive.frames, wanted), "OBD and UDS diagnostics"), config.addressings)
        )
    buses = BUS_STATS.empty()
    if config.runs("can_errors"):
        found.append(can_errors.find_in(bounded(can_errors.error_frames(drive.frames), "CAN errors")))
    if config.runs("bus_health"):
        health = bus_health(drive, config.bit_rate_of)
        found.append(health.found)
        buses = health.stats
    if config.runs("software"):
        found.append(software.find(drive, config.code_patterns))
    if config.runs("rules"):
        signals = data_frames(drive.frames, wanted_by_rules(config))
        found.append(rule_events.find(drive, signals.collect(), config))
    return BuiltIn(Found.together(found), buses)


def with_plug_ins(built_in: BuiltIn, found: Iterable[Found], config: FaultConfig) -> Findings:
    """Add what detectors of other packages found, and let the dictionary decide severities that nobody stated."""
    plugged = Found.together(found)
    # Two of them may report the same fault.
    together = Found.together([built_in.found, Found(numbered(plugged.events), plugged.notes)])
    events = with_dictionary_severity(_cleaned(together.events), config.dictionary)
    ordered = events.sort("first_seen", "source", "channel", "ecu", "code", "occurrence")
    notes = tuple(clean(note, max_chars=_MAX_NOTE_CHARS) for note in together.notes)
    return Findings(ERROR_EVENTS.check(ordered), notes, BUS_STATS.check(built_in.buses))


def _cleaned(events: pl.DataFrame) -> pl.DataFrame:
    """The texts of recordings were cleaned when they were read. What detectors make of bytes enters here."""
    if events.is_empty():
        return events
    return events.with_columns(
        *(clean_column(events[name], max_chars=MAX_NAME_CHARS) for name in _NAMES),
        *(clean_column(events[name]) for name in _TEXTS),
    )
