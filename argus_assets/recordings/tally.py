"""Count what a reader hands out, so that a summary rests on the tables and on no claim of a file."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from argus_assets.recordings.model import ChannelSummary, FrameBatch, RecordingSummary

_MAX_CHANNELS: Final = 10_000


@dataclass(slots=True)
class Tally:
    """Frames, channels and time range of the batches that were added."""

    frames: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    channels: dict[tuple[str, str], int] = field(default_factory=dict)
    _schemas: dict[str, str] = field(default_factory=dict)

    def count(self, batches: Iterable[FrameBatch], summary: RecordingSummary) -> Iterator[FrameBatch]:
        """Pass batches on; `summary` is complete at the end."""
        for batch in batches:
            self.add(batch)
            yield batch
        self.settle(summary)

    def add(self, batch: FrameBatch) -> None:
        """Count a batch."""
        self._schemas.update(dict(batch.topics.keys()))
        frames = batch.frames
        if frames.is_empty():
            return
        self.frames += frames.height
        times = frames["timestamp"].to_physical()
        low, high = int(times.min()), int(times.max())  # type: ignore[arg-type] # integers, and some
        self.first_ns = low if self.first_ns is None else min(low, self.first_ns)
        self.last_ns = high if self.last_ns is None else max(high, self.last_ns)
        for channel, kind, count in frames.group_by("channel", "kind").len().iter_rows():
            key = str(channel), str(kind)
            self.channels[key] = self.channels.get(key, 0) + int(count)

    def settle(self, summary: RecordingSummary) -> None:
        """Write what was counted into a summary."""
        summary.frames = self.frames
        summary.cover(self.first_ns, self.last_ns)
        known = {c.channel: c.schema for c in summary.channels}
        summary.channels = [
            ChannelSummary(channel, kind, frames, self._schemas.get(channel) or known.get(channel, ""))
            for (channel, kind), frames in sorted(self.channels.items())[:_MAX_CHANNELS]
        ]
