"""The offline diagnosis: deterministic, from the knowledge base alone.

For each cause whose own codes are there (`shows`), with weights w(severity) = 1, 2, 4, 8:

    explained  = Σ w of the items that the cause shows or explains / Σ w of all items
    order      = share of the explained items that were first seen no earlier than the cause's own first code
    rarity     = share of its groups of own codes that need more than one code or ECU (a fuller signature says more)
    against    = 1 for each item that speaks for another cause, at most 2
    confidence = (0.35 + 0.35·explained + 0.15·order + 0.10·rarity - 0.15·against) · frames read / frames known

The confidence is capped at 0.95: a rule never saw the vehicle. Items that nothing explains are named as such.

A cause needs a code that is there now. Codes of the past and pending ones (`NOT_NOW`), and those that are for
information only, support a cause and show none.
"""

from dataclasses import dataclass
from typing import Final, Literal

from argus_assets.diagnosis.knowledge import Cause, Knowledge, matches
from argus_assets.diagnosis.model import Diagnosis, Evidence, EvidenceItem, RootCause
from argus_assets.faults.dictionary import describe
from argus_assets.faults.schema import Severity

MAX_CAUSES: Final = 5
MAX_CONFIDENCE: Final = 0.95
UNEXPLAINED_CONFIDENCE: Final = 0.25
SAME_MOMENT_S: Final = 1.0
"""First reports so close together have no order: polling and broadcast cycles are as long."""

NOT_NOW: Final = frozenset({"previously_active", "pending"})
"""Statuses of what was active in the past, or was seen once and is not confirmed."""

_WEIGHT: Final = {Severity.INFO: 1, Severity.WARNING: 2, Severity.ERROR: 4, Severity.CRITICAL: 8}
_BADNESS: Final = tuple(Severity)
_DRIVABLE_BY_SEVERITY: Final[dict[Severity, Literal["yes", "with_care", "no"]]] = {
    Severity.INFO: "yes",
    Severity.WARNING: "with_care",
    Severity.ERROR: "with_care",
    Severity.CRITICAL: "no",
}
_LEAST_DRIVABLE: Final[tuple[Literal["yes", "with_care", "no"], ...]] = ("no", "with_care", "yes")


@dataclass(frozen=True, slots=True)
class _Match:
    cause: Cause
    own: tuple[EvidenceItem, ...]
    explained: tuple[EvidenceItem, ...]
    against: tuple[EvidenceItem, ...]
    score: float


def diagnose_offline(
    evidence: Evidence, knowledge: Knowledge, *, reason: str = "no language model is configured"
) -> Diagnosis:
    """Diagnose from the knowledge base.

    Args:
        evidence: What is known of the drive.
        knowledge: The causes.
        reason: Why no language model was asked.
    """
    found = sorted(
        (m for cause in knowledge.causes if (m := _match(cause, evidence)) is not None),
        key=lambda m: (-m.score, m.own[0].seconds_into_drive, m.cause.id),
    )
    causes = [_root_cause(m, evidence) for m in found[:MAX_CAUSES]]
    explained = {item.id for m in found for item in (*m.own, *m.explained)}
    unexplained: dict[str, list[EvidenceItem]] = {}
    for item in evidence.items:
        if item.id not in explained and item.severity is not Severity.INFO:
            unexplained.setdefault(item.code, []).append(item)
    causes += [_unexplained(items, evidence) for items in unexplained.values()][: MAX_CAUSES - len(causes)]
    causes.sort(key=lambda c: -c.confidence)
    present = [item.severity for item in evidence.items if item.status not in NOT_NOW]
    severity = max(present, key=_BADNESS.index, default=Severity.INFO)
    drivable = _DRIVABLE_BY_SEVERITY[severity]
    if found:
        drivable = min((drivable, found[0].cause.drivable), key=_LEAST_DRIVABLE.index)
    return Diagnosis(
        mode="offline",
        mode_reason=reason,
        coverage=evidence.coverage.statement(),
        verdict=_verdict(evidence, causes),
        severity=severity,
        drivable=drivable if evidence.coverage.frames else "with_care",
        root_causes=tuple(causes),
        evidence_key=evidence.key(),
        knowledge_version=knowledge.version,
    )


def _match(cause: Cause, evidence: Evidence) -> _Match | None:
    own: list[EvidenceItem] = []
    for group in cause.shows:
        fitting = [item for item in evidence.items if matches(item.code, group)]
        if not fitting:
            return None
        own += [item for item in fitting if item not in own]
    if not any(_is_there_now(item) for item in own):
        return None
    if len({item.ecu for item in own}) < cause.min_ecus:
        return None
    own.sort(key=lambda item: item.seconds_into_drive)
    explained = [item for item in evidence.items if item not in own and matches(item.code, cause.explains)]
    against = [item for item in evidence.items if item not in own and matches(item.code, cause.against)]
    total = sum(_WEIGHT[item.severity] for item in evidence.items)
    share = sum(_WEIGHT[item.severity] for item in (*own, *explained)) / total
    started = own[0].seconds_into_drive
    in_order = [item for item in explained if item.seconds_into_drive >= started - SAME_MOMENT_S]
    order = len(in_order) / len(explained) if explained else 1.0
    rarity = 1.0 if len(cause.shows) > 1 or cause.min_ecus > 1 else 0.0
    score = 0.35 + 0.35 * share + 0.15 * order + 0.10 * rarity - 0.15 * min(2, len(against))
    # Rounded before causes are ranked: what damage took from all of them alike must not change their order.
    return _Match(cause, tuple(own), tuple(explained), tuple(against), round(min(MAX_CONFIDENCE, max(0.05, score)), 6))


def _is_there_now(item: EvidenceItem) -> bool:
    return item.severity is not Severity.INFO and item.status not in NOT_NOW


def _read_share(evidence: Evidence) -> float:
    return evidence.coverage.frames_read_pct / 100


def _root_cause(match: _Match, evidence: Evidence) -> RootCause:
    cause = match.cause
    own = _listed(match.own)
    told = f"{cause.explanation} It shows by {own}."
    if match.explained:
        told += f" It would also explain {_listed(match.explained)}."
    if match.against:
        told += f" Against it speaks {_listed(match.against)}."
    return RootCause(
        cause=cause.id,
        title=cause.title,
        explanation=told,
        confidence=round(match.score * _read_share(evidence), 3),
        supports=tuple(item.id for item in (*match.own, *match.explained)),
        contradicts=tuple(item.id for item in match.against),
        actions=cause.actions,
    )


def _listed(items: tuple[EvidenceItem, ...]) -> str:
    return ", ".join(f"{item.code} of {item.ecu} at {item.seconds_into_drive:.1f} s" for item in items)


def _unexplained(items: list[EvidenceItem], evidence: Evidence) -> RootCause:
    """One code that no known cause explains, on all ECUs that report it."""
    code = items[0].code
    entry = describe(code)
    usual = f" Usual causes, most likely first: {'; '.join(entry.causes)}." if entry.causes else ""
    first = min(items, key=lambda item: item.seconds_into_drive)
    others = f", and of {len(items) - 1} other ECUs" if len(items) > 1 else ""
    weight = max(_WEIGHT[item.severity] for item in items) / max(_WEIGHT.values())
    return RootCause(
        cause=f"unexplained_code:{code}",
        title=f"{code}: {entry.text}",
        explanation=f"{code} of {first.ecu} was active from {first.seconds_into_drive:.1f} s on{others}. "
        f"No known pattern fits it.{usual}",
        confidence=round(UNEXPLAINED_CONFIDENCE * weight * _read_share(evidence), 3),
        supports=tuple(item.id for item in items),
        actions=(*entry.checks, *entry.must_not)
        or (
            f"Look up {code} for this vehicle and follow its diagnostic plan.",
            "Look at the frames around its first report.",
        ),
    )


def _verdict(evidence: Evidence, causes: list[RootCause]) -> str:
    if not evidence.coverage.frames:
        return "Nothing could be read: the drive cannot be judged."
    if causes:
        more = f", and {evidence.codes_total - 1} more" if evidence.codes_total > 1 else ""
        return f"Most likely: {causes[0].title} ({evidence.items[0].code}{more})."
    if evidence.coverage.recordings_read < evidence.coverage.recordings:
        return "No fault found in what could be read; some recordings could not."
    return "No fault found."
