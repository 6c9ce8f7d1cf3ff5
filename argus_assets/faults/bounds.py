"""How much one detector tells of a drive: what is beyond was made to be beyond, and a note says how much that is."""

from collections.abc import Iterable
from itertools import islice
from typing import Final

import polars as pl

from argus_assets.faults.activations import FAULT
from argus_assets.faults.detector import Found

MAX_NOTES: Final = 100
"""Notes of one kind in full; further ones are counted."""

MIN_FRAMES: Final = 1_000_000
"""Frames of one detector that are read in any case: 40 ECUs that report each second send as many in seven hours, and a tester
that asks 50 times a second gets as many answers in five. So many take up to 1 GB of memory."""

MAX_SHARE: Final = 0.1
"""Share of a drive's frames that one detector reads beyond these."""

MAX_FAULTS: Final = 10_000
"""Faults of one detector: a vehicle has a hundred ECUs with a few dozen codes each."""


def bounded_frames(wanted: pl.LazyFrame, frames: pl.LazyFrame, what: str) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Read the frames that a detector wants, up to a number that no honest drive reaches.

    Args:
        wanted: Them.
        frames: All frames of the drive.
        what: What they carry, for the note.

    Returns:
        The frames, and a note on those that were left out.
    """
    total = frames.select(pl.len()).collect().item()
    limit = max(MIN_FRAMES, int(MAX_SHARE * total))
    rows = wanted.head(limit + 1).collect(engine="streaming")
    if rows.height <= limit:
        return rows, ()
    count = wanted.select(pl.len()).collect().item()
    note = (
        f"{what}: {count - limit:,} of {count:,} frames were left out, the last ones of the recordings. "
        f"{MIN_FRAMES:,} are read, or {MAX_SHARE:.0%} of all frames where these are more."
    )
    return rows.head(limit), (note,)


def bounded_notes(notes: Iterable[str]) -> tuple[str, ...]:
    """Return the first notes of one kind, and a note on how many further ones there are."""
    remaining = iter(notes)
    kept = tuple(islice(remaining, MAX_NOTES))
    more = sum(1 for _ in remaining)
    return (*kept, f"{more:,} more like the one before were left out.") if more else kept


def bounded_faults(found: Found, found_in: str) -> Found:
    """Keep the events of the worst faults, of equal ones those that came first.

    Args:
        found: Of one detector.
        found_in: What the detector reads, for the note.

    Returns:
        The events and notes, with a note on the faults that were left out.
    """
    events = found.events
    faults = events.group_by(FAULT).agg(pl.col("severity").to_physical().max(), pl.col("first_seen").min())
    more = faults.height - MAX_FAULTS
    if more <= 0:
        return found
    worst = faults.sort(-pl.col("severity").cast(pl.Int16), "first_seen", *FAULT).head(MAX_FAULTS)
    kept = events.join(worst.select(FAULT), on=FAULT, how="semi", maintain_order="left")
    note = f"{found_in}: {more:,} of {faults.height:,} faults were left out, the least severe and latest ones."
    return Found(kept, (note, *found.notes))
