"""Error events of one drive → error stats: one row for each fault of each ECU."""

from typing import Final

import polars as pl

from argus_assets.stats.ranking import score
from argus_assets.stats.schema import ERROR_STATS

_FAULT: Final = ["code", "source", "ecu"]

NEAR_S: Final = 5.0
"""Codes that were active within so many seconds of each other count as having come together."""

MAX_CO_OCCURRING: Final = 10
_PAIRED_FAULTS: Final = 100
"""Only so many of the highest-ranked faults are compared in pairs, which bounds the work on a noisy drive."""


def aggregate(events: pl.DataFrame, *, drive_from_ns: int | None, drive_to_ns: int | None) -> pl.DataFrame:
    """Aggregate the events of a drive.

    Args:
        events: `faults.schema.ERROR_EVENTS`.
        drive_from_ns: First frame of the drive, nanoseconds since 1970 UTC, `None` when nothing was read.
        drive_to_ns: Last frame.

    Returns:
        `ERROR_STATS`, most important first.
    """
    if events.is_empty() or drive_from_ns is None or drive_to_ns is None:
        return ERROR_STATS.empty()
    drive_s = (drive_to_ns - drive_from_ns) / 1e9
    worst_first = events.sort("first_seen", maintain_order=True)
    grouped = worst_first.group_by(_FAULT, maintain_order=True).agg(
        pl.col("source").first().cast(pl.String).alias("source_text"),
        severity=pl.col("severity").get(pl.col("severity").to_physical().arg_max()),
        occurrences=pl.len().cast(pl.UInt32),
        frame_count=pl.col("frame_count").sum().cast(pl.UInt32),
        active_s=pl.col("active_s").sum(),
        first_seen=pl.col("first_seen").min(),
        last_seen=pl.col("last_seen").max(),
        message=pl.col("message").first(),
        recording=pl.col("recording").first(),
        frame=pl.col("frame").first(),
    )
    since_first = (pl.col("first_seen") - pl.col("first_seen").min()).dt.total_nanoseconds() / 1e9
    ranked = (
        grouped.with_columns(
            pl.col("source_text").alias("source"),
            active_share_pct=(100 * pl.col("active_s") / drive_s).clip(0, 100) if drive_s > 0 else pl.lit(0.0),
            rate_per_hour=pl.col("occurrences") * 3600 / drive_s if drive_s > 0 else pl.lit(None, dtype=pl.Float64),
            seconds_into_drive=(pl.col("first_seen").dt.timestamp("ns") - drive_from_ns) / 1e9,
            score=score(
                severity=pl.col("severity").cast(pl.String),
                seconds_after_first=since_first,
                drive_s=drive_s,
                occurrences=pl.col("occurrences"),
            ),
        )
        .drop("source_text")
        .sort(["score", "first_seen", "code", "ecu"], descending=[True, False, False, False])
        .with_row_index("rank", offset=1)
    )
    return ERROR_STATS.cast(ranked.join(_co_occurring(events, ranked), on=_FAULT, how="left", maintain_order="left"))


def _co_occurring(events: pl.DataFrame, ranked: pl.DataFrame) -> pl.DataFrame:
    """For each fault the other codes that were active near it, most shared seconds first."""
    near_ns = int(NEAR_S * 1e9)
    spans = (
        events.with_columns(pl.col("source").cast(pl.String))
        .join(ranked.head(_PAIRED_FAULTS), on=_FAULT, how="semi")
        .select(
            *_FAULT, start=pl.col("first_seen").dt.timestamp("ns"), end=pl.col("last_seen").dt.timestamp("ns") + near_ns
        )
    )
    # Each span is widened by NEAR_S at its end only, so that two spans meet when at most NEAR_S lie between them.
    others = spans.rename({name: f"{name}_other" for name in spans.columns})
    pairs = spans.join_where(
        others,
        pl.col("start") < pl.col("end_other"),
        pl.col("start_other") < pl.col("end"),
        pl.col("code") != pl.col("code_other"),
    )
    shared = pl.min_horizontal("end", "end_other") - pl.max_horizontal("start", "start_other")
    found = (
        pairs.with_columns(shared=shared)
        .group_by([*_FAULT, "code_other"])
        .agg(pl.col("shared").sum())
        .sort(["shared", "code_other"], descending=[True, False])
        .group_by(_FAULT, maintain_order=True)
        .agg(co_occurring=pl.col("code_other").head(MAX_CO_OCCURRING))
    )
    return (
        ranked.select(_FAULT)
        .join(found, on=_FAULT, how="left")
        .with_columns(pl.col("co_occurring").fill_null(pl.lit([], dtype=pl.List(pl.String))))
    )


def top(stats: pl.DataFrame, k: int = 10) -> pl.DataFrame:
    """The `k` most important faults."""
    return stats.sort("rank").head(k)
