"""The fast path: a rule answers only what it knows, says which rule it was, and keeps its hands off the rest."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.fast_path import MIN_CASES, MIN_CONFIDENCE, known_answer
from argus_assets.diagnosis.model import SimilarCase
from argus_assets.diagnosis.offline import diagnose_offline
from argus_assets.diagnosis.ports import Case, CodeCount
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from argus_assets.faults.schema import Severity
from tests.support.diagnosis_evidence import coverage, evidence, item

KNOWLEDGE = load_catalogue()
COIL = (item(1, "P0351", at=10.0), item(2, "P0301", at=10.5))


def case(number: int, cause: str = "ignition_coil_cylinder_1", **more) -> Case:
    at = datetime(2026, 11, number, tzinfo=UTC)
    return Case(
        id=f"c{number}", platform="truck", release="1", recorded_at=at, codes=(CodeCount(code="P0351"),),
        cause=cause, title="Ignition coil of cylinder 1", confirmed_at=at, **more,
    )  # fmt: skip


def similar(cause: str, similarity: float = 0.9, codes: tuple[str, ...] = ("P1ABC",)) -> SimilarCase:
    return SimilarCase(
        id="c9", cause=cause, title="Chafed harness", fix="New harness", platform="truck", release="1",
        similarity=similarity, weight=similarity, shared_codes=codes, confirmed_on=date(2026, 11, 3),
    )  # fmt: skip


def known(document, same=(), cases=()):
    return known_answer(document, diagnose_offline(document, KNOWLEDGE, cases=cases), same)


def test_a_whole_signature_with_nothing_else_is_a_known_pattern() -> None:
    found = known(evidence(*COIL))
    assert found is not None
    assert found.rule == "known_pattern"
    assert found.diagnosis.mode == "fast_path"
    assert found.diagnosis.root_causes[0].cause == "ignition_coil_cylinder_1"
    assert found.diagnosis.root_causes[0].confidence >= MIN_CONFIDENCE
    assert "known_pattern" in found.diagnosis.mode_reason
    assert "ignition_coil_cylinder_1" in found.diagnosis.mode_reason


@pytest.mark.parametrize(
    "spoiled",
    [
        evidence(*COIL, item(3, "P1ABC", at=11.0)),
        evidence(*COIL, covered=coverage(frames=90, lost=10)),
        evidence(COIL[1]),
    ],
    ids=["a fault it does not account for", "lost frames", "half a signature"],
)
def test_what_is_not_known_well_enough_is_left_to_others(spoiled) -> None:
    assert known(spoiled) is None


def test_a_case_of_another_cause_stops_a_known_pattern() -> None:
    assert known(evidence(*COIL), cases=[similar("harness_chafed", codes=("P0301",))]) is None


def test_nothing_there_now_needs_no_call() -> None:
    for items in (
        (),
        (item(1, "P0301", severity=Severity.INFO),),
        (item(1, "P0301").model_copy(update={"status": "pending", "state": "pending"}),),
    ):
        found = known(evidence(*items))
        assert found is not None
        assert found.rule == "no_faults"
    assert known(evidence(covered=coverage(frames=0))) is None, "nothing read is not nothing wrong"


@given(st.integers(0, 6), st.booleans())
def test_confirmed_cases_answer_when_there_are_enough_and_they_agree(count, agree) -> None:
    same = [case(n + 1, fix=f"fix {n}") for n in range(count)]
    if not agree and same:
        same[0] = case(1, "harness_chafed")
    document = evidence(item(1, "P1ABC"))
    found = known(document, same)
    if count < MIN_CASES or not agree:
        assert found is None
        return
    assert found is not None
    first = found.diagnosis.root_causes[0]
    assert (found.rule, first.cause) == ("confirmed_cases", "ignition_coil_cylinder_1")
    assert first.confidence == pytest.approx((count + 1) / (count + 2), abs=0.001)
    assert first.supports == ("E1",)
    assert f"fix {count - 1}" in first.actions[0], "the newest case tells what helped"
    confidences = [c.confidence for c in found.diagnosis.root_causes]
    assert confidences == sorted(confidences, reverse=True)


def test_a_cause_that_only_cases_know_is_a_candidate() -> None:
    document = evidence(item(1, "P1ABC"))
    answer = diagnose_offline(document, KNOWLEDGE, cases=[similar("harness_chafed")])
    first = answer.root_causes[0]
    assert (first.cause, first.title) == ("harness_chafed", "Chafed harness")
    assert "New harness" in first.actions[0]
    assert first.claims[0].cites[0].item == "E1"
    weak = diagnose_offline(document, KNOWLEDGE, cases=[similar("harness_chafed", similarity=0.3)])
    assert weak.root_causes[0].cause == "unexplained_code:P1ABC"


def test_cases_that_agree_raise_the_confidence_of_a_known_cause() -> None:
    document = evidence(item(1, "P0301"))
    alone = diagnose_offline(document, KNOWLEDGE).root_causes[0]
    backed = diagnose_offline(document, KNOWLEDGE, cases=[similar(alone.cause, codes=("P0301",))]).root_causes[0]
    assert backed.cause == alone.cause
    assert alone.posterior is not None
    assert backed.posterior is not None
    assert backed.posterior > alone.posterior
    assert backed.confidence >= alone.confidence
    assert "confirmed" in backed.explanation
