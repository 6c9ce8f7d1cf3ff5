"""Packets of a capture as arrays: where they are, when and on which interface they were captured."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from argus_assets.recordings.columns import I64, Flags
from argus_assets.recordings.formats.pcap.layout import Order

MAX_TIME_NS: Final = 2**62
"""In 2116; what is later is no time."""
_NS: Final = 10**9


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface of a capture.

    Attributes:
        channel: Its name in the tables.
        link_type: Of its packets.
        order: Byte order of the section that describes it.
        snap_bytes: Longest packet that was captured of it, 0 for any.
        resolution: `if_tsresol`: a negative power of 10, or of 2 where bit 7 is set.
        offset_s: `if_tsoffset`: seconds to be added to its times.
    """

    channel: str
    link_type: int
    order: Order = "<"
    snap_bytes: int = 0
    resolution: int = 6
    offset_s: int = 0

    def times_ns(self, ticks: np.ndarray) -> tuple[I64, Flags]:
        """Convert times of pcapng (uint64); return nanoseconds since 1970, and which of them are no time."""
        power = self.resolution & 0x7F
        if self.resolution & 0x80:
            if power >= 64:
                ticks, power = np.zeros_like(ticks), 0
            shift = np.uint64(power)
            seconds, rest = ticks >> shift, ticks - ((ticks >> shift) << shift)
            # A fraction of at most 33 bits fits into 64 bits when it is multiplied by 10^9.
            cut = max(0, power - 33)
            ns = ((rest >> np.uint64(cut)) * np.uint64(_NS)) >> np.uint64(power - cut)
        else:
            # Powers above 19 do not fit into 64 bits, and no time of them reaches a second.
            unit = np.uint64(10 ** min(power, 19))
            seconds, rest = ticks // unit, ticks % unit
            ns = rest * np.uint64(10 ** (9 - power)) if power <= 9 else rest // np.uint64(10 ** (min(power, 19) - 9))
        return to_ns(seconds, ns, self.offset_s)


def to_ns(seconds: np.ndarray, ns: np.ndarray, offset_s: int = 0) -> tuple[I64, Flags]:
    """Add seconds, nanoseconds and an offset; return the sum, 0 where it is no time, and where that is.

    Args:
        seconds: Unsigned. Shape (n,).
        ns: Unsigned, less than 2^62. Shape (n,).
        offset_s: Any 64-bit number.
    """
    limit = MAX_TIME_NS // _NS
    offset = offset_s if abs(offset_s) < limit else 0
    bad = (seconds >= limit) | (np.full(len(seconds), offset_s != offset))
    total = (np.where(bad, 0, seconds).astype(np.int64) + offset) * _NS + ns.astype(np.int64)
    bad |= (total < 0) | (total >= MAX_TIME_NS)
    return np.where(bad, 0, total), bad


@dataclass(frozen=True, slots=True)
class Packets:
    """Packets of one part of a file.

    Attributes:
        data: Bytes of the file.
        starts: Where the bytes of each packet start in them. Shape (n,), as all arrays here.
        sizes: Captured bytes.
        originals: Bytes on the wire.
        times_ns: Nanoseconds since 1970.
        interface: Index into `interfaces`.
        directions: 0 where it is not known, else `layout.INBOUND` or `OUTBOUND`.
        interfaces: The known ones.
        at: Offset in the file of the first one.
    """

    data: bytes
    starts: I64
    sizes: I64
    originals: I64
    times_ns: I64
    interface: I64
    directions: I64
    interfaces: tuple[Interface, ...]
    at: int

    def __len__(self) -> int:
        return len(self.starts)
