"""The values that pass between decoders and their callers, and the interface of a decoder."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from argus_assets.recordings.pipeline import usable_cores


@dataclass(frozen=True, slots=True)
class Limits:
    """What a decoder may spend on one recording; what exceeds a limit becomes a problem row.

    Attributes:
        max_chunk_bytes: Largest inflated chunk.
        max_ratio: Largest ratio of inflated to compressed size.
        max_total_bytes: Largest sum of inflated bytes of one file.
        batch_frames: Frames handed out at a time, about.
        workers: Threads that one recording may keep busy; with one, everything runs in the caller's.
    """

    max_chunk_bytes: int = 256 * 1024**2
    max_ratio: float = 1000.0
    max_total_bytes: int = 256 * 1024**3
    batch_frames: int = 500_000
    workers: int = field(default_factory=usable_cores)


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


@dataclass(frozen=True, slots=True)
class ChannelSummary:
    """A channel or topic with its frame count."""

    channel: str
    kind: str
    frames: int
    schema: str = ""


@dataclass(frozen=True, slots=True)
class TopicSummary:
    """A table of typed columns with its rows."""

    topic: str
    schema: str
    rows: int


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
    """What is known of a recording once it has been read.

    Timestamps are integer nanoseconds since 1970-01-01 UTC, `None` without frames.

    Attributes:
        try_again: A plug-in failed, which may have been this machine's fault or the program's: the next run reads the
            recording again.
    """

    format: str
    decoder: str
    size_bytes: int
    frames: int = 0
    frames_lost: int = 0
    first_timestamp_ns: int | None = None
    last_timestamp_ns: int | None = None
    channels: list[ChannelSummary] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
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
    """The tables of each topic one after another."""
    gathered: dict[TopicKey, list[pl.DataFrame]] = {}
    for part in parts:
        for key, table in part.items():
            gathered.setdefault(key, []).append(table)
    return {key: pl.concat(tables, how="diagonal_relaxed") for key, tables in gathered.items()}


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


class Decoder(Protocol):
    """A recording format.

    Attributes:
        seeks: Whether its reader jumps about in a recording, so that it wants a local file; others read forward.
    """

    name: str
    version: int
    seeks: bool

    def matches(self, head: bytes) -> bool:
        """Whether a file that starts with these bytes (up to 4,096) has this format."""
        ...

    def open(self, source: Source, limits: Limits) -> Reader:
        """A reader over `source`, positioned anywhere."""
        ...
