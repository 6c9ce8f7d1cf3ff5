"""Hold the frames of one CAN channel: cyclic messages as arrays, dialogues frame by frame."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

EXTENDED: Final = 1 << 31
ERROR: Final = 1 << 29
"""Flags of an identifier, as in linux/can.h."""

F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]

Times = tuple[float, float]
"""From and until, seconds since the drive's first frame."""

Maker = Callable[[F64], U8]
"""Returns the payloads at some times (seconds), shape (n, 8)."""


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames in time order.

    Attributes:
        times: Seconds since the drive's start.
        ids: Identifiers with `EXTENDED` and `ERROR`.
        lengths: Bytes of each.
        data: Payloads, shape (n, 8).
    """

    times: F64
    ids: npt.NDArray[np.uint32]
    lengths: U8
    data: U8

    def __len__(self) -> int:
        return len(self.times)

    def rows(self) -> Iterable[tuple[float, int, bytes]]:
        """Yield time, identifier with flags, and payload of each frame."""
        flat = self.data.tobytes()
        for number, (time, can_id, length) in enumerate(
            zip(self.times.tolist(), self.ids.tolist(), self.lengths.tolist(), strict=True)
        ):
            yield time, can_id, flat[8 * number : 8 * number + length]


@dataclass(slots=True)
class Channel:
    """A CAN channel that is being written.

    Attributes:
        seconds: Length of the drive.
        rng: Source of jitter; the drive's own.
        quiet: Times in which each unit sends nothing at all.
        busy: Times in which each unit answers a tester, but sends nothing of its own.
        dead: Times in which the bus carries nothing.
    """

    seconds: float
    rng: np.random.Generator
    quiet: dict[int, list[Times]] = field(default_factory=dict[int, list[Times]])
    busy: dict[int, list[Times]] = field(default_factory=dict[int, list[Times]])
    dead: list[Times] = field(default_factory=list[Times])
    _blocks: list[Frames] = field(default_factory=list[Frames])
    _times: list[float] = field(default_factory=list[float])
    _ids: list[int] = field(default_factory=list[int])
    _payloads: list[bytes] = field(default_factory=list[bytes])

    def is_silent(self, unit: int, time: float) -> bool:
        """Return whether a unit sends nothing at a time."""
        return any(low <= time < high for low, high in self.quiet.get(unit, ()))

    def is_mute(self, unit: int, time: float) -> bool:
        """Return whether a unit sends nothing of its own accord at a time."""
        return self.is_silent(unit, time) or any(low <= time < high for low, high in self.busy.get(unit, ()))

    def put(self, time: float, can_id: int, payload: bytes, unit: int | None = None) -> None:
        """Send one frame, unless its unit is silent then."""
        if unit is not None and self.is_silent(unit, time):
            return
        self._times.append(time)
        self._ids.append(can_id)
        self._payloads.append(payload)

    def cyclic(self, can_id: int, period: float, unit: int, make: Maker, *, length: int = 8) -> None:
        """Send a cyclic message over the whole drive but for the times in which its unit is mute."""
        times = np.arange(self.rng.uniform(0, period), self.seconds, period)
        times += self.rng.normal(0, 0.01 * period, len(times))
        times = np.clip(times, 0, None)
        keep = np.ones(len(times), np.bool_)
        for low, high in (*self.quiet.get(unit, ()), *self.busy.get(unit, ())):
            keep &= ~((times >= low) & (times < high))
        times = times[keep]
        if len(times):
            self._blocks.append(
                Frames(
                    times, np.full(len(times), can_id, np.uint32), np.full(len(times), length, np.uint8), make(times)
                )
            )

    def frames(self) -> Frames:
        """Return all frames in time order, without what a dead bus would have carried."""
        single = np.zeros((len(self._times), 8), np.uint8)
        for row, payload in zip(single, self._payloads, strict=True):
            row[: len(payload)] = np.frombuffer(payload, np.uint8)
        blocks = [
            *self._blocks,
            Frames(
                np.array(self._times, np.float64),
                np.array(self._ids, np.uint32),
                np.array([len(p) for p in self._payloads], np.uint8),
                single,
            ),
        ]
        times = np.concatenate([b.times for b in blocks])
        ids = np.concatenate([b.ids for b in blocks])
        keep = times < self.seconds
        for low, high in self.dead:
            keep &= ((ids & ERROR) != 0) | ~((times > low) & (times < high))
        order = np.argsort(times[keep], kind="stable")
        return Frames(
            times[keep][order],
            ids[keep][order],
            np.concatenate([b.lengths for b in blocks])[keep][order],
            np.concatenate([b.data for b in blocks])[keep][order],
        )
