"""Records that follow each other without an index: walked exactly, and yet a run at a time.

A format whose records state their length is a chain: each record determines where the next one starts. Walking it one by
one costs a Python step for each. Here every place that could be a record is found at once, and where each of a run
of such places ends at the next one, walking would have found the same.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from argus_assets.recordings.columns import I64


@dataclass(slots=True)
class Chain:
    """Places that could be records.

    Attributes:
        places: Offset of each, ascending.
        following: Where each would end and the next one start.
    """

    places: I64
    following: I64
    _breaks: I64 = field(init=False, repr=False)
    _leads: I64 = field(init=False, repr=False)

    def __post_init__(self) -> None:
        leads = self.following[:-1] == self.places[1:]
        self._breaks = np.flatnonzero(~leads)
        self._leads = np.append(np.flatnonzero(leads), len(self.places) - 1)  # the end follows the last one

    def run(self, at: int) -> tuple[I64, int] | None:
        """Return the unbroken run of records from `at` on, and where it ends; `None` when no record can be at `at`."""
        i = int(np.searchsorted(self.places, at))
        if i == len(self.places) or self.places[i] != at:
            return None
        b = int(np.searchsorted(self._breaks, i))
        last = int(self._breaks[b]) if b < len(self._breaks) else len(self.places) - 1
        return self.places[i : last + 1], int(self.following[last])

    def resume(self, at: int) -> int | None:
        """Return the first place from `at` on that is followed by another one, or by the end that the last place has."""
        i = int(np.searchsorted(self.places, at))
        if i == len(self.places):
            return None
        return int(self.places[self._leads[np.searchsorted(self._leads, i)]])


@dataclass(slots=True)
class Walker:
    """Walks records that are too short or too mixed for long runs, in steps of many records at once.

    From every place, where 1, 2, 4 … records further lead is found for all places together; then only one in
    `2**levels` steps is walked one by one.

    Attributes:
        places: Offset of each place that could be a record, ascending.
        following: Where each would end and the next one start, inside the buffer or at its end.
        size: Bytes of the buffer.
    """

    places: I64
    following: I64
    size: int
    levels: int = 6
    _jumps: list[npt.NDArray[np.int32]] = field(init=False, repr=False)
    _starts: dict[int, I64] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        n = len(self.places)
        index = np.full(self.size + 1, n, np.int32)
        index[self.places] = np.arange(n, dtype=np.int32)
        jump = np.append(index[self.following], np.int32(n))  # one behind the last: nowhere, and from there nowhere
        self._jumps = [jump]
        for _ in range(self.levels):
            jump = jump[jump]
            self._jumps.append(jump)

    def walk(self, at: int) -> I64:
        """Return the offsets of the records from `at` on, up to the first that no candidate follows."""
        n = len(self.places)
        i = int(np.searchsorted(self.places, at))
        if i == n or self.places[i] != at:
            return np.zeros(0, np.int64)
        far = self._jumps[self.levels]
        stops: list[int] = []
        while i != n:
            stops.append(i)
            i = int(far[i])
        found = np.array(stops, np.int32)
        for jump in reversed(self._jumps[: self.levels]):
            found = np.stack([found, jump[found]], axis=1).ravel()
        return self.places[found[found != n]]

    def next_start(self, at: int, *, level: int = 4) -> int | None:
        """Return the first place from `at` on from which `2**level` records follow each other."""
        if level not in self._starts:  # found once for all searches
            self._starts[level] = self.places[self._jumps[level][:-1] != len(self.places)]
        starts = self._starts[level]
        i = int(np.searchsorted(starts, at))
        return int(starts[i]) if i < len(starts) else None
