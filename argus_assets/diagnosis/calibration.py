"""Confidence → how often it was right, learned from confirmed outcomes.

Predictions are put into ten bins of stated confidence. In a bin with n outcomes of which r were right, and a mean stated
confidence c, the corrected confidence is

    (r + PRIOR · c) / (n + PRIOR)

so that without outcomes the stated confidence stands, and `PRIOR` outcomes weigh as much as it. Between the bins the
correction is interpolated, and it never reverses an order: bins are pooled until they rise (pool adjacent violators,
Ayer et al. 1955). Models and rules are corrected apart: they are wrong in different ways.
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
    """Outcomes of similar stated confidence: how many, mean of the stated confidence, and share that was right."""

    count: int
    stated: float
    right: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Corrections by family of modes: x (stated) and y (corrected), both rising."""

    curves: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = field(
        default_factory=dict[str, tuple[tuple[float, ...], tuple[float, ...]]]
    )

    @classmethod
    def of(cls, outcomes: Sequence[ConfirmedPrediction]) -> "Calibration":
        """Learn from confirmed outcomes; those of unknown modes are left out."""
        families: dict[str, list[ConfirmedPrediction]] = {}
        for outcome in outcomes:
            if outcome.mode in _FAMILY:
                families.setdefault(_FAMILY[outcome.mode], []).append(outcome)
        return cls({family: _curve(of_it) for family, of_it in families.items()})

    def __call__(self, mode: str, confidence: float) -> float:
        """The corrected confidence; the stated one where nothing is known. Rises with `confidence`."""
        curve = self.curves.get(_FAMILY.get(mode, ""))
        if curve is None:
            return confidence
        xs, ys = curve
        shift = float(np.interp(confidence, xs, np.subtract(ys, xs)))
        return min(MAX_CONFIDENCE, max(0.0, confidence + shift)) if confidence else 0.0

    def apply(self, diagnosis: Diagnosis) -> Diagnosis:
        """The diagnosis with corrected confidences, in the same order."""
        causes = tuple(
            cause.model_copy(update={"confidence": round(self(diagnosis.mode, cause.confidence), 3)})
            for cause in diagnosis.root_causes
        )
        return diagnosis.model_copy(update={"root_causes": causes})


def reliability(outcomes: Sequence[ConfirmedPrediction], bins: int = BINS) -> list[Bin]:
    """Outcomes in equal bins of stated confidence, the lowest first; empty bins are left out."""
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
    """Mean square of confidence minus outcome (Brier 1950): 0 is best, 0.25 what "50%" always gets."""
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
