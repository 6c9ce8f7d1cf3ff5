"""A synthetic drive of CAN frames, and the same drive in every recording format, by the formats' own writers.

Four buses, a quarter of the frames CAN FD, cyclic messages with counters and slow signals, so that files compress
as recordings do.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

START_NS = 1_795_000_000 * 10**9
BUSES = 4
FD_SHARE = 0.25
MESSAGES_PER_BUS = 60
FRAMES_PER_SECOND = 8_000
_FD_LENGTHS = np.array([12, 16, 20, 24, 32, 48, 64])
_DLC = np.array(
    [0, 1, 2, 3, 4, 5, 6, 7, 8, *[9] * 4, *[10] * 4, *[11] * 4, *[12] * 4, *[13] * 8, *[14] * 16, *[15] * 16]
)


@dataclass(frozen=True)
class Session:
    """Frames in time order, each array of shape (n,) but for `data`.

    Attributes:
        time_ns: Nanoseconds since 1970-01-01 UTC, whole microseconds (BLF and candump keep no more in all variants).
        bus: From 0.
        data: Data bytes, shape (n, 64), zeros behind `length`.
    """

    time_ns: npt.NDArray[np.int64]
    bus: npt.NDArray[np.uint8]
    can_id: npt.NDArray[np.uint32]
    extended: npt.NDArray[np.bool_]
    fd: npt.NDArray[np.bool_]
    dlc: npt.NDArray[np.uint8]
    length: npt.NDArray[np.int64]
    data: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.time_ns)

    def payload(self) -> npt.NDArray[np.uint8]:
        """All data bytes, one frame after another."""
        return self.data[np.arange(64) < self.length[:, None]]


def make_session(frames: int, *, seed: int = 1, fd_share: float = FD_SHARE) -> Session:
    """A session of so many frames; the same seed gives the same frames."""
    random = np.random.default_rng(seed)
    kinds = BUSES * MESSAGES_PER_BUS
    bus = np.repeat(np.arange(BUSES), MESSAGES_PER_BUS)
    fd = np.arange(kinds) % MESSAGES_PER_BUS < MESSAGES_PER_BUS * fd_share
    extended = random.random(kinds) < 0.5
    can_id = np.where(extended, random.integers(0x800, 1 << 29, kinds), random.integers(0x40, 0x7F0, kinds))
    length = np.where(fd, random.choice(_FD_LENGTHS, kinds), random.choice([8, 8, 8, 8, 6, 4, 3], kinds))
    message = random.integers(0, kinds, frames)
    data = random.integers(0, 256, (kinds, 64), dtype=np.uint8)[message]
    data[:, 0] = np.arange(frames) // kinds  # a counter
    walk = np.cumsum(random.integers(-2, 3, frames)).astype("<i2")
    data[:, 1:3] = walk[:, None].view(np.uint8)
    data[np.arange(64) >= length[message][:, None]] = 0
    step_us = random.integers(1, 2 * 10**6 // FRAMES_PER_SECOND, frames)
    return Session(
        time_ns=START_NS + np.cumsum(step_us).astype(np.int64) * 1000,
        bus=bus[message].astype(np.uint8),
        can_id=can_id[message].astype(np.uint32),
        extended=extended[message],
        fd=fd[message],
        dlc=_DLC[length[message]].astype(np.uint8),
        length=length[message].astype(np.int64),
        data=data,
    )
