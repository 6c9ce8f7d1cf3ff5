"""What the readers of all plug-ins share: a local copy of the recording, a folder to work in, how a failure is told."""

import os
import re
import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from argus_assets.containment import confined, kernel
from argus_assets.recordings.isolation import Bounds, Outcome
from argus_assets.recordings.model import FrameBatch, Limits, Problem, RecordingSummary, Source
from argus_assets.recordings.program_tables import Rows
from argus_assets.recordings.registry import PlugIn, suffix_of
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS

_TAIL_CHARACTERS: Final = 500


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where one run of a program happens.

    Attributes:
        folder: Its working folder; gone afterwards.
        recording: The recording, named `recording` with the suffix of its own name.
        output: An empty folder inside of `folder`.
    """

    folder: Path
    recording: Path
    output: Path

    def has_output(self) -> bool:
        """Return whether the output folder is one still: the program may have put a link in its place."""
        return self.output.is_dir() and not self.output.is_symlink()

    def shown(self, text: str) -> str:
        """The end of what a program printed, without the names of these folders and unprintable characters."""
        for path, name in ((self.recording, "{input}"), (self.output, "{output_dir}"), (self.folder, "{folder}")):
            text = text.replace(str(path), name)
        text = "".join(c if c.isprintable() else " " for c in text)
        text = re.sub(r" {2,}", " ", text).strip()
        return text if len(text) <= _TAIL_CHARACTERS else "..." + text[3 - _TAIL_CHARACTERS :]


@contextmanager
def workplace(source: Source, name: str) -> Generator[Workplace]:
    """Make a recording available to a program; one that is no local file is copied.

    Raises:
        OSError: The source cannot be read, or there is no room for a copy.
    """
    with confined.workplace() as place:
        folder = place / "work"
        output = folder / "out"
        output.mkdir(parents=True)
        recording = place / f"recording{suffix_of(name)}"
        local = getattr(source, "name", None)
        # As root, the program runs as another user: without Landlock, that user reads only what is its own.
        may_link = os.geteuid() != 0 or kernel.landlock_version() > 0
        if may_link and isinstance(local, str) and Path(local).is_file():
            recording.symlink_to(Path(local).absolute())
        else:
            source.seek(0)
            with recording.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1024 * 1024)  # type: ignore[arg-type]
            if os.geteuid() == 0:
                os.chown(recording, kernel.NOBODY, kernel.NOBODY)
        yield Workplace(folder, recording, output)


class PlugInReader:
    """One run of a plug-in over one recording; see `model.Reader`."""

    def __init__(self, plug_in: PlugIn, source: Source, limits: Limits, name: str) -> None:
        self._plug_in = plug_in
        self._source = source
        self._limits = limits
        self._name = name
        self.summary = summary_of(plug_in.name, plug_in.version, source.seek(0, 2))

    def __iter__(self) -> Iterator[FrameBatch]:
        with workplace(self._source, self._name) as place:
            failed = run_plug_in(self._plug_in, place, self._limits)
            if failed is not None:
                fail(self.summary, failed)
                return
            reader = self._plug_in.collector.open(place.output, size_bytes=self.summary.size_bytes, limits=self._limits)
            self.summary = reader.summary
            yield from reader


def run_plug_in(plug_in: PlugIn, place: Workplace, limits: Limits) -> Problem | None:
    """Run a plug-in over the recording of a workplace; returns why nothing of its output can be read, if so."""
    failed = plug_in.run(place, limits)
    if failed is None and not place.has_output():
        failed = Problem(
            "decoder_failed", "a folder of files", "no folder where its output should be", None, None,
            f"This is for the author of {plug_in.name}.",
        )  # fmt: skip
    return failed


def summary_of(name: str, version: int, size_bytes: int) -> RecordingSummary:
    """Return the summary of a recording of a plug-in's format, of which nothing was read yet."""
    return RecordingSummary(name, f"{name}/{version}", size_bytes)


def fail(summary: RecordingSummary, problem: Problem) -> None:
    """Note that a plug-in failed: the next run reads the recording again."""
    summary.problems.append(problem)
    summary.try_again = True


def failure(name: str, expected: str, outcome: Outcome, bounds: Bounds, place: Workplace) -> Problem:
    """A program that did not end well, as one problem."""
    tail = place.shown(outcome.tail)
    helps = {
        "timeout": "Raise timeout_s, or look why it takes so long.",
        "memory": "Raise memory_mib, or look why it takes so much.",
        "output": "Raise output_mib, or look why it writes so much.",
        "processes": "Raise processes, or look why it starts so many.",
        "not_started": "Check the command in the declaration: `argus doctor` tries it.",
        "no_isolation": "Allow seccomp or user namespaces here, or declare network = 'allowed' for it.",
    }
    said = f"; it printed: {tail}" if tail else ""
    return Problem(
        "decoder_failed",
        expected,
        outcome.sentence(bounds) + said,
        None,
        None,
        helps.get(outcome.kind, f"Run {name} on this recording by hand. What it wrote before was not used."),
    )


# ---------------------------------------------------------------------------------------------- frames in order


@dataclass(slots=True)
class _Stream:
    """Rows of one file that wait for those of the others.

    Attributes:
        keys: The largest time so far, for each row: never falls, so that a file's own order is kept.
    """

    source: Iterator[Rows]
    rows: Rows | None = None
    keys: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    ended: bool = False

    def fill(self) -> None:
        """Have rows, unless there are none left."""
        highest = int(self.keys[-1]) if len(self.keys) else None
        while self.rows is None and not self.ended:
            rows = next(self.source, None)
            if rows is None:
                self.ended = True
            elif rows.frames.height:
                times = rows.frames["timestamp"].to_physical().to_numpy()
                keys = np.maximum.accumulate(times)
                self.rows, self.keys = rows, keys if highest is None else np.maximum(keys, highest)

    def take(self, bound: int) -> "tuple[Rows, np.ndarray] | None":
        """Rows up to a time, with their keys."""
        if self.rows is None:
            return None
        count = int(np.searchsorted(self.keys, bound, side="right"))
        if count == 0:
            return None
        frames, typed = self.rows.frames, self.rows.typed
        taken = Rows(frames.head(count), None if typed is None else (typed[0], typed[1].head(count)))
        keys = self.keys[:count]
        if count == frames.height:
            self.rows = None  # the last key stays: what follows does not sort before it
            self.keys = self.keys[-1:]
        else:
            rest = None if typed is None else (typed[0], typed[1].slice(count))
            self.rows, self.keys = Rows(frames.slice(count), rest), self.keys[count:]
        return taken, keys


def merged(sources: Sequence[Iterator[Rows]], first: int = 0) -> Iterator[FrameBatch]:
    """Rows of several files as frames in order of time, numbered from `first`; a file's own order is kept.

    Memory follows the number of files and the size of their blocks.
    """
    streams = [_Stream(source) for source in sources]
    while True:
        for stream in streams:
            stream.fill()
        streams = [s for s in streams if s.rows is not None]
        if not streams:
            return
        bound = min(int(s.keys[-1]) for s in streams)
        taken = [t for t in (s.take(bound) for s in streams) if t is not None]
        frames = pl.concat([rows.frames for rows, _ in taken])
        order = np.argsort(np.concatenate([keys for _, keys in taken]), kind="stable")
        numbers = np.empty(len(order), np.uint64)
        numbers[order] = np.arange(first, first + len(order), dtype=np.uint64)
        first += len(order)
        topics: dict[tuple[str, str], list[pl.DataFrame]] = {}
        at = 0
        for rows, _ in taken:
            if rows.typed is not None:
                key, table = rows.typed
                number = pl.Series("frame", numbers[at : at + table.height], dtype=pl.UInt64)
                topics.setdefault(key, []).append(table.insert_column(0, number))
            at += rows.frames.height
        yield FrameBatch(
            frames[order].insert_column(0, pl.Series("frame", np.sort(numbers), dtype=pl.UInt64)),
            LOGS.empty(),
            DIAGNOSTICS.empty(),
            {key: pl.concat(tables) for key, tables in topics.items()},
        )


assert FRAMES.schema.names()[0] == "frame", "`merged` puts the number first"
