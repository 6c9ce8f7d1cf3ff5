"""Topics of a drive: how often each was published, until when, and its longest pause."""

from typing import Final

import polars as pl

from argus_assets.recordings.drive import Drive
from argus_assets.stats.schema import TOPIC_STATS

MAX_ROWS: Final = 1500
"""The largest public recordings have some 1,200 topics."""


def topic_stats(drive: Drive) -> pl.DataFrame:
    """Count the messages of each topic.

    Args:
        drive: The drive.

    Returns:
        `schema.TOPIC_STATS`, by topic; those with most messages if there are more than `MAX_ROWS`. CAN frames are none.
    """
    at = pl.col("timestamp")
    # A gap belongs to the message that ends it; messages of several recordings are one series.
    gap = at.diff()
    rows = (
        drive.frames.filter(pl.col("kind").is_in(["message", "log", "diagnostic"]))
        .select(topic=pl.col("channel").cast(pl.String), timestamp=at.dt.timestamp("ns"))
        .sort("topic", "timestamp")
        .group_by("topic", maintain_order=True)
        .agg(
            messages=pl.len().cast(pl.UInt64),
            first_seen=at.first(),
            last_seen=at.last(),
            period=gap.median(),
            longest_pause=gap.max(),
            pause_ends=at.get(gap.fill_null(-1).arg_max()),
        )
        .sort("messages", "topic", descending=[True, False])
        .head(MAX_ROWS)
        .sort("topic")
        .collect()
    )
    return TOPIC_STATS.cast(
        rows.select(
            "topic",
            "messages",
            first_seen=_time("first_seen"),
            last_seen=_time("last_seen"),
            period_s=pl.col("period") / 1e9,
            longest_pause_s=pl.col("longest_pause") / 1e9,
            pause_began=pl.when(pl.col("longest_pause").is_not_null()).then(
                _time(pl.col("pause_ends") - pl.col("longest_pause"))
            ),
        )
    )


def _time(nanoseconds: str | pl.Expr) -> pl.Expr:
    column = pl.col(nanoseconds) if isinstance(nanoseconds, str) else nanoseconds
    return pl.from_epoch(column, time_unit="ns").dt.replace_time_zone("UTC")
