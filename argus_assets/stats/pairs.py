"""Pairs of faults: shared active time, joint activations, lift over chance, and which came first.

*Joint activation*: activations of both faults that overlap or are at most `co_occurrence.NEAR_NS` apart, transitively.
Its order is that of the first activation of each fault; within `ranking.SAME_MOMENT_NS` it has none.

*Lift*, as in association rules (Brin, Motwani, Ullman, Tsur: Dynamic itemset counting, SIGMOD 1997, there
"interest"), over recorded time instead of shopping baskets:

    lift = P(A and B) / (P(A) · P(B))        P(X) = seconds during which X was active / seconds recorded

Two independent faults would both be active for P(A) · P(B) of the drive: a lift of 1. To give moments a length, an
activation is extended here by half of `NEAR_NS` on both sides. The lift of a pair with one joint activation is a single
observation: read it together with `joint_activations`.
"""

from itertools import combinations
from typing import Final

import numpy as np
import polars as pl

from argus_assets.stats.co_occurrence import NEAR_NS, widened
from argus_assets.stats.errors import Faults, top
from argus_assets.stats.ranking import SAME_MOMENT_NS
from argus_assets.stats.recorded import RecordedTime
from argus_assets.stats.schema import CODE_PAIRS
from argus_assets.stats.spans import joined, overlaps, with_stretch

MAX_FAULTS: Final = 32
"""Top faults of the ranking that are paired: at most 496 pairs."""

_NAMES: Final = ("rank", "code", "source", "ecu")


def code_pairs(faults: Faults, time: RecordedTime) -> pl.DataFrame:
    """Compare each pair of the most important faults. A trouble that is reported several times is paired once.

    Args:
        faults: The faults of the drive.
        time: When it was recorded.

    Returns:
        `schema.CODE_PAIRS`: pairs with joint activations, most important first.
    """
    paired = top(faults.stats, MAX_FAULTS)
    if paired.height < 2:
        return CODE_PAIRS.empty()
    # Rows that repeat a trouble rank last, so the paired faults are the first rows.
    active = faults.active.filter(pl.col("row") < paired.height)
    first, second = np.array(list(combinations(range(paired.height), 2))).T
    shared_ns = overlaps(active, paired.height)
    near_ns = overlaps(_while_recorded(widened(active), time), paired.height).astype(np.float64)
    chance = near_ns[first, first] * near_ns[second, second]
    with np.errstate(divide="ignore", invalid="ignore"):
        lift = np.where(chance > 0, near_ns[first, second] * time.covered.total / chance, np.nan)
    pairs = pl.DataFrame(
        {
            "a": first.astype(np.uint32),
            "b": second.astype(np.uint32),
            "shared_s": shared_ns[first, second] / 1e9,
            "lift": pl.Series(lift).fill_nan(None),
        }
    )
    names = paired.select(*_NAMES)
    return CODE_PAIRS.cast(
        pairs.join(_joint_activations(active, pairs), on=["a", "b"])
        .join(_named(names, "a"), on="a")
        .join(_named(names, "b"), on="b")
        .sort("a", "b")
        .drop("a", "b")
    )


def _named(names: pl.DataFrame, side: str) -> pl.DataFrame:
    return names.select(*(pl.col(n).alias(f"{n}_{side}") for n in names.columns)).with_row_index(side)


def _while_recorded(spans: pl.DataFrame, time: RecordedTime) -> pl.DataFrame:
    """Convert spans to a clock that stops while nothing is recorded."""
    start, end = (time.covered.until(spans[name].to_numpy()) for name in ("start", "end"))
    return spans.with_columns(start=pl.Series(start), end=pl.Series(end))


def _joint_activations(active: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Count joint activations and their order for each pair."""
    # Activations of one fault that are near each other are so beside any other fault: they are joined first.
    bouts = joined(active, gap_ns=NEAR_NS)
    sides = [
        pairs.select("a", "b", row=pl.col(side)).join(bouts, on="row").with_columns(is_a=pl.lit(side == "a"))
        for side in ("a", "b")
    ]
    together = (
        with_stretch(pl.concat(sides), gap_ns=NEAR_NS, by=("a", "b"))
        .group_by("a", "b", "stretch")
        .agg(
            start_a=pl.col("start").filter("is_a").min(),
            start_b=pl.col("start").filter(~pl.col("is_a")).min(),
        )
        .drop_nulls()
        .with_columns(lead_ns=pl.col("start_b") - pl.col("start_a"))
    )
    return together.group_by("a", "b").agg(
        joint_activations=pl.len(),
        a_first_pct=(pl.col("lead_ns") > SAME_MOMENT_NS).mean() * 100.0,
        b_first_pct=(pl.col("lead_ns") < -SAME_MOMENT_NS).mean() * 100.0,
        median_lead_s=pl.col("lead_ns").median() / 1e9,
    )
