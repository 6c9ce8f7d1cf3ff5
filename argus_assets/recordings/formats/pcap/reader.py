"""pcap and pcapng: packets of CAN and Ethernet interfaces, read once from the start.

`walk` follows the records, `blocks` reads what pcapng says of its interfaces and packets, `can` decodes SocketCAN.
Where a record states what cannot be, the next one that fits is searched.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.channels import ChannelCounts
from argus_assets.recordings.columns import rows_at
from argus_assets.recordings.ethernet.recorded import RecordedEthernet, renumbered
from argus_assets.recordings.formats.forward import BLOCK_BYTES, Block, ForwardDecoder, ForwardReader, Repeated
from argus_assets.recordings.formats.pcap import layout
from argus_assets.recordings.formats.pcap.blocks import (
    Blocks,
    Section,
    decode_blocks,
    interface_of,
    section_bytes,
    section_order,
)
from argus_assets.recordings.formats.pcap.decode import DecodedPackets, decode_packets
from argus_assets.recordings.formats.pcap.layout import BlockType, Order, struct_of
from argus_assets.recordings.formats.pcap.packets import Interface, Packets, to_ns
from argus_assets.recordings.formats.pcap.walk import BLOCKS, PACKETS, Records, Walk, walk
from argus_assets.recordings.model import FrameBatch, Source
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS

_MAX_REPAIRS: Final = 10_000
"""Times that the next record is searched in a file: each takes up to some milliseconds."""
_MAX_SECTIONS: Final = 10_000
"""Sections of a pcapng file. One that was merged of several files has one of each."""
_MAX_INTERFACES: Final = 65_536
"""Interfaces of a pcapng section. Each takes memory, whether or not packets of it follow."""
_MIN_WALK_BYTES: Final = 64 * 1024
"""Bytes in which records are followed at a time behind damage: more damage may be near, and what is behind it is followed again."""
_WINDOWS: Final = (4096, 65_536, 1024**2)
"""Bytes that are searched at a time: the next record mostly is near."""
_MAX_CANDIDATES: Final = 64
"""Places of a window that are tried: damage that looks like records everywhere is skipped by windows."""
_CHAINED: Final = 2
"""Records that have to follow each other where reading resumes."""
_CHAINED_ANYTIME: Final = 8
"""The same where no time near theirs is known: bytes of packets that are alike may look like records for a while."""
_MIN_CLOCK_S: Final = 978_307_200
"""2001: what is earlier is a clock that was never set, or more likely bytes of a packet."""
_MAX_STEP_S: Final = 7 * 86_400
"""Records of a capture are this near to each other in time: those where reading resumes have to be."""
_DECODED_RATIO: Final = 6
"""Memory that packets take while they are decoded, at most about, to their size."""


@dataclass(slots=True)
class _Counts:
    """Damage and contents that get one row each."""

    repaired: Repeated = field(default_factory=Repeated)
    bad_times: Repeated = field(default_factory=Repeated)
    untimed: Repeated = field(default_factory=Repeated)
    overlong: Repeated = field(default_factory=Repeated)
    unknown_interface: Repeated = field(default_factory=Repeated)
    unread_interface: Repeated = field(default_factory=Repeated)
    short: Repeated = field(default_factory=Repeated)
    cut: Repeated = field(default_factory=Repeated)
    interfaces: Repeated = field(default_factory=Repeated)


class CaptureReader(ForwardReader[DecodedPackets]):
    """What readers of pcap and pcapng share: decoding of packets, and the search for the next record."""

    max_batch_bytes = 64 * 1024**2

    def __init__(self, source: Source, budget: Budget, *, name: str, version: int) -> None:
        super().__init__(source, budget, name=name, version=version)
        self._block = Block(source, self._size)
        self._channels = ChannelCounts(budget)
        self._counts = _Counts()
        self._unread: dict[str, int] = {}
        self._repairs = 0
        self._walked_bytes = BLOCK_BYTES
        self._ethernet = RecordedEthernet(budget)
        self._is_over = False

    def _streams(self) -> Generator[Iterator[DecodedPackets]]:
        yield self._staged(
            self._packets(), decode_packets, weight=lambda packets: _DECODED_RATIO * int(packets.sizes.sum()) + 4096
        )
        yield map(self._left, [None])

    def _left(self, _: None) -> DecodedPackets:
        """Return what TCP streams still held at the end."""
        self._is_over = True
        return DecodedPackets(FRAMES.empty(), {}, self._size, 0)

    def _packets(self) -> Iterator[Packets]:
        """Yield the packets of the file."""
        raise NotImplementedError

    def _walk(self, place: int, order: Order, records: Records) -> Walk:
        """Follow the records of the block in memory, as far as is worth it."""
        found = walk(self._block.data, place, order, records, stop=place + self._walked_bytes)
        # A record may be longer than that.
        self._walked_bytes = max(min(2 * self._walked_bytes, BLOCK_BYTES), found.wanted_bytes)
        return found

    def _cut(self, at: int, expected: str) -> None:
        self._problem(
            "truncated", expected, f"{max(self._size - at, 0)} bytes to the end of the file", at,
            "The recording was cut off; what could be read was read.", 1,
        )  # fmt: skip

    def _may_search(self, at: int) -> bool:
        """Return whether the next record may be searched once more, and report when not."""
        self._repairs += 1
        self._walked_bytes = _MIN_WALK_BYTES
        if self._repairs == _MAX_REPAIRS + 1:
            self._problem(
                "over_limit", f"at most {_MAX_REPAIRS:,} places that are damaged", "more", at,
                "Reading was not resumed again.",
            )  # fmt: skip
        return self._repairs <= _MAX_REPAIRS

    def _skipped(self, at: int, following: int | None, found: str) -> None:
        end = self._size if following is None else following
        self._problem(
            "bad_record", "a record of a packet", found, at,
            f"{end - at} bytes were skipped" + (", to the next record." if following else ": none follows."), None,
        )  # fmt: skip

    def _take(self, decoded: DecodedPackets) -> tuple[FrameBatch, int]:
        summary, counts = self.summary, self._counts
        if self._is_over:
            frames, channels, typed = self._ethernet.flush()
        else:
            frames, channels, typed = self._ethernet.merge(
                decoded.frames, decoded.channels, decoded.packet, decoded.ethernet, decoded.names
            )
        frames = self._channels.admit(frames, channels, at=decoded.at)
        if frames.height:
            numbers = pl.int_range(summary.frames, summary.frames + pl.len(), dtype=pl.UInt64)
            if typed:
                typed = renumbered(typed, frames.select(before="frame", frame=numbers))
            frames = frames.with_columns(frame=numbers)
            times = frames["timestamp"].to_physical()
            summary.cover(int(times.min()), int(times.max()))  # type: ignore[arg-type] # not empty
        else:
            typed = {}
        summary.frames += frames.height
        counts.short.add(decoded.short, decoded.at)
        counts.cut.add(decoded.cut, decoded.at)
        for name, count in decoded.unread.items():
            self._unread[name] = self._unread.get(name, 0) + count
        held_bytes = decoded.held_bytes + sum(len(segment.data) for segment in decoded.ethernet.segments)
        return FrameBatch(frames, LOGS.empty(), DIAGNOSTICS.empty(), typed), held_bytes

    def _finish(self) -> None:
        counts = self._counts
        for kind, expected, found, actual, advice, lost in (
            ("over_limit", f"at most {_MAX_INTERFACES:,} interfaces of a section", counts.interfaces, "more",
             "Their packets were not read.", 0),
            ("bad_length", "packets that are no longer than on the wire", counts.repaired,
             "records with other sizes", "They were read up to the next record.", 0),
            ("bad_length", "packets that fit into their blocks", counts.overlong, "longer",
             "They were read as far as their blocks go.", 0),
            ("bad_length", f"packets of CAN with at least {layout.CAN_HEAD_BYTES} bytes", counts.short, "shorter",
             "They hold no frame.", None),
            ("bad_length", "as many data bytes as a frame says", counts.cut, "frames with fewer",
             "They were captured with a snap length, or are damaged; the bytes that are there were kept.", 0),
            ("bad_timestamp", "times of packets", counts.bad_times, "that are none",
             "These packets have the time at which 1970 starts, or one nearby.", 0),
            ("assumed", "times of packets", counts.untimed, "simple packets, which have none",
             "They have the time of the packet before them.", 0),
            ("unknown_channel", "packets of interfaces that are described", counts.unknown_interface, "others",
             "They were read as `unknown` where all interfaces have one link type.", counts.unread_interface.count),
        ):  # fmt: skip
            if found.count:
                missing = found.count if lost is None else lost
                self._problem(kind, expected, f"{found.count:,} {actual}", found.at, advice, missing)
        for problem in self._ethernet.problems(self._unread, "CAN and DoIP"):
            self._report(problem)
        self.summary.problems.sort(key=lambda p: p.offset or 0)
        self.summary.channels = self._ethernet.with_schemas(self._channels.summaries())


class PcapReader(CaptureReader):
    """One pass over one pcap file."""

    def __init__(self, source: Source, budget: Budget, *, name: str, version: int) -> None:
        super().__init__(source, budget, name=name, version=version)
        self._order: Order = "<"
        self._unit_ns = 1000
        self._last_s: int | None = None
        self._looks = 0
        self._tried = 0

    def _packets(self) -> Generator[Packets]:
        head = self._block.read(0, layout.PCAP_HEAD_BYTES)
        order, self._unit_ns = layout.PCAP_MAGIC.get(head[:4], ("<", 1000))
        self._order = "<" if order == "<" else ">"
        if len(head) < layout.PCAP_HEAD_BYTES:
            self._cut(0, f"a header of {layout.PCAP_HEAD_BYTES} bytes")
            return
        *_, snap_bytes, link = struct_of(self._order, layout.PCAP_HEAD).unpack(head)
        interfaces = (Interface("pcap0", link & layout.LINK_TYPE_MASK, self._order, snap_bytes),)
        at = layout.PCAP_HEAD_BYTES
        while at < self._size:
            self._block.hold(at, layout.RECORD_BYTES)
            data, start = self._block.data, self._block.start
            found = self._walk(at - start, self._order, PACKETS)
            packets, end = self._checked(data, start, found.places, interfaces)
            if packets is not None:
                yield packets
            if end is not None:
                at = end
                continue
            at = start + found.end
            if at == self._size:
                return
            if found.wanted_bytes and at + found.wanted_bytes <= self._size:
                self._block.hold(at, found.wanted_bytes)
                continue
            following = self._next(at + 1, self._size) if self._may_search(at) else None
            rest = self._block.read(at, min(self._size - at, layout.RECORD_BYTES))
            if following is None and found.wanted_bytes and any(rest):
                self._cut(at, f"{found.wanted_bytes} bytes of a record")
            elif following is not None and (repaired := self._repaired(at, following)) is not None:
                packets, _ = self._checked(repaired, at, np.zeros(1, np.int64), interfaces)
                if packets is not None:
                    yield packets
            else:
                self._skipped(at, following, f"a header of {rest.hex(' ')}" if any(rest) else "zeros")
            if following is None:
                return
            at = following

    def _repaired(self, at: int, following: int) -> bytes | None:
        """Return a record whose sizes were damaged, up to the next one; `None` where none starts at `at`."""
        size = following - at - layout.RECORD_BYTES
        if not 0 < size <= layout.MAX_PACKET_BYTES:
            return None
        data = self._block.read(at, layout.RECORD_BYTES + size)
        seconds, fraction, _, original = struct_of(self._order, "4I").unpack_from(data)
        is_near = seconds >= _MIN_CLOCK_S if self._last_s is None else abs(seconds - self._last_s) <= _MAX_STEP_S
        if size != original and not (is_near and fraction * self._unit_ns < 10**9):
            return None
        self._counts.repaired.add(1, at)
        sizes = struct_of(self._order, "2I").pack(size, size)
        return data[: layout.RECORD_CAPTURED_AT] + sizes + data[layout.RECORD_BYTES :]

    def _checked(
        self, data: bytes, start: int, places: np.ndarray, interfaces: tuple[Interface, ...]
    ) -> tuple[Packets | None, int | None]:
        """Return the packets of records up to the first that is damaged, and where to go on if there is one.

        Args:
            data: Holds the records.
            start: Of the data in the file.
            places: Of the records in the data.
            interfaces: The only one.
        """
        buffer = np.frombuffer(data, np.uint8)
        heads = rows_at(buffer, places, layout.RECORD_BYTES).view(f"{self._order}u4").reshape(-1, 4)
        seconds, fractions, sizes, originals = (heads[:, n].astype(np.int64) for n in range(4))
        bad_time = fractions * self._unit_ns >= 10**9
        bad_size = (originals < sizes) | (originals == 0)
        before = seconds[:1] if self._last_s is None else np.array([self._last_s], np.int64)
        odd = bad_time | bad_size | (np.abs(np.diff(seconds, prepend=before[: len(seconds)])) > _MAX_STEP_S)
        count, go_on = len(places), None
        for index in np.flatnonzero(odd)[: max(0, _MAX_REPAIRS - self._looks)].tolist():
            self._looks += 1
            self._walked_bytes = _MIN_WALK_BYTES
            at = start + int(places[index])
            end = at + layout.RECORD_BYTES + int(sizes[index])
            if index:
                self._last_s = int(seconds[index - 1])
            is_zero = not heads[index].any()
            sound = not bad_time[index] and not bad_size[index]
            if sound and self._is_chained(end, int(seconds[index]), depth=1):
                continue  # the clock was set
            follows = not is_zero and self._is_chained(end, self._last_s, depth=1)
            following = self._next(at + 1, end if follows else self._size)
            if follows and following is None:
                self._counts.repaired.add(int(bad_size[index]), at)
                continue
            if not is_zero and following == at + layout.RECORD_BYTES + int(originals[index]):
                # The next record starts where this one would end by its size on the wire.
                self._counts.repaired.add(1, at)
                sizes[index] = originals[index]
                count = index + 1
            else:
                rest = heads[index].tobytes()
                self._skipped(at, following, "zeros" if is_zero else f"a header of {rest.hex(' ')}")
                count = index
            go_on = self._size if following is None else following
            break
        if not count:
            return None, go_on
        self._last_s = int(seconds[count - 1])
        times, bad = to_ns(seconds[:count].astype(np.uint64), (fractions[:count] * self._unit_ns).astype(np.uint64))
        first = start + int(places[0])
        bad |= bad_time[:count]
        self._counts.bad_times.add(int(bad.sum()), first)
        nothing = np.zeros(count, np.int64)
        packets = Packets(
            data, places[:count] + layout.RECORD_BYTES, sizes[:count], originals[:count], times, nothing, nothing,
            interfaces, first,
        )  # fmt: skip
        return packets, go_on

    def _is_chained(self, at: int, near_s: int | None, depth: int = _CHAINED) -> bool:
        """Return whether sound records start at `at`: so many, or up to the end of the file.

        Args:
            at: Offset in the file.
            near_s: A time near theirs, where one is known.
            depth: Number of records.
        """
        for _ in range(depth):
            if at == self._size:
                return True
            head = self._block.read(at, layout.RECORD_BYTES)
            if len(head) < layout.RECORD_BYTES:
                return False
            seconds, fraction, size, original = struct_of(self._order, "4I").unpack(head)
            near_s = seconds if near_s is None else near_s
            if (
                original <= 0
                or size > original
                or size > layout.MAX_PACKET_BYTES
                or fraction * self._unit_ns >= 10**9
                or (near_s is not None and abs(seconds - near_s) > _MAX_STEP_S)
            ):
                return False
            at += layout.RECORD_BYTES + size
        return at <= self._size

    def _next(self, at: int, end: int) -> int | None:
        """Return where the next sound record starts, from `at` up to before `end`."""
        if end < self._size:
            return self._search(at, end, self._last_s, 1)
        # By a time near the last one; where the clock was set, by a time that a clock has; by any. What found nothing in
        # the rest of the file is not tried again.
        for level, near_s, min_s in ((0, self._last_s, 0), (1, None, _MIN_CLOCK_S), (2, None, 1)):
            if level < self._tried or (level == 0 and near_s is None):
                continue
            found = self._search(at, end, near_s, min_s)
            if found is not None:
                return found
            self._tried = level + 1
        return None

    def _search(self, at: int, end: int, near_s: int | None, min_s: int) -> int | None:
        depth = _CHAINED_ANYTIME if near_s is None else _CHAINED
        windows = iter(_WINDOWS)
        window = next(windows)
        while at < end:
            data = self._block.read(at, min(window, end - at) + layout.RECORD_BYTES)
            positions = len(data) - layout.RECORD_BYTES + 1
            if positions <= 0:
                return None
            words = np.ndarray((len(data) - 3,), f"{self._order}u4", data, strides=(1,))
            seconds, fractions, sizes, originals = (words[n : n + positions].astype(np.int64) for n in (0, 4, 8, 12))
            sound = (
                (originals > 0)
                & (sizes <= originals)
                & (sizes <= layout.MAX_PACKET_BYTES)
                & (fractions * self._unit_ns < 10**9)
            )
            sound &= seconds >= min_s if near_s is None else np.abs(seconds - near_s) <= _MAX_STEP_S
            for place in np.flatnonzero(sound)[:_MAX_CANDIDATES].tolist():
                if at + place < end and self._is_chained(at + place, near_s, depth):
                    return at + place
            at += positions
            window = next(windows, window)
        return None


class PcapngReader(CaptureReader):
    """One pass over one pcapng file."""

    def __init__(self, source: Source, budget: Budget, *, name: str, version: int) -> None:
        super().__init__(source, budget, name=name, version=version)
        self._section = Section("<")
        self._sections = 0
        self._section_end = 0
        self._interfaces = 0
        self._dropped = 0
        self._last_ns = 0

    def _packets(self) -> Generator[Packets]:
        at = 0
        while at < self._size:
            self._block.hold(at, layout.SECTION_BYTES)
            data, start = self._block.data, self._block.start
            place = at - start
            if data[place : place + 4] == layout.PCAPNG_MAGIC:
                order = section_order(data, place)
                if order is not None:
                    self._section = Section(order)
                    self._sections += 1
                    self._section_end = at + section_bytes(data, place, order)
                    if self._sections > _MAX_SECTIONS:
                        self._problem(
                            "over_limit", f"at most {_MAX_SECTIONS:,} sections", "more", at,
                            "The rest of the file was not read.",
                        )  # fmt: skip
                        return
            found = self._walk(place, self._section.order, BLOCKS)
            blocks = Blocks.of(data, start, found.places, self._section.order)
            usable = blocks.usable()
            if usable:
                packets = self._decoded(blocks.first(usable))
                if packets is not None and len(packets):
                    yield packets
            if usable < len(blocks):
                at = start + int(blocks.places[usable])
                if blocks.types[usable] == BlockType.SECTION and usable:
                    continue
            else:
                at = start + found.end
                if at == self._size:
                    return
                if found.wanted_bytes and at + found.wanted_bytes <= self._size:
                    self._block.hold(at, found.wanted_bytes)
                    continue
                if usable and self._block.read(at, 4) == layout.PCAPNG_MAGIC:
                    continue
            following = self._next(at + 1) if self._may_search(at) else None
            rest = self._block.read(at, min(self._size - at, layout.MIN_BLOCK_BYTES))
            if following is None and found.wanted_bytes and usable == len(blocks) and any(rest):
                self._cut(at, f"{found.wanted_bytes} bytes of a block")
            else:
                self._skipped(at, following, f"a block that starts with {rest.hex(' ')}" if any(rest) else "zeros")
            if following is None:
                return
            at = following

    def _decoded(self, blocks: Blocks) -> Packets | None:
        """Take in what blocks say of interfaces, and return the packets among them."""
        for place, size in blocks.of_type(BlockType.INTERFACE):
            if len(self._section.interfaces) >= _MAX_INTERFACES:
                self._counts.interfaces.add(1, blocks.start + place)
                continue
            self._section.interfaces.append(
                interface_of(blocks.data[place : place + size], self._section.order, self._interfaces)
            )
            self._interfaces += 1
        for kind, count in blocks.others().items():
            self._unread[kind] = self._unread.get(kind, 0) + count
        self._dropped += blocks.dropped()
        decoded = decode_blocks(blocks, tuple(self._section.interfaces), self._last_ns)
        if decoded is None:
            return None
        counts, at = self._counts, decoded.packets.at
        counts.bad_times.add(decoded.bad_times, at)
        counts.overlong.add(decoded.overlong, at)
        counts.untimed.add(decoded.untimed, at)
        counts.unknown_interface.add(decoded.unknown_interface, at)
        counts.unread_interface.add(decoded.unread, at)
        if len(decoded.packets):
            self._last_ns = int(decoded.packets.times_ns[-1])
        return decoded.packets

    def _next(self, at: int) -> int | None:
        """Return where the next whole block starts, from `at` on."""
        size_of = struct_of(self._section.order, "I").unpack_from
        known = {int(t).to_bytes(4, "little" if self._section.order == "<" else "big") for t in BlockType}
        windows = iter(_WINDOWS)
        window = next(windows)
        while at < self._size:
            data = self._block.read(at, window + layout.BLOCK_HEAD_BYTES)
            places: set[int] = set()
            for mark in known:
                place = data.find(mark)
                while place != -1 and len(places) < _MAX_CANDIDATES * len(known):
                    places.add(place)
                    place = data.find(mark, place + 1)
            for place in sorted(places):
                if place + layout.BLOCK_HEAD_BYTES > len(data):
                    break
                if data[place : place + 4] == layout.PCAPNG_MAGIC:
                    order = section_order(self._block.read(at + place, layout.SECTION_BYTES), 0)
                    if order is not None:
                        return at + place
                    continue
                size = size_of(data, place + 4)[0]
                if not layout.MIN_BLOCK_BYTES <= size <= layout.MAX_PACKET_BYTES or size % 4:
                    continue
                if self._block.read(at + place + size - 4, 4) == data[place + 4 : place + 8]:
                    return at + place
            if len(data) < window + layout.BLOCK_HEAD_BYTES:
                return None
            at += window
            window = next(windows, window)
        return None

    def _finish(self) -> None:
        if self._section_end > self._size and not any(p.kind == "truncated" for p in self.summary.problems):
            self._problem(
                "truncated", f"a section that ends at {self._section_end}, as its header says",
                f"the end of the file at {self._size}", self._size,
                "The recording was cut off between two packets; all that are there were read.",
            )  # fmt: skip
        if self._dropped:
            self._problem(
                "bad_record", "every packet of the interfaces", f"{self._dropped:,} dropped while capturing", 0,
                "The capture program was too slow, as its statistics say: these packets are not in the file.",
                self._dropped,
            )  # fmt: skip
        super()._finish()


class PcapDecoder(ForwardDecoder):
    """pcap, with microseconds or nanoseconds, of either byte order."""

    name = "pcap"
    version = 1
    reader = PcapReader

    def matches(self, head: bytes) -> bool:
        """Return whether the file starts with the magic number."""
        return head[:4] in layout.PCAP_MAGIC


class PcapngDecoder(ForwardDecoder):
    """pcapng, with any number of sections and interfaces."""

    name = "pcapng"
    version = 1
    reader = PcapngReader

    def matches(self, head: bytes) -> bool:
        """Return whether the file starts with the header of a section."""
        return head.startswith(layout.PCAPNG_MAGIC)
