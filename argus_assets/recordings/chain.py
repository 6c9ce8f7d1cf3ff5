"""Records that follow each other without an index: walked exactly, and yet a run at a time.

A format whose records state their length is a chain: each record says where the next one starts. Walking it one by
one costs a Python step for each. Here every place that could be a record is found at once, and where each of a run
of such places ends at the next one, walking would have found the same.
"""

from dataclasses import dataclass, field

import numpy as np

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

    def __post_init__(self) -> None:
        self._breaks = np.flatnonzero(self.following[:-1] != self.places[1:])

    def run(self, at: int) -> tuple[I64, int] | None:
        """The unbroken run of records from `at` on, and where it ends; `None` when no record can be at `at`."""
        i = int(np.searchsorted(self.places, at))
        if i == len(self.places) or self.places[i] != at:
            return None
        b = int(np.searchsorted(self._breaks, i))
        last = int(self._breaks[b]) if b < len(self._breaks) else len(self.places) - 1
        return self.places[i : last + 1], int(self.following[last])

    def next_place(self, at: int) -> int | None:
        """The first place from `at` on that could be a record."""
        i = int(np.searchsorted(self.places, at))
        return int(self.places[i]) if i < len(self.places) else None
