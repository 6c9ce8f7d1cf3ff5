"""Notes of detectors on what could not be read: many reporters may each be worth one, and nobody reads thousands."""

from collections.abc import Iterable
from itertools import islice
from typing import Final

MAX_NOTES: Final = 100
"""Notes of one kind in full; further ones are counted."""


def bounded(notes: Iterable[str]) -> tuple[str, ...]:
    """Return the first notes of one kind, and a note on how many further ones there are."""
    remaining = iter(notes)
    kept = tuple(islice(remaining, MAX_NOTES))
    more = sum(1 for _ in remaining)
    return (*kept, f"{more:,} more like the one before were left out.") if more else kept
