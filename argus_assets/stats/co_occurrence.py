"""Which codes were active together."""

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

NEAR_NS: Final = 5_000_000_000
"""Codes that were active within this time of each other count as having come together."""

MAX_CODES: Final = 100
"""So many codes, the first of the ranking, are looked for beside each fault, which bounds the work."""

MAX_LISTED: Final = 10
"""Longest list of co-occurring codes."""


def co_occurring(events: pl.DataFrame, ranked: pl.DataFrame, *, fault: tuple[str, ...]) -> pl.Series:
    """For each ranked fault the other codes that were active with it, most shared time first.

    Every activation is widened by half of `NEAR_NS` on both sides, so that two of them overlap when at most
    `NEAR_NS` lies between them. The cost grows with codes times activations, not with pairs of activations.

    Args:
        events: code, first_seen and last_seen of each activation, with the columns of `fault`.
        ranked: The faults, most important first, with the columns of `fault`.
        fault: Columns that name a fault; one of them is `code`.

    Returns:
        `co_occurring`, a list of codes for each row of `ranked`.
    """
    spans = events.join(ranked.select(*fault).with_row_index("row"), on=fault).select(
        "row",
        "code",
        start=pl.col("first_seen").dt.timestamp("ns") - NEAR_NS // 2,
        # One nanosecond more, so that exactly NEAR_NS between two activations still overlaps.
        end=pl.col("last_seen").dt.timestamp("ns") + NEAR_NS // 2 + 1,
    )
    # Relative times stay exact as float64, which interpolation needs.
    origin = spans["start"].min()
    spans = spans.with_columns(pl.col("start", "end") - origin)
    codes = ranked["code"].unique(maintain_order=True).head(MAX_CODES)
    row = spans["row"].to_numpy()
    start, end = spans["start"].to_numpy(), spans["end"].to_numpy()
    shared = np.zeros((ranked.height, len(codes)))
    for column, code in enumerate(codes):
        of_code = spans.filter(pl.col("code") == code).sort("start")
        active = _active_until(of_code["start"].to_numpy(), of_code["end"].to_numpy())
        np.add.at(shared[:, column], row, np.interp(end, *active) - np.interp(start, *active))
    shared[ranked["code"].to_numpy()[:, None] == codes.to_numpy()[None, :]] = 0.0
    by_time = np.argsort(-shared, axis=1, kind="stable")[:, :MAX_LISTED]
    listed = [[codes[int(c)] for c in order if shared[r, c] > 0] for r, order in enumerate(by_time)]
    return pl.Series("co_occurring", listed, dtype=pl.List(pl.String))


def _active_until(
    start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Active time up to each moment, as the points of a piecewise linear function: (times, active).

    Args:
        start: Starts of activations, ascending.
        end: Their ends.
    """
    reach = np.maximum.accumulate(end)
    opens = np.r_[True, start[1:] > reach[:-1]]
    starts = start[opens]
    ends = reach[np.r_[np.flatnonzero(opens)[1:] - 1, len(reach) - 1]]
    done = np.cumsum(ends - starts)
    times = np.column_stack([starts, ends]).ravel()
    return times, np.column_stack([done - (ends - starts), done]).ravel()
