"""The blocks of an MDF 4 file (ASAM MDF 4.1, chapter 6): groups, channels, and where their data are.

Every block starts with a name, its length and its links. Links may lead anywhere, so each read is checked against
the file's size, no block is visited twice, and what cannot be followed is a problem and not an exception. Whole blocks
do not overlap, so what is read of them all stays within a few times the file's size; a file that makes more of itself is
damaged or hostile.
"""

import struct
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Final

import deflate
import lz4.frame
import numpy as np
import zstandard

from argus_assets.common.texts import MAX_NAME_CHARS
from argus_assets.recordings.budget import Budget
from argus_assets.recordings.model import Limits, Problem, Source

CHANNEL_VLSD, CHANNEL_MASTER, CHANNEL_VIRTUAL_MASTER, CHANNEL_VIRTUAL = 1, 2, 3, 6
GROUP_VLSD, GROUP_REMOTE_MASTER = 0x1, 0x8
SYNC_TIME: Final = 1
ALL_INVALID, HAS_INVALID_BIT = 0x1, 0x2
UNFINISHED_COUNTERS, UNFINISHED_DATA_LENGTH, UNFINISHED_VLSD_OFFSETS = 0x1, 0x4, 0x40
"""Bits of the identification block for what the recorder did not update (table 6)."""

_HEAD: Final = struct.Struct("<4s4xQQ")
_DATA_BYTES: Final = {b"##HD": 32, b"##DG": 8, b"##CG": 32, b"##CN": 72}
"""Bytes behind the links of blocks that have always the same (ASAM MDF 4.1, 4.9 to 4.14)."""

_TEXTS: Final = (b"##TX", b"##MD")

_GROUP: Final = struct.Struct("<QQHH4xII")
_CHANNEL: Final = struct.Struct("<BBBBIIII")
_ZIPPED: Final = struct.Struct("<2sBxIQQ")
CONVERSION: Final = struct.Struct("<BBHHHdd")
"""The fields before the values of a conversion: kind, precision, flags, references, values, range."""

_HEADER: Final = struct.Struct("<QhhB")
_ARRAY: Final = struct.Struct("<BBHIiI")
_SHARED: Final = (b"##CC", b"##SI", b"##CN", b"##CA")
_DATA: Final = (b"##DT", b"##SD", b"##RD", b"##DZ", b"##HL", b"##DL")
_ADVICE: Final = "The file's structure is damaged; what could be reached was read."
LINEAR: Final = 1
_UNKNOWN: Final = 255
_MAX_BLOCK: Final = 16 * 1024**2
_STRUCTURE_RATIO: Final = 4
_MIN_STRUCTURE_BYTES: Final = 1024**2
"""Bytes of blocks that may be read: this many, and this many times the file. Some are read twice, none more often."""

_MAX_OFFSET: Final = 2**60
"""Largest offset of data once inflated; a block that claims more does not move what follows beyond it."""

_UTF_8_BYTES: Final = 4
PIECE_BYTES: Final = 8 * 1024**2
_STEP: Final = 4096
_DEFLATE, _ZSTD, _LZ4 = 0, 1, 2


Data = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Scaling:
    """The conversion as its channel states it; `conversions` reads the whole of it.

    Attributes:
        at: Offset of its block; 0 for none.
        kind: 0 none, 1 linear, others as the standard numbers them.
        offset: Of a linear one.
        factor: Of a linear one.
    """

    at: int = 0
    kind: int = 0
    offset: float = 0.0
    factor: float = 1.0

    @property
    def is_identity(self) -> bool:
        """Return whether physical values are the raw ones."""
        return self.kind == 0 or (self.kind == LINEAR and (self.factor, self.offset) == (1.0, 0.0))


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel: a field of a record.

    Attributes:
        items: Values in a record; more than one for an array.
        data: Offset of the signal data of a channel of variable length, or of its channel group.
    """

    name: str
    type: int
    sync: int
    data_type: int
    bit_offset: int
    byte_offset: int
    bit_count: int
    flags: int
    invalid_bit: int
    scaling: Scaling
    data: int
    items: int = 1
    is_structure: bool = False

    @property
    def is_virtual(self) -> bool:
        """Return whether its raw value is the number of the record, and not in it."""
        return self.type in (CHANNEL_VIRTUAL, CHANNEL_VIRTUAL_MASTER)

    @property
    def values(self) -> int:
        """Return the number of values that it has in a record."""
        return 1 if self.is_virtual else self.items


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Records of one layout.

    Attributes:
        number: Position in the file, from 0.
        cycles: Records that there should be; not reliable in an unfinalised file.
    """

    at: int
    number: int
    record_id: int
    cycles: int
    flags: int
    data_bytes: int
    invalid_bytes: int
    name: str
    source: str
    channels: tuple[Channel, ...]

    @property
    def record_bytes(self) -> int:
        """Return the bytes of a record without its id."""
        return self.data_bytes + self.invalid_bytes


@dataclass(frozen=True, slots=True)
class DataGroup:
    """Channel groups whose records are in the same data blocks; with more than one, each record has an id."""

    id_bytes: int
    data: int
    groups: tuple[ChannelGroup, ...]


@dataclass(frozen=True, slots=True)
class Fragment:
    """A run of data bytes.

    Attributes:
        at: Offset in the file.
        stored: Bytes there.
        size: Bytes once inflated.
        start: Where they start in the whole of the data, inflated.
        method: Compression, `None` for none.
        columns: Width of the matrix that was transposed before compression, 0 for none.
        is_cut: The file ends before `stored` bytes.
    """

    at: int
    stored: int
    size: int
    start: int
    method: int | None = None
    columns: int = 0
    is_cut: bool = False


@dataclass(slots=True)
class Structure:
    """All that is known of a file but its data."""

    start_ns: int = 0
    unfinished: int = 0
    data_groups: list[DataGroup] = field(default_factory=list)


class Damaged(Exception):
    """A block cannot be read."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.actual)
        self.problem = problem


class Blocks:
    """Reads blocks.

    Args:
        source: The file.
        budget: What it may cost.
        report: Takes what cannot be followed.
    """

    def __init__(self, source: Source, budget: Budget, report: Callable[[Problem], None]) -> None:
        self._source = source
        self._budget = budget
        self._report = report
        self.size = source.seek(0, 2)
        self._visited: set[int] = set()
        self._texts: dict[tuple[int, int], str] = {}
        self._scalings: dict[int, Scaling] = {}
        self._sources: dict[int, str] = {}
        self._structure_bytes = 0
        self._groups = 0
        self._again = 0
        self._first_again: int | None = None

    # ------------------------------------------------------------------------------------------ structure

    def structure(self) -> Structure:
        """Follow all links from the file's head. Problems are reported; what was found before them stays."""
        found = Structure()
        head = self.read(0, 64)
        if head[:8] == b"UnFinMF ":
            found.unfinished = int.from_bytes(head[60:62], "little")
        try:
            header = self._block(64, b"##HD", "the header")
            if len(header.data) < _HEADER.size or not header.links:
                raise self._damaged(64, f"a header of at least {_HEADER.size} bytes", f"{len(header.data)} bytes")
            time_ns, zone, summer, flags = _HEADER.unpack_from(header.data)
            # A local start time has its offset taken off.
            found.start_ns = time_ns - (zone + summer) * 60 * 10**9 * (flags & 1)
            if not -(2**62) < found.start_ns < 2**62:
                self._note(64, "a start time", str(time_ns), kind="bad_timestamp", lost=0)
                found.start_ns = 0
            for at, group in self._siblings(header.links[0], b"##DG", "a data group", links=3, min_bytes=1):
                id_bytes = group.data[0]
                groups = tuple(self._channel_groups(group.links[1]))
                if id_bytes in (0, 1, 2, 4, 8):
                    found.data_groups.append(DataGroup(id_bytes, group.links[2], groups))
                else:
                    self._note(at, "record ids of 0, 1, 2, 4 or 8 bytes", str(id_bytes))
        except Damaged as error:
            self._report(error.problem)
        return found

    def _channel_groups(self, at: int) -> Generator[ChannelGroup]:
        for place, block in self._siblings(at, b"##CG", "a channel group", links=6, min_bytes=_GROUP.size):
            record_id, cycles, flags, _, data_bytes, invalid_bytes = _GROUP.unpack_from(block.data)
            channels = () if flags & GROUP_VLSD else tuple(self._channels(block.links[1], 0))
            number = self._groups
            self._groups += 1
            max_cycles = self._budget.max_inflated_bytes // max(data_bytes + invalid_bytes, 1)
            if cycles > max_cycles:
                self._note(
                    place, f"at most {max_cycles:,} records in group {number}, the most that a file of this size may hold",
                    f"{cycles:,}", lost=0, advice="The expected number of records is unknown.",
                )  # fmt: skip
                cycles = 0
            yield ChannelGroup(
                place, number, record_id, cycles, flags, data_bytes, invalid_bytes,
                self.text(block.links[2]), self._source_name(block.links[3]), channels,
            )  # fmt: skip

    def _channels(self, at: int, depth: int) -> Generator[Channel]:
        for place, block in self._siblings(at, b"##CN", "a channel", links=8, min_bytes=_CHANNEL.size):
            kind, sync, data_type, bit_offset, byte_offset, bits, flags, invalid_bit = _CHANNEL.unpack_from(block.data)
            inner = self.shared(block.links[1])
            yield Channel(
                self.text(block.links[2]), kind, sync, data_type, bit_offset, byte_offset, bits, flags, invalid_bit,
                self._scaling(block.links[4]), block.links[5],
                items=_array_items(inner.data) if inner is not None and inner.name == b"##CA" else 1,
                is_structure=inner is not None and inner.name == b"##CN",
            )  # fmt: skip
            if inner is not None and inner.name == b"##CN":
                if depth < self._budget.limits.max_depth:
                    yield from self._channels(block.links[1], depth + 1)
                else:
                    self._note(
                        place, f"at most {self._budget.limits.max_depth} levels of structures", "more",
                        kind="over_limit", lost=0, advice="The channels inside were not read.",
                    )  # fmt: skip

    def _siblings(
        self, at: int, name: bytes, what: str, *, links: int, min_bytes: int
    ) -> "Generator[tuple[int, Block]]":
        """Yield the blocks of a linked list, each of at least so many links and bytes."""
        while at:
            try:
                if at in self._visited:
                    raise self._damaged(at, what, "a block that was there before: the links go in a circle")
                if not self._budget.take("blocks", at=at, name=what):
                    return
                self._visited.add(at)
                block = self._block(at, name, what)
                if len(block.links) < links or len(block.data) < min_bytes:
                    raise self._damaged(
                        at, f"{what} of {links} links and {min_bytes} bytes",
                        f"{len(block.links)} links and {len(block.data)} bytes",
                    )  # fmt: skip
            except Damaged as error:
                self._report(error.problem)
                return
            yield at, block
            at = block.links[0]

    def _scaling(self, at: int) -> Scaling:
        if at not in self._scalings:
            self._scalings[at] = self._read_scaling(at)
        return self._scalings[at]

    def _read_scaling(self, at: int) -> Scaling:
        block = self.shared(at)
        if block is None or block.name != b"##CC" or len(block.data) < CONVERSION.size:
            return Scaling(at, _UNKNOWN) if at else Scaling()
        kind, _, _, _, values, _, _ = CONVERSION.unpack_from(block.data)
        if kind == LINEAR and values >= 2 and len(block.data) >= CONVERSION.size + 16:
            return Scaling(at, kind, *struct.unpack_from("<dd", block.data, CONVERSION.size))
        return Scaling(at, _UNKNOWN if kind == LINEAR else kind)

    def _source_name(self, at: int) -> str:
        if at not in self._sources:
            block = self.shared(at)
            links = block.links[:2] if block is not None and block.name == b"##SI" else ()
            self._sources[at] = next((text for link in links if (text := self.text(link))), "")
        return self._sources[at]

    def text(self, at: int, *, max_chars: int = MAX_NAME_CHARS) -> str:
        """Return the text of a TX or MD block, cut to `max_chars`; empty where there is none. Each is read once."""
        if not at:
            return ""
        if (at, max_chars) not in self._texts:
            self._texts[at, max_chars] = self._read_text(at, max_chars)
        return self._texts[at, max_chars]

    def _read_text(self, at: int, max_chars: int) -> str:
        if not self._is_block(at) or self.name_at(at) not in _TEXTS or not self._budget.take("blocks", at=at):
            return ""
        raw = self.read(at, _HEAD.size + _UTF_8_BYTES * max_chars)
        if len(raw) < _HEAD.size:
            self._note(at, "a text", f"the end of the file at {self.size}", kind="truncated", lost=0)
            return ""
        _, length, links = _HEAD.unpack_from(raw)
        if links:
            self._note(
                at, "a text without links", f"{links} links", kind="bad_length", lost=0, advice="It was read without."
            )
        if not _HEAD.size <= length <= self.size - at:
            self._note(
                at, f"a text of at most {self.size - at} bytes, to the end of the file", f"{length} bytes",
                kind="bad_length", lost=0, advice="The part that exists was read as the text.",
            )  # fmt: skip
            length = len(raw)
        return raw[_HEAD.size : length].split(b"\0", 1)[0].decode("utf-8", "replace")[:max_chars]

    # ------------------------------------------------------------------------------------------ data

    def fragments(self, at: int, *, unfinished: int = 0, piece_bytes: int | None = None) -> Generator[Fragment]:
        """Yield the data behind a link to a data, signal data, zipped, list or header-of-list block, in order.

        Blocks that are not compressed come in pieces of `piece_bytes`. A block belongs to one list: in further ones, and
        a second time in its own, it is skipped, and `report_again` reports it.
        """
        max_piece = piece_bytes or PIECE_BYTES
        start = 0
        pending = [at]
        while pending:
            at = pending.pop()
            if not at:
                continue
            head = self.read(at, _HEAD.size)
            if len(head) < _HEAD.size:
                self._note(at, "a data block", "the end of the file", kind="truncated")
                continue
            name, length, links = _HEAD.unpack(head)
            if name in _DATA:
                if at in self._visited:
                    self._again += 1
                    self._first_again = at if self._first_again is None else self._first_again
                    continue
                if not self._budget.take("blocks", at=at, name="data blocks"):
                    return
                self._visited.add(at)
            first = at + _HEAD.size
            if name in (b"##DT", b"##SD", b"##RD"):
                stored = max(0, length - _HEAD.size)
                left = self.size - first
                # A recorder that was switched off never wrote the length of its last block.
                if unfinished & UNFINISHED_DATA_LENGTH and (stored == 0 or stored > left):
                    stored = left
                if stored > left:
                    self._note(
                        first, f"{stored} bytes of data", f"{left} bytes to the end of the file", kind="truncated",
                        advice="The recording was cut off; what is there was read.",
                    )  # fmt: skip
                for place in range(0, min(stored, left), max_piece):
                    size = min(max_piece, min(stored, left) - place)
                    yield Fragment(first + place, size, size, start + place)
                start = min(start + stored, _MAX_OFFSET)
            elif name == b"##DZ":
                data = self.read(first, _ZIPPED.size)
                if len(data) < _ZIPPED.size:
                    self._note(at, "a zipped block", "the end of the file", kind="truncated")
                    continue
                _, method, columns, size, stored = _ZIPPED.unpack(data)
                size = min(size, _MAX_OFFSET)
                if method > 5:
                    self._note(at, "compression 0 to 5", str(method), kind="unsupported")
                    start = min(start + size, _MAX_OFFSET)
                    continue
                left = self.size - first - _ZIPPED.size
                yield Fragment(
                    first + _ZIPPED.size, min(stored, left), size, start, method // 2, columns * (method % 2),
                    is_cut=stored > left,
                )  # fmt: skip
                start = min(start + size, _MAX_OFFSET)
            elif name in (b"##HL", b"##DL"):
                raw = self.read(first, 8 * links) if 1 <= links <= _MAX_BLOCK // 8 else b""
                targets = [int(link) for link in np.frombuffer(raw[: len(raw) // 8 * 8], "<u8")]
                if not targets:
                    self._note(at, "a list of data blocks", f"{links} links, or the end of the file", kind="truncated")
                    continue
                if not self._budget.take("blocks", len(targets), at=at, name="links of a list"):
                    return
                pending.extend(reversed(targets[:1] if name == b"##HL" else [*targets[1:], targets[0]]))
            else:
                kind = "unsupported" if name in (b"##LD", b"##DV") else "bad_record"
                self._note(at, "a data block (DT, SD, DZ, DL or HL)", repr(name)[2:-1], kind=kind)

    def report_again(self) -> None:
        """Report, in one problem, the data blocks that were linked more than once."""
        if self._again:
            self._note(
                self._first_again or 0, "data blocks that belong to one list, once",
                f"{self._again:,} links to blocks that were read before", lost=0,
                advice="Each block was read once, where it was linked first.",
            )  # fmt: skip

    # ------------------------------------------------------------------------------------------ bytes

    def read(self, at: int, size: int) -> bytes:
        """Return up to `size` bytes at an offset; fewer at the end of the file, none beyond."""
        if not 0 <= at < self.size or size <= 0:
            return b""
        self._source.seek(at)
        return self._source.read(min(size, self.size - at))

    def name_at(self, at: int) -> bytes:
        """Return the name of the block at an offset."""
        return self.read(at, 4)

    def shared(self, at: int) -> "Block | None":
        """Return a block that is neither text nor data and may be shared or missing; a damaged one counts as missing."""
        if not at or not self._is_block(at) or (name := self.name_at(at)) not in _SHARED:
            return None
        if not self._budget.take("blocks", at=at):
            return None
        try:
            return self._block(at, name, "a block")
        except Damaged as error:
            self._report(error.problem)
            return None

    def _is_block(self, at: int) -> bool:
        name = self.name_at(at)
        if name.startswith(b"##"):
            return True
        self._note(at, "a block", name.hex(" ") or f"the end of the file at {self.size}")
        return False

    def _block(self, at: int, name: bytes, what: str) -> "Block":
        """Return a block that must exist.

        Raises:
            Damaged: It is invalid, or ends behind the file's end.
        """
        head = self.read(at, _HEAD.size)
        if len(head) < _HEAD.size:
            raise self._damaged(at, what, f"the end of the file at {self.size}", "truncated")
        found, length, links = _HEAD.unpack(head)
        if found != name:
            raise self._damaged(at, f"{what} ({name.decode()})", head[:4].hex(" "))
        max_bytes = min(_MAX_BLOCK, self.size - at)
        if not _HEAD.size + 8 * links <= length <= max(max_bytes, _HEAD.size + 8 * links):
            fixed = _HEAD.size + _DATA_BYTES.get(name, max_bytes)
            # One of the two numbers may still be right, and what follows the links is always as long.
            by_links, by_length = fixed + 8 * links, max(0, length - fixed) // 8
            if by_links > max_bytes and (by_length == 0 or length > max_bytes):
                raise self._damaged(
                    at, f"{what} of a length that fits its {links} links", f"{length} bytes", "bad_length"
                )
            self._note(
                at, f"{what} of a length that fits its {links} links", f"{length} bytes", kind="bad_length", lost=0,
                advice="It was read by the one of the two that can be right.",
            )  # fmt: skip
            if by_links <= max_bytes:
                length = by_links
            else:
                links = by_length
        # Links of a long block may be more than `max_bytes` allows: the file has no room for them.
        room = max(_MIN_STRUCTURE_BYTES, _STRUCTURE_RATIO * self.size) - self._structure_bytes
        if min(length, self.size - at) > room:
            raise self._damaged(
                at,
                f"blocks that do not overlap, so at most {_STRUCTURE_RATIO} times the file of them",
                "more",
                "over_limit",
            )
        body = self.read(at + _HEAD.size, length - _HEAD.size)
        self._structure_bytes += _HEAD.size + len(body)
        if len(body) < length - _HEAD.size:
            raise self._damaged(at, f"{what} of {length} bytes", f"the end of the file at {self.size}", "truncated")
        return Block(found, struct.unpack_from(f"<{links}Q", body), body[8 * links :])

    def _damaged(self, at: int, expected: str, actual: str, kind: str = "bad_record") -> Damaged:
        return Damaged(Problem(kind, expected, actual, min(at, self.size), None, _ADVICE))

    def _note(
        self,
        at: int,
        expected: str,
        actual: str,
        *,
        kind: str = "bad_record",
        advice: str = "",
        lost: int | None = None,
    ) -> None:
        advice = advice or _ADVICE
        self._report(Problem(kind, expected, actual, min(at, self.size), lost, advice))


@dataclass(frozen=True, slots=True)
class Block:
    """A block's name, links and data."""

    name: bytes
    links: tuple[int, ...]
    data: bytes


def _array_items(data: bytes) -> int:
    """Return the number of values of an array block whose values are adjacent in the record; 0 for any other."""
    if len(data) < _ARRAY.size:
        return 0
    _, storage, dimensions, _, _, _ = _ARRAY.unpack_from(data)
    sizes = data[_ARRAY.size : _ARRAY.size + 8 * dimensions]
    if storage or len(sizes) < 8 * dimensions:
        return 0
    items = 1
    for size in struct.unpack(f"<{dimensions}Q", sizes):
        items = min(items * size, 2**32)
    return items


def inflated_bytes(fragment: Fragment, limits: Limits) -> int:
    """Return the bytes that a fragment takes in memory, 0 for one that claims more than it may."""
    if fragment.method is None or fragment.size <= _max_inflated(fragment.stored, limits):
        return fragment.size
    return 0


def _max_inflated(stored: int, limits: Limits) -> int:
    return int(min(limits.max_chunk_bytes, limits.max_ratio * max(1, stored)))


def inflate(fragment: Fragment, raw: bytes, limits: Limits) -> tuple[Data, Problem | None]:
    """Inflate a fragment; of a damaged one, return what precedes the damage."""
    if fragment.method is None:
        return raw, None
    max_bytes = _max_inflated(len(raw), limits)
    if fragment.size > max_bytes:
        return b"", Problem(
            "over_limit", f"at most {max_bytes} bytes inflated", f"{fragment.size}", fragment.at, None,
            "The block was not read. If the recording is genuine, record with smaller blocks.",
        )  # fmt: skip
    data, wrong = _UNZIP[fragment.method](raw, fragment.size)
    problem = None
    if wrong or len(data) < fragment.size:
        kind = "truncated" if fragment.is_cut else "bad_compression"
        problem = Problem(
            kind, f"{fragment.size} bytes inflated", f"{len(data)} bytes{wrong and ': ' + wrong}", fragment.at, None,
            "The block was damaged or cut off; its readable start was read.",
        )  # fmt: skip
    if fragment.columns > 1:
        data = _transposed_back(data, fragment)
    return data, problem


def _transposed_back(data: Data, fragment: Fragment) -> Data:
    """Transpose columns back into records; a part of the columns gives none."""
    lines = fragment.size // fragment.columns
    matrix = lines * fragment.columns
    if len(data) < matrix:
        return b""
    if not lines:  # less than one record: there is no matrix
        return data
    raw = np.frombuffer(data, np.uint8)
    out = np.empty(len(raw), np.uint8)
    out[:matrix].reshape(lines, fragment.columns)[:] = raw[:matrix].reshape(fragment.columns, lines).T
    out[matrix:] = raw[matrix:]
    return out.data


def _inflate_deflate(raw: bytes, size: int) -> tuple[Data, str]:
    if size:  # zero rows give zero rows
        try:
            return deflate.zlib_decompress(raw, size), ""
        except (deflate.DeflateError, ValueError, MemoryError):
            pass  # again, step by step, to keep what came before the damage
    stream = zlib.decompressobj()
    out = bytearray()
    try:
        for at in range(0, len(raw), _STEP):
            out += stream.decompress(raw[at : at + _STEP], size - len(out) + 1)
            if len(out) > size:
                break
    except zlib.error as error:
        return out, str(error)
    return _cut(out, size, "" if stream.eof else "without an end")


def _inflate_zstd(raw: bytes, size: int) -> tuple[Data, str]:
    stream = zstandard.ZstdDecompressor().stream_reader(raw)
    out = bytearray()
    try:
        while len(out) <= size and (piece := stream.read(min(PIECE_BYTES, size + 1 - len(out)))):
            out += piece
    except zstandard.ZstdError as error:
        return out, str(error)
    return _cut(out, size)


def _inflate_lz4(raw: bytes, size: int) -> tuple[Data, str]:
    stream = lz4.frame.LZ4FrameDecompressor()
    out = bytearray()
    try:
        for at in range(0, len(raw), _STEP):
            out += stream.decompress(raw[at : at + _STEP], size + 1 - len(out))
            if stream.eof or len(out) > size:
                break
    except (RuntimeError, EOFError) as error:
        return out, str(error)
    return _cut(out, size)


def _cut(out: bytearray, size: int, wrong: str = "") -> tuple[bytearray, str]:
    """Cut inflated data to the size that the block states, and return what is wrong with it."""
    if len(out) <= size:
        return out, wrong
    del out[size:]
    return out, "more than that"


_UNZIP: Final = {_DEFLATE: _inflate_deflate, _ZSTD: _inflate_zstd, _LZ4: _inflate_lz4}
