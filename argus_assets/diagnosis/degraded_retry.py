"""Which degraded diagnoses are worth trying again, and in what order."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from argus_assets.diagnosis.model import Degraded

TOKENS_A_DIAGNOSIS: Final = 5_000
"""What one is planned with; what it really takes is reserved and settled by the ledger."""

MAX_ATTEMPTS: Final = 3
MAX_BATCHES: Final = 50

COUNTED: Final = frozenset({"model_failed", "invalid_answer"})
"""Reasons that another attempt may meet again. Being without a model or over the budget was no attempt."""


@dataclass(frozen=True, slots=True)
class DegradedDiagnosis:
    """The last diagnosis of a batch, made by rules where a model should have answered.

    Attributes:
        attempts: How often a model was asked for this manifest, without a valid answer.
        priority: Of the batch, 0 to 1; `budget.priority_of`.
    """

    partition: str
    reason: Degraded
    priority: float
    attempts: int


def worth_trying(degraded: Iterable[DegradedDiagnosis], *, tokens_left: int) -> list[str]:
    """Partitions to diagnose again, the most important first.

    Args:
        degraded: Those that are known.
        tokens_left: Of today's budget.
    """
    room = min(MAX_BATCHES, tokens_left // TOKENS_A_DIAGNOSIS)
    waiting = [d for d in degraded if d.attempts < MAX_ATTEMPTS]
    waiting.sort(key=lambda d: (-d.priority, d.attempts, d.partition))
    return [d.partition for d in waiting[: max(0, room)]]
