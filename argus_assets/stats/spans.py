"""Stretches of time, many at once: joined, measured, overlapped. Whole nanoseconds throughout, so that sums are exact.

A table of spans has the columns `row` (whose they are), `start` and `end` (Int64, nanoseconds from any origin).
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
"""Earlier than any time, and far enough from the end of 64 bits to be subtracted from."""


def joined(spans: pl.DataFrame, *, gap_ns: int = 0, by: Sequence[str] = ("row",)) -> pl.DataFrame:
    """Join the spans of a row that overlap or have at most `gap_ns` between them.

    Args:
        spans: The columns of `by`, `start` and `end`.
        gap_ns: Nanoseconds.
        by: Spans that differ in these columns have nothing to do with each other.

    Returns:
        The same columns, sorted by them; the spans of a row are disjoint.
    """
    return with_stretch(spans, gap_ns=gap_ns, by=by).group_by(*by, "stretch", maintain_order=True).agg(
        pl.col("start").first(), pl.col("end").max()
    ).drop("stretch")  # fmt: skip


def with_stretch(spans: pl.DataFrame, *, gap_ns: int, by: Sequence[str]) -> pl.DataFrame:
    """Sort spans by row and start, and number the stretches that `joined` would make of them, in `stretch`."""
    reach = pl.col("end").cum_max().shift(1).over(by)
    opens = (pl.col("start") - reach > gap_ns).fill_null(value=True)
    return spans.sort(*by, "start").with_columns(stretch=opens.cast(pl.UInt32).cum_sum())


@dataclass(frozen=True, slots=True)
class Elapsed:
    """How much of some disjoint spans lies before a moment.

    Attributes:
        starts: Their starts, ascending.
        ends: `ends[i]` is the end of the last of the first i spans.
        before: `before[i]` is the length of the first i spans.
    """

    starts: I64
    ends: I64
    before: I64

    @classmethod
    def of(cls, spans: pl.DataFrame) -> Self:
        """The spans of one row, disjoint and ascending."""
        starts, ends = spans["start"].to_numpy(), spans["end"].to_numpy()
        return cls(starts, np.r_[_LONG_AGO, ends], np.r_[0, np.cumsum(ends - starts)])

    @property
    def total(self) -> int:
        """Their length."""
        return int(self.before[-1])

    def until(self, at: I64) -> I64:
        """Nanoseconds of the spans that lie before each moment."""
        begun = np.searchsorted(self.starts, at, side="right")
        return self.before[begun] - np.maximum(self.ends[begun] - at, 0)


def sum_by_row(values: I64, rows: I64, count: int) -> I64:
    """Sum whole numbers for each of `count` rows; `rows` ascend."""
    out = np.zeros(count, np.int64)
    if len(values):
        present, first = np.unique(rows, return_index=True)
        out[present] = np.add.reduceat(values, first)
    return out


def overlaps(spans: pl.DataFrame, count: int) -> I64:
    """Time that each two rows share, shape (count, count), nanoseconds; the diagonal holds the length of each row.

    One pass over the spans for each row, so the cost grows with rows times spans, not with pairs of spans.

    Args:
        spans: Sorted by row; those of a row are disjoint and ascending.
        count: Rows, numbered from 0.
    """
    rows, start, end = (spans[name].to_numpy() for name in ("row", "start", "end"))
    out = np.zeros((count, count), np.int64)
    for number, of_row in enumerate(_split(spans, count)):
        elapsed = Elapsed.of(of_row)
        out[:, number] = sum_by_row(elapsed.until(end) - elapsed.until(start), rows, count)
    return out


def _split(spans: pl.DataFrame, count: int) -> list[pl.DataFrame]:
    bounds = np.searchsorted(spans["row"].to_numpy(), np.arange(count + 1))
    return [spans[int(a) : int(b)] for a, b in pairwise(bounds)]
