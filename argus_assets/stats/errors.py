"""Error events of one drive → error stats: a ranked row for each fault of each ECU."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from argus_assets.stats.co_occurrence import co_occurring, widened
from argus_assets.stats.ranking import most_pressing, ranked
from argus_assets.stats.recorded import RecordedTime
from argus_assets.stats.schema import ERROR_STATS, HISTOGRAM_BINS
from argus_assets.stats.spans import I64, joined, sum_by_row

FAULT: Final = ("code", "source", "ecu")
"""Columns that identify a fault. The channel is none of them: a gateway repeats what an ECU reports."""

_S_PER_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of a drive and when they were active.

    Attributes:
        stats: `schema.ERROR_STATS`, most important first.
        active: When each was active: `spans.joined`, nanoseconds from the drive's first frame; `row` is the place in
            `stats`.
    """

    stats: pl.DataFrame
    active: pl.DataFrame


def aggregate_faults(events: pl.DataFrame, time: RecordedTime) -> Faults:
    """Aggregate the events of a drive.

    A fault that one ECU reports on two channels is one row, with the sum of the occurrences and the union of the active
    times.

    Args:
        events: `faults.schema.ERROR_EVENTS`.
        time: When the drive was recorded; it contains all events.
    """
    if events.is_empty():
        return Faults(ERROR_STATS.empty(), pl.DataFrame(schema={"row": pl.UInt32, "start": pl.Int64, "end": pl.Int64}))
    by_time = events.sort("first_seen", "channel", "occurrence").with_columns(pl.col("source").cast(pl.String))
    faults = ranked(
        by_time.group_by(FAULT, maintain_order=True).agg(
            pl.col("severity").max(),
            pl.col("frame_count").sum(),
            pl.col("first_seen", "message", "recording", "frame").first(),
            pl.col("last_seen").max(),
            status=most_pressing(pl.col("status")),
            occurrences=pl.len(),
        ),
        fault=FAULT,
    )
    spans = by_time.join(faults.select(*FAULT, row=pl.col("rank") - 1), on=FAULT).select(
        "row",
        start=pl.col("first_seen").dt.timestamp("ns") - time.start_ns,
        end=pl.col("last_seen").dt.timestamp("ns") - time.start_ns,
    )
    active = joined(spans)
    rows, start, end = (active[name].cast(pl.Int64).to_numpy() for name in ("row", "start", "end"))
    recorded_ns = time.covered.total
    while_recorded_ns = sum_by_row(time.covered.until(end) - time.covered.until(start), rows, faults.height)
    stats = faults.with_columns(
        active_s=pl.Series(sum_by_row(end - start, rows, faults.height) / 1e9),
        active_share_pct=pl.Series(100.0 * while_recorded_ns / max(recorded_ns, 1)),
        rate_per_hour=pl.when(pl.lit(recorded_ns > 0)).then(
            pl.col("occurrences") * _S_PER_HOUR / (max(recorded_ns, 1) / 1e9)
        ),
        seconds_into_drive=(pl.col("first_seen").dt.timestamp("ns") - time.start_ns) / 1e9,
        active_s_by_bin=_lists(_active_by_bin(active, faults.height, time) / 1e9),
        occurrences_by_bin=_lists(_starts_by_bin(spans, faults.height, time)),
    ).with_columns(co_occurring(widened(active), faults))
    return Faults(ERROR_STATS.cast(stats), active)


def top(stats: pl.DataFrame, k: int = 10) -> pl.DataFrame:
    """Return the `k` most important troubles of `schema.ERROR_STATS`, without rows that repeat another's trouble."""
    return stats.filter(pl.col("same_as").is_null()).sort("rank").head(k)


def bin_edges(time: RecordedTime) -> I64:
    """Return the edges of the `HISTOGRAM_BINS` equal parts of a drive, nanoseconds from its first frame."""
    # Integers: the last edge is exactly the end.
    return np.arange(HISTOGRAM_BINS + 1, dtype=np.int64) * (time.end_ns - time.start_ns) // HISTOGRAM_BINS


def _active_by_bin(active: pl.DataFrame, count: int, time: RecordedTime) -> I64:
    """Return the nanoseconds active in each part of the drive, shape (count, HISTOGRAM_BINS)."""
    rows, start, end = (active[name].cast(pl.Int64).to_numpy() for name in ("row", "start", "end"))
    until = [sum_by_row(np.clip(edge, start, end) - start, rows, count) for edge in bin_edges(time)]
    return np.diff(np.column_stack(until), axis=1)


def _starts_by_bin(spans: pl.DataFrame, count: int, time: RecordedTime) -> I64:
    """Return the number of activations that began in each part of the drive, shape (count, HISTOGRAM_BINS)."""
    part = np.searchsorted(bin_edges(time), spans["start"].to_numpy(), side="right") - 1
    cell = spans["row"].to_numpy().astype(np.int64) * HISTOGRAM_BINS + np.clip(part, 0, HISTOGRAM_BINS - 1)
    return np.bincount(cell, minlength=count * HISTOGRAM_BINS).reshape(count, HISTOGRAM_BINS)


def _lists(rows: np.ndarray) -> pl.Series:
    series = pl.Series(np.ascontiguousarray(rows))
    return series.cast(pl.List(series.dtype.inner))  # type: ignore[attr-defined] # an array's
