"""All detectors over one drive: frame tables → error events."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from argus_assets.faults import can_errors, j1939, obd, software
from argus_assets.faults.bus_health import BitRate, bus_health
from argus_assets.faults.can import data_frames
from argus_assets.faults.detector import Found
from argus_assets.faults.dictionary import Dictionary, built_in
from argus_assets.faults.schema import BUS_STATS, ERROR_EVENTS
from argus_assets.faults.severity import with_dictionary_severity
from argus_assets.recordings.drive import Drive

BY_IDENTIFIER = (j1939, obd)
"""Detectors over CAN data frames that they choose by identifier: `WANTED`, and `find` over those rows."""

OVER_DRIVE = (can_errors, software)
"""Detectors that read what they need themselves: `find` over the drive."""


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


def find_events(
    drive: Drive, *, dictionary: Dictionary | None = None, bit_rates: Mapping[str, BitRate] | None = None
) -> Findings:
    """Find the error events of a drive.

    An activation or a transport session that spans two recordings is one. Payloads are read once, and only those that a
    detector wants.

    Args:
        drive: Its tables.
        dictionary: Decides the severity where a report does not; the built-in one when there is none.
        bit_rates: Of its CAN channels, where they are known.
    """
    wanted = BY_IDENTIFIER[0].WANTED
    for detector in BY_IDENTIFIER[1:]:
        wanted |= detector.WANTED
    rows = data_frames(drive.frames, wanted).collect()
    health = bus_health(drive, bit_rates)
    found = Found.together(
        [
            *(d.find(rows.filter(d.WANTED)) for d in BY_IDENTIFIER),
            *(d.find(drive) for d in OVER_DRIVE),
            health.found,
        ]
    )
    events = with_dictionary_severity(found.events, dictionary or built_in())
    ordered = events.sort("first_seen", "source", "channel", "ecu", "code", "occurrence")
    return Findings(ERROR_EVENTS.check(ordered), found.notes, BUS_STATS.check(health.stats))
