"""When a rule is active: the samples of a signal → the episodes in which its condition holds.

Whole columns are worked on. A *block* is a run of samples of one signal without a long gap: nothing is concluded
across its ends.
"""

from typing import Final

import polars as pl

from argus_assets.faults.rules.rules import Enumeration, Rate, Rule, Stuck, Threshold, When
from argus_assets.faults.rules.signals import SERIES

S: Final = 1_000_000_000

EPISODES: Final = ("first", "last", "samples", "low", "high", "extreme")
"""Columns of an episode beside those of its first sample: its first and last time (ns), samples and values."""


def episodes(samples: pl.DataFrame, rule: Rule, holds: pl.Series) -> pl.DataFrame:
    """Find the episodes of a rule that evaluates each sample: any but `missing`.

    Args:
        samples: `signals.SAMPLES`, sorted by signal and time.
        rule: The rule.
        holds: For each sample, whether the rule's other conditions hold.

    Returns:
        A row for each episode that lasted long enough: the columns of its first sample, and `EPISODES`.
    """
    numbered = samples.with_columns(block=_blocks(rule.max_gap_s))
    match rule:
        case Threshold():
            judged = numbered.with_columns(active=_with_hysteresis(rule), run=pl.lit(0))
        case Enumeration():
            judged = numbered.with_columns(active=is_one_of(rule.values), run=pl.lit(0))
        case Rate():
            judged = _changing_fast(numbered, rule)
        case Stuck():
            judged = _unchanged(numbered, rule)
        case _:
            msg = f"no samples to judge in a rule of kind {rule.kind!r}"
            raise TypeError(msg)
    active = pl.col("active") & holds
    return (
        judged.with_columns(active=active)
        .with_columns(episode=pl.struct("block", "run", "active").rle_id())
        .filter("active")
        .group_by("episode", maintain_order=True)
        .agg(
            pl.col(samples.columns).first(),
            first=pl.col("timestamp").first(),
            last=pl.col("timestamp").last(),
            samples=pl.len(),
            low=pl.col("value").min(),
            high=pl.col("value").max(),
            extreme=pl.col("extreme").abs().max() if "extreme" in judged.columns else pl.lit(None, dtype=pl.Float64),
        )
        .filter(pl.col("last") - pl.col("first") >= _ns(rule.for_s))
    )


def silences(samples: pl.DataFrame, for_s: float, drive_ns: tuple[int, int]) -> pl.DataFrame:
    """Find the episodes without a sample, of signals that have at least one.

    Args:
        samples: `signals.SAMPLES`, sorted by signal and time.
        for_s: Longest time without a sample that is none.
        drive_ns: First and last moment of the drive.

    Returns:
        As of `episodes`; the sample is the last one before the silence, or at the start of a drive the one that ends
        it. Without values.
    """
    time = pl.col("timestamp")
    start, end = drive_ns
    after = samples.with_columns(first=time, last=time.shift(-1).over(SERIES).fill_null(end))
    before = samples.unique(SERIES, keep="first", maintain_order=True).with_columns(
        first=pl.lit(start, dtype=pl.Int64), last=time
    )
    return (
        pl.concat([after, before])
        .filter(pl.col("last") - pl.col("first") > _ns(for_s))
        .sort(*SERIES, "first", maintain_order=True)
        .with_columns(samples=pl.lit(1), low=pl.col("value"), high=pl.col("value"), extreme=pl.lit(None, pl.Float64))
    )


def conditions_hold(samples: pl.DataFrame, at: str, conditions: "list[tuple[When, pl.DataFrame]]") -> pl.Series:
    """Return whether all conditions hold at a time of each row.

    Args:
        samples: Rows.
        at: Their column of times, ns.
        conditions: With the samples of their signals, in any order. The last sample before a time counts, of
            whichever signal the name fits.

    Returns:
        A flag for each row.
    """
    moments = samples.select(at=at).with_row_index("row").sort("at")
    holds = pl.lit(value=True)
    for number, (when, other) in enumerate(conditions):
        states = other.select(timestamp="timestamp", holding=_condition(when)).sort("timestamp", maintain_order=True)
        moments = moments.join_asof(
            states.rename({"holding": f"holding_{number}"}),
            left_on="at",
            right_on="timestamp",
            tolerance=_ns(when.max_gap_s),
            coalesce=True,
        )
        holds &= pl.col(f"holding_{number}").fill_null(value=False)
    return moments.with_columns(holds=holds).sort("row")["holds"]


def is_one_of(values: tuple[float | str, ...]) -> pl.Expr:
    """Return whether a sample is one of these numbers, or of these names."""
    numbers = [float(v) for v in values if not isinstance(v, str)]
    names = [v for v in values if isinstance(v, str)]
    by_number = pl.col("value").is_in(numbers).fill_null(value=False)
    return by_number | pl.col("text").is_in(names).fill_null(value=False)


def _condition(when: When) -> pl.Expr:
    if when.above is not None:
        return (pl.col("value") > when.above).fill_null(value=False)
    if when.below is not None:
        return (pl.col("value") < when.below).fill_null(value=False)
    return is_one_of(when.values or ())


def _blocks(max_gap_s: float) -> pl.Expr:
    """Return the number of each sample's block."""
    starts = pl.col("timestamp").diff() > _ns(max_gap_s)
    for name in SERIES:
        starts |= pl.col(name) != pl.col(name).shift()
    return starts.fill_null(value=True).cum_sum()


def _with_hysteresis(rule: Threshold) -> pl.Expr:
    """Return which samples are active: beyond the limit, until back at `clear_at`."""
    value = pl.col("value")
    if rule.above is not None:
        on, off = value > rule.above, value <= (rule.above if rule.clear_at is None else rule.clear_at)
    else:
        assert rule.below is not None
        on, off = value < rule.below, value >= (rule.below if rule.clear_at is None else rule.clear_at)
    state = pl.when(on).then(statement=True).when(off).then(statement=False)
    return state.forward_fill().over("block").fill_null(value=False)


def _unchanged(samples: pl.DataFrame, rule: Stuck) -> pl.DataFrame:
    """Return all samples as active; a change starts another run."""
    changed = (pl.col("value") - pl.col("value").shift()).abs() > rule.tolerance
    renamed = pl.col("value").is_null() & (pl.col("text") != pl.col("text").shift())
    run = (changed.fill_null(value=False) | renamed.fill_null(value=False)).cum_sum()
    return samples.with_columns(active=pl.lit(value=True), run=run)


def _changing_fast(samples: pl.DataFrame, rule: Rate) -> pl.DataFrame:
    """Return the change per second since the sample that counted `over_s` ago, or since the one before."""
    if rule.over_s:
        judged = samples.with_columns(ago=pl.col("timestamp") - _ns(rule.over_s)).join_asof(
            samples.select("block", since="timestamp", then="value"),
            left_on="ago",
            right_on="since",
            by="block",
            coalesce=False,
            check_sortedness=False,  # each block is sorted by time, which is what counts
        )
    else:
        judged = samples.with_columns(
            then=pl.col("value").shift().over("block"), since=pl.col("timestamp").shift().over("block")
        )
    passed_s = (pl.col("timestamp") - pl.col("since")) / S
    rate = pl.when(passed_s > 0).then((pl.col("value") - pl.col("then")) / passed_s)
    too_fast = pl.lit(value=False)
    if rule.rise_per_s is not None:
        too_fast |= rate > rule.rise_per_s
    if rule.fall_per_s is not None:
        too_fast |= rate < -rule.fall_per_s
    return judged.with_columns(extreme=rate).with_columns(active=too_fast.fill_null(value=False), run=pl.lit(0))


def _ns(seconds: float) -> int:
    return round(seconds * S)
