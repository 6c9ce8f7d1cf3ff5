"""A recording inside gzip, zstd, bz2 or xz: inflated to a temporary file within limits, then read as what it is."""

import bz2
import lzma
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
BZ2: Final = b"BZh"
XZ: Final = b"\xfd7zXZ\0"
COMPRESSIONS: Final[dict[bytes, str]] = {GZIP: "gzip", ZSTD: "zstd", BZ2: "bz2", XZ: "xz"}
"""First bytes of a compressed file → the compression."""
MARKS: Final = tuple(COMPRESSIONS)

_READ_BYTES: Final = 1024 * 1024
_STEP_BYTES: Final = {"gzip": 16 * 1024, "zstd": 1024, "bz2": 16 * 1024, "xz": 16 * 1024}
"""Compressed bytes that are inflated at a time: deflate makes at most 1,032 bytes of one, zstd 128 KiB of four."""
_OUT_BYTES: Final = 8 * 1024**2
"""Bytes that bz2 and xz are asked for at a time: of a few they can make gigabytes."""
_MAX_WINDOW_BYTES: Final = 128 * 1024**2
"""Memory that a zstd frame may ask for: what `zstd --ultra` and `--long` take."""

Open = Callable[[Source, Budget], Reader]


class _Member(Protocol):
    """A gzip member, a zstd frame, or a stream of bz2 or xz while it is inflated."""

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
        head = self._source.read(max(map(len, MARKS)))
        name = next(name for mark, name in COMPRESSIONS.items() if head.startswith(mark))
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
            except (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, EOFError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise  # of the disk, and not of the data
                problem = Problem(
                    "bad_compression", f"whole {name} data", f"{inflated.tell()} bytes, then: {error}",
                    self._source.tell(), None, "The file is damaged or cut off, or needs a dictionary or more than 128 MiB; what came before was read.",
                )  # fmt: skip
            inflated.seek(0)
            if inflated.read(max(map(len, MARKS))).startswith(MARKS):
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
            zstandard.ZstdError: The same; likewise `lzma.LZMAError`, and `OSError` without a number of bz2.
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
                        member = _member(name, zstd)
                    if isinstance(member, bz2.BZ2Decompressor | lzma.LZMADecompressor):
                        yield at + start, member.decompress(data, _OUT_BYTES)
                        while not member.eof and not member.needs_input:
                            yield at + start, member.decompress(b"", _OUT_BYTES)
                    else:
                        yield at + start, member.decompress(data)
                    if not member.eof:
                        break
                    data = member.unused_data
                    member = None
            at += len(block)
        if member is not None:
            raise EOFError("the end is missing")


def _member(name: str, zstd: zstandard.ZstdDecompressor) -> _Member:
    """Return what inflates a member, within memory that is bounded."""
    if name == "gzip":
        return zlib.decompressobj(wbits=31)
    if name == "bz2":
        return bz2.BZ2Decompressor()
    if name == "xz":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_WINDOW_BYTES)
    return zstd.decompressobj()
