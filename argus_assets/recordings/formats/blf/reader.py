"""BLF, Vector's binary logging format: objects in zlib containers, decoded as arrays.

Objects straddle containers, so the inflated containers are one stream. A damaged container costs its own objects, and
those that straddle into it; reading continues behind it. `layout` names the fields of a file, `containers` inflates,
`objects` finds and decodes the objects of the stream.
"""

import zlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final

import numpy as np
import polars as pl

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.channels import ChannelCounts
from argus_assets.recordings.columns import I64, U8, rows_at
from argus_assets.recordings.ethernet.recorded import RecordedEthernet, renumbered
from argus_assets.recordings.formats.blf import layout
from argus_assets.recordings.formats.blf.containers import (
    GROUP_BYTES,
    Container,
    inflate_in_pieces,
    inflate_whole,
    is_inflated,
    max_inflated,
)
from argus_assets.recordings.formats.blf.layout import BASE, CONTAINER, NO_COMPRESSION, ZLIB, ObjectType
from argus_assets.recordings.formats.blf.objects import (
    MAX_OBJECT_BYTES,
    MAX_TIME_NS,
    PADDING_SEARCH,
    DecodedObjects,
    Located,
    decode_objects,
    find_objects,
)
from argus_assets.recordings.formats.forward import Block, ForwardDecoder, ForwardReader, Repeated, grouped
from argus_assets.recordings.model import FrameBatch, Source
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS

_MAX_NESTING: Final = 4
_MAX_FILE_HEAD: Final = 64 * 1024
_DECODED_RATIO: Final = 4
"""Memory that objects take while they are decoded, at most about, to their size."""

_Piece = tuple[int, bytes | None]
"""Offset in the file of a part of the stream of objects, and its bytes; none where the stream is interrupted."""


@dataclass(slots=True)
class _Stream:
    """Inflated objects that were not located yet.

    Attributes:
        rest: Bytes of an object that was not complete.
        parts: Bytes that came since.
        size: Of all of them.
        breaks: Offsets in them at which the stream is interrupted: no object continues there.
        at: Where the first of the parts comes from.
        is_lost: No object is known to start where the rest does.
        resync: Nothing was found since the last interruption, so what is skipped was reported with it.
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
        """Return whether to locate objects now: never for less than what waits, or one long object would be joined for ever."""
        return self.size - len(self.rest) >= max(GROUP_BYTES, len(self.rest))


class BlfReader(ForwardReader[DecodedObjects]):
    """One pass over one BLF file."""

    max_batch_bytes = 64 * 1024**2

    def __init__(self, source: Source, budget: Budget, *, name: str, version: int) -> None:
        super().__init__(source, budget, name=name, version=version)
        self._block = Block(source, self._size)
        self._channels = ChannelCounts(budget)
        self._ethernet = RecordedEthernet(budget)
        self._is_over = False
        self._unread: dict[str, int] = {}
        self._numbered = 0
        self._objects = 0
        self._too_deep = Repeated()
        self._short = Repeated()
        self._disagreeing = Repeated()
        self._bad_times = Repeated()
        self._start_ns = 0
        self._claimed = 0

    def _streams(self) -> Generator[Iterator[DecodedObjects]]:
        yield self._staged(
            self._located(self._pieces()), decode_objects, weight=lambda located: _DECODED_RATIO * len(located.data)
        )
        yield map(self._left, [None])

    def _left(self, _: None) -> DecodedObjects:
        """Return what TCP streams still held at the end."""
        self._is_over = True
        return DecodedObjects(FRAMES.empty(), {}, 0, 0, self._size, 0, np.zeros(0, np.int64))

    # ------------------------------------------------------------------------------------------ the file

    def _pieces(self) -> Generator[_Piece]:
        """Yield the inflated content of the file's containers."""
        groups = self._staged(
            self._groups(), partial(inflate_whole, limits=self._limits),
            weight=lambda group: sum(len(c.content) + min(c.size, GROUP_BYTES) for c in group),
        )  # fmt: skip
        for group in groups:
            for container in group:
                yield from self._content(container)

    def _groups(self) -> Generator[list[Container]]:
        return grouped(
            self._paid(), lambda container: max(len(container.content), min(container.size, GROUP_BYTES)), GROUP_BYTES
        )

    def _paid(self) -> Generator[Container]:
        """Yield the containers; what the budget refuses is broken."""
        for container in self._top_level():
            if is_inflated(container) and not self._pay(container):
                container.broken, container.content, container.size = True, b"", 0
            yield container

    def _pay(self, container: Container) -> bool:
        """Take what a container states from the budget; one that is inflated in pieces is paid piece by piece."""
        return container.size > GROUP_BYTES or self._budget.inflate(container.size, at=container.at)

    def _top_level(self) -> Generator[Container]:
        """Yield containers in file order, and runs of objects outside of them."""
        at = self._read_head()
        has_containers = False
        while at < self._size:
            head = self._block.read(at, BASE.size + CONTAINER.size)
            if len(head) < BASE.size or not any(head):
                self._cut(at, BASE.size, len(head))
                return
            signature, header_size, _, size, kind = BASE.unpack_from(head)
            left = self._size - at
            following: int | None = None
            is_container = signature == layout.OBJECT_MAGIC and kind == ObjectType.LOG_CONTAINER
            too_small = is_container and header_size == BASE.size and size < BASE.size + CONTAINER.size
            if is_container and (size > left or too_small):
                following = self._search(at + 1)
            if following is None and too_small:
                self._problem(
                    "bad_length", f"{left} bytes to the end of the file", f"{size} bytes of a container", at,
                    "The rest of the file was taken for its content.",
                )  # fmt: skip
                size = left
            if following is not None:
                self._problem(
                    "bad_length",
                    f"at most {left} bytes",
                    f"{size} bytes of a container",
                    at,
                    "The bytes up to the next container were taken for its content.",
                )
                size = left = following - at - (following - at) % 4
            if signature != layout.OBJECT_MAGIC or size < BASE.size:
                following = self._search(at + 1)
                self._problem(
                    "bad_record", "an object that starts with LOBJ", head[:4].hex(" "), at,
                    "Skipped to the next object." if following else "Nothing that can be read follows.",
                )  # fmt: skip
                yield Container(at, NO_COMPRESSION, 0, b"", broken=True)
                if following is None:
                    return
                at = following
                continue
            if signature == layout.OBJECT_MAGIC and kind != ObjectType.LOG_CONTAINER and header_size == BASE.size:
                self._problem(
                    "bad_record", f"type {ObjectType.LOG_CONTAINER}, as only containers have a header of {BASE.size} bytes",
                    f"type {kind}", at, "It was read as a container.",
                )  # fmt: skip
                kind = ObjectType.LOG_CONTAINER
            if has_containers and kind not in {
                ObjectType.LOG_CONTAINER,
                ObjectType.RESTORE_POINT_CONTAINER,
                *layout.FRAME_TYPES,
            }:
                self._problem(
                    "bad_record", f"a container (type {ObjectType.LOG_CONTAINER}), as before", f"an object of type {kind}", at,
                    "It was read as the type that it states.",
                )  # fmt: skip
            if kind == ObjectType.LOG_CONTAINER and len(head) == BASE.size + CONTAINER.size:
                has_containers = True
                method, stated = CONTAINER.unpack_from(head, header_size if header_size == BASE.size else BASE.size)
                length = max(0, min(size, left) - len(head))
                if length > self._limits.max_chunk_bytes:
                    self._over_limit(at, size)
                    yield Container(at, NO_COMPRESSION, 0, b"", broken=True)
                else:
                    yield Container(at, method, stated, self._block.read(at + len(head), length))
            elif size > MAX_OBJECT_BYTES:
                self._over_limit(at, size)
                yield Container(at, NO_COMPRESSION, 0, b"", broken=True)
            else:
                content = self._block.read(at, min(size + size % 4, left))
                yield Container(at, NO_COMPRESSION, len(content), content)
            if size > left:
                self._cut(at, size, left)
                return
            at = following or at + size + size % 4

    def _read_head(self) -> int:
        """Read the file's header; return where the objects start."""
        self._source.seek(0)
        raw = self._source.read(layout.FILE_HEAD.size)
        if len(raw) < layout.FILE_HEAD.size:
            self._cut(0, layout.FILE_HEAD.size, len(raw))
            return self._size
        values = layout.FILE_HEAD.unpack(raw)
        self._claimed = values[layout.OBJECT_COUNT]
        self._start_ns = _systemtime_ns(values[layout.START_TIME])
        if any(values[layout.START_TIME]) and self._start_ns == 0:
            self._problem(
                "bad_timestamp", "a date as start of the measurement", str(values[layout.START_TIME]),
                layout.START_TIME_AT, "Times count from 1970-01-01.",
            )  # fmt: skip
        head_size = values[1]
        if not layout.FILE_HEAD.size <= head_size <= _MAX_FILE_HEAD:
            usual = layout.FILE_HEAD_BYTES
            self._problem("bad_length", f"a header of {usual} bytes", f"{head_size}", 4, f"{usual} bytes were assumed.")
            return usual
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
        """Return the offset of the next container from `at` on."""
        while at + BASE.size <= self._size:
            self._block.hold(at, BASE.size)
            block, start = self._block.data, self._block.start
            place = block.find(layout.OBJECT_MAGIC, at - start)
            while place != -1 and place + BASE.size <= len(block):
                _, header_size, version, size, kind = BASE.unpack_from(block, place)
                if kind == ObjectType.LOG_CONTAINER and header_size == BASE.size and version <= 2 and size > BASE.size:
                    return start + place
                place = block.find(layout.OBJECT_MAGIC, place + 1)
            at = start + len(block) - BASE.size + 1
        return None

    # ------------------------------------------------------------------------------------------ containers

    def _content(self, container: Container) -> Generator[_Piece]:
        """Yield the content of a container in pieces."""
        at = container.at
        if container.problem is not None:
            self._report(container.problem)
        if container.broken:
            yield at, None
        elif container.data is not None:
            yield at, container.data
        elif container.method == NO_COMPRESSION:
            yield at, container.content
        elif container.method == ZLIB:
            yield from self._salvage(container)
        else:
            self._problem("unsupported", "compression 0 or 2", str(container.method), at, "The container was not read.")
            yield at, None

    def _salvage(self, container: Container) -> Generator[_Piece]:
        """Inflate a container in pieces: one that is too large to be held, or what comes out before damage."""
        at, size = container.at, container.size
        limit = max_inflated(container.content, self._limits)
        paid = size if size <= GROUP_BYTES else 0
        total = 0
        last = b""  # not handed out yet: what is more than stated is dropped where damage follows
        wrong = ""
        try:
            for piece in inflate_in_pieces(container.content, limit):
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
        """Yield the content of containers inside a container, inflated one after another."""
        for n, (place, size) in enumerate(zip(places.tolist(), sizes.tolist(), strict=True)):
            if not self._budget.take("blocks", at=at_file, name="BLF container"):
                self._budget.take("blocks", len(places) - n - 1, at=at_file)
                return
            method, stated = CONTAINER.unpack_from(data, place + BASE.size)
            content = data[place + BASE.size + CONTAINER.size : place + size]
            container = Container(at_file, method, stated, content)
            if not is_inflated(container):
                container.size = len(content)  # the bytes were there already, and are searched again
            if not self._pay(container):
                return
            yield from self._content(inflate_whole([container], limits=self._limits)[0])

    # ------------------------------------------------------------------------------------------ the stream

    def _located(self, pieces: Iterable[_Piece], depth: int = 0) -> Generator[Located]:
        """Find the frames of a stream of objects."""
        stream = _Stream()
        for at, data in pieces:
            if data is None:
                stream.interrupt()
                continue
            for start in range(0, len(data), GROUP_BYTES):
                stream.add(at, data[start : start + GROUP_BYTES])
                if stream.is_due:
                    yield from self._locate(stream, depth)
        yield from self._locate(stream, depth)
        if len(stream.rest) >= BASE.size and not stream.resync:
            self._problem(
                "truncated", "the rest of an object", f"{len(stream.rest)} bytes of it",
                stream.at if depth else self._size, "The recording ends inside an object, which is lost.", 1,
            )  # fmt: skip

    def _locate(self, stream: _Stream, depth: int) -> Generator[Located]:
        """Find the frames in the bytes of a stream; an incomplete object stays in it."""
        data = b"".join([stream.rest, *stream.parts])
        buffer = np.frombuffer(data, np.uint8)
        breaks = np.array(stream.breaks, np.int64)
        objects = find_objects(buffer, breaks)
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
        unread = (gaps > PADDING_SEARCH) & ~is_interrupted
        if unread.any():
            self._problem(
                "bad_record", "objects that follow each other", f"{int(gaps[unread].sum())} bytes of no object",
                stream.at, "They were skipped.",
            )  # fmt: skip
        last_break = int(breaks[-1]) if len(breaks) else 0
        is_resumed = len(places) > 0 and int(places[-1]) >= last_break
        stream.resync = not is_resumed and (stream.resync or len(breaks) > 0)
        rest = max(rest, last_break)
        stream.is_lost = rest - int(starts[-1]) >= PADDING_SEARCH and rest != last_break
        stream.rest, stream.parts, stream.breaks = data[rest:], [], []
        stream.size = len(stream.rest)
        sizes = ends - places
        is_container = objects.kinds[walked] == ObjectType.LOG_CONTAINER
        has_head = (sizes >= layout.OBJECT_HEAD.itemsize) & ~is_container
        self._short.add(len(sizes) - int((has_head | is_container).sum()), stream.at)
        located = self._frames(data, buffer, places[has_head], stream.at)
        if located is not None:
            yield located
        inner = is_container & (sizes >= BASE.size + CONTAINER.size)
        if not inner.any():
            return
        if depth < _MAX_NESTING:
            yield from self._located(self._nested(data, places[inner], sizes[inner], stream.at), depth + 1)
        else:
            self._too_deep.add(int(inner.sum()), stream.at)

    def _frames(self, data: bytes, buffer: U8, places: I64, at_file: int) -> Located | None:
        """Return the frames among the objects at these places, and count the others."""
        heads = rows_at(buffer, places, layout.OBJECT_HEAD.itemsize).view(layout.OBJECT_HEAD).reshape(-1)
        self._objects += int(
            (heads["type"] != ObjectType.RESTORE_POINT_CONTAINER).sum()
        )  # as the header counts them: no containers
        types, counts = np.unique(heads["type"], return_counts=True)
        is_other = (types <= 0) | (types > layout.MAX_TYPE)
        unknown = int(counts[is_other].sum())
        for kind, count in [*zip(types[~is_other].tolist(), counts[~is_other].tolist(), strict=True), (0, unknown)]:
            if count and (kind == 0 or kind in layout.UNREAD_BUSES):
                name = layout.UNREAD_BUSES.get(kind, "unknown types")
                self._unread[name] = self._unread.get(name, 0) + count
        wanted = np.isin(heads["type"], [*layout.FRAME_TYPES, *layout.ETHERNET_TYPES])
        count = int(wanted.sum())
        if not count:
            return None
        first = self._numbered
        self._numbered += count
        return Located(data, places[wanted], heads[wanted], self._start_ns, first, at_file)

    # ------------------------------------------------------------------------------------------ results

    def _take(self, decoded: DecodedObjects) -> tuple[FrameBatch, int]:
        summary = self.summary
        merged, channels, typed = (
            self._ethernet.flush()
            if self._is_over
            else self._ethernet.merge(
                decoded.frames, decoded.channels, decoded.objects, decoded.ethernet, decoded.names
            )
        )
        frames = self._channels.admit(merged, channels, at=decoded.at)
        if frames.height:
            if typed or int(frames["frame"][0]) != summary.frames or frames.height < merged.height:
                numbers = pl.int_range(summary.frames, summary.frames + pl.len(), dtype=pl.UInt64)
                typed = renumbered(typed, frames.select(before="frame", frame=numbers))
                frames = frames.with_columns(frame=numbers)
            times = frames["timestamp"].to_physical()
            summary.cover(int(times.min()), int(times.max()))  # type: ignore[arg-type] # not empty
        summary.frames += frames.height
        self._bad_times.add(decoded.bad_times, decoded.at)
        self._disagreeing.add(decoded.disagreeing, decoded.at)
        return FrameBatch(frames, LOGS.empty(), DIAGNOSTICS.empty(), typed), decoded.held_bytes

    def _finish(self) -> None:
        for kind, expected, found, actual, advice, lost in (
            ("over_limit", f"containers nested at most {_MAX_NESTING} deep", self._too_deep, "deeper",
             "They were not read.", None),
            ("bad_length", f"objects of at least {layout.OBJECT_HEAD.itemsize} bytes", self._short, "shorter",
             "They hold nothing that can be read.", 0),
            ("bad_length", "as many data bytes as the DLC says", self._disagreeing, "frames with another number",
             "The bytes that are there were kept.", 0),
            ("bad_timestamp", "valid times of objects", self._bad_times, "invalid",
             "These frames have the time at which the recording starts.", 0),
        ):  # fmt: skip
            if found.count:
                self._problem(kind, expected, f"{found.count} {actual}", found.at, advice, lost)
        for name, count in sorted(self._unread.items()):
            self._problem("unsupported", "CAN and LIN", f"{count} objects of {name}", 0, "They are not read.", 0)
        missing = self._claimed - self._objects - self.summary.frames_lost
        if missing > 0:
            self._problem(
                "bad_record", f"{self._claimed} objects, as the file's header says", f"{self._objects} read", 0,
                "The difference was lost in the damage reported above.", missing,
            )  # fmt: skip
        for problem in self._ethernet.problems({}, "CAN, LIN and DoIP"):
            self._report(problem)
        self.summary.problems.sort(key=lambda p: p.offset or 0)
        self.summary.channels = self._ethernet.with_schemas(self._channels.summaries())


class BlfDecoder(ForwardDecoder):
    """BLF as CANoe, CANalyzer and Vector's loggers write it."""

    name = "blf"
    version = 7
    reader = BlfReader

    def matches(self, head: bytes) -> bool:
        """Return whether the file starts with the header of a log."""
        return head.startswith(layout.MAGIC)


def _systemtime_ns(values: tuple[int, ...]) -> int:
    """Convert a Windows SYSTEMTIME, which has no zone and counts as UTC, to nanoseconds since 1970; 0 for no date."""
    year, month, _, day, hour, minute, second, millisecond = values
    try:
        start = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return 0
    ns = int(start.timestamp()) * 10**9 + millisecond * 10**6
    return ns if abs(ns) < MAX_TIME_NS else 0
