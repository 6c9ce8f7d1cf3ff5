"""All detectors over one drive."""

from dataclasses import dataclass

import polars as pl

from argus_assets.faults import j1939, obd, software
from argus_assets.faults.activations import activations
from argus_assets.faults.schema import ERROR_EVENTS


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found.

    Attributes:
        events: `ERROR_EVENTS`, ordered by first_seen.
        notes: What could not be put together, for people: lost packets of transport protocols.
    """

    events: pl.DataFrame
    notes: tuple[str, ...]


def find_events(frames: pl.LazyFrame, logs: pl.LazyFrame, diagnostics: pl.LazyFrame) -> Findings:
    """Find the error events of a drive.

    Args:
        frames: `recordings.schema.FRAMES` with a column `recording`, of all recordings of the drive.
        logs: `recordings.schema.LOGS`, likewise.
        diagnostics: `recordings.schema.DIAGNOSTICS`, likewise.
    """
    dm1, transport = j1939.find_reports(frames)
    mode_03, isotp = obd.find_reports(frames)
    events = [
        activations(dm1, silence_s=j1939.SILENCE_S),
        activations(mode_03, silence_s=None),
        activations(software.find_log_reports(logs, frames), silence_s=software.LOG_SILENCE_S),
        activations(software.find_diagnostic_reports(diagnostics, frames), silence_s=None),
    ]
    notes: list[str] = []
    if transport.incomplete:
        notes.append(f"J1939 transport: {transport.incomplete} DM1 messages incomplete, {transport.complete} complete")
    if isotp.incomplete:
        notes.append(f"ISO-TP: {isotp.incomplete} answers incomplete, {isotp.complete} complete")
    ordered = pl.concat(events).sort("first_seen", "source", "code", "ecu", maintain_order=True)
    return Findings(ERROR_EVENTS.check(ordered), tuple(notes))
