"""Spans against sets of whole nanoseconds."""

from itertools import pairwise

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.stats.spans import Elapsed, joined, overlaps
from tests.support.stats_tables import cells

ROWS = 4
span_rows = st.lists(
    st.tuples(st.integers(0, ROWS - 1), st.integers(-50, 50), st.integers(0, 12)).map(lambda t: (t[0], t[1], t[1] + t[2])),
    max_size=25,
)  # fmt: skip


def table(rows) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"row": pl.UInt32, "start": pl.Int64, "end": pl.Int64}, orient="row")


def of_row(rows, row: int) -> set[int]:
    return cells((start, end) for r, start, end in rows if r == row)


@given(span_rows, st.integers(0, 8))
def test_joined_spans_cover_the_same_time_and_the_gaps(rows, gap_ns):
    out = joined(table(rows), gap_ns=gap_ns)
    assert out.rows() == sorted(out.rows())
    for row in range(ROWS):
        own = sorted((s, e) for r, s, e in rows if r == row)
        merged = out.filter(row=row).select("start", "end").rows()
        # The slow way: a point between two spans belongs to the result when the gap around it is short enough.
        assert all(b[0] - a[1] > gap_ns for a, b in pairwise(merged))
        for start, end in merged:
            inside = [s for s in own if start <= s[0] and s[1] <= end]
            reach = start
            for a, b in inside:
                assert a - reach <= gap_ns
                reach = max(reach, b)
            assert (min(a for a, _ in inside), reach) == (start, end)
        assert sum(1 for s in own for m in merged if m[0] <= s[0] and s[1] <= m[1]) == len(own)


@given(span_rows, st.lists(st.integers(-80, 80), max_size=10))
def test_elapsed_counts_what_lies_before(rows, moments):
    covered = of_row(rows, 0)
    elapsed = Elapsed.of(joined(table(rows).filter(row=0)))
    assert elapsed.total == len(covered)
    assert elapsed.until(np.array(moments, np.int64)).tolist() == [sum(c < at for c in covered) for at in moments]
    ascending = sorted(moments)
    assert elapsed.until_ascending(np.array(ascending, np.int64)).tolist() == [
        sum(c < at for c in covered) for at in ascending
    ]


@given(span_rows)
def test_overlaps_equal_sets(rows):
    shared = overlaps(joined(table(rows)), ROWS)
    assert shared.tolist() == [[len(of_row(rows, a) & of_row(rows, b)) for b in range(ROWS)] for a in range(ROWS)]


def test_times_far_apart_stay_exact():
    """Nanoseconds of many years do not fit the 53 bits of a float."""
    start = -(2**61)
    elapsed = Elapsed.of(table([(0, start, start + 1), (0, 2**61, 2**61 + 3)]))
    assert elapsed.until(np.array([start + 1, 2**61 + 2])).tolist() == [1, 3]
