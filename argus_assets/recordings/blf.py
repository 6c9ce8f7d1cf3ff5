"""BLF, Vector's binary logging format: objects in zlib containers, decoded as arrays.

The layout is that of Vector's public `binlog_objects.h`. Objects straddle containers, so the inflated containers are
one stream. A damaged container costs its own objects, and those that straddle into it; reading goes on behind it.
"""

import struct
import zlib
from collections.abc import Generator, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import deflate
import numpy as np
import polars as pl

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.can_errors import ERROR_BYTES, of_vector
from argus_assets.recordings.chain import Chain
from argus_assets.recordings.columns import (
    FD_LENGTHS,
    I64,
    PADDING,
    U8,
    Flags,
    FrameArrays,
    empty_arrays,
    rows_at,
)
from argus_assets.recordings.model import (
    ChannelSummary,
    FrameBatch,
    Limits,
    Problem,
    Reader,
    RecordingSummary,
    Source,
)
from argus_assets.recordings.pipeline import staged
from argus_assets.recordings.schema import DIAGNOSTICS, KINDS, LOGS

MAGIC: Final = b"LOGG"

_FILE_HEAD: Final = struct.Struct("<4sIBBBBBBBBQQII8H8H")
_LEAST_FILE_HEAD: Final = _FILE_HEAD.size
_BASE: Final = struct.Struct("<4sHHII")
_CONTAINER: Final = struct.Struct("<H6xI4x")
_LOG_CONTAINER: Final = 10
_NO_COMPRESSION, _ZLIB = 0, 2
_OBJECT_HEAD: Final = np.dtype(
    [
        ("signature", "<u4"), ("header_size", "<u2"), ("header_version", "<u2"), ("size", "<u4"), ("type", "<u4"),
        ("flags", "<u4"), ("client", "<u2"), ("version", "<u2"), ("timestamp", "<u8"),
    ]
)  # fmt: skip
_SIGNATURE: Final = 0x4A424F4C  # "LOBJ"
_TEN_MICROSECONDS: Final = 1
_HEADER_BYTES: Final = {1: 32, 2: 40}
_END_OF_LOG: Final = 115
_MAX_OBJECT_BYTES: Final = 16 * 1024**2
_MAX_NESTING: Final = 4
_GROUP_BYTES: Final = 8 * 1024**2
_SEARCH_BYTES: Final = 4 * 1024**2
_PADDING_SEARCH: Final = 8

_EXTENDED: Final = 0x80000000
_ID_MASK: Final = 0x1FFFFFFF

_CAN_MESSAGE: Final = np.dtype([("channel", "<u2"), ("flags", "u1"), ("dlc", "u1"), ("id", "<u4")])
_CAN_ERROR_EXT: Final = np.dtype(
    [
        ("channel", "<u2"), ("length", "<u2"), ("flags", "<u4"), ("ecc", "u1"), ("position", "u1"), ("dlc", "u1"),
        ("_", "u1"), ("frame_length", "<u4"), ("id", "<u4"),
    ]
)  # fmt: skip
_SOCKETCAN_BYTES: Final = _CAN_ERROR_EXT.itemsize + 4 + ERROR_BYTES
"""An object of `_CAN_ERROR_EXT` with data bytes behind it."""
_CAN_FD: Final = np.dtype(
    [
        ("channel", "<u2"), ("flags", "u1"), ("dlc", "u1"), ("id", "<u4"), ("frame_length", "<u4"),
        ("bit_count", "u1"), ("fd_flags", "u1"), ("valid", "u1"), ("_", "u1", 5),
    ]
)  # fmt: skip
_CAN_FD_64: Final = np.dtype(
    [
        ("channel", "u1"), ("dlc", "u1"), ("valid", "u1"), ("tx_count", "u1"), ("id", "<u4"), ("frame_length", "<u4"),
        ("flags", "<u4"), ("arbitration", "<u4"), ("data", "<u4"), ("brs", "<u4"), ("crc_delimiter", "<u4"),
        ("bit_count", "<u2"), ("dir", "u1"), ("ext_offset", "u1"), ("crc", "<u4"),
    ]
)  # fmt: skip
_CAN_FD_ERROR_64: Final = np.dtype(
    [
        ("channel", "u1"), ("dlc", "u1"), ("valid", "u1"), ("ecc", "u1"), ("flags", "<u2"), ("code", "<u2"),
        ("ext_flags", "<u2"), ("ext_offset", "u1"), ("_", "u1"), ("id", "<u4"), ("rest", "u1", 28),
    ]
)  # fmt: skip
_LIN_MESSAGE: Final = np.dtype([("channel", "<u2"), ("id", "u1"), ("dlc", "u1"), ("data", "u1", 8), ("state", "u1", 4), ("crc", "<u2"), ("dir", "u1")])  # fmt: skip
_LIN_MESSAGE_2: Final = np.dtype([("sof", "<u8"), ("baudrate", "<u4"), ("channel", "<u2"), ("_", "u1", 23), ("id", "u1"), ("dlc", "u1"), ("model", "u1"), ("times", "u1", 72), ("data", "u1", 8), ("crc", "<u2"), ("dir", "u1")])  # fmt: skip

_FRAME_TYPES: Final = {1, 2, 11, 57, 73, 86, 100, 101, 104}
_OTHER_TRAFFIC: Final = {
    22: "MOST", 23: "MOST", 29: "FlexRay", 40: "FlexRay", 41: "FlexRay", 50: "FlexRay", 71: "Ethernet", 120: "Ethernet",
    121: "Ethernet", 93: "WLAN",
}  # fmt: skip
"""Frames of buses that are not read, by object type."""

_MAX_TIME_NS: Final = 2**62
_LAST_TYPE: Final = 255
"""Object types are small numbers (150 in 2024); what is far beyond was damaged."""


class BlfDecoder:
    """BLF as CANoe, CANalyzer and Vector's loggers write it."""

    name = "blf"
    version = 5
    seeks = False

    def matches(self, head: bytes) -> bool:
        """Whether the file starts with the header of a log."""
        return head.startswith(MAGIC)

    def open(self, source: Source, budget: Budget) -> Reader:
        """A reader over `source`."""
        return BlfReader(source, budget, decoder=f"{self.name}/{self.version}")


@dataclass(slots=True)
class _Container:
    """A container of the file: its place, method, stated size and content; `broken` ends the stream before it."""

    at: int
    method: int
    size: int
    content: bytes
    broken: bool = False


@dataclass(slots=True)
class _Inflated:
    at: int
    data: bytes
    problem: Problem | None = None
    broken: bool = False


@dataclass(slots=True)
class _Decoded:
    frames: pl.DataFrame
    channels: dict[tuple[str, str], int]
    first_ns: int
    last_ns: int
    disagreeing: int
    bad_times: int
    at: int


@dataclass(slots=True)
class _Stream:
    """The inflated objects that were not complete yet.

    Attributes:
        rest: Bytes of them.
        resync: The start of the next object has to be searched.
    """

    rest: bytes = b""
    resync: bool = True
    skipped: int = 0
    unread: dict[str, int] = field(default_factory=dict)


class BlfReader:
    """One pass over one BLF file; see `model.Reader`."""

    def __init__(self, source: Source, budget: Budget, *, decoder: str) -> None:
        self._source = source
        self._budget = budget
        self._limits = budget.limits
        self._size = source.seek(0, 2)
        self.summary = RecordingSummary("blf", decoder, self._size)
        self._channels: dict[tuple[str, str], int] = {}
        self._stream = _Stream()
        self._numbered = 0
        self._objects = 0
        self._inflated = 0
        self._disagreeing: tuple[int, int] | None = None
        self._bad_times: tuple[int, int] | None = None
        self._start_ns = 0
        self._claimed = 0

    def __iter__(self) -> Iterator[FrameBatch]:
        ready: list[_Decoded] = []
        waiting = 0
        groups = staged(self._groups(), self._inflate_group, self._decode, workers=self._limits.workers)
        for decoded in groups:
            self._count(decoded)
            ready.append(decoded)
            waiting += decoded.frames.height
            if waiting >= self._limits.batch_frames:
                yield _batch(ready)
                ready, waiting = [], 0
        if ready:
            yield _batch(ready)
        self._close()

    # ------------------------------------------------------------------------------------------ the file

    def _groups(self) -> Generator[list[_Container]]:
        group: list[_Container] = []
        size = 0
        for container in self._top_level():
            if self._inflated + container.size > self._limits.max_total_bytes:
                self._problem(
                    "over_limit", f"at most {self._limits.max_total_bytes} bytes inflated", "more", container.at,
                    "The rest of the recording was not read.",
                )  # fmt: skip
                break
            self._inflated += container.size
            group.append(container)
            size += container.size
            if size >= _GROUP_BYTES:
                yield group
                group, size = [], 0
        if group:
            yield group

    def _top_level(self) -> Generator[_Container]:
        """Containers in file order, and runs of objects that stand outside of them."""
        at = self._read_head()
        has_containers = False
        while at < self._size:
            self._source.seek(at)
            head = self._source.read(_BASE.size + _CONTAINER.size)
            if len(head) < _BASE.size or not any(head):
                self._cut(at, _BASE.size, len(head))
                return
            signature, header_size, _, size, kind = _BASE.unpack_from(head)
            left = self._size - at
            following: int | None = None
            is_container = signature == b"LOBJ" and kind == _LOG_CONTAINER
            too_small = is_container and header_size == _BASE.size and size < _BASE.size + _CONTAINER.size
            if is_container and (size > left or too_small):
                following = self._search(at + 1)
            if following is None and too_small:
                self._problem(
                    "bad_length", f"{left} bytes to the end of the file", f"{size} bytes of a container", at,
                    "What stands there was taken for its content.",
                )  # fmt: skip
                size = left
            if following is not None:
                self._problem(
                    "bad_length",
                    f"at most {left} bytes",
                    f"{size} bytes of a container",
                    at,
                    "What stands before the next container was taken for its content.",
                )
                size = left = following - at - (following - at) % 4
            if signature != b"LOBJ" or size < _BASE.size:
                following = self._search(at + 1)
                self._problem(
                    "bad_record", "an object that starts with LOBJ", head[:4].hex(" "), at,
                    "Skipped to the next object." if following else "Nothing that can be read follows.",
                )  # fmt: skip
                yield _Container(at, _NO_COMPRESSION, 0, b"", broken=True)
                if following is None:
                    return
                at = following
                continue
            if signature == b"LOBJ" and kind != _LOG_CONTAINER and header_size == _BASE.size:
                self._problem(
                    "bad_record", f"type {_LOG_CONTAINER}, as only containers have a header of {_BASE.size} bytes",
                    f"type {kind}", at, "It was taken for a container.",
                )  # fmt: skip
                kind = _LOG_CONTAINER
            if has_containers and kind not in {_LOG_CONTAINER, _END_OF_LOG, *_FRAME_TYPES}:
                self._problem(
                    "bad_record", f"a container (type {_LOG_CONTAINER}), as before", f"an object of type {kind}", at,
                    "It was taken for what it says it is.",
                )  # fmt: skip
            if kind == _LOG_CONTAINER and len(head) == _BASE.size + _CONTAINER.size:
                has_containers = True
                method, stated = _CONTAINER.unpack_from(head, header_size if header_size == _BASE.size else _BASE.size)
                length = min(size, left) - len(head)
                self._source.seek(at + len(head))
                if length > self._limits.max_chunk_bytes:
                    self._over_limit(at, size)
                    yield _Container(at, _NO_COMPRESSION, 0, b"", broken=True)
                else:
                    yield _Container(at, method, min(stated, self._limits.max_chunk_bytes), self._source.read(length))
            elif size > _MAX_OBJECT_BYTES:
                self._over_limit(at, size)
                yield _Container(at, _NO_COMPRESSION, 0, b"", broken=True)
            else:
                self._source.seek(at)
                content = self._source.read(min(size + size % 4, left))
                yield _Container(at, _NO_COMPRESSION, len(content), content)
            if size > left:
                self._cut(at, size, left)
                return
            at = following or at + size + size % 4

    def _read_head(self) -> int:
        """Read the file's header; returns where the objects start."""
        self._source.seek(0)
        raw = self._source.read(_FILE_HEAD.size)
        if len(raw) < _FILE_HEAD.size:
            self._cut(0, _FILE_HEAD.size, len(raw))
            return self._size
        values = _FILE_HEAD.unpack(raw)
        self._claimed = values[12]
        self._start_ns = _systemtime_ns(values[14:22])
        if any(values[14:22]) and self._start_ns == 0:
            self._problem(
                "bad_timestamp", "a date as start of the measurement", str(values[14:22]), 40,
                "Times count from 1970-01-01.",
            )  # fmt: skip
        head_size = values[1]
        if not _LEAST_FILE_HEAD <= head_size <= 64 * 1024:
            self._problem("bad_length", "a header of 144 bytes", f"{head_size}", 4, "144 was taken.")
            return 144
        if head_size > self._size:
            self._cut(0, head_size, self._size)
        return head_size

    def _cut(self, at: int, expected: int, found: int) -> None:
        self._problem(
            "truncated", f"{expected} bytes of an object", f"{found} bytes to the end of the file", at,
            "The recording was cut off; what could be read was read.",
        )  # fmt: skip

    def _over_limit(self, at: int, size: int) -> None:
        self._problem(
            "over_limit", f"at most {self._limits.max_chunk_bytes} bytes", f"an object of {size}", at,
            "It was not read.",
        )  # fmt: skip

    def _search(self, at: int) -> int | None:
        """Offset of the next container from `at` on."""
        while at < self._size:
            self._source.seek(at)
            block = self._source.read(_SEARCH_BYTES + _BASE.size)
            place = block.find(b"LOBJ")
            while place != -1 and place + _BASE.size <= len(block):
                _, header_size, version, size, kind = _BASE.unpack_from(block, place)
                if kind == _LOG_CONTAINER and header_size == _BASE.size and version <= 2 and size > _BASE.size:
                    return at + place
                place = block.find(b"LOBJ", place + 1)
            if len(block) < _SEARCH_BYTES:
                return None
            at += _SEARCH_BYTES
        return None

    # ------------------------------------------------------------------------------------------ the stream

    def _inflate_group(self, group: list[_Container]) -> list[_Inflated]:
        return [_inflate(container, self._limits) for container in group]

    def _decode(self, pool: Executor, pieces: list[_Inflated]) -> "list[Future[_Decoded]]":
        """Find the objects of inflated containers, and have them decoded."""
        started: list[Future[_Decoded]] = []
        run: list[_Inflated] = []
        for piece in pieces:
            if piece.problem is not None:
                self.summary.problems.append(piece.problem)
            if piece.broken and not piece.data:
                started += self._locate(pool, run)
                self._break()
                run = []
                continue
            run.append(piece)
            if piece.broken:
                started += self._locate(pool, run)
                self._break()
                run = []
        return started + self._locate(pool, run)

    def _break(self) -> None:
        """The stream cannot go on: what was not complete is lost."""
        self._stream.rest = b""
        self._stream.resync = True

    def _locate(self, pool: Executor, run: list[_Inflated], depth: int = 0) -> "list[Future[_Decoded]]":
        if not run:
            return []
        stream = self._stream
        data = b"".join([stream.rest, *(piece.data for piece in run)])
        at_file = run[0].at
        buffer = np.frombuffer(data, np.uint8)
        chain = _objects(buffer)
        found: list[I64] = []
        nested: list[_Inflated] = []
        at = 0
        skipped = 0
        while at + _BASE.size <= len(data):
            whole = chain.run(at)
            if whole is not None:
                found.append(whole[0])
                at = whole[1]
                continue
            if data[at : at + 4] != b"LOBJ" and (place := data.find(b"LOBJ", at, at + _PADDING_SEARCH + 3)) != -1:
                at = place  # behind padding
                continue
            signature, _, _, size, kind = _BASE.unpack_from(data, at)
            if signature == b"LOBJ" and _BASE.size <= size <= _MAX_OBJECT_BYTES and at + size > len(data):
                break  # the rest is in the next container
            if signature == b"LOBJ" and kind == _LOG_CONTAINER and _BASE.size + _CONTAINER.size <= size:
                nested.append(self._nested(data, at, size, at_file))
                at += size
                continue
            if signature == b"LOBJ" and _BASE.size <= size < _OBJECT_HEAD.itemsize:
                at += size
                continue
            following = chain.next_place(at + 1)
            if following is None:
                if not stream.resync:
                    skipped += len(data) - at
                at = len(data) if len(data) - at > _MAX_OBJECT_BYTES else at
                break
            if following - at > _PADDING_SEARCH and not stream.resync:
                skipped += following - at
            at = following
            stream.resync = False
        stream.rest = data[at:]
        stream.resync = stream.resync and not found
        if skipped:
            self._problem(
                "bad_record", "objects that follow each other", f"{skipped} bytes that are none", at_file,
                "They were skipped.",
            )  # fmt: skip
        started: list[Future[_Decoded]] = []
        if found:
            places = np.concatenate(found)
            heads = rows_at(buffer, places, _OBJECT_HEAD.itemsize).view(_OBJECT_HEAD).reshape(-1)
            self._objects += int((heads["type"] != _END_OF_LOG).sum())  # as the header counts them: no containers
            types, counts = np.unique(heads["type"], return_counts=True)
            for kind, count in zip(types.tolist(), counts.tolist(), strict=True):
                if kind in _OTHER_TRAFFIC or not 0 < kind <= _LAST_TYPE:
                    name = _OTHER_TRAFFIC.get(kind, "unknown types")
                    stream.unread[name] = stream.unread.get(name, 0) + count
            frames = np.isin(heads["type"], list(_FRAME_TYPES))
            count = int(frames.sum())
            if count:
                first = self._numbered
                self._numbered += count
                arguments = (data, places[frames], heads[frames], self._start_ns, first, at_file)
                started.append(pool.submit(_decode_objects, *arguments))
        if nested and depth < _MAX_NESTING:
            outer, self._stream = stream, _Stream(unread=stream.unread)
            for inner in nested:
                if inner.problem is not None:
                    self.summary.problems.append(inner.problem)
                started += self._locate(pool, [inner], depth + 1)
            self._stream = outer
        return started

    def _nested(self, data: bytes, at: int, size: int, at_file: int) -> _Inflated:
        method, stated = _CONTAINER.unpack_from(data, at + _BASE.size)
        content = data[at + _BASE.size + _CONTAINER.size : at + size]
        limit = self._limits.max_chunk_bytes
        self._inflated += min(stated, limit)
        return _inflate(_Container(at_file, method, min(stated, limit), content), self._limits)

    # ------------------------------------------------------------------------------------------ results

    def _count(self, decoded: _Decoded) -> None:
        summary = self.summary
        summary.frames += decoded.frames.height
        summary.cover(decoded.first_ns, decoded.last_ns)
        for key, count in decoded.channels.items():
            self._channels[key] = self._channels.get(key, 0) + count
        if decoded.bad_times:
            before, at = self._bad_times or (0, decoded.at)
            self._bad_times = (before + decoded.bad_times, at)
        if decoded.disagreeing:
            before, at = self._disagreeing or (0, decoded.at)
            self._disagreeing = (before + decoded.disagreeing, at)

    def _problem(  # noqa: PLR0917 - the fields of a problem, in its order
        self, kind: str, expected: str, actual: str, at: int, advice: str = "", lost: int | None = None
    ) -> None:
        self.summary.problems.append(Problem(kind, expected, actual, at, lost, advice))
        self.summary.frames_lost += lost or 0

    def _close(self) -> None:
        if len(self._stream.rest) >= _BASE.size and not self._stream.resync:
            self._problem(
                "truncated", "the rest of an object", f"{len(self._stream.rest)} bytes of it", self._size,
                "The recording ends inside an object, which is lost.", 1,
            )  # fmt: skip
        if self._disagreeing is not None:
            count, at = self._disagreeing
            self._problem(
                "bad_length", "as many data bytes as the DLC says", f"{count} frames with another number", at,
                "The bytes that are there were kept.", 0,
            )  # fmt: skip
        if self._bad_times is not None:
            count, at = self._bad_times
            self._problem(
                "bad_timestamp", "times of objects", f"{count} that are none", at,
                "These frames have the time at which the recording starts.", 0,
            )  # fmt: skip
        for name, count in sorted(self._stream.unread.items()):
            self._problem("unsupported", "CAN and LIN", f"{count} objects of {name}", 0, "They are not read.", 0)
        missing = self._claimed - self._objects - self.summary.frames_lost
        if missing > 0:
            self._problem(
                "bad_record", f"{self._claimed} objects, as the file's header says", f"{self._objects} read", 0,
                "The difference was lost in the damage reported above.", missing,
            )  # fmt: skip
        self.summary.problems.sort(key=lambda p: p.offset or 0)
        self.summary.channels = [ChannelSummary(name, kind, n) for (name, kind), n in sorted(self._channels.items())]


def _systemtime_ns(values: tuple[int, ...]) -> int:
    """Windows SYSTEMTIME as nanoseconds since 1970; it has no zone and is taken for UTC. 0 for no date."""
    year, month, _, day, hour, minute, second, millisecond = values
    try:
        start = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return 0
    ns = int(start.timestamp()) * 10**9 + millisecond * 10**6
    return ns if abs(ns) < _MAX_TIME_NS else 0


def _inflate(container: _Container, limits: Limits) -> _Inflated:
    """Inflate a container; what comes out before damage is kept."""
    content, size = container.content, container.size
    if container.broken:
        return _Inflated(container.at, b"", broken=True)

    def problem(kind: str, expected: str, actual: str, advice: str) -> Problem:
        return Problem(kind, expected, actual, container.at, None, advice)

    is_plain = container.method == _NO_COMPRESSION
    if container.method != _ZLIB:
        if (not is_plain or len(content) != size) and (meant := _inflated_exactly(content, size, limits)) is not None:
            advice = "The content is zlib data, whole and of the stated size, and was read as that."
            lie = problem("bad_record", f"compression {_ZLIB}", str(container.method), advice)
            return _Inflated(container.at, meant, lie)
        if is_plain:
            return _Inflated(container.at, content)
        wrong = problem("unsupported", "compression 0 or 2", str(container.method), "The container was not read.")
        return _Inflated(container.at, b"", wrong, broken=True)
    most = _most_inflated(content, limits)
    if (data := _inflated_exactly(content, size, limits)) is not None:
        return _Inflated(container.at, data)
    # Again, step by step, to keep what came before the damage.
    stream = zlib.decompressobj()
    out = b""
    wrong = ""
    try:
        out = stream.decompress(content, most)
        if not stream.eof:
            wrong = f"{len(out)} bytes, without an end"
    except zlib.error as error:
        out, wrong = _inflate_slowly(content, most), str(error)
    if not wrong and len(out) != size:
        lie = problem("bad_length", f"{size} bytes, as the container says", f"{len(out)} bytes", "All were read.")
        return _Inflated(container.at, out, lie)
    if not wrong:
        return _Inflated(container.at, out)
    kind = "over_limit" if len(out) >= most else "bad_compression"
    if kind == "bad_compression" and 0 < size <= len(out):
        # As much as there should be came out: only the end of the compressed data is damaged.
        advice = "The container was damaged at its end; as much as it should hold was read."
        return _Inflated(container.at, out[:size], problem(kind, f"{size} bytes of zlib data", wrong, advice))
    advice = "The container was damaged; its readable start was read."
    return _Inflated(container.at, out, problem(kind, f"{size} bytes of zlib data", wrong, advice), broken=True)


def _most_inflated(content: bytes, limits: Limits) -> int:
    return int(min(limits.max_chunk_bytes, limits.max_ratio * max(1, len(content))))


def _inflated_exactly(content: bytes, size: int, limits: Limits) -> bytes | None:
    """The `size` bytes of undamaged zlib data; none when they are another number, or its checksum is wrong."""
    if size > _most_inflated(content, limits):
        return None
    try:
        data = bytes(deflate.zlib_decompress(content, size))
    except (deflate.DeflateError, ValueError, MemoryError):
        return None
    return data if len(data) == size else None


def _inflate_slowly(content: bytes, most: int) -> bytes:
    """What comes out of damaged zlib data before the damage."""
    stream = zlib.decompressobj()
    out = bytearray()
    try:
        for at in range(0, len(content), 64):
            out += stream.decompress(content[at : at + 64], most - len(out) if most > len(out) else 1)
            if len(out) >= most:
                break
    except zlib.error:
        pass
    return bytes(out)


def _objects(buffer: U8) -> Chain:
    """Every offset that could be a whole object, but for containers."""
    size = _OBJECT_HEAD.itemsize
    if len(buffer) < size:
        nothing = np.zeros(0, np.int64)
        return Chain(nothing, nothing)
    places = np.flatnonzero(buffer[: len(buffer) - size + 1] == ord("L"))
    heads = rows_at(buffer, places, _BASE.size).view("<u4").reshape(-1, 4)
    sizes = heads[:, 2].astype(np.int64)
    fits = (heads[:, 0] == _SIGNATURE) & (sizes >= size) & (sizes <= len(buffer) - places)
    fits &= heads[:, 3] != _LOG_CONTAINER
    places = places[fits]
    following = places + sizes[fits]
    # Padding depends on the object's type and on who wrote it: the next object starts within 8 bytes.
    gaps = places[1:] - following[:-1]
    near = (gaps >= 0) & (gaps < _PADDING_SEARCH)
    following[:-1][near] = places[1:][near]
    return Chain(places, following)


def _decode_objects(  # noqa: PLR0917 - runs in a pool
    data: bytes, places: I64, heads: np.ndarray, start_ns: int, first: int, at: int
) -> _Decoded:
    """Frames of the objects at these places."""
    n = len(places)
    buffer = np.frombuffer(data + bytes(PADDING + 160), np.uint8)
    arrays = empty_arrays(n)
    arrays.buffer = buffer
    stamps = heads["timestamp"]
    unit = np.where(heads["flags"] == _TEN_MICROSECONDS, np.uint64(10_000), np.uint64(1))
    bad_times = stamps > np.uint64(_MAX_TIME_NS) // unit
    arrays.timestamp_ns = start_ns + np.where(bad_times, 0, stamps * unit).astype(np.int64)
    arrays.is_rx = np.ones(n, np.bool_)
    channel = np.zeros(n, np.int64)
    body_at = np.where(heads["header_version"] == 2, _HEADER_BYTES[2], _HEADER_BYTES[1])
    ends = places + heads["size"]
    types = heads["type"]
    disagreeing = 0
    arrays.kind[:] = KINDS.index("can")
    for kind in np.unique(types).tolist():
        rows = np.flatnonzero(types == kind)
        bodies = places[rows] + body_at[rows]
        disagreeing += _decode_type(kind, rows, bodies, ends[rows], arrays, channel)
    lin = arrays.kind == KINDS.index("lin")
    numbers = np.unique(channel * 2 + lin)
    lookup = np.searchsorted(numbers, channel * 2 + lin)
    names = [f"{'LIN' if number % 2 else 'CAN'}{number // 2}" for number in numbers.tolist()]
    arrays.channel, arrays.channels = lookup, names
    counts = np.bincount(lookup, minlength=len(names)).tolist()
    by_channel = {(name, name[:3].lower()): count for name, count in zip(names, counts, strict=True)}
    frames = arrays.frame(first)
    times = arrays.timestamp_ns
    return _Decoded(frames, by_channel, int(times.min()), int(times.max()), disagreeing, int(bad_times.sum()), at)


def _decode_type(  # noqa: PLR0917 - runs in a pool
    kind: int, rows: I64, bodies: I64, ends: I64, arrays: FrameArrays, channel: I64
) -> int:
    """Fill in the objects of one type; returns how many have another number of data bytes than their DLC says."""

    def body(dtype: np.dtype) -> np.ndarray:
        return rows_at(arrays.buffer, bodies, dtype.itemsize).view(dtype).reshape(-1)

    def put(values: np.ndarray, is_rx: Flags, starts: I64, wanted: I64) -> int:
        """Channel, id, DLC and data bytes, which never reach past the object."""
        channel[rows] = values["channel"]
        assert arrays.is_rx is not None
        arrays.is_rx[rows] = is_rx
        arrays.dlc[rows] = values["dlc"]
        lengths = np.clip(np.minimum(wanted, ends - starts), 0, None)
        arrays.starts[rows], arrays.lengths[rows] = np.where(lengths > 0, starts, 0), lengths
        return int((lengths != wanted).sum())

    def identify(values: np.ndarray) -> None:
        arrays.arbitration_id[rows] = values["id"] & _ID_MASK
        arrays.is_extended_id[rows] = (values["id"] & _EXTENDED) != 0

    if kind in (1, 86):
        values = body(_CAN_MESSAGE)
        identify(values)
        remote = (values["flags"] & 0x80) != 0
        arrays.is_remote_frame[rows] = remote
        wanted = np.where(remote, 0, np.minimum(values["dlc"], 8)).astype(np.int64)
        return put(values, (values["flags"] & 1) == 0, bodies + 8, wanted)
    if kind == 100:
        values = body(_CAN_FD)
        identify(values)
        is_fd = (values["fd_flags"] & 1) != 0
        remote = (values["flags"] & 0x80) != 0
        arrays.is_fd[rows] = is_fd
        arrays.is_remote_frame[rows] = remote
        valid = np.where(remote, 0, np.minimum(values["valid"], 64)).astype(np.int64)
        short = put(values, (values["flags"] & 1) == 0, bodies + _CAN_FD.itemsize, valid)
        return short + _disagreeing(values, is_fd, remote)
    if kind == 101:
        values = body(_CAN_FD_64)
        identify(values)
        is_fd = (values["flags"] & 0x1000) != 0
        remote = (values["flags"] & 0x10) != 0
        arrays.is_fd[rows] = is_fd
        arrays.is_remote_frame[rows] = remote
        valid = np.where(remote, 0, np.minimum(values["valid"], 64)).astype(np.int64)
        short = put(values, values["dir"] == 0, bodies + _CAN_FD_64.itemsize, valid)
        return short + _disagreeing(values, is_fd, remote)
    if kind in (11, 57):
        dtype = _LIN_MESSAGE if kind == 11 else _LIN_MESSAGE_2
        values = body(dtype)
        arrays.kind[rows] = KINDS.index("lin")
        arrays.arbitration_id[rows] = values["id"]
        assert dtype.fields is not None
        return put(
            values, values["dir"] == 0, bodies + dtype.fields["data"][1], np.minimum(values["dlc"], 8).astype(np.int64)
        )
    # Error frames: 2 has a channel only, 73 and 104 the controller's error code.
    arrays.is_error_frame[rows] = True
    if kind == 2:
        channel[rows] = body(np.dtype([("channel", "<u2")]))["channel"]
        return 0
    values = body(_CAN_ERROR_EXT if kind == 73 else _CAN_FD_ERROR_64)
    channel[rows] = values["channel"]
    arrays.is_fd[rows] = kind == 104
    classes, details = of_vector(values["flags"], values["ecc"])
    if kind == 73:
        # python-can logs SocketCAN's error frames as they are; Vector's tools always state a code.
        as_is = (values["flags"] == 0) & (values["dlc"] == ERROR_BYTES) & (ends - bodies >= _SOCKETCAN_BYTES)
        classes[as_is] = values["id"][as_is] & _ID_MASK
        at = bodies[as_is] + _SOCKETCAN_BYTES - ERROR_BYTES
        details[as_is] = rows_at(arrays.buffer, at, ERROR_BYTES)
    known = np.flatnonzero(classes)
    arrays.arbitration_id[rows] = classes
    arrays.dlc[rows[known]] = arrays.lengths[rows[known]] = ERROR_BYTES
    arrays.starts[rows[known]] = len(arrays.buffer) + ERROR_BYTES * np.arange(len(known))
    arrays.buffer = np.concatenate([arrays.buffer, details[known].reshape(-1)])
    return 0


def _disagreeing(values: np.ndarray, is_fd: Flags, remote: Flags) -> int:
    """Frames whose stated number of bytes is not what their DLC means."""
    by_dlc = np.where(is_fd, FD_LENGTHS[np.minimum(values["dlc"], 15)], np.minimum(values["dlc"], 8))
    return int(((values["valid"] != by_dlc) & ~remote).sum())


def _batch(ready: list[_Decoded]) -> FrameBatch:
    return FrameBatch(pl.concat([d.frames for d in ready]), LOGS.empty(), DIAGNOSTICS.empty())
