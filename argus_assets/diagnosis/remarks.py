"""Remarks of the log and topics: what software says below ERROR and publishes, as evidence, and when somebody stopped it."""

import re
from collections.abc import Sequence
from typing import Final

import polars as pl

from argus_assets.diagnosis.model import Remark, TopicSeen
from argus_assets.diagnosis.redaction import redact
from argus_assets.stats import remarks

MAX_REMARKS: Final = 120
"""Remarks of a drive that are looked at; warnings come before the rest."""

MAX_TOPICS: Final = 300
"""Topics of a drive that are looked at."""

AFTER_STOP_S: Final = 60.0
"""Software that was told to stop has ended within this time; ROS 2 kills what has not after some ten seconds."""

_WARN: Final = 30
_STOPPED: Final = re.compile(remarks.STOPPED)
_STARTED: Final = re.compile(remarks.STARTED)
_RECOVERED: Final = re.compile(remarks.RECOVERED)
_NOT: Final = re.compile(r"(?i)\b(not|never|cannot|fail\w*|but|unable)\b")


def log_remarks(rows: pl.DataFrame, *, starts_ns: int) -> tuple[Remark, ...]:
    """Return the remarks of a drive.

    Args:
        rows: `stats.schema.REMARKS`.
        starts_ns: First frame of the drive, nanoseconds since 1970 UTC.
    """
    seconds = [
        ((pl.col(name).dt.timestamp("ns") - starts_ns) / 1e9).alias(alias)
        for name, alias in (("first_seen", "first_s"), ("last_seen", "last_s"))
    ]
    found = rows.head(MAX_REMARKS).with_columns(seconds)
    return tuple(
        Remark(
            id=f"R{n}",
            level="warning" if row["level"] >= _WARN else "info",
            node=redact(row["name"]),
            message=redact(row["message"]),
            entries=row["entries"],
            first_s=round(row["first_s"], 3),
            last_s=round(row["last_s"], 3),
        )
        for n, row in enumerate(found.iter_rows(named=True), 1)
    )


def stopped_at(found: Sequence[Remark]) -> float | None:
    """Return when somebody stopped the software for good, seconds into the drive, or `None`.

    A start after the stop ends it: the software was only restarted.
    """
    stops = [r.first_s for r in found if _STOPPED.search(r.message)]
    started = max((r.last_s for r in found if _STARTED.search(r.message)), default=float("-inf"))
    return min((at for at in stops if at > started), default=None)


def recoveries(found: Sequence[Remark]) -> dict[str, float]:
    """Map each node that says that its trouble is over to when it last said so, seconds into the drive."""
    last: dict[str, float] = {}
    for remark in found:
        if _RECOVERED.search(remark.message) and not _NOT.search(remark.message):
            last[remark.node] = max(last.get(remark.node, 0.0), remark.last_s)
    return last


def topics_seen(rows: pl.DataFrame, *, starts_ns: int) -> tuple[TopicSeen, ...]:
    """Return the topics of a drive.

    Args:
        rows: `stats.schema.TOPIC_STATS`.
        starts_ns: First frame of the drive, nanoseconds since 1970 UTC.
    """

    def seconds(name: str) -> pl.Expr:
        return ((pl.col(name).dt.timestamp("ns") - starts_ns) / 1e9).round(3)

    found = rows.head(MAX_TOPICS).select(
        "topic",
        "messages",
        first_s=seconds("first_seen"),
        last_s=seconds("last_seen"),
        period_s=pl.col("period_s").round(4),
        pause_s=pl.col("longest_pause_s").round(3),
        pause_from_s=seconds("pause_began"),
    )
    return tuple(
        TopicSeen(
            topic=redact(topic),
            messages=messages,
            first_s=first,
            last_s=last,
            period_s=period,
            pause_s=pause,
            pause_from_s=pause_from,
        )
        for topic, messages, first, last, period, pause, pause_from in found.iter_rows()
    )
