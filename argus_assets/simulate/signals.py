"""What a simulated vehicle measures: each signal's healthy course, and what a fault makes of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from argus_assets.simulate.timing import F64, FROM_FAULT, Ride, When

Course = Callable[[F64, np.random.Generator], F64]
"""A healthy signal: its values at these times, with the sensor's noise."""


@dataclass(frozen=True, slots=True)
class Change:
    """A fault moves a signal away from its healthy course.

    Attributes:
        signal: Its name.
        to: Where it goes, in the signal's unit.
        over_s: How long it takes to get there.
        when: During which time; afterwards it is healthy again.
        noise: Standard deviation around the value that it reaches.
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
        changes: What the fault does to them.
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
        """The signal at these times."""
        values = self._courses[name](time_s, self._rng)
        for change in self._changes[name]:
            elapsed = change.when.elapsed(time_s, self._start_s)
            share = np.nan_to_num(np.clip(elapsed / change.over_s, 0, 1) if change.over_s else elapsed * 0 + 1)
            target = change.to + self._rng.normal(0, change.noise, len(time_s))
            values = values + share * (target - values)
        return values
