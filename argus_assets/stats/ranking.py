"""Rank faults by importance: present before past, cause before noise.

    score = 500 · standing + 100 · severity + 50 · earliness + loudness

- Standing is 2 for present faults, 1 for past ones, 0 for remarks.
  Present: reports that a fault is active, confirmed or pending, and single moments (`occurred`: a log line, a bus that
  went off) of at least severity warning. Past: `previously_active` and `permanent`, which a control unit keeps from
  earlier drives. Remarks: moments of severity info, such as the clearing of codes or a refused request. So neither a
  stored code, however bad it was, nor a remark ranks above a fault of this drive.
- Severity counts 1 to 4 (info, warning, error, critical). Earliness and loudness together stay below 100, so a milder
  fault never ranks above a worse one of the same standing.
- Earliness is 1 for the faults of a standing that appeared first and falls in equal steps to 0 for the last: causes
  precede their consequences. Faults that appear within a second of each other share a step, because most sources
  report once a second and the order within it means nothing.
- Loudness is log10(occurrences) / 4, at most 1. Occurrences are inactive→active transitions. Frames do not count:
  a DM1 is repeated every second, and a ranking by frames would rank broadcasts. With up to 50 steps no number of
  occurrences lifts a fault above an earlier one of the same severity.

One trouble is often reported several times: a control unit reports `P0301` as pending (mode 07), confirmed (mode 03) and
permanent (mode 0A), or a code by DM1, DM12 and DM2. Rows of the same ECU with the same code are one trouble. A code
without a failure-type byte (`P0301`, OBD) is the same trouble as one with it (`P0301-11`, UDS): the one of them that
was seen first. The row with the highest score represents the trouble; the others refer to it by `same_as` and rank after all
representing rows, so that they never crowd a top-k list. A trouble appeared when the first of its rows of the same
standing did.
"""

from typing import Final

import polars as pl

from argus_assets.faults.schema import SEVERITY, STATUSES, Severity

STANDING_POINTS: Final = 500.0
SEVERITY_POINTS: Final = 100.0
EARLINESS_POINTS: Final = 50.0
LOUDNESS_DECADES: Final = 4.0

SAME_MOMENT_NS: Final = 1_000_000_000
"""Faults that appear within this time of the previous one share a step of earliness."""

PRESSING: Final = ("active", "confirmed", "pending", "permanent", "previously_active", "occurred")
"""Statuses, most pressing first: of a fault with several, the first of these counts."""

_PAST: Final = ("permanent", "previously_active")
_TROUBLE: Final = ("ecu", "base_code", "failure_type")


def most_pressing(status: pl.Expr) -> pl.Expr:
    """Aggregate statuses to the most pressing one."""
    order = {name: PRESSING.index(name) for name in STATUSES}
    return status.get(status.replace_strict(order, return_dtype=pl.UInt8).arg_min())


def ranked(faults: pl.DataFrame, *, fault: tuple[str, ...]) -> pl.DataFrame:
    """Add `rank` (from 1), `score` and `same_as`, most important first.

    Args:
        faults: code, ecu, severity, status, first_seen (`tables.TIMESTAMP`) and occurrences of each fault of a drive.
        fault: Columns that identify a fault; they break ties.
    """
    scored = _with_score(_with_trouble(faults))
    best_first = [pl.col("score").neg(), "first_seen", *fault]
    return (
        scored.sort(best_first)
        .with_columns(again=pl.int_range(pl.len()).over(_TROUBLE) > 0)
        .sort("again", maintain_order=True)
        .with_row_index("rank", offset=1)
        .with_columns(same_as=pl.when("again").then(pl.col("rank").first().over(_TROUBLE)))
        .drop("again", "standing", "base_code", "failure_type")
    )


def _with_trouble(faults: pl.DataFrame) -> pl.DataFrame:
    """Add the columns of `_TROUBLE`."""
    parts = pl.col("code").str.extract_groups(r"^([PCBU][0-9A-F]{4})-([0-9A-F]{2})$").struct
    return (
        faults.with_columns(base_code=parts.field("1").fill_null(pl.col("code")), failure_type=parts.field("2"))
        .sort("first_seen", "code")
        .with_columns(
            pl.col("failure_type")
            .fill_null(pl.col("failure_type").drop_nulls().first().over("ecu", "base_code"))
            .fill_null("")
        )
    )


def _with_score(faults: pl.DataFrame) -> pl.DataFrame:
    """Add `standing` and `score`."""
    is_remark = (pl.col("status") == "occurred") & (pl.col("severity").cast(SEVERITY) == Severity.INFO.value)
    standing = pl.when(is_remark).then(0).when(pl.col("status").is_in(_PAST)).then(1).otherwise(2)
    rated = faults.with_columns(standing=standing).with_columns(
        appeared=pl.col("first_seen").min().over(*_TROUBLE, "standing")
    )
    later = pl.col("appeared").diff().over("standing").dt.total_nanoseconds() > SAME_MOMENT_NS
    steps = (
        rated.select("standing", "appeared")
        .unique()
        .sort("standing", "appeared")
        .with_columns(step=later.fill_null(value=False).cast(pl.Int64).cum_sum().over("standing"))
    )
    severity = pl.col("severity").cast(SEVERITY).to_physical().cast(pl.Float64) + 1.0
    earliness = 1.0 - pl.col("step") / pl.max_horizontal(pl.col("step").max().over("standing"), 1)
    loudness = (pl.col("occurrences").cast(pl.Float64).log10() / LOUDNESS_DECADES).clip(0.0, 1.0)
    return (
        rated.join(steps, on=["standing", "appeared"], how="left", maintain_order="left")
        .with_columns(
            score=STANDING_POINTS * pl.col("standing")
            + SEVERITY_POINTS * severity
            + EARLINESS_POINTS * earliness
            + loudness
        )
        .drop("step", "appeared")
    )
