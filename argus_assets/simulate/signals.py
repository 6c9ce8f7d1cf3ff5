"""Signals of a simulated vehicle: the healthy course of each, and how a fault changes it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from argus_assets.simulate.timing import F64, FROM_FAULT, Ride, When

Course = Callable[[F64, np.random.Generator], F64]
"""A healthy signal: its values at these times, with the sensor's noise."""


@dataclass(frozen=True, slots=True)
class Change:
    """A deviation of a signal from its healthy course, caused by the fault.

    Attributes:
        signal: Its name.
        to: Value that it reaches, in the signal's unit.
        over_s: Seconds that it takes to reach it.
        when: The time of the deviation; afterwards it is healthy again.
        noise: Standard deviation around that value.
    """

    signal: str
    to: float
    over_s: float = 0.0
    when: When = FROM_FAULT
    noise: float = 0.0


class Signals:
    """All signals of one drive.

    Args:
        courses: Healthy signals by name.
        changes: Deviations caused by the fault.
        ride: The drive.

    Raises:
        KeyError: A change names a signal that the vehicle does not have.
    """

    def __init__(self, courses: Mapping[str, Course], changes: Sequence[Change], ride: Ride) -> None:
        self._courses = courses
        self._start_s = ride.start_s
        self._rng = ride.rng
        self._changes: dict[str, list[Change]] = {name: [] for name in courses}
        for change in changes:
            self._changes[change.signal].append(change)

    def values(self, name: str, time_s: F64) -> F64:
        """Return the signal at these times."""
        values = self._courses[name](time_s, self._rng)
        for change in self._changes[name]:
            elapsed = change.when.elapsed(time_s, self._start_s)
            share = np.nan_to_num(np.clip(elapsed / change.over_s, 0, 1) if change.over_s else elapsed * 0 + 1)
            target = change.to + self._rng.normal(0, change.noise, len(time_s))
            values = values + share * (target - values)
        return values
