"""The chain of records of a capture: each states its size, which is where the next one starts.

Captures of a bus have packets of a few sizes. Places that state one of them are found at once, as arrays, and the chain
is then followed among them; it is followed one by one only where other sizes occur, or where records are not aligned.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from argus_assets.recordings.chain import Chain
from argus_assets.recordings.columns import I64
from argus_assets.recordings.formats.pcap.layout import (
    BLOCK_HEAD_BYTES,
    MAX_PACKET_BYTES,
    MIN_BLOCK_BYTES,
    PCAPNG_MAGIC,
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
        ends_before: First bytes of a record with which another chain starts; none for no such record.
        is_candidate: Of words from some place on, and one size: where a record of that size may start.
    """

    size_at: int
    head_bytes: int
    fixed_bytes: int
    min_size: int
    max_size: int
    step: int
    ends_before: bytes
    is_candidate: Callable[[np.ndarray, int], np.ndarray]


def _is_record(words: np.ndarray, size: int) -> np.ndarray:
    return (words[2:-1] == size) & (words[3:] == size)


def _is_block(words: np.ndarray, size: int) -> np.ndarray:
    return (words[1:] == size) & (words[:-1] == BlockType.ENHANCED_PACKET)


MAX_BLOCK_BYTES: Final = 16 * 1024**2
"""Largest block: a packet of `MAX_PACKET_BYTES` with options, or secrets and names, which are far smaller."""

PACKETS: Final = Records(RECORD_CAPTURED_AT, RECORD_BYTES, RECORD_BYTES, 0, MAX_PACKET_BYTES, 1, b"", _is_record)
"""Records of pcap."""
BLOCKS: Final = Records(4, BLOCK_HEAD_BYTES, 0, MIN_BLOCK_BYTES, MAX_BLOCK_BYTES, 4, PCAPNG_MAGIC, _is_block)
"""Blocks of pcapng."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Records that follow each other.

    Attributes:
        places: Offset of each whole record.
        end: Where the last one ends.
        wanted_bytes: Of the record at `end`, which is not whole; 0 where it states a size that no record has, or another
            chain starts.
    """

    places: I64
    end: int
    wanted_bytes: int


def walk(data: bytes, at: int, order: Order, records: Records, *, stop: int) -> Walk:
    """Follow records from `at` on, as far as they are whole in the data up to `stop`."""
    size_of = struct_of(order, "I").unpack_from
    found: list[I64] = []
    slow: list[int] = []
    sizes: set[int] = set()
    chain: Chain | None = None
    learned = 0
    wanted = 0
    stop = min(stop, len(data))
    last = stop - records.head_bytes
    while True:
        if at > last:
            wanted = records.head_bytes
            break
        size = size_of(data, at + records.size_at)[0]
        if not records.min_size <= size <= records.max_size or size % records.step:
            break
        end = at + records.fixed_bytes + size
        if end > stop:
            wanted = end - at
            break
        if records.ends_before and (slow or found) and data.startswith(records.ends_before, at):
            break
        slow.append(at)
        at = end
        if learned < _LEARNED:
            learned += 1
            sizes.add(records.fixed_bytes + size)
            if learned == _LEARNED and len(sizes) <= _MAX_SIZES and all(s % _ALIGNED == 0 for s in sizes):
                chain = _usual(data, at, order, records, sizes, stop=stop)
        run = None if chain is None else chain.run(at)
        if run is not None:
            found += [np.array(slow, np.int64), run[0]]
            slow, at = [], run[1]
    found.append(np.array(slow, np.int64))
    return Walk(np.concatenate(found), at, wanted)


def _usual(data: bytes, at: int, order: Order, records: Records, sizes: set[int], *, stop: int) -> Chain:
    """Return where records of the usual sizes may start, from `at` up to `stop`."""
    words = np.frombuffer(data, f"{order}u4", max(0, stop - at) // 4, at).astype(np.uint32)
    parts = [np.zeros((2, 0), np.int64)]
    if len(words) >= records.head_bytes // 4:
        for size in sizes:
            starts = at + 4 * np.flatnonzero(records.is_candidate(words, size - records.fixed_bytes))
            parts.append(np.stack([starts, starts + size]))
    found = np.concatenate(parts, axis=1)
    found = found[:, found[1] <= stop]
    places, ends = found[:, np.argsort(found[0])]
    return Chain(places, ends)
