"""Clocks that jump are told once, whatever the batches."""

import itertools

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.recordings.clock import ClockCheck
from argus_assets.recordings.columns import empty_arrays
from argus_assets.recordings.model import Problem

S = 10**9


def frames(times: list[int], channels: list[int] | None = None) -> pl.DataFrame:
    arrays = empty_arrays(len(times))
    arrays.timestamp_ns = np.array(times, np.int64)
    arrays.channel = np.array(channels or [0] * len(times), np.uint32)
    arrays.channels = ["CAN1", "CAN2", "CAN3"]
    return arrays.frame(0)


def check(table: pl.DataFrame, cuts: list[int]) -> list[Problem]:
    clock = ClockCheck()
    bounds = [0, *sorted(c for c in cuts if c < table.height), table.height]
    for start, end in itertools.pairwise(bounds):
        clock.observe(table.slice(start, end - start))
    return clock.problems()


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, -1, 2, -2 * S, 3 * S, 7200 * S, -4295 * S]), st.integers(0, 2)), max_size=60
    ),
    st.lists(st.integers(0, 60), max_size=6),
)
@settings(max_examples=150, deadline=None)
def test_batches_make_no_difference(steps: list[tuple[int, int]], cuts: list[int]) -> None:
    times = np.cumsum([10**18, *(s for s, _ in steps)]).tolist()
    table = frames(times, [0, *(c for _, c in steps)])
    assert check(table, cuts) == check(table, [])


def test_a_clock_that_is_set_is_told_with_its_place() -> None:
    [row] = check(frames([5 * S, 6 * S, 10**18, 10**18 + S]), [])
    assert row.kind == "clock_jump"
    assert "ahead" in row.actual
    assert "at frame 2 on CAN1" in row.actual
    assert row.frames_lost == 0


def test_a_counter_that_wraps_is_named() -> None:
    wrap = 2**32 * 1000
    [row] = check(frames([wrap - S, wrap - 1000, 5000, S]), [])
    assert "32 bits of microseconds that wrapped" in row.actual


def test_a_little_disorder_and_a_quiet_channel_are_no_jumps() -> None:
    assert check(frames([10 * S, 9 * S + 1, 11 * S]), []) == []
    silent = [i * 60 * S for i in range(200)]
    assert check(frames(silent, [1, *([0] * 198), 1]), []) == []


def test_channels_with_clocks_of_their_own_are_no_jumps() -> None:
    times = [t for i in range(50) for t in (10**18 + i * S, i * S)]
    assert check(frames(times, [0, 1] * 50), []) == []
