"""Kilometres from counters, speeds and positions, against the movement that the readings were made of."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.stats.motion import EARTH_RADIUS_KM, counted_km, integrated_km, track_km

S = 10**9
MODULUS = 1000

# Seconds and ticks of 5 m between two readings: at most 200 km/h.
moves = st.lists(
    st.tuples(st.integers(1, 10), st.floats(0, 1)).map(lambda m: (m[0], round(m[0] * m[1] * 11))), max_size=30
)


def readings(moves, start: int = 0) -> tuple[np.ndarray, list[int]]:
    times, ticks = [0], [start]
    for seconds, step in moves:
        times.append(times[-1] + seconds * S)
        ticks.append(ticks[-1] + step)
    return np.array(times, np.int64), ticks


def km_of(times, ticks, **given) -> float | None:
    return counted_km(times, np.array(ticks, np.float64) * 0.005, resolution_km=0.005, **given)


@given(moves, st.integers(0, 10**6))
def test_a_counter_tells_what_it_moved(moves, start):
    times, ticks = readings(moves, start)
    assert km_of(times, ticks) == pytest.approx(0.005 * (ticks[-1] - start), abs=1e-6)


@given(moves, st.integers(0, MODULUS - 1))
def test_a_counter_may_start_again_from_zero(moves, start):
    times, ticks = readings(moves, start)
    rolled = km_of(times, [t % MODULUS for t in ticks], modulus_km=MODULUS * 0.005)
    assert rolled == pytest.approx(0.005 * (ticks[-1] - start), abs=1e-6)


@given(moves.filter(lambda m: len(m) > 2), st.data())
def test_a_counter_that_is_reset_loses_the_step_of_the_reset_only(moves, data):
    times, ticks = readings(moves, start=10**6)
    at = data.draw(st.integers(1, len(ticks) - 1))
    reset = [t if n < at else t - ticks[at] for n, t in enumerate(ticks)]
    expected = (ticks[at - 1] - ticks[0]) + (ticks[-1] - ticks[at])
    assert km_of(times, reset) == pytest.approx(0.005 * expected, abs=1e-6)


@given(moves.filter(lambda m: len(m) > 2), st.data())
def test_a_single_wrong_reading_costs_nothing(moves, data):
    times, ticks = readings(moves, start=10**6)
    at = data.draw(st.integers(1, len(ticks) - 2))
    spoiled = list(ticks)
    spoiled[at] += data.draw(st.sampled_from([-(10**5), 10**5, 10**7]))
    assert km_of(times, spoiled) == pytest.approx(0.005 * (ticks[-1] - ticks[0]), abs=1e-6)


def test_a_coarse_counter_may_move_by_a_whole_step_at_once():
    times = np.array([0, S // 10, 2 * S // 10], np.int64)
    assert counted_km(times, np.array([0.0, 0.125, 0.125]), resolution_km=0.125) == 0.125


@given(st.lists(st.tuples(st.integers(1, 8 * S), st.floats(0, 250)), max_size=20))
def test_speed_is_summed_over_time_and_not_over_gaps(steps):
    times = np.cumsum([gap for gap, _ in steps]).astype(np.int64)
    kmh = np.array([v for _, v in steps])
    expected = sum((b - a) / S / 3600 * (u + v) / 2 for (a, u), (b, v) in pairwise(zip(times.tolist(), kmh, strict=True)) if b - a <= 5 * S)  # fmt: skip
    assert integrated_km(times, kmh) == pytest.approx(expected)


def haversine_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    (lat_a, lon_a), (lat_b, lon_b) = (tuple(map(math.radians, p)) for p in (a, b))
    h = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(h))


def along(points, second: int = 1) -> float:
    times = np.arange(len(points), dtype=np.int64) * second * S
    return track_km(times, np.array([p[0] for p in points], float), np.array([p[1] for p in points], float))


starts = st.tuples(st.floats(-89, 89), st.floats(-180, 180))


@given(starts, st.integers(2, 60), st.floats(0, 2 * math.pi))
def test_a_straight_drive_is_as_long_as_its_great_circle(start, seconds, heading):
    """25 m each second, also over the date line and near the poles."""
    step = math.degrees(0.025 / EARTH_RADIUS_KM)
    points = [
        (
            start[0] + n * step * math.cos(heading),
            start[1] + n * step * math.sin(heading) / math.cos(math.radians(start[0])),
        )
        for n in range(seconds)
    ]
    wrapped = [(lat, (lon + 180) % 360 - 180) for lat, lon in points]
    assert along(wrapped) == pytest.approx(sum(haversine_km(a, b) for a, b in pairwise(points)), rel=1e-3)


@given(st.integers(0, 2**32), st.integers(2, 300))
def test_a_standing_receiver_does_not_drive(seed, seconds):
    noise = np.random.default_rng(seed).uniform(-3, 3, (seconds, 2)) / 111_320
    assert along([(48 + a, 11 + b) for a, b in noise]) == 0.0


@given(st.integers(3, 40), st.data())
def test_a_position_elsewhere_is_left_out(seconds, data):
    points = [(48 + n * 0.0002, 11.0) for n in range(seconds)]
    clean = along(points)
    at = data.draw(st.integers(1, seconds - 2))
    elsewhere = [*points[:at], (0.5, 100.0), *points[at + 1 :]]
    assert along(elsewhere) == pytest.approx(clean, rel=1e-9, abs=0.0223)  # a step may be counted with the next


def test_several_positions_elsewhere_cost_the_way_past_them_only():
    points = [(48 + n * 0.0002, 11.0) for n in range(100)]
    elsewhere = [*points[:50], *[(47.0, 12.0 + n * 1e-5) for n in range(3)], *points[53:]]
    assert along(elsewhere) == pytest.approx(along(points) * 95 / 99, rel=1e-6)


def test_a_fast_receiver_drives_as_far_as_a_slow_one():
    times = np.arange(0, 60 * S, S // 20, dtype=np.int64)
    km = times / S * 0.02
    noise = np.random.default_rng(7).normal(0, 1.0, (len(times), 2)) / 111_320
    found = track_km(times, 48 + np.degrees(km / EARTH_RADIUS_KM) + noise[:, 0], 11 + noise[:, 1])
    assert found == pytest.approx(59 * 0.02, rel=0.03)


@pytest.mark.parametrize("count", [0, 1])
def test_one_reading_is_no_distance(count):
    times = np.zeros(count, np.int64)
    assert counted_km(times, np.zeros(count), resolution_km=1.0) == 0
    assert integrated_km(times, np.zeros(count)) == 0
    assert track_km(times, np.zeros(count), np.zeros(count)) == 0
