"""Channels of a recording while it is read: their frames are counted, and further ones than a file may have refused."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.model import ChannelSummary

Channel = tuple[str, str]
"""Name and kind."""

_MAX_REFUSED: Final = 262_144
"""Refused channels that are counted one by one; of further ones only the frames are counted."""


class ChannelCounts:
    """Frames of each channel; the channels are taken from the budget of the file."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._counts: dict[Channel, int] = {}
        self._refused: set[Channel] = set()

    def admit(self, frames: pl.DataFrame, counts: Mapping[Channel, int], *, at: int) -> pl.DataFrame:
        """Count frames; return those whose channel fits into the budget, which reports the others.

        Args:
            frames: With the columns `channel` and `kind` of `schema.FRAMES`.
            counts: How many of them each channel has.
            at: Offset in the file, for the problem row.
        """
        refused: list[Channel] = []
        for channel, count in counts.items():
            if channel in self._counts:
                self._counts[channel] += count
                continue
            if channel in self._refused or len(self._refused) == _MAX_REFUSED:
                self._budget.lose("channels", count)
            elif self._budget.take("channels", at=at, name=channel[0], frames_lost=count):
                self._counts[channel] = count
                continue
            else:
                self._refused.add(channel)
            refused.append(channel)
        if not refused:
            return frames
        key = [pl.col("channel").cast(pl.String), pl.col("kind").cast(pl.String)]
        names = pl.DataFrame(refused, schema={"channel": pl.String, "kind": pl.String}, orient="row")
        keep = frames.select(key).with_row_index("row").join(names, on=["channel", "kind"], how="anti")["row"]
        return frames[keep.sort()]

    def summaries(self) -> list[ChannelSummary]:
        """Return the channels, by name."""
        return [ChannelSummary(name, kind, n) for (name, kind), n in sorted(self._counts.items())]
