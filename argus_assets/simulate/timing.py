"""Times in a drive as a scenario declares them: relative to the beginning of its fault."""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]


class Ride(NamedTuple):
    """Context shared by all parts of one simulated drive.

    Attributes:
        seconds: Its length.
        start_s: Beginning of its fault, seconds into the drive.
        started_ns: Its beginning, nanoseconds since 1970 UTC.
        rng: Its random numbers.
    """

    seconds: float
    start_s: float
    started_ns: int
    rng: np.random.Generator

    def ns(self, at_s: float) -> int:
        """Return a time in nanoseconds since 1970 UTC."""
        return self.started_ns + round(at_s * 1e9)


@dataclass(frozen=True, slots=True)
class When:
    """One interval, or one that repeats.

    Attributes:
        after_s: From the beginning of the fault to that of the first; negative before the fault.
        for_s: Length of each.
        every_s: From the beginning of one to that of the next; `None` for a single one.
    """

    after_s: float = 0.0
    for_s: float = math.inf
    every_s: float | None = None

    def elapsed(self, time_s: F64, start_s: float) -> F64:
        """Return the seconds since the current interval began, at each time; NaN where none is current."""
        since = np.asarray(time_s, np.float64) - (start_s + self.after_s)
        phase = since % self.every_s if self.every_s else since
        return np.where((since >= 0) & (phase < self.for_s), phase, np.nan)

    def active(self, time_s: F64, start_s: float) -> npt.NDArray[np.bool_]:
        """Return whether an interval is current, at each time."""
        return ~np.isnan(self.elapsed(time_s, start_s))

    def is_active(self, at_s: float, start_s: float) -> bool:
        """Return whether an interval is current."""
        return bool(self.active(np.array([at_s]), start_s)[0])

    def begun(self, at_s: float, start_s: float) -> int:
        """Return how many intervals have begun by then."""
        since = at_s - (start_s + self.after_s)
        if since < 0:
            return 0
        return 1 + int(since // self.every_s) if self.every_s else 1

    def starts(self, ride: Ride) -> list[float]:
        """Return the beginning of each within the drive; one that is current from the start begins at 0."""
        first = ride.start_s + self.after_s
        if not self.every_s:
            return [max(0.0, first)] if first < ride.seconds and first + self.for_s > 0 else []
        return [t for t in np.arange(first, ride.seconds, self.every_s).tolist() if t >= 0]


FROM_FAULT: Final = When()
"""From the beginning of the fault to the end of the drive."""

ALL_DRIVE: Final = When(after_s=-1e6)
"""The whole drive, which is shorter than this."""
