"""All detectors over one drive: frame tables → error events."""

from dataclasses import dataclass

import polars as pl

from argus_assets.faults import j1939, obd, software
from argus_assets.faults.activations import activations
from argus_assets.faults.can import data_frames
from argus_assets.faults.schema import ERROR_EVENTS


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in a drive.

    Attributes:
        events: `schema.ERROR_EVENTS`, sorted by first_seen.
        notes: What could not be read, a sentence for each reporter: lost packets, messages cut short.
    """

    events: pl.DataFrame
    notes: tuple[str, ...]


def find_events(frames: pl.LazyFrame, logs: pl.LazyFrame, diagnostics: pl.LazyFrame) -> Findings:
    """Find the error events of a drive.

    The recordings of the drive stand one behind another in each table, in any order: an activation or a transport
    session that spans two of them is one. Only the rows that a detector wants are collected.

    Args:
        frames: `recordings.schema.FRAMES` with a column `recording` (String).
        logs: `recordings.schema.LOGS`, likewise.
        diagnostics: `recordings.schema.DIAGNOSTICS`, likewise.
    """
    dm1_rows, obd_rows, log_rows, diagnostic_rows = pl.collect_all(
        [
            data_frames(frames, j1939.WANTED),
            data_frames(frames, obd.WANTED),
            software.log_rows(logs),
            software.diagnostic_rows(diagnostics),
        ]
    )
    dm1, dm1_notes = j1939.find_reports(dm1_rows)
    confirmed, obd_notes = obd.find_reports(obd_rows)
    of_software = pl.concat(
        [
            activations(
                software.find_log_reports(log_rows).with_columns(payload=pl.lit(b"")),
                longest_gap_ns=software.LOG_LONGEST_GAP_NS,
            ),
            activations(
                software.find_diagnostic_reports(diagnostic_rows).with_columns(payload=pl.lit(b"")),
                longest_gap_ns=None,
            ),
        ]
    )
    events = pl.concat(
        [
            activations(dm1, longest_gap_ns=j1939.LONGEST_GAP_NS),
            activations(confirmed, longest_gap_ns=None),
            software.with_payloads(of_software, frames),
        ]
    )
    ordered = events.sort("first_seen", "source", "channel", "ecu", "code")
    return Findings(ERROR_EVENTS.check(ordered), (*dm1_notes, *obd_notes))
