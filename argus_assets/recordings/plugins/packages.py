"""Decoders of other packages (entry points of the group `argus.decoders`). Their code runs in a child only.

What a decoder declares of itself is asked of a child once. A recording is read in another child, whose tables are
checked here as they are streamed.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from argus_assets.common.tables import TIMESTAMP, Table
from argus_assets.errors import ArgusError, BadTable
from argus_assets.plugins import process
from argus_assets.plugins.process import ask, package_of, read_answer, run_host
from argus_assets.plugins.workplace import Workplace
from argus_assets.recordings.budget import Budget
from argus_assets.recordings.model import (
    ChannelSummary,
    FrameBatch,
    Limits,
    Problem,
    Reader,
    RecordingSummary,
    Source,
    TopicKey,
)
from argus_assets.recordings.plugins.reader import PlugInReader, fail, failure, summary_of
from argus_assets.recordings.schema import DAMAGE_KINDS, DIAGNOSTICS, FRAMES, LOGS
from argus_assets.recordings.tally import Tally

GROUP: Final = "argus.decoders"
_HOST: Final = "argus_assets.recordings.plugins.host"
_REMEMBERED: Final = 256
"""Answers of a decoder that are kept: its format is asked for more than once."""
_log = logging.getLogger(__name__)


class Description(process.Description):
    """Description that a decoder gives of itself.

    Attributes:
        signatures: (offset, bytes as hex) that a file of the format may have; one is enough.
        name_patterns: Patterns of names, tried when no format knows the content.
        asks: It has a method `matches`. It is asked, in a child, where there are neither signatures nor patterns.
    """

    signatures: tuple[
        tuple[Annotated[int, Field(ge=0, le=3840)], Annotated[str, Field(pattern=r"^(?:[0-9a-f]{2}){1,256}$")]], ...
    ] = ()
    name_patterns: tuple[str, ...] = ()
    asks: bool = False


class _Answer(BaseModel):
    """A child's summary of a recording that it has read."""

    frames_lost: int = Field(0, ge=0, le=2**63)
    problems: list[Problem] = Field(default_factory=list, max_length=10_000)
    channels: list[ChannelSummary] = Field(default_factory=list, max_length=100_000)
    topics: list[TopicKey] = Field(default_factory=list, max_length=10_000)


class EntryPointDecoder:
    """A decoder of another package; see `registry.PlugIn`."""

    seeks = True

    def __init__(self, point: EntryPoint, description: Description) -> None:
        self._point = point
        self._description = description
        self._told = False
        self._answers: dict[bytes, bool] = {}
        self.asks_child = description.asks and not description.signatures and not description.name_patterns
        self.isolates_network = description.bounds.network == "none"
        self.name = description.name
        self.version = description.version
        self.collector = EntryPointOutput(description.name, description.version)
        self.identity = f"{description.name}/{description.version}/{point.value}@{package_of(point)}"

    def matches(self, head: bytes) -> bool:
        """Return whether the file has one of the signatures; without any, and without patterns, ask its own `matches`."""
        if self._description.signatures:
            magics = ((at, bytes.fromhex(magic)) for at, magic in self._description.signatures)
            return any(head[at : at + len(magic)] == magic for at, magic in magics)
        if not self.asks_child:
            return False
        if head not in self._answers:
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            self._answers[head] = self._ask(head)
        return self._answers[head]

    def _ask(self, head: bytes) -> bool:
        """Ask the decoder; one that fails says no, and is reported once."""
        try:
            return _ask(self._point, {"do": "matches", "head": head.hex()}) is True
        except ArgusError as error:
            if not self._told:
                self._told = True
                _log.warning("%s", error)
            return False

    def matches_name(self, name: str) -> bool:
        """Return whether the name has one of its patterns."""
        return any(fnmatchcase(name, pattern) for pattern in self._description.name_patterns)

    def open(self, source: Source, budget: Budget) -> Reader:
        """Return a reader over `source`."""
        return self.open_named(source, budget, "")

    def open_named(self, source: Source, budget: Budget, name: str) -> Reader:
        """Return a reader over `source`; the decoder sees a file with the suffix of `name`."""
        return PlugInReader(self, source, budget.limits, name)

    def run(self, place: Workplace, limits: Limits) -> Problem | None:
        """Run the decoder over the recording of a workplace; return why it failed, if it did."""
        order = {"do": "read", "recording": str(place.recording), "limits": asdict(limits)}
        bounds = self._description.bounds.bounds
        outcome = run_host(_HOST, self._point, order, place, bounds, reads=[place.recording])
        return None if outcome.ok else failure(self.name, "a reader that ends", outcome, bounds, place)


def describe(point: EntryPoint) -> EntryPointDecoder:
    """Ask a child what an entry point is.

    Raises:
        BadRecording: It cannot be imported, or is no decoder.
    """
    return EntryPointDecoder(
        point, process.ask_description("decoder", _HOST, point, Description, guide="docs/recordings.md")
    )


def _ask(point: EntryPoint, question: Mapping[str, object]) -> object:
    return ask("decoder", _HOST, point, question)


@dataclass(frozen=True, slots=True)
class EntryPointOutput:
    """Reads the tables that a decoder of another package wrote; see `registry.Collector`."""

    name: str
    version: int

    def open(self, output: Path, *, size_bytes: int, limits: Limits) -> Reader:
        """Return a reader over what lies in a folder."""
        return _OutputReader(output, summary_of(self.name, self.version, size_bytes), limits)


class _OutputReader:
    """A decoder's output as one recording; see `model.Reader`."""

    def __init__(self, output: Path, summary: RecordingSummary, limits: Limits) -> None:
        self._output = output
        self._limits = limits
        self.summary = summary

    def __iter__(self) -> Iterator[FrameBatch]:
        try:
            answer = TypeAdapter(_Answer).validate_python(read_answer(self._output))
            kinds = {p.kind for p in answer.problems} - {*DAMAGE_KINDS}
            if kinds:
                self._not_valid(f"kinds of damage that do not exist: {', '.join(sorted(kinds))[:200]}")
                return
            self.summary.frames_lost = answer.frames_lost
            self.summary.problems += answer.problems
            self.summary.channels = answer.channels
            yield from Tally().count(_batches(self._output, answer.topics, self._limits), self.summary)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            self._not_valid(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
        except BadTable as error:
            self._not_valid(error.what)
        except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
            self._not_valid(f"{type(error).__name__}: {error}")

    def _not_valid(self, found: str) -> None:
        fail(
            self.summary,
            Problem(
                "decoder_failed", "frames, logs, diagnostics and topics as model.FrameBatch has them", found[:500],
                None, None, f"This is for the author of {self.summary.format}.",
            ),
        )  # fmt: skip


def _batches(folder: Path, topics: Sequence[TopicKey], limits: Limits) -> Iterator[FrameBatch]:
    """Yield the tables that a child wrote, one after another, each checked.

    Raises:
        BadTable: One is not what it should be.
    """
    size = min(limits.batch_frames, 256 * 1024)
    expected = 0
    for rows in _declared(folder, FRAMES, size):
        numbers = rows["frame"]
        if numbers[0] != expected or numbers[-1] != expected + rows.height - 1 or not (numbers.diff()[1:] == 1).all():
            raise BadTable(f"Column frame does not count on from {expected}.")
        expected += rows.height
        yield FrameBatch(rows, LOGS.empty(), DIAGNOSTICS.empty())
    for table in (LOGS, DIAGNOSTICS):
        for rows in _declared(folder, table, size):
            empty = {t.name: t.empty() for t in (FRAMES, LOGS, DIAGNOSTICS)} | {table.name: rows}
            yield FrameBatch(empty["frames"], empty["logs"], empty["diagnostics"])
    for number, key in enumerate(topics):
        for rows in _parquet(folder / f"topic_{number}.parquet", size):
            if rows.schema.get("timestamp") != TIMESTAMP or rows.schema.get("frame", pl.UInt64()) != pl.UInt64():
                raise BadTable(
                    f"Topic {key[0]!r} has no column timestamp of {TIMESTAMP}, or a frame that is no UInt64."
                )
            yield FrameBatch(FRAMES.empty(), LOGS.empty(), DIAGNOSTICS.empty(), {key: rows})


def _declared(folder: Path, table: Table, size: int) -> Iterator[pl.DataFrame]:
    for rows in _parquet(folder / f"{table.name}.parquet", size):
        if rows.columns != table.schema.names():
            raise BadTable(f"Table {table.name!r} has the columns {rows.columns}.")
        try:
            typed = rows.cast(dict(table.schema))  # type: ignore[arg-type] # its stub
        except pl.exceptions.PolarsError as error:
            raise BadTable(f"Table {table.name!r}: {error}"[:300]) from error
        yield table.check(typed)


def _parquet(path: Path, size: int) -> Iterable[pl.DataFrame]:
    if path.is_symlink() or not path.is_file():
        return
    with pq.ParquetFile(path) as opened:
        for batch in opened.iter_batches(batch_size=size, use_threads=False):
            if batch.num_rows:
                yield pl.DataFrame(pa.table(batch))
