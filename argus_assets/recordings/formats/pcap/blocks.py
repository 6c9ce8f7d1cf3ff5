"""Blocks of pcapng: interfaces with their options, and packets of the three kinds of packet blocks."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from argus_assets.recordings.columns import I64, rows_at
from argus_assets.recordings.formats.pcap import layout
from argus_assets.recordings.formats.pcap.layout import BlockType, Order, struct_of
from argus_assets.recordings.formats.pcap.packets import Interface, Packets

_MAX_NAME_BYTES: Final = 256
"""Bytes of an interface's name that are kept."""
_MAX_OPTIONS: Final = 16
"""Options of a packet among which its flags are searched; programs write one to three."""
_MAX_SECTION_BYTES: Final = 2**48
"""Bytes that a section may state: what is beyond was damaged."""
_MAX_DROPPED: Final = 2**40
"""Packets that a capture may have dropped: what is beyond was damaged."""
_SILENT: Final = frozenset(
    {
        BlockType.SECTION, BlockType.INTERFACE, BlockType.PACKET, BlockType.SIMPLE_PACKET, BlockType.ENHANCED_PACKET,
        BlockType.NAME_RESOLUTION, BlockType.STATISTICS, BlockType.DECRYPTION_SECRETS,
    }
)  # fmt: skip
"""Blocks that are read, or are no data of a vehicle."""


@dataclass(slots=True)
class Section:
    """A section: byte order of its numbers, and its interfaces in their order."""

    order: Order
    interfaces: list[Interface] = field(default_factory=list)


def section_order(data: bytes, at: int) -> Order | None:
    """Return the byte order that a section header states, `None` where it is none."""
    return layout.BYTE_ORDER.get(data[at + layout.BYTE_ORDER_AT : at + layout.BYTE_ORDER_AT + 4])


def section_bytes(data: bytes, at: int, order: Order) -> int:
    """Return the bytes of a section with its header, 0 where that does not say."""
    if at + layout.SECTION_BYTES > len(data):
        return 0
    (head_bytes,) = struct_of(order, "I").unpack_from(data, at + 4)
    (stated,) = struct_of(order, "q").unpack_from(data, at + layout.SECTION_LENGTH_AT)
    return head_bytes + stated if 0 <= stated < _MAX_SECTION_BYTES else 0


def options(data: bytes, at: int, order: Order) -> Generator[tuple[int, bytes]]:
    """Yield the options of a block (section 3.5) from `at` on: code and value. `data` ends before the block's length."""
    head = struct_of(order, "HH").unpack_from
    while at + 4 <= len(data):
        code, size = head(data, at)
        if code == layout.OPTION_END or at + 4 + size > len(data):
            return
        yield code, data[at + 4 : at + 4 + size]
        at += 4 + size + -size % 4


def interface_of(block: bytes, order: Order, number: int) -> Interface:
    """Parse an interface description block.

    Args:
        block: The whole block, which may be too short for anything.
        order: Byte order of its section.
        number: Of the interface in the file, for its name where it has none.
    """
    body = block[:-4]
    link, snap_bytes = struct_of(order, "H2xI").unpack_from(body.ljust(layout.INTERFACE_BYTES, b"\0"), 8)
    channel, resolution, offset_s = f"pcap{number}", 6, 0
    for code, value in options(body, layout.INTERFACE_BYTES, order):
        if code == layout.IF_NAME:
            channel = value[:_MAX_NAME_BYTES].rstrip(b"\0").decode("utf-8", "replace") or channel
        elif code == layout.IF_TSRESOL and value:
            resolution = value[0]
        elif code == layout.IF_TSOFFSET and len(value) == 8:
            offset_s = struct_of(order, "q").unpack(value)[0]
    return Interface(channel, link, order, snap_bytes, resolution, offset_s)


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks that follow each other.

    Attributes:
        data: Bytes of the file.
        start: Of these bytes in the file.
        places: Of the blocks in the bytes.
        types: Of the blocks.
        sizes: Of the blocks.
        is_whole: Where the size at the end of a block is the one at its start.
        order: Byte order of their section.
    """

    data: bytes
    start: int
    places: I64
    types: np.ndarray
    sizes: I64
    is_whole: np.ndarray
    order: Order

    @classmethod
    def of(cls, data: bytes, start: int, places: I64, order: Order) -> "Blocks":
        """Read types and sizes of the blocks at these places, which are whole."""
        buffer = np.frombuffer(data, np.uint8)
        heads = rows_at(buffer, places, layout.BLOCK_HEAD_BYTES).view(f"{order}u4").reshape(-1, 2)
        sizes = heads[:, 1].astype(np.int64)
        again = rows_at(buffer, places + sizes - 4, 4).view(f"{order}u4").reshape(-1)
        return cls(data, start, places, heads[:, 0].astype(np.int64), sizes, again == heads[:, 1], order)

    def __len__(self) -> int:
        return len(self.places)

    def usable(self) -> int:
        """Return how many blocks can be read before the next section, or a damaged block."""
        ends = ~self.is_whole
        ends[1:] |= self.types[1:] == BlockType.SECTION
        if len(ends) and self.types[0] == BlockType.SECTION:
            ends[0] |= self.sizes[0] < layout.SECTION_BYTES or section_order(self.data, int(self.places[0])) is None
        stops = np.flatnonzero(ends)
        return int(stops[0]) if len(stops) else len(self)

    def first(self, count: int) -> "Blocks":
        """Return the first of them."""
        return Blocks(
            self.data, self.start, self.places[:count], self.types[:count], self.sizes[:count],
            self.is_whole[:count], self.order,
        )  # fmt: skip

    def of_type(self, kind: BlockType) -> Iterator[tuple[int, int]]:
        """Return place and size of each block of a type."""
        found = np.flatnonzero(self.types == kind)
        return zip(self.places[found].tolist(), self.sizes[found].tolist(), strict=True)

    def others(self) -> dict[str, int]:
        """Count the blocks that are not read, by type."""
        kinds, counts = np.unique(self.types, return_counts=True)
        named: dict[str, int] = {}
        for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
            if kind not in _SILENT:
                name = "the systemd journal" if kind == BlockType.SYSTEMD_JOURNAL else "blocks of other types"
                named[name] = named.get(name, 0) + count
        return named

    def dropped(self) -> int:
        """Return how many packets statistics say were dropped."""
        total = 0
        for place, size in self.of_type(BlockType.STATISTICS):
            for code, value in options(self.data[place : place + size - 4], 20, self.order):
                if code in layout.STATISTICS_DROPPED and len(value) == 8:
                    count = struct_of(self.order, "Q").unpack(value)[0]
                    total += count if count < _MAX_DROPPED else 0
        return total


@dataclass(frozen=True, slots=True)
class DecodedBlocks:
    """Packets of some blocks.

    Attributes:
        packets: In file order.
        bad_times: Packets whose time is none.
        untimed: Packets of blocks that have no time.
        overlong: Packets that do not fit into their block.
        unknown_interface: Packets of interfaces that are not described.
        unread: Those of them that are left out: the link types of the described ones differ.
    """

    packets: Packets
    bad_times: int
    untimed: int
    overlong: int
    unknown_interface: int
    unread: int


def decode_blocks(blocks: Blocks, interfaces: tuple[Interface, ...], last_ns: int) -> DecodedBlocks | None:
    """Decode the packet blocks; `None` where there are none.

    Args:
        blocks: Blocks of one section.
        interfaces: Of the section.
        last_ns: Time of the packet before these.
    """
    head_bytes = {
        BlockType.ENHANCED_PACKET: layout.ENHANCED_BYTES,
        BlockType.PACKET: layout.OLD_PACKET_BYTES,
        BlockType.SIMPLE_PACKET: layout.SIMPLE_BYTES,
    }
    heads_of = np.zeros(7, np.int64)
    for kind, size in head_bytes.items():
        heads_of[kind] = size
    needed = heads_of[np.where(blocks.types < len(heads_of), blocks.types, 0)]
    rows = np.flatnonzero((needed > 0) & (blocks.sizes >= needed + 4))
    shorter = int(((needed > 0) & (blocks.sizes < needed + 4)).sum())
    if not len(rows) and not shorter:
        return None
    places, types, room = blocks.places[rows], blocks.types[rows], blocks.sizes[rows] - needed[rows] - 4
    buffer = np.frombuffer(blocks.data, np.uint8)
    numbers = f"{blocks.order}u4"
    is_simple = types == BlockType.SIMPLE_PACKET
    n = len(rows)
    interface, stated, originals = (np.zeros(n, np.int64) for _ in range(3))
    ticks = np.zeros(n, np.uint64)
    timed = np.flatnonzero(~is_simple)
    words = rows_at(buffer, places[timed], layout.ENHANCED_BYTES).view(numbers).reshape(-1, 7)
    ticks[timed] = (words[:, 3].astype(np.uint64) << np.uint64(32)) | words[:, 4].astype(np.uint64)
    stated[timed], originals[timed] = words[:, 5], words[:, 6]
    interface[timed] = words[:, 2]
    old = np.flatnonzero(types == BlockType.PACKET)
    if len(old):
        interface[old] = rows_at(buffer, places[old] + 8, 2).view(f"{blocks.order}u2").reshape(-1)
    simple = np.flatnonzero(is_simple)
    if len(simple):
        originals[simple] = rows_at(buffer, places[simple] + 8, 4).view(numbers).reshape(-1)
        snap = interfaces[0].snap_bytes if interfaces else 0
        stated[simple] = np.minimum(np.minimum(originals[simple], room[simple]), snap or layout.MAX_PACKET_BYTES)
    sizes = np.minimum(stated, room)
    overlong = int((stated > room).sum())
    known = interface < len(interfaces)
    unknown = n - int(known.sum())
    if unknown and len({i.link_type for i in interfaces}) == 1:
        interface = np.where(known, interface, len(interfaces))
        interfaces = (*interfaces, replace(interfaces[0], channel="unknown"))
        known = np.ones(n, np.bool_)
    times = np.zeros(n, np.int64)
    bad_times = 0
    for number in np.unique(interface[known & ~is_simple]).tolist():
        of_it = np.flatnonzero((interface == number) & ~is_simple)
        times[of_it], bad = interfaces[number].times_ns(ticks[of_it])
        bad_times += int(bad.sum())
    if len(simple):
        # Index of the last timed packet before each.
        before = np.maximum.accumulate(np.where(is_simple | ~known, -1, np.arange(n)))
        times[simple] = np.where(before[simple] >= 0, times[before[simple]], last_ns)
    starts = places + needed[rows]
    directions = np.zeros(n, np.int64)
    ends = places + blocks.sizes[rows] - 4
    directions[timed] = _directions(buffer, (starts + sizes + -sizes % 4)[timed], ends[timed], blocks.order)
    keep = np.flatnonzero(known)
    first = int(places[0]) if n else int(blocks.places[0])
    packets = Packets(
        blocks.data, starts[keep], sizes[keep], originals[keep], times[keep], interface[keep], directions[keep],
        interfaces, blocks.start + first,
    )  # fmt: skip
    return DecodedBlocks(packets, bad_times, int(is_simple[keep].sum()), overlong + shorter, unknown, n - len(keep))


def _directions(buffer: np.ndarray, at: I64, ends: I64, order: Order) -> I64:
    """Return the direction that the flags of each packet state, 0 where they don't.

    Args:
        buffer: Bytes of the file.
        at: Where the options of each packet start.
        ends: Where they end.
        order: Byte order of the section.
    """
    found = np.zeros(len(at), np.int64)
    at = at.copy()
    for _ in range(_MAX_OPTIONS):
        rows = np.flatnonzero(at + 8 <= ends)
        if not len(rows):
            break
        heads = rows_at(buffer, at[rows], 8)
        codes = heads[:, :4].copy().view(f"{order}u2").reshape(-1, 2).astype(np.int64)
        flags = heads[:, 4:].copy().view(f"{order}u4").reshape(-1)
        is_flags = (codes[:, 0] == layout.PACKET_FLAGS) & (codes[:, 1] == 4)
        found[rows[is_flags]] = flags[is_flags] & 3
        at[rows] += 4 + codes[:, 1] + -codes[:, 1] % 4
        done = rows[is_flags | (codes[:, 0] == layout.OPTION_END)]
        at[done] = ends[done]
    return np.where(found == 3, 0, found)
