"""MCAP (mcap.dev/spec) written from arrays: millions of messages in seconds, readable by every MCAP reader.

The official writer takes messages one by one. This one takes them as columns and lays out whole chunks at once.
"""

import struct
import zlib
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO, Final, Literal, Self

import lz4.frame
import numpy as np
import numpy.typing as npt
import zstandard

MAGIC: Final = b"\x89MCAP0\r\n"
Compression = Literal["", "lz4", "zstd"]

_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _CHUNK, _MESSAGE_INDEX, _CHUNK_INDEX = 0x01, 0x02, 0x03, 0x04, 0x06, 0x07, 0x08
_STATISTICS, _SUMMARY_OFFSET, _DATA_END = 0x0B, 0x0E, 0x0F

_MESSAGE_HEAD: Final = np.dtype(
    [("opcode", "u1"), ("length", "<u8"), ("channel", "<u2"), ("sequence", "<u4"), ("log", "<u8"), ("publish", "<u8")]
)
_INDEX_ENTRY: Final = np.dtype([("log", "<u8"), ("offset", "<u8")])


@dataclass(slots=True)
class _Statistics:
    channels: dict[int, int] = field(default_factory=dict)
    chunks: int = 0
    first: int | None = None
    last: int = 0


class McapBatchWriter:
    """Writes one MCAP file; a context manager that closes the file's structure, not the file object.

    Args:
        file: Where the bytes go, from its current position, which must be its start.
        compression: Of the chunks.
        chunk_bytes: Bytes of records after which a chunk ends.
        index: Whether each chunk is followed by its message index.
        profile: The file's profile, such as `ros2`.
        library: Who wrote it.
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        compression: Compression = "zstd",
        chunk_bytes: int = 1024 * 1024,
        index: bool = True,
        profile: str = "",
        library: str = "argus",
    ) -> None:
        self._file = file
        self._compression: Compression = compression
        self._zstd = zstandard.ZstdCompressor(level=1)
        self._chunk_bytes = chunk_bytes
        self._index = index
        self._at = 0
        self._schemas: list[bytes] = []
        self._channels: list[bytes] = []
        self._unwritten: list[bytes] = []
        self._chunk_indexes: list[bytes] = []
        self._statistics = _Statistics()
        self._put(MAGIC)
        self._put(_record(_HEADER, _text(profile) + _text(library)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    def add_schema(self, name: str, encoding: str, definition: bytes) -> int:
        """Add a schema; return its id, from 1."""
        number = len(self._schemas) + 1
        content = struct.pack("<H", number) + _text(name) + _text(encoding) + _sized(definition)
        self._schemas.append(_record(_SCHEMA, content))
        self._unwritten.append(self._schemas[-1])
        return number

    def add_channel(self, topic: str, message_encoding: str, schema: int) -> int:
        """Add a channel of a schema (0 for none); return its id, from 0."""
        number = len(self._channels)
        content = struct.pack("<HH", number, schema) + _text(topic) + _text(message_encoding) + _sized(b"")
        self._channels.append(_record(_CHANNEL, content))
        self._unwritten.append(self._channels[-1])
        return number

    def write(
        self,
        channels: npt.NDArray[np.integer],
        times_ns: npt.NDArray[np.integer],
        payload: npt.NDArray[np.uint8],
        lengths: npt.NDArray[np.integer],
        *,
        sequences: npt.NDArray[np.integer] | None = None,
    ) -> None:
        """Write messages in the given order; the last chunk ends with them.

        Args:
            channels: Channel id of each message, shape (n,).
            times_ns: Log and publish time of each, nanoseconds, shape (n,).
            payload: The messages' bytes, one after another, shape (sum of lengths,).
            lengths: Bytes of each, shape (n,).
            sequences: Sequence number of each, shape (n,); 0 when not given.

        Raises:
            ValueError: The arrays do not fit each other, or a channel was not added.
        """
        n = len(channels)
        if not (len(times_ns) == len(lengths) == n) or int(np.sum(lengths)) != len(payload):
            raise ValueError(
                f"{n} channels, {len(times_ns)} times, {len(lengths)} lengths of {int(np.sum(lengths))} bytes "
                f"and {len(payload)} bytes of payload do not fit each other"
            )
        if n and not 0 <= int(channels.min()) <= int(channels.max()) < len(self._channels):
            raise ValueError(f"channel ids from {channels.min()} to {channels.max()}, {len(self._channels)} were added")
        heads = np.zeros(n, _MESSAGE_HEAD)
        heads["opcode"] = 0x05
        heads["length"] = lengths + 22
        heads["channel"] = channels
        heads["sequence"] = 0 if sequences is None else sequences
        heads["log"] = heads["publish"] = times_ns
        ends = np.cumsum(lengths.astype(np.int64) + _MESSAGE_HEAD.itemsize)
        payload_ends = np.cumsum(lengths, dtype=np.int64)
        start = 0
        while start < n:
            before = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + self._chunk_bytes)))
            first = int(payload_ends[start - 1]) if start else 0
            last = int(payload_ends[stop - 1])
            self._chunk(heads[start:stop], payload[first:last], ends[start:stop] - before)
            start = stop

    def _chunk(self, heads: np.ndarray, payload: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> None:
        prefix = b"".join(self._unwritten)
        self._unwritten.clear()
        size = _MESSAGE_HEAD.itemsize
        starts = np.concatenate([[0], ends[:-1]])
        body = np.empty(int(ends[-1]), np.uint8)
        is_head = np.zeros(len(body) + 1, np.int8)
        is_head[starts] += 1
        is_head[starts + size] -= 1
        mask = np.cumsum(is_head[:-1], dtype=np.int8).view(np.bool_)
        body[mask] = heads.view(np.uint8)
        body[~mask] = payload
        records = prefix + body.tobytes()
        packed = self._pack(records)
        low, high = int(heads["log"].min()), int(heads["log"].max())
        chunk_at = self._at
        content = (
            struct.pack("<QQQI", low, high, len(records), zlib.crc32(records))
            + _text(self._compression)
            + struct.pack("<Q", len(packed))
        )
        self._put(struct.pack("<BQ", _CHUNK, len(content) + len(packed)) + content + packed)
        chunk_length = self._at - chunk_at
        offsets = self._message_index(heads, starts + len(prefix)) if self._index else {}
        index_length = self._at - chunk_at - chunk_length
        places = b"".join(struct.pack("<HQ", channel, at) for channel, at in offsets.items())
        self._chunk_indexes.append(
            _record(
                _CHUNK_INDEX,
                struct.pack("<QQQQ", low, high, chunk_at, chunk_length)
                + _sized(places)
                + struct.pack("<Q", index_length)
                + _text(self._compression)
                + struct.pack("<QQ", len(packed), len(records)),
            )
        )
        totals = self._statistics
        for channel, count in zip(*np.unique(heads["channel"], return_counts=True), strict=True):
            totals.channels[int(channel)] = totals.channels.get(int(channel), 0) + int(count)
        totals.chunks += 1
        totals.first = low if totals.first is None else min(totals.first, low)
        totals.last = max(totals.last, high)

    def _message_index(self, heads: np.ndarray, offsets: npt.NDArray[np.int64]) -> dict[int, int]:
        """Write the index of a chunk; return the offset of each channel's index."""
        order = np.argsort(heads["channel"], kind="stable")
        channels, counts = np.unique(heads["channel"], return_counts=True)
        entries = np.empty(len(heads), _INDEX_ENTRY)
        entries["log"] = heads["log"][order]
        entries["offset"] = offsets[order]
        places: dict[int, int] = {}
        for channel, rows in zip(channels.tolist(), np.split(entries, np.cumsum(counts)[:-1]), strict=True):
            places[channel] = self._at
            self._put(_record(_MESSAGE_INDEX, struct.pack("<H", channel) + _sized(rows.tobytes())))
        return places

    def _pack(self, data: bytes) -> bytes:
        if self._compression == "zstd":
            return self._zstd.compress(data)
        return lz4.frame.compress(data) if self._compression == "lz4" else data

    def close(self) -> None:
        """Write what was added but not used, the summary and the footer."""
        for record in self._unwritten:
            self._put(record)
        self._unwritten.clear()
        self._put(_record(_DATA_END, struct.pack("<I", 0)))
        totals = self._statistics
        counts = b"".join(struct.pack("<HQ", channel, count) for channel, count in sorted(totals.channels.items()))
        statistics = _record(
            _STATISTICS,
            struct.pack(
                "<QHIIIIQQ",
                sum(totals.channels.values()),
                len(self._schemas),
                len(self._channels),
                0,
                0,
                totals.chunks,
                totals.first or 0,
                totals.last,
            )
            + _sized(counts),
        )
        groups = [
            (_SCHEMA, self._schemas),
            (_CHANNEL, self._channels),
            (_CHUNK_INDEX, self._chunk_indexes),
            (_STATISTICS, [statistics]),
        ]
        summary_at = self._at
        summary = b"".join(record for _, records in groups for record in records)
        offsets = b""
        at = summary_at
        for opcode, records in groups:
            length = sum(map(len, records))
            if length:
                offsets += _record(_SUMMARY_OFFSET, struct.pack("<BQQ", opcode, at, length))
            at += length
        # The checksum covers the summary up to and with the footer's own first fields.
        footer = struct.pack("<BQQQ", _FOOTER, 20, summary_at, summary_at + len(summary))
        checksum = zlib.crc32(summary + offsets + footer)
        self._put(summary + offsets + footer + struct.pack("<I", checksum) + MAGIC)

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._at += len(data)


def _record(opcode: int, content: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(content)) + content


def _sized(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def _text(text: str) -> bytes:
    return _sized(text.encode())
