"""A format that an external program reads: it is run in isolation, and the tables it writes are taken as declared."""

import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import polars as pl

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.declarations import Declaration
from argus_assets.recordings.isolation import PROGRAM_PATH, Outcome, run_isolated
from argus_assets.recordings.model import FrameBatch, Limits, Problem, Reader, RecordingSummary, Source, TopicKey
from argus_assets.recordings.plug_in_reader import Workplace, failure, merged, workplace
from argus_assets.recordings.program_tables import Rows, TableFile, field_types
from argus_assets.recordings.tally import Tally

_SIDE_BY_SIDE: Final = 64
"""Files of a program's output that are merged by time; with more, groups of so many stand one behind the other."""
_NAMED: Final = 5

_Group = tuple[int, str]


class ExternalDecoder:
    """An external program as a decoder; see `registry.PlugIn`."""

    seeks = True

    def __init__(self, declaration: Declaration) -> None:
        self.declaration = declaration
        self.name = declaration.name
        self.version = declaration.version
        self.isolates_network = declaration.network == "none"
        self.identity = f"{declaration.name}/{declaration.version}/{declaration.digest}"

    def matches(self, head: bytes) -> bool:
        """Whether the file has the declared magic."""
        magic, at = self.declaration.magic, self.declaration.magic_offset
        return magic is not None and head[at : at + len(magic)] == magic

    def matches_name(self, name: str) -> bool:
        """Whether the name has one of the declared patterns."""
        return any(fnmatchcase(name, pattern) for pattern in self.declaration.name_pattern)

    def open(self, source: Source, budget: Budget) -> Reader:
        """A reader over `source`."""
        return self.open_named(source, budget, "")

    def open_named(self, source: Source, budget: Budget, name: str) -> Reader:
        """A reader over `source`; the program sees a file with the suffix of `name`."""
        return ExternalReader(self.declaration, source, budget.limits, name)

    def missing_program(self) -> str | None:
        """Why the program cannot be run, `None` when it can."""
        program = self.declaration.command[0]
        found = shutil.which(program, path=PROGRAM_PATH)
        if found is not None:
            return None
        if "/" not in program:
            return f"{program!r} is not in {PROGRAM_PATH}"
        return f"{program} is not executable" if Path(program).exists() else f"{program} does not exist"


class ExternalReader:
    """One run of a program over one recording; see `model.Reader`."""

    def __init__(self, declaration: Declaration, source: Source, limits: Limits, name: str) -> None:
        self._declaration = declaration
        self._source = source
        self._limits = limits
        self._name = name
        self._schemas: dict[TopicKey, pl.Schema] = {}
        self.summary = RecordingSummary(
            declaration.name, f"{declaration.name}/{declaration.version}", source.seek(0, 2)
        )

    def __iter__(self) -> Iterator[FrameBatch]:
        with ExitStack() as stack:
            place = stack.enter_context(workplace(self._source, self._name))
            outcome = self._run(place)
            if not outcome.ok:
                self._fail(failure(self._declaration.name, "exit code 0", outcome, self._declaration.bounds, place))
                return
            files = self._collect(place)
            if files:
                yield from Tally().count(self._batches(files), self.summary)

    def _run(self, place: Workplace) -> Outcome:
        replaced = {"{input}": str(place.recording), "{output_dir}": str(place.output)}
        program, *arguments = self._declaration.command
        command = [shutil.which(program, path=PROGRAM_PATH) or program]
        for argument in arguments:
            text = argument
            for name, value in replaced.items():
                text = text.replace(name, value)
            command.append(text)
        return run_isolated(
            command, folder=place.folder, environment=self._declaration.env, bounds=self._declaration.bounds
        )

    def _fail(self, problem: Problem) -> None:
        self.summary.problems.append(problem)
        self.summary.try_again = True

    def _collect(self, place: Workplace) -> list[TableFile]:
        """The files that the program wrote, in order of their names; those that nothing takes become a problem."""
        files: list[TableFile] = []
        others: list[str] = []
        for path in sorted(_files_below(place.output)):
            name = _readable(path.relative_to(place.output).as_posix())
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
            self._fail(
                Problem(
                    "decoder_failed", f"files that fit {patterns}", "exit code 0 and no such file", None, None,
                    f"Run {self._declaration.name} on this recording by hand, and look where it writes.",
                )
            )  # fmt: skip
        return files

    def _batches(self, files: Sequence[TableFile]) -> Iterator[FrameBatch]:
        types = self._types(files)
        first = 0
        for start in range(0, len(files), _SIDE_BY_SIDE):
            group = files[start : start + _SIDE_BY_SIDE]
            for batch in merged([self._rows(file, types) for file in group], first):
                first += batch.frames.height
                yield batch
        for file in files:
            self.summary.problems += file.problems
            self.summary.frames_lost += sum(p.frames_lost or 0 for p in file.problems)

    def _rows(self, file: TableFile, types: Mapping[_Group, Mapping[str, pl.DataType]]) -> Iterator[Rows]:
        """Rows of a file; typed columns that differ from those that their topic has already are left out."""
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
    """Files of one group have the same typed columns."""
    topic = file.output.columns.topic
    by_file = topic is None or topic.source == "file"
    return id(file.output), file.stem if by_file else ""


def _files_below(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        for name in names:
            yield Path(place) / name


def _readable(name: str) -> str:
    """A file name as text: bytes that are not UTF-8 become question marks."""
    return name.encode("utf-8", "replace").decode()
