"""What makes one fault more important than another.

    score = severity weight · (1 + earliness / 2) + log2(1 + occurrences) / 8

- The severity weight is 1, 2, 4 or 8 for info, warning, error, critical: a milder fault never outranks a worse one
  by being early or loud, unless the two are one step apart.
- Earliness is 1 for a fault seen with the first of the drive's faults and falls to 0 at the drive's end: causes come
  before their consequences.
- Occurrences are inactive→active transitions and count only by their logarithm. Frames don't count at all: a DM1
  repeats each second, and a ranking by frames would rank broadcasts.
"""

from typing import Final

import polars as pl

SEVERITY_WEIGHT: Final = {"info": 1.0, "warning": 2.0, "error": 4.0, "critical": 8.0}


def score(*, severity: pl.Expr, seconds_after_first: pl.Expr, drive_s: float, occurrences: pl.Expr) -> pl.Expr:
    """The score of a fault as an expression (see the module).

    Args:
        severity: Worst severity, text.
        seconds_after_first: From the first fault of the drive to this one's first report, seconds.
        drive_s: Length of the drive, seconds.
        occurrences: Transitions.
    """
    earliness = 1.0 - (seconds_after_first / max(drive_s, 1e-9)).clip(0.0, 1.0)
    weight = severity.replace_strict(SEVERITY_WEIGHT, return_dtype=pl.Float64)
    return weight * (1.0 + earliness / 2.0) + (1.0 + occurrences).log(2.0) / 8.0
