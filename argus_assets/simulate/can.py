"""CAN frames of a simulated bus, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CanLog:
    """Frames in order of time; all arrays have one row for each.

    Attributes:
        time_s: Seconds since the start of the drive.
        can_id: Identifier without flag bits.
        extended: Whether it has 29 bits.
        data: Eight bytes; those beyond `length` are zero.
        length: Data bytes.
    """

    time_s: F64
    can_id: npt.NDArray[np.uint32]
    extended: npt.NDArray[np.bool_]
    data: U8
    length: U8

    def between(self, start_s: float, end_s: float) -> "CanLog":
        """The frames of a stretch of time."""
        chosen = (self.time_s >= start_s) & (self.time_s < end_s)
        return self.rows(chosen)

    def rows(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> "CanLog":
        """The frames that a mask or an index chooses."""
        return CanLog(
            self.time_s[chosen], self.can_id[chosen], self.extended[chosen], self.data[chosen], self.length[chosen]
        )


def cyclic(seconds: float, period_s: float, rng: np.random.Generator, *, jitter: float = 0.02) -> F64:
    """Times of a message sent each `period_s`, with a random phase and a little jitter (share of the period)."""
    times = np.arange(rng.uniform(0, period_s), seconds, period_s)
    return np.clip(times + rng.normal(0, jitter * period_s, len(times)), 0, np.nextafter(seconds, 0))


def frames(time_s: F64, can_id: int, data: U8, *, extended: bool) -> CanLog:
    """Frames of one identifier.

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
    """All frames, ordered by time."""
    joined = CanLog(
        np.concatenate([g.time_s for g in logs]),
        np.concatenate([g.can_id for g in logs]),
        np.concatenate([g.extended for g in logs]),
        np.concatenate([g.data for g in logs]),
        np.concatenate([g.length for g in logs]),
    )
    return joined.rows(np.argsort(joined.time_s, kind="stable"))


def put_u16(data: U8, at: int, values: F64) -> None:
    """Write numbers as little-endian 16-bit fields at byte `at`."""
    raw = np.clip(np.rint(values), 0, 65_535).astype(np.uint16)
    data[:, at] = raw & 0xFF
    data[:, at + 1] = raw >> 8


def speed_profile(time_s: F64, seconds: float, top_kmh: float) -> F64:
    """Vehicle speed over a drive, km/h: it starts, cruises with some waves, and stops."""
    x = time_s / max(seconds, 1e-9)
    envelope = np.clip(np.minimum(x / 0.2, (1 - x) / 0.15), 0, 1)
    return top_kmh * envelope * (0.9 + 0.1 * np.sin(2 * np.pi * time_s / 17.0))
