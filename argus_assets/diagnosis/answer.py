"""Parse a language model's answer, verify it against the evidence, and turn it into parts of a diagnosis.

Whatever can be verified is kept; the rest is dropped, with a note for each part:

- A composed cause is made from the vocabulary (`composition.py`); one that the catalogue or the model of the vehicle has takes
  its place.
- A citation names an item and its code. Both must match, and the frames behind the item are looked up again. A claim is
  dropped if any of its citations fails. A code may be cited as absent: then no event of the drive may have it, and a
  read-out or broadcast must have been there that would have shown it.
- A cause that loses all its supporting claims is dropped. One that loses some of its claims keeps a proportional share
  of its confidence.
- A sentence that names a code which is not in the evidence is dropped.
- Confidence is capped at `MAX_CONFIDENCE`, times the share of frames that were read.
- Severity and drivability may be stricter than the floor (`severity_floor.py`), never laxer.

An answer is invalid if it does not have the required form, or if nothing in it can be verified.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from argus_assets.diagnosis.composition import COMPOSED, Composed, ComposedFailure, Place, compose
from argus_assets.diagnosis.model import Citation, Claim, Evidence, EvidenceItem, RootCause
from argus_assets.diagnosis.prompt import ABSENT, MAX_CAUSES, MAX_CHECKS, MAX_CLAIMS, MAX_TEXT, MAX_TITLE, cause_ids
from argus_assets.diagnosis.redaction import redact_prose
from argus_assets.diagnosis.severity_floor import drivable_floor, merged_checks, severity_floor, stricter, worse
from argus_assets.diagnosis.vehicle.catalogue import Catalogue, Cause, parse_check
from argus_assets.diagnosis.vocabulary import CauseKind, Drivable, System
from argus_assets.faults.schema import Severity

MAX_CONFIDENCE: Final = 0.95
MAX_PROBLEMS: Final = 8
MAX_ANSWER_CHARS: Final = 100_000
"""More than three times the length that the schema allows."""

_CODE: Final = re.compile(
    r"\b(?:[PCBU][0-3][0-9A-F]{3}(?:-[0-9A-F]{2})?|SPN\s?\d+(?:\s?/\s?FMI\s?\d+)?|CAN_[A-Z_]+)\b", re.IGNORECASE
)
_ITEM: Final = re.compile(r"\[?\bE(\d{1,2})\b\]?")
_OF_CIRCUIT: Final = frozenset({"open", "short", "contact"})
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+")
# Bounded quantifiers, so that matching takes linear time.
_LINK: Final = re.compile(
    r"!?\[([^\]]{0,300})\]\([^)]{0,300}\)|(?:data|javascript)\s?:\S*|[a-z][a-z0-9+.-]{0,30}://\S*|www\.\S+",
    re.IGNORECASE,
)
_MARKUP: Final = re.compile(r"<[^>]{0,200}>|[`*_#|~]{2,}|`")


class CitationLookup(Protocol):
    """Tables in which citations are verified."""

    def problem(self, citation: Citation, evidence: Evidence) -> str | None:
        """Return what is wrong with a citation, or `None` if it is valid."""
        ...

    def has_code(self, code: str) -> bool:
        """Return whether any event of the drive has a code, with or without failure type or FMI."""
        ...


class _AnswerPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class AnswerCitation(_AnswerPart):
    """An evidence item by id and code, or `absent` and a code that is not there."""

    item: str
    code: str


class AnswerClaim(_AnswerPart):
    """One statement with its evidence."""

    text: str
    speaks: Literal["for", "against"]
    evidence: tuple[AnswerCitation, ...] = Field(min_length=1)


class AnswerCause(_AnswerPart):
    """One root cause as the model states it."""

    cause: str
    component: str = ""
    failure: ComposedFailure = "internal"
    place: Place = "itself"
    relation: Literal["alternative", "independent"] = "alternative"
    title: str
    system: System
    kind: CauseKind
    confidence: Annotated[float, Field(ge=0, le=1)]
    explanation: str
    claims: tuple[AnswerClaim, ...] = Field(min_length=1)
    checks: tuple[str, ...] = ()


class Answer(_AnswerPart):
    """A model's answer; `prompt.answer_schema` states the same as a JSON schema."""

    summary: str
    severity: Severity
    drivable: Drivable
    root_causes: tuple[AnswerCause, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Validated:
    """The verified parts of an answer.

    Attributes:
        notes: Parts that were dropped or changed, and why.
        problems: Reasons why the answer cannot be used; empty if it can.
    """

    verdict: str
    summary: str
    severity: Severity
    drivable: Drivable
    root_causes: tuple[RootCause, ...]
    checks: tuple[str, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]


def parse_answer(text: str) -> Answer | list[str]:
    """Parse an answer. Return the problems with its form if it cannot be parsed."""
    if len(text) > MAX_ANSWER_CHARS:
        return [f"the answer has {len(text):,} characters, expected at most {MAX_ANSWER_CHARS:,}"]
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return ["the answer holds no JSON object"]
    try:
        return Answer.model_validate(json.loads(text[start : end + 1]))
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS]
        return [f"{'.'.join(map(str, e['loc'])) or 'the answer'}: {e['msg']}" for e in wrong]
    except (ValueError, RecursionError) as error:
        return [f"the answer is not valid JSON: {error}"]


def repair_message(problems: Sequence[str]) -> str:
    """Return the message that asks a model to repair an unusable answer."""
    listed = "\n".join(f"- {problem}" for problem in problems[:MAX_PROBLEMS])
    return f"This answer cannot be used:\n{listed}\nAnswer again, whole, in the required JSON form, by the same rules."


def validate_answer(
    answer: Answer, evidence: Evidence, found: Sequence[RootCause], catalogue: Catalogue, facts: CitationLookup
) -> Validated:
    """Verify an answer against the evidence.

    Args:
        answer: The model's answer.
        evidence: The evidence that the model was given.
        found: What the model of the vehicle answers.
        catalogue: Causes that it may name beside these.
        facts: Tables in which citations are looked up.
    """
    return _Validation(evidence, found, catalogue, facts).run(answer)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a cause that an answer names."""

    title: str
    system: System
    kind: CauseKind
    drivable: Drivable
    actions: tuple[str, ...]

    @classmethod
    def of(cls, cause: Cause) -> Self:
        checks = (parse_check(text).text for text in cause.checks)
        safety = (cause.safety,) if cause.safety else ()
        return cls(cause.title, cause.system, cause.kind, cause.drivable, (*safety, *checks, *cause.repairs))


class _Validation:
    def __init__(
        self, evidence: Evidence, found: Sequence[RootCause], catalogue: Catalogue, facts: CitationLookup
    ) -> None:
        self.evidence = evidence
        self.facts = facts
        self.items = {item.id: item for item in evidence.items}
        self.codes = {item.code.upper() for item in evidence.items}
        self.codes |= {code.partition("-")[0] for code in self.codes} | {code.partition("/")[0] for code in self.codes}
        self.known = {cause.id: _Known.of(cause) for cause in catalogue.causes}
        drivable: dict[str, Drivable] = {cause.id: cause.drivable for cause in catalogue.causes}
        self.known |= {
            c.cause: _Known(c.title, c.system, c.kind, drivable.get(c.cause, "with_care"), c.actions) for c in found
        }
        self.catalogue = catalogue
        self.allowed = {*self.known, *cause_ids(evidence, found)} - {COMPOSED}
        self.notes: list[str] = []
        self.absent: set[str] = set()

    def run(self, answer: Answer) -> Validated:
        problems: list[str] = []
        causes: dict[str, RootCause] = {}
        for named in answer.root_causes[:MAX_CAUSES]:
            before = len(self.notes)
            cause = self._cause(named)
            if cause is None:
                problems += self.notes[before:]
            elif cause.cause not in causes:
                causes[cause.cause] = cause
        ranked = sorted(causes.values(), key=lambda cause: -cause.confidence)
        floor = severity_floor(self.evidence)
        severity = worse(floor, answer.severity)
        if severity is not answer.severity:
            self.notes.append(f"severity {answer.severity.value} raised to {floor.value}: the vehicle reports it")
        drivable = stricter(drivable_floor(self.evidence, severity), answer.drivable)
        if ranked and (known := self.known.get(ranked[0].cause)) is not None:
            drivable = stricter(drivable, known.drivable)
        if drivable != answer.drivable:
            self.notes.append(f"drivable {answer.drivable!r} changed to {drivable!r}: severity and cause require it")
        return Validated(
            verdict=self._verdict(ranked),
            summary=self._text(answer.summary, 2 * MAX_TEXT, "the summary"),
            severity=severity,
            drivable=drivable,
            root_causes=tuple(ranked),
            checks=merged_checks([cause.actions for cause in ranked]),
            notes=tuple(self.notes),
            problems=() if ranked else tuple(problems[:MAX_PROBLEMS]) or ("no root cause was named",),
        )

    def _cause(self, named: AnswerCause) -> RootCause | None:
        name, composed = named.cause[:128], None
        if name == COMPOSED:
            composed = compose(named.component, named.failure, named.place, self.catalogue)
            if composed is None:
                self.notes.append(f"a composed cause names no component: {_shown(named.component)}")
                return None
            name = self._meant(composed)
            composed = None if name in self.known else composed
        elif name not in self.allowed:
            self.notes.append(f"cause {_shown(name)} is not one of the allowed causes")
            return None
        kept: list[Claim] = []
        for claim in named.claims[:MAX_CLAIMS]:
            evidence = claim.evidence[: 2 * len(self.items)]
            wrong = [problem for c in evidence if (problem := self._problem(c)) is not None]
            if wrong:
                self.notes.append(f"a claim on {name} was dropped: {wrong[0]}")
                continue
            text = self._text(claim.text, MAX_TEXT, f"a claim on {name}")
            if not text:
                self.notes.append(f"a claim on {name} was dropped: no part of its text can be verified")
                continue
            cites = {c.item: self.items[c.item].citation() for c in evidence if c.item != ABSENT}
            if not cites and claim.speaks == "for":
                self.notes.append(f"a claim on {name} was dropped: what is absent speaks against a cause, not for one")
                continue
            absent = tuple(dict.fromkeys(_codes(c.code)[0] for c in evidence if c.item == ABSENT))
            kept.append(Claim(text=text, speaks=claim.speaks, cites=tuple(cites.values()), absent=absent))
        supports = _cited(kept, "for")
        if not supports:
            self.notes.append(f"cause {name} was dropped: no verified claim supports it")
            return None
        share = len(kept) / len(named.claims[:MAX_CLAIMS])
        if share < 1:
            self.notes.append(f"confidence of {name} lowered: {len(kept)} of {len(named.claims)} claims were verified")
        read = self.evidence.coverage.frames_read_pct / 100
        known = self.known.get(name)
        title = known.title if known is not None else composed.title if composed is not None else ""
        checks = tuple(
            text
            for check in named.checks[:MAX_CHECKS]
            if (text := self._text(check, MAX_TEXT // 2, f"checks of {name}"))
        )
        return RootCause(
            cause=name,
            title=title or self._text(named.title, MAX_TITLE, "a title") or name,
            explanation=self._text(named.explanation, MAX_TEXT, f"the explanation of {name}"),
            system=named.system if known is None else known.system,
            kind=known.kind if known is not None else composed.kind if composed is not None else named.kind,
            confidence=round(min(MAX_CONFIDENCE, named.confidence) * share * read, 3),
            supports=supports,
            contradicts=_cited(kept, "against"),
            actions=checks or (known.actions if known is not None else ()),
            claims=tuple(kept),
            is_independent=named.relation == "independent",
        )

    def _meant(self, composed: Composed) -> str:
        """Return the cause of the catalogue or of the vehicle's model that a composition means, else its own id."""
        if composed.component is None:
            return composed.id
        failure, place = composed.id.rpartition("@")[0].rpartition(".")[2], composed.id.rpartition("@")[2]
        if failure in _OF_CIRCUIT and place in ("itself", "connector", "harness"):
            circuit = composed.component.cause or f"{composed.component.id}.circuit"
            return circuit if circuit in self.known else composed.id
        return composed.id

    def _problem(self, cited: AnswerCitation) -> str | None:
        if cited.item == ABSENT:
            return self._absence_problem(cited.code)
        item: EvidenceItem | None = self.items.get(cited.item)
        if item is None:
            return f"there is no item {_shown(cited.item)}"
        if item.code != cited.code:
            return f"item {item.id} is {item.code}, not {_shown(cited.code)}"
        return self.facts.problem(item.citation(), self.evidence)

    def _absence_problem(self, code: str) -> str | None:
        """Return why a code cannot be cited as absent, or `None` if it can; then sentences may name it."""
        if _CODE.fullmatch(code) is None:
            return f"{_shown(code)} is no code"
        plain = _codes(code)[0]
        if plain in self.codes or self.facts.has_code(plain):
            return f"{plain} is cited as absent, but the drive has it"
        tested = self.evidence.units if plain.startswith("SPN") else self.evidence.read_outs
        if not tested and not plain.startswith("CAN_"):
            return f"{plain} is cited as absent, but nothing was read that would have shown it"
        self.absent.add(plain)
        return None

    def _text(self, text: str, max_characters: int, where: str) -> str:
        """Return a model's text without markup, links, personal data, and sentences about codes that are not in the evidence."""
        # Cut to the schema's length before anything is matched: an answer within the schema loses nothing.
        cut = text if len(text) <= max_characters else f"{text[: max_characters - 1]}…"
        plain = _MARKUP.sub("", _LINK.sub("", cut))
        sentences: list[str] = []
        for sentence in _SENTENCE.split(plain.strip()):
            foreign = next((c for c in _codes(sentence) if c not in self.codes | self.absent), None)
            absent = next((f"E{n}" for n in _ITEM.findall(sentence) if f"E{n}" not in self.items), None)
            if foreign is not None or absent is not None:
                self.notes.append(f"a sentence of {where} was dropped: {foreign or absent} is not in the evidence")
                continue
            sentences.append(sentence)
        # A link too long for the pattern, or formed by the replacements, is broken up by separating its brackets.
        prose = redact_prose(" ".join(sentences).replace("](", "] ("), max_characters)
        return prose.replace("](", "] (")[:max_characters].strip()

    def _verdict(self, ranked: Sequence[RootCause]) -> str:
        if not ranked:
            return ""
        more = f", and {self.evidence.codes_total - 1} more" if self.evidence.codes_total > 1 else ""
        first = self.items[ranked[0].supports[0]].code
        return f"Most likely: {ranked[0].title} ({first}{more})."


def _codes(text: str) -> list[str]:
    return [re.sub(r"\s", "", code).upper() for code in _CODE.findall(text)]


def _cited(claims: Sequence[Claim], speaks: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(cite.item for claim in claims if claim.speaks == speaks for cite in claim.cites))


def _shown(text: str) -> str:
    return repr(redact_prose(text, 40))
