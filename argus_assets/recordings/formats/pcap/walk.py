"""The chain of records of a capture: each states its size, which is where the next one starts.

Captures of a bus have packets of a few sizes. Places that state one of them are found at once, as arrays, and the chain
is then followed among them; it is followed one by one only where other sizes occur, or where records are not aligned.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from argus_assets.recordings.columns import I64
from argus_assets.recordings.formats.pcap.layout import (
    BLOCK_HEAD_BYTES,
    MAX_PACKET_BYTES,
    MIN_BLOCK_BYTES,
    RECORD_BYTES,
    RECORD_CAPTURED_AT,
    BlockType,
    Order,
    struct_of,
)

_LEARNED: Final = 64
"""Records that are followed one by one before their sizes are taken as the usual ones."""
_MAX_SIZES: Final = 16
"""Different sizes that are looked for: each takes a pass over the bytes."""
_ALIGNED: Final = 4


@dataclass(frozen=True, slots=True)
class Records:
    """How records of a format follow each other.

    Attributes:
        size_at: Offset of the size (32 bits) in a record.
        head_bytes: Bytes of a record that have to be there to read its size.
        fixed_bytes: Bytes that the size does not count.
        min_size: Smallest size.
        max_size: Largest size.
        step: What sizes are a multiple of.
        is_candidate: Of words from some place on, and one size: where a record of that size may start.
    """

    size_at: int
    head_bytes: int
    fixed_bytes: int
    min_size: int
    max_size: int
    step: int
    is_candidate: Callable[[np.ndarray, int], np.ndarray]


def _is_record(words: np.ndarray, size: int) -> np.ndarray:
    return (words[2:-1] == size) & (words[3:] == size)


def _is_block(words: np.ndarray, size: int) -> np.ndarray:
    return (words[1:] == size) & (words[:-1] == BlockType.ENHANCED_PACKET)


MAX_BLOCK_BYTES: Final = 16 * 1024**2
"""Largest block: a packet of `MAX_PACKET_BYTES` with options, or secrets and names, which are far smaller."""

PACKETS: Final = Records(RECORD_CAPTURED_AT, RECORD_BYTES, RECORD_BYTES, 0, MAX_PACKET_BYTES, 1, _is_record)
"""Records of pcap."""
BLOCKS: Final = Records(4, BLOCK_HEAD_BYTES, 0, MIN_BLOCK_BYTES, MAX_BLOCK_BYTES, 4, _is_block)
"""Blocks of pcapng."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Records that follow each other.

    Attributes:
        places: Offset of each whole record.
        end: Where the last one ends.
        wanted_bytes: Of the record at `end`, which is not whole; 0 where it states a size that no record has.
    """

    places: I64
    end: int
    wanted_bytes: int


def walk(data: bytes, at: int, order: Order, records: Records) -> Walk:
    """Follow records from `at` on, as far as they are whole."""
    size_of = struct_of(order, "I").unpack_from
    found: list[I64] = []
    slow: list[int] = []
    sizes: set[int] = set()
    jumps: _Jumps | None = None
    wanted = 0
    last = len(data) - records.head_bytes
    while True:
        if at > last:
            wanted = records.head_bytes
            break
        size = size_of(data, at + records.size_at)[0]
        if not records.min_size <= size <= records.max_size or size % records.step:
            break
        end = at + records.fixed_bytes + size
        if end > len(data):
            wanted = end - at
            break
        slow.append(at)
        at = end
        if len(slow) < _LEARNED:
            sizes.add(size)
        elif jumps is None and len(slow) == _LEARNED and all((records.fixed_bytes + s) % _ALIGNED == 0 for s in sizes):
            jumps = _Jumps.over(data, at, order, records, sizes)
        if jumps is not None and len(slow) >= _LEARNED and jumps.has(at):
            found.append(np.array(slow, np.int64))
            slow = []
            places, at = jumps.follow(at)
            found.append(places)
    found.append(np.array(slow, np.int64))
    return Walk(np.concatenate(found), at, wanted)


@dataclass(slots=True)
class _Jumps:
    """Places where records of the usual sizes may start, with where each of them ends."""

    places: I64
    ends: I64

    @classmethod
    def over(cls, data: bytes, at: int, order: Order, records: Records, sizes: set[int]) -> "_Jumps | None":
        """Find them from `at` on; `None` where there are too many sizes."""
        if len(sizes) > _MAX_SIZES:
            return None
        words = np.frombuffer(data, f"{order}u4", (len(data) - at) // 4, at).astype(np.uint32)
        if len(words) < records.head_bytes // 4:
            return None
        starts = np.zeros(0, np.int64)
        ends = np.zeros(0, np.int64)
        for size in sizes:
            of_size = at + 4 * np.flatnonzero(records.is_candidate(words, size))
            starts = np.concatenate([starts, of_size])
            ends = np.concatenate([ends, of_size + records.fixed_bytes + size])
        by_place = np.argsort(starts)
        starts, ends = starts[by_place], ends[by_place]
        whole = ends <= len(data)
        return cls(starts[whole], ends[whole])

    def has(self, at: int) -> bool:
        index = int(np.searchsorted(self.places, at))
        return index < len(self.places) and int(self.places[index]) == at

    def follow(self, at: int) -> tuple[I64, int]:
        """Return the records from `at` on that follow each other, and where the last of them ends."""
        first = int(np.searchsorted(self.places, at))
        places, ends = self.places[first:], self.ends[first:]
        broken = np.flatnonzero(ends[:-1] != places[1:])
        if not len(broken):
            return places, int(ends[-1])
        # Bytes of a packet may look like a record: step over them.
        following = np.searchsorted(places, ends)
        lands = np.append(places, -1)[following] == ends
        steps, goes_on = following.tolist(), lands.tolist()
        taken = [0]
        while goes_on[taken[-1]]:
            taken.append(steps[taken[-1]])
        walked = np.array(taken, np.int64)
        return places[walked], int(ends[walked[-1]])
