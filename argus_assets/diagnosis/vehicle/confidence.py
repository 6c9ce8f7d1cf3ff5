"""State a confidence that is a chance: the posterior, corrected by how often such answers were right.

The model knows neither every cause nor every vehicle, so its posterior is too sure. The correction is logistic:

    logit(confidence) = A · logit(posterior) + B + UNACCOUNTED · (1 - accounts_for) + ALONE · (one finding only)

Its four parameters are fitted on the training third of documented drives (`python -m evals fit`), pulled towards the
identity, because so few drives allow no more (Platt 1999; Alasalmi et al. 2020 on small data sets).
"""

import math
from typing import Final

A: Final = 0.5
B: Final = 0.6
UNACCOUNTED: Final = -0.6
ALONE: Final = 0.25

MAX_CONFIDENCE: Final = 0.95
"""A model never saw the vehicle."""

_MAX_LOGIT: Final = 6.0


def features(posterior: float, accounts_for: float, findings: int) -> tuple[float, float, float, float]:
    """Return what the correction is made from.

    Args:
        posterior: Probability by the model.
        accounts_for: Share of the present faults, by severity, that the cause and the other likely ones show, 0 to 1.
        findings: Number of present findings that it shows.
    """
    clipped = min(max(posterior, 1e-6), 1 - 1e-6)
    logit = math.log(clipped / (1 - clipped))
    return min(_MAX_LOGIT, max(-_MAX_LOGIT, logit)), 1.0, 1.0 - accounts_for, 1.0 if findings <= 1 else 0.0


def stated(posterior: float, accounts_for: float, findings: int) -> float:
    """Return the confidence to state for a cause: never more than the posterior."""
    parts = features(posterior, accounts_for, findings)
    logit = sum(w * x for w, x in zip((A, B, UNACCOUNTED, ALONE), parts, strict=True))
    return min(MAX_CONFIDENCE, posterior, 1.0 / (1.0 + math.exp(-logit)))
