"""Calibrate confidences: map a stated confidence to how often it was right, learned from confirmed predictions.

Predictions fall into ten bins of stated confidence. In a bin with n predictions of which r were right, and a mean stated
confidence c, the calibrated confidence is

    (r + PRIOR · c) / (n + PRIOR)

so without predictions the stated confidence is kept, and `PRIOR` predictions weigh as much as it does. Between bins the
correction is interpolated. It never reverses an order: bins are pooled until they rise (pool adjacent violators,
Ayer et al. 1955). Models and rules are calibrated separately, since they fail in different ways.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from argus_assets.diagnosis.model import Diagnosis
from argus_assets.diagnosis.ports import ConfirmedPrediction

BINS: Final = 10
PRIOR: Final = 10.0
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
    """Calibration curves by family of modes: x (stated) and y (calibrated), both rising."""

    curves: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = field(
        default_factory=dict[str, tuple[tuple[float, ...], tuple[float, ...]]]
    )

    @classmethod
    def of(cls, outcomes: Sequence[ConfirmedPrediction]) -> "Calibration":
        """Learn from confirmed predictions; those of unknown modes are ignored."""
        families: dict[str, list[ConfirmedPrediction]] = {}
        for outcome in outcomes:
            if outcome.mode in _FAMILY:
                families.setdefault(_FAMILY[outcome.mode], []).append(outcome)
        return cls({family: _curve(of_it) for family, of_it in families.items()})

    def __call__(self, mode: str, confidence: float) -> float:
        """Return the calibrated confidence, or the stated one if nothing is known. Rises with `confidence`."""
        curve = self.curves.get(_FAMILY.get(mode, ""))
        if curve is None:
            return confidence
        xs, ys = curve
        shift = float(np.interp(confidence, xs, np.subtract(ys, xs)))
        return min(MAX_CONFIDENCE, max(0.0, confidence + shift)) if confidence else 0.0

    def apply(self, diagnosis: Diagnosis) -> Diagnosis:
        """Return the diagnosis with calibrated confidences, in the same order."""
        causes = tuple(
            cause.model_copy(update={"confidence": round(self(diagnosis.mode, cause.confidence), 3)})
            for cause in diagnosis.root_causes
        )
        return diagnosis.model_copy(update={"root_causes": causes})


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
