"""The blocks of an MDF 4 file (ASAM MDF 4.1, chapter 6): groups, channels, and where their data are.

Every block starts with a name, its length and its links. Links may lead anywhere, so each read is checked against
the file's size, no block is visited twice, and what cannot be followed is a problem and not an exception.
"""

import struct
import zlib
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Final

import deflate
import lz4.frame
import numpy as np
import zstandard

from argus_assets.recordings.model import Limits, Problem, Source

CHANNEL_VLSD, CHANNEL_MASTER, CHANNEL_VIRTUAL_MASTER, CHANNEL_VIRTUAL = 1, 2, 3, 6
GROUP_VLSD, GROUP_REMOTE_MASTER = 0x1, 0x8
SYNC_TIME: Final = 1
ALL_INVALID, HAS_INVALID_BIT = 0x1, 0x2
UNFINISHED_COUNTERS, UNFINISHED_DATA_LENGTH, UNFINISHED_VLSD_OFFSETS = 0x1, 0x4, 0x40
"""Bits of the identification block that say what the recorder did not update (table 6)."""

_HEAD: Final = struct.Struct("<4s4xQQ")
_DATA_BYTES: Final = {b"##HD": 32, b"##DG": 8, b"##CG": 32, b"##CN": 72}
"""Bytes behind the links of blocks that have always the same (ASAM MDF 4.1, 4.9 to 4.14)."""

_WITHOUT_LINKS: Final = (b"##TX", b"##MD")

_GROUP: Final = struct.Struct("<QQHH4xII")
_CHANNEL: Final = struct.Struct("<BBBBIIII")
_ZIPPED: Final = struct.Struct("<2sBxIQQ")
_CONVERSION: Final = struct.Struct("<BBHHHdd")
_HEADER: Final = struct.Struct("<QhhB")
_ARRAY: Final = struct.Struct("<BBHIiI")
_SHARED: Final = (b"##TX", b"##MD", b"##CC", b"##SI", b"##CN", b"##CA")
_ADVICE: Final = "The file's structure is damaged; what could be reached was read."
LINEAR: Final = 1
_UNKNOWN: Final = 255
_MAX_BLOCK: Final = 16 * 1024**2
_MAX_BLOCKS: Final = 200_000
_MAX_DEPTH: Final = 8
_PIECE_BYTES: Final = 8 * 1024**2
_STEP: Final = 4096
_DEFLATE, _ZSTD, _LZ4 = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Conversion:
    """From raw to physical values.

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
    unit: str
    conversion: Conversion
    data: int
    items: int = 1
    is_structure: bool = False


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
        """Bytes of a record without its id."""
        return self.data_bytes + self.invalid_bytes


@dataclass(frozen=True, slots=True)
class DataGroup:
    """Channel groups whose records stand in the same data blocks; with more than one, each record has an id."""

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

    Attributes:
        problems: What could not be followed, in the order of finding.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.size = source.seek(0, 2)
        self.problems: list[Problem] = []
        self._visited: set[int] = set()
        self._groups = 0

    # ------------------------------------------------------------------------------------------ structure

    def structure(self) -> Structure:
        """Follow all links from the file's head. Problems are noted; what was found before them stays."""
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
            for at, group in self._siblings(header.links[0], b"##DG", "a data group", links=3, least=1):
                id_bytes = group.data[0]
                groups = tuple(self._channel_groups(group.links[1]))
                if id_bytes in (0, 1, 2, 4, 8):
                    found.data_groups.append(DataGroup(id_bytes, group.links[2], groups))
                else:
                    self._note(at, "record ids of 0, 1, 2, 4 or 8 bytes", str(id_bytes))
        except Damaged as error:
            self.problems.append(error.problem)
        return found

    def _channel_groups(self, at: int) -> Generator[ChannelGroup]:
        for place, block in self._siblings(at, b"##CG", "a channel group", links=6, least=_GROUP.size):
            record_id, cycles, flags, _, data_bytes, invalid_bytes = _GROUP.unpack_from(block.data)
            channels = () if flags & GROUP_VLSD else tuple(self._channels(block.links[1], 0))
            number = self._groups
            self._groups += 1
            yield ChannelGroup(
                place, number, record_id, cycles, flags, data_bytes, invalid_bytes,
                self._text(block.links[2]), self._source_name(block.links[3]), channels,
            )  # fmt: skip

    def _channels(self, at: int, depth: int) -> Generator[Channel]:
        for _, block in self._siblings(at, b"##CN", "a channel", links=8, least=_CHANNEL.size):
            kind, sync, data_type, bit_offset, byte_offset, bits, flags, invalid_bit = _CHANNEL.unpack_from(block.data)
            inner = self._peek(block.links[1])
            yield Channel(
                self._text(block.links[2]), kind, sync, data_type, bit_offset, byte_offset, bits, flags, invalid_bit,
                self._text(block.links[6]), self._conversion(block.links[4]), block.links[5],
                items=_array_items(inner.data) if inner is not None and inner.name == b"##CA" else 1,
                is_structure=inner is not None and inner.name == b"##CN",
            )  # fmt: skip
            if inner is not None and inner.name == b"##CN" and depth < _MAX_DEPTH:
                yield from self._channels(block.links[1], depth + 1)

    def _siblings(self, at: int, name: bytes, what: str, *, links: int, least: int) -> "Generator[tuple[int, Block]]":
        """Blocks that are linked by their first link, each of at least so many links and bytes."""
        while at:
            try:
                if at in self._visited or len(self._visited) > _MAX_BLOCKS:
                    raise self._damaged(at, what, "a block that was there before: the links go in a circle")
                self._visited.add(at)
                block = self._block(at, name, what)
                if len(block.links) < links or len(block.data) < least:
                    raise self._damaged(
                        at, f"{what} of {links} links and {least} bytes",
                        f"{len(block.links)} links and {len(block.data)} bytes",
                    )  # fmt: skip
            except Damaged as error:
                self.problems.append(error.problem)
                return
            yield at, block
            at = block.links[0]

    def _conversion(self, at: int) -> Conversion:
        block = self._peek(at)
        if block is None:
            return Conversion()
        if block.name != b"##CC" or len(block.data) < _CONVERSION.size:
            return Conversion(at, _UNKNOWN)
        kind, _, _, _, values, _, _ = _CONVERSION.unpack_from(block.data)
        if kind == LINEAR and values >= 2 and len(block.data) >= _CONVERSION.size + 16:
            return Conversion(at, kind, *struct.unpack_from("<dd", block.data, _CONVERSION.size))
        return Conversion(at, kind)

    def _source_name(self, at: int) -> str:
        block = self._peek(at)
        links = block.links[:2] if block is not None and block.name == b"##SI" else ()
        return next((text for link in links if (text := self._text(link))), "")

    def _text(self, at: int) -> str:
        block = self._peek(at)
        if block is None or block.name not in (b"##TX", b"##MD"):
            return ""
        return block.data.split(b"\0", 1)[0].decode("utf-8", "replace")

    # ------------------------------------------------------------------------------------------ data

    def fragments(self, at: int, *, unfinished: int = 0, piece_bytes: int | None = None) -> Generator[Fragment]:
        """The data behind a link: of a data, signal data, zipped, list or header-of-list block, in order.

        Blocks that are not compressed come in pieces of `piece_bytes`.
        """
        most = piece_bytes or _PIECE_BYTES
        start = 0
        lists = 0
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
                for place in range(0, min(stored, left), most):
                    size = min(most, min(stored, left) - place)
                    yield Fragment(first + place, size, size, start + place)
                start += stored
            elif name == b"##DZ":
                data = self.read(first, _ZIPPED.size)
                if len(data) < _ZIPPED.size:
                    self._note(at, "a zipped block", "the end of the file", kind="truncated")
                    continue
                _, method, columns, size, stored = _ZIPPED.unpack(data)
                if method > 5:
                    self._note(at, "compression 0 to 5", str(method), kind="unsupported")
                    start += size
                    continue
                left = self.size - first - _ZIPPED.size
                yield Fragment(
                    first + _ZIPPED.size, min(stored, left), size, start, method // 2, columns * (method % 2),
                    is_cut=stored > left,
                )  # fmt: skip
                start += size
            elif name in (b"##HL", b"##DL"):
                lists += 1
                if at in self._visited or lists > _MAX_BLOCKS or not 1 <= links <= _MAX_BLOCK // 8:
                    self._note(at, "a list that goes on", "a list that was there before, or has no links")
                    continue
                self._visited.add(at)
                raw = self.read(first, 8 * links)
                targets = [int(link) for link in np.frombuffer(raw[: len(raw) // 8 * 8], "<u8")]
                if not targets:
                    self._note(at, "a list of data blocks", "the end of the file", kind="truncated")
                    continue
                pending.extend(reversed(targets[:1] if name == b"##HL" else [*targets[1:], targets[0]]))
            else:
                kind = "unsupported" if name in (b"##LD", b"##DV") else "bad_record"
                self._note(at, "a data block (DT, SD, DZ, DL or HL)", repr(name)[2:-1], kind=kind)

    # ------------------------------------------------------------------------------------------ bytes

    def read(self, at: int, size: int) -> bytes:
        """Up to `size` bytes at an offset; fewer at the end of the file, none beyond."""
        if not 0 <= at < self.size or size <= 0:
            return b""
        self._source.seek(at)
        return self._source.read(min(size, self.size - at))

    def _block(self, at: int, name: bytes, what: str) -> "Block":
        """A block that has to be there.

        Raises:
            Damaged: It is none, or ends behind the file's end.
        """
        head = self.read(at, _HEAD.size)
        if len(head) < _HEAD.size:
            raise self._damaged(at, what, f"the end of the file at {self.size}", "truncated")
        found, length, links = _HEAD.unpack(head)
        if found != name:
            raise self._damaged(at, f"{what} ({name.decode()})", head[:4].hex(" "))
        if name in _WITHOUT_LINKS and links:
            self._note(
                at, f"{what} without links", f"{links} links", kind="bad_length", lost=0, advice="It was read without."
            )
            links = 0
        most = min(_MAX_BLOCK, self.size - at)
        if not _HEAD.size + 8 * links <= length <= max(most, _HEAD.size + 8 * links):
            fixed = _HEAD.size + _DATA_BYTES.get(name, most)
            # One of the two numbers may still be right, and what stands behind the links is always as long.
            by_links, by_length = fixed + 8 * links, max(0, length - fixed) // 8
            if by_links > most and (by_length == 0 or length > most):
                raise self._damaged(
                    at, f"{what} of a length that fits its {links} links", f"{length} bytes", "bad_length"
                )
            self._note(
                at, f"{what} of a length that fits its {links} links", f"{length} bytes", kind="bad_length", lost=0,
                advice="It was read by the one of the two that can be right.",
            )  # fmt: skip
            if by_links <= most:
                length = by_links
            else:
                links = by_length
        body = self.read(at + _HEAD.size, length - _HEAD.size)
        if len(body) < length - _HEAD.size:
            raise self._damaged(at, f"{what} of {length} bytes", f"the end of the file at {self.size}", "truncated")
        return Block(found, struct.unpack_from(f"<{links}Q", body), body[8 * links :])

    def _peek(self, at: int) -> "Block | None":
        """A block that may be shared or missing; one that is damaged counts as missing."""
        name = self.read(at, 4)
        if at and not name.startswith(b"##"):
            self._note(at, "a block", name.hex(" ") or f"the end of the file at {self.size}")
        if not at or name not in _SHARED:
            return None
        try:
            return self._block(at, name, "a block")
        except Damaged as error:
            self.problems.append(error.problem)
            return None

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
        self.problems.append(Problem(kind, expected, actual, min(at, self.size), lost, advice))


@dataclass(frozen=True, slots=True)
class Block:
    """A block's name, links and data."""

    name: bytes
    links: tuple[int, ...]
    data: bytes


def _array_items(data: bytes) -> int:
    """Values of an array block whose values stand side by side in the record; 0 for any other."""
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


def inflate(fragment: Fragment, raw: bytes, limits: Limits) -> tuple[bytes, Problem | None]:
    """The data of a fragment; of a damaged one what comes out before the damage."""
    if fragment.method is None:
        return raw, None
    most = int(min(limits.max_chunk_bytes, limits.max_ratio * max(1, len(raw))))
    if fragment.size > most:
        return b"", Problem(
            "over_limit", f"at most {most} bytes inflated", f"{fragment.size}", fragment.at, None,
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


def _transposed_back(data: bytes, fragment: Fragment) -> bytes:
    """A matrix of records from its columns; of a part of the columns nothing can be had."""
    lines = fragment.size // fragment.columns
    matrix = lines * fragment.columns
    if len(data) < matrix:
        return b""
    return np.frombuffer(data, np.uint8, matrix).reshape(fragment.columns, lines).T.tobytes() + data[matrix:]


def _inflate_deflate(raw: bytes, size: int) -> tuple[bytes, str]:
    try:
        data = bytes(deflate.zlib_decompress(raw, size))
    except (deflate.DeflateError, ValueError, MemoryError):
        pass  # again, step by step, to keep what came before the damage
    else:
        return data, ""
    stream = zlib.decompressobj()
    out = bytearray()
    try:
        for at in range(0, len(raw), _STEP):
            out += stream.decompress(raw[at : at + _STEP], size - len(out) + 1)
            if len(out) > size:
                return bytes(out[:size]), "more than that"
    except zlib.error as error:
        return bytes(out), str(error)
    return bytes(out), "" if stream.eof else "without an end"


def _inflate_zstd(raw: bytes, size: int) -> tuple[bytes, str]:
    stream = zstandard.ZstdDecompressor().stream_reader(raw)
    out = bytearray()
    try:
        while len(out) < size and (piece := stream.read(min(_PIECE_BYTES, size - len(out)))):
            out += piece
    except zstandard.ZstdError as error:
        return bytes(out), str(error)
    return bytes(out), ""


def _inflate_lz4(raw: bytes, size: int) -> tuple[bytes, str]:
    stream = lz4.frame.LZ4FrameDecompressor()
    out = bytearray()
    try:
        for at in range(0, len(raw), _STEP):
            out += stream.decompress(raw[at : at + _STEP], size - len(out))
            if stream.eof or len(out) >= size:
                break
    except (RuntimeError, EOFError) as error:
        return bytes(out), str(error)
    return bytes(out), ""


_UNZIP: Final = {_DEFLATE: _inflate_deflate, _ZSTD: _inflate_zstd, _LZ4: _inflate_lz4}
