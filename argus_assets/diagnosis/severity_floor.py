"""The hard floor below which no answer may go: what the vehicle itself reports now is not talked down.

A fault that is there now counts with its severity; what is pending or past does not, nor do remarks.
"""

from collections.abc import Sequence
from typing import Final

from argus_assets.diagnosis.model import Evidence, EvidenceItem
from argus_assets.diagnosis.vocabulary import STRICTEST_DRIVABLE_FIRST, Drivable
from argus_assets.faults.schema import Severity

NOT_NOW: Final = frozenset({"previously_active", "pending"})
"""Statuses of what was active in the past, or was seen once and is not confirmed."""

MILDEST_SEVERITY_FIRST: Final = tuple(Severity)
"""Severities, the mildest first."""

_DRIVABLE_BY_SEVERITY: Final[dict[Severity, Drivable]] = {
    Severity.INFO: "yes",
    Severity.WARNING: "with_care",
    Severity.ERROR: "with_care",
    Severity.CRITICAL: "no",
}


def is_there_now(item: EvidenceItem) -> bool:
    """Whether a fault is there now and more than a remark."""
    return item.severity is not Severity.INFO and item.status not in NOT_NOW


def severity_floor(evidence: Evidence) -> Severity:
    """The worst severity of what is there now."""
    present = (item.severity for item in evidence.items if item.status not in NOT_NOW)
    return max(present, key=MILDEST_SEVERITY_FIRST.index, default=Severity.INFO)


def drivable_floor(evidence: Evidence, severity: Severity) -> Drivable:
    """The laxest word on driving that a severity allows; never `yes` when nothing could be read."""
    allowed = _DRIVABLE_BY_SEVERITY[severity]
    return allowed if evidence.coverage.frames else stricter("with_care", allowed)


def worse(*severities: Severity) -> Severity:
    """The worst of them."""
    return max(severities, key=MILDEST_SEVERITY_FIRST.index)


def stricter(*words: Drivable) -> Drivable:
    """The strictest of them."""
    return min(words, key=STRICTEST_DRIVABLE_FIRST.index)


def merged_checks(checks: Sequence[Sequence[str]], limit: int = 10) -> tuple[str, ...]:
    """What to check over all causes, those of the likeliest first, each once."""
    return tuple(dict.fromkeys(check for of_cause in checks for check in of_cause))[:limit]
