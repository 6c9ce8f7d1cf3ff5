"""Fast path: answer well-known faults by a rule, without calling a model.

rule              applies if
no_faults         no fault above severity info is present: there is nothing to explain
confirmed_cases   at least `MIN_CASES` confirmed cases have exactly this fault signature, all with the same cause;
                  confidence (n + 1) / (n + 2), Laplace's rule of succession
known_pattern     the first cause of the rules has a confidence of at least `MIN_CONFIDENCE`, leads the next one by
                  `MIN_MARGIN`, accounts for all faults present, nothing contradicts it, no similar case had another
                  cause, and at least `MIN_READ_PCT` of the frames were read
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from argus_assets.diagnosis.model import Claim, Diagnosis, Evidence, RootCause
from argus_assets.diagnosis.ports import Case
from argus_assets.diagnosis.severity_floor import is_there_now, merged_checks

Rule = Literal["no_faults", "confirmed_cases", "known_pattern"]

MIN_CASES: Final = 3
MIN_CONFIDENCE: Final = 0.87
"""Of documented drives answered so surely, 46 of 47 first causes were right (training stories)."""

MIN_MARGIN: Final = 0.20
MIN_READ_PCT: Final = 98.0
MAX_CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Known:
    """A rule that applies, the reason, and its answer."""

    rule: Rule
    why: str
    diagnosis: Diagnosis


def known_answer(evidence: Evidence, offline: Diagnosis, same: Sequence[Case]) -> Known | None:
    """Return the answer of the first rule that applies, or `None`.

    Args:
        evidence: Evidence of the drive.
        offline: Its offline diagnosis.
        same: Confirmed cases with exactly this fault signature.
    """
    if not evidence.coverage.frames:
        return None
    if not any(is_there_now(item) for item in evidence.items):
        return _known("no_faults", "no fault that is present needs an explanation", offline)
    return _confirmed(evidence, offline, same) or _pattern(evidence, offline)


def _known(rule: Rule, why: str, diagnosis: Diagnosis) -> Known:
    reason = f"rule {rule}: {why}"
    return Known(rule, why, diagnosis.model_copy(update={"mode": "fast_path", "mode_reason": reason, "degraded": None}))


def _confirmed(evidence: Evidence, offline: Diagnosis, same: Sequence[Case]) -> Known | None:
    causes = {case.cause for case in same}
    if len(same) < MIN_CASES or len(causes) != 1:
        return None
    (cause,) = causes
    confidence = min(MAX_CONFIDENCE, (len(same) + 1) / (len(same) + 2)) * evidence.coverage.frames_read_pct / 100
    newest = max(same, key=lambda case: (case.confirmed_at, case.id))
    found = next((c for c in offline.root_causes if c.cause == cause), None) or _of_case(newest, evidence)
    first = found.model_copy(update={"confidence": round(max(found.confidence, confidence), 3)})
    others = tuple(
        c.model_copy(update={"confidence": min(c.confidence, first.confidence)})
        for c in offline.root_causes
        if c.cause != cause
    )
    causes_now = (first, *others)[: max(1, len(offline.root_causes))]
    answer = offline.model_copy(
        update={
            "root_causes": causes_now,
            "checks": merged_checks([c.actions for c in causes_now]),
            "verdict": f"Most likely: {first.title}, as in {len(same)} confirmed cases with exactly these faults.",
        }
    )
    why = f"{len(same)} confirmed cases with exactly these faults, all {cause}, confidence {first.confidence:.0%}"
    return _known("confirmed_cases", why, answer)


def _of_case(case: Case, evidence: Evidence) -> RootCause:
    items = [item for item in evidence.items if is_there_now(item)]
    return RootCause(
        cause=case.cause,
        title=case.title,
        explanation="Previously confirmed for exactly these faults.",
        confidence=0.0,
        supports=tuple(item.id for item in items),
        actions=(f"Fix in case {case.id}: {case.fix}",) if case.fix else (),
        claims=(
            Claim(
                text="All of these faults were present.", speaks="for", cites=tuple(item.citation() for item in items)
            ),
        ),
    )


def _pattern(evidence: Evidence, offline: Diagnosis) -> Known | None:
    if not offline.root_causes or evidence.coverage.frames_read_pct < MIN_READ_PCT:
        return None
    first, *others = offline.root_causes
    margin = first.confidence - max((c.confidence for c in others), default=0.0)
    unexplained = [item for item in evidence.items if is_there_now(item) and item.id not in first.supports]
    speaks_against = bool(first.contradicts) or any(claim.speaks == "against" for claim in first.claims)
    other_cases = any(case.cause != first.cause for case in offline.similar_cases)
    if first.confidence < MIN_CONFIDENCE or margin < MIN_MARGIN or unexplained or speaks_against or other_cases:
        return None
    why = (
        f"{first.cause} accounts for all faults and nothing contradicts it: confidence {first.confidence:.0%} "
        f"(at least {MIN_CONFIDENCE:.0%}), {margin:.0%} ahead of the next (at least {MIN_MARGIN:.0%})"
    )
    return _known("known_pattern", why, offline)
