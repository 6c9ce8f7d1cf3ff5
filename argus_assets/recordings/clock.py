"""Clocks that jump: timestamps that step back, or far ahead, from one frame to the next."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from argus_assets.recordings.columns import I64
from argus_assets.recordings.model import Problem

BACK_NS: Final = 10**9
"""Recorders write what several buses and topics deliver, so that frames may be a little out of order."""

AHEAD_NS: Final = 3600 * 10**9
"""A drive is one session: an hour without any frame inside of a file is a clock that was set."""

_WRAPS: Final = {
    "16 bits of milliseconds": 2**16 * 10**6,
    "32 bits of nanoseconds": 2**32,
    "32 bits of microseconds": 2**32 * 10**3,
    "32 bits of ten microseconds": 2**32 * 10**4,
    "32 bits of milliseconds": 2**32 * 10**6,
}
_WRAP_TOLERANCE: Final = 0.02


@dataclass(slots=True)
class _Jumps:
    """Jumps in one direction.

    Attributes:
        first: (frame, channel, nanoseconds) of the first.
        largest: The one of most nanoseconds.
    """

    count: int = 0
    first: tuple[int, str, int] = (0, "", 0)
    largest: int = 0


@dataclass(slots=True)
class ClockCheck:
    """Looks at the frames of one recording, a batch at a time; how they are cut into batches makes no difference.

    A jump is one of the recorder's clock: it shows between two frames that follow each other, and between two of the
    same channel. Channels that each have a clock of their own are no jump.
    """

    _last_ns: int | None = None
    _last_of: dict[str, int] = field(default_factory=dict)
    _back: _Jumps = field(default_factory=_Jumps)
    _ahead: _Jumps = field(default_factory=_Jumps)

    def observe(self, frames: pl.DataFrame) -> None:
        """Take the next frames (`schema.FRAMES`)."""
        if frames.is_empty():
            return
        times = frames["timestamp"].to_physical().to_numpy()
        steps = np.diff(times, prepend=times[0] if self._last_ns is None else self._last_ns)
        found = np.flatnonzero((steps < -BACK_NS) | (steps > AHEAD_NS))
        if len(found):
            self._look(frames, times, found)
        self._last_ns = int(times[-1])
        last = frames.group_by("channel").agg(pl.col("timestamp").last().to_physical())
        self._last_of.update({str(channel): int(at) for channel, at in last.iter_rows()})

    def _look(self, frames: pl.DataFrame, times: I64, found: I64) -> None:
        """Count those of the steps that their channel shows too."""
        rows = frames.select(
            "frame",
            channel=pl.col("channel").cast(pl.String),
            before=pl.col("timestamp").to_physical().shift(1).over("channel"),
        )[found]
        first_of_channel = rows.filter(pl.col("before").is_null())["channel"].unique()
        known = {name: self._last_of[name] for name in first_of_channel if name in self._last_of}
        before = rows["before"].fill_null(rows["channel"].replace_strict(known, default=None, return_dtype=pl.Int64))
        steps = pl.Series(times[found]) - before
        jumped = rows.select("frame", "channel").with_columns(step=steps).drop_nulls("step")
        for jumps, wanted in ((self._back, pl.col("step") < -BACK_NS), (self._ahead, pl.col("step") > AHEAD_NS)):
            of_direction = jumped.filter(wanted)
            if of_direction.is_empty():
                continue
            if not jumps.count:
                frame, channel, step = of_direction.row(0)
                jumps.first = frame, channel, abs(step)
            jumps.count += of_direction.height
            jumps.largest = max(jumps.largest, int(of_direction["step"].abs().max()))  # type: ignore[arg-type] # not empty

    def problems(self) -> list[Problem]:
        """Return a row for each direction in which the clock jumped."""
        rows: list[Problem] = []
        for jumps, direction, limit in ((self._back, "back", "1 s"), (self._ahead, "ahead", "1 h")):
            if not jumps.count:
                continue
            frame, channel, step = jumps.first
            wrap = next((n for n, w in _WRAPS.items() if abs(step - w) <= _WRAP_TOLERANCE * w), None)
            actual = f"a step {direction} of {step / 1e9:,.3f} s at frame {frame} on {channel}"
            if jumps.count > 1:
                actual += f", and {jumps.count - 1} more, the largest of {jumps.largest / 1e9:,.3f} s"
            if wrap and direction == "back":
                actual += f"; it fits a counter of {wrap} that wrapped"
            rows.append(
                Problem(
                    "clock_jump", f"steps {direction} of at most {limit}", actual, None, 0,
                    "The recorder's clock was set or wrapped. No frame is lost; times before and after don't compare.",
                )
            )  # fmt: skip
        return rows
