"""Calibrate confidences: map a stated confidence to how often it was right, learned from confirmed predictions.

Predictions fall into ten bins of stated confidence. In a bin with n predictions of which r were right, and a mean stated
confidence c, the calibrated confidence is

    (r + PRIOR · c) / (n + PRIOR)

so without predictions the stated confidence is kept, and `PRIOR` predictions weigh as much as it does. Between bins the
correction is interpolated. It never reverses an order: bins are pooled until they rise (pool adjacent violators,
Ayer et al. 1955). Models and rules are calibrated separately, since they fail in different ways. Fewer than `MIN_OUTCOMES`
of a family correct nothing: one outcome says little of unrelated causes.

It says much of its own. Where a cause was predicted n times before and was right r times,

    (r + STRENGTH · c) / (n + STRENGTH)

replaces its confidence c (beta-binomial shrinkage): 85% becomes 68% after two right of four.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from argus_assets.diagnosis.model import Diagnosis, RootCause
from argus_assets.diagnosis.ports import ConfirmedPrediction

BINS: Final = 10
PRIOR: Final = 10.0
MIN_OUTCOMES: Final = 20
STRENGTH: Final = 4.0
MAX_CONFIDENCE: Final = 0.95

_FAMILY: Final = {"llm": "model", "cached": "model", "offline": "rules", "fast_path": "rules"}


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions of similar stated confidence: count, mean stated confidence, and share that was right."""

    count: int
    stated: float
    right: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration curves by family of modes: x (stated) and y (calibrated), both rising; and what became of each cause.

    Attributes:
        curves: Family → curve.
        causes: Cause → number of its confirmed predictions, and of those that were right.
        outcomes: Number of confirmed predictions behind each curve.
    """

    curves: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = field(
        default_factory=dict[str, tuple[tuple[float, ...], tuple[float, ...]]]
    )
    causes: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    outcomes: Mapping[str, int] = field(default_factory=dict[str, int])

    @classmethod
    def of(cls, outcomes: Sequence[ConfirmedPrediction]) -> "Calibration":
        """Learn from confirmed predictions; those of unknown modes are ignored."""
        families: dict[str, list[ConfirmedPrediction]] = {}
        for outcome in outcomes:
            if outcome.mode in _FAMILY:
                families.setdefault(_FAMILY[outcome.mode], []).append(outcome)
        causes: dict[str, tuple[int, int]] = {}
        for outcome in outcomes:
            if outcome.cause:
                count, right = causes.get(outcome.cause, (0, 0))
                causes[outcome.cause] = count + 1, right + outcome.correct
        enough = {family: of_it for family, of_it in families.items() if len(of_it) >= MIN_OUTCOMES}
        curves = {family: _curve(of_it) for family, of_it in enough.items()}
        return cls(curves, causes, {family: len(of_it) for family, of_it in enough.items()})

    def __call__(self, mode: str, confidence: float) -> float:
        """Return the calibrated confidence, or the stated one if nothing is known. Rises with `confidence`."""
        curve = self.curves.get(_FAMILY.get(mode, ""))
        if curve is None:
            return confidence
        xs, ys = curve
        shift = float(np.interp(confidence, xs, np.subtract(ys, xs)))
        return min(MAX_CONFIDENCE, max(0.0, confidence + shift)) if confidence else 0.0

    def apply(self, diagnosis: Diagnosis) -> Diagnosis:
        """Return the diagnosis with calibrated confidences and their basis, in the same order."""
        causes: list[RootCause] = []
        for cause in diagnosis.root_causes:
            confidence, count = self(diagnosis.mode, cause.confidence), self.outcomes.get(_FAMILY[diagnosis.mode], 0)
            confirmed, right = self.causes.get(cause.cause, (0, 0))
            if confirmed and confidence:
                confidence, count = (right + STRENGTH * confidence) / (confirmed + STRENGTH), confirmed
            ceiling = min(MAX_CONFIDENCE, *(c.confidence for c in causes)) if causes else MAX_CONFIDENCE
            told = round(min(ceiling, confidence), 3)
            basis = cause.basis
            if told != cause.confidence and count:
                after = f"{told:.0%} after {count} confirmed outcome{'s' if count != 1 else ''}"
                basis = f"{basis}; {after}{' of this cause' if confirmed else ''}" if basis else after
            causes.append(cause.model_copy(update={"confidence": told, "basis": basis}))
        return diagnosis.model_copy(update={"root_causes": tuple(causes)})


def reliability(outcomes: Sequence[ConfirmedPrediction], bins: int = BINS) -> list[Bin]:
    """Return predictions in equal bins of stated confidence, lowest first, without empty bins."""
    by_bin: dict[int, list[ConfirmedPrediction]] = {}
    for outcome in outcomes:
        by_bin.setdefault(min(int(outcome.confidence * bins), bins - 1), []).append(outcome)
    return [
        Bin(
            len(of_it),
            sum(o.confidence for o in of_it) / len(of_it),
            sum(o.correct for o in of_it) / len(of_it),
        )
        for _, of_it in sorted(by_bin.items())
    ]


def brier_score(outcomes: Sequence[ConfirmedPrediction]) -> float | None:
    """Return the mean squared error of confidence (Brier 1950): 0 is best; always stating 50% scores 0.25."""
    if not outcomes:
        return None
    return sum((o.confidence - o.correct) ** 2 for o in outcomes) / len(outcomes)


def _curve(outcomes: Sequence[ConfirmedPrediction]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    xs: list[float] = []
    blocks: list[tuple[float, float, int]] = []  # weight, corrected, bins in it
    for of_bin in reliability(outcomes):
        xs.append(of_bin.stated)
        weight = of_bin.count + PRIOR
        blocks.append((weight, (of_bin.count * of_bin.right + PRIOR * of_bin.stated) / weight, 1))
        while len(blocks) > 1 and blocks[-2][1] > blocks[-1][1]:
            (w2, y2, n2), (w1, y1, n1) = blocks.pop(), blocks.pop()
            blocks.append((w1 + w2, (w1 * y1 + w2 * y2) / (w1 + w2), n1 + n2))
    ys = [y for _, y, bins in blocks for _ in range(bins)]
    return tuple(xs), tuple(ys)
