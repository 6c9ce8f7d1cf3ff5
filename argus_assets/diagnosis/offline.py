"""Diagnose offline: by the model of the vehicle and by confirmed cases, without a language model.

Findings are made from the evidence (`vehicle/findings.py`), candidate causes from the catalogue (`vehicle/network.py`), and
probabilities by exact inference over sets of up to three faults (`vehicle/inference.py`). The confidence of a cause is its
posterior, times the share of frames that were read, at most `MAX_CONFIDENCE`: a model never saw the vehicle.

Confirmed cases raise the prior odds of the cause that they had, by up to `CASE_ODDS`. A cause known only from confirmed
cases is a candidate with 0.25 + 0.45·votes if a case has a similarity of at least `MIN_SIMILARITY`. Codes that no cause
explains are listed as such, the code of the root first.

Faults of the past (`states.NOW` lacks their state) support a cause, but never establish one: a drive with nothing else has
nothing to repair.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from argus_assets.diagnosis.model import (
    Claim,
    Degraded,
    Diagnosis,
    Evidence,
    EvidenceItem,
    RootCause,
    SimilarCase,
)
from argus_assets.diagnosis.severity_floor import drivable_floor, is_there_now, severity_floor, stricter
from argus_assets.diagnosis.vehicle.catalogue import Catalogue, parse_check
from argus_assets.diagnosis.vehicle.checks import ordered_checks
from argus_assets.diagnosis.vehicle.confidence import MAX_CONFIDENCE, stated
from argus_assets.diagnosis.vehicle.findings import Sign, signs
from argus_assets.diagnosis.vehicle.inference import infer
from argus_assets.diagnosis.vehicle.network import SAME_MOMENT_S, Candidate, build_network
from argus_assets.diagnosis.vocabulary import UNEXPLAINED
from argus_assets.faults.dictionary.lookup import Entry, describe
from argus_assets.faults.schema import Severity

MAX_CAUSES: Final = 5
MAX_CHECKS: Final = 10
MIN_CONFIDENCE: Final = 0.05
"""Causes below are not listed."""

UNEXPLAINED_CONFIDENCE: Final = 0.25
EXPLAINED: Final = 0.2
"""A code is explained if a listed cause of at least this confidence shows it."""

LIKELY: Final = 0.5
"""Causes of at least this posterior explain the drive together."""

MIN_SIMILARITY: Final = 0.6
CASE_ODDS: Final = 10.0
"""Factor on the prior odds of a cause that all similar cases had, the most similar one being equal."""

DRIVABLE_CONFIDENCE: Final = 0.4
"""A cause forbids driving only if it is at least this likely."""

_WEIGHT: Final = {Severity.INFO: 1, Severity.WARNING: 2, Severity.ERROR: 4, Severity.CRITICAL: 8}


@dataclass(frozen=True, slots=True)
class _Found:
    """A candidate, its posterior, and the confidence that is stated."""

    candidate: Candidate
    posterior: float
    accounts_for: float
    findings: int
    confidence: float


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
    catalogue: Catalogue,
    *,
    cases: Sequence[SimilarCase] = (),
    reason: str = "no language model is configured",
    degraded: Degraded | None = None,
    describe: Callable[[str], Entry] = describe,
) -> Diagnosis:
    """Diagnose from the model of the vehicle and similar cases.

    Args:
        evidence: Evidence of the drive.
        catalogue: What vehicles are made of, and what fails.
        cases: Confirmed cases that resemble this drive.
        reason: Why no language model was asked.
        degraded: The same as a code, if a model should have been asked.
        describe: Look up the meaning of a code.
    """
    votes = _votes(cases)
    seen = signs(evidence, catalogue, describe)
    causes: list[RootCause] = []
    drivable = drivable_floor(evidence, severity_floor(evidence))
    checks: tuple[str, ...] = ()
    if any(is_there_now(item) for item in evidence.items):
        found = _found(seen, catalogue, votes, evidence)
        causes = [_root_cause(f, seen, votes.get(f.candidate.id)) for f in found]
        known = {f.candidate.id for f in found} | {cause.id for cause in catalogue.causes}
        # The model states how its causes show: cases do not outvote one that does not fit.
        causes += [c for cause, vote in votes.items() if cause not in known and (c := _by_cases(cause, vote, evidence))]
        causes = sorted(causes, key=lambda c: -c.confidence)[:MAX_CAUSES]
        # A code that nobody explains does not fall behind unlikely causes of others.
        causes += _unexplained_codes(seen, causes, describe)
        causes = sorted(causes, key=lambda c: -c.confidence)[:MAX_CAUSES]
        # Damage lowers all confidences alike, after they were ranked: it must not change the order.
        read = evidence.coverage.frames_read_pct / 100
        causes = [c.model_copy(update={"confidence": round(c.confidence * read, 3)}) for c in causes]
        if found and found[0].confidence >= DRIVABLE_CONFIDENCE:
            drivable = stricter(drivable, found[0].candidate.drivable)
        checks = _checks(found, causes)
    severity = severity_floor(evidence)
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
        checks=checks,
        similar_cases=tuple(cases),
        evidence_key=evidence.key(),
        knowledge_version=catalogue.version,
    )


def _found(seen: Sequence[Sign], catalogue: Catalogue, votes: dict[str, "_Vote"], evidence: Evidence) -> list[_Found]:
    """Return the candidates with their posteriors, most likely first."""

    def boost(cause: str) -> float:
        vote = votes.get(cause)
        return 1.0 if vote is None else math.exp(vote.strength * math.log(CASE_ODDS))

    network = build_network(
        seen,
        catalogue,
        drive_s=evidence.coverage.drive_s,
        boost=boost,
        observations=evidence.observations,
        units=evidence.units,
    )
    posterior = infer(network.modes, network.findings)
    to_explain = [n for n, sign in enumerate(seen) if sign.is_now and not sign.is_consequence]
    total = sum(_WEIGHT[seen[n].item.severity] for n in to_explain)
    found: list[_Found] = []
    likely = [c for c in network.candidates if posterior.modes[c.id] >= LIKELY]
    explained = {n for n in to_explain if any(n in c.signs for c in likely)}
    for candidate in network.candidates:
        mine = {n for n in to_explain if n in candidate.signs}
        chance = posterior.modes[candidate.id]
        if mine and chance >= MIN_CONFIDENCE:
            share = sum(_WEIGHT[seen[n].item.severity] for n in mine | explained) / total
            found.append(_Found(candidate, chance, share, len(mine), stated(chance, share, len(mine))))
    # Modes of one component exclude each other: together they say how likely the component is, and its best one ranks by that.
    of_variable: dict[str, list[float]] = {}
    for f in found:
        of_variable.setdefault(f.candidate.variable, []).append(f.posterior)

    def rank(f: _Found) -> float:
        modes = of_variable[f.candidate.variable]
        return sum(modes) if f.posterior == max(modes) else f.posterior

    found.sort(key=lambda f: (-round(rank(f), 6), -round(f.posterior, 6), f.candidate.id))
    # A cause that ranks later is stated no more surely than one before it.
    for n in range(1, len(found)):
        found[n] = replace(found[n], confidence=min(found[n].confidence, found[n - 1].confidence))
    return found[:MAX_CAUSES]


def _root_cause(found: _Found, seen: Sequence[Sign], vote: _Vote | None) -> RootCause:
    candidate = found.candidate
    explanation = candidate.explanation + _remarks_say(candidate, seen) + (f" {_cases_say(vote)}" if vote else "")
    safety = (candidate.safety,) if candidate.safety else ()
    checks = tuple(parse_check(text).text for text in candidate.checks)
    supports = _supporting(candidate, seen)
    return RootCause(
        cause=candidate.id,
        title=candidate.title,
        explanation=explanation,
        system=candidate.system,
        kind=candidate.kind,
        confidence=round(found.confidence, 3),
        posterior=round(found.posterior, 6),
        accounts_for=round(found.accounts_for, 4),
        findings=found.findings,
        basis=f"{found.posterior:.0%} by the model of the vehicle"
        + (
            f", {found.confidence:.0%} by how often such answers were right"
            if found.confidence < found.posterior - 0.005
            else ""
        ),
        supports=tuple(sign.item.id for sign in supports),
        contradicts=tuple(sign.item.id for sign in _preceding(candidate, seen)),
        actions=(*safety, *checks, *candidate.repairs),
        claims=tuple(_claims(candidate, supports, seen)),
    )


MAX_REMARKS: Final = 2
"""Remarks of the log that the explanation of a cause quotes."""

MAX_QUOTED: Final = 120


def _remarks_say(candidate: Candidate, seen: Sequence[Sign]) -> str:
    """Quote the remarks of the log that a cause also explains."""
    said = [seen[n].remark for n in candidate.signs]
    quoted = sorted((r for r in said if r is not None), key=lambda r: r.first_s)[:MAX_REMARKS]
    return "".join(
        f" At {r.first_s:.1f} s {r.node} logged: “{r.message if len(r.message) <= MAX_QUOTED else r.message[: MAX_QUOTED - 1] + '…'}”"
        for r in quoted
    )


def _supporting(candidate: Candidate, seen: Sequence[Sign]) -> list[Sign]:
    """Return the findings that a cause shows, those that it shows at once and always first."""
    order = sorted(
        candidate.signs.items(),
        key=lambda entry: (entry[1].delay != "now", -entry[1].chance, seen[entry[0]].item.seconds_into_drive),
    )
    return [seen[n] for n, _ in order if seen[n].remark is None]


def _begins(candidate: Candidate, seen: Sequence[Sign]) -> float | None:
    onsets = [
        onset
        for n, effect in candidate.signs.items()
        if effect.delay == "now" and not seen[n].is_consequence and (onset := seen[n].onset) is not None
    ]
    return min(onsets, default=None)


def _preceding(candidate: Candidate, seen: Sequence[Sign]) -> list[Sign]:
    """Return the findings that a cause would explain but that were there before it."""
    begins = _begins(candidate, seen)
    if begins is None:
        return []
    return [
        seen[n]
        for n, effect in candidate.signs.items()
        if seen[n].remark is None
        and effect.delay not in ("now", "any")
        and (o := seen[n].onset) is not None
        and o < begins - SAME_MOMENT_S
    ]


def _claims(candidate: Candidate, supports: Sequence[Sign], seen: Sequence[Sign]) -> list[Claim]:
    """Return the statements about a cause: each holds by the items that it cites."""
    begins = _begins(candidate, seen)
    before = _preceding(candidate, seen)
    effects = {seen[n].item.id: effect for n, effect in candidate.signs.items()}
    own = [s for s in supports if effects[s.item.id].delay == "now" and s not in before and not s.is_consequence]
    own = own or list(supports[:1])
    after = [s for s in supports if s not in own and s not in before]
    later = [s for s in after if begins is not None and s.onset is not None and s.onset >= begins - SAME_MOMENT_S]
    claims = [_claim("for", f"Indicated by {_listed([s.item for s in own])}.", [s.item for s in own])]
    if later:
        items = [s.item for s in later]
        claims.append(_claim("for", f"Explains {_listed(items)}, which appeared no earlier.", items))
    untimed = [s.item for s in after if s not in later]
    if untimed:
        claims.append(_claim("for", f"Also explains {_listed(untimed)}.", untimed))
    if before:
        items = [s.item for s in before]
        claims.append(_claim("against", f"Does not explain {_listed(items)}, which appeared before it.", items))
    rest = [s.item for s in seen if s.item.id not in effects and s.is_now and not s.is_consequence]
    if rest:
        claims.append(_claim("against", f"Does not account for {_listed(rest)}.", rest))
    return claims


def _checks(found: Sequence[_Found], causes: Sequence[RootCause]) -> tuple[str, ...]:
    """Return the checks of all causes: safety first, then by what they tell per minute, then those of single codes."""
    safety = [f.candidate.safety for f in found if f.candidate.safety and f.confidence >= EXPLAINED]
    parsed = [(f.confidence, [(c.minutes, c.text) for c in map(parse_check, f.candidate.checks)]) for f in found]
    ordered = ordered_checks(parsed, limit=MAX_CHECKS)
    known = {f.candidate.id for f in found}
    others = [action for cause in causes if cause.cause not in known for action in cause.actions]
    leads = bool(causes) and causes[0].cause not in known
    return tuple(dict.fromkeys([*safety, *(others if leads else ()), *ordered, *others]))[:MAX_CHECKS]


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
        confidence=round(score, 3),
        supports=tuple(item.id for item in items),
        actions=fixes or (f"Read case {best.id}: its finding may apply here.",),
        claims=(_claim("for", f"These cases also had {_listed(items)}.", items),),
    )


def _unexplained_codes(
    seen: Sequence[Sign], causes: Sequence[RootCause], describe: Callable[[str], Entry]
) -> list[RootCause]:
    """Return a cause for each code that no listed cause explains, the code of the root first."""
    explained = {i for cause in causes if cause.confidence >= EXPLAINED for i in cause.supports}
    codes: dict[str, list[Sign]] = {}
    for sign in seen:
        if sign.item.id not in explained and sign.is_now and sign.remark is None:
            codes.setdefault(sign.item.code, []).append(sign)
    worst = {code: max(_WEIGHT[s.item.severity] for s in of_it) for code, of_it in codes.items()}
    # What only repeats another fault comes last; then what began first; what is worse of those of one moment.
    order = sorted(
        codes,
        key=lambda c: (codes[c][0].is_consequence, min(s.item.appeared for s in codes[c]), -worst[c]),
    )
    return [
        _unexplained([s.item for s in codes[code]], describe, factor=0.97**place * _share_of(codes[code]))
        for place, code in enumerate(order)
    ]


def _share_of(of_code: Sequence[Sign]) -> float:
    return 0.5 if of_code[0].is_consequence else 1.0


def _unexplained(items: list[EvidenceItem], describe: Callable[[str], Entry], *, factor: float) -> RootCause:
    """Return a cause for a code that no known cause explains, over all ECUs that report it."""
    code = items[0].code
    entry = describe(code)
    usual = f" Usual causes, most likely first: {'; '.join(entry.causes)}." if entry.causes else ""
    first = min(items, key=lambda item: item.seconds_into_drive)
    others = f", and on {_number(len(items) - 1, 'other ECU')}" if len(items) > 1 else ""
    return RootCause(
        cause=f"{UNEXPLAINED}{code}",
        title=f"{code}: {entry.text}",
        explanation=f"{code} was active on {first.ecu} from {first.seconds_into_drive:.1f} s{others}. "
        f"No known pattern matches it.{usual}",
        confidence=round(UNEXPLAINED_CONFIDENCE * factor, 3),
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
    past = [item for item in evidence.items if item.severity is not Severity.INFO]
    if past:
        return f"Nothing to repair now: {_past(past)}."
    if evidence.coverage.recordings_read < evidence.coverage.recordings:
        return "No fault found in the data that could be read; some recordings were unreadable."
    return "No fault found."


def _past(items: Sequence[EvidenceItem]) -> str:
    words = {"cleared": "cleared and stayed away", "permanent": "repaired and waiting for its monitor"}
    states = {words.get(item.state, "not present in this drive") for item in items}
    codes = list(dict.fromkeys(item.code for item in items))
    named = ", ".join(codes[:3]) + (f" and {len(codes) - 3} more" if len(codes) > 3 else "")
    return f"{named} {'is' if len(codes) == 1 else 'are'} {', or '.join(sorted(states))}"


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
