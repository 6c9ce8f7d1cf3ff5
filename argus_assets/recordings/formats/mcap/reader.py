"""MCAP (mcap.dev/spec): one forward walk that needs no index, no summary and no footer.

Complete, unindexed and truncated files share that one path. Chunks are inflated, checked and decoded side by side
(`chunks`, `messages`); only schemas and channels are taken in file order, between the two (`channels`).
Each byte of the file is read once: a search behind damage continues in the block that is in memory.
"""

import re
import struct
from collections.abc import Generator, Iterator
from concurrent.futures import Executor, Future
from itertools import chain
from typing import Final

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.formats.forward import Block, ForwardDecoder, ForwardReader, Repeated, grouped
from argus_assets.recordings.formats.mcap.channels import ChannelTable
from argus_assets.recordings.formats.mcap.chunks import (
    CHANNEL,
    CHUNK,
    CHUNK_HEAD,
    HEAD,
    MAX_MESSAGE_BYTES,
    MESSAGE,
    MESSAGE_FIELDS,
    SCHEMA,
    STATISTICS,
    OpenedPiece,
    Piece,
    Records,
    first_messages,
    inflated_size,
    loose_bytes,
    open_pieces,
)
from argus_assets.recordings.formats.mcap.messages import Decoded, decode_pieces
from argus_assets.recordings.model import ChannelSummary, FrameBatch, Source

MAGIC: Final = b"\x89MCAP0\r\n"

_MESSAGE_INDEX, _FOOTER = 0x07, 0x02
_FOOTER_BYTES: Final = HEAD.size + 20
_PLAUSIBLE_CHUNK: Final = re.compile(
    rb"\x06.{4}[\x00-\x0f]\x00\x00\x00.{28}(?:\x00\x00\x00\x00|\x03\x00\x00\x00lz4|\x04\x00\x00\x00zstd)", re.DOTALL
)
_CHUNK_START: Final = 64
"""Bytes that show whether a chunk starts."""
_GROUP_BYTES: Final = 8 * 1024**2
"""Inflated bytes that are worked on at once: enough to make array operations pay, little enough to stay in memory."""
_PIECE_BYTES: Final = 512
"""Memory that a piece takes beside its bytes."""


class McapReader(ForwardReader[Decoded]):
    """One pass over one MCAP file."""

    max_batch_bytes = 32 * 1024**2

    def __init__(self, source: Source, budget: Budget, *, name: str, version: int) -> None:
        super().__init__(source, budget, name=name, version=version)
        self._block = _RecordBlock(source, self._size)
        self._table = ChannelTable(budget, self.summary.problems)
        self._counts: dict[int, int] = {}
        self._bad: dict[tuple[str, str], Repeated] = {}
        self._frames_numbered = 0
        self._frames_refused = 0
        self._over = False
        self._claimed: int | None = None
        self._summary_loaded = False

    def _streams(self) -> Generator[Iterator[Decoded]]:
        yield chain.from_iterable(
            self._staged(
                self._groups(), self._open_group, self._decode, weight=lambda group: sum(map(self._size_of, group))
            )
        )

    def _open_group(self, group: list[Piece]) -> list[OpenedPiece]:
        return open_pieces(group, self._budget)

    def _decode(self, pool: Executor, pieces: list[OpenedPiece]) -> "list[Future[Iterator[Decoded]]]":
        """Take the definitions of opened pieces, and have their messages decoded."""
        kept: list[OpenedPiece] = []
        for piece in pieces:
            self._over = self._over or not self._budget.inflate(piece.size, at=piece.at)
            if self._over:
                break
            kept.append(piece)
            for opcode, content in piece.definitions:
                self._define(opcode, content, piece.at)
            self.summary.problems += piece.problems
            self.summary.frames_lost += piece.lost
        numbers = sorted(set().union(*(piece.counts for piece in kept)))
        if not self._summary_loaded and not all(number in self._table for number in numbers):
            # Its record may have been in a chunk that was lost.
            self._load_summary()
        if not numbers:
            return []
        channels = self._table.settle(numbers, kept[0].at, lambda number: first_messages(kept, number))
        refused = sum(n for piece in kept for number, n in piece.counts.items() if number not in channels)
        if refused:
            self._budget.lose("channels", refused)
            self._frames_refused += refused
        first = self._frames_numbered
        self._frames_numbered += sum(sum(piece.counts.values()) for piece in kept) - refused
        return [pool.submit(decode_pieces, kept, channels, first, self._budget)]

    def _size_of(self, piece: Piece) -> int:
        """Return the memory that a piece takes while it is worked on."""
        can_be = min(self._limits.max_chunk_bytes, int(self._limits.max_ratio * len(piece.content)))
        return max(min(inflated_size(piece), can_be), len(piece.content)) + _PIECE_BYTES

    # ------------------------------------------------------------------------------------------ top level

    def _groups(self) -> Generator[list[Piece]]:
        return grouped(self._pieces_within_budget(), self._size_of, _GROUP_BYTES)

    def _pieces_within_budget(self) -> Generator[Piece]:
        for piece in self._pieces():
            if self._over:
                self._load_summary()  # how many messages there should have been
                return
            yield piece

    def _pieces(self) -> Generator[Piece]:
        at = len(MAGIC)
        chunk: Piece | None = None
        ended = False
        while at < self._size:
            head = self._block.read(at, HEAD.size)
            if at + len(MAGIC) == self._size and head[: len(MAGIC)] == MAGIC:
                ended = True
                break
            opcode, length = HEAD.unpack(head) if len(head) == HEAD.size else (0, self._size)
            left = self._size - at - HEAD.size
            if chunk is not None and (opcode != _MESSAGE_INDEX or length > left):
                yield chunk
                chunk = None
            # Nine zeros are not a record but a tail that was never written.
            if length > left or (opcode == 0 and length == 0):
                following = self._next_chunk(at + 1)
                if opcode == CHUNK and left > CHUNK_HEAD.size:
                    end = self._size if following is None else following
                    content = self._block.read(at + HEAD.size, min(end - at - HEAD.size, self._limits.max_chunk_bytes))
                    yield Piece(at, content, is_chunk=True, cut=True)
                self._problem(
                    "truncated" if following is None else "bad_length",
                    f"{length} bytes of record 0x{opcode:02x}",
                    f"{max(left, 0)} bytes to the end of the file",
                    at,
                    advice="The recording was cut off, or its length was damaged; what could be read was read.",
                )
                if following is None:
                    self._load_summary()
                    ended = True
                    break
                at = following
                continue
            if opcode == CHUNK:
                if length > self._limits.max_chunk_bytes:
                    self._problem(
                        "over_limit", f"a chunk of at most {self._limits.max_chunk_bytes} bytes", f"{length}", at,
                        advice="The chunk was not read. If the recording is genuine, record with smaller chunks.",
                    )  # fmt: skip
                else:
                    chunk = Piece(at, self._block.read(at + HEAD.size, length), is_chunk=True)
            elif opcode == _MESSAGE_INDEX and chunk is not None:
                chunk.indexed = (chunk.indexed or 0) + max(0, (length - 6) // 16)
            elif opcode != _MESSAGE_INDEX:
                at += yield from self._loose(at, opcode, HEAD.size + length)
                continue
            at += HEAD.size + length
        if chunk is not None:
            yield chunk
        if not ended:
            self._problem(
                "truncated",
                "the end mark of MCAP",
                f"end of the file at {self._size}",
                self._size,
                advice="The recorder did not close the file; everything before was read.",
            )

    def _loose(self, at: int, opcode: int, first: int) -> Generator[Piece, None, int]:
        """Yield the records outside of chunks that the block in memory holds; return their bytes."""
        if opcode in (SCHEMA, CHANNEL, MESSAGE, STATISTICS):
            if first > MAX_MESSAGE_BYTES:
                self._problem(
                    "over_limit", f"a record of at most {MAX_MESSAGE_BYTES} bytes", f"{first}", at,
                    lost=int(opcode == MESSAGE), advice="It was not read.",
                )  # fmt: skip
                return first
            self._block.hold(at, first)
        length = self._block.loose_bytes(at)
        if not length:  # it is not read, and longer than a block
            return first
        yield Piece(at, self._block.read(at, length), is_chunk=False)
        return length

    def _next_chunk(self, at: int) -> int | None:
        """Return the offset of the next thing that can only be a chunk, from `at` on."""
        while at < self._size:
            self._block.hold(at, 2 * _CHUNK_START)
            block, first = self._block.data, self._block.start
            for match in _PLAUSIBLE_CHUNK.finditer(block, at - first):
                length = int.from_bytes(block[match.start() + 1 : match.start() + 9], "little")
                start, end, _, _, name = CHUNK_HEAD.unpack_from(block, match.start() + 9)
                position = first + match.start()
                if length > 40 + name and start <= end and position + 9 + length <= self._size:
                    at_records = match.start() + 9 + CHUNK_HEAD.size + name
                    if len(block) < at_records + 8:
                        break  # the next block holds it whole
                    records = int.from_bytes(block[at_records : at_records + 8], "little")
                    if records == length - 40 - name:
                        return position
            if first + len(block) >= self._size:
                return None
            at = first + len(block) - _CHUNK_START
        return None

    def _load_summary(self) -> None:
        """Read what the summary at the end repeats: schemas, channels, and how many messages there should be.

        Only for damaged files: a whole one is read without it. A summary that is damaged too adds nothing.
        """
        if self._summary_loaded or self._size < len(MAGIC) + _FOOTER_BYTES:
            return
        self._summary_loaded = True
        self._source.seek(self._size - len(MAGIC) - _FOOTER_BYTES)
        opcode, length, start, _, _ = struct.unpack("<BQQQI", self._source.read(_FOOTER_BYTES))
        end = self._size - len(MAGIC) - _FOOTER_BYTES
        if (
            opcode != _FOOTER
            or length != 20
            or not len(MAGIC) <= start < end
            or end - start > self._limits.max_chunk_bytes
        ):
            return
        self._source.seek(start)
        data = self._source.read(end - start)
        at = 0
        while at + HEAD.size <= len(data):
            opcode, length = HEAD.unpack_from(data, at)
            content = data[at + HEAD.size : at + HEAD.size + length]
            if len(content) < length:
                return
            self._define(opcode, content, start + at)
            at += HEAD.size + length

    def _define(self, opcode: int, content: bytes, at: int) -> None:
        """Take a record that describes the others. The first definition stays."""
        if opcode == STATISTICS and len(content) >= 8:
            self._claimed = int.from_bytes(content[:8], "little")
        else:
            self._table.define(opcode, content, at)

    # ------------------------------------------------------------------------------------------ results

    def _take(self, decoded: Decoded) -> tuple[FrameBatch, int]:
        summary = self.summary
        summary.frames += decoded.frames.height
        for number, count in decoded.counts.items():
            self._counts[number] = self._counts.get(number, 0) + count
        summary.problems += decoded.problems
        for what, (count, at) in decoded.bad.items():
            self._bad.setdefault(what, Repeated()).add(count, at)
        summary.cover(decoded.first_ns, decoded.last_ns)
        return FrameBatch(decoded.frames, decoded.logs, decoded.diagnostics, decoded.topics), decoded.size

    def _finish(self) -> None:
        summary = self.summary
        for topic, schema in sorted(self._bad):
            bad = self._bad[topic, schema]
            self._problem(
                "bad_message", f"{schema} on {topic}", f"{bad.count} invalid messages", bad.at,
                "They are kept as frames, undecoded.",
            )  # fmt: skip
        counted = summary.frames + summary.frames_lost + self._frames_refused
        if self._claimed is not None and self._claimed > counted:
            # More than the file can hold, however well it is compressed, is a lie or damage.
            can_be = self._claimed <= self._budget.max_inflated_bytes // (HEAD.size + MESSAGE_FIELDS)
            self._problem(
                "bad_record",
                f"{self._claimed} messages, as the file's statistics say",
                f"{summary.frames} read, {counted - summary.frames} known to be lost",
                self._size,
                lost=self._claimed - counted if can_be else None,
                advice="The difference was lost in the damage reported above."
                if can_be
                else "The file cannot hold as many; its statistics are wrong.",
            )
        summary.problems.sort(key=lambda p: p.offset or 0)
        per_topic: dict[str, ChannelSummary] = {}
        for number, channel in self._table.channels().items():
            before = per_topic.get(channel.topic)
            count = self._counts.get(number, 0) + (before.frames if before else 0)
            per_topic[channel.topic] = ChannelSummary(channel.topic, channel.kind, count, channel.schema)
        summary.channels = sorted(per_topic.values(), key=lambda c: c.channel)


class _RecordBlock(Block):
    """The block of the file in memory, and the records in it."""

    _records = Records(b"")

    def loose_bytes(self, at: int) -> int:
        """Return the bytes of the whole records at `at` outside of chunks that are in memory."""
        if self._records.data is not self.data:
            self._records = Records(self.data)
        return loose_bytes(self._records, self.data, at - self.start)


class McapDecoder(ForwardDecoder):
    """MCAP, compressed by chunk with zstd, lz4 or not at all."""

    name = "mcap"
    version = 5
    reader = McapReader

    def matches(self, head: bytes) -> bool:
        """Return whether the file starts with MCAP's magic."""
        return head.startswith(MAGIC)
