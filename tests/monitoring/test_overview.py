"""When nobody looks into the inbox, and how seconds and numbers are told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.monitoring.overview import SILENT_AT_LEAST_S, SILENT_INTERVALS, duration, short, silence

ages = st.floats(0, 1e6)


@given(oldest=ages, tick=st.none() | ages, interval=st.integers(1, 3600))
def test_only_silence_while_manifests_wait_is_told(oldest, tick, interval) -> None:
    told = silence(oldest_marker_s=oldest, last_tick_s=tick, interval_s=interval)
    limit = max(SILENT_AT_LEAST_S, SILENT_INTERVALS * interval)
    assert (told is not None) == (oldest > limit and (tick is None or tick > limit))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (99.4, "99 s"), (100, "2 min"), (5999, "100 min"), (6000, "1.7 h"), (200_000, "2 d")],
)
def test_durations(seconds, text) -> None:
    assert duration(seconds) == text


@given(st.floats(0, 1e15))
def test_a_short_number_is_the_number(number) -> None:
    text = short(number)
    factor = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}.get(text[-1], 1)
    assert float(text.rstrip("kMGT")) * factor == pytest.approx(number, rel=0.006, abs=0.51)
