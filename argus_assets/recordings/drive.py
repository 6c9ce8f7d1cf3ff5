"""The tables of all recordings of one drive, one behind another, not read yet."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import polars as pl

from argus_assets.common.tables import Table
from argus_assets.recordings.model import TopicKey
from argus_assets.recordings.parts import LazyPart, scan_part, scan_topics
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS

_SMALL_BYTES: Final = 64 * 1024
"""Of the frames of a recording, as Parquet: some thousand frames."""
_WORTH_A_PASS: Final = 8
_PATH: Final = "path of the file"


@dataclass(frozen=True, slots=True)
class Drive:
    """The recorded data of one drive. Each table has a further column `recording` (String): the file it came from.

    The recordings are in any order; a detector that needs order sorts by time.

    Attributes:
        frames: `schema.FRAMES`.
        logs: `schema.LOGS`.
        diagnostics: `schema.DIAGNOSTICS`.
        topics: Typed columns of each topic or signal group: `frame` (null for signals), `timestamp`, and its fields.
        folders: Where the tables are.
    """

    frames: pl.LazyFrame
    logs: pl.LazyFrame
    diagnostics: pl.LazyFrame
    topics: Mapping[TopicKey, pl.LazyFrame] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()

    @classmethod
    def of_parts(cls, folders: Iterable[tuple[str, Path]]) -> Self:
        """Return the drive of these recordings: file names with the local folders of their parts.

        Small recordings are read at once, many in one pass: a plan over thousands of files takes longer to make than they
        take to read.
        """
        every = list(folders)
        small = [(name, folder) for name, folder in every if _size(folder) <= _SMALL_BYTES]
        if len(small) < _WORTH_A_PASS:
            return cls.of((name, scan_part(folder)) for name, folder in every)
        read = {name for name, _ in small}
        large = [_named(name, scan_part(folder)) for name, folder in every if name not in read]
        return cls._union([_read_together(small), *large])

    @classmethod
    def of(cls, parts: Iterable[tuple[str, LazyPart]]) -> Self:
        """Return the drive of these recordings: file names with their parts."""
        return cls._union([_named(name, part) for name, part in parts])

    @classmethod
    def _union(cls, parts: Sequence[LazyPart]) -> Self:
        topics: dict[TopicKey, list[pl.LazyFrame]] = {}
        for part in parts:
            for key, rows in part.topics.items():
                topics.setdefault(key, []).append(rows)
        return cls(
            _concat([part.frames for part in parts], FRAMES),
            _concat([part.logs for part in parts], LOGS),
            _concat([part.diagnostics for part in parts], DIAGNOSTICS),
            # The same topic may have other columns in another recording: a list that was empty all the way.
            {key: pl.concat(tables, how="diagonal_relaxed") for key, tables in topics.items()},
            tuple(part.folder for part in parts if part.folder is not None),
        )


def _size(folder: Path) -> int:
    return (folder / "frames.parquet").stat().st_size


def _named(name: str, part: LazyPart) -> LazyPart:
    """Return the part with a column that names its recording."""
    recording = pl.lit(name, dtype=pl.String).alias("recording")
    return LazyPart(
        part.frames.with_columns(recording),
        part.logs.with_columns(recording),
        part.diagnostics.with_columns(recording),
        {key: rows.with_columns(recording) for key, rows in part.topics.items()},
        part.folder,
    )


def _read_together(parts: Sequence[tuple[str, Path]]) -> LazyPart:
    """Read the parts of many small recordings, a table of all of them in one pass."""
    names = {str(folder): name for name, folder in parts}

    def table(declared: Table) -> pl.LazyFrame:
        file = f"{declared.name}.parquet"
        paths = {f"{folder}/{file}": name for folder, name in names.items()}
        rows = pl.scan_parquet(list(paths), include_file_paths=_PATH).collect()
        recordings = rows[_PATH].cast(pl.Categorical()).replace_strict(paths, return_dtype=pl.String)
        typed = rows.drop(_PATH).cast(dict(declared.schema)).select(declared.schema.names())  # type: ignore[arg-type] # its stub
        return typed.with_columns(recording=recordings).lazy()

    topics: dict[TopicKey, list[pl.DataFrame]] = {}
    for name, folder in parts:
        for key, rows in scan_topics(folder).items():
            topics.setdefault(key, []).append(rows.collect().with_columns(recording=pl.lit(name, dtype=pl.String)))
    return LazyPart(
        table(FRAMES),
        table(LOGS),
        table(DIAGNOSTICS),
        {key: pl.concat(tables, how="diagonal_relaxed").lazy() for key, tables in topics.items()},
    )


def _concat(tables: Sequence[pl.LazyFrame], table: Table) -> pl.LazyFrame:
    none = table.empty().lazy().with_columns(recording=pl.lit(None, dtype=pl.String))
    return pl.concat(tables) if tables else none
