"""Join, measure and overlap many spans of time at once. Whole nanoseconds throughout, so that sums are exact.

A table of spans has the columns `row` (their owner), `start` and `end` (Int64, nanoseconds from any origin).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

I64 = npt.NDArray[np.int64]

_LONG_AGO: Final = np.iinfo(np.int64).min // 4
"""Earlier than any time, and far enough from the end of 64 bits for additions."""


def joined(spans: pl.DataFrame, *, gap_ns: int = 0, by: Sequence[str] = ("row",)) -> pl.DataFrame:
    """Join the spans of a row that overlap or have at most `gap_ns` between them.

    Args:
        spans: The columns of `by`, `start` and `end`.
        gap_ns: Nanoseconds.
        by: Columns of the owner: only spans of the same owner are joined.

    Returns:
        The same columns, sorted by them; the spans of a row are disjoint.
    """
    return with_stretch(spans, gap_ns=gap_ns, by=by).group_by(*by, "stretch", maintain_order=True).agg(
        pl.col("start").first(), pl.col("end").max()
    ).drop("stretch")  # fmt: skip


def with_stretch(spans: pl.DataFrame, *, gap_ns: int, by: Sequence[str]) -> pl.DataFrame:
    """Sort spans by row and start, and add the number of the stretch that `joined` would make of them, `stretch`."""
    reach = pl.col("end").cum_max().shift(1).over(by)
    opens = (pl.col("start") - reach > gap_ns).fill_null(value=True)
    return spans.sort(*by, "start").with_columns(stretch=opens.cast(pl.UInt32).cum_sum())


@dataclass(frozen=True, slots=True)
class Elapsed:
    """Total length of some disjoint spans before a moment.

    Attributes:
        starts: Their starts, ascending.
        before: `before[i]` is the length of the first i spans.
        shift: `shift[i] + t` is that length without the part of the last of them after t.
    """

    starts: I64
    before: I64
    shift: I64

    @classmethod
    def of(cls, spans: pl.DataFrame) -> Self:
        """Index the spans of one row, which are disjoint and ascending."""
        starts, ends = spans["start"].to_numpy(), spans["end"].to_numpy()
        before = np.concatenate([[0], np.cumsum(ends - starts)])
        return cls(starts, before, before - np.concatenate([[_LONG_AGO], ends]))

    @property
    def total(self) -> int:
        """Their length."""
        return int(self.before[-1])

    def until(self, at: I64) -> I64:
        """Return the nanoseconds of the spans before each moment."""
        begun = np.searchsorted(self.starts, at, side="right")
        return np.minimum(self.before[begun], self.shift[begun] + at)

    def until_ascending(self, at: I64) -> I64:
        """Return `until` for ascending moments, faster: the few spans are looked up in the moments, not vice versa."""
        bounds = np.concatenate([[0], np.searchsorted(at, self.starts, side="left"), [len(at)]])
        times = np.diff(bounds)
        return np.minimum(np.repeat(self.before, times), np.repeat(self.shift, times) + at)


def sum_by_row(values: I64, rows: I64, count: int) -> I64:
    """Sum whole numbers for each of `count` rows; `rows` are ascending."""
    out = np.zeros(count, np.int64)
    if len(values):
        present, first = _rows_present(rows)
        out[present] = np.add.reduceat(values, first)
    return out


def _rows_present(rows: I64) -> tuple[I64, I64]:
    """Return the distinct values of ascending numbers, and the index of the first of each."""
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    return rows[first], first


def overlaps(spans: pl.DataFrame, count: int) -> I64:
    """Return the nanoseconds that any two rows share, shape (count, count); the diagonal has the length of each row.

    Args:
        spans: Sorted by row; those of a row are disjoint and ascending.
        count: Rows, numbered from 0.
    """
    bounds = np.searchsorted(spans["row"].to_numpy(), np.arange(count + 1))
    return shared_with(spans, count, [Elapsed.of(spans[int(a) : int(b)]) for a, b in pairwise(bounds)])


def shared_with(spans: pl.DataFrame, count: int, others: Sequence[Elapsed]) -> I64:
    """Return the nanoseconds that each row shares with each of `others`, shape (count, len(others)).

    One pass over the spans for each of the others: the cost does not grow with pairs of spans.

    Args:
        spans: Sorted by row.
        count: Rows, numbered from 0.
        others: Spans that may overlap them.
    """
    out = np.zeros((count, len(others)), np.int64)
    if spans.is_empty():
        return out
    present, first = _rows_present(spans["row"].to_numpy().astype(np.int64))
    moments = np.concatenate([spans["start"].to_numpy(), spans["end"].to_numpy()])
    order = np.argsort(moments, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    ascending = moments[order]
    for column, other in enumerate(others):
        until_start, until_end = np.split(other.until_ascending(ascending)[place], 2)
        out[present, column] = np.add.reduceat(until_end - until_start, first)
    return out
