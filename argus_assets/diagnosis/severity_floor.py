"""Severity floor: no answer may play down what the vehicle itself reports now.

A fault that is present counts with its severity; pending and past faults do not, nor do those of severity info.
"""

from collections.abc import Sequence
from typing import Final

from argus_assets.diagnosis.model import Evidence, EvidenceItem
from argus_assets.diagnosis.states import NOW
from argus_assets.diagnosis.vocabulary import STRICTEST_DRIVABLE_FIRST, Drivable
from argus_assets.faults.schema import Severity

MILDEST_SEVERITY_FIRST: Final = tuple(Severity)
"""Severities from mild to severe."""

_DRIVABLE_BY_SEVERITY: Final[dict[Severity, Drivable]] = {
    Severity.INFO: "yes",
    Severity.WARNING: "with_care",
    Severity.ERROR: "with_care",
    Severity.CRITICAL: "no",
}


def is_there_now(item: EvidenceItem) -> bool:
    """Return whether a fault is present now and above severity info."""
    return item.severity is not Severity.INFO and item.state in NOW


def severity_floor(evidence: Evidence) -> Severity:
    """Return the worst severity of the faults present."""
    present = (_severity_now(item) for item in evidence.items if item.state in NOW)
    return max(present, key=MILDEST_SEVERITY_FIRST.index, default=Severity.INFO)


def _severity_now(item: EvidenceItem) -> Severity:
    """Return a fault's severity; one that was gone before the drive's end is at most a warning, unless it was critical."""
    if item.state == "ended" and item.severity is Severity.ERROR:
        return Severity.WARNING
    return item.severity


def drivable_floor(evidence: Evidence, severity: Severity) -> Drivable:
    """Return the most lenient drivability that a severity allows; never `yes` if nothing could be read."""
    allowed = _DRIVABLE_BY_SEVERITY[severity]
    return allowed if evidence.coverage.frames else stricter("with_care", allowed)


def worse(*severities: Severity) -> Severity:
    """Return the worst severity."""
    return max(severities, key=MILDEST_SEVERITY_FIRST.index)


def stricter(*words: Drivable) -> Drivable:
    """Return the strictest drivability."""
    return min(words, key=STRICTEST_DRIVABLE_FIRST.index)


def merged_checks(checks: Sequence[Sequence[str]], limit: int = 10) -> tuple[str, ...]:
    """Return the checks of all causes, those of the most likely cause first, without duplicates."""
    return tuple(dict.fromkeys(check for of_cause in checks for check in of_cause))[:limit]
