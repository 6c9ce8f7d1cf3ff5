"""From reports to activations: an event is an inactive→active transition, not a frame.

A *report* says that a fault was active at one moment. Reports of one reporter (ECU or component on a channel) carry
a sequence number that counts all its messages, also those that list no fault. A fault that was in one message and
not in the next has become inactive; so has one that was not heard of for longer than a silence.
"""

from typing import Final

import polars as pl

from argus_assets.faults.schema import ERROR_EVENTS, SEVERITY
from argus_assets.tables import TIMESTAMP

REPORTS: Final = pl.Schema(
    {
        "source": ERROR_EVENTS.schema["source"],
        "channel": pl.String(),
        "ecu": pl.String(),
        "code": pl.String(),
        "seq": pl.Int64(),
        "timestamp": TIMESTAMP,
        "severity": SEVERITY,
        "severity_rule": pl.String(),
        "message": pl.String(),
        "lamp_status": pl.String(),
        "occurrence_count": pl.UInt8(),
        "recording": pl.String(),
        "frame": pl.UInt64(),
        "payload_hex": pl.String(),
    }
)
"""Columns of a table of reports, ordered by time."""

MAX_TEXT: Final = 512
_FAULT: Final = ["source", "channel", "ecu", "code"]


def activations(reports: pl.DataFrame, *, silence_s: float | None) -> pl.DataFrame:
    """Group reports into activations.

    Args:
        reports: `REPORTS`.
        silence_s: A fault not reported for longer has become inactive, seconds; `None` for never.

    Returns:
        `ERROR_EVENTS`, ordered by first_seen.
    """
    if reports.is_empty():
        return ERROR_EVENTS.empty()
    in_order = reports.sort([*_FAULT, "timestamp", "seq"], maintain_order=True)
    starts = pl.col("seq").diff().over(_FAULT).fill_null(2) > 1
    if silence_s is not None:
        starts |= pl.col("timestamp").diff().over(_FAULT).dt.total_nanoseconds() > int(silence_s * 1e9)
    numbered = in_order.with_columns(occurrence=starts.cast(pl.UInt32).cum_sum().over(_FAULT).cast(pl.UInt32))
    worst = pl.col("severity").to_physical().arg_max()
    events = numbered.group_by([*_FAULT, "occurrence"], maintain_order=True).agg(
        pl.col("severity").get(worst),
        pl.col("severity_rule").get(worst),
        first_seen=pl.col("timestamp").first(),
        last_seen=pl.col("timestamp").last(),
        frame_count=pl.len().cast(pl.UInt32),
        message=pl.col("message").first().str.slice(0, MAX_TEXT),
        lamp_status=pl.col("lamp_status").get(worst),
        occurrence_count=pl.col("occurrence_count").last(),
        recording=pl.col("recording").first(),
        frame=pl.col("frame").first(),
        payload_hex=pl.col("payload_hex").first(),
    )
    lasting = (pl.col("last_seen") - pl.col("first_seen")).dt.total_nanoseconds() / 1e9
    return ERROR_EVENTS.cast(events.with_columns(active_s=lasting)).sort(
        "first_seen", "code", "ecu", maintain_order=True
    )
