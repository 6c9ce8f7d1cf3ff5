"""Opening a recording whatever its format."""

from collections.abc import Iterator
from functools import partial
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
from argus_assets.recordings.registry import BUILT_IN, HEAD_BYTES, Decoders, PlugIn, inner_name
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS


class UnreadableReader:
    """A reader of no frames, for a file that no decoder takes."""

    def __init__(self, summary: RecordingSummary) -> None:
        self.summary = summary

    def __iter__(self) -> Iterator[FrameBatch]:
        return iter(())


def open_recording(
    source: Source, *, limits: Limits = DEFAULT_LIMITS, decoders: Decoders = BUILT_IN, name: str = ""
) -> Reader:
    """A reader for a recording, by its content.

    An empty file or an unknown format gives a reader of no frames whose summary says so.

    Args:
        source: The recording.
        limits: What the decoder may spend.
        decoders: The formats in force.
        name: Of the file, for plug-ins that go by it where no format knows the content.

    Raises:
        OSError: The source cannot be read.
    """
    source.seek(0)
    head = source.read(HEAD_BYTES)
    if head.startswith((GZIP, ZSTD)):
        return CompressedReader(source, limits, partial(_open_inflated, decoders=decoders, name=inner_name(name)))
    return _open_inflated(source, limits, decoders=decoders, name=name)


def _open_inflated(source: Source, limits: Limits, *, decoders: Decoders, name: str) -> Reader:
    size = source.seek(0, 2)
    source.seek(0)
    head = source.read(HEAD_BYTES)
    decoder = decoders.detect(head, name)
    if isinstance(decoder, PlugIn):
        return decoder.open_named(source, limits, name)
    if decoder is not None:
        return decoder.open(source, limits)
    summary = RecordingSummary("unknown", "none", size)
    known = ", ".join(decoders.names)
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
            " ".join(["Check that this file is a recording, and of a supported format.", *decoders.notes]),
        )
    summary.problems.append(problem)
    return UnreadableReader(summary)


def read_recording(
    path: Path, *, limits: Limits = DEFAULT_LIMITS, decoders: Decoders = BUILT_IN
) -> tuple[FrameBatch, RecordingSummary]:
    """Read a whole local recording into memory.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as source:
        reader = open_recording(source, limits=limits, decoders=decoders, name=path.name)
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
