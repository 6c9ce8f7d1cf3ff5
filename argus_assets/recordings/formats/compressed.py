"""A recording inside gzip or zstd: inflated to a temporary file within limits, then read as what it is."""

import os
import tempfile
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Final, Protocol

import zstandard

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.model import FrameBatch, Problem, Reader, RecordingSummary, Source

GZIP: Final = b"\x1f\x8b\x08"
ZSTD: Final = b"\x28\xb5\x2f\xfd"

_READ_BYTES: Final = 1024 * 1024
_STEP_BYTES: Final = {"gzip": 16 * 1024, "zstd": 1024}
"""Compressed bytes that are inflated at a time: deflate makes at most 1,032 bytes of one, zstd 128 KiB of four."""
_MAX_WINDOW_BYTES: Final = 128 * 1024**2
"""Memory that a zstd frame may ask for: what `zstd --ultra` and `--long` take."""

Open = Callable[[Source, Budget], Reader]


class _Member(Protocol):
    """A gzip member or a zstd frame while it is inflated."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class CompressedReader:
    """The reader of what is inside; offsets of its problems count in the inflated bytes.

    The inflated data must be a file: its reader may need random access.
    """

    def __init__(self, source: Source, budget: Budget, open_inner: Open) -> None:
        self._source = source
        self._budget = budget
        self._open_inner = open_inner
        self._size = source.seek(0, 2)
        self.summary = RecordingSummary("unknown", "none", self._size)

    def __iter__(self) -> Iterator[FrameBatch]:
        self._source.seek(0)
        name = "gzip" if self._source.read(len(GZIP)) == GZIP else "zstd"
        # The module asks the environment once; a process that was forked may have another folder.
        with tempfile.TemporaryFile(prefix="argus-inflated-", dir=os.environ.get("TMPDIR")) as inflated:
            problem: Problem | None = None
            try:
                for at, piece in self._inflated(name):
                    fitting = piece[: self._budget.left_bytes]
                    self._budget.inflate(len(fitting), at=at)
                    inflated.write(fitting)
                    if len(fitting) < len(piece):
                        self._budget.inflate(len(piece) - len(fitting), at=at)  # refused, and reported
                        break
            except (zlib.error, zstandard.ZstdError, EOFError) as error:
                problem = Problem(
                    "bad_compression", f"whole {name} data", f"{inflated.tell()} bytes, then: {error}",
                    self._source.tell(), None, "The file is damaged or cut off, or needs a dictionary or more than 128 MiB; what came before was read.",
                )  # fmt: skip
            inflated.seek(0)
            if inflated.read(len(ZSTD)).startswith((GZIP, ZSTD)):
                self.summary.problems.append(
                    Problem(
                        "unknown_format", f"a recording inside of {name}", "another compression", 0, None,
                        "Only one layer of compression is removed. Compress the recording once.",
                    )
                )  # fmt: skip
            else:
                inner = self._open_inner(inflated, self._budget)
                self.summary = inner.summary
                self._budget.settle(
                    self.summary
                )  # reported first: that the recording then seems cut off follows from it
                yield from inner
                self.summary = inner.summary
                self.summary.size_bytes = self._size
                self.summary.decoder += f"+{name}"
            if problem is not None:
                self.summary.problems.insert(0, problem)

    def _inflated(self, name: str) -> Generator[tuple[int, bytes]]:
        """Inflate the file: offset and what comes out there.

        Files of several members, or frames, are one recording; zeros behind them are padding.

        Raises:
            zlib.error: It is damaged.
            zstandard.ZstdError: The same.
            EOFError: It is cut off.
        """
        step = _STEP_BYTES[name]
        zstd = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        member: _Member | None = None
        self._source.seek(0)
        at = 0
        while block := self._source.read(_READ_BYTES):
            for start in range(0, len(block), step):
                data = block[start : start + step]
                while data:
                    if member is None:
                        data = data.lstrip(b"\0")
                        if not data:
                            break
                        member = zlib.decompressobj(wbits=31) if name == "gzip" else zstd.decompressobj()
                    yield at + start, member.decompress(data)
                    if not member.eof:
                        break
                    data = member.unused_data
                    member = None
            at += len(block)
        if member is not None:
            raise EOFError("the end is missing")
