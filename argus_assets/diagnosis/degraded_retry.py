"""Select the degraded diagnoses that are worth retrying, in order of priority."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from argus_assets.diagnosis.model import Degraded

TOKENS_A_DIAGNOSIS: Final = 5_000
"""Planning estimate for one diagnosis; the ledger reserves and settles the actual tokens."""

MAX_ATTEMPTS: Final = 3
MAX_BATCHES: Final = 50

COUNTED: Final = frozenset({"model_failed", "invalid_answer"})
"""Reasons that count as an attempt. Without a model, or over budget, none was made."""


@dataclass(frozen=True, slots=True)
class DegradedDiagnosis:
    """The last diagnosis of a batch, made by rules because no model answered.

    Attributes:
        attempts: Times that a model was asked for this manifest without a valid answer.
        priority: Priority of the batch, 0 to 1; see `budget.priority_of`.
    """

    partition: str
    reason: Degraded
    priority: float
    attempts: int


def worth_trying(degraded: Iterable[DegradedDiagnosis], *, tokens_left: int) -> list[str]:
    """Return the partitions to diagnose again, highest priority first.

    Args:
        degraded: All degraded diagnoses that are known.
        tokens_left: Tokens left of today's budget.
    """
    room = min(MAX_BATCHES, tokens_left // TOKENS_A_DIAGNOSIS)
    waiting = [d for d in degraded if d.attempts < MAX_ATTEMPTS]
    waiting.sort(key=lambda d: (-d.priority, d.attempts, d.partition))
    return [d.partition for d in waiting[: max(0, room)]]
