"""Texts of a recording on their way into the tables: the one place where they are cleaned, whichever reader read them."""

from typing import Final

import polars as pl

from argus_assets.common.texts import clean, clean_column, clean_name, clean_names
from argus_assets.recordings.model import ChannelSummary, FrameBatch, Problem, RecordingSummary, TopicKey, TopicSummary

_NAMES: Final = ("channel", "name", "file", "hardware_id")
"""Columns of the declared tables that name something; what else is text is a message."""
_MAX_PROBLEM_CHARS: Final = 500
_COLUMNS: Final = ("frame", "timestamp")


class Cleaner:
    """Cleans the batches of one recording, and then its summary. Names that become equal stay apart."""

    def __init__(self) -> None:
        self._topics: dict[TopicKey, TopicKey] = {}
        self._taken: set[TopicKey] = set()
        self._columns: dict[tuple[str, ...], dict[str, str]] = {}

    def batch(self, batch: FrameBatch) -> FrameBatch:
        """Return a batch whose texts print, on bounded length."""
        return FrameBatch(
            _cleaned(batch.frames),
            _cleaned(batch.logs),
            _cleaned(batch.diagnostics),
            {self._topic(key): self._typed(table) for key, table in batch.topics.items()},
        )

    def summary(self, summary: RecordingSummary) -> None:
        """Clean the texts of a summary."""
        summary.format, summary.decoder = clean_name(summary.format), clean_name(summary.decoder)
        channels: dict[tuple[str, str], ChannelSummary] = {}
        for c in summary.channels:
            name, kind = clean_name(c.channel), clean_name(c.kind)
            before = channels.get((name, kind))
            frames = c.frames + (before.frames if before else 0)
            channels[name, kind] = ChannelSummary(name, kind, frames, clean_name(c.schema))
        summary.channels = list(channels.values())
        summary.problems[:] = [_problem(p) for p in summary.problems]
        summary.topics = [TopicSummary(*self._topic((t.topic, t.schema)), t.rows) for t in summary.topics]

    def _topic(self, key: TopicKey) -> TopicKey:
        if key not in self._topics:
            topic, schema = clean_name(key[0]), clean_name(key[1])
            number, found = 1, (topic, schema)
            while found in self._taken:
                number += 1
                found = (f"{topic}#{number}", schema)
            self._taken.add(found)
            self._topics[key] = found
        return self._topics[key]

    def _typed(self, table: pl.DataFrame) -> pl.DataFrame:
        names = tuple(table.columns)
        if names not in self._columns:
            self._columns[names] = _names(names)
        renamed = self._columns[names]
        cleaned = [clean_column(table[name]) for name in names if name not in _COLUMNS]
        table = table.with_columns(cleaned)
        return table.rename(renamed) if renamed else table


def _names(names: tuple[str, ...]) -> dict[str, str]:
    """Return new, unique names for the columns whose name is not printable."""
    renamed: dict[str, str] = {}
    taken = set(names)
    for name in names:
        cleaned = clean_name(name) or "unnamed"
        if cleaned == name:
            continue
        number, found = 1, cleaned
        while found in taken:
            number += 1
            found = f"{cleaned}#{number}"
        taken.add(found)
        renamed[name] = found
    return renamed


def _cleaned(table: pl.DataFrame) -> pl.DataFrame:
    if table.is_empty():
        return table
    changed: dict[str, pl.Series] = {}
    for column in table.iter_columns():
        if column.dtype == pl.Binary or isinstance(column.dtype, pl.Enum) or column.dtype.is_numeric():
            continue
        cleaned = clean_names(column) if column.name in _NAMES else clean_column(column)
        if cleaned is not column:
            changed[column.name] = cleaned
    return table.with_columns(**changed) if changed else table


def _problem(problem: Problem) -> Problem:
    texts = (clean(text, max_chars=_MAX_PROBLEM_CHARS) for text in (problem.expected, problem.actual, problem.help))
    expected, actual, advice = texts
    return Problem(problem.kind, expected, actual, problem.offset, problem.frames_lost, advice)
