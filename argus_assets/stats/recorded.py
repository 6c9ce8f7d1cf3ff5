"""The time of a drive: from first to last frame, and how much of it was recorded."""

from dataclasses import dataclass
from typing import Self

import polars as pl

from argus_assets.stats.spans import Elapsed, joined


@dataclass(frozen=True, slots=True)
class RecordedTime:
    """When a drive was recorded.

    Rates and shares refer to it: overlapping recordings count once, and gaps between them do not count. A recording is
    taken to cover all of its time from the first frame to the last.

    Attributes:
        start_ns: First frame of the drive, nanoseconds since 1970 UTC.
        end_ns: Last frame.
        covered: The stretches that were recorded, nanoseconds from `start_ns`.
    """

    start_ns: int
    end_ns: int
    covered: Elapsed

    @classmethod
    def of(cls, recordings: pl.DataFrame, events: pl.DataFrame | None = None) -> Self:
        """Return the time of these recordings or, without any frame, of the events.

        Args:
            recordings: `recordings.schema.RECORDINGS`.
            events: `faults.schema.ERROR_EVENTS`.
        """
        spans = _spans(recordings, "first_timestamp", "last_timestamp")
        seen = spans.clear() if events is None else _spans(events, "first_seen", "last_seen")
        if spans.is_empty() and not seen.is_empty():
            spans = seen.select(pl.col("row").first(), pl.col("start").min(), pl.col("end").max())
        if spans.is_empty():
            return cls(0, 0, Elapsed.of(spans))
        whole = pl.concat([spans, seen])
        start, end = int(whole["start"].min()), int(whole["end"].max())  # type: ignore[arg-type] # not empty
        return cls(start, end, Elapsed.of(joined(spans.with_columns(pl.col("start", "end") - start))))

    @property
    def recorded_s(self) -> float:
        """Seconds recorded."""
        return self.covered.total / 1e9

    @property
    def span_s(self) -> float:
        """Seconds from the first frame to the last."""
        return (self.end_ns - self.start_ns) / 1e9


def _spans(table: pl.DataFrame, first: str, last: str) -> pl.DataFrame:
    return table.drop_nulls([first, last]).select(
        row=pl.lit(0, dtype=pl.UInt32),
        start=pl.col(first).dt.timestamp("ns"),
        end=pl.col(last).dt.timestamp("ns"),
    )
