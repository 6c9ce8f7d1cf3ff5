"""The pieces of which scenarios are declared: times that repeat, signals that leave their course, error frames."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.simulate import av, car, truck
from argus_assets.simulate.can_errors import CanErrors, error_rows
from argus_assets.simulate.scenarios import SCENARIOS
from argus_assets.simulate.signals import Change, Signals
from argus_assets.simulate.timing import ALL_DRIVE, Ride, When

SIGNALS = {"truck": truck.SIGNALS, "car": car.SIGNALS, "av": av.SIGNALS}

whens = st.builds(
    When,
    after_s=st.floats(-20, 20),
    for_s=st.floats(0.1, 30),
    every_s=st.none() | st.floats(1, 30),
)


def ride(seconds: float = 60.0, start_s: float = 20.0) -> Ride:
    return Ride(seconds, start_s, 10**18, np.random.default_rng(1))


@given(when=whens, at=st.floats(0, 60))
def test_active_is_a_stretch_that_has_begun_and_not_ended(when: When, at: float) -> None:
    """Against a loop over the stretches."""
    first = 20.0 + when.after_s
    starts = [first + n * when.every_s for n in range(100)] if when.every_s else [first]
    begun = [start for start in starts if start <= at]
    expected = bool(begun) and at - begun[-1] < when.for_s
    near_an_edge = any(abs(at - edge) < 1e-6 for start in starts for edge in (start, start + when.for_s))
    if not near_an_edge:
        assert when.is_active(at, 20.0) == expected
        assert when.begun(at, 20.0) == len(begun)


@given(when=whens)
def test_starts_lie_in_the_drive(when: When) -> None:
    starts = when.starts(ride())
    assert all(0 <= t < 60 for t in starts)
    assert all(b - a == pytest.approx(when.every_s) for a, b in pairwise(starts))
    assert all(when.is_active(t + 0.05, 20.0) for t in starts)


def test_all_drive_is_all_of_the_longest_drive() -> None:
    assert ALL_DRIVE.active(np.array([0.0, 1.0, 86_400.0]), 20.0).all()
    assert ALL_DRIVE.starts(ride()) == [0.0]


@given(to=st.floats(-100, 100), over_s=st.just(0.0) | st.floats(0.001, 10), when=whens)
def test_a_signal_goes_there_and_is_healthy_before_and_after(to: float, over_s: float, when: When) -> None:
    times = np.linspace(0, 60, 301)
    signals = Signals({"x": lambda t, _: t * 0 + 7.0}, [Change("x", to, over_s, when)], ride())
    values = signals.values("x", times)
    elapsed = when.elapsed(times, 20.0)
    assert (values[np.isnan(elapsed)] == 7.0).all()
    reached = ~np.isnan(elapsed) & (elapsed >= over_s)
    assert values[reached] == pytest.approx(to)
    assert (values >= min(7.0, to) - 1e-9).all()
    assert (values <= max(7.0, to) + 1e-9).all()


def test_a_change_of_an_unknown_signal_is_refused() -> None:
    with pytest.raises(KeyError, match="tyre_kpa"):
        Signals({"x": lambda t, _: t}, [Change("tyre_kpa", 1)], ride())


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda s: s.name)
def test_scenarios_change_only_signals_that_their_vehicle_has(scenario) -> None:
    assert {c.signal for c in scenario.fault.changes} <= SIGNALS[scenario.platform]


@given(when=whens, period=st.floats(0.05, 2))
def test_error_frames_come_while_they_are_declared(when: When, period: float) -> None:
    rows = error_rows([CanErrors("error_passive", when=when, period_s=period)], ride())
    times = np.array([at for at, _, _ in rows])
    # Each is sent up to a fifth of the period late.
    assert all(when.active(np.linspace(at - 0.2 * period, at, 21), 20.0).any() for at in times)
    assert {can_id for _, can_id, _ in rows} <= {1 << 29 | 0x04}
