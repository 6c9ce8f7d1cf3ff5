"""Frames of several files in one order of time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from argus_assets.recordings.model import FrameBatch
from argus_assets.recordings.plugins.program_tables import Rows
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS


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
        """Take the rows up to a time, with their keys."""
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
    """Merge the rows of several files in order of time, numbered from `first`; each file keeps its own order.

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
