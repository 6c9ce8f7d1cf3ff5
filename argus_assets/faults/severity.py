"""Severity of faults: one table of rules for all sources. The rule that decided goes with every event.

The report itself (a lamp, a status bit, a level) decides. Where it states no severity, the
dictionary's default for the code decides, and where the dictionary does not list the code, the rule's severity stays.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from argus_assets.faults.declaration import Severity
from argus_assets.faults.detectors import DETECTORS
from argus_assets.faults.dictionary.lookup import Dictionary
from argus_assets.faults.schema import SEVERITY

RULES: Final[Mapping[str, Severity]] = {rule: s for d in DETECTORS for rule, s in d.severities.items()}
"""Rule text → severity, of all detectors."""

STATES_NO_SEVERITY: Final = frozenset(rule for d in DETECTORS for rule in d.left_to_dictionary)
"""Rules of reports that state a fault without a severity."""

_NOT_PRESENT: Final = ("pending", "previously_active")
"""Statuses of faults that are not confirmed yet, or over: the code's usual severity would be too high for them."""


def severity_of(rule: pl.Expr) -> pl.Expr:
    """Return the severity of each rule in a column, null for one that is not in `RULES`."""
    return rule.replace_strict({text: str(s) for text, s in RULES.items()}, default=None, return_dtype=SEVERITY)


def with_dictionary_severity(events: pl.DataFrame, dictionary: Dictionary) -> pl.DataFrame:
    """Let the dictionary decide the severity of events whose report states none.

    Args:
        events: `schema.ERROR_EVENTS`.
        dictionary: Its entries are asked once for each distinct code.

    Returns:
        The events, with `dictionary: P0217 Engine overheats` as the rule where the dictionary decided.
    """
    undecided = pl.col("severity_rule").is_in(sorted(STATES_NO_SEVERITY)) & ~pl.col("status").is_in(_NOT_PRESENT)
    entries = [dictionary.describe(code) for code in events.filter(undecided)["code"].unique()]
    decided = pl.DataFrame(
        [(e.code, e.severity, f"dictionary: {e.code} {e.text}") for e in entries if e.severity is not None],
        schema={"code": pl.String, "by_dictionary": SEVERITY, "its_rule": pl.String},
        orient="row",
    )
    return (
        events.join(decided, on="code", how="left", maintain_order="left")
        .with_columns(
            severity=pl.when(undecided).then(pl.coalesce("by_dictionary", "severity")).otherwise("severity"),
            severity_rule=pl.when(undecided).then(pl.coalesce("its_rule", "severity_rule")).otherwise("severity_rule"),
        )
        .select(events.columns)
    )
