"""Open a recording, whatever its format."""

import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import polars as pl

from argus_assets.common.texts import clean
from argus_assets.errors import ArgusError
from argus_assets.recordings.budget import Budget
from argus_assets.recordings.formats.compressed import MARKS, CompressedReader
from argus_assets.recordings.known_files import KNOWN_FILES, known_file
from argus_assets.recordings.model import (
    DEFAULT_LIMITS,
    FrameBatch,
    Limits,
    Problem,
    ProblemLog,
    Reader,
    RecordingSummary,
    Source,
)
from argus_assets.recordings.registry import BUILT_IN, HEAD_BYTES, Decoders, PlugIn, inner_name
from argus_assets.recordings.tally import Tally


class UnreadableReader:
    """A reader of no frames, for a file that no decoder takes."""

    def __init__(self, summary: RecordingSummary) -> None:
        self.summary = summary

    def __iter__(self) -> Iterator[FrameBatch]:
        return iter(())


class GuardedReader:
    """A reader whose decoder may fail on any bytes: what it raises becomes a problem, and its budget is settled.

    Errors of the source or of this machine (`ArgusError`, `OSError`, `MemoryError`) pass through.

    Attributes:
        summary: See `model.Reader`.
        tally: What was handed out so far.
    """

    def __init__(self, reader: Reader, budget: Budget) -> None:
        self._reader = reader
        self._budget = budget
        self.summary = reader.summary
        self.tally = Tally()
        if isinstance(reader.summary.problems, ProblemLog):
            reader.summary.problems.max_listed = budget.limits.max_problems

    def __iter__(self) -> Iterator[FrameBatch]:
        try:
            for batch in self._reader:
                self.tally.add(batch)
                yield batch
            self.summary = self._reader.summary
        except (ArgusError, OSError, MemoryError):
            raise
        except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - whatever the bytes made a decoder do
            self.summary = self._reader.summary
            self.tally.settle(self.summary)
            place = traceback.extract_tb(error.__traceback__)[-1]
            self.summary.problems.append(
                Problem(
                    "reader_failed", "bytes that the reader can handle",
                    clean(f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})", max_chars=300),
                    None, None,
                    "This is a bug in Argus. What was read before it is kept; please report it, with the file if you can.",
                )
            )  # fmt: skip
        self._budget.settle(self.summary)


def open_recording(
    source: Source, *, limits: Limits = DEFAULT_LIMITS, decoders: Decoders = BUILT_IN, name: str = ""
) -> GuardedReader:
    """Return a reader for a recording, by its content.

    An empty file or an unknown format gives a reader of no frames whose summary says so. No bytes make it raise.

    Args:
        source: The recording.
        limits: What the file may cost.
        decoders: The active formats.
        name: Of the file, for plug-ins that go by it where no format knows the content.

    Raises:
        OSError: The source cannot be read.
    """
    budget = Budget(limits, source.seek(0, 2))
    source.seek(0)
    head = source.read(HEAD_BYTES)
    if head.startswith(MARKS):
        inner = partial(_open_inflated, decoders=decoders, name=inner_name(name))
        return GuardedReader(CompressedReader(source, budget, inner), budget)
    return GuardedReader(_open_inflated(source, budget, decoders=decoders, name=name), budget)


def unknown_format(found: str, decoders: Decoders) -> Problem:
    """Return the problem of a file that none of these formats is.

    Args:
        found: What it is, by name where that is known (`known_files.py`), else its first bytes.
        decoders: The active formats.
    """
    advice = next((known.advice for known in KNOWN_FILES if known.name == found), None)
    return Problem(
        "unknown_format", f"one of {', '.join(decoders.names)}", found, 0, None,
        " ".join([advice or "Check that this file is a recording, and of a supported format.", *decoders.notes]),
    )  # fmt: skip


def _open_inflated(source: Source, budget: Budget, *, decoders: Decoders, name: str) -> Reader:
    size = source.seek(0, 2)
    source.seek(0)
    head = source.read(HEAD_BYTES)
    decoder = decoders.detect(head, name)
    if isinstance(decoder, PlugIn):
        return decoder.open_named(source, budget, name)
    if decoder is not None:
        return decoder.open(source, budget)
    summary = RecordingSummary("unknown", "none", size)
    if size == 0:
        problem = Problem(
            "empty_file", "a recording", "0 bytes", 0, None, "The logger wrote nothing, or the upload was cut off."
        )
    else:
        known = known_file(head)
        problem = unknown_format(known.name if known else f"a file that starts with {head[:16].hex(' ')}", decoders)
    summary.problems.append(problem)
    return UnreadableReader(summary)
