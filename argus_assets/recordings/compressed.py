"""A recording inside gzip or zstd: inflated to a temporary file within limits, then read as what it is."""

import tempfile
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Final

import zstandard

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.model import FrameBatch, Problem, Reader, RecordingSummary, Source

GZIP: Final = b"\x1f\x8b\x08"
ZSTD: Final = b"\x28\xb5\x2f\xfd"
_STEP: Final = 1024 * 1024

Open = Callable[[Source, Budget], Reader]


class CompressedReader:
    """The reader of what is inside; offsets of its problems count in the inflated bytes.

    It has to be a file: what is inside may have to be read again from another place.
    """

    def __init__(self, source: Source, budget: Budget, open_inner: Open) -> None:
        self._source = source
        self._budget = budget
        self._open_inner = open_inner
        self._size = source.seek(0, 2)
        self.summary = RecordingSummary("unknown", "none", self._size)

    def __iter__(self) -> Iterator[FrameBatch]:
        self._source.seek(0)
        is_gzip = self._source.read(len(GZIP)) == GZIP
        name = "gzip" if is_gzip else "zstd"
        self._source.seek(0)
        with tempfile.TemporaryFile(prefix="argus-inflated-") as inflated:
            problem: Problem | None = None
            total = 0
            try:
                for piece in (self._gunzip if is_gzip else self._unzstd)():
                    if not self._budget.inflate(len(piece), at=self._source.tell()):
                        break
                    inflated.write(piece)
                    total += len(piece)
            except (zlib.error, zstandard.ZstdError, EOFError) as error:
                problem = Problem(
                    "bad_compression", f"whole {name} data", f"{total} bytes, then: {error}", self._source.tell(), None,
                    "The file is damaged or cut off; what came before was read.",
                )  # fmt: skip
            inner = self._open_inner(inflated, self._budget)
            self.summary = inner.summary
            yield from inner
            self.summary = inner.summary
            self.summary.size_bytes = self._size
            self.summary.decoder += f"+{name}"
            if problem is not None:
                self.summary.problems.insert(0, problem)

    def _gunzip(self) -> Generator[bytes]:
        stream = zlib.decompressobj(wbits=31)
        fed = False
        while data := self._source.read(_STEP):
            while data:
                fed = True
                yield stream.decompress(data, _STEP)
                while stream.unconsumed_tail:
                    yield stream.decompress(stream.unconsumed_tail, _STEP)
                data = stream.unused_data
                if stream.eof:
                    # Files of several members are one recording; zeros behind them are padding.
                    data = data.lstrip(b"\0")
                    stream, fed = zlib.decompressobj(wbits=31), False
        if fed:
            yield stream.flush()
            raise EOFError("the end is missing")

    def _unzstd(self) -> Generator[bytes]:
        reader = zstandard.ZstdDecompressor().stream_reader(self._source, read_across_frames=True, closefd=False)  # type: ignore[arg-type] # read() is all it needs
        while piece := reader.read(_STEP):
            yield piece
