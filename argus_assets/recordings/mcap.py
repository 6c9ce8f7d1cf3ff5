"""MCAP (mcap.dev/spec): one forward walk that needs no index, no summary and no footer.

Complete, unindexed and truncated files share that one path. Chunks are checked (size, ratio, CRC-32) and inflated;
messages are located as arrays of offsets and their fields gathered without a loop over messages.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import lz4.frame
import numpy as np
import polars as pl
import pyarrow as pa
import zstandard

from argus_assets.recordings import messages
from argus_assets.recordings.messages import I64, U8, gather, rows_at
from argus_assets.recordings.model import ChannelSummary, FrameBatch, Limits, Problem, Reader, RecordingSummary, Source
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, KINDS, LOGS

MAGIC: Final = b"\x89MCAP0\r\n"

_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _MESSAGE_INDEX = 0x03, 0x04, 0x05, 0x06, 0x07
_STATISTICS, _DATA_END, _FOOTER = 0x0B, 0x0F, 0x02

_HEAD: Final = struct.Struct("<BQ")
_CHUNK_HEAD: Final = struct.Struct("<QQQII")
_MESSAGE_FIELDS: Final = 22
"""channel_id u16, sequence u32, log_time u64, publish_time u64."""

_FOOTER_BYTES: Final = _HEAD.size + 20
_MAX_MESSAGE_BYTES: Final = 256 * 1024**2
_PLAUSIBLE_CHUNK: Final = re.compile(
    rb"\x06.{4}[\x00-\x0f]\x00\x00\x00.{28}(?:\x00\x00\x00\x00|\x03\x00\x00\x00lz4|\x04\x00\x00\x00zstd)", re.DOTALL
)
_SEARCH_BYTES: Final = 4 * 1024**2
_INFLATE_STEP: Final = 8 * 1024**2
_MAX_TIME_NS: Final = 2**63 - 1
_MIN_RUN: Final = 16
"""Messages of one size in a row for which the array path is worth its start."""

_KIND: Final = {
    messages.CAN_FRAME: "can",
    messages.CAN_FD_FRAME: "can",
    messages.ROS_LOG: "log",
    messages.FOXGLOVE_LOG: "log",
    messages.DIAGNOSTIC_ARRAY: "diagnostic",
}


class McapDecoder:
    """MCAP, compressed by chunk with zstd, lz4 or not at all."""

    name = "mcap"
    version = 1

    def matches(self, head: bytes) -> bool:
        """Whether the file starts with MCAP's magic."""
        return head.startswith(MAGIC)

    def open(self, source: Source, limits: Limits) -> Reader:
        """A reader over `source`."""
        return McapReader(source, limits, decoder=f"{self.name}/{self.version}")


@dataclass(frozen=True, slots=True)
class _Channel:
    topic: str
    schema: str
    encoding: str
    kind: str


@dataclass(slots=True)
class _Pending:
    """Frames decoded but not handed out yet."""

    frames: list[pl.DataFrame] = field(default_factory=list)
    logs: list[dict[str, object]] = field(default_factory=list)
    diagnostics: list[dict[str, object]] = field(default_factory=list)
    count: int = 0


class McapReader:
    """One pass over one MCAP file; see `model.Reader`."""

    def __init__(self, source: Source, limits: Limits, *, decoder: str) -> None:
        self._source = source
        self._limits = limits
        size = source.seek(0, 2)
        self._size = size
        self.summary = RecordingSummary("mcap", decoder, size)
        self._schemas: dict[int, str] = {0: ""}
        self._channels: dict[int, _Channel] = {}
        self._counts: dict[int, int] = {}
        self._bad: dict[tuple[str, str], list[int]] = {}
        self._inflated = 0
        self._claimed: int | None = None
        self._pending = _Pending()
        self._summary_loaded = False

    def __iter__(self) -> Iterator[FrameBatch]:
        yield from self._walk()
        if self._pending.count:
            yield self._hand_out()
        self._close()

    # ------------------------------------------------------------------------------------------ top level

    def _walk(self) -> Iterator[FrameBatch]:
        at = len(MAGIC)
        loose: list[bytes] = []  # messages outside chunks, gathered into one piece
        loose_at = at
        loose_bytes = 0
        ended = False
        failed_chunk: Problem | None = None
        while at < self._size:
            self._source.seek(at)
            head = self._source.read(_HEAD.size)
            if at + len(MAGIC) == self._size and head[: len(MAGIC)] == MAGIC:
                ended = True
                break
            opcode, length = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, self._size)
            left = self._size - at - _HEAD.size
            # Nine zeros are no record but a tail that was never written.
            if length > left or (opcode == 0 and length == 0):
                if opcode == _CHUNK and left > _CHUNK_HEAD.size:
                    self._cut_chunk(at, self._source.read(left))
                    if self._pending.count >= self._limits.batch_frames:
                        yield self._hand_out()
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
            if failed_chunk is not None and opcode != _MESSAGE_INDEX:
                self._lost(failed_chunk)
                failed_chunk = None
            if opcode == _CHUNK:
                yield from self._flush(loose, loose_at)
                loose_bytes = 0
                failed_chunk = self._chunk(at, self._source.read(length))
                if self._pending.count >= self._limits.batch_frames:
                    yield self._hand_out()
            elif opcode == _MESSAGE_INDEX and failed_chunk is not None:
                entries = max(0, (length - 6) // 16)
                failed_chunk = Problem(
                    failed_chunk.kind,
                    failed_chunk.expected,
                    failed_chunk.actual,
                    failed_chunk.offset,
                    (failed_chunk.frames_lost or 0) + entries,
                    failed_chunk.help,
                )
            elif opcode in (_SCHEMA, _CHANNEL, _MESSAGE) and length <= _MAX_MESSAGE_BYTES:
                if not loose:
                    loose_at = at
                loose.append(head + self._source.read(length))
                loose_bytes += length
                if loose_bytes > 4 * 1024**2:
                    yield from self._flush(loose, loose_at)
                    loose_bytes = 0
            elif opcode == _STATISTICS and length >= 8:
                self._claimed = int.from_bytes(self._source.read(8), "little")
            at += _HEAD.size + length
        if failed_chunk is not None:
            self._lost(failed_chunk)
        yield from self._flush(loose, loose_at)
        if not ended:
            self._problem(
                "truncated",
                "the end mark of MCAP",
                f"end of the file at {self._size}",
                self._size,
                advice="The recorder did not close the file; everything before was read.",
            )

    def _flush(self, loose: list[bytes], at: int) -> Iterator[FrameBatch]:
        if loose:
            self._records(b"".join(loose), at)
            loose.clear()
        if self._pending.count >= self._limits.batch_frames:
            yield self._hand_out()

    def _next_chunk(self, at: int) -> int | None:
        """Offset of the next thing that can only be a chunk, from `at` on."""
        while at < self._size:
            self._source.seek(at)
            block = self._source.read(_SEARCH_BYTES + 64)
            for match in _PLAUSIBLE_CHUNK.finditer(block):
                length = int.from_bytes(block[match.start() + 1 : match.start() + 9], "little")
                start, end, _, _, name = _CHUNK_HEAD.unpack_from(block, match.start() + 9)
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
        while at + _HEAD.size <= len(data):
            opcode, length = _HEAD.unpack_from(data, at)
            content = data[at + _HEAD.size : at + _HEAD.size + length]
            if len(content) < length:
                return
            if opcode == _SCHEMA:
                self._read_schema(content, start + at)
            elif opcode == _CHANNEL:
                self._read_channel(content, start + at)
            elif opcode == _STATISTICS and length >= 8:
                self._claimed = int.from_bytes(content[:8], "little")
            at += _HEAD.size + length

    # ------------------------------------------------------------------------------------------ chunks

    def _chunk(self, at: int, content: bytes) -> Problem | None:
        """Read a chunk; returns what is wrong when it cannot be inflated."""
        if len(content) < _CHUNK_HEAD.size:
            return Problem("bad_record", "a chunk head of 40 bytes", f"{len(content)} bytes", at)
        _, _, size, crc, name_length = _CHUNK_HEAD.unpack_from(content)
        name = content[_CHUNK_HEAD.size : _CHUNK_HEAD.size + name_length]
        body = _CHUNK_HEAD.size + name_length + 8
        if name not in (b"", b"lz4", b"zstd") or body > len(content):
            return Problem("unsupported", "compression none, lz4 or zstd", repr(name[:16]), at)
        compressed = memoryview(content)[body:]
        limits = self._limits
        if size > limits.max_chunk_bytes or size > limits.max_ratio * max(1, len(compressed)):
            return Problem(
                "over_limit",
                f"at most {limits.max_chunk_bytes} bytes and {limits.max_ratio:g} times the compressed size",
                f"{size} bytes from {len(compressed)}",
                at,
                help="Looks like a decompression bomb. If the recording is genuine, record with smaller chunks.",
            )
        if self._inflated + size > limits.max_total_bytes:
            return Problem("over_limit", f"at most {limits.max_total_bytes} bytes inflated", "more", at)
        # The stated size is a claim: a chunk is read as far as the limits allow, whatever it says.
        most = int(min(limits.max_chunk_bytes, limits.max_ratio * max(1, len(compressed))))
        data, wrong = _inflate(name, compressed, most)
        self._inflated += len(data)
        if not wrong and len(data) != size:
            wrong = f"{len(data)} bytes"
        if wrong:
            self._problem(
                "bad_compression",
                f"{size} bytes of {name.decode() or 'plain'} data",
                wrong,
                at,
                advice="The chunk was damaged; its readable start was read.",
            )
        elif crc and zlib.crc32(data) != crc:
            self._problem(
                "bad_checksum",
                f"CRC-32 {crc:08x}",
                f"{zlib.crc32(data):08x}",
                at,
                advice="The chunk was damaged; its frames were read and may hold wrong bytes.",
            )
        if not data and size:
            return Problem("bad_compression", f"{size} bytes", "nothing readable", at)
        self._records(data, at)
        return None

    def _cut_chunk(self, at: int, content: bytes) -> None:
        """Read what is left of a chunk that the end of the file cut off."""
        _, _, size, _, name_length = _CHUNK_HEAD.unpack_from(content)
        name = content[_CHUNK_HEAD.size : _CHUNK_HEAD.size + name_length]
        body = _CHUNK_HEAD.size + name_length + 8
        if name not in (b"", b"lz4", b"zstd") or body >= len(content) or size > self._limits.max_chunk_bytes:
            return
        data, _ = _inflate(name, memoryview(content)[body:], self._limits.max_chunk_bytes)
        self._records(data, at, cut=True)

    # ------------------------------------------------------------------------------------------ records of a piece

    def _records(self, data: bytes, at: int, *, cut: bool = False) -> None:
        """Read the records of an inflated chunk, or of a run of loose records.

        Args:
            data: The records, one after another.
            at: Offset in the file that stands for them in problems.
            cut: The end is missing, which has been reported.
        """
        heads: list[I64] = []
        single: list[int] = []
        at_record, end = 0, len(data)
        buffer = np.frombuffer(data, np.uint8)
        unpack = _HEAD.unpack_from
        while at_record + 9 <= end:
            opcode, length = unpack(data, at_record)
            following = at_record + 9 + length
            if following > end:
                left = end - at_record - 9
                if not cut:
                    self._problem(
                        "bad_length",
                        f"at most {left} bytes",
                        f"{length} bytes",
                        at,
                        advice="The rest of this chunk was taken as one record.",
                    )
                    if opcode == _MESSAGE and left >= _MESSAGE_FIELDS:
                        # Its head is readable, and where it was the last one, its data are whole.
                        data = data[: at_record + 1] + left.to_bytes(8, "little") + data[at_record + 9 :]
                        buffer = np.frombuffer(data, np.uint8)
                        single.append(at_record)
                break
            if opcode == _MESSAGE:
                if length < _MESSAGE_FIELDS:
                    self._problem("bad_record", "a message of at least 22 bytes", f"{length} bytes", at, frames_lost=1)
                else:
                    stride = 9 + length
                    # A run of messages of one size is found by looking at every stride at once.
                    if (
                        following + stride * _MIN_RUN <= end
                        and data[following : following + 9] == data[at_record : at_record + 9]
                    ):
                        if single:
                            heads.append(np.array(single, np.int64))
                            single = []
                        run = _run_length(buffer, at_record, stride)
                        heads.append(at_record + stride * np.arange(run, dtype=np.int64))
                        following = at_record + stride * run
                    else:
                        single.append(at_record)
            elif opcode == _SCHEMA:
                self._read_schema(data[at_record + 9 : following], at)
            elif opcode == _CHANNEL:
                self._read_channel(data[at_record + 9 : following], at)
            at_record = following
        if single:
            heads.append(np.array(single, np.int64))
        if heads:
            self._messages(data, buffer, np.concatenate(heads) if len(heads) > 1 else heads[0], at)

    def _read_schema(self, content: bytes, at: int) -> None:
        try:
            number = int.from_bytes(content[:2], "little")
            size = int.from_bytes(content[2:6], "little")
            self._schemas[number] = content[6 : 6 + size].decode()
        except UnicodeDecodeError:
            self._problem("bad_record", "a schema with a UTF-8 name", content[:24].hex(), at)

    def _read_channel(self, content: bytes, at: int) -> None:
        try:
            number, schema, size = struct.unpack_from("<HHI", content)
            topic = content[8 : 8 + size].decode()
            size2 = int.from_bytes(content[8 + size : 12 + size], "little")
            encoding = content[12 + size : 12 + size + size2].decode()
        except (UnicodeDecodeError, struct.error):
            self._problem("bad_record", "a channel", content[:24].hex(), at)
            return
        name = self._schemas.get(schema, "")
        self._channels[number] = _Channel(topic, name, encoding, _KIND.get(name, "message"))

    def _messages(self, data: bytes, buffer: U8, at_record: I64, at: int) -> None:
        """Turn the messages at these offsets into frames, in file order."""
        heads = rows_at(buffer, at_record, 9 + _MESSAGE_FIELDS)
        sizes = np.ascontiguousarray(heads[:, 1:9]).view("<i8").reshape(-1) - _MESSAGE_FIELDS
        channel_ids = np.ascontiguousarray(heads[:, 9:11]).view("<u2").reshape(-1)
        times = np.ascontiguousarray(heads[:, 15:23]).view("<u8").reshape(-1)
        starts = at_record + 9 + _MESSAGE_FIELDS
        known = self._known(channel_ids)
        if not known.all():
            # Its record may have been in a chunk that was lost.
            self._load_summary()
            known = self._known(channel_ids)
        if not known.all():
            missing = sorted({int(c) for c in channel_ids[~known]})
            self._problem(
                "unknown_channel",
                "a channel record before its messages",
                f"none for channel {', '.join(map(str, missing[:8]))}",
                at,
                advice="The frames are kept as channel `unknown:<id>`, undecoded.",
            )
            for number in missing:
                self._channels[number] = _Channel(f"unknown:{number}", "", "", "message")
        if (times > _MAX_TIME_NS).any():
            self._problem(
                "bad_timestamp", "at most 2^63 - 1 ns", str(int(times.max())), at, advice="The time was capped."
            )
            times = np.minimum(times, np.uint64(_MAX_TIME_NS))
        n = len(at_record)
        columns = _Columns(n)
        payload_starts, payload_sizes = starts.copy(), sizes.copy()
        source, source_offset = [buffer], len(buffer)
        first = self.summary.frames
        topic = np.zeros(n, np.uint32)
        topics: list[str] = []
        for number in np.unique(channel_ids).tolist():
            channel = self._channels[number]
            rows = np.flatnonzero(channel_ids == number)
            topic[rows] = len(topics)
            topics.append(channel.topic)
            self._counts[number] = self._counts.get(number, 0) + len(rows)
            columns.kind[rows] = KINDS.index(channel.kind)
            if channel.kind == "can" and channel.encoding == "cdr":
                can = messages.decode_can(buffer, starts[rows], sizes[rows], channel.schema)
                good = rows[can.ok]
                columns.put_can(good, can)
                payload_starts[good] = source_offset + (np.cumsum(can.lengths) - can.lengths)[can.ok]
                payload_sizes[good] = can.lengths[can.ok]
                source.append(can.data)
                source_offset += len(can.data)
                bad = rows[~can.ok]
                columns.kind[bad] = KINDS.index("message")
                if len(bad):
                    self._count_bad(channel.topic, channel.schema, len(bad), at)
            elif channel.kind in ("log", "diagnostic"):
                bad_count = 0
                for row in rows.tolist():
                    raw = data[starts[row] : starts[row] + sizes[row]]
                    common: dict[str, object] = {
                        "frame": first + row,
                        "timestamp": int(times[row]),
                        "channel": channel.topic,
                    }
                    try:
                        if channel.kind == "log":
                            self._pending.logs.append(
                                common | messages.decode_log(raw, channel.schema, channel.encoding)
                            )
                        else:
                            self._pending.diagnostics.extend(
                                common | status for status in messages.decode_diagnostics(raw, channel.encoding)
                            )
                    except (ValueError, TypeError, OverflowError):
                        bad_count += 1
                        columns.kind[row] = KINDS.index("message")
                if bad_count:
                    self._count_bad(channel.topic, channel.schema, bad_count, at)
        everything = np.concatenate(source) if len(source) > 1 else buffer
        payload = gather(everything, payload_starts, payload_sizes)
        self._pending.frames.append(columns.frame(first, times.astype(np.int64), topic, topics, payload, payload_sizes))
        self._pending.count += n
        summary = self.summary
        summary.frames += n
        low, high = int(times.min()), int(times.max())
        summary.first_timestamp_ns = low if summary.first_timestamp_ns is None else min(low, summary.first_timestamp_ns)
        summary.last_timestamp_ns = high if summary.last_timestamp_ns is None else max(high, summary.last_timestamp_ns)

    def _known(self, channel_ids: np.ndarray) -> np.ndarray:
        return np.isin(channel_ids, np.fromiter(self._channels, np.uint16, len(self._channels)))

    # ------------------------------------------------------------------------------------------ handing out

    def _hand_out(self) -> FrameBatch:
        pending, self._pending = self._pending, _Pending()
        return FrameBatch(
            frames=pl.concat(pending.frames, rechunk=True),
            logs=_rows(pending.logs, LOGS.schema),
            diagnostics=_rows(pending.diagnostics, DIAGNOSTICS.schema),
        )

    def _count_bad(self, topic: str, schema: str, count: int, at: int) -> None:
        seen = self._bad.setdefault((topic, schema), [0, at])
        seen[0] += count

    def _problem(
        self, kind: str, expected: str, actual: str, at: int, *, frames_lost: int | None = None, advice: str = ""
    ) -> None:
        self.summary.problems.append(Problem(kind, expected, actual, at, frames_lost, advice))

    def _lost(self, problem: Problem) -> None:
        self.summary.problems.append(problem)
        self.summary.frames_lost += problem.frames_lost or 0

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
            missing = self._claimed - counted
            self._problem(
                "bad_record",
                f"{self._claimed} messages, as the file's statistics say",
                f"{summary.frames} read, {summary.frames_lost} known to be lost",
                self._size,
                frames_lost=missing,
                advice="The difference was lost in the damage reported above.",
            )
            summary.frames_lost += missing
        per_topic: dict[str, ChannelSummary] = {}
        for number, channel in self._channels.items():
            before = per_topic.get(channel.topic)
            count = self._counts.get(number, 0) + (before.frames if before else 0)
            per_topic[channel.topic] = ChannelSummary(channel.topic, channel.kind, count, channel.schema)
        summary.channels = sorted(per_topic.values(), key=lambda c: c.channel)


class _Columns:
    """The CAN columns of one piece; rows that are no CAN frames stay null."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.kind = np.zeros(n, np.uint8)
        self.is_can = np.zeros(n, np.bool_)
        self.arbitration_id = np.zeros(n, np.uint32)
        self.flags = {
            name: np.zeros(n, np.bool_) for name in ("is_extended_id", "is_fd", "is_remote_frame", "is_error_frame")
        }
        self.dlc = np.zeros(n, np.uint8)

    def put_can(self, rows: I64, can: messages.CanArrays) -> None:
        self.is_can[rows] = True
        self.arbitration_id[rows] = can.arbitration_id[can.ok]
        self.flags["is_extended_id"][rows] = can.is_extended_id[can.ok]
        self.flags["is_remote_frame"][rows] = can.is_remote_frame[can.ok]
        self.flags["is_error_frame"][rows] = can.is_error_frame[can.ok]
        self.flags["is_fd"][rows] = can.is_fd
        self.dlc[rows] = can.dlc[can.ok]

    def frame(  # noqa: PLR0917 - one table out of its columns
        self, first: int, times: I64, topic: np.ndarray, topics: list[str], payload: U8, sizes: I64
    ) -> pl.DataFrame:
        absent = None if self.is_can.all() else ~self.is_can
        offsets = np.zeros(self.n + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        binary = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), self.n, [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(payload))]
        )
        channel = pa.DictionaryArray.from_arrays(pa.array(topic), pa.array(topics, pa.large_string()))
        table = pa.table(
            {
                "frame": pa.array(np.arange(first, first + self.n, dtype=np.uint64)),
                "timestamp": pa.array(times).cast(pa.timestamp("ns", "UTC")),
                "channel": channel,
                "arbitration_id": pa.array(self.arbitration_id, mask=absent),
                **{name: pa.array(values, mask=absent) for name, values in self.flags.items()},
                "is_rx": pa.nulls(self.n, pa.bool_()),
                "dlc": pa.array(self.dlc, mask=absent),
                "payload": binary,
            }
        )
        frame = pl.DataFrame(table)
        kind = pl.Series("kind", KINDS, dtype=FRAMES.schema["kind"]).gather(self.kind)
        return frame.with_columns(kind, pl.col("channel").cast(pl.Categorical())).select(FRAMES.schema.names())


def _rows(rows: list[dict[str, object]], schema: pl.Schema) -> pl.DataFrame:
    plain = {
        name: pl.Int64() if name == "timestamp" else pl.String() if name == "channel" else dtype
        for name, dtype in schema.items()
    }
    return pl.DataFrame(rows, schema=plain).cast({"timestamp": schema["timestamp"], "channel": schema["channel"]})  # type: ignore[arg-type]


def _run_length(buffer: U8, at: int, stride: int) -> int:
    """How many records in a row, `stride` bytes apart from `at` on, have the same opcode and length.

    The first record and its successor are known to; the walk proves the chain, so no other chain can hide in it.
    """
    n = (len(buffer) - at) // stride
    heads = np.lib.stride_tricks.as_strided(buffer[at:], (n, 9), (stride, 1), writeable=False)
    block = 256
    for start in range(0, n, block):
        same = (heads[start : start + block] == heads[0]).all(axis=1)
        if not same.all():
            return start + int(np.argmin(same))
        block = 65_536
    return n


def _inflate(name: bytes, data: memoryview, most: int) -> tuple[bytes, str]:
    """Inflate a chunk to at most `most` bytes; returns what came out and what was wrong, empty for nothing."""
    if name == b"":
        return bytes(data[:most]), ""
    out = bytearray()
    # Step by step: what came before the damage stays, and never much more than `most` is made.
    try:
        if name == b"zstd":
            reader = zstandard.ZstdDecompressor().stream_reader(data)
            while len(out) < most and (piece := reader.read(min(_INFLATE_STEP, most - len(out)))):
                out += piece
        else:
            stream = lz4.frame.LZ4FrameDecompressor()
            piece = stream.decompress(data, max_length=min(_INFLATE_STEP, most))
            while piece:
                out += piece
                if stream.eof or len(out) >= most:
                    break
                piece = stream.decompress(b"", max_length=min(_INFLATE_STEP, most - len(out)))
    except (zstandard.ZstdError, RuntimeError, EOFError) as error:
        return bytes(out), f"{len(out)} bytes, then: {error}"
    return bytes(out), ""
