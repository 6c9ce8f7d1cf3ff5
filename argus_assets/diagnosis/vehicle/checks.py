"""Order checks and repairs: safety first, then what tells the leading causes apart per minute.

Repairs by cost: with one fault, independent costs and repairs that are verified, the cheapest sequence is by falling p/c
(Heckerman, Breese and Rommelse, "Decision-theoretic troubleshooting", CACM 38(3), 1995).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

HIT: Final = 0.9
"""Chance that a check of a cause confirms it when it is the cause."""

FALSE_HIT: Final = 0.1
"""Chance that it does when another is."""


@dataclass(frozen=True, slots=True)
class Option:
    """A check: minutes, and the chance of a positive result for each cause, in the order of their probabilities."""

    minutes: float
    positive: tuple[float, ...]


def expected_minutes(chances: Sequence[float], minutes: Sequence[float], order: Sequence[int]) -> float:
    """Return the expected minutes to the repair: each step is paid while none before it was the cause."""
    left, total = 1.0, 0.0
    for n in order:
        total += minutes[n] * left
        left -= chances[n]
    return total


def repair_order(chances: Sequence[float], minutes: Sequence[float]) -> tuple[int, ...]:
    """Return the order of repairs with the least expected minutes: by falling chance per minute."""
    return tuple(sorted(range(len(chances)), key=lambda n: (-chances[n] / minutes[n], n)))


def information(chances: Sequence[float], positive: Sequence[float]) -> float:
    """Return what a check tells about the cause, bits.

    Args:
        chances: Probability of each cause; they sum to 1.
        positive: Chance of a positive result for each.
    """
    yes = sum(c * p for c, p in zip(chances, positive, strict=True))
    after = 0.0
    for share, likelihood in ((yes, positive), (1 - yes, [1 - p for p in positive])):
        if share > 0:
            after += share * _entropy([c * p / share for c, p in zip(chances, likelihood, strict=True)])
    return max(0.0, _entropy(chances) - after)


def _entropy(chances: Sequence[float]) -> float:
    return -sum(c * math.log2(c) for c in chances if c > 0)


def updated(chances: Sequence[float], positive: Sequence[float], *, result: bool) -> tuple[float, ...]:
    """Return the probabilities of the causes after a check."""
    likelihood = [p if result else 1 - p for p in positive]
    total = sum(c * p for c, p in zip(chances, likelihood, strict=True))
    return tuple(c * p / total for c, p in zip(chances, likelihood, strict=True))


def check_order(chances: Sequence[float], options: Sequence[Option]) -> tuple[int, ...]:
    """Return the order of checks by falling bits per minute."""
    gain = [information(chances, option.positive) / option.minutes for option in options]
    return tuple(sorted(range(len(options)), key=lambda n: (-gain[n], n)))


def ordered_checks(causes: Sequence[tuple[float, Sequence[tuple[float, str]]]], *, limit: int) -> tuple[str, ...]:
    """Return the checks of several causes in the order in which to do them.

    Those of the first cause come in their own order, but one of another cause goes before it when it tells more per minute.
    Causes far behind the first wait until its checks are done.

    Args:
        causes: Probability of each cause, most likely first, and its checks: minutes and text.
        limit: Number of checks to return.
    """
    total = sum(chance for chance, _ in causes)
    if not total:
        return ()
    chances = [chance / total for chance, _ in causes]
    ranked: list[tuple[float, int, int, str]] = []
    for n, (_, checks) in enumerate(causes):
        positive = [HIT if k == n else FALSE_HIT for k in range(len(causes))]
        gain = information(chances, positive) if len(causes) > 1 else 1.0
        behind = chances[n] < chances[0] / 4
        best = math.inf
        for place, (minutes, text) in enumerate(checks):
            # Within a cause the order of its author holds.
            best = min(best, gain / minutes)
            ranked.append((best if not behind else best * 1e-3, n, place, text))
    ranked.sort(key=lambda entry: (-entry[0], entry[1], entry[2]))
    return tuple(dict.fromkeys(text for _, _, _, text in ranked))[:limit]
