"""A parsed recording on disk: Parquet tables and a summary, written as the frames come.

    frames.parquet  logs.parquet  diagnostics.parquet   `schema.FRAMES`, `LOGS`, `DIAGNOSTICS`
    topic_<n>.parquet                                   typed columns of a topic or signal group, as the summary lists them
    summary.json                                        written last: its presence says that the part is whole

A part knows nothing of the recording's name, so that it can be kept under the hash of the content.
"""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import polars as pl
import pyarrow.parquet as pq

from argus_assets.recordings.clock import ClockCheck
from argus_assets.recordings.model import (
    DEFAULT_LIMITS,
    ChannelSummary,
    Limits,
    Problem,
    RecordingSummary,
    Source,
    TopicKey,
    TopicSummary,
)
from argus_assets.recordings.reading import open_recording
from argus_assets.recordings.registry import BUILT_IN, DECODERS, Decoders
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS, NOTICE_KINDS, PROBLEMS

READER_VERSION: Final = "3." + ".".join(f"{d.name}{d.version}" for d in DECODERS)
"""Changes when any decoder or the tables change: parts of another version are not reused."""


def reader_version(decoders: Decoders = BUILT_IN, name: str = "") -> str:
    """The version with the plug-ins in force, for a file of this name: what tells its part from others of its content."""
    plugged = decoders.version(name)
    return f"{READER_VERSION}+{plugged}" if plugged else READER_VERSION


SUMMARY: Final = "summary.json"
_ROW_GROUP: Final = 128 * 1024
_TABLES: Final = (FRAMES, LOGS, DIAGNOSTICS)


@dataclass(frozen=True, slots=True)
class LazyPart:
    """The tables of a part, not read yet."""

    frames: pl.LazyFrame
    logs: pl.LazyFrame
    diagnostics: pl.LazyFrame
    topics: Mapping[TopicKey, pl.LazyFrame]


def write_part(
    source: Source,
    *,
    folder: Path,
    limits: Limits = DEFAULT_LIMITS,
    decoders: Decoders = BUILT_IN,
    name: str = "",
) -> RecordingSummary:
    """Parse a recording into a folder; memory follows the size of a batch, not of the recording.

    Args:
        source: The recording.
        folder: An empty local folder.
        limits: What the decoder may spend.
        decoders: The formats in force.
        name: Of the recording's file; see `open_recording`.

    Raises:
        OSError: The source cannot be read or the folder not written.
    """
    reader = open_recording(source, limits=limits, decoders=decoders, name=name)
    clock = ClockCheck()
    with ExitStack() as stack:
        tables = [stack.enter_context(_Writer(folder / f"{t.name}.parquet", t.empty())) for t in _TABLES]
        topics: dict[TopicKey, _Writer] = {}
        for batch in reader:
            clock.observe(batch.frames)
            for table, writer, rows in zip(_TABLES, tables, (batch.frames, batch.logs, batch.diagnostics), strict=True):
                writer.write(table.check(rows))
            for key, rows in batch.topics.items():
                if key not in topics:
                    topics[key] = stack.enter_context(_Writer(folder / _topic_file(len(topics)), rows.clear()))
                topics[key].write(rows)
    reader.summary.problems += clock.problems()
    reader.summary.topics = [TopicSummary(topic, schema, w.rows) for (topic, schema), w in topics.items()]
    (folder / SUMMARY).write_text(json.dumps(asdict(reader.summary)))
    return reader.summary


def _topic_file(number: int) -> str:
    return f"topic_{number}.parquet"


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
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.close()

    def write(self, frame: pl.DataFrame) -> None:
        """Append rows."""
        if frame.height:
            self._writer.write_table(frame.to_arrow().cast(self._schema), row_group_size=_ROW_GROUP)
            self.rows += frame.height


def read_summary(folder: Path) -> RecordingSummary:
    """The summary of a part."""
    document: dict[str, Any] = json.loads((folder / SUMMARY).read_text())
    channels = [ChannelSummary(**c) for c in document.pop("channels")]
    problems = [Problem(**p) for p in document.pop("problems")]
    topics = [TopicSummary(**t) for t in document.pop("topics")]
    return RecordingSummary(**document, channels=channels, problems=problems, topics=topics)


def scan_part(folder: Path) -> LazyPart:
    """The tables of a part, to be filtered before they are read."""
    scans = [
        pl.scan_parquet(folder / f"{t.name}.parquet").cast(dict(t.schema)).select(t.schema.names())  # type: ignore[arg-type]
        for t in _TABLES
    ]
    topics = {
        (topic.topic, topic.schema): pl.scan_parquet(folder / _topic_file(number))
        for number, topic in enumerate(read_summary(folder).topics)
    }
    frames, logs, diagnostics = scans
    return LazyPart(frames, logs, diagnostics, topics)


def recording_row(
    name: str, summary: RecordingSummary, *, sha256: str, sha256_verified: bool, parse_s: float, part: str | None
) -> dict[str, object]:
    """The row of a recording in `schema.RECORDINGS`; times as integer nanoseconds."""
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


def problem_rows(name: str, summary: RecordingSummary) -> pl.DataFrame:
    """The rows of a recording in `schema.PROBLEMS`."""
    rows = [{"recording": name, **asdict(problem)} for problem in summary.problems]
    return PROBLEMS.cast(pl.DataFrame(rows, schema=PROBLEMS.schema, strict=False)) if rows else PROBLEMS.empty()
