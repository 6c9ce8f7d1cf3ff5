"""A parsed recording on disk: Parquet tables and a summary, written as the frames come.

    frames.parquet  logs.parquet  diagnostics.parquet   `schema.FRAMES`, `LOGS`, `DIAGNOSTICS`
    topic_<n>.parquet, topic_<n>_<k>.parquet …          typed columns of a topic or signal group, as the summary lists them
    summary.json                                        written last: its presence means that the part is complete

A part knows nothing of the recording's name, so that it can be kept under the hash of the content.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import polars as pl
import pyarrow.parquet as pq

from argus_assets.containment.job import LimitReached
from argus_assets.recordings.cleaning import Cleaner
from argus_assets.recordings.clock import ClockCheck
from argus_assets.recordings.model import (
    DEFAULT_LIMITS,
    ChannelSummary,
    Limits,
    Problem,
    ProblemLog,
    RecordingSummary,
    Source,
    TopicKey,
    TopicSummary,
)
from argus_assets.recordings.reading import GuardedReader, open_recording
from argus_assets.recordings.registry import BUILT_IN, DECODERS, Decoders
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS, NOTICE_KINDS, PROBLEMS, RECORDINGS

_TABLES_VERSION: Final = 5
"""Raised when the tables of a part change."""

READER_VERSION: Final = (
    f"{_TABLES_VERSION}." + sha256(".".join(f"{d.name}{d.version}" for d in DECODERS).encode()).hexdigest()[:8]
)
"""Changes when any decoder or the tables change: parts of another version are not reused."""


def reader_version(decoders: Decoders = BUILT_IN, name: str = "", limits: Limits = DEFAULT_LIMITS) -> str:
    """Return the version of the readers for a file of this name: parts of other versions are not reused."""
    plugged = decoders.version(name)
    own = {f.name: getattr(limits, f.name) for f in fields(limits) if f.name != "workers"}
    if own != {name: getattr(DEFAULT_LIMITS, name) for name in own}:
        plugged += sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:8]
    return f"{READER_VERSION}+{plugged}" if plugged else READER_VERSION


SUMMARY: Final = "summary.json"
_ROW_GROUP: Final = 128 * 1024
_MAX_OPEN_FILES: Final = 64
"""Of topics, at a time: a process may usually have 1,024 open, and eight recordings are read side by side."""
_MAX_WAITING_BYTES: Final = 32 * 1024**2
_TABLES: Final = (FRAMES, LOGS, DIAGNOSTICS)


@dataclass(frozen=True, slots=True)
class LazyPart:
    """The tables of a part, not read yet, and the folder where they are."""

    frames: pl.LazyFrame
    logs: pl.LazyFrame
    diagnostics: pl.LazyFrame
    topics: Mapping[TopicKey, pl.LazyFrame]
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """The point at which the next attempt of an ended reader stops, and the reason.

    Attributes:
        after: Batches that are taken.
        problem: Why there are no more.
    """

    after: int
    problem: Problem


def write_part(
    source: Source,
    *,
    folder: Path,
    limits: Limits = DEFAULT_LIMITS,
    decoders: Decoders = BUILT_IN,
    name: str = "",
    progress: Callable[..., None] = lambda **_: None,
    stop: Stop | None = None,
    keep_on_memory_error: bool = False,
    with_tables: bool = True,
) -> RecordingSummary:
    """Parse a recording into a folder; memory follows the size of a batch, not of the recording.

    Args:
        source: The recording.
        folder: An empty local folder.
        limits: What the file may cost.
        decoders: The active formats.
        name: Of the recording's file; see `open_recording`.
        progress: Called after each batch with `batches` and `frames`.
        stop: Where to stop before the end.
        keep_on_memory_error: Keep what was read when memory does not suffice, instead of raising.
        with_tables: Write the tables; otherwise they are empty, and the summary describes them.

    Raises:
        OSError: The source cannot be read or the folder not written.
        MemoryError: Memory did not suffice.
    """
    return write_read(
        open_recording(source, limits=limits, decoders=decoders, name=name), folder=folder, progress=progress, stop=stop,
        keep_on_memory_error=keep_on_memory_error, with_tables=with_tables,
    )  # fmt: skip


def write_read(
    reader: GuardedReader,
    *,
    folder: Path,
    progress: Callable[..., None] = lambda **_: None,
    stop: Stop | None = None,
    keep_on_memory_error: bool = False,
    with_tables: bool = True,
) -> RecordingSummary:
    """Write what a reader reads into a folder; see `write_part`."""
    clock, cleaner = ClockCheck(), Cleaner()
    batches = 0
    ended: Problem | None = None
    with ExitStack() as stack:
        tables = [stack.enter_context(_Writer(folder / f"{t.name}.parquet", t.empty())) for t in _TABLES]
        topics = _Topics(folder)
        stack.callback(topics.close)
        try:
            if stop is None or stop.after:
                for raw in reader:
                    batch = cleaner.batch(raw)
                    clock.observe(batch.frames)
                    for table, writer, rows in zip(
                        _TABLES, tables, (batch.frames, batch.logs, batch.diagnostics), strict=True
                    ):
                        writer.write(table.check(rows) if with_tables else table.empty())
                    for key, rows in batch.topics.items():
                        topics.write(key, rows if with_tables else rows.clear(), count=rows.height)
                    batches += 1
                    progress(batches=batches, frames=reader.tally.frames)
                    if stop is not None and batches >= stop.after:
                        break
        except LimitReached as reached:
            ended = stopped(f"{reached.what}, and ended")
        except MemoryError:
            if not keep_on_memory_error:
                raise
            ended = stopped("more memory than allowed, and ended")
        if ended is None and stop is not None:
            ended = stop.problem
        summary = reader.summary
        if ended is not None:
            reader.tally.settle(summary)
            summary.frames_lost = sum(p.frames_lost or 0 for p in summary.problems)
            summary.problems.append(ended)
            summary.try_again = True
    summary.problems += clock.problems()
    if isinstance(summary.problems, ProblemLog):
        summary.problems.settle()
    cleaner.summary(summary)
    summary.topics = topics.summaries()
    write_summary(folder, summary)
    return summary


def write_summary(folder: Path, summary: RecordingSummary) -> None:
    """Write the summary of a part, which makes it whole."""
    (folder / SUMMARY).write_text(json.dumps(asdict(summary)))


def stopped(how: str) -> Problem:
    """Return the problem of a recording whose reader was ended before it had read all."""
    return Problem(
        "reader_stopped", "a recording that is read within its limits", how, None, None,
        "What was read before is kept. If the recording is genuine, raise the limits of readers (ARGUS_LIMITS).",
    )  # fmt: skip


def unread_part(folder: Path, *, size_bytes: int, problem: Problem) -> RecordingSummary:
    """Write the part of a recording of which nothing could be read."""
    summary = RecordingSummary("unknown", "none", size_bytes, problems=[problem], try_again=True)
    for table in _TABLES:
        with _Writer(folder / f"{table.name}.parquet", table.empty()):
            pass
    write_summary(folder, summary)
    return summary


def topic_file(number: int, piece: int = 0) -> str:
    """Return the name of a file with typed columns of the topic that a summary lists at `number`."""
    return f"topic_{number}_{piece}.parquet" if piece else f"topic_{number}.parquet"


class _Writer:
    """Appends to one Parquet file; a table without rows becomes an empty file with its schema."""

    def __init__(self, path: Path, empty: pl.DataFrame) -> None:
        # Arrow's schema is that of an empty frame: dictionaries for the channel, nanoseconds in UTC.
        self._schema = empty.to_arrow().schema
        names = self._schema.names
        counted = [name for name in ("frame", "timestamp") if name in names]
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            compression_level=1,
            # Numbers that only grow are small as differences; what repeats is small as a dictionary.
            column_encoding=dict.fromkeys(counted, "DELTA_BINARY_PACKED"),
            use_dictionary=[n for n in names if n not in (*counted, "payload")],  # type: ignore[arg-type] # its stub
            write_statistics=[n for n in names if n != "payload"],  # type: ignore[arg-type] # its stub
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write the file's end."""
        self._writer.close()

    def write(self, frame: pl.DataFrame) -> None:
        """Append rows."""
        if frame.height:
            self._writer.write_table(frame.to_arrow().cast(self._schema), row_group_size=_ROW_GROUP)


@dataclass(slots=True)
class _Topic:
    """Typed columns of one topic on their way to its files."""

    number: int
    empty: pl.DataFrame
    waiting: list[pl.DataFrame] = field(default_factory=list)
    waiting_bytes: int = 0
    waiting_rows: int = 0
    rows: int = 0
    files: int = 0
    writer: _Writer | None = None


class _Topics:
    """Files of all topics of a recording, of which only some are open at a time.

    Rows wait in memory until there are enough for a row group, or too many of all topics together. A topic whose file was
    closed to make room continues in another one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._topics: dict[TopicKey, _Topic] = {}
        self._open: dict[int, _Topic] = {}
        self._waiting_bytes = 0

    def write(self, key: TopicKey, rows: pl.DataFrame, *, count: int) -> None:
        """Append rows of a topic, and count them as `count`."""
        topic = self._topics.get(key)
        if topic is None:
            topic = self._topics[key] = _Topic(len(self._topics), rows.clear())
        size = int(rows.estimated_size())
        topic.rows += count
        topic.waiting.append(rows)
        topic.waiting_bytes += size
        topic.waiting_rows += rows.height
        self._waiting_bytes += size
        if topic.waiting_rows >= _ROW_GROUP:
            self._flush(topic)
        elif self._waiting_bytes > _MAX_WAITING_BYTES:
            for largest in sorted(self._topics.values(), key=lambda t: -t.waiting_bytes):
                self._flush(largest)
                if self._waiting_bytes <= _MAX_WAITING_BYTES // 2:
                    break

    def close(self) -> None:
        """Write what waits, and the ends of all files."""
        for topic in self._topics.values():
            self._flush(topic)
            self._close(topic)

    def summaries(self) -> list[TopicSummary]:
        """Return the topics in the order of their numbers."""
        return [TopicSummary(key[0], key[1], t.rows, t.files) for key, t in self._topics.items()]

    def _flush(self, topic: _Topic) -> None:
        waiting, topic.waiting = topic.waiting, []
        self._waiting_bytes -= topic.waiting_bytes
        topic.waiting_bytes = topic.waiting_rows = 0
        if not waiting and topic.files:
            return
        if topic.writer is None:
            if len(self._open) >= _MAX_OPEN_FILES:
                self._close(self._open[next(iter(self._open))])
            topic.writer = _Writer(self._folder / topic_file(topic.number, topic.files), topic.empty)
            topic.files += 1
        else:
            del self._open[topic.number]
        self._open[topic.number] = topic  # the last that was written to is closed last
        for rows in waiting:
            topic.writer.write(rows)

    def _close(self, topic: _Topic) -> None:
        if topic.writer is not None:
            topic.writer.close()
            topic.writer = None
            del self._open[topic.number]


def read_summary(folder: Path) -> RecordingSummary:
    """Return the summary of a part."""
    return read_summary_of((folder / SUMMARY).read_bytes())


def read_summary_of(content: bytes) -> RecordingSummary:
    """Return the summary that a file holds."""
    document: dict[str, Any] = json.loads(content)
    channels = [ChannelSummary(**c) for c in document.pop("channels")]
    problems = [Problem(**p) for p in document.pop("problems")]
    topics = [TopicSummary(**t) for t in document.pop("topics")]
    return RecordingSummary(**document, channels=channels, problems=problems, topics=topics)


def scan_part(folder: Path) -> LazyPart:
    """Return the tables of a part, to be filtered before they are read."""
    frames, logs, diagnostics = (
        pl.scan_parquet(folder / f"{t.name}.parquet").cast(dict(t.schema)).select(t.schema.names())  # type: ignore[arg-type]
        for t in _TABLES
    )
    return LazyPart(frames, logs, diagnostics, scan_topics(folder), folder)


def scan_topics(folder: Path) -> dict[TopicKey, pl.LazyFrame]:
    """Return the typed columns of a part's topics."""
    return {
        (topic.topic, topic.schema): pl.scan_parquet([folder / topic_file(number, k) for k in range(topic.files)])
        for number, topic in enumerate(read_summary(folder).topics)
    }


def recording_row(
    name: str, summary: RecordingSummary, *, sha256: str, sha256_verified: bool, parse_s: float, part: str | None
) -> dict[str, object]:
    """Return the row of a recording in `schema.RECORDINGS`; times as integer nanoseconds."""
    failed = summary.frames == 0 and bool(summary.problems)
    damaged = summary.frames_lost > 0 or any(p.kind not in NOTICE_KINDS for p in summary.problems)
    return {
        "recording": name,
        "format": summary.format,
        "state": "failed" if failed else "damaged" if damaged else "parsed",
        "size_bytes": summary.size_bytes,
        "sha256": sha256,
        "sha256_verified": sha256_verified,
        "frames": summary.frames,
        "frames_lost": summary.frames_lost,
        "first_timestamp": summary.first_timestamp_ns,
        "last_timestamp": summary.last_timestamp_ns,
        "channels": sum(1 for c in summary.channels if c.frames),
        "problems": len(summary.problems),
        "parse_s": parse_s,
        "decoder": summary.decoder,
        "part": part,
    }


def recordings_table(rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    """Return `schema.RECORDINGS` of rows that `recording_row` made."""
    times = {"first_timestamp": pl.Int64(), "last_timestamp": pl.Int64()}
    return RECORDINGS.cast(pl.DataFrame(rows, schema={**RECORDINGS.schema, **times}))


def problems_table(summaries: Iterable[tuple[str, RecordingSummary]]) -> pl.DataFrame:
    """Return `schema.PROBLEMS` of recordings, each given by its name and summary."""
    return PROBLEMS.cast(pl.concat([PROBLEMS.empty(), *(_problem_rows(name, summary) for name, summary in summaries)]))


def _problem_rows(name: str, summary: RecordingSummary) -> pl.DataFrame:
    """Return the rows of a recording in `schema.PROBLEMS`."""
    rows = [{"recording": name, **asdict(problem)} for problem in summary.problems]
    return PROBLEMS.cast(pl.DataFrame(rows, schema=PROBLEMS.schema, strict=False)) if rows else PROBLEMS.empty()
