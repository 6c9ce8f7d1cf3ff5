"""Records of Apollo Cyber RT (`.record`): one forward walk over its sections, translated into records of MCAP.

A section is its kind (int32), four bytes of padding, its size (int64), and a protobuf message (`cyber/proto/record.proto`).
The first one, the header, takes 2,048 bytes whatever its size. Chunk bodies hold the messages, each with the name of its
channel; a channel's section holds the descriptors of its type. The index at the end is not needed.
"""

import bz2
import re
import struct
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Final

import lz4.frame
import numpy as np

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.formats.cyber.wire import BadWire, descriptor_set, fields, number_of
from argus_assets.recordings.formats.forward import ForwardDecoder
from argus_assets.recordings.formats.mcap.chunks import OpenedPiece, Piece
from argus_assets.recordings.formats.mcap.reader import McapReader
from argus_assets.recordings.formats.rosbag.records import MAX_CHANNELS, definitions, message
from argus_assets.recordings.model import Source

SECTION: Final = struct.Struct("<i4xq")
HEADER_BYTES: Final = 2048
HEADER, CHUNK_HEADER, CHUNK_BODY, INDEX, CHANNEL = range(5)
COMPRESSIONS: Final = ("none", "bz2", "lz4")
_MAX_NAME_BYTES: Final = 1024
_GROUP_BYTES: Final = 4 * 1024**2
_STEP_BYTES: Final = 1024**2
_SEARCHED_BYTES: Final = 4 * 1024**2
_CHUNK_START: Final = re.compile(rb"\x01\x00\x00\x00.{4}[\x02-\x7f]\x00{7}\x08", re.DOTALL)
"""A chunk's header has at most four numbers, the first of them its time."""


@dataclass(slots=True)
class _Messages(Piece):
    """Some messages, translated already."""

    opened: OpenedPiece = field(default_factory=lambda: OpenedPiece(0))


class CyberReader(McapReader):
    """One pass over one record."""

    def __init__(self, source: Source, budget: Budget, *, name: str, version: int) -> None:
        super().__init__(source, budget, name=name, version=version)
        self._summary_loaded = True  # nothing is needed of what stands at its end
        self._numbers: dict[bytes, int] = {}
        self._defined: list[tuple[int, bytes]] = []
        self._compression = "none"

    def _size_of(self, piece: Piece) -> int:
        return len(piece.opened.data) + 512 if isinstance(piece, _Messages) else 512

    def _open_group(self, group: list[Piece]) -> list[OpenedPiece]:
        return [piece.opened for piece in group if isinstance(piece, _Messages)]

    def _load_summary(self) -> None:
        """Read nothing: the index only repeats what sections say."""

    def _pieces(self) -> Generator[Piece]:
        at = 0
        while at < self._size:
            head = self._block.read(at, SECTION.size)
            kind, size = SECTION.unpack(head) if len(head) == SECTION.size else (-1, 0)
            start = at + SECTION.size
            fits = 0 <= size <= self._size - start
            if kind in range(HEADER, CHANNEL + 1) and not fits and kind == CHUNK_BODY and size > 0:
                # What a crash cut off still has its first messages.
                yield from self._body(at, self._size - start, is_cut=True)
            if kind not in range(HEADER, CHANNEL + 1) or not fits:
                following = self._next_chunk(at + 1)
                self._problem(
                    "truncated" if following is None else "bad_length", "a whole section of a record",
                    f"kind {kind} with {size} bytes, {max(self._size - start, 0)} to the end of the file", at,
                    advice="The recording was cut off, or damaged; what could be read was read.",
                )  # fmt: skip
                if following is None:
                    break
                at = following
                continue
            if kind == CHUNK_BODY:
                yield from self._body(at, size, is_cut=False)
            elif kind == CHANNEL:
                self._channel(at, size)
            elif kind == HEADER:
                self._header(at, size)
                size = max(size, HEADER_BYTES)
            at = start + size
        if self._defined:
            yield self._piece(self._size, [], [], {})

    def _next_chunk(self, at: int) -> int | None:
        """Return where the next chunk's header stands, with its body behind it."""
        while at < self._size:
            data = self._block.read(at, _SEARCHED_BYTES)
            for match in _CHUNK_START.finditer(data):
                place = at + match.start()
                _, size = SECTION.unpack_from(data, match.start())
                behind = self._block.read(place + SECTION.size + size, SECTION.size)
                if len(behind) == SECTION.size and SECTION.unpack(behind)[0] == CHUNK_BODY:
                    return place
            if len(data) < _SEARCHED_BYTES:
                return None
            at += len(data) - 2 * SECTION.size
        return None

    def _header(self, at: int, size: int) -> None:
        found: dict[int, int] = {}
        try:
            for number, value in fields(self._block.read(at + SECTION.size, min(size, HEADER_BYTES))):
                if isinstance(value, int):
                    found[number] = value  # noqa: PERF403 - what came before damage counts
        except BadWire as error:
            self._problem("bad_record", "a header", str(error), at, "Messages are read without it.")
        compression = found.get(3, 0)
        self._compression = COMPRESSIONS[compression] if compression < len(COMPRESSIONS) else str(compression)
        if found.get(13):  # is_complete: its numbers are those of the whole file
            self._claimed = found.get(11, 0)

    def _channel(self, at: int, size: int) -> None:
        limit = self._limits.max_schema_bytes
        if size > 2 * limit:
            self._problem(
                "over_limit", f"schemas of at most {limit:,} bytes", f"{size:,} bytes of a channel", at,
                "Its messages are kept as frames, undecoded. If the recording is genuine, raise max_schema_bytes (ARGUS_LIMITS).",
            )  # fmt: skip
            return
        texts: dict[int, bytes] = {}
        definition = b""
        try:
            for number, value in fields(self._block.read(at + SECTION.size, size)):
                if isinstance(value, bytes):
                    texts[number] = value  # noqa: PERF403 - as above
            definition = descriptor_set(texts.get(3, b""), limit)
        except BadWire as error:
            self._problem(
                "bad_record", "a channel with its descriptors", str(error), at, "Its messages have no columns."
            )
        if texts.get(1):
            self._number(texts[1], texts.get(2, b""), definition)

    def _number(self, name: bytes, kind: bytes = b"", definition: bytes = b"") -> int | None:
        """Return the number of a channel, defining it first; `None` where there are too many."""
        name = name[:_MAX_NAME_BYTES]
        number = self._numbers.get(name)
        if number is None and len(self._numbers) < MAX_CHANNELS:
            number = self._numbers[name] = len(self._numbers) + 1
            self._defined += definitions(
                number, name.decode("utf-8", "replace"), kind[:_MAX_NAME_BYTES].decode("utf-8", "replace"),
                encoding="protobuf", schema_encoding="protobuf", definition=definition,
            )  # fmt: skip
        return number

    def _body(self, at: int, size: int, *, is_cut: bool) -> Generator[Piece]:
        if size > self._limits.max_chunk_bytes:
            self._problem(
                "over_limit", f"a chunk of at most {self._limits.max_chunk_bytes:,} bytes", f"{size:,}", at,
                "The chunk was not read. If the recording is genuine, record with smaller chunks.",
            )  # fmt: skip
            return
        data = self._inflated(self._block.read(at + SECTION.size, size), at, is_cut=is_cut)
        records: list[bytes] = []
        places: list[int] = []
        counts: dict[int, int] = {}
        total = beyond = 0
        try:
            for tag, value in fields(data):
                if tag != 1 or not isinstance(value, bytes):
                    continue
                name, time_ns, content = b"", 0, b""
                for inner, part in fields(value):
                    if inner == 1 and isinstance(part, bytes):
                        name = part
                    elif inner == 2 and isinstance(part, int):
                        time_ns = part
                    elif inner == 3 and isinstance(part, bytes):
                        content = part
                number = self._number(name)
                if number is None:
                    beyond += 1
                    continue
                record = message(number, time_ns, content)
                places.append(total)
                records.append(record)
                total += len(record)
                counts[number] = counts.get(number, 0) + 1
                if total > _GROUP_BYTES:
                    yield self._piece(at, records, places, counts)
                    records, places, counts, total = [], [], {}, 0
        except BadWire as error:
            if not is_cut:
                self._problem(
                    "bad_record", "messages of a chunk", str(error), at, "The rest of the chunk was not read."
                )
        if beyond:
            self._problem(
                "over_limit", f"at most {MAX_CHANNELS:,} channels", f"{beyond:,} messages of others", at, "They were not read.",
                beyond,
            )  # fmt: skip
        yield self._piece(at, records, places, counts)

    def _piece(self, at: int, records: list[bytes], places: list[int], counts: dict[int, int]) -> _Messages:
        data = b"".join(records)
        opened = OpenedPiece(at, data, np.array(places, np.int64), counts, len(data), self._defined)
        self._defined = []
        return _Messages(at, b"", is_chunk=False, opened=opened)

    def _inflated(self, data: bytes, at: int, *, is_cut: bool) -> bytes:
        """Return a chunk's body, inflated within the limits of a chunk as far as it goes."""
        if self._compression == "none":
            return data
        most = min(self._limits.max_chunk_bytes, int(self._limits.max_ratio * len(data)))
        out = bytearray()
        try:
            if self._compression == "bz2":
                opened = bz2.BZ2Decompressor()
                given = data
                while not opened.eof and len(out) <= most and (given or not opened.needs_input):
                    out += opened.decompress(given, _STEP_BYTES)
                    given = b""
                    if opened.needs_input:
                        break
                whole = opened.eof
            elif self._compression == "lz4":
                with lz4.frame.LZ4FrameDecompressor() as frame:
                    given = data
                    while not frame.eof and len(out) <= most:
                        part = frame.decompress(given, _STEP_BYTES)
                        out += part
                        given = b""
                        if not part and frame.needs_input:
                            break
                    whole = frame.eof
            else:
                self._problem(
                    "unsupported", "compression none, bz2 or lz4", self._compression[:16], at, "The chunk was not read."
                )
                return b""
        except (OSError, EOFError, RuntimeError, ValueError) as error:
            self._problem(
                "bad_compression", f"{self._compression} data", str(error)[:120], at, "What came before was read."
            )
            return bytes(out)
        if len(out) > most:
            self._problem(
                "over_limit", f"a chunk of at most {most:,} bytes", "more", at,
                "Looks like a decompression bomb; nothing of the chunk was read.",
            )  # fmt: skip
            return b""
        if not whole and not is_cut:
            self._problem(
                "bad_compression", f"whole {self._compression} data", "its start only", at, "What came before was read."
            )
        return bytes(out)


class CyberDecoder(ForwardDecoder):
    """Records of Apollo Cyber RT, with or without index, cut anywhere."""

    name = "cyber"
    version = 1
    reader = CyberReader

    def matches(self, head: bytes) -> bool:
        """Return whether the file starts with a header's section: its numbers, and zeros up to 2,048 bytes."""
        if len(head) < SECTION.size + 2:
            return False
        kind, size = SECTION.unpack_from(head)
        end = SECTION.size + size
        if kind != HEADER or not 2 <= size <= HEADER_BYTES or head[SECTION.size] != number_of(1):
            return False
        try:
            known = [number for number, _ in fields(head[SECTION.size : end])]
        except BadWire:
            return False
        rest = head[end : SECTION.size + HEADER_BYTES]
        return 2 in known and max(known) <= _MAX_FIELD and not any(rest)


_MAX_FIELD: Final = 64
"""Largest number of a header's field, with room for later versions."""
