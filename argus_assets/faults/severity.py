"""How bad a fault is: one table of rules for all sources. The rule that decided goes with every event.

A report's own word (a lamp, a status bit, a level) decides. Where it says nothing of how bad the fault is, the
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

SAYS_NOTHING: Final = frozenset(rule for d in DETECTORS for rule in d.left_to_dictionary)
"""Rules of reports that say that there is a fault, and nothing of how bad it is."""

_NOT_PRESENT: Final = ("pending", "previously_active")
"""Statuses of faults that are not confirmed yet, or over: the code's usual severity would say too much of them."""


def severity_of(rule: pl.Expr) -> pl.Expr:
    """The severity that a column of rule texts stands for, null for one that is not in `RULES`."""
    return rule.replace_strict({text: str(s) for text, s in RULES.items()}, default=None, return_dtype=SEVERITY)


def with_dictionary_severity(events: pl.DataFrame, dictionary: Dictionary) -> pl.DataFrame:
    """Let the dictionary decide the severity of events whose report says nothing of it.

    Args:
        events: `schema.ERROR_EVENTS`.
        dictionary: Its entries are asked once for each distinct code.

    Returns:
        The events, with `dictionary: P0217 Engine overheats` as the rule where the dictionary decided.
    """
    undecided = pl.col("severity_rule").is_in(sorted(SAYS_NOTHING)) & ~pl.col("status").is_in(_NOT_PRESENT)
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
