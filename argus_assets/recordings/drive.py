"""The tables of all recordings of one drive, one behind another, not read yet."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

import polars as pl

from argus_assets.recordings.model import TopicKey
from argus_assets.recordings.parts import LazyPart
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS
from argus_assets.tables import Table


@dataclass(frozen=True, slots=True)
class Drive:
    """What was recorded of one drive. Each table has a further column `recording` (String): the file it came from.

    The recordings stand in any order; a detector that needs order sorts by time.

    Attributes:
        frames: `schema.FRAMES`.
        logs: `schema.LOGS`.
        diagnostics: `schema.DIAGNOSTICS`.
        topics: Typed columns of each topic or signal group: `frame` (null for signals), `timestamp`, and its fields.
    """

    frames: pl.LazyFrame
    logs: pl.LazyFrame
    diagnostics: pl.LazyFrame
    topics: Mapping[TopicKey, pl.LazyFrame] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: Iterable[tuple[str, LazyPart]]) -> Self:
        """The drive of these recordings: file names with their parts."""
        frames: list[pl.LazyFrame] = []
        logs: list[pl.LazyFrame] = []
        diagnostics: list[pl.LazyFrame] = []
        topics: dict[TopicKey, list[pl.LazyFrame]] = {}
        for name, part in parts:
            recording = pl.lit(name, dtype=pl.String).alias("recording")
            frames.append(part.frames.with_columns(recording))
            logs.append(part.logs.with_columns(recording))
            diagnostics.append(part.diagnostics.with_columns(recording))
            for key, rows in part.topics.items():
                topics.setdefault(key, []).append(rows.with_columns(recording))
        return cls(
            _concat(frames, FRAMES),
            _concat(logs, LOGS),
            _concat(diagnostics, DIAGNOSTICS),
            # The same topic may have other columns in another recording: a list that was empty all the way.
            {key: pl.concat(tables, how="diagonal_relaxed") for key, tables in topics.items()},
        )


def _concat(tables: list[pl.LazyFrame], table: Table) -> pl.LazyFrame:
    none = table.empty().lazy().with_columns(recording=pl.lit(None, dtype=pl.String))
    return pl.concat(tables) if tables else none
