"""Inside an MCAP chunk: inflate it, check it, and find its records without a loop over messages.

Everything here is a pure function of bytes and runs in any thread.
"""

import struct
import zlib
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Final

import lz4.frame
import numpy as np
import zstandard

from argus_assets.recordings.chain import Chain
from argus_assets.recordings.columns import I64, U8, rows_at
from argus_assets.recordings.model import Limits, Problem

SCHEMA, CHANNEL, MESSAGE = 0x03, 0x04, 0x05
HEAD: Final = struct.Struct("<BQ")
CHUNK_HEAD: Final = struct.Struct("<QQQII")
MESSAGE_FIELDS: Final = 22
"""Bytes of channel_id u16, sequence u32, log_time u64, publish_time u64."""

COMPRESSIONS: Final = (b"", b"lz4", b"zstd")
_INFLATE_STEP: Final = 8 * 1024**2


@dataclass(slots=True)
class Piece:
    """A run of records in the file: a chunk, or records that stand outside of chunks.

    Attributes:
        at: Offset in the file that stands for it in problems.
        content: The chunk record's content, or the loose records themselves.
        is_chunk: Which of the two.
        cut: The end of the file, or of what is readable, cut it off; that has been reported.
        indexed: Messages that the chunk's message index lists, when there is one.
    """

    at: int
    content: bytes
    is_chunk: bool
    cut: bool = False
    indexed: int | None = None


@dataclass(slots=True)
class OpenedPiece:
    """A piece whose records have been found.

    Attributes:
        at: As in `Piece`.
        data: The records, one after another.
        messages: Offset of each message record in `data`.
        definitions: Schemas and channels in order: opcode and content.
        problems: What was wrong.
        lost: Messages known to be lost.
    """

    at: int
    data: bytes = b""
    messages: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    definitions: list[tuple[int, bytes]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    lost: int = 0

    def unknown_channels(self, known: Container[int]) -> bool:
        """Whether a message is of a channel that is not among `known`."""
        if not len(self.messages):
            return False
        numbers = rows_at(np.frombuffer(self.data, np.uint8), self.messages + HEAD.size, 2).view("<u2").reshape(-1)
        return any(number not in known for number in np.flatnonzero(np.bincount(numbers)).tolist())


def inflated_size(piece: Piece) -> int:
    """Bytes of records that a piece claims to hold."""
    if not piece.is_chunk or len(piece.content) < CHUNK_HEAD.size:
        return len(piece.content)
    return CHUNK_HEAD.unpack_from(piece.content)[2]


def open_piece(piece: Piece, limits: Limits) -> OpenedPiece:
    """Inflate, check and index a piece. Bad bytes become problems."""
    opened = OpenedPiece(piece.at)
    opened.data = _inflated(piece, limits, opened) if piece.is_chunk else piece.content
    if opened.data:
        _locate(opened, cut=piece.cut)
    if piece.indexed is not None and opened.problems and piece.indexed > len(opened.messages):
        lost = piece.indexed - len(opened.messages)
        last = opened.problems[-1]
        opened.problems[-1] = Problem(last.kind, last.expected, last.actual, last.offset, lost, last.help)
        opened.lost = lost
    return opened


def _inflated(piece: Piece, limits: Limits, opened: OpenedPiece) -> bytes:
    content = piece.content

    def problem(kind: str, expected: str, actual: str, advice: str = "") -> bytes:
        opened.problems.append(Problem(kind, expected, actual, piece.at, None, advice))
        return b""

    if len(content) < CHUNK_HEAD.size:
        return problem("bad_record", "a chunk head of 40 bytes", f"{len(content)} bytes")
    _, _, size, crc, name_length = CHUNK_HEAD.unpack_from(content)
    name = content[CHUNK_HEAD.size : CHUNK_HEAD.size + name_length]
    body = CHUNK_HEAD.size + name_length + 8
    if name not in COMPRESSIONS or body > len(content):
        return b"" if piece.cut else problem("unsupported", "compression none, lz4 or zstd", repr(name[:16]))
    compressed = memoryview(content)[body:]
    # The stated size is a claim: a chunk is read as far as the limits allow, whatever it says.
    most = int(min(limits.max_chunk_bytes, limits.max_ratio * max(1, len(compressed))))
    data, wrong = inflate(name, compressed, size, most if size <= most else most + 1)
    if piece.cut:
        return data
    if len(data) > most:  # a size that only the claim has is a damaged claim, and no bomb
        return problem(
            "over_limit",
            f"at most {limits.max_chunk_bytes} bytes and {limits.max_ratio:g} times the compressed size",
            f"{size} bytes from {len(compressed)}",
            "Looks like a decompression bomb. If the recording is genuine, record with smaller chunks.",
        )
    if not wrong and len(data) != size:
        wrong = f"{len(data)} bytes"
    if wrong:
        problem(
            "bad_compression",
            f"{size} bytes of {name.decode() or 'plain'} data",
            wrong,
            "The chunk was damaged; its readable start was read." if data else "Nothing of the chunk could be read.",
        )
    elif crc and (found := zlib.crc32(data)) != crc:
        problem(
            "bad_checksum",
            f"CRC-32 {crc:08x}",
            f"{found:08x}",
            "The chunk was damaged; its frames were read and may hold wrong bytes.",
        )
    return data


def inflate(name: bytes, data: memoryview, size: int, most: int) -> tuple[bytes, str]:
    """Inflate to at most `most` bytes; returns what came out and what was wrong, empty for nothing.

    Args:
        name: One of `COMPRESSIONS`.
        data: Compressed bytes.
        size: Bytes that should come out. Only a frame that says the same takes the fast way.
        most: Bytes that may come out.
    """
    if name == b"":
        return bytes(data[:most]), ""
    if name == b"zstd":
        # Within the limits, and the frame and the chunk agree: inflated in one call.
        try:
            if size <= most and zstandard.frame_content_size(data) == size:
                return zstandard.ZstdDecompressor().decompress(data), ""
        except zstandard.ZstdError:
            pass  # again, step by step, to keep what came before the damage
    pieces: list[bytes] = []
    left = most
    try:
        for piece in _steps(name, data, min(max(size, 1), _INFLATE_STEP)):
            pieces.append(piece[:left])
            left -= len(pieces[-1])
            if left <= 0:
                break
    except (zstandard.ZstdError, RuntimeError, EOFError) as error:
        out = b"".join(pieces)
        return out, f"{len(out)} bytes, then: {error}"
    return pieces[0] if len(pieces) == 1 else b"".join(pieces), ""


def _steps(name: bytes, data: memoryview, size: int) -> Iterator[bytes]:
    """What comes out, `size` bytes at a time: a chunk that states its size is one piece."""
    if name == b"zstd":
        reader = zstandard.ZstdDecompressor().stream_reader(data)
        while piece := reader.read(size):
            yield piece
        return
    stream = lz4.frame.LZ4FrameDecompressor()
    piece = stream.decompress(data, max_length=size)
    while piece:
        yield piece
        if stream.eof:
            return
        piece = stream.decompress(b"", max_length=size)


def _locate(opened: OpenedPiece, *, cut: bool) -> None:
    """Find the records of `opened.data`.

    An exact walk from record to record, which takes runs of messages in one step.
    """
    data = opened.data
    end = len(data)
    buffer = np.frombuffer(data, np.uint8)
    chain = _messages(buffer)
    found: list[I64] = []
    at = before = 0
    short = 0
    while at + HEAD.size <= end:
        run = chain.run(at)
        if run is not None:
            found.append(run[0])
            before = int(run[0][-1])
            at = run[1]
            continue
        opcode, length = HEAD.unpack_from(data, at)
        after = at + HEAD.size + length
        if after > end:
            left = end - at - HEAD.size
            # A wrong length leads astray: on from where messages follow each other again.
            resumed = chain.resume(before + HEAD.size)
            if not cut:
                opened.problems.append(
                    Problem(
                        "bad_length",
                        f"at most {left} bytes",
                        f"{length} bytes of record 0x{opcode:02x}",
                        opened.at,
                        None,
                        "The rest of this chunk was taken as one record."
                        if resumed is None
                        else "Records were read again from where messages follow each other.",
                    )
                )
            if resumed is not None:
                at = before = resumed
                continue
            if not cut and opcode == MESSAGE and left >= MESSAGE_FIELDS:
                # Its head is readable, and where it was the last one, its data are whole.
                opened.data = data[: at + 1] + left.to_bytes(8, "little") + data[at + HEAD.size :]
                found.append(np.array([at], np.int64))
            break
        if opcode in (SCHEMA, CHANNEL):
            opened.definitions.append((opcode, data[at + HEAD.size : after]))
        elif opcode == MESSAGE:
            short += 1
        before, at = at, after
    if short:
        opened.problems.append(
            Problem("bad_record", "messages of at least 22 bytes", f"{short} shorter ones", opened.at, short)
        )
        opened.lost += short
    if found:
        opened.messages = np.concatenate(found) if len(found) > 1 else found[0]


def loose_bytes(block: bytes) -> int:
    """Bytes of the whole schema, channel and message records that `block` starts with."""
    chain = _messages(np.frombuffer(block, np.uint8))
    at = 0
    while at + HEAD.size <= len(block):
        run = chain.run(at)
        if run is not None:
            at = run[1]
            continue
        opcode, length = HEAD.unpack_from(block, at)
        if opcode not in (SCHEMA, CHANNEL, MESSAGE) or at + HEAD.size + length > len(block):
            break
        at += HEAD.size + length
    return at


def _messages(buffer: U8) -> Chain:
    """Every offset that could be a whole message record."""
    size = HEAD.size + MESSAGE_FIELDS
    if len(buffer) < size:
        nothing = np.zeros(0, np.int64)
        return Chain(nothing, nothing)
    places = np.flatnonzero(buffer[: len(buffer) - size + 1] == MESSAGE)
    lengths = rows_at(buffer, places + 1, 8).view("<u8").reshape(-1)
    fits = (lengths >= MESSAGE_FIELDS) & (lengths <= (len(buffer) - HEAD.size - places).astype(np.uint64))
    places = places[fits]
    return Chain(places, places + (lengths[fits].astype(np.int64) + HEAD.size))
