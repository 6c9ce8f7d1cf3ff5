"""A language model's answer: read, checked against the evidence, and turned into parts of a diagnosis.

What holds is kept and what does not is dropped, with a note for each:

- A citation names an item and its code; both have to fit, and the frames behind the item are looked up again. A claim
  is dropped when one of its citations fails.
- A cause that loses all that speaks for it is dropped. One that loses a part keeps the share of its confidence that the
  kept claims are of all its claims.
- A sentence that names a code which is not in the evidence is dropped.
- Confidence is at most `MAX_CONFIDENCE`, times the share of frames that were read.
- Severity and the word on driving may be stricter than the floor (`floor.py`), never laxer.

An answer is invalid when it is not in the required form, or when nothing of it holds.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from argus_assets.diagnosis.knowledge import Knowledge
from argus_assets.diagnosis.model import Citation, Claim, Evidence, EvidenceItem, RootCause
from argus_assets.diagnosis.prompt import MAX_CAUSES, MAX_CHECKS, MAX_CLAIMS, MAX_TEXT, MAX_TITLE, cause_ids
from argus_assets.diagnosis.redaction import redact_prose
from argus_assets.diagnosis.severity_floor import drivable_floor, merged_checks, severity_floor, stricter, worse
from argus_assets.diagnosis.vocabulary import CauseKind, Drivable, System
from argus_assets.faults.schema import Severity

MAX_CONFIDENCE: Final = 0.95
MAX_PROBLEMS: Final = 8
MAX_ANSWER_CHARS: Final = 100_000
"""More than three times what an answer by the schema can have."""

_CODE: Final = re.compile(
    r"\b(?:[PCBU][0-3][0-9A-F]{3}(?:-[0-9A-F]{2})?|SPN\s?\d+(?:\s?/\s?FMI\s?\d+)?|CAN_[A-Z_]+)\b", re.IGNORECASE
)
_ITEM: Final = re.compile(r"\[?\bE(\d{1,2})\b\]?")
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+")
# Bounded, so that each takes time in proportion to its text.
_LINK: Final = re.compile(
    r"!?\[([^\]]{0,300})\]\([^)]{0,300}\)|(?:data|javascript)\s?:\S*|[a-z][a-z0-9+.-]{0,30}://\S*|www\.\S+",
    re.IGNORECASE,
)
_MARKUP: Final = re.compile(r"<[^>]{0,200}>|[`*_#|~]{2,}|`")


class CitationLookup(Protocol):
    """The tables in which citations are looked up again."""

    def problem(self, citation: Citation, evidence: Evidence) -> str | None:
        """What is wrong with a citation; `None` when it holds."""
        ...


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class AnswerCitation(_Part):
    """An item by id and code."""

    item: str
    code: str


class AnswerClaim(_Part):
    """One statement with what shows it."""

    text: str
    speaks: Literal["for", "against"]
    evidence: tuple[AnswerCitation, ...] = Field(min_length=1)


class AnswerCause(_Part):
    """One root cause, as a model tells it."""

    cause: str
    title: str
    system: System
    kind: CauseKind
    confidence: Annotated[float, Field(ge=0, le=1)]
    explanation: str
    claims: tuple[AnswerClaim, ...] = Field(min_length=1)
    checks: tuple[str, ...] = ()


class Answer(_Part):
    """What a model answers; `prompt.answer_schema` is the same as a JSON schema."""

    summary: str
    severity: Severity
    drivable: Drivable
    root_causes: tuple[AnswerCause, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Validated:
    """What of an answer holds.

    Attributes:
        notes: What was dropped or changed.
        problems: Why it cannot be used; empty when it can.
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
    """Read an answer; what is wrong with its form, where it cannot be read."""
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
        return [f"the answer is no JSON: {error}"]


def repair_message(problems: Sequence[str]) -> str:
    """What a model is told of an answer that cannot be used."""
    listed = "\n".join(f"- {problem}" for problem in problems[:MAX_PROBLEMS])
    return f"This answer cannot be used:\n{listed}\nAnswer again, whole, in the required JSON form, by the same rules."


def validate_answer(answer: Answer, evidence: Evidence, knowledge: Knowledge, facts: CitationLookup) -> Validated:
    """Check an answer against the evidence.

    Args:
        answer: What the model says.
        evidence: What it was asked about.
        knowledge: The causes it may name.
        facts: Where citations are looked up.
    """
    return _Check(evidence, knowledge, facts).run(answer)


class _Check:
    def __init__(self, evidence: Evidence, knowledge: Knowledge, facts: CitationLookup) -> None:
        self.evidence = evidence
        self.facts = facts
        self.items = {item.id: item for item in evidence.items}
        self.codes = {item.code.upper() for item in evidence.items}
        self.codes |= {code.partition("-")[0] for code in self.codes} | {code.partition("/")[0] for code in self.codes}
        self.known = {cause.id: cause for cause in knowledge.causes}
        self.allowed = set(cause_ids(evidence, knowledge.causes))
        self.notes: list[str] = []

    def run(self, answer: Answer) -> Validated:
        problems: list[str] = []
        causes: dict[str, RootCause] = {}
        for told in answer.root_causes[:MAX_CAUSES]:
            before = len(self.notes)
            cause = self._cause(told)
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
            self.notes.append(f"driving {answer.drivable!r} made {drivable!r}: severity and cause demand it")
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

    def _cause(self, told: AnswerCause) -> RootCause | None:
        name = told.cause[:128]
        if name not in self.allowed:
            self.notes.append(f"cause {_shown(name)} is not one to choose from")
            return None
        kept: list[Claim] = []
        for claim in told.claims[:MAX_CLAIMS]:
            evidence = claim.evidence[: 2 * len(self.items)]
            wrong = [problem for c in evidence if (problem := self._problem(c)) is not None]
            if wrong:
                self.notes.append(f"a claim on {name} was dropped: {wrong[0]}")
                continue
            text = self._text(claim.text, MAX_TEXT, f"a claim on {name}")
            if not text:
                self.notes.append(f"a claim on {name} was dropped: nothing of its text holds")
                continue
            cites = {c.item: self.items[c.item].citation() for c in evidence}
            kept.append(Claim(text=text, speaks=claim.speaks, cites=tuple(cites.values())))
        supports = _cited(kept, "for")
        if not supports:
            self.notes.append(f"cause {name} was dropped: nothing that holds speaks for it")
            return None
        share = len(kept) / len(told.claims[:MAX_CLAIMS])
        if share < 1:
            self.notes.append(f"confidence of {name} lowered: {len(kept)} of {len(told.claims)} claims hold")
        read = self.evidence.coverage.frames_read_pct / 100
        known = self.known.get(name)
        checks = tuple(
            text
            for check in told.checks[:MAX_CHECKS]
            if (text := self._text(check, MAX_TEXT // 2, f"checks of {name}"))
        )
        return RootCause(
            cause=name,
            title=known.title if known is not None else self._text(told.title, MAX_TITLE, "a title") or name,
            explanation=self._text(told.explanation, MAX_TEXT, f"the explanation of {name}"),
            system=told.system if known is None else known.system,
            kind=told.kind if known is None else known.kind,
            confidence=round(min(MAX_CONFIDENCE, told.confidence) * share * read, 3),
            supports=supports,
            contradicts=_cited(kept, "against"),
            actions=checks or (known.actions if known is not None else ()),
            claims=tuple(kept),
        )

    def _problem(self, cited: AnswerCitation) -> str | None:
        item: EvidenceItem | None = self.items.get(cited.item)
        if item is None:
            return f"there is no item {_shown(cited.item)}"
        if item.code != cited.code:
            return f"item {item.id} is {item.code}, not {_shown(cited.code)}"
        return self.facts.problem(item.citation(), self.evidence)

    def _text(self, text: str, most: int, where: str) -> str:
        """A model's text without markup, links, personal data, and sentences on what is not in the evidence."""
        # To the schema's length before anything looks at it: a model that keeps to the schema loses nothing.
        cut = text if len(text) <= most else f"{text[: most - 1]}…"
        plain = _MARKUP.sub("", _LINK.sub("", cut))
        sentences: list[str] = []
        for sentence in _SENTENCE.split(plain.strip()):
            foreign = next((c for c in _codes(sentence) if c not in self.codes), None)
            absent = next((f"E{n}" for n in _ITEM.findall(sentence) if f"E{n}" not in self.items), None)
            if foreign is not None or absent is not None:
                self.notes.append(f"a sentence of {where} was dropped: {foreign or absent} is not in the evidence")
                continue
            sentences.append(sentence)
        # A link whose text is too long for the pattern, or that appears only now, is none without these two together.
        return redact_prose(" ".join(sentences).replace("](", "] ("), most).replace("](", "] (")[:most].strip()

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
