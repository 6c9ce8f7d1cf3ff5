"""What makes one fault more important than another: root before loud.

    score = 100 · severity + 50 · earliness + loudness

- Severity counts 1 to 4 (info, warning, error, critical). The other terms together stay below 100, so a milder fault
  never stands above a worse one.
- Earliness is 1 for the faults that appeared first and falls in equal steps to 0 for the last: causes come before
  their consequences. Faults that appear within a second of each other share a step, because most sources report once
  a second and their order within it says nothing.
- Loudness is log10(occurrences) / 4, at most 1. Occurrences are inactive→active transitions. Frames do not count at
  all: a DM1 repeats each second, and a ranking by frames would rank broadcasts. With up to 50 steps no number of
  occurrences lifts a fault above an earlier one of the same severity.
"""

from typing import Final

import polars as pl

from argus_assets.faults.schema import SEVERITY

SEVERITY_POINTS: Final = 100.0
EARLINESS_POINTS: Final = 50.0
LOUDNESS_DECADES: Final = 4.0

SAME_MOMENT_NS: Final = 1_000_000_000
"""Faults that appear within this time of the one before share a step of earliness."""


def with_score(faults: pl.DataFrame) -> pl.DataFrame:
    """Add the column `score`.

    Args:
        faults: severity, first_seen (`tables.TIMESTAMP`) and occurrences of each fault of a drive.
    """
    later = pl.col("first_seen").sort().diff().dt.total_nanoseconds() > SAME_MOMENT_NS
    steps = faults.select(
        pl.col("first_seen").sort(), step=later.fill_null(value=False).cast(pl.Int64).cum_sum()
    ).unique("first_seen")
    severity = pl.col("severity").cast(SEVERITY).to_physical().cast(pl.Float64) + 1.0
    earliness = 1.0 - pl.col("step") / pl.max_horizontal(pl.col("step").max(), 1)
    loudness = (pl.col("occurrences").cast(pl.Float64).log10() / LOUDNESS_DECADES).clip(0.0, 1.0)
    return (
        faults.join(steps, on="first_seen", how="left", maintain_order="left")
        .with_columns(score=SEVERITY_POINTS * severity + EARLINESS_POINTS * earliness + loudness)
        .drop("step")
    )
