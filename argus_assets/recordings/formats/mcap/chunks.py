"""Inside an MCAP chunk: inflate it, check it, and find its records without a loop over messages.

Everything here is a pure function of bytes and runs in any thread.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import lz4.frame
import numpy as np
import zstandard

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.chain import Chain, Walker
from argus_assets.recordings.columns import I64, Flags, rows_at
from argus_assets.recordings.messages.inferred import MAX_SAMPLE_BYTES, MAX_SAMPLES
from argus_assets.recordings.model import Limits, Problem, ProblemLog

SCHEMA, CHANNEL, MESSAGE, CHUNK, STATISTICS = 0x03, 0x04, 0x05, 0x06, 0x0B
HEAD: Final = struct.Struct("<BQ")
CHUNK_HEAD: Final = struct.Struct("<QQQII")
MESSAGE_FIELDS: Final = 22
"""Bytes of channel_id u16, sequence u32, log_time u64, publish_time u64."""

COMPRESSIONS: Final = (b"", b"lz4", b"zstd")
_INFLATE_STEP: Final = 8 * 1024**2
_MAX_BEYOND_CLAIM: Final = 16 * 1024**2
"""Bytes that the chunks of a group may inflate to together beyond what they claim."""
_BLOCK_BYTES: Final = 8 * 1024**2
"""Bytes in which message records are looked for at once; what is found in them takes at most ten times as much."""
MAX_MESSAGE_BYTES: Final = 128 * 1024**2
"""Bytes of a message that is read. A message is in memory some four times while it becomes a row of a table."""
_SMALL: Final = 1024
_FEW: Final = 16
"""Bytes of a buffer, and messages, that are not worth an array."""
_SHORT_RUN: Final = 16
_MAX_SHORT_RUNS: Final = 64
"""Runs of fewer messages in a block before its records are walked another way."""
_MAX_SEARCHED: Final = 4
"""Blocks that are searched again after damage, as a multiple of the piece's size: what is beyond is given up."""
_MAX_DEFINITION_BEYOND: Final = 4096

Bytes = bytes | bytearray


@dataclass(slots=True)
class Piece:
    """A run of records in the file: a chunk, or records outside of chunks.

    Attributes:
        at: Offset in the file that problems report for it.
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
        counts: Messages by channel id.
        size: Bytes of `data` as it was opened.
        definitions: Schemas and channels in order: opcode and content.
        problems: What was wrong.
        lost: Messages known to be lost.
    """

    at: int
    data: Bytes = b""
    messages: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    counts: dict[int, int] = field(default_factory=dict)
    size: int = 0
    definitions: list[tuple[int, bytes]] = field(default_factory=list)
    problems: ProblemLog = field(default_factory=ProblemLog)
    lost: int = 0


def first_messages(pieces: Sequence[OpenedPiece], channel: int) -> list[bytes]:
    """Return the first messages of a channel, within the bounds of `inferred`."""
    found: list[bytes] = []
    left = MAX_SAMPLE_BYTES
    for piece in pieces:
        if not piece.counts.get(channel):
            continue
        buffer = np.frombuffer(piece.data, np.uint8)
        ids = rows_at(buffer, piece.messages + HEAD.size, 2).view("<u2").reshape(-1)
        for place in piece.messages[ids == channel][: MAX_SAMPLES - len(found)].tolist():
            size = HEAD.unpack_from(piece.data, place)[1] - MESSAGE_FIELDS
            if size > left:
                return found
            left -= size
            start = place + HEAD.size + MESSAGE_FIELDS
            found.append(bytes(piece.data[start : start + size]))
        if len(found) >= MAX_SAMPLES:
            return found
    return found


def inflated_size(piece: Piece) -> int:
    """Return the bytes of records that a piece claims to hold."""
    if not piece.is_chunk or len(piece.content) < CHUNK_HEAD.size:
        return len(piece.content)
    return CHUNK_HEAD.unpack_from(piece.content)[2]


def open_pieces(pieces: Sequence[Piece], budget: Budget) -> list[OpenedPiece]:
    """Inflate, check and index the pieces of a group. Bad bytes become problems."""
    beyond = _MAX_BEYOND_CLAIM
    opened: list[OpenedPiece] = []
    for piece in pieces:
        opened.append(_open_piece(piece, budget, beyond))
        beyond = max(0, beyond - max(0, opened[-1].size - inflated_size(piece)))
    return opened


def _open_piece(piece: Piece, budget: Budget, beyond: int) -> OpenedPiece:
    opened = OpenedPiece(piece.at)
    opened.data = _inflated(piece, budget.limits, opened, beyond) if piece.is_chunk else piece.content
    opened.size = len(opened.data)
    whole = not opened.data or _locate(opened, budget, cut=piece.cut)
    lost = max(0, (piece.indexed or 0) - len(opened.messages))
    if not whole:
        budget.lose("records", lost)
    elif lost and opened.problems:
        last = opened.problems[-1]
        opened.problems[-1] = Problem(last.kind, last.expected, last.actual, last.offset, lost, last.help)
        opened.lost = lost
    opened.problems.settle()
    _count(opened)
    return opened


def _count(opened: OpenedPiece) -> None:
    """Count the messages of each channel, and drop those that are too large to be held in memory several times."""
    buffer = np.frombuffer(opened.data, np.uint8)
    if opened.size > MAX_MESSAGE_BYTES:
        lengths = rows_at(buffer, opened.messages + 1, 8).view("<u8").reshape(-1)
        large = lengths > MAX_MESSAGE_BYTES
        if large.any():
            lost = int(large.sum())
            opened.messages = opened.messages[~large]
            opened.lost += lost
            opened.problems.append(
                Problem(
                    "over_limit", f"messages of at most {MAX_MESSAGE_BYTES:,} bytes", f"{lost} of up to {lengths.max():,}",
                    opened.at, lost, "They were not read.",
                )
            )  # fmt: skip
    if len(opened.messages) <= _FEW:
        for at in opened.messages.tolist():
            number = int.from_bytes(opened.data[at + HEAD.size : at + HEAD.size + 2], "little")
            opened.counts[number] = opened.counts.get(number, 0) + 1
        return
    found = np.bincount(rows_at(buffer, opened.messages + HEAD.size, 2).view("<u2").reshape(-1))
    opened.counts = {int(number): int(found[number]) for number in np.flatnonzero(found)}


def _inflated(piece: Piece, limits: Limits, opened: OpenedPiece, beyond: int) -> Bytes:
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
    # The stated size is a claim: a chunk is read somewhat further than it states.
    max_bytes = int(min(limits.max_chunk_bytes, limits.max_ratio * max(1, len(compressed)), size + beyond))
    data, wrong = inflate(name, compressed, size, max_bytes if size <= max_bytes else max_bytes + 1)
    if piece.cut:
        return data
    if len(data) > max_bytes:  # a size that only the claim has is a damaged claim, and no bomb
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


def inflate(name: bytes, data: memoryview, size: int, max_bytes: int) -> tuple[Bytes, str]:
    """Inflate to at most `max_bytes` bytes; return what came out and what was wrong, empty for nothing.

    Args:
        name: One of `COMPRESSIONS`.
        data: Compressed bytes.
        size: Bytes that should come out. Only a frame that states the same takes the fast way.
        max_bytes: Bytes that may come out.
    """
    if name == b"":
        return bytes(data[:max_bytes]), ""
    if name == b"zstd":
        # Within the limits, and the frame and the chunk agree: inflated in one call.
        try:
            if size <= max_bytes and zstandard.frame_content_size(data) == size:
                return zstandard.ZstdDecompressor().decompress(data), ""
        except zstandard.ZstdError:
            pass  # again, step by step, to keep what came before the damage
    out = bytearray()
    try:
        for piece in _steps(name, data, max(1, min(size, max_bytes, _INFLATE_STEP))):
            out += piece[: max_bytes - len(out)]
            if len(out) >= max_bytes:
                break
    except (zstandard.ZstdError, RuntimeError, EOFError) as error:
        return out, f"{len(out)} bytes, then: {error}"
    return out, ""


def _steps(name: bytes, data: memoryview, size: int) -> Iterator[bytes]:
    """Yield inflated bytes, `size` at a time: a chunk that states its size is one piece."""
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


class Records:
    """The message records of a buffer, looked for a block at a time; the last few blocks are kept."""

    def __init__(self, data: Bytes) -> None:
        self.data = data
        self._buffer = np.frombuffer(data, np.uint8)
        self._end = len(data)
        self._blocks: dict[int, _Block] = {}
        self.searched = 0

    def run(self, at: int) -> tuple[I64, int] | None:
        """Return the message records that follow each other from `at` on, and where they end; `None` when there is none."""
        if at + HEAD.size + MESSAGE_FIELDS > self._end:
            return None
        if self._end <= _SMALL:
            return self._walk(at)
        return self._block(at // _BLOCK_BYTES).run(at)

    def _walk(self, at: int) -> tuple[I64, int] | None:
        """Do the same as `run`, over few bytes."""
        places: list[int] = []
        while at + HEAD.size + MESSAGE_FIELDS <= self._end:
            opcode, length = HEAD.unpack_from(self.data, at)
            if opcode != MESSAGE or length < MESSAGE_FIELDS or at + HEAD.size + length > self._end:
                break
            places.append(at)
            at += HEAD.size + length
        return (np.array(places, np.int64), at) if places else None

    def resume(self, at: int) -> int | None:
        """Return the first record from `at` on that another one follows, or the end."""
        for number in range(at // _BLOCK_BYTES, -(-self._end // _BLOCK_BYTES)):
            found = self._block(number).resume(at)
            if found is not None:
                return found
        return None

    def _block(self, number: int) -> "_Block":
        block = self._blocks.get(number)
        if block is None:
            if len(self._blocks) == 2:
                del self._blocks[next(iter(self._blocks))]
            first = number * _BLOCK_BYTES
            places = self._places(first, min(first + _BLOCK_BYTES, self._end - HEAD.size - MESSAGE_FIELDS + 1))
            following = places + self._lengths(places) + HEAD.size
            size = min(_BLOCK_BYTES, self._end - first)
            block = self._blocks[number] = _Block(first, size, places, following, self._is_record(following))
            self.searched += _BLOCK_BYTES
        return block

    def _places(self, first: int, last: int) -> I64:
        """Return every offset from `first` to before `last` that could be a whole message record."""
        places = np.flatnonzero(self._buffer[first : max(first, last)] == MESSAGE) + first
        return places[self._fits(places)]

    def _lengths(self, places: I64) -> I64:
        return rows_at(self._buffer, places + 1, 8).view("<u8").reshape(-1).astype(np.int64)

    def _fits(self, places: I64) -> Flags:
        lengths = rows_at(self._buffer, places + 1, 8).view("<u8").reshape(-1)
        return (lengths >= MESSAGE_FIELDS) & (lengths <= (self._end - HEAD.size - places).astype(np.uint64))

    def _is_record(self, places: I64) -> Flags:
        """Return whether each place is the start of a whole message record, or the end."""
        found = places == self._end
        rows = np.flatnonzero(places <= self._end - HEAD.size - MESSAGE_FIELDS)
        rows = rows[self._buffer[places[rows]] == MESSAGE]
        found[rows] = self._fits(places[rows])
        return found


class _Block:
    """Candidates for message records in one block of a buffer.

    Args:
        first: Offset of the block.
        size: Its bytes.
        places: Offset of each record that starts in the block.
        following: Where each ends.
        leads: Whether each ends where another one starts, or the buffer ends.
    """

    def __init__(self, first: int, size: int, places: I64, following: I64, leads: Flags) -> None:
        self._first = first
        self._size = size
        self._chain = Chain(places, following)
        self._good = places[leads]
        self._short = 0
        self._walker: Walker | None = None

    def run(self, at: int) -> tuple[I64, int] | None:
        found = self._chain.run(at)
        if found is None or len(found[0]) >= _SHORT_RUN:
            return found
        # Bytes of messages that look like records break the runs: then each place is asked where it leads.
        self._short += 1
        if self._short < _MAX_SHORT_RUNS or self._chain.run(found[1]) is None:
            return found
        if self._walker is None:
            inside = np.minimum(self._chain.following - self._first, self._size)
            self._walker = Walker(self._chain.places - self._first, inside, self._size)
        places = self._walker.walk(at - self._first) + self._first
        last = int(np.searchsorted(self._chain.places, places[-1]))
        return places, int(self._chain.following[last])

    def resume(self, at: int) -> int | None:
        i = int(np.searchsorted(self._good, at))
        return int(self._good[i]) if i < len(self._good) else None


def _locate(opened: OpenedPiece, budget: Budget, *, cut: bool) -> bool:
    """Find the records of `opened.data`; false where the budget ended before the data.

    An exact walk from record to record, which takes runs of messages in one step.
    """
    data = opened.data
    end = len(data)
    records = Records(data)
    max_bytes = budget.limits.max_schema_bytes + _MAX_DEFINITION_BEYOND
    found: list[I64] = []
    at = before = 0
    short = 0
    whole = True
    while at + HEAD.size <= end:
        run = records.run(at)
        if run is not None:
            found.append(run[0])
            before = int(run[0][-1])
            at = run[1]
            continue
        if not budget.take("records", at=opened.at, frames_lost=0):
            whole = False
            break
        opcode, length = HEAD.unpack_from(data, at)
        after = at + HEAD.size + length
        if after > end:
            left = end - at - HEAD.size
            # A wrong length leads astray: on from where messages follow each other again.
            resumed = (
                records.resume(before + HEAD.size) if records.searched <= _MAX_SEARCHED * end + _BLOCK_BYTES else None
            )
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
                        else "Reading resumed at the next run of messages.",
                    )
                )
            if resumed is not None:
                at = before = resumed
                continue
            if not cut and opcode == MESSAGE and left >= MESSAGE_FIELDS:
                # Its head is readable, and where it was the last one, its data are whole.
                opened.data = bytearray(data)
                HEAD.pack_into(opened.data, at, MESSAGE, left)
                found.append(np.array([at], np.int64))
            break
        if opcode in (SCHEMA, CHANNEL, STATISTICS):
            opened.definitions.append((opcode, bytes(data[at + HEAD.size : min(after, at + HEAD.size + max_bytes)])))
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
    return whole


def loose_bytes(records: Records, block: bytes, first: int) -> int:
    """Return the bytes of the whole records in `block` from `first` on, outside of chunks."""
    at = first
    while at + HEAD.size <= len(block):
        run = records.run(at)
        if run is not None:
            at = run[1]
            continue
        opcode, length = HEAD.unpack_from(block, at)
        if opcode == CHUNK or (opcode == 0 and length == 0) or at + HEAD.size + length > len(block):
            break
        at += HEAD.size + length
    return at - first
