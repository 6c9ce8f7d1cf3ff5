"""BLF, Vector's binary logging format: objects in zlib containers, decoded as arrays.

The layout is that of Vector's public `binlog_objects.h`. Objects straddle containers, so the inflated containers are
one stream. A damaged container costs its own objects, and those that straddle into it; reading goes on behind it.
"""

import struct
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final

import deflate
import numpy as np
import polars as pl

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.can_errors import ERROR_BYTES, of_vector
from argus_assets.recordings.channels import ChannelCounts
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
from argus_assets.recordings.model import FrameBatch, Limits, Problem, Reader, RecordingSummary, Source
from argus_assets.recordings.parallel import pass_on, staged
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
"""Inflated bytes that are worked on at a time; a container that states more is inflated in pieces."""
_PIECE_BYTES: Final = 4 * 1024**2
_STEP_BYTES: Final = 16 * 1024
"""Compressed bytes of a damaged container that are inflated at a time; a multiple of `_SALVAGE_BYTES`."""
_SALVAGE_BYTES: Final = 64
"""Step in which the last bytes before damage are inflated."""
_WINDOW_BYTES: Final = 4 * 1024**2
_MAX_HELD_BYTES: Final = 64 * 1024**2
"""Bytes of objects that frames may keep in memory before they are handed out."""
_DECODED_RATIO: Final = 4
"""Memory that objects take while they are decoded, at most about, to their size."""
_PADDING_SEARCH: Final = 8
"""Padding depends on the object's type and on who wrote it: the next object starts within so many bytes."""

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
    version = 6
    seeks = False

    def matches(self, head: bytes) -> bool:
        """Whether the file starts with the header of a log."""
        return head.startswith(MAGIC)

    def open(self, source: Source, budget: Budget) -> Reader:
        """A reader over `source`."""
        return BlfReader(source, budget, decoder=f"{self.name}/{self.version}")


@dataclass(slots=True)
class _Container:
    """A container: its place, method, stated size and content.

    Attributes:
        broken: There is nothing to be read, and the stream of objects ends before it.
        data: What it holds, once that was inflated and is whole.
        problem: What was wrong with it although it is whole.
    """

    at: int
    method: int
    size: int
    content: bytes
    broken: bool = False
    data: bytes | None = None
    problem: Problem | None = None


_Piece = tuple[int, bytes | None]
"""Where a part of the stream of objects comes from, and its bytes; none where the stream is interrupted."""


@dataclass(frozen=True, slots=True)
class _Located:
    """Frames to be decoded: the bytes that hold them, their places and heads, and where in the file they are."""

    data: bytes
    places: I64
    heads: np.ndarray
    start_ns: int
    first: int
    at: int


@dataclass(slots=True)
class _Decoded:
    frames: pl.DataFrame
    channels: dict[tuple[str, str], int]
    disagreeing: int
    bad_times: int
    at: int
    held_bytes: int


@dataclass(slots=True)
class _Stream:
    """The inflated objects that were not looked at yet.

    Attributes:
        rest: Bytes of an object that was not complete.
        parts: Bytes that came since.
        size: Of all of them.
        breaks: Offsets in them at which the stream is interrupted: no object goes on there.
        at: Where the first of the parts comes from.
        is_lost: No object is known to start where the rest does.
        resync: Nothing was found since the last interruption, so what is skipped was told with it.
    """

    rest: bytes = b""
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    breaks: list[int] = field(default_factory=list)
    at: int = 0
    is_lost: bool = False
    resync: bool = False

    def add(self, at: int, data: bytes) -> None:
        if not self.parts:
            self.at = at
        self.parts.append(data)
        self.size += len(data)

    def interrupt(self) -> None:
        if not self.breaks or self.breaks[-1] < self.size:
            self.breaks.append(self.size)

    @property
    def is_due(self) -> bool:
        """Whether to look at it: never for less than what waits already, or one long object would be joined for ever."""
        return self.size - len(self.rest) >= max(_GROUP_BYTES, len(self.rest))


class BlfReader:
    """One pass over one BLF file; see `model.Reader`."""

    def __init__(self, source: Source, budget: Budget, *, decoder: str) -> None:
        self._source = source
        self._budget = budget
        self._limits = budget.limits
        self._size = source.seek(0, 2)
        self._window = b""
        self._window_at = 0
        self.summary = RecordingSummary("blf", decoder, self._size)
        self._channels = ChannelCounts(budget)
        self._unread: dict[str, int] = {}
        self._numbered = 0
        self._objects = 0
        self._too_deep: tuple[int, int] | None = None
        self._short: tuple[int, int] | None = None
        self._disagreeing: tuple[int, int] | None = None
        self._bad_times: tuple[int, int] | None = None
        self._start_ns = 0
        self._claimed = 0

    def __iter__(self) -> Iterator[FrameBatch]:
        ready: list[pl.DataFrame] = []
        waiting = held = 0
        for decoded in staged(
            self._located(self._pieces()),
            _decode_objects,
            pass_on,
            workers=self._limits.workers,
            weight=lambda located: _DECODED_RATIO * len(located.data),
            max_weight=self._limits.max_in_flight_bytes,
        ):
            frames = self._count(decoded)
            ready.append(frames)
            waiting += frames.height
            held += decoded.held_bytes
            if waiting >= self._limits.batch_frames or held >= _MAX_HELD_BYTES:
                yield _batch(ready)
                ready, waiting, held = [], 0, 0
        if ready:
            yield _batch(ready)
        self._close()

    # ------------------------------------------------------------------------------------------ the file

    def _pieces(self) -> Generator[_Piece]:
        """What the containers of the file hold, inflated."""
        for group in staged(
            self._groups(),
            partial(_inflate_whole, limits=self._limits),
            pass_on,
            workers=self._limits.workers,
            weight=lambda group: sum(len(c.content) + min(c.size, _GROUP_BYTES) for c in group),
            max_weight=self._limits.max_in_flight_bytes,
        ):
            for container in group:
                yield from self._content(container)

    def _groups(self) -> Generator[list[_Container]]:
        group: list[_Container] = []
        size = 0
        for container in self._top_level():
            if _is_inflated(container) and not self._pay(container):
                container.broken, container.content, container.size = True, b"", 0
            group.append(container)
            size += max(len(container.content), min(container.size, _GROUP_BYTES))
            if size >= _GROUP_BYTES:
                yield group
                group, size = [], 0
        if group:
            yield group

    def _pay(self, container: _Container) -> bool:
        """Take what a container states from the budget; one that is inflated in pieces is paid piece by piece."""
        return container.size > _GROUP_BYTES or self._budget.inflate(container.size, at=container.at)

    def _top_level(self) -> Generator[_Container]:
        """Containers in file order, and runs of objects that stand outside of them."""
        at = self._read_head()
        has_containers = False
        while at < self._size:
            head = self._read(at, _BASE.size + _CONTAINER.size)
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
                length = max(0, min(size, left) - len(head))
                if length > self._limits.max_chunk_bytes:
                    self._over_limit(at, size)
                    yield _Container(at, _NO_COMPRESSION, 0, b"", broken=True)
                else:
                    yield _Container(at, method, stated, self._read(at + len(head), length))
            elif size > _MAX_OBJECT_BYTES:
                self._over_limit(at, size)
                yield _Container(at, _NO_COMPRESSION, 0, b"", broken=True)
            else:
                content = self._read(at, min(size + size % 4, left))
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

    def _read(self, at: int, size: int) -> bytes:
        """Bytes of the file, out of the block that is in memory where they are in it."""
        start = at - self._window_at
        if start < 0 or start + size > len(self._window):
            ends_here = self._window_at + len(self._window) >= self._size
            if start < 0 or start > len(self._window) or not ends_here:
                self._source.seek(at)
                if size > _WINDOW_BYTES:
                    return self._source.read(size)
                self._window, self._window_at = self._source.read(_WINDOW_BYTES), at
                start = 0
        return self._window[start : start + size]

    def _search(self, at: int) -> int | None:
        """Offset of the next container from `at` on."""
        while at + _BASE.size <= self._size:
            self._read(at, _BASE.size)
            block, start = self._window, self._window_at
            place = block.find(b"LOBJ", at - start)
            while place != -1 and place + _BASE.size <= len(block):
                _, header_size, version, size, kind = _BASE.unpack_from(block, place)
                if kind == _LOG_CONTAINER and header_size == _BASE.size and version <= 2 and size > _BASE.size:
                    return start + place
                place = block.find(b"LOBJ", place + 1)
            at = start + len(block) - _BASE.size + 1
        return None

    # ------------------------------------------------------------------------------------------ containers

    def _content(self, container: _Container) -> Generator[_Piece]:
        """What a container holds, in pieces."""
        at = container.at
        if container.problem is not None:
            self.summary.problems.append(container.problem)
        if container.broken:
            yield at, None
        elif container.data is not None:
            yield at, container.data
        elif container.method == _NO_COMPRESSION:
            yield at, container.content
        elif container.method == _ZLIB:
            yield from self._salvage(container)
        else:
            self._problem("unsupported", "compression 0 or 2", str(container.method), at, "The container was not read.")
            yield at, None

    def _salvage(self, container: _Container) -> Generator[_Piece]:
        """Inflate a container in pieces: one that is too large to be held, or what comes out before damage."""
        at, size = container.at, container.size
        limit = _max_inflated(container.content, self._limits)
        paid = size if size <= _GROUP_BYTES else 0
        total = 0
        last = b""  # not handed out yet: what is more than stated is dropped where damage follows
        wrong = ""
        try:
            for piece in _inflate_in_pieces(container.content, limit):
                if total + len(piece) > paid:
                    if not self._budget.inflate(total + len(piece) - paid, at=at):
                        yield at, last
                        yield at, None
                        return
                    paid = total + len(piece)
                if last:
                    yield at, last
                last = piece
                total += len(piece)
        except zlib.error as error:
            wrong = str(error)
        except EOFError:
            wrong = f"{total} bytes, without an end"
        if not wrong:
            yield at, last
            if total != size:
                self._problem(
                    "bad_length", f"{size} bytes, as the container says", f"{total} bytes", at, "All were read."
                )
            return
        is_over = total >= limit
        excess = total - size
        is_whole = not is_over and size > 0 and 0 <= excess < max(1, len(last))
        yield at, last[: len(last) - excess] if is_whole else last
        self._problem(
            "over_limit" if is_over else "bad_compression", f"{size} bytes of zlib data", wrong, at,
            "The container was damaged at its end; as much as it should hold was read."
            if is_whole
            else "The container was damaged; its readable start was read.",
        )  # fmt: skip
        if not is_whole:
            yield at, None

    def _nested(self, data: bytes, places: I64, sizes: I64, at_file: int) -> Generator[_Piece]:
        """What containers inside of a container hold, inflated one after another."""
        for n, (place, size) in enumerate(zip(places.tolist(), sizes.tolist(), strict=True)):
            if not self._budget.take("blocks", at=at_file, name="BLF container"):
                self._budget.take("blocks", len(places) - n - 1, at=at_file)
                return
            method, stated = _CONTAINER.unpack_from(data, place + _BASE.size)
            content = data[place + _BASE.size + _CONTAINER.size : place + size]
            container = _Container(at_file, method, stated, content)
            if not _is_inflated(container):
                container.size = len(content)  # the bytes were there already, and are looked at again
            if not self._pay(container):
                return
            yield from self._content(_inflate_whole([container], limits=self._limits)[0])

    # ------------------------------------------------------------------------------------------ the stream

    def _located(self, pieces: Iterable[_Piece], depth: int = 0) -> Generator[_Located]:
        """Find the frames of a stream of objects."""
        stream = _Stream()
        for at, data in pieces:
            if data is None:
                stream.interrupt()
                continue
            for start in range(0, len(data), _GROUP_BYTES):
                stream.add(at, data[start : start + _GROUP_BYTES])
                if stream.is_due:
                    yield from self._locate(stream, depth)
        yield from self._locate(stream, depth)
        if len(stream.rest) >= _BASE.size and not stream.resync:
            self._problem(
                "truncated", "the rest of an object", f"{len(stream.rest)} bytes of it",
                stream.at if depth else self._size, "The recording ends inside an object, which is lost.", 1,
            )  # fmt: skip

    def _locate(self, stream: _Stream, depth: int) -> Generator[_Located]:
        """Find the frames in what came of a stream; what is not complete stays in it."""
        data = b"".join([stream.rest, *stream.parts])
        buffer = np.frombuffer(data, np.uint8)
        breaks = np.array(stream.breaks, np.int64)
        objects = _objects(buffer, breaks)
        walked = objects.walk(is_lost=stream.is_lost)
        places, ends = objects.places[walked], objects.ends[walked]
        # Between objects, before the first, and behind the last.
        starts = np.concatenate([[0], ends])
        nexts = np.append(places, rest := objects.rest(int(starts[-1])))
        gaps = nexts - starts
        is_interrupted = np.zeros(len(gaps), np.bool_)
        is_interrupted[0] = stream.resync
        if len(breaks):
            is_interrupted |= np.searchsorted(breaks, starts) != np.searchsorted(breaks, nexts, side="right")
        unread = (gaps > _PADDING_SEARCH) & ~is_interrupted
        if unread.any():
            self._problem(
                "bad_record", "objects that follow each other", f"{int(gaps[unread].sum())} bytes that are none",
                stream.at, "They were skipped.",
            )  # fmt: skip
        last_break = int(breaks[-1]) if len(breaks) else 0
        is_resumed = len(places) > 0 and int(places[-1]) >= last_break
        stream.resync = not is_resumed and (stream.resync or len(breaks) > 0)
        rest = max(rest, last_break)
        stream.is_lost = rest - int(starts[-1]) >= _PADDING_SEARCH and rest != last_break
        stream.rest, stream.parts, stream.breaks = data[rest:], [], []
        stream.size = len(stream.rest)
        sizes = ends - places
        is_container = objects.kinds[walked] == _LOG_CONTAINER
        has_head = (sizes >= _OBJECT_HEAD.itemsize) & ~is_container
        if short := len(sizes) - int((has_head | is_container).sum()):
            count, at = self._short or (0, stream.at)
            self._short = (count + short, at)
        located = self._frames(data, buffer, places[has_head], stream.at)
        if located is not None:
            yield located
        inner = is_container & (sizes >= _BASE.size + _CONTAINER.size)
        if not inner.any():
            return
        if depth < _MAX_NESTING:
            yield from self._located(self._nested(data, places[inner], sizes[inner], stream.at), depth + 1)
        else:
            count, at = self._too_deep or (0, stream.at)
            self._too_deep = (count + int(inner.sum()), at)

    def _frames(self, data: bytes, buffer: U8, places: I64, at_file: int) -> _Located | None:
        """Of objects at these places the frames; the others are counted."""
        heads = rows_at(buffer, places, _OBJECT_HEAD.itemsize).view(_OBJECT_HEAD).reshape(-1)
        self._objects += int((heads["type"] != _END_OF_LOG).sum())  # as the header counts them: no containers
        types, counts = np.unique(heads["type"], return_counts=True)
        is_other = (types <= 0) | (types > _LAST_TYPE)
        unknown = int(counts[is_other].sum())
        for kind, count in [*zip(types[~is_other].tolist(), counts[~is_other].tolist(), strict=True), (0, unknown)]:
            if count and (kind == 0 or kind in _OTHER_TRAFFIC):
                name = _OTHER_TRAFFIC.get(kind, "unknown types")
                self._unread[name] = self._unread.get(name, 0) + count
        frames = np.isin(heads["type"], list(_FRAME_TYPES))
        count = int(frames.sum())
        if not count:
            return None
        first = self._numbered
        self._numbered += count
        return _Located(data, places[frames], heads[frames], self._start_ns, first, at_file)

    # ------------------------------------------------------------------------------------------ results

    def _count(self, decoded: _Decoded) -> pl.DataFrame:
        """Count frames; returns those of channels that fit into the budget."""
        summary = self.summary
        frames = self._channels.admit(decoded.frames, decoded.channels, at=decoded.at)
        if frames.height:
            if int(frames["frame"][0]) != summary.frames or frames.height < decoded.frames.height:
                numbers = pl.int_range(summary.frames, summary.frames + pl.len(), dtype=pl.UInt64)
                frames = frames.with_columns(frame=numbers)
            times = frames["timestamp"].to_physical()
            summary.cover(int(times.min()), int(times.max()))  # type: ignore[arg-type] # not empty
        summary.frames += frames.height
        if decoded.bad_times:
            before, at = self._bad_times or (0, decoded.at)
            self._bad_times = (before + decoded.bad_times, at)
        if decoded.disagreeing:
            before, at = self._disagreeing or (0, decoded.at)
            self._disagreeing = (before + decoded.disagreeing, at)
        return frames

    def _problem(  # noqa: PLR0917 - the fields of a problem, in its order
        self, kind: str, expected: str, actual: str, at: int, advice: str = "", lost: int | None = None
    ) -> None:
        self.summary.problems.append(Problem(kind, expected, actual, at, lost, advice))
        self.summary.frames_lost += lost or 0

    def _close(self) -> None:
        if self._too_deep is not None:
            count, at = self._too_deep
            self._problem(
                "over_limit", f"containers inside of each other, {_MAX_NESTING} deep at most", f"{count} deeper", at,
                "They were not read.",
            )  # fmt: skip
        if self._short is not None:
            count, at = self._short
            self._problem(
                "bad_length", f"objects of at least {_OBJECT_HEAD.itemsize} bytes", f"{count} shorter", at,
                "They hold nothing that can be read.", 0,
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
        for name, count in sorted(self._unread.items()):
            self._problem("unsupported", "CAN and LIN", f"{count} objects of {name}", 0, "They are not read.", 0)
        missing = self._claimed - self._objects - self.summary.frames_lost
        if missing > 0:
            self._problem(
                "bad_record", f"{self._claimed} objects, as the file's header says", f"{self._objects} read", 0,
                "The difference was lost in the damage reported above.", missing,
            )  # fmt: skip
        self.summary.problems.sort(key=lambda p: p.offset or 0)
        self.summary.channels = self._channels.summaries()


def _systemtime_ns(values: tuple[int, ...]) -> int:
    """Windows SYSTEMTIME as nanoseconds since 1970; it has no zone and is taken for UTC. 0 for no date."""
    year, month, _, day, hour, minute, second, millisecond = values
    try:
        start = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return 0
    ns = int(start.timestamp()) * 10**9 + millisecond * 10**6
    return ns if abs(ns) < _MAX_TIME_NS else 0


def _is_inflated(container: _Container) -> bool:
    """Whether something has to be inflated: also where a plain container has another size than it states."""
    is_plain = container.method == _NO_COMPRESSION and len(container.content) == container.size
    return not (container.broken or is_plain)


def _inflate_whole(group: list[_Container], *, limits: Limits) -> list[_Container]:
    """Inflate containers that are whole and not large; the others stay as they are."""
    for container in group:
        content, size = container.content, container.size
        if not _is_inflated(container) or not 0 < size <= min(_GROUP_BYTES, _max_inflated(content, limits)):
            continue
        try:
            data = bytes(deflate.zlib_decompress(content, size))
        except (deflate.DeflateError, ValueError, MemoryError):
            continue
        if len(data) != size:
            continue
        container.data = data
        if container.method != _ZLIB:
            container.problem = Problem(
                "bad_record", f"compression {_ZLIB}", str(container.method), container.at, None,
                "The content is zlib data, whole and of the stated size, and was read as that.",
            )  # fmt: skip
    return group


def _max_inflated(content: bytes, limits: Limits) -> int:
    return int(min(limits.max_chunk_bytes, limits.max_ratio * max(1, len(content))))


def _inflate_in_pieces(content: bytes, limit: int) -> Generator[bytes]:
    """Inflate zlib data, at most `limit` bytes of it.

    Raises:
        zlib.error: The data is damaged; what comes out before the damage was handed out.
        EOFError: The data has no end, or goes on beyond the limit.
    """
    stream = zlib.decompressobj()
    total = 0
    for start in range(0, len(content), _STEP_BYTES):
        step = content[start : start + _STEP_BYTES]
        while step and not stream.eof:
            if total >= limit:
                raise EOFError
            most = min(_PIECE_BYTES, limit - total)
            before = stream.copy()
            try:
                piece = stream.decompress(step, most)
            except zlib.error:
                yield _inflate_slowly(before.decompress, step, most)
                raise
            if piece:
                yield piece
            total += len(piece)
            step = stream.unconsumed_tail
    if not stream.eof:
        raise EOFError


def _inflate_slowly(decompress: Callable[[bytes, int], bytes], content: bytes, most: int) -> bytes:
    """What comes out of damaged zlib data before the damage."""
    out = bytearray()
    try:
        for at in range(0, len(content), _SALVAGE_BYTES):
            out += decompress(content[at : at + _SALVAGE_BYTES], max(1, most - len(out)))
            if len(out) >= most:
                break
    except zlib.error:
        pass
    return bytes(out)


@dataclass(frozen=True, slots=True)
class _Objects:
    """Every place that could be an object; one that is damaged may seem to hold others.

    Attributes:
        places: Offset of each, ascending.
        ends: Where each ends, beyond the buffer for one that is not complete.
        kinds: Object type of each.
        size: Bytes of the buffer.
    """

    places: I64
    ends: I64
    kinds: np.ndarray
    size: int

    def walk(self, *, is_lost: bool) -> I64 | slice:
        """Return the indices of the complete objects that follow each other.

        Where no object follows, the next complete one is taken. One that is not complete is the end.

        Args:
            is_lost: No object is known to start at the start of the buffer.
        """
        n = len(self.places)
        complete = np.flatnonzero(self.ends <= self.size)
        if not len(complete):
            return slice(0)
        is_start = not is_lost and self.places[0] < _PADDING_SEARCH
        start = 0 if is_start else int(complete[0])
        if (self.ends[start:-1] <= self.places[start + 1 :]).all():
            # None is inside of another.
            return slice(start, n if self.ends[-1] <= self.size else n - 1)
        following = np.searchsorted(self.places, self.ends)
        gaps = np.append(self.places, self.size + _PADDING_SEARCH + 1)[following] - self.ends
        resumed = np.append(complete, n)[np.searchsorted(complete, following)]
        steps = np.where(gaps < _PADDING_SEARCH, following, resumed).tolist()
        taken: list[int] = []
        at = start
        while at < n:
            taken.append(at)
            at = steps[at]
        walked = np.array(taken, np.int64)
        return walked[:-1] if self.ends[walked[-1]] > self.size else walked

    def rest(self, at: int) -> int:
        """Where the first object could start that is not complete, behind those that end at `at`."""
        first = int(np.searchsorted(self.places, at))
        incomplete = np.flatnonzero(self.ends[first:] > self.size)
        candidate = int(self.places[first + incomplete[0]]) if len(incomplete) else self.size
        return min(candidate, max(at, self.size - _BASE.size + 1))


def _objects(buffer: U8, breaks: I64) -> _Objects:
    """Find every offset that could be an object; one that would reach over a break is none."""
    places = np.flatnonzero(buffer[: max(0, len(buffer) - _BASE.size + 1)] == ord("L"))
    places = places[buffer[places + 3] == ord("J")]
    heads = rows_at(buffer, places, _BASE.size).view("<u4").reshape(-1, 4)
    sizes = heads[:, 2].astype(np.int64)
    fits = (heads[:, 0] == _SIGNATURE) & (sizes >= _BASE.size) & (sizes <= _MAX_OBJECT_BYTES)
    ends = places + sizes
    if len(breaks):
        next_break = np.append(breaks, np.iinfo(np.int64).max)[np.searchsorted(breaks, places, side="right")]
        fits &= ends <= next_break
    return _Objects(places[fits], ends[fits], heads[fits, 3], len(buffer))


def _decode_objects(located: _Located) -> _Decoded:
    """Frames of located objects."""
    data, places, heads, start_ns = located.data, located.places, located.heads, located.start_ns
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
    frames = arrays.frame(located.first)
    return _Decoded(frames, by_channel, disagreeing, int(bad_times.sum()), located.at, len(arrays.buffer))


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


def _batch(ready: list[pl.DataFrame]) -> FrameBatch:
    return FrameBatch(pl.concat(ready), LOGS.empty(), DIAGNOSTICS.empty())
