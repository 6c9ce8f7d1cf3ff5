"""ROS 1 bags, format 2.0 (wiki.ros.org, Bags/Format/2.0): one forward walk that needs no index.

A record is a header of named fields, and data. Chunks hold connections and messages, compressed with bz2, lz4 or not at all.
What the index at the end repeats is not needed, so a bag that was never closed (`.bag.active`) is read as it is.
"""

import bz2
import struct
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Final

import lz4.frame
import numpy as np

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.formats.forward import ForwardDecoder
from argus_assets.recordings.formats.mcap.chunks import OpenedPiece, Piece
from argus_assets.recordings.formats.mcap.reader import McapReader
from argus_assets.recordings.formats.rosbag.records import MAX_CHANNELS, definitions, message
from argus_assets.recordings.model import Problem, Source

MAGIC: Final = b"#ROSBAG V2.0\n"

_MESSAGE, _BAG, _INDEX, _CHUNK, _CHUNK_INFO, _CONNECTION = 0x02, 0x03, 0x04, 0x05, 0x06, 0x07
_MAX_HEADER_BYTES: Final = 4096
"""Of a record's header; that of a connection has the longest field, its topic."""
_MAX_FIELDS: Final = 32
_MAX_MESSAGE_BYTES: Final = 128 * 1024**2
_STEP_BYTES: Final = 4 * 1024**2
_SEARCH_BYTES: Final = 64
"""Before the operation of a chunk's header, within which the header starts."""
_NANO: Final = 10**9


@dataclass(slots=True)
class _BagPiece(Piece):
    """A chunk, or records outside of chunks.

    Attributes:
        compression: `none`, `bz2` or `lz4`.
        size: Bytes that it claims to inflate to.
    """

    compression: str = "none"
    size: int = 0
    counts: dict[int, int] = field(default_factory=dict)


class BagReader(McapReader):
    """One pass over one bag."""

    def __init__(self, source: Source, budget: Budget, *, name: str, version: int) -> None:
        super().__init__(source, budget, name=name, version=version)
        self._summary_loaded = True  # nothing is needed of what stands at its end

    def _size_of(self, piece: Piece) -> int:
        claimed = piece.size if isinstance(piece, _BagPiece) else 0
        return (
            max(
                min(claimed, self._limits.max_chunk_bytes, int(self._limits.max_ratio * len(piece.content))),
                len(piece.content),
            )
            + 512
        )

    def _open_group(self, group: list[Piece]) -> list[OpenedPiece]:
        return [_opened(piece, self._budget) for piece in group if isinstance(piece, _BagPiece)]

    def _pieces(self) -> Generator[Piece]:
        at = len(MAGIC)
        chunk: _BagPiece | None = None
        loose: list[bytes] = []
        loose_at, loose_bytes = at, 0
        while at < self._size:
            found = self._record(at)
            operation = -1 if found is None else _operation(found[0])
            if found is None or operation < 0:
                following = self._next_chunk(at + 1)
                self._problem(
                    "truncated" if following is None else "bad_length", "a whole record", f"damage at byte {at}", at,
                    advice="The recording was cut off, or damaged; what could be read was read.",
                )  # fmt: skip
                if following is None:
                    break
                at = following
                continue
            header, data_at, size = found
            if operation == _INDEX and chunk is not None:
                chunk.indexed = (chunk.indexed or 0) + _u32(header.get(b"count", b""))
                at = data_at + size
                continue
            if chunk is not None:
                yield chunk
                chunk = None
            if operation == _CHUNK:
                chunk = self._chunk(header, at, data_at, size)
            elif operation in (_CONNECTION, _MESSAGE) and size <= _MAX_MESSAGE_BYTES:
                raw = self._block.read(at, data_at + size - at)
                loose_at = loose_at if loose else at
                loose.append(raw)
                loose_bytes += len(raw)
                if loose_bytes > _STEP_BYTES:
                    yield _BagPiece(loose_at, b"".join(loose), is_chunk=False)
                    loose, loose_bytes = [], 0
            at = data_at + size
        if chunk is not None:
            yield chunk
        if loose:
            yield _BagPiece(loose_at, b"".join(loose), is_chunk=False)

    def _record(self, at: int) -> tuple[Mapping[bytes, bytes], int, int] | None:
        """Return the header of a record, where its data start, and their bytes; `None` where there is no whole one."""
        length = _u32(self._block.read(at, 4))
        if not 0 < length <= _MAX_HEADER_BYTES or at + 8 + length > self._size:
            return None
        header = _fields(self._block.read(at + 4, length))
        size = _u32(self._block.read(at + 4 + length, 4))
        data_at = at + 8 + length
        if header is None:
            return None
        if data_at + size > self._size:
            # A chunk that was cut off still has its first messages.
            return (header, data_at, self._size - data_at) if _operation(header) == _CHUNK else None
        return header, data_at, size

    def _chunk(self, header: Mapping[bytes, bytes], at: int, data_at: int, size: int) -> _BagPiece | None:
        claimed = _u32(header.get(b"size", b""))
        if max(size, claimed) > self._limits.max_chunk_bytes:
            self._problem(
                "over_limit", f"a chunk of at most {self._limits.max_chunk_bytes} bytes", f"{max(size, claimed)}", at,
                advice="The chunk was not read. If the recording is genuine, record with smaller chunks.",
            )  # fmt: skip
            return None
        stated = _u32(self._block.read(data_at - 4, 4))
        compression = header.get(b"compression", b"").decode("ascii", "replace")
        if stated > size:
            self._problem(
                "truncated", f"{stated} bytes of a chunk", f"{size} to the end of the file", at,
                advice="The recording was cut off; what could be read was read.",
            )  # fmt: skip
        return _BagPiece(
            at, self._block.read(data_at, size), is_chunk=True, cut=stated > size, compression=compression, size=claimed
        )

    def _next_chunk(self, at: int) -> int | None:
        """Return the offset of the next record that can only be a chunk, from `at` on."""
        mark = b"op=\x05"
        while at < self._size:
            self._block.hold(at, 2 * _SEARCH_BYTES)
            block, first = self._block.data, self._block.start
            place = block.find(mark, max(0, at - first))
            while place >= 0:
                for start in range(max(at - first, place - _SEARCH_BYTES), place):
                    length = _u32(block[start : start + 4])
                    if 0 < length <= 2 * _SEARCH_BYTES:
                        header = _fields(block[start + 4 : start + 4 + length])
                        if header is not None and _operation(header) == _CHUNK and b"compression" in header:
                            return first + start
                place = block.find(mark, place + 1)
            if first + len(block) >= self._size:
                return None
            at = max(at + 1, first + len(block) - _SEARCH_BYTES)
        return None

    def _load_summary(self) -> None:
        """Read nothing: what the end of a bag repeats stands in its chunks."""


def _u32(raw: bytes) -> int:
    return int.from_bytes(raw, "little") if len(raw) == 4 else 0


def _operation(header: Mapping[bytes, bytes]) -> int:
    raw = header.get(b"op", b"")
    return raw[0] if len(raw) == 1 and _MESSAGE <= raw[0] <= _CONNECTION else -1


def _fields(raw: bytes) -> dict[bytes, bytes] | None:
    """Return the fields of a header, `None` where it is none."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(raw):
        size = _u32(raw[at : at + 4])
        part = raw[at + 4 : at + 4 + size]
        name, sign, value = part.partition(b"=")
        if not size or len(part) < size or not sign or len(found) >= _MAX_FIELDS:
            return None
        found[name] = value
        at += 4 + size
    return found or None


# ---------------------------------------------------------------------------------------------- inside a chunk


def _opened(piece: _BagPiece, budget: Budget) -> OpenedPiece:
    """Inflate a piece and write its messages as records of MCAP; what is damaged becomes a problem."""
    opened = OpenedPiece(piece.at)
    data = _inflated(piece, budget, opened)
    _translate(data, opened, piece)
    lost = max(0, (piece.indexed or 0) - len(opened.messages))
    if lost and opened.problems:
        last = opened.problems[-1]
        opened.problems[-1] = Problem(last.kind, last.expected, last.actual, last.offset, lost, last.help)
        opened.lost = lost
    return opened


def _inflated(piece: _BagPiece, budget: Budget, opened: OpenedPiece) -> bytes:
    if piece.compression == "none":
        return piece.content
    limit = min(budget.limits.max_chunk_bytes, max(piece.size, 1))
    out = bytearray()
    try:
        if piece.compression == "bz2":
            unpacker = bz2.BZ2Decompressor()
            out += unpacker.decompress(piece.content, limit)
            while not unpacker.eof and not unpacker.needs_input and len(out) < limit:
                out += unpacker.decompress(b"", limit - len(out))
        elif piece.compression == "lz4":
            frame = lz4.frame.LZ4FrameDecompressor()
            out += frame.decompress(piece.content, limit)
        else:
            opened.problems.append(
                Problem(
                    "unsupported",
                    "compression none, bz2 or lz4",
                    repr(piece.compression[:16]),
                    piece.at,
                    None,
                    "The chunk was not read.",
                )
            )
    except (OSError, EOFError, RuntimeError, ValueError) as error:
        opened.problems.append(
            Problem(
                "bad_compression",
                f"whole {piece.compression} data",
                str(error)[:120],
                piece.at,
                None,
                "What came before was read.",
            )
        )
    if len(out) < piece.size and not opened.problems and not piece.cut:
        opened.problems.append(
            Problem(
                "bad_length", f"{piece.size} bytes in a chunk", f"{len(out)}", piece.at, None, "What there is was read."
            )
        )
    return bytes(out)


_HEAD: Final = struct.Struct("<I")


def _translate(data: bytes, opened: OpenedPiece, piece: _BagPiece) -> None:
    records: list[bytes] = []
    places: list[int] = []
    size = at = 0
    end = len(data)
    layout: tuple[int, int, int] | None = None
    beyond = 0
    while at + 8 <= end:
        length = _HEAD.unpack_from(data, at)[0]
        data_at = at + 8 + length
        if not 0 < length <= _MAX_HEADER_BYTES or data_at > end:
            _bad(opened, piece, at)
            break
        count = _HEAD.unpack_from(data, data_at - 4)[0]
        if data_at + count > end:
            if not piece.cut:
                _bad(opened, piece, at)
            break
        header = data[at + 4 : at + 4 + length]
        # Headers of messages are alike: where their fields are is found once.
        if (
            layout is not None
            and length == layout[0]
            and header[layout[1] - 5 : layout[1]] == b"conn="
            and b"op=\x02" in header
        ):
            connection, time = header[layout[1] : layout[1] + 4], header[layout[2] : layout[2] + 8]
            operation = _MESSAGE
        else:
            fields = _fields(header)
            operation = -1 if fields is None else _operation(fields)
            if fields is None or operation < 0:
                _bad(opened, piece, at)
                break
            connection, time = fields.get(b"conn", b""), fields.get(b"time", b"")
            if operation == _MESSAGE and len(connection) == 4 and len(time) == 8:
                layout = (length, header.index(b"conn=") + 5, header.index(b"time=") + 5)
            if operation == _CONNECTION:
                number = _u32(connection) + 1
                if number <= MAX_CHANNELS:
                    opened.definitions += _connection(
                        number, fields.get(b"topic", b""), data[data_at : data_at + count]
                    )
        if operation == _MESSAGE and len(connection) == 4 and len(time) == 8:
            number = _HEAD.unpack(connection)[0] + 1
            if number > MAX_CHANNELS:
                beyond += 1
            else:
                seconds, nanoseconds = struct.unpack("<II", time)
                record = message(number, seconds * _NANO + nanoseconds, data[data_at : data_at + count])
                places.append(size)
                records.append(record)
                size += len(record)
                opened.counts[number] = opened.counts.get(number, 0) + 1
        at = data_at + count
    if beyond:
        opened.problems.append(
            Problem(
                "over_limit",
                f"at most {MAX_CHANNELS:,} connections",
                f"{beyond} messages of others",
                piece.at,
                beyond,
                "They were not read.",
            )
        )
        opened.lost += beyond
    opened.data = b"".join(records)
    opened.size = len(opened.data)
    opened.messages = np.array(places, np.int64)


def _bad(opened: OpenedPiece, piece: _BagPiece, at: int) -> None:
    opened.problems.append(
        Problem(
            "bad_record",
            "records of a chunk",
            f"damage {at} bytes into it",
            piece.at,
            None,
            "The rest of the chunk was not read.",
        )
    )


def _connection(number: int, topic: bytes, data: bytes) -> list[tuple[int, bytes]]:
    """Return the definitions of a connection, by its own header."""
    fields = _long_fields(data)
    name = fields.get(b"topic", topic).decode("utf-8", "replace")
    kind = fields.get(b"type", b"").decode("utf-8", "replace")
    return definitions(
        number,
        name,
        kind,
        encoding="ros1",
        schema_encoding="ros1msg",
        definition=fields.get(b"message_definition", b""),
    )


def _long_fields(raw: bytes) -> dict[bytes, bytes]:
    """Return the fields of a connection's header as far as they are whole; a definition may be long."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at + 4 <= len(raw) and len(found) < _MAX_FIELDS:
        size = _u32(raw[at : at + 4])
        part = raw[at + 4 : at + 4 + size]
        name, sign, value = part.partition(b"=")
        if not size or len(part) < size or not sign:
            break
        found[name] = value
        at += 4 + size
    return found


class BagDecoder(ForwardDecoder):
    """ROS 1 bags, with or without index."""

    name = "rosbag"
    version = 1
    reader = BagReader

    def matches(self, head: bytes) -> bool:
        """Return whether the file starts with the mark of bags of version 2.0."""
        return head.startswith(MAGIC)
