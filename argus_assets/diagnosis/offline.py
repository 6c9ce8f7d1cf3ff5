"""Diagnose offline: deterministically, from the knowledge base and from confirmed cases.

For each cause whose primary codes (`shows`) are present, with weights w(severity) = 1, 2, 4, 8:

    explained  = Σ w of the items that the cause shows or explains / Σ w of all items
    order      = share of the explained items that first appeared no earlier than the cause's first primary code
    rarity     = 1 if the cause requires several groups of codes or several ECUs (a fuller signature says more), else 0
    cases      = share of the similar cases' weight that voted for it · the best similarity among them
    against    = number of items that point to another cause, at most 2
    confidence = (0.35 + 0.35·explained + 0.15·order + 0.10·rarity + 0.10·cases - 0.15·against)
                 · frames read / frames known

The confidence is capped at 0.95: a rule never saw the vehicle. A cause known only from confirmed cases is a candidate
with 0.25 + 0.45·cases if a case has a similarity of at least `MIN_SIMILARITY`. Causes of the knowledge base are not
added this way, because it states how they manifest. Items that no cause explains are listed as such.

A cause requires a code that is present now. Past and pending codes (`severity_floor.NOT_NOW`) and those of severity info
support a cause, but never establish one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from argus_assets.diagnosis.knowledge import Cause, Knowledge, matches
from argus_assets.diagnosis.model import (
    Claim,
    Degraded,
    Diagnosis,
    Evidence,
    EvidenceItem,
    RootCause,
    SimilarCase,
)
from argus_assets.diagnosis.severity_floor import (
    drivable_floor,
    is_there_now,
    merged_checks,
    severity_floor,
    stricter,
)
from argus_assets.diagnosis.vocabulary import UNEXPLAINED
from argus_assets.faults.dictionary.lookup import Entry, describe
from argus_assets.faults.schema import Severity

MAX_CAUSES: Final = 5
MAX_CONFIDENCE: Final = 0.95
UNEXPLAINED_CONFIDENCE: Final = 0.25
MIN_SIMILARITY: Final = 0.6
SAME_MOMENT_S: Final = 1.0
"""First reports this close together have no order: polling and broadcast cycles take as long."""

_WEIGHT: Final = {Severity.INFO: 1, Severity.WARNING: 2, Severity.ERROR: 4, Severity.CRITICAL: 8}


@dataclass(frozen=True, slots=True)
class _Match:
    cause: Cause
    own: tuple[EvidenceItem, ...]
    explained: tuple[EvidenceItem, ...]
    against: tuple[EvidenceItem, ...]
    score: float


@dataclass(frozen=True, slots=True)
class _Vote:
    """The vote of confirmed cases for one cause."""

    cases: tuple[SimilarCase, ...]
    share: float

    @property
    def strength(self) -> float:
        return self.share * max(case.similarity for case in self.cases)


def diagnose_offline(
    evidence: Evidence,
    knowledge: Knowledge,
    *,
    cases: Sequence[SimilarCase] = (),
    reason: str = "no language model is configured",
    degraded: Degraded | None = None,
    describe: Callable[[str], Entry] = describe,
) -> Diagnosis:
    """Diagnose from the knowledge base and similar cases.

    Args:
        evidence: Evidence of the drive.
        knowledge: The knowledge base.
        cases: Confirmed cases that resemble this drive.
        reason: Why no language model was asked.
        degraded: The same as a code, if a model should have been asked.
        describe: Look up the meaning of a code.
    """
    votes = _votes(cases)
    found = sorted(
        (m for cause in knowledge.causes if (m := _match(cause, evidence, votes.get(cause.id))) is not None),
        key=lambda m: (-m.score, m.own[0].seconds_into_drive, m.cause.id),
    )
    causes = [_root_cause(m, evidence, votes.get(m.cause.id)) for m in found[:MAX_CAUSES]]
    # The knowledge base states how its causes manifest: cases do not outvote a pattern that does not match.
    known = {cause.id for cause in knowledge.causes}
    causes += [c for cause, vote in votes.items() if cause not in known and (c := _by_cases(cause, vote, evidence))]
    causes = causes[:MAX_CAUSES]
    explained = {item.id for m in found for item in (*m.own, *m.explained)}
    explained |= {i for cause in causes for i in cause.supports}
    unexplained: dict[str, list[EvidenceItem]] = {}
    for item in evidence.items:
        if item.id not in explained and item.severity is not Severity.INFO:
            unexplained.setdefault(item.code, []).append(item)
    room = MAX_CAUSES - len(causes)
    causes += [_unexplained(items, evidence, describe) for items in unexplained.values()][:room]
    causes.sort(key=lambda c: -c.confidence)
    severity = severity_floor(evidence)
    drivable = drivable_floor(evidence, severity)
    if found and evidence.coverage.frames:
        drivable = stricter(drivable, found[0].cause.drivable)
    return Diagnosis(
        mode="offline",
        mode_reason=reason,
        degraded=degraded,
        coverage=evidence.coverage.statement(),
        verdict=_verdict(evidence, causes),
        summary=_summary(evidence, causes),
        severity=severity,
        drivable=drivable,
        root_causes=tuple(causes),
        checks=merged_checks([cause.actions for cause in causes]),
        similar_cases=tuple(cases),
        evidence_key=evidence.key(),
        knowledge_version=knowledge.version,
    )


def _votes(cases: Sequence[SimilarCase]) -> dict[str, _Vote]:
    """Return the votes of the cases by cause, strongest first."""
    total = sum(case.weight for case in cases)
    if total <= 0:
        return {}
    by_cause: dict[str, list[SimilarCase]] = {}
    for case in cases:
        by_cause.setdefault(case.cause, []).append(case)
    votes = {
        cause: _Vote(tuple(of_it), sum(case.weight for case in of_it) / total) for cause, of_it in by_cause.items()
    }
    return dict(sorted(votes.items(), key=lambda entry: (-entry[1].strength, entry[0])))


def _match(cause: Cause, evidence: Evidence, vote: _Vote | None) -> _Match | None:
    own: list[EvidenceItem] = []
    for group in cause.shows:
        fitting = [item for item in evidence.items if matches(item.code, group)]
        if not fitting:
            return None
        own += [item for item in fitting if item not in own]
    if not any(is_there_now(item) for item in own):
        return None
    if len({item.ecu for item in own}) < cause.min_ecus:
        return None
    if len({item.code.partition("-")[0] for item in own}) < cause.min_codes:
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
    score += 0.10 * vote.strength if vote else 0.0
    # Rounded before ranking: damage lowers all confidences alike and must not change the order.
    return _Match(cause, tuple(own), tuple(explained), tuple(against), round(min(MAX_CONFIDENCE, max(0.05, score)), 6))


def _read_share(evidence: Evidence) -> float:
    return evidence.coverage.frames_read_pct / 100


def _root_cause(match: _Match, evidence: Evidence, vote: _Vote | None) -> RootCause:
    cause = match.cause
    explanation = cause.explanation
    if vote:
        explanation += f" {_cases_say(vote)}"
    return RootCause(
        cause=cause.id,
        title=cause.title,
        explanation=explanation,
        system=cause.system,
        kind=cause.kind,
        confidence=round(match.score * _read_share(evidence), 3),
        supports=tuple(item.id for item in (*match.own, *match.explained)),
        contradicts=tuple(item.id for item in match.against),
        actions=cause.actions,
        claims=tuple(_claims(match)),
    )


def _claims(match: _Match) -> list[Claim]:
    claims = [_claim("for", f"Indicated by {_listed(match.own)}.", match.own)]
    started = match.own[0].seconds_into_drive
    after = tuple(i for i in match.explained if i.seconds_into_drive >= started - SAME_MOMENT_S)
    before = tuple(i for i in match.explained if i not in after)
    if after:
        claims.append(_claim("for", f"Explains {_listed(after)}, which appeared no earlier.", after))
    if before:
        claims.append(_claim("against", f"Does not explain {_listed(before)}, which appeared before it.", before))
    if match.against:
        claims.append(_claim("against", f"Another cause is indicated by {_listed(match.against)}.", match.against))
    return claims


def _claim(speaks: Literal["for", "against"], text: str, items: Sequence[EvidenceItem]) -> Claim:
    return Claim(text=text, speaks=speaks, cites=tuple(item.citation() for item in items))


def _listed(items: Sequence[EvidenceItem]) -> str:
    return ", ".join(f"{item.code} ({item.ecu}) at {item.seconds_into_drive:.1f} s [{item.id}]" for item in items)


def _cases_say(vote: _Vote) -> str:
    count = len(vote.cases)
    last = max(case.confirmed_on for case in vote.cases)
    return f"{count} similar case{'s were' if count > 1 else ' was'} confirmed as this cause, the last on {last}."


def _by_cases(cause: str, vote: _Vote, evidence: Evidence) -> RootCause | None:
    """Return a cause that is known from confirmed cases only, or `None` if they are not similar enough."""
    best = max(vote.cases, key=lambda case: (case.similarity, case.id))
    shared = {code for case in vote.cases for code in case.shared_codes}
    items = [item for item in evidence.items if item.code in shared and is_there_now(item)]
    if best.similarity < MIN_SIMILARITY or not items:
        return None
    fixes = tuple(dict.fromkeys(f"Fix in case {case.id}: {case.fix}" for case in vote.cases if case.fix))
    score = round(min(MAX_CONFIDENCE, 0.25 + 0.45 * vote.strength), 6)
    return RootCause(
        cause=cause,
        title=best.title,
        explanation=f"{_cases_say(vote)} No pattern in the knowledge base matches it.",
        confidence=round(score * _read_share(evidence), 3),
        supports=tuple(item.id for item in items),
        actions=fixes or (f"Read case {best.id}: its finding may apply here.",),
        claims=(_claim("for", f"These cases also had {_listed(items)}.", items),),
    )


def _unexplained(items: list[EvidenceItem], evidence: Evidence, describe: Callable[[str], Entry]) -> RootCause:
    """Return a cause for a code that no known cause explains, over all ECUs that report it."""
    code = items[0].code
    entry = describe(code)
    usual = f" Usual causes, most likely first: {'; '.join(entry.causes)}." if entry.causes else ""
    first = min(items, key=lambda item: item.seconds_into_drive)
    others = f", and on {_number(len(items) - 1, 'other ECU')}" if len(items) > 1 else ""
    weight = max(_WEIGHT[item.severity] for item in items) / max(_WEIGHT.values())
    return RootCause(
        cause=f"{UNEXPLAINED}{code}",
        title=f"{code}: {entry.text}",
        explanation=f"{code} was active on {first.ecu} from {first.seconds_into_drive:.1f} s{others}. "
        f"No known pattern matches it.{usual}",
        confidence=round(UNEXPLAINED_CONFIDENCE * weight * _read_share(evidence), 3),
        supports=tuple(item.id for item in items),
        actions=(*entry.checks, *entry.must_not)
        or (
            f"Look up {code} for this vehicle and follow its diagnostic plan.",
            "Inspect the frames around its first report.",
        ),
        claims=(_claim("for", f"Reported: {_listed(items)}.", items),),
    )


def _verdict(evidence: Evidence, causes: list[RootCause]) -> str:
    if not evidence.coverage.frames:
        return "No recording could be read, so the drive cannot be assessed."
    if causes:
        more = f", and {evidence.codes_total - 1} more" if evidence.codes_total > 1 else ""
        first = next(item.code for item in evidence.items if item.id == causes[0].supports[0])
        return f"Most likely: {causes[0].title} ({first}{more})."
    if evidence.coverage.recordings_read < evidence.coverage.recordings:
        return "No fault found in the data that could be read; some recordings were unreadable."
    return "No fault found."


def _summary(evidence: Evidence, causes: list[RootCause]) -> str:
    """Summarise: how much the first cause explains, what is new, the alternatives, and the lost data."""
    if not causes:
        return ""
    first = causes[0]
    troubles = [item for item in evidence.items if item.severity is not Severity.INFO]
    explained = sum(item.id in first.supports for item in troubles)
    sentences = [f"{first.title} accounts for {explained} of {_number(len(troubles), 'fault')}."]
    sentences += history_sentences(evidence, first.supports)
    if len(causes) > 1:
        sentences.append(f"Alternatives: {'; '.join(f'{c.title} ({c.confidence:.0%})' for c in causes[1:3])}.")
    if evidence.damage:
        sentences.append(f"{_number(len(evidence.damage), 'recording')} lost data, so faults may be missing.")
    return " ".join(sentences)


def history_sentences(evidence: Evidence, ids: Sequence[str]) -> list[str]:
    """Describe the history of the first of the given items on this vehicle and on this release."""
    history = evidence.history
    item = next((i for i in evidence.items if i.id in ids and i.history is not None), None)
    if history is None or item is None or item.history is None:
        return []
    past = item.history
    sentences: list[str] = []
    if past.vehicle == "new":
        sentences.append(
            f"{item.code} is new on this vehicle (not seen in {_number(history.vehicle_drives, 'earlier drive')})."
        )
    elif past.vehicle == "recurring":
        sentences.append(
            f"{item.code} was also present in the previous drive, and in {past.vehicle_drives_with} of the last "
            f"{_number(history.vehicle_drives, 'drive')}."
        )
    elif past.vehicle == "back":
        sentences.append(f"{item.code} is back: last seen {past.days_since_last or 0:.0f} days ago.")
    if history.release_drives:
        text = (
            f"On release {evidence.release} it was seen in {past.release_drives_with} of "
            f"{_number(history.release_drives, 'other drive')}"
        )
        if history.previous_release is not None and history.previous_release_drives:
            text += (
                f", on {history.previous_release} in {past.previous_release_drives_with} of "
                f"{history.previous_release_drives}"
            )
        sentences.append(f"{text}.")
    return sentences


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"
