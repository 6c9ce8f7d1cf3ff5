"""The flow: the cheapest way that can be trusted, and what was spent on it is told whatever the outcome."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from argus_assets.diagnosis.diagnose import Services, diagnose
from argus_assets.diagnosis.model import Citation, Evidence
from argus_assets.diagnosis.ports import (
    Case,
    CaseQuery,
    CodeCount,
    ConfirmedPrediction,
    ModelFailed,
    ModelReply,
    ModelRequest,
    OverBudget,
    Reservation,
    SavedAnswer,
    Usage,
)
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from argus_assets.faults.schema import Severity
from tests.support.diagnosis_evidence import evidence, item

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
MIXED = evidence(item(1, "P0301", at=10.0), item(2, "P1ABC", ecu="body", at=4.0))
USED = Usage(prompt_tokens=900, completion_tokens=200, cached_tokens=100)


class Everything:
    """Facts in which every citation holds."""

    def problem(self, citation: Citation, evidence: Evidence) -> str | None:
        return None


class Nothing:
    """Facts in which no citation holds."""

    def problem(self, citation: Citation, evidence: Evidence) -> str | None:
        return "not there"


def answer(
    *, cause: str = "misfire_cylinder_1", code: str = "P0301", item_id: str = "E1", severity: str = "error"
) -> str:
    return json.dumps(
        {
            "summary": "Cylinder 1 misfires [E1].",
            "severity": severity,
            "drivable": "with_care",
            "root_causes": [
                {
                    "cause": cause,
                    "title": "Cylinder 1 misfires",
                    "system": "ignition",
                    "kind": "mechanical",
                    "confidence": 0.8,
                    "explanation": "One cylinder misfires [E1].",
                    "claims": [
                        {"text": "It misfires [E1].", "speaks": "for", "evidence": [{"item": item_id, "code": code}]}
                    ],
                    "checks": ["Look at the spark plug."],
                }
            ],
        }
    )


@dataclass
class Model:
    """A model that says what it is told to."""

    replies: list[str | Exception]
    asked: list[ModelRequest] = field(default_factory=list)
    name: str = "parrot-1"

    def attempt(self, request: ModelRequest, *, timeout_s: float) -> ModelReply:
        self.asked.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return ModelReply(reply, USED, self.name)

    @contextmanager
    def slot(self, *, timeout_s: float) -> Iterator[None]:
        yield


@dataclass
class Purse:
    """A ledger of so many tokens."""

    tokens: int = 100_000
    settled: list[tuple[int, str]] = field(default_factory=list)

    def reserve(self, tokens: int, *, batch: str, model: str, priority: float) -> Reservation:
        if tokens > self.tokens:
            raise OverBudget(f"{tokens} tokens are wanted, {self.tokens} are left")
        return Reservation(len(self.settled) + 1, tokens)

    def settle(self, reservation: Reservation, usage: Usage, *, outcome: str, cost_usd: float | None) -> None:
        self.tokens -= usage.total
        self.settled.append((usage.total, outcome))


class Answers(dict[str, SavedAnswer]):
    def put(self, key: str, answer: SavedAnswer) -> None:
        self.setdefault(key, answer)


@dataclass
class Cases:
    same: Sequence[Case] = ()

    def similar(self, query: CaseQuery, *, limit: int = 5):
        assert query.exclude_partition == "b"
        return ()

    def with_signature(self, signature: str, *, platform: str) -> Sequence[Case]:
        return self.same

    def outcomes(self) -> Sequence[ConfirmedPrediction]:
        return ()


def asked(document: Evidence, model: Model | None, *, purse: Purse | None = None, facts=None, **more):
    services = Services(catalogue=load_catalogue(), model=model, ledger=purse or Purse(), **more)
    return diagnose(document, services, facts=facts or Everything(), batch="b", at=AT, now=AT)


def test_without_a_model_the_rules_answer_and_say_why() -> None:
    made = asked(MIXED, None)
    assert (made.mode, made.degraded, made.calls, made.cost_usd) == ("offline", "no_model", 0, 0.0)
    assert made.root_causes
    assert made.signature


def test_what_is_known_costs_no_call() -> None:
    model = Model([])
    made = asked(evidence(item(1, "P0351", at=10.0), item(2, "P0301", at=10.5)), model)
    assert (made.mode, made.degraded, made.calls) == ("fast_path", None, 0)
    assert asked(evidence(), model).mode == "fast_path"


def test_a_valid_answer_is_taken_with_its_tokens_and_cost() -> None:
    purse = Purse()
    made = asked(MIXED, Model([answer()]), purse=purse)
    assert (made.mode, made.degraded, made.model) == ("llm", None, "parrot-1")
    assert made.root_causes[0].cause == "misfire_cylinder_1"
    assert made.root_causes[0].claims[0].cites[0].item == "E1"
    assert (made.calls, made.prompt_tokens, made.completion_tokens, made.cached_tokens) == (1, 900, 200, 100)
    assert made.cost_usd is None, "nobody knows what the parrot costs"
    assert purse.settled == [(1100, "answered")]
    assert made.prompt_version


def test_the_same_faults_again_cost_nothing_and_cite_the_precedent() -> None:
    answers, model = Answers(), Model([answer()])
    first = asked(MIXED, model, answers=answers)
    other = evidence(item(1, "P1ABC", ecu="body", at=2.0), item(2, "P0301", at=20.0))
    again = asked(other, model, answers=answers)
    assert (again.mode, again.calls, again.prompt_tokens, again.precedent) == ("cached", 0, 0, "b")
    assert "b" in again.mode_reason
    assert again.root_causes[0].cause == first.root_causes[0].cause
    assert again.root_causes[0].supports == ("E2",), "cites this drive's item, not the precedent's"
    assert len(model.asked) == 1
    new_release = MIXED.model_copy(update={"release": "2"})
    model.replies.append(answer())
    assert asked(new_release, model, answers=answers).mode == "llm"


def test_an_invalid_answer_is_repaired_once() -> None:
    model = Model([answer(code="P0999"), answer()])
    made = asked(MIXED, model)
    assert (made.mode, made.calls, made.prompt_tokens) == ("llm", 2, 1800)
    assert "repair" in made.mode_reason
    refused, why = model.asked[1].previous
    assert "P0999" in refused
    assert why


@pytest.mark.parametrize(
    ("replies", "degraded", "calls"),
    [
        (["no JSON", "none either"], "invalid_answer", 2),
        ([ModelFailed("rejected", "no such model", retryable=False, usage=Usage())], "model_failed", 1),
    ],
)
def test_without_a_valid_answer_the_rules_answer_and_the_cost_stays(replies, degraded, calls) -> None:
    made = asked(MIXED, Model(replies))
    assert (made.mode, made.degraded, made.calls) == ("offline", degraded, calls)
    assert made.prompt_tokens == (1800 if degraded == "invalid_answer" else 0)
    assert made.root_causes == asked(MIXED, None).root_causes


def test_claims_that_hold_nowhere_are_no_answer() -> None:
    made = asked(MIXED, Model([answer(), answer()]), facts=Nothing())
    assert (made.mode, made.degraded) == ("offline", "invalid_answer")


def test_over_the_budget_nothing_is_called() -> None:
    model = Model([answer()])
    made = asked(MIXED, model, purse=Purse(tokens=10))
    assert (made.mode, made.degraded, made.calls) == ("offline", "over_budget", 0)
    assert model.asked == []
    assert "10 are left" in made.mode_reason


def test_a_critical_fault_stays_critical_whatever_the_model_says() -> None:
    document = evidence(item(1, "P0301", severity=Severity.CRITICAL), item(2, "P1ABC", ecu="body"))
    made = asked(document, Model([answer(severity="info")]))
    assert (made.mode, made.severity, made.drivable) == ("llm", Severity.CRITICAL, "no")


def test_confirmed_cases_of_the_same_faults_answer_before_the_model() -> None:
    same = [
        Case(
            id=f"c{n}", platform="truck", release="1", recorded_at=AT, codes=(CodeCount(code="P0301"),),
            cause="misfire_cylinder_1", title="Cylinder 1 misfires", confirmed_at=AT,
        )
        for n in range(3)
    ]  # fmt: skip
    made = asked(MIXED, Model([]), cases=Cases(same))
    assert made.mode == "fast_path"
    own = [case.model_copy(update={"partition": "b"}) for case in same]
    assert asked(MIXED, Model([answer()]), cases=Cases(own)).mode == "llm", "a batch is no precedent of itself"
