"""Values that decoders and their callers exchange."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, Self

import polars as pl

from argus_assets.recordings.parallel import default_workers
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS

_MAX_PROBLEMS: Final = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on what one recording may cost. Data beyond a limit is not read, and a problem row says what, where and how much.

    Each is a setting (`ARGUS_LIMITS`, docs/recordings.md). The defaults are above what genuine recordings have.

    Attributes:
        max_chunk_bytes: Largest inflated chunk.
        max_ratio: Largest ratio of inflated to compressed size of one chunk. Deflate reaches 1,030.
        max_total_bytes: Largest sum of inflated bytes of one file.
        max_total_ratio: Largest ratio of that sum to the size of the file, beyond `min_total_bytes`.
        min_total_bytes: Inflated bytes that any file may have, however small it is.
        max_in_flight_bytes: Inflated bytes that wait in memory to be decoded, together.
        max_channels: Channels, or topics, of a file. Frames of further ones are not read.
        max_topics: Topics and signal groups with typed columns. Messages of further ones are frames only.
        max_columns: Typed columns of one topic or signal group.
        max_total_columns: Typed columns of all topics and signal groups together.
        max_schemas: Different message schemas.
        max_schema_bytes: Size of one message schema, or of another text of the structure (MDF metadata, a formula).
        max_depth: Nesting of a message schema, a conversion or a list of blocks.
        max_blocks: Blocks of the structure of an MDF file; containers inside of containers of a BLF file.
        max_records: Records of an MCAP file that are no messages; four bytes of the file allow one more.
        max_values: Values of typed columns, by the work that they are: one is some 100 ns. Larger files may have 4 for
            each byte.
        max_problems: Problems of one kind that get a row each; further ones are counted.
        min_cpu_s: Seconds of CPU time that any recording may take.
        cpu_s_per_mb: Further seconds for each megabyte of the file.
        batch_frames: Frames handed out at a time, about.
        workers: Threads that one recording may keep busy; with one, everything runs in the caller's.
    """

    max_chunk_bytes: int = 256 * 1024**2
    max_ratio: float = 1000.0
    max_total_bytes: int = 256 * 1024**3
    max_total_ratio: float = 100.0
    min_total_bytes: int = 512 * 1024**2
    max_in_flight_bytes: int = 256 * 1024**2
    max_channels: int = 8192
    max_topics: int = 4096
    max_columns: int = 2048
    max_total_columns: int = 65_536
    max_schemas: int = 4096
    max_schema_bytes: int = 4 * 1024**2
    max_depth: int = 32
    max_blocks: int = 1_000_000
    max_records: int = 1_000_000
    max_values: int = 16 * 1024**2
    max_problems: int = _MAX_PROBLEMS
    min_cpu_s: float = 10.0
    cpu_s_per_mb: float = 2.0
    batch_frames: int = 500_000
    workers: int = field(default_factory=default_workers)

    def total_bytes_of(self, size_bytes: int) -> int:
        """Return the bytes that a file of `size_bytes` may inflate to."""
        return min(self.max_total_bytes, max(self.min_total_bytes, int(self.max_total_ratio * size_bytes)))


DEFAULT_LIMITS = Limits()

TopicKey = tuple[str, str]
"""Topic (or signal group) and the schema of its messages."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong inside a recording: a row of the problems table, less the recording."""

    kind: str
    expected: str
    actual: str
    offset: int | None = None
    frames_lost: int | None = None
    help: str = ""


class ProblemLog(list[Problem]):
    """The problems of one recording: of each kind the first hundred in full, what follows as a number.

    Made to be appended to. `settle` adds a row for each kind of which problems were only counted; until then
    `len` and iteration know the first hundred of each kind.

    Args:
        problems: To begin with; kept as they are. (`dataclasses.asdict` makes a log of dictionaries this way.)

    Attributes:
        max_listed: Problems of one kind that are kept in full.
    """

    def __init__(self, problems: Iterable[Problem] = ()) -> None:
        super().__init__(problems)
        self.max_listed = _MAX_PROBLEMS
        self._kept: dict[str, int] = {}
        self._folded: dict[str, _Folded] = {}

    def append(self, problem: Problem, /) -> None:
        """Keep a problem, or count it."""
        kept = self._kept.get(problem.kind, 0)
        if kept < self.max_listed:
            self._kept[problem.kind] = kept + 1
            super().append(problem)
        else:
            self._folded.setdefault(problem.kind, _Folded()).add(problem)

    def extend(self, problems: Iterable[Problem], /) -> None:
        """Keep or count each."""
        for problem in problems:
            self.append(problem)

    def __iadd__(self, problems: Iterable[Problem], /) -> Self:  # type: ignore[override,misc]
        self.extend(problems)
        return self

    def settle(self) -> None:
        """Add the rows of what was only counted. Further problems of these kinds begin a new count."""
        folded, self._folded = self._folded, {}
        for kind, more in folded.items():
            super().append(
                Problem(
                    kind,
                    f"at most {self.max_listed:,} problems of a kind listed",
                    f"{more.count:,} more of this kind"
                    + ("" if more.at is None else f", the first at offset {more.at}"),
                    more.at,
                    more.frames_lost,
                    "They were counted, not listed.",
                )
            )


@dataclass(slots=True)
class _Folded:
    """Problems of a kind that are only counted."""

    count: int = 0
    at: int | None = None
    frames_lost: int | None = None

    def add(self, problem: Problem) -> None:
        self.count += 1
        if problem.offset is not None:
            self.at = problem.offset if self.at is None else min(self.at, problem.offset)
        if problem.frames_lost is not None:
            self.frames_lost = (self.frames_lost or 0) + problem.frames_lost


@dataclass(frozen=True, slots=True)
class ChannelSummary:
    """A channel or topic with its frame count."""

    channel: str
    kind: str
    frames: int
    schema: str = ""


@dataclass(frozen=True, slots=True)
class TopicSummary:
    """A table of typed columns with its rows, and the number of files that hold it."""

    topic: str
    schema: str
    rows: int
    files: int = 1


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """Some frames in file order, with the log entries and diagnostic statuses they carry.

    Attributes:
        frames: `schema.FRAMES`.
        logs: `schema.LOGS`.
        diagnostics: `schema.DIAGNOSTICS`.
        topics: Typed columns of other messages and signals: `frame` (null for signals that are no messages),
            `timestamp`, and a column for each field.
    """

    frames: pl.DataFrame
    logs: pl.DataFrame
    diagnostics: pl.DataFrame
    topics: Mapping[TopicKey, pl.DataFrame] = field(default_factory=dict)


@dataclass(slots=True)
class RecordingSummary:
    """The summary of a recording that has been read.

    Timestamps are integer nanoseconds since 1970-01-01 UTC, `None` without frames.

    Attributes:
        try_again: A plug-in failed or a reader was ended, which may have been this machine's fault: the next run reads
            the recording again.
    """

    format: str
    decoder: str
    size_bytes: int
    frames: int = 0
    frames_lost: int = 0
    first_timestamp_ns: int | None = None
    last_timestamp_ns: int | None = None
    channels: list[ChannelSummary] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=ProblemLog)
    topics: list[TopicSummary] = field(default_factory=list)
    try_again: bool = False

    def cover(self, first_ns: int | None, last_ns: int | None) -> None:
        """Widen the time range to these nanoseconds."""
        if first_ns is not None:
            self.first_timestamp_ns = (
                first_ns if self.first_timestamp_ns is None else min(first_ns, self.first_timestamp_ns)
            )
        if last_ns is not None:
            self.last_timestamp_ns = last_ns if self.last_timestamp_ns is None else max(last_ns, self.last_timestamp_ns)


def concat_topics(parts: Iterable[Mapping[TopicKey, pl.DataFrame]]) -> dict[TopicKey, pl.DataFrame]:
    """Concatenate the tables of each topic."""
    gathered: dict[TopicKey, list[pl.DataFrame]] = {}
    for part in parts:
        for key, table in part.items():
            gathered.setdefault(key, []).append(table)
    return {key: pl.concat(tables, how="diagonal_relaxed") for key, tables in gathered.items()}


def concat_batches(batches: Sequence[FrameBatch]) -> FrameBatch:
    """Return several batches as one."""
    if len(batches) == 1:
        return batches[0]
    return FrameBatch(
        frames=pl.concat([FRAMES.empty(), *(b.frames for b in batches)]),
        logs=pl.concat([LOGS.empty(), *(b.logs for b in batches)]),
        diagnostics=pl.concat([DIAGNOSTICS.empty(), *(b.diagnostics for b in batches)]),
        topics=concat_topics(b.topics for b in batches),
    )


class Source(Protocol):
    """A recording's bytes: seekable, read-only. A local file or an fsspec file both fit."""

    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


class Reader(Protocol):
    """One pass over one recording.

    Iterate to the end; then `summary` is complete. Bad bytes never raise: they end as
    `Problem`s in the summary. Errors of the source itself (`OSError`) do pass through.
    """

    summary: RecordingSummary

    def __iter__(self) -> Iterator[FrameBatch]: ...
