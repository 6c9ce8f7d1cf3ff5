"""The skeleton of a reader that walks a recording once, from its start: what the built-in formats share.

A format says what its files hold (`_streams`), what is counted of it (`_take`), and what is only known at the end
(`_finish`). Batches, problems, the block of the file in memory, and the bounds on work in flight are here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, TypeVar

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.model import (
    FrameBatch,
    Problem,
    Reader,
    RecordingSummary,
    Source,
    concat_batches,
)
from argus_assets.recordings.parallel import pass_on, staged

_Item = TypeVar("_Item")
_Opened = TypeVar("_Opened")
_Done = TypeVar("_Done")
_Decoded = TypeVar("_Decoded")

BLOCK_BYTES: Final = 4 * 1024**2


class ForwardReader(ABC, Generic[_Decoded]):
    """One pass over one recording; see `model.Reader`.

    Args:
        source: The recording.
        budget: What it may still cost.
        name: Of the format.
        version: Of its decoder.
    """

    max_batch_bytes: ClassVar[float] = float("inf")
    """Memory of frames and columns after which a batch is handed out, however few frames it has."""

    def __init__(self, source: Source, budget: Budget, *, name: str, version: int) -> None:
        self._source = source
        self._budget = budget
        self._limits = budget.limits
        self._size = source.seek(0, 2)
        self.summary = RecordingSummary(name, f"{name}/{version}", self._size)

    def __iter__(self) -> Iterator[FrameBatch]:
        for stream in self._streams():
            yield from self._batches(stream)
        self._finish()

    @abstractmethod
    def _streams(self) -> Iterator[Iterator[_Decoded]]:
        """Yield what the file holds, decoded. A batch ends with its stream."""

    @abstractmethod
    def _take(self, decoded: _Decoded) -> tuple[FrameBatch, int]:
        """Count what was decoded; return it with the bytes of memory that it takes."""

    @abstractmethod
    def _finish(self) -> None:
        """Complete the summary: its channels, and the problems that are only known at the end."""

    def _batches(self, stream: Iterator[_Decoded]) -> Generator[FrameBatch]:
        ready: list[FrameBatch] = []
        rows = size = 0
        for taken, taken_bytes in map(self._take, stream):
            size += taken_bytes
            taken_rows = max([taken.frames.height, *(table.height for table in taken.topics.values())])
            if taken_rows:
                ready.append(taken)
                rows += taken_rows
            del taken  # what has been handed out is not held any longer
            if ready and (rows >= self._limits.batch_frames or size >= self.max_batch_bytes):
                batch = concat_batches(ready)
                ready, rows, size = [], 0, 0
                yield batch
                del batch
        if ready:
            yield concat_batches(ready)

    def _staged(
        self,
        items: Iterable[_Item],
        first: Callable[[_Item], _Opened],
        second: Callable[[Executor, _Opened], "Sequence[Future[_Done]]"] = pass_on,
        *,
        weight: Callable[[_Item], int],
    ) -> Generator[_Done]:
        """Work on items side by side within the limits of the recording; see `parallel.staged`."""
        return staged(
            items,
            first,
            second,
            workers=self._limits.workers,
            weight=weight,
            max_weight=self._limits.max_in_flight_bytes,
        )

    def _problem(  # noqa: PLR0917 - the fields of a problem, in its order
        self, kind: str, expected: str, actual: str, at: int, advice: str = "", lost: int | None = None
    ) -> None:
        self._report(Problem(kind, expected, actual, at, lost, advice))

    def _report(self, problem: Problem) -> None:
        self.summary.problems.append(problem)
        self.summary.frames_lost += problem.frames_lost or 0


class ForwardDecoder(ABC):
    """A format that a `ForwardReader` reads; see `registry.Decoder`."""

    name: str
    version: int
    seeks: bool = False
    reader: ClassVar[type[ForwardReader[Any]]]

    @abstractmethod
    def matches(self, head: bytes) -> bool:
        """Return whether a file that starts with these bytes has this format."""

    def open(self, source: Source, budget: Budget) -> Reader:
        """Return a reader over `source`."""
        return self.reader(source, budget, name=self.name, version=self.version)


@dataclass(slots=True)
class Repeated:
    """Damage that may be found any number of times and gets one row of the problems table.

    Attributes:
        count: How often it was found.
        at: Offset of the first.
        example: Text of the first.
    """

    count: int = 0
    at: int = 0
    example: str = ""

    def add(self, count: int, at: int, example: str = "") -> None:
        """Count it, as often as it was found at this offset and behind."""
        if count and (not self.count or at < self.at):
            self.at, self.example = at, example
        self.count += count


class Block:
    """A block of the file in memory; what is asked for behind it becomes the next one.

    Each byte of the file is read once, but for a jump back.

    Attributes:
        start: Offset of the block in the file.
        data: Its bytes.
    """

    def __init__(self, source: Source, size: int) -> None:
        self._source = source
        self._size = size
        self.start = 0
        self.data = b""

    def read(self, at: int, size: int) -> bytes:
        """Return bytes of the file from `at` on, fewer at its end only."""
        if size <= BLOCK_BYTES:
            self.hold(at, size)
            return self.data[at - self.start : at - self.start + size]
        head = self.data[at - self.start :] if self.start <= at else b""
        self._source.seek(at + len(head))
        return head[:size] + self._source.read(max(0, size - len(head)))

    def hold(self, at: int, size: int) -> None:
        """Have these bytes in memory, as far as the file has them."""
        end = self.start + len(self.data)
        if self.start <= at and min(at + size, self._size) <= end:
            return
        kept = self.data[at - self.start :] if self.start <= at < end else b""
        self._source.seek(at + len(kept))
        self.start, self.data = at, kept + self._source.read(max(BLOCK_BYTES, size) - len(kept))


def grouped(items: Iterable[_Item], size_of: Callable[[_Item], int], min_bytes: int) -> Generator[list[_Item]]:
    """Yield items in their order, as many at a time as have `min_bytes`: what is worth the work of a thread."""
    group: list[_Item] = []
    size = 0
    for item in items:
        group.append(item)
        size += size_of(item)
        if size >= min_bytes:
            yield group
            group, size = [], 0
    if group:
        yield group
