"""Error events of one drive → error stats: one row for each fault of each ECU, ranked."""

from typing import Final

import polars as pl

from argus_assets.stats.co_occurrence import co_occurring
from argus_assets.stats.ranking import with_score
from argus_assets.stats.schema import ERROR_STATS

_FAULT: Final = ("code", "source", "ecu")
_S_PER_HOUR: Final = 3600.0


def aggregate(events: pl.DataFrame, *, drive_from_ns: int | None, drive_to_ns: int | None) -> pl.DataFrame:
    """Aggregate the events of a drive.

    A fault that one ECU reports on two channels is one row. Its active seconds are summed over its activations, as
    its occurrences are; its share of the drive is at most 100%.

    Args:
        events: `faults.schema.ERROR_EVENTS`.
        drive_from_ns: First frame of the drive, nanoseconds since 1970 UTC; `None` for the first event.
        drive_to_ns: Last frame; `None` for the end of the last event.

    Returns:
        `ERROR_STATS`, most important first.
    """
    if events.is_empty():
        return ERROR_STATS.empty()
    by_time = events.sort("first_seen", "channel", "occurrence").with_columns(pl.col("source").cast(pl.String))
    start = by_time["first_seen"].dt.timestamp("ns").min() if drive_from_ns is None else drive_from_ns
    end = by_time["last_seen"].dt.timestamp("ns").max() if drive_to_ns is None else drive_to_ns
    drive_s = (pl.lit(end, dtype=pl.Int64) - pl.lit(start, dtype=pl.Int64)) / 1e9
    has_length = drive_s > 0
    faults = (
        by_time.group_by(_FAULT, maintain_order=True)
        .agg(
            pl.col("severity").max(),
            pl.col("frame_count", "active_s").sum(),
            pl.col("first_seen", "message", "recording", "frame").first(),
            pl.col("last_seen").max(),
            occurrences=pl.len(),
        )
        .with_columns(
            active_share_pct=pl.when(has_length)
            .then((100.0 * pl.col("active_s") / drive_s).clip(0.0, 100.0))
            .otherwise(0.0),
            rate_per_hour=pl.when(has_length).then(pl.col("occurrences") * _S_PER_HOUR / drive_s),
            seconds_into_drive=(pl.col("first_seen").dt.timestamp("ns") - start) / 1e9,
        )
    )
    ranked = (
        with_score(faults)
        .sort(["score", "first_seen", *_FAULT], descending=[True, False, False, False, False])
        .with_row_index("rank", offset=1)
    )
    return ERROR_STATS.cast(ranked.with_columns(co_occurring(by_time, ranked, fault=_FAULT)))


def top(stats: pl.DataFrame, k: int = 10) -> pl.DataFrame:
    """The `k` most important faults of `stats.schema.ERROR_STATS`, most important first."""
    return stats.sort("rank").head(k)
