"""Calibration: outcomes pull confidence towards what was right, and never reverse an order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.calibration import Calibration, brier_score, reliability
from argus_assets.diagnosis.offline import diagnose_offline
from argus_assets.diagnosis.ports import ConfirmedPrediction
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from tests.support.diagnosis_evidence import evidence, item

outcomes = st.lists(
    st.builds(
        ConfirmedPrediction,
        mode=st.sampled_from(["offline", "fast_path", "llm", "cached"]),
        confidence=st.floats(0, 0.95),
        correct=st.booleans(),
    ),
    max_size=60,
)


@given(st.floats(0, 0.95))
def test_without_outcomes_the_stated_confidence_stands(confidence) -> None:
    assert Calibration.of([])("offline", confidence) == confidence


@given(outcomes, st.floats(0, 0.95), st.floats(0, 0.95))
def test_the_order_of_causes_stays(seen, one, other) -> None:
    calibration = Calibration.of(seen)
    low, high = sorted((one, other))
    for mode in ("offline", "llm"):
        assert 0 <= calibration(mode, low) <= calibration(mode, high) + 1e-12 <= 0.95 + 1e-12


@given(st.integers(20, 400), st.floats(0.05, 0.94), st.integers(0, 100))
def test_many_outcomes_outweigh_what_was_stated(count, stated, right_pct) -> None:
    right = count * right_pct // 100
    seen = [ConfirmedPrediction("offline", stated, number < right) for number in range(count)]
    corrected = Calibration.of(seen)("offline", stated)
    assert corrected == pytest.approx(min(0.95, (right + 10 * stated) / (count + 10)), abs=1e-9)


def test_models_and_rules_are_corrected_apart() -> None:
    calibration = Calibration.of([ConfirmedPrediction("llm", 0.9, correct=False)] * 50)
    assert calibration("cached", 0.9) < 0.3
    assert calibration("fast_path", 0.9) == 0.9


@given(outcomes.filter(len))
def test_bins_hold_every_outcome_once(seen) -> None:
    bins = reliability(seen)
    assert sum(b.count for b in bins) == len(seen)
    assert sum(b.count * b.right for b in bins) == pytest.approx(sum(o.correct for o in seen))
    assert [b.stated for b in bins] == sorted(b.stated for b in bins)


def test_brier_score_by_hand() -> None:
    assert brier_score([]) is None
    assert brier_score(
        [ConfirmedPrediction("llm", 0.8, correct=True), ConfirmedPrediction("llm", 0.6, correct=False)]
    ) == pytest.approx(0.2)


def test_a_diagnosis_keeps_its_order_and_all_else() -> None:
    answer = diagnose_offline(evidence(item(1, "P0301"), item(2, "P0351"), item(3, "P1ABC")), load_catalogue())
    corrected = Calibration.of([ConfirmedPrediction("offline", 0.9, correct=False)] * 30).apply(answer)
    assert [c.cause for c in corrected.root_causes] == [c.cause for c in answer.root_causes]
    assert corrected.root_causes[0].confidence < answer.root_causes[0].confidence
    assert corrected.model_copy(update={"root_causes": answer.root_causes}) == answer


@pytest.mark.parametrize(("right", "count", "expected"), [(2, 4, 0.675), (3, 4, 0.8), (0, 1, 0.68), (4, 4, 0.925)])
def test_outcomes_of_a_cause_move_that_cause(right: int, count: int, expected: float) -> None:
    """Beta-binomial shrinkage with a strength of 4, by hand: (right + 4 · 0.85) / (count + 4)."""
    answer = diagnose_offline(evidence(item(1, "P0301")), load_catalogue())
    (first, *rest) = answer.root_causes
    first = first.model_copy(update={"confidence": 0.85, "basis": "85% by the model"})
    answer = answer.model_copy(update={"root_causes": (first, *rest)})
    seen = [ConfirmedPrediction("offline", 0.85, n < right, first.cause) for n in range(count)]
    corrected = Calibration.of(seen).apply(answer)
    assert corrected.root_causes[0].confidence == pytest.approx(expected, abs=0.001)
    assert corrected.root_causes[0].basis.startswith(
        f"85% by the model; {expected:.0%} after {count} confirmed outcome"
    )
    unrelated = [ConfirmedPrediction("offline", 0.85, n < right, "another_cause") for n in range(count)]
    assert Calibration.of(unrelated).apply(answer) == answer
