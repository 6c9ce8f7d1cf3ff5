"""Opening a recording whatever its format."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from argus_assets.recordings.compressed import GZIP, ZSTD, CompressedReader
from argus_assets.recordings.model import (
    DEFAULT_LIMITS,
    FrameBatch,
    Limits,
    Problem,
    Reader,
    RecordingSummary,
    Source,
    concat_topics,
)
from argus_assets.recordings.registry import DECODERS, HEAD_BYTES, detect
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS


class UnreadableReader:
    """A reader of no frames, for a file that no decoder takes."""

    def __init__(self, summary: RecordingSummary) -> None:
        self.summary = summary

    def __iter__(self) -> Iterator[FrameBatch]:
        return iter(())


def open_recording(source: Source, *, limits: Limits = DEFAULT_LIMITS) -> Reader:
    """A reader for a recording, by its content.

    An empty file or an unknown format gives a reader of no frames whose summary says so.

    Raises:
        OSError: The source cannot be read.
    """
    source.seek(0)
    head = source.read(HEAD_BYTES)
    if head.startswith((GZIP, ZSTD)):
        return CompressedReader(source, limits, _open_inflated)
    return _open_inflated(source, limits)


def _open_inflated(source: Source, limits: Limits) -> Reader:
    size = source.seek(0, 2)
    source.seek(0)
    head = source.read(HEAD_BYTES)
    decoder = detect(head)
    if decoder is not None:
        return decoder.open(source, limits)
    summary = RecordingSummary("unknown", "none", size)
    known = ", ".join(d.name for d in DECODERS)
    if size == 0:
        problem = Problem(
            "empty_file", "a recording", "0 bytes", 0, None, "The logger wrote nothing, or the upload was cut off."
        )
    else:
        problem = Problem(
            "unknown_format",
            f"one of {known}",
            f"a file that starts with {head[:16].hex(' ')}",
            0,
            None,
            "Check that this file is a recording, and of a supported format.",
        )
    summary.problems.append(problem)
    return UnreadableReader(summary)


def read_recording(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> tuple[FrameBatch, RecordingSummary]:
    """Read a whole local recording into memory.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as source:
        reader = open_recording(source, limits=limits)
        batches = list(reader)
    return concat_batches(batches), reader.summary


def concat_batches(batches: list[FrameBatch]) -> FrameBatch:
    """Several batches as one."""
    return FrameBatch(
        frames=pl.concat([FRAMES.empty(), *(b.frames for b in batches)]),
        logs=pl.concat([LOGS.empty(), *(b.logs for b in batches)]),
        diagnostics=pl.concat([DIAGNOSTICS.empty(), *(b.diagnostics for b in batches)]),
        topics=concat_topics(b.topics for b in batches),
    )
