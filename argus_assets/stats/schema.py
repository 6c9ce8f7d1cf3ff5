"""The error stats table."""

from typing import Final

import polars as pl

from argus_assets.faults.schema import SEVERITY
from argus_assets.tables import TIMESTAMP, Column, Table

ERROR_STATS: Final = Table(
    "error_stats",
    "one fault of one ECU (or node) over the whole drive, ranked: row 0 is the most important",
    (
        Column("rank", pl.UInt32, "1 is the most important."),
        Column("score", pl.Float64, "What it is ranked by; `stats/ranking.py` documents it."),
        Column("code", pl.String, "Fault code."),
        Column("source", pl.String, "What reported it."),
        Column("ecu", pl.String, "Reporting ECU or node."),
        Column("severity", SEVERITY, "Worst severity seen."),
        Column("occurrences", pl.UInt32, "Inactive→active transitions."),
        Column("frame_count", pl.UInt32, "Reports, for reference: a DM1 repeats each second while active."),
        Column("active_s", pl.Float64, "Seconds active, over all occurrences."),
        Column("active_share_pct", pl.Float64, "Share of the drive during which it was active."),
        Column(
            "rate_per_hour",
            pl.Float64,
            "Occurrences per hour of the drive; null for a drive of no length.",
            nullable=True,
        ),
        Column("first_seen", TIMESTAMP, "First report."),
        Column("last_seen", TIMESTAMP, "Last report."),
        Column("seconds_into_drive", pl.Float64, "First report, counted from the drive's first frame."),
        Column(
            "co_occurring",
            pl.List(pl.String),
            "Codes that were active at the same time or within 5 s, most overlap first.",
        ),
        Column("message", pl.String, "Text of the first report.", nullable=True),
        Column("recording", pl.String, "Evidence: recording of the first report."),
        Column("frame", pl.UInt64, "Evidence: frame number of the first report."),
    ),
)
