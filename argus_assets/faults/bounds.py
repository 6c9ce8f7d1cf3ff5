"""Bounds on what one detector reads and reports of a drive; a note says how much was left out.

No honest drive reaches them: what is beyond was made to be beyond.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Annotated, Final, Protocol

import polars as pl
from pydantic import Field

from argus_assets.common.config_files import Strict
from argus_assets.faults.activations import FAULT
from argus_assets.faults.detector import Found

MAX_NOTES: Final = 100
"""Notes of one kind in full; further ones are counted."""


class Bounds(Strict):
    """Bounds of each detector, as a fleet may set them.

    Attributes:
        frames: Frames that are read in any case: 40 ECUs that report each second send a million in seven hours, and a
            tester that asks 50 times a second gets as many answers in five. A million takes up to 1 GB of memory.
        frames_share: Share of a drive's frames that is read where that is more.
        faults: Faults that are reported: a vehicle has a hundred ECUs with a few dozen codes each.
    """

    frames: Annotated[int, Field(ge=1)] = 1_000_000
    frames_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    faults: Annotated[int, Field(ge=1)] = 10_000


DEFAULT: Final = Bounds()


class Bounded(Protocol):
    """A configuration that has bounds."""

    @property
    def bounds(self) -> Bounds:
        """Of each detector."""
        ...


def bounded_frames(
    wanted: pl.LazyFrame, frames: pl.LazyFrame, contents: str, bounds: Bounds
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Read the frames that a detector wants, up to its bound.

    Args:
        wanted: Them.
        frames: All frames of the drive.
        contents: What they carry, for the note.
        bounds: Of the detector.

    Returns:
        The frames, and a note on those that were left out.
    """
    total = frames.select(pl.len()).collect().item()
    limit = max(bounds.frames, int(bounds.frames_share * total))
    rows = wanted.head(limit + 1).collect(engine="streaming")
    if rows.height <= limit:
        return rows, ()
    count = wanted.select(pl.len()).collect().item()
    note = (
        f"{contents}: {count - limit:,} of {count:,} frames were left out, the last ones of the recordings. "
        f"{bounds.frames:,} are read, or {bounds.frames_share:.0%} of all frames where these are more."
    )
    return rows.head(limit), (note,)


def bounded_notes(notes: Iterable[str]) -> tuple[str, ...]:
    """Return the first notes of one kind, and a note on how many further ones there are."""
    remaining = iter(notes)
    kept = tuple(islice(remaining, MAX_NOTES))
    more = sum(1 for _ in remaining)
    return (*kept, f"{more:,} more like the one before were left out.") if more else kept


def bounded_faults(found: Found, found_in: str, bounds: Bounds) -> Found:
    """Keep the events of the worst faults, of equal ones those that came first.

    Args:
        found: Of one detector.
        found_in: What the detector reads, for the note.
        bounds: Of the detector.

    Returns:
        The events and notes, with a note on the faults that were left out.
    """
    events = found.events
    faults = events.group_by(FAULT).agg(pl.col("severity").to_physical().max(), pl.col("first_seen").min())
    more = faults.height - bounds.faults
    if more <= 0:
        return found
    worst = faults.sort(-pl.col("severity").cast(pl.Int16), "first_seen", *FAULT).head(bounds.faults)
    kept = events.join(worst.select(FAULT), on=FAULT, how="semi", maintain_order="left")
    note = f"{found_in}: {more:,} of {faults.height:,} faults were left out, the least severe and latest ones."
    return replace(found, events=kept, notes=(note, *found.notes))
