"""When something happens in a drive, as a scenario declares it: relative to the beginning of its fault."""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]


class Ride(NamedTuple):
    """What all parts of one simulated drive share.

    Attributes:
        seconds: How long it is.
        start_s: When its fault begins, seconds into the drive.
        started_ns: When it begins, nanoseconds since 1970 UTC.
        rng: Its chance.
    """

    seconds: float
    start_s: float
    started_ns: int
    rng: np.random.Generator

    def ns(self, at_s: float) -> int:
        """Nanoseconds since 1970 UTC."""
        return self.started_ns + round(at_s * 1e9)


@dataclass(frozen=True, slots=True)
class When:
    """One or many stretches of time.

    Attributes:
        after_s: The first begins so long after the fault; a negative number is before it.
        for_s: How long each lasts.
        every_s: They begin again so long after one another; `None` for a single one.
    """

    after_s: float = 0.0
    for_s: float = math.inf
    every_s: float | None = None

    def elapsed(self, time_s: F64, start_s: float) -> F64:
        """Seconds since the current stretch began, at each time; NaN where none is current."""
        since = np.asarray(time_s, np.float64) - (start_s + self.after_s)
        phase = since % self.every_s if self.every_s else since
        return np.where((since >= 0) & (phase < self.for_s), phase, np.nan)

    def active(self, time_s: F64, start_s: float) -> npt.NDArray[np.bool_]:
        """Whether a stretch is current, at each time."""
        return ~np.isnan(self.elapsed(time_s, start_s))

    def is_active(self, at_s: float, start_s: float) -> bool:
        """Whether a stretch is current."""
        return bool(self.active(np.array([at_s]), start_s)[0])

    def begun(self, at_s: float, start_s: float) -> int:
        """How many stretches have begun until then."""
        since = at_s - (start_s + self.after_s)
        if since < 0:
            return 0
        return 1 + int(since // self.every_s) if self.every_s else 1

    def starts(self, ride: Ride) -> list[float]:
        """When each begins within the drive; one that is current from its beginning begins at 0."""
        first = ride.start_s + self.after_s
        if not self.every_s:
            return [max(0.0, first)] if first < ride.seconds and first + self.for_s > 0 else []
        return [t for t in np.arange(first, ride.seconds, self.every_s).tolist() if t >= 0]


FROM_FAULT: Final = When()
"""From the beginning of the fault to the end of the drive."""

ALL_DRIVE: Final = When(after_s=-1e6)
"""The whole drive, which is shorter than this."""
