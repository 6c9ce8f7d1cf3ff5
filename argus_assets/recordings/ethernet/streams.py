"""TCP streams out of recorded segments (RFC 9293): in order, each byte once, with gaps reported.

What was recorded is not what a receiver had: segments may be missing, doubled or out of order, and a recording may start
inside of a connection. Segments that are early wait, within bounds; then the bytes before them are given up.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from argus_assets.recordings.ethernet.segments import Segment

FIN, SYN, RST = 1, 2, 4

_MAX_STREAMS: Final = 4096
"""Streams that are followed at a time: a vehicle has a few testers. The one that was silent longest goes first."""
_MAX_WAITING: Final = 64
_MAX_WAITING_BYTES: Final = 1024**2
"""Early segments of a stream, and their bytes: a window of 64 KiB (RFC 9293, without scaling) several times."""
_MAX_WAIT_NS: Final = 3_000_000_000
"""A lost segment is sent again within a second or three (RFC 6298, 2): what is not there then was not recorded."""
_MAX_STEP: Final = 2**24
"""Bytes that a segment is ahead or behind at most; beyond, it belongs to another connection of the same ports."""


class Piece(NamedTuple):
    """Bytes of a stream.

    Attributes:
        stream: Its number.
        channel: Of its segments.
        data: The bytes.
        is_after_gap: Bytes before them are missing.
        is_first: They are the first of a connection, whose start was recorded.
    """

    stream: int
    channel: int
    data: bytes
    is_after_gap: bool
    is_first: bool


@dataclass(slots=True)
class _Stream:
    """One direction of a connection.

    Attributes:
        number: Of the stream.
        next: Sequence number of the next byte, `None` before the first segment.
        waiting: Early segments by their sequence number.
        waiting_bytes: Of them.
        is_after_gap: No byte followed the last gap yet.
        is_first: No byte of the connection came yet.
    """

    number: int
    next: int | None = None
    waiting: dict[int, Segment] = field(default_factory=dict)
    waiting_bytes: int = 0
    is_after_gap: bool = True
    is_first: bool = False


@dataclass(slots=True)
class Streams:
    """All TCP streams of a recording.

    Attributes:
        gaps: Places where bytes are missing.
        missing_bytes: Of them.
        repeated: Segments that were there already.
        closed: Numbers of streams that ended, for the caller to take out.
    """

    gaps: int = 0
    missing_bytes: int = 0
    repeated: int = 0
    closed: list[int] = field(default_factory=list)
    _by_ends: dict[tuple[int, bytes, bytes], _Stream] = field(default_factory=dict)
    _opened: int = 0

    def add(self, segment: Segment) -> Generator[Piece]:
        """Take the next recorded segment; yield the bytes that are complete with it."""
        ends = segment.channel, segment.source, segment.target
        stream = self._by_ends.pop(ends, None)
        if stream is None:
            stream = self._open()
            if len(self._by_ends) >= _MAX_STREAMS:
                silent = self._by_ends.pop(next(iter(self._by_ends)))
                yield from self._give_up(silent)
                self.closed.append(silent.number)
        self._by_ends[ends] = stream  # the last one in the order of silence
        start = segment.sequence
        if segment.flags & SYN:
            yield from self._give_up(stream)
            stream.next, stream.is_after_gap, stream.is_first = (start + 1) % 2**32, False, True
            start = stream.next
        if segment.data or segment.missing:
            yield from self._place(stream, start, segment)
        if segment.flags & RST:
            yield from self._give_up(stream)
            del self._by_ends[ends]
            self.closed.append(stream.number)

    def flush(self) -> Generator[Piece]:
        """Yield what is left at the end of the recording."""
        for stream in self._by_ends.values():
            yield from self._give_up(stream)
        self._by_ends.clear()

    def _open(self) -> _Stream:
        self._opened += 1
        return _Stream(self._opened - 1)

    def _place(self, stream: _Stream, start: int, segment: Segment) -> Generator[Piece]:
        if stream.next is None:
            stream.next = start
        ahead = _ahead(start, stream.next)
        if abs(ahead) > _MAX_STEP:
            yield from self._give_up(stream)
            stream.next, stream.is_after_gap, ahead = start, True, 0
        if ahead <= 0:
            yield from self._pass_on(stream, start, segment)
            yield from self._go_on(stream)
            return
        known = stream.waiting.get(start)
        if known is not None and len(known.data) >= len(segment.data):
            self.repeated += 1
            return
        stream.waiting_bytes += len(segment.data) - (len(known.data) if known else 0)
        stream.waiting[start] = segment
        oldest = next(iter(stream.waiting.values())).time_ns
        if (
            len(stream.waiting) > _MAX_WAITING
            or stream.waiting_bytes > _MAX_WAITING_BYTES
            or segment.time_ns - oldest > _MAX_WAIT_NS
        ):
            yield from self._skip_gap(stream)

    def _pass_on(self, stream: _Stream, start: int, segment: Segment) -> Generator[Piece]:
        """Yield what of a segment is new; it starts at or before the next byte."""
        assert stream.next is not None
        known = _ahead(stream.next, start)
        data = segment.data[known:]
        size = len(segment.data) + segment.missing - known
        if size <= 0:
            self.repeated += 1
            return
        if data:
            yield Piece(stream.number, segment.channel, data, stream.is_after_gap, stream.is_first)
            stream.is_after_gap = stream.is_first = False
        stream.next = (stream.next + size) % 2**32
        lost = size - len(data)
        if lost:
            self._gap(stream, lost)

    def _go_on(self, stream: _Stream) -> Generator[Piece]:
        """Yield what waited for the bytes that are there now."""
        while stream.waiting:
            assert stream.next is not None
            start = min(stream.waiting, key=lambda s: _ahead(s, stream.next or 0))
            if _ahead(start, stream.next) > 0:
                return
            segment = stream.waiting.pop(start)
            stream.waiting_bytes -= len(segment.data)
            yield from self._pass_on(stream, start, segment)

    def _skip_gap(self, stream: _Stream) -> Generator[Piece]:
        """Give up the bytes before the first segment that waits."""
        assert stream.next is not None
        start = min(stream.waiting, key=lambda s: _ahead(s, stream.next or 0))
        self._gap(stream, _ahead(start, stream.next))
        stream.next = start
        yield from self._go_on(stream)

    def _give_up(self, stream: _Stream) -> Generator[Piece]:
        while stream.waiting:
            yield from self._skip_gap(stream)

    def _gap(self, stream: _Stream, size: int) -> None:
        self.gaps += 1
        self.missing_bytes += size
        stream.is_after_gap = True


def _ahead(sequence: int, of: int) -> int:
    """Return how far a sequence number is ahead of another (modulo 2^32), negative where it is behind."""
    return (sequence - of + 2**31) % 2**32 - 2**31
