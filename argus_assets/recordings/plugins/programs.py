"""A format that an external program reads: it is run in isolation, and the tables it writes are taken as declared."""

import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import polars as pl

from argus_assets.plugins.isolation import PROGRAM_PATH, holds_a_home, run_isolated
from argus_assets.plugins.workplace import Workplace
from argus_assets.recordings.budget import Budget
from argus_assets.recordings.model import FrameBatch, Limits, Problem, Reader, Source, TopicKey
from argus_assets.recordings.plugins.declarations import Declaration
from argus_assets.recordings.plugins.merge import merged
from argus_assets.recordings.plugins.program_tables import Rows, TableFile, field_types
from argus_assets.recordings.plugins.reader import PlugInReader, fail, failure, summary_of
from argus_assets.recordings.tally import Tally

_SIDE_BY_SIDE: Final = 64
"""Files of a program's output that are merged by time; with more, groups of so many follow one another."""
_NAMED: Final = 5

_Group = tuple[int, str]


class ExternalDecoder:
    """An external program as a decoder; see `registry.PlugIn`."""

    seeks = True

    def __init__(self, declaration: Declaration) -> None:
        self.declaration = declaration
        self.name = declaration.name
        self.version = declaration.version
        self.collector = ExternalOutput(declaration)
        self.isolates_network = declaration.network == "none"
        self.identity = f"{declaration.name}/{declaration.version}/{declaration.digest}"

    def matches(self, head: bytes) -> bool:
        """Return whether the file has the declared magic."""
        magic, at = self.declaration.magic, self.declaration.magic_offset
        return magic is not None and head[at : at + len(magic)] == magic

    def matches_name(self, name: str) -> bool:
        """Return whether the name has one of the declared patterns."""
        return any(fnmatchcase(name, pattern) for pattern in self.declaration.name_pattern)

    def open(self, source: Source, budget: Budget) -> Reader:
        """Return a reader over `source`."""
        return self.open_named(source, budget, "")

    def open_named(self, source: Source, budget: Budget, name: str) -> Reader:
        """Return a reader over `source`; the program sees a file with the suffix of `name`."""
        return PlugInReader(self, source, budget.limits, name)

    def run(self, place: Workplace, limits: Limits) -> Problem | None:  # noqa: ARG002 - it knows none
        """Run the program over the recording of a workplace; return why it failed, if it did."""
        replaced = {"{input}": str(place.recording), "{output_dir}": str(place.output)}
        program, *arguments = self.declaration.command
        command = [shutil.which(program, path=PROGRAM_PATH) or program]
        reads = [place.recording, *map(Path, self.declaration.reads)]
        for argument in arguments:
            named = Path(argument)
            if named.is_absolute() and not holds_a_home(named):
                reads.append(named)
            text = argument
            for name, value in replaced.items():
                text = text.replace(name, value)
            command.append(text)
        bounds = self.declaration.bounds
        outcome = run_isolated(
            command, folder=place.folder, environment=self.declaration.env, reads=reads, bounds=bounds
        )
        return None if outcome.ok else failure(self.name, "exit code 0", outcome, bounds, place)

    def missing_program(self) -> str | None:
        """Return why the program cannot be run, `None` when it can."""
        program = self.declaration.command[0]
        found = shutil.which(program, path=PROGRAM_PATH)
        if found is not None:
            return None
        if "/" not in program:
            return f"{program!r} is not in {PROGRAM_PATH}"
        return f"{program} is not executable" if Path(program).exists() else f"{program} does not exist"


@dataclass(frozen=True, slots=True)
class ExternalOutput:
    """Reads the tables that a declared program wrote; see `registry.Collector`."""

    declaration: Declaration

    def open(self, output: Path, *, size_bytes: int, limits: Limits) -> Reader:
        """Return a reader over what lies in a folder."""
        return _OutputReader(self.declaration, output, size_bytes, limits)


class _OutputReader:
    """The tables that a program wrote as one recording; see `model.Reader`."""

    def __init__(self, declaration: Declaration, output: Path, size_bytes: int, limits: Limits) -> None:
        self._declaration = declaration
        self._output = output
        self._limits = limits
        self._schemas: dict[TopicKey, pl.Schema] = {}
        self.summary = summary_of(declaration.name, declaration.version, size_bytes)

    def __iter__(self) -> Iterator[FrameBatch]:
        files = self._collect()
        if files:
            yield from Tally().count(self._batches(files), self.summary)

    def _collect(self) -> list[TableFile]:
        """Collect the files that the program wrote, in order of their names; those that no output takes become a problem."""
        files: list[TableFile] = []
        others: list[str] = []
        for path in sorted(_files_below(self._output)):
            name = _readable(path.relative_to(self._output).as_posix())
            # A link could lead anywhere, and a pipe would never end.
            regular = stat.S_ISREG(path.lstat().st_mode)
            output = next((o for o in self._declaration.output if o.takes(name)), None)
            if output is not None and regular:
                files.append(TableFile(path, name, output))
            elif not any(fnmatchcase(name, pattern) for pattern in self._declaration.ignore):
                others.append(name if regular else f"{name} (not a regular file)")
        patterns = ", ".join(p for o in self._declaration.output for p in o.files)
        if others:
            more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
            self.summary.problems.append(
                Problem(
                    "unsupported", f"files that fit {patterns}", f"{', '.join(others[:_NAMED])}{more}"[:500], None, None,
                    "They were not read. Declare an output for them, or add them to `ignore`.",
                )
            )  # fmt: skip
        if not files:
            fail(
                self.summary, Problem(
                    "decoder_failed", f"files that fit {patterns}", "exit code 0 and no such file", None, None,
                    f"Run {self._declaration.name} on this recording by hand, and check where it writes.",
                ),
            )  # fmt: skip
        return files

    def _batches(self, files: Sequence[TableFile]) -> Iterator[FrameBatch]:
        types = self._types(files)
        first = 0
        for start in range(0, len(files), _SIDE_BY_SIDE):
            group = files[start : start + _SIDE_BY_SIDE]
            for file in group:
                file.beside = len(group)
            for batch in merged([self._rows(file, types) for file in group], first):
                first += batch.frames.height
                yield batch
        for file in files:
            self.summary.problems += file.problems
            self.summary.frames_lost += sum(p.frames_lost or 0 for p in file.problems)

    def _rows(self, file: TableFile, types: Mapping[_Group, Mapping[str, pl.DataType]]) -> Iterator[Rows]:
        """Yield the rows of a file; typed columns that contradict those of their topic are left out."""
        left_out: dict[TopicKey, int] = {}
        for rows in file.rows(self._limits, types.get(_group(file))):
            if rows.typed is None:
                yield rows
                continue
            key, table = rows.typed
            if self._schemas.setdefault(key, table.schema) == table.schema:
                yield rows
            else:
                left_out[key] = left_out.get(key, 0) + table.height
                yield Rows(rows.frames)
        for (topic, _), count in left_out.items():
            file.problems.append(
                Problem(
                    "bad_record", f"{file.name}: the columns that topic {topic!r} has in other files", "other columns",
                    None, 0, f"{count:,} rows are frames without typed columns. Give them a topic of their own.",
                )
            )  # fmt: skip

    def _types(self, files: Sequence[TableFile]) -> dict[_Group, dict[str, pl.DataType]]:
        groups: dict[_Group, list[TableFile]] = {}
        for file in files:
            if file.output.table == "topic":
                groups.setdefault(_group(file), []).append(file)
        return {key: field_types(members, self._limits) for key, members in groups.items()}


def _group(file: TableFile) -> _Group:
    """Group files that have the same typed columns."""
    topic = file.output.columns.topic
    by_file = topic is None or topic.source == "file"
    return id(file.output), file.stem if by_file else ""


def _files_below(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        for name in names:
            yield Path(place) / name


def _readable(name: str) -> str:
    """Return a file name as text: bytes that are not UTF-8 become question marks."""
    return name.encode("utf-8", "replace").decode()
