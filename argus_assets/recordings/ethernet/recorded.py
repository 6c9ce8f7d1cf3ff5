"""The Ethernet frames of one recording, for the reader of its format: messages of DoIP among its other frames."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.columns import I64
from argus_assets.recordings.ethernet.doip import DoipReader, DoipTables
from argus_assets.recordings.ethernet.segments import Found, services_text
from argus_assets.recordings.model import ChannelSummary, Problem, TopicKey

Counts = dict[tuple[str, str], int]
"""Frames by channel and kind."""
Typed = dict[TopicKey, pl.DataFrame]


class Merged(NamedTuple):
    """Frames with the messages among them.

    Attributes:
        frames: `schema.FRAMES`, whose `frame` is a number among these.
        counts: Frames by channel and kind.
        typed: Typed columns of the messages, with these numbers.
    """

    frames: pl.DataFrame
    counts: Counts
    typed: Typed


class RecordedEthernet:
    """Puts messages together over the parts of a recording.

    Args:
        budget: Of the file.
    """

    def __init__(self, budget: Budget) -> None:
        self._doip = DoipReader()
        self._tables = DoipTables(budget)
        self._names: dict[str, int] = {}
        self._unread: dict[str, int] = {}
        self._services: dict[int, int] = {}

    def merge(
        self,
        frames: pl.DataFrame,
        counts: Mapping[tuple[str, str], int],
        places: I64,
        found: Found,
        names: Sequence[str],
    ) -> Merged:
        """Return the frames of a part with the messages that are complete in it.

        Args:
            frames: Other frames of the part.
            counts: Of them, by channel and kind.
            places: Number of the packet of each of them.
            found: In the Ethernet frames of the part.
            names: Of the channels of these.
        """
        for name, count in found.unread.items():
            self._unread[name] = self._unread.get(name, 0) + count
        for service, count in found.services.items():
            self._services[service] = self._services.get(service, 0) + count
        if not found.segments:
            return Merged(frames, dict(counts), {})
        ours = [self._names.setdefault(name, len(self._names)) for name in names]
        segments = (segment._replace(channel=ours[segment.channel]) for segment in found.segments)
        messages = list(self._doip.add(segments))
        made, typed = self._tables.frames(messages, list(self._names))
        of_messages = np.array([m.packet for m in messages], np.int64)
        order = np.argsort(np.concatenate([places, of_messages]), kind="stable")
        # Messages are numbered behind all other frames.
        first = frames.height
        others = frames.with_columns(frame=pl.int_range(pl.len(), dtype=pl.UInt64))
        merged = pl.concat([others, made.with_columns(pl.col("frame") + first)])[order]
        return Merged(
            merged, {**counts, **_counts(made)}, {k: t.with_columns(pl.col("frame") + first) for k, t in typed.items()}
        )

    def flush(self) -> Merged:
        """Return the messages that are complete only because the recording ends."""
        made, typed = self._tables.frames(list(self._doip.flush()), list(self._names))
        return Merged(made, _counts(made), typed)

    def problems(self, unread: Mapping[str, int], read: str) -> list[Problem]:
        """Return what was not read.

        Args:
            unread: Further packets, by what they are.
            read: What is read of such recordings.
        """
        together = dict(unread)
        for name, count in self._unread.items():
            together[name] = together.get(name, 0) + count
        rows = [
            Problem("unsupported", read, f"{count:,} packets of {name}", 0, 0, "They are not read.")
            for name, count in sorted(together.items())
        ]
        if self._services:
            text = f"SOME/IP: {', '.join(services_text(self._services))}"
            rows.append(Problem("unsupported", read, text, 0, 0, "Messages of these services are counted, not read."))
        return rows + self._doip.problems()

    def with_schemas(self, channels: list[ChannelSummary]) -> list[ChannelSummary]:
        """Return channels with the schemas of those that hold messages."""
        schemas = self._tables.schemas
        return [ChannelSummary(c.channel, c.kind, c.frames, schemas.get(c.channel, c.schema)) for c in channels]


def renumbered(typed: Mapping[TopicKey, pl.DataFrame], numbers: pl.DataFrame) -> Typed:
    """Return typed columns with the final numbers of their frames; rows of frames that were left out go with them.

    Args:
        typed: `Merged.typed`.
        numbers: `before` of each frame that is kept, and its final `frame`.
    """
    return {
        key: table.rename({"frame": "before"})
        .join(numbers, on="before", how="inner", maintain_order="left")
        .select(table.columns)
        for key, table in typed.items()
    }


def _counts(frames: pl.DataFrame) -> Counts:
    return {(str(name), "message"): int(count) for name, count in frames.group_by("channel").len().iter_rows()}
