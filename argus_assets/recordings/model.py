"""The values that pass between decoders and their callers, and the interface of a decoder."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl


@dataclass(frozen=True, slots=True)
class Limits:
    """What a decoder may spend on one recording; what exceeds a limit becomes a problem row.

    Attributes:
        max_chunk_bytes: Largest inflated chunk.
        max_ratio: Largest ratio of inflated to compressed size.
        max_total_bytes: Largest sum of inflated bytes of one file.
        batch_frames: Frames handed out at a time, about.
    """

    max_chunk_bytes: int = 256 * 1024**2
    max_ratio: float = 1000.0
    max_total_bytes: int = 256 * 1024**3
    batch_frames: int = 500_000


DEFAULT_LIMITS = Limits()


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
class FrameBatch:
    """Some frames in file order, with the log entries and diagnostic statuses they carry.

    Attributes:
        frames: `schema.FRAMES`.
        logs: `schema.LOGS`.
        diagnostics: `schema.DIAGNOSTICS`.
    """

    frames: pl.DataFrame
    logs: pl.DataFrame
    diagnostics: pl.DataFrame


@dataclass(slots=True)
class RecordingSummary:
    """What is known of a recording once it has been read.

    Timestamps are integer nanoseconds since 1970-01-01 UTC, `None` without frames.
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
    """A recording format."""

    name: str
    version: int

    def matches(self, head: bytes) -> bool:
        """Whether a file that starts with these bytes (up to 4,096) has this format."""
        ...

    def open(self, source: Source, limits: Limits) -> Reader:
        """A reader over `source`, positioned anywhere."""
        ...
