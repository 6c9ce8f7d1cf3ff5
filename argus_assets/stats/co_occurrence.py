"""Find codes that were active together."""

from typing import Final

import numpy as np
import polars as pl

from argus_assets.stats.spans import Elapsed, joined, shared_with

NEAR_NS: Final = 5_000_000_000
"""Codes that were active within this time of each other co-occur."""

MAX_CODES: Final = 100
"""Top codes of the ranking that are searched for beside each fault, which bounds the work."""

MAX_LISTED: Final = 10
"""Longest list of co-occurring codes."""


def widened(active: pl.DataFrame) -> pl.DataFrame:
    """Extend active times by half of `NEAR_NS` on both sides: two of them overlap when at most `NEAR_NS` apart.

    Args:
        active: `spans.joined` of each fault.

    Returns:
        Disjoint spans, all with a length.
    """
    return joined(active, gap_ns=NEAR_NS).with_columns(
        pl.col("start") - NEAR_NS // 2,
        # One nanosecond more, so that activations exactly NEAR_NS apart still overlap.
        pl.col("end") + NEAR_NS // 2 + 1,
    )


def co_occurring(near: pl.DataFrame, ranked: pl.DataFrame) -> pl.Series:
    """List the other codes that were active with each ranked fault, most shared time first.

    The cost grows with codes times activations, not with pairs of activations.

    Args:
        near: `widened` times of each fault; `row` is its place in `ranked`.
        ranked: The faults, most important first, with the column `code`.

    Returns:
        `co_occurring`, a list of codes per row of `ranked`.
    """
    codes = ranked["code"].unique(maintain_order=True).head(MAX_CODES)
    # Several faults may have the same code.
    number = ranked.select(pl.col("code").replace_strict(codes, range(len(codes)), default=None)).to_series()
    of_codes = joined(near.with_columns(row=number.gather(near["row"])).drop_nulls("row"))
    elapsed = [Elapsed.of(spans) for spans in of_codes.partition_by("row", maintain_order=True)]
    shared = shared_with(near, ranked.height, elapsed)
    shared[ranked["code"].to_numpy()[:, None] == codes.to_numpy()[None, :]] = 0
    by_time = np.argsort(-shared, axis=1, kind="stable")[:, :MAX_LISTED]
    listed = [[codes[int(c)] for c in order if shared[r, c] > 0] for r, order in enumerate(by_time)]
    return pl.Series("co_occurring", listed, dtype=pl.List(pl.String))
