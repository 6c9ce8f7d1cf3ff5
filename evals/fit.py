"""Fit the correction of confidences on the training third of documented drives."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from argus_assets.diagnosis.model import Diagnosis
from argus_assets.diagnosis.vehicle.confidence import features
from evals.story import Story
from evals.story_scores import verdict_of

IDENTITY: Final = (1.0, 0.0, 0.0, 0.0)
"""Parameters that leave the posterior as it is."""

RIDGE: Final = 2.0
"""Strength of the pull towards them: two pseudo-answers' worth."""

F64 = npt.NDArray[np.float64]


def logistic(x: F64, y: F64, *, towards: Sequence[float], ridge: float, steps: int = 100) -> F64:
    """Return the weights that minimise log loss plus ridge / 2 · |weights - towards|², by Newton's steps.

    Args:
        x: Features, float64 (n, k).
        y: Outcomes 0 or 1, float64 (n,).
        towards: Weights that the ridge pulls to.
        ridge: Its strength; 0 for none.
        steps: Maximum number of steps.
    """
    anchor = np.asarray(towards, dtype=np.float64)
    weights = anchor.copy()

    def loss(tried: F64) -> float:
        z = x @ tried
        # log(1 + exp(z)) - y z, without overflow
        return float((np.logaddexp(0.0, z) - y * z).sum() + ridge / 2 * ((tried - anchor) ** 2).sum())

    for _ in range(steps):
        p = np.exp(-np.logaddexp(0.0, -(x @ weights)))
        gradient = x.T @ (p - y) + ridge * (weights - anchor)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + ridge * np.eye(len(weights))
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while loss(weights - scale * step) > loss(weights) and scale > 1e-6:
            scale /= 2
        weights = weights - scale * step
        if float(np.abs(step).max()) < 1e-10:
            break
    return weights


def outcomes(told: Sequence[tuple[Story, Diagnosis]]) -> tuple[F64, F64]:
    """Return features and outcomes of the first cause of each drive, where it is named.

    A cause of a drive with nothing to repair is wrong.
    """
    rows: list[tuple[float, ...]] = []
    right: list[float] = []
    for story, diagnosis in told:
        if not diagnosis.root_causes or diagnosis.root_causes[0].posterior is None:
            continue
        first = diagnosis.root_causes[0]
        rows.append(features(first.posterior or 0.0, first.accounts_for, first.findings))
        right.append(float(story.has_fault and verdict_of(story, first) == "right"))
    return np.array(rows), np.array(right)
