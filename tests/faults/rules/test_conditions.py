"""When rules are active: whole columns against a plain loop over the samples."""

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from argus_assets.faults.rules.conditions import conditions_hold, episodes, silences
from argus_assets.faults.rules.rules import Rule, When
from argus_assets.faults.rules.signals import SAMPLES, SERIES

S = 1_000_000_000
GAP_S = 3.0

# Whole seconds and few values, so that limits, gaps and repetitions are met exactly.
series = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0])), max_size=25)
several = st.lists(series, min_size=1, max_size=3)


def rule_of(**keys) -> Rule:
    needed = {"code": "C", "severity": "error", "message": "m", "topic": "t", "field": "f", "max_gap_s": GAP_S}
    return TypeAdapter(Rule).validate_python({**needed, **keys})


def sampled(all_series) -> pl.DataFrame:
    rows = []
    for number, steps in enumerate(all_series):
        at = 0
        for frame, (step, value) in enumerate(steps):
            at += step
            rows.append({"channel": f"/t{number}", "ecu": "e", "timestamp": at * S, "value": value, "frame": frame})
    return pl.DataFrame(rows, schema=SAMPLES)


def found_by(rule: Rule, samples: pl.DataFrame, holds=None):
    holds = pl.Series([True] * samples.height, dtype=pl.Boolean) if holds is None else holds
    return episodes(samples, rule, holds).select(
        "channel", pl.col("first") // S, pl.col("last") // S, "samples", "low", "high"
    ).rows()  # fmt: skip


def by_loop(all_series, judge, *, min_s=0.0, holds=lambda at: True):
    """Episodes of `judge(state, time, value)`, which gives (active, run) and keeps what it wants in `state`."""
    out = []
    for number, steps in enumerate(all_series):
        state: dict = {}
        at, last_at, open_ = 0, None, None

        def end(open_, number=number):
            if open_ is not None and open_[-1][0] - open_[0][0] >= min_s:
                values = [v for _, v in open_]
                out.append((f"/t{number}", open_[0][0], open_[-1][0], len(open_), min(values), max(values)))

        run_before = None
        for step, value in steps:
            at += step
            if last_at is not None and at - last_at > GAP_S:
                end(open_)
                open_, state, run_before = None, {}, None
            active, run = judge(state, at, value)
            active = active and holds(at)
            if open_ is not None and (not active or run != run_before):
                end(open_)
                open_ = None
            if active:
                open_ = [*(open_ or []), (at, value)]
            run_before, last_at = run, at
        end(open_)
    return out


@given(several, st.sampled_from([1.0, 2.0, 3.0]), st.sampled_from([None, 0.0, 1.0]), st.integers(0, 4))
@settings(max_examples=200, deadline=None)
def test_a_threshold_with_hysteresis_and_minimum_time(all_series, above, clear_at, for_s) -> None:
    def judge(state, at, value):
        if value > above:
            state["on"] = True
        elif value <= (above if clear_at is None else clear_at):
            state["on"] = False
        return state.get("on", False), 0

    rule = rule_of(kind="threshold", above=above, for_s=for_s, **({} if clear_at is None else {"clear_at": clear_at}))
    assert found_by(rule, sampled(all_series)) == by_loop(all_series, judge, min_s=for_s)
    # A limit below is the same upside down.
    mirrored = [[(step, -value) for step, value in steps] for steps in all_series]
    below = rule_of(
        kind="threshold", below=-above, for_s=for_s, **({} if clear_at is None else {"clear_at": -clear_at})
    )
    assert [row[:4] for row in found_by(below, sampled(mirrored))] == [
        row[:4] for row in by_loop(all_series, judge, min_s=for_s)
    ]


@given(several, st.integers(1, 4), st.sampled_from([0.0, 1.0]))
@settings(max_examples=150, deadline=None)
def test_a_value_that_is_stuck(all_series, for_s, tolerance) -> None:
    def judge(state, at, value):
        if "value" in state and abs(value - state["value"]) > tolerance:
            state["run"] = state.get("run", 0) + 1
        state["value"] = value
        return True, state.get("run", 0)

    rule = rule_of(kind="stuck", for_s=for_s, tolerance=tolerance)
    assert found_by(rule, sampled(all_series)) == by_loop(all_series, judge, min_s=for_s)


@given(several, st.sampled_from([0, 2, 4]), st.sampled_from([0.3, 1.0]), st.sampled_from([0.5, 2.0]))
@settings(max_examples=150, deadline=None)
def test_a_value_that_changes_too_fast(all_series, over_s, rise, fall) -> None:
    def judge(state, at, value):
        seen = state.setdefault("seen", [])
        before = [(t, v) for t, v in seen if t <= at - over_s] if over_s else list(seen)
        seen.append((at, value))
        if not before or before[-1][0] == at:
            return False, 0
        rate = (value - before[-1][1]) / (at - before[-1][0])
        return rate > rise or rate < -fall, 0

    rule = rule_of(kind="rate", over_s=over_s, rise_per_s=rise, fall_per_s=fall)
    assert found_by(rule, sampled(all_series)) == by_loop(all_series, judge)


@given(several, st.lists(st.sampled_from([0.0, 1.0, 4.0]), min_size=1, max_size=2))
@settings(max_examples=100, deadline=None)
def test_a_value_that_stands_for_a_fault(all_series, values) -> None:
    rule = rule_of(kind="enum", values=values)
    expected = by_loop(all_series, lambda _, __, value: (value in values, 0))
    assert found_by(rule, sampled(all_series)) == expected


@given(several, st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_a_signal_that_is_missing(all_series, for_s) -> None:
    end = 60
    samples = sampled(all_series)
    found = silences(samples, for_s, (0, end * S)).select("channel", pl.col("first") // S, pl.col("last") // S).rows()
    expected = []
    for number, steps in enumerate(all_series):
        if not steps:
            continue
        times = [0]
        for step, _ in steps:
            times.append(times[-1] + step)
        times.append(max(end, times[-1]))
        expected += [(f"/t{number}", a, b) for a, b in pairwise(times) if b - a > for_s]
    assert found == expected


@given(series, series, st.sampled_from(["above", "below", "values"]))
@settings(max_examples=150, deadline=None)
def test_a_condition_on_another_signal_counts_while_its_last_sample_says_so(steps, other_steps, kind) -> None:
    samples, other = sampled([steps]), sampled([other_steps])
    when = When.model_validate({"signal": "x", kind: 2.0, "max_gap_s": GAP_S})
    judge = {"above": lambda v: v > 2, "below": lambda v: v < 2, "values": lambda v: v == 2}[kind]
    expected = []
    for at in samples["timestamp"]:
        before = [(t, v) for t, v in other.select("timestamp", "value").rows() if at - GAP_S * S <= t <= at]
        expected.append(bool(before) and judge(before[-1][1]))
    assert conditions_hold(samples, "timestamp", [(when, other)]).to_list() == expected


def test_a_condition_that_ends_ends_the_episode() -> None:
    steps = [(1, 4.0)] * 6
    holds = pl.Series([True, True, False, True, True, True])
    rows = found_by(rule_of(kind="threshold", above=2), sampled([steps]), holds)
    assert [row[1:4] for row in rows] == [(1, 2, 2), (4, 6, 3)]


def test_texts_are_compared_and_can_be_stuck() -> None:
    texts = ["ok", "ok", "lost", "lost", "ok"]
    samples = pl.DataFrame(
        [{"channel": "/t", "ecu": "e", "timestamp": n * S, "text": text} for n, text in enumerate(texts)],
        schema=SAMPLES,
    )
    assert [row[1:3] for row in found_by(rule_of(kind="enum", values="lost"), samples)] == [(2, 3)]
    assert [row[1:3] for row in found_by(rule_of(kind="stuck", for_s=1), samples)] == [(0, 1), (2, 3)]
    assert found_by(rule_of(kind="threshold", above=0), samples) == []


@pytest.mark.parametrize("kind", ["threshold", "stuck"])
def test_no_samples_have_no_episodes(kind) -> None:
    rule = rule_of(kind=kind, for_s=1, **({"above": 1} if kind == "threshold" else {}))
    assert found_by(rule, SAMPLES.to_frame()) == []
    assert silences(SAMPLES.to_frame(), 1, (0, S)).is_empty()
    assert SERIES == ("channel", "ecu")
