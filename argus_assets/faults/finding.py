"""All detectors over one drive: frame tables → error events."""

from argus_assets.faults import diagnostic, j1939, software
from argus_assets.faults.can import data_frames
from argus_assets.faults.detector import Found
from argus_assets.faults.schema import ERROR_EVENTS
from argus_assets.recordings.drive import Drive

_BY_IDENTIFIER = (j1939, diagnostic)
"""Detectors over CAN data frames that they choose by identifier: `WANTED`, and `find` over those rows."""


def find_events(drive: Drive) -> Found:
    """Find the error events of a drive.

    An activation or a transport session that spans two recordings is one. Frames are read once, and only those that a
    detector wants.

    Returns:
        Events sorted by first_seen, and notes on what could not be read.
    """
    wanted = _BY_IDENTIFIER[0].WANTED
    for detector in _BY_IDENTIFIER[1:]:
        wanted |= detector.WANTED
    rows = data_frames(drive.frames, wanted).collect()
    found = Found.together([*(d.find(rows.filter(d.WANTED)) for d in _BY_IDENTIFIER), software.find(drive)])
    ordered = found.events.sort("first_seen", "source", "channel", "ecu", "code", "occurrence")
    return Found(ERROR_EVENTS.check(ordered), found.notes)
