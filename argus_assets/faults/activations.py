"""From reports to activations: an event is an inactive→active transition, not a frame.

A *report* says that a fault was active at one moment. The messages of one reporter (an ECU or component on a
channel) are numbered, also those that list no fault: a fault that was in one message and not in the next has become
inactive. So has one that was not reported for longer than its source allows.
"""

from typing import Final

import polars as pl

from argus_assets.faults.schema import DETAILS, ERROR_EVENTS, SEVERITY
from argus_assets.faults.severity import severity_of

REPORTS: Final = pl.Schema(
    {
        "source": ERROR_EVENTS.schema["source"],
        "channel": pl.String(),
        "ecu": pl.String(),
        "ecu_name": pl.String(),
        "code": pl.String(),
        "seq": pl.Int64(),
        "timestamp": pl.Int64(),
        "status": ERROR_EVENTS.schema["status"],
        "severity": SEVERITY,
        "severity_rule": pl.String(),
        "message": pl.String(),
        "lamp_status": pl.String(),
        "occurrence_count": pl.UInt8(),
        "dtc_status": pl.UInt8(),
        "details": DETAILS,
        "recording": pl.String(),
        "frame": pl.UInt64(),
        "payload": pl.Binary(),
    }
)
"""A table of reports.

`seq` numbers the reporter's messages, `timestamp` is in nanoseconds since 1970 UTC. `severity` may be null where
`severity_rule` is one of `severity.RULES`, which then decides it.
"""

FAULT: Final = ("source", "channel", "ecu", "code")
"""What makes two reports reports of the same fault."""

MAX_TEXT_CHARACTERS: Final = 512
MAX_EVIDENCE_BYTES: Final = 256


def as_reports(found: pl.DataFrame) -> pl.DataFrame:
    """Bring a detector's findings to `REPORTS`; columns that its source does not have become null."""
    return found.select(
        (pl.col(name) if name in found.columns else pl.lit(None, dtype=dtype)).cast(dtype).alias(name)
        for name, dtype in REPORTS.items()
    )


def activations(reports: pl.DataFrame, *, longest_gap_ns: int | None) -> pl.DataFrame:
    """Group reports into activations.

    Args:
        reports: `REPORTS`.
        longest_gap_ns: Longest time between two reports of one activation, nanoseconds; `None` for any time.

    Returns:
        `ERROR_EVENTS`. Severity, its rule and the lamps are those of the worst report; text and evidence those of
        the first; the ECU's counter, its status and that of its code those of the last; details those of all reports,
        the first value of each key.
    """
    if reports.is_empty():
        return ERROR_EVENTS.empty()
    starts = pl.col("seq").diff().over(FAULT) > 1
    if longest_gap_ns is not None:
        starts |= pl.col("timestamp").diff().over(FAULT) > longest_gap_ns
    numbered = (
        reports.sort(*FAULT, "timestamp", "seq", maintain_order=True)
        .with_columns(
            starts=starts.fill_null(value=True), severity=pl.coalesce("severity", severity_of(pl.col("severity_rule")))
        )
        .with_columns(occurrence=pl.col("starts").cast(pl.UInt32).cum_sum().over(FAULT))
    )
    worst = pl.col("severity").cast(SEVERITY).to_physical().arg_max()
    details = pl.col("details").drop_nulls().explode(empty_as_null=False)
    grouped = numbered.group_by(*FAULT, "occurrence", maintain_order=True).agg(
        pl.col("severity", "severity_rule", "lamp_status").get(worst),
        pl.col("message").first().str.slice(0, MAX_TEXT_CHARACTERS),
        pl.col("recording", "frame").first(),
        pl.col("ecu_name").drop_nulls().first(),
        pl.col("occurrence_count", "status", "dtc_status").last(),
        first_seen=pl.col("timestamp").first(),
        last_seen=pl.col("timestamp").last(),
        frame_count=pl.len(),
        details=details.filter(details.struct.field("key").is_first_distinct()),
        payload_hex=pl.col("payload").first().bin.slice(0, MAX_EVIDENCE_BYTES).bin.encode("hex"),
    )
    active_s = (pl.col("last_seen") - pl.col("first_seen")) / 1e9
    details = pl.when(pl.col("details").list.len() > 0).then("details")
    return ERROR_EVENTS.cast(grouped.with_columns(active_s=active_s, details=details))


def numbered(events: pl.DataFrame) -> pl.DataFrame:
    """Number the activations of each fault anew, for detectors that find them without reports.

    Args:
        events: `ERROR_EVENTS`, whose `occurrence` does not count.

    Returns:
        `ERROR_EVENTS`, sorted by first_seen.
    """
    occurrence = pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).over(FAULT)
    return events.sort("first_seen", maintain_order=True).with_columns(occurrence=occurrence)
