"""CAN frames of a simulated bus, as arrays."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
F64 = npt.NDArray[np.float64]

ERROR_FLAG: Final = 1 << 29
"""SocketCAN's flag of an error frame in an identifier; the other bits are error classes."""

_STANDARD_BITS: Final = 11


@dataclass(frozen=True, slots=True)
class CanLog:
    """Frames in order of time; all arrays have one row for each.

    Attributes:
        time_s: Seconds since the start of the drive.
        can_id: Identifier without flag bits, but for `ERROR_FLAG`.
        extended: Whether it has 29 bits.
        data: Eight bytes; those beyond `length` are zero.
        length: Data bytes.
    """

    time_s: F64
    can_id: npt.NDArray[np.uint32]
    extended: npt.NDArray[np.bool_]
    data: U8
    length: U8

    @property
    def error(self) -> npt.NDArray[np.bool_]:
        """Mask of the error frames."""
        return (self.can_id & ERROR_FLAG) != 0

    def between(self, start_s: float, end_s: float) -> "CanLog":
        """Return the frames of an interval."""
        chosen = (self.time_s >= start_s) & (self.time_s < end_s)
        return self.rows(chosen)

    def rows(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> "CanLog":
        """Return the frames that a mask or an index selects."""
        return CanLog(
            self.time_s[chosen], self.can_id[chosen], self.extended[chosen], self.data[chosen], self.length[chosen]
        )


Row = tuple[float, int, bytes]
"""One frame: seconds since the start of the drive, identifier, data."""


def from_rows(rows: Iterable[Row], *, before_s: float) -> CanLog:
    """Return single frames as a log; an identifier of more than 11 bits is an extended one.

    Args:
        rows: In any order.
        before_s: Frames that would come later are left out: the end of a drive cuts what is being sent.
    """
    kept = [row for row in rows if row[0] < before_s]
    ids = np.array([can_id for _, can_id, _ in kept], np.uint32)
    return CanLog(
        np.array([at for at, _, _ in kept], np.float64),
        ids,
        ((ids & ERROR_FLAG) == 0) & (ids >> _STANDARD_BITS > 0),
        np.frombuffer(b"".join(data.ljust(8, b"\0") for _, _, data in kept), np.uint8).reshape(-1, 8),
        np.array([len(data) for _, _, data in kept], np.uint8),
    )


def cyclic(seconds: float, period_s: float, rng: np.random.Generator, *, jitter: float = 0.02) -> F64:
    """Return the times of a message sent each `period_s`, with a random phase and a little jitter (share of the period)."""
    times = np.arange(rng.uniform(0, period_s), seconds, period_s)
    return np.clip(times + rng.normal(0, jitter * period_s, len(times)), 0, np.nextafter(seconds, 0))


def frames(time_s: F64, can_id: int, data: U8, *, extended: bool) -> CanLog:
    """Return frames of one identifier.

    Args:
        time_s: When.
        can_id: Identifier.
        data: Shape (n, length).
        extended: 29 bits.
    """
    n, length = data.shape
    padded = np.zeros((n, 8), np.uint8)
    padded[:, :length] = data
    return CanLog(
        np.asarray(time_s, np.float64),
        np.full(n, can_id, np.uint32),
        np.full(n, extended, np.bool_),
        padded,
        np.full(n, length, np.uint8),
    )


def merge(logs: Sequence[CanLog]) -> CanLog:
    """Return all frames, ordered by time."""
    joined = CanLog(
        np.concatenate([g.time_s for g in logs]),
        np.concatenate([g.can_id for g in logs]),
        np.concatenate([g.extended for g in logs]),
        np.concatenate([g.data for g in logs]),
        np.concatenate([g.length for g in logs]),
    )
    return joined.rows(np.argsort(joined.time_s, kind="stable"))


def put_number(data: U8, at: int, size: int, values: F64, *, top: int | None = None) -> None:
    """Write numbers as little-endian fields of `size` bytes at byte `at`, clipped to 0 and `top`."""
    raw = np.clip(np.rint(values), 0, 256**size - 1 if top is None else top).astype(np.uint64)
    for n in range(size):
        data[:, at + n] = (raw >> np.uint64(8 * n)) & np.uint64(0xFF)


def speed_profile(time_s: F64, seconds: float, top_kmh: float) -> F64:
    """Return the vehicle speed over a drive, km/h: it starts, cruises with some waves, and stops."""
    x = time_s / max(seconds, 1e-9)
    envelope = np.clip(np.minimum(x / 0.2, (1 - x) / 0.15), 0, 1)
    return top_kmh * envelope * (0.9 + 0.1 * np.sin(2 * np.pi * time_s / 17.0))
