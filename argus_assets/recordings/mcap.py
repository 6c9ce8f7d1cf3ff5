"""MCAP (mcap.dev/spec): one forward walk that needs no index, no summary and no footer.

Complete, unindexed and truncated files share that one path. Chunks are inflated, checked and decoded side by side
(`mcap_chunks`, `mcap_messages`); only schemas and channels are taken in file order, between the two.
"""

import re
import struct
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Executor, Future
from typing import Final

import polars as pl

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.mcap_chunks import (
    CHANNEL,
    CHUNK_HEAD,
    HEAD,
    MESSAGE,
    SCHEMA,
    OpenedPiece,
    Piece,
    inflated_size,
    loose_bytes,
    open_piece,
)
from argus_assets.recordings.mcap_messages import Channel, Decoded, channel_of, decode_pieces
from argus_assets.recordings.model import (
    ChannelSummary,
    FrameBatch,
    Problem,
    Reader,
    RecordingSummary,
    Source,
    concat_topics,
)
from argus_assets.recordings.pipeline import staged
from argus_assets.recordings.schema import DIAGNOSTICS, LOGS

MAGIC: Final = b"\x89MCAP0\r\n"

_CHUNK, _MESSAGE_INDEX, _STATISTICS, _FOOTER = 0x06, 0x07, 0x0B, 0x02
_FOOTER_BYTES: Final = HEAD.size + 20
_MAX_MESSAGE_BYTES: Final = 256 * 1024**2
_PLAUSIBLE_CHUNK: Final = re.compile(
    rb"\x06.{4}[\x00-\x0f]\x00\x00\x00.{28}(?:\x00\x00\x00\x00|\x03\x00\x00\x00lz4|\x04\x00\x00\x00zstd)", re.DOTALL
)
_SEARCH_BYTES: Final = 4 * 1024**2
_BLOCK_BYTES: Final = 4 * 1024**2
_GROUP_BYTES: Final = 8 * 1024**2
"""Inflated bytes that are worked on at once: enough to make array operations pay, little enough to stay in memory."""


class McapDecoder:
    """MCAP, compressed by chunk with zstd, lz4 or not at all."""

    name = "mcap"
    version = 3
    seeks = False

    def matches(self, head: bytes) -> bool:
        """Whether the file starts with MCAP's magic."""
        return head.startswith(MAGIC)

    def open(self, source: Source, budget: Budget) -> Reader:
        """A reader over `source`."""
        return McapReader(source, budget, decoder=f"{self.name}/{self.version}")


class McapReader:
    """One pass over one MCAP file; see `model.Reader`."""

    def __init__(self, source: Source, budget: Budget, *, decoder: str) -> None:
        self._source = source
        self._budget = budget
        self._limits = budget.limits
        self._size = source.seek(0, 2)
        self.summary = RecordingSummary("mcap", decoder, self._size)
        self._schemas: dict[int, tuple[str, str, bytes]] = {0: ("", "", b"")}
        self._channels: Mapping[int, Channel] = {}
        self._counts: dict[int, int] = {}
        self._bad: dict[tuple[str, str], tuple[int, int]] = {}
        self._frames_numbered = 0
        self._inflated = 0
        self._claimed: int | None = None
        self._summary_loaded = False

    def __iter__(self) -> Iterator[FrameBatch]:
        ready: list[Decoded] = []
        waiting = 0
        groups = staged(self._groups(), self._open_group, self._decode, workers=self._limits.workers)
        for decoded in groups:
            self._count(decoded)
            ready.append(decoded)
            waiting += decoded.frames.height
            if waiting >= self._limits.batch_frames:
                yield _batch(ready)
                ready, waiting = [], 0
        if waiting:
            yield _batch(ready)
        self._close()

    def _open_group(self, group: list[Piece]) -> list[OpenedPiece]:
        return [open_piece(piece, self._limits) for piece in group]

    def _decode(self, pool: Executor, pieces: list[OpenedPiece]) -> "list[Future[Decoded]]":
        """Take the definitions of opened pieces, and have their messages decoded."""
        for piece in pieces:
            for opcode, content in piece.definitions:
                self._define(opcode, content, piece.at)
            for problem in piece.problems:
                self.summary.problems.append(problem)
            self.summary.frames_lost += piece.lost
        if not self._summary_loaded and any(piece.unknown_channels(self._channels) for piece in pieces):
            # Its record may have been in a chunk that was lost.
            self._load_summary()
        first = self._frames_numbered
        self._frames_numbered += sum(len(piece.messages) for piece in pieces)
        return [pool.submit(decode_pieces, pieces, self._channels, first)]

    # ------------------------------------------------------------------------------------------ top level

    def _groups(self) -> Generator[list[Piece]]:
        """Pieces in file order, as many at a time as are worth the work of a thread."""
        group: list[Piece] = []
        size = 0
        for piece in self._pieces():
            claimed = min(inflated_size(piece), self._limits.max_chunk_bytes)
            if self._inflated + claimed > self._limits.max_total_bytes:
                self._problem(
                    "over_limit", f"at most {self._limits.max_total_bytes} bytes inflated", "more", piece.at,
                    advice="The rest of the recording was not read.", frames_lost=piece.indexed,
                )  # fmt: skip
                break
            self._inflated += claimed
            group.append(piece)
            size += claimed
            if size >= _GROUP_BYTES:
                yield group
                group, size = [], 0
        if group:
            yield group

    def _pieces(self) -> Generator[Piece]:
        at = len(MAGIC)
        chunk: Piece | None = None
        ended = False
        while at < self._size:
            self._source.seek(at)
            head = self._source.read(HEAD.size)
            if at + len(MAGIC) == self._size and head[: len(MAGIC)] == MAGIC:
                ended = True
                break
            opcode, length = HEAD.unpack(head) if len(head) == HEAD.size else (0, self._size)
            left = self._size - at - HEAD.size
            if chunk is not None and (opcode != _MESSAGE_INDEX or length > left):
                yield chunk
                chunk = None
            # Nine zeros are no record but a tail that was never written.
            if length > left or (opcode == 0 and length == 0):
                if opcode == _CHUNK and left > CHUNK_HEAD.size:
                    yield Piece(at, self._source.read(min(left, self._limits.max_chunk_bytes)), is_chunk=True, cut=True)
                following = self._next_chunk(at + 1)
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
            if opcode == _CHUNK:
                if length > self._limits.max_chunk_bytes:
                    self._problem(
                        "over_limit", f"a chunk of at most {self._limits.max_chunk_bytes} bytes", f"{length}", at,
                        advice="The chunk was not read. If the recording is genuine, record with smaller chunks.",
                    )  # fmt: skip
                else:
                    chunk = Piece(at, self._source.read(length), is_chunk=True)
            elif opcode == _MESSAGE_INDEX and chunk is not None:
                chunk.indexed = (chunk.indexed or 0) + max(0, (length - 6) // 16)
            elif opcode in (SCHEMA, CHANNEL, MESSAGE):
                at += yield from self._loose(at, HEAD.size + length)
                continue
            elif opcode == _STATISTICS and length >= 8:
                self._claimed = int.from_bytes(self._source.read(8), "little")
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

    def _loose(self, at: int, first: int) -> Generator[Piece, None, int]:
        """Records outside of chunks, as many as a block holds; returns their bytes."""
        self._source.seek(at)
        block = self._source.read(max(_BLOCK_BYTES, min(first, _MAX_MESSAGE_BYTES)))
        length = loose_bytes(block)
        if length:
            yield Piece(at, block[:length], is_chunk=False)
            return length
        self._problem(
            "over_limit", f"a record of at most {_MAX_MESSAGE_BYTES} bytes", f"{first}", at, frames_lost=1,
            advice="It was not read.",
        )  # fmt: skip
        return first

    def _next_chunk(self, at: int) -> int | None:
        """Offset of the next thing that can only be a chunk, from `at` on."""
        while at < self._size:
            self._source.seek(at)
            block = self._source.read(_SEARCH_BYTES + 64)
            for match in _PLAUSIBLE_CHUNK.finditer(block):
                length = int.from_bytes(block[match.start() + 1 : match.start() + 9], "little")
                start, end, _, _, name = CHUNK_HEAD.unpack_from(block, match.start() + 9)
                position = at + match.start()
                if length > 40 + name and start <= end and position + 9 + length <= self._size:
                    self._source.seek(position + 9 + 32 + name)
                    records = int.from_bytes(self._source.read(8), "little")
                    if records == length - 40 - name:
                        return position
            if len(block) < _SEARCH_BYTES:
                return None
            at += _SEARCH_BYTES
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
            if opcode in (SCHEMA, CHANNEL):
                self._define(opcode, content, start + at)
            elif opcode == _STATISTICS and length >= 8:
                self._claimed = int.from_bytes(content[:8], "little")
            at += HEAD.size + length

    def _define(self, opcode: int, content: bytes, at: int) -> None:
        """Take a schema or a channel record. What was defined once stays."""
        try:
            if opcode == SCHEMA:
                number = int.from_bytes(content[:2], "little")
                name, after = _text(content, 2)
                encoding, after = _text(content, after)
                size = int.from_bytes(content[after : after + 4], "little")
                self._schemas.setdefault(number, (name, encoding, content[after + 4 : after + 4 + size]))
                return
            number, schema = struct.unpack_from("<HH", content)
            topic, after = _text(content, 4)
            encoding, _ = _text(content, after)
        except (UnicodeDecodeError, struct.error):
            what = "schema" if opcode == SCHEMA else "channel"
            self._problem("bad_record", f"a {what} with UTF-8 names", content[:24].hex() or "no bytes", at)
            return
        if number not in self._channels:
            name, schema_encoding, definition = self._schemas.get(schema, ("", "", b""))
            self._channels = {
                **self._channels,
                number: channel_of(topic, encoding, name, schema_encoding, definition),
            }

    # ------------------------------------------------------------------------------------------ results

    def _count(self, decoded: Decoded) -> None:
        summary = self.summary
        summary.frames += decoded.frames.height
        for number, count in decoded.counts.items():
            self._counts[number] = self._counts.get(number, 0) + count
        if decoded.unknown:
            self._channels = {**decoded.unknown, **self._channels}
        summary.problems += decoded.problems
        for what, (count, at) in decoded.bad.items():
            before, place = self._bad.get(what, (0, at))
            self._bad[what] = (before + count, min(place, at))
        summary.cover(decoded.first_ns, decoded.last_ns)

    def _problem(
        self, kind: str, expected: str, actual: str, at: int, *, frames_lost: int | None = None, advice: str = ""
    ) -> None:
        self.summary.problems.append(Problem(kind, expected, actual, at, frames_lost, advice))
        self.summary.frames_lost += frames_lost or 0

    def _close(self) -> None:
        summary = self.summary
        for (topic, schema), (count, at) in sorted(self._bad.items()):
            self._problem(
                "bad_message",
                f"{schema} on {topic}",
                f"{count} messages that are not",
                at,
                advice="They are kept as frames, undecoded.",
            )
        counted = summary.frames + summary.frames_lost
        if self._claimed is not None and self._claimed > counted:
            self._problem(
                "bad_record",
                f"{self._claimed} messages, as the file's statistics say",
                f"{summary.frames} read, {summary.frames_lost} known to be lost",
                self._size,
                frames_lost=self._claimed - counted,
                advice="The difference was lost in the damage reported above.",
            )
        summary.problems.sort(key=lambda p: p.offset or 0)
        per_topic: dict[str, ChannelSummary] = {}
        for number, channel in self._channels.items():
            before = per_topic.get(channel.topic)
            count = self._counts.get(number, 0) + (before.frames if before else 0)
            per_topic[channel.topic] = ChannelSummary(channel.topic, channel.kind, count, channel.schema)
        summary.channels = sorted(per_topic.values(), key=lambda c: c.channel)


def _text(content: bytes, at: int) -> tuple[str, int]:
    """A string at `at`, and where it ends."""
    (size,) = struct.unpack_from("<I", content, at)
    return content[at + 4 : at + 4 + size].decode(), at + 4 + size


def _batch(ready: list[Decoded]) -> FrameBatch:
    return FrameBatch(
        frames=pl.concat(d.frames for d in ready),
        logs=pl.concat([LOGS.empty(), *(d.logs for d in ready)]),
        diagnostics=pl.concat([DIAGNOSTICS.empty(), *(d.diagnostics for d in ready)]),
        topics=concat_topics(d.topics for d in ready),
    )
