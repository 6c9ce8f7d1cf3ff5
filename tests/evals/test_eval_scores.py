"""Scores, by hand and by other ways to count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.offline import diagnose_offline
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from argus_assets.faults.schema import Severity
from evals.scenario import Scenario
from evals.scores import Answer, Share, judge, macro_f1, score
from tests.support.diagnosis_evidence import evidence, item

WHY = "because it is only an example"


def answer(
    *, right: bool = True, healthy: bool = False, rank: int | None = 1, confidence: float = 0.8, **more
) -> Answer:
    given_ = {
        "scenario": "s", "seed": 1, "difficulty": "easy", "healthy": healthy, "expected": "healthy" if healthy else "a",
        "first": "healthy" if healthy else ("a" if right else "b"), "confidence": confidence,
        "rank": None if healthy else (1 if right else rank), "top_3": not healthy, "grounded": right and not healthy,
        "false_alarm": False, "said": (), "severity_right": None, "resisted": None, "mode": "offline",
    }  # fmt: skip
    return Answer(**{**given_, **more})


def test_scores_by_hand() -> None:
    told = [
        answer(), answer(right=False, rank=2, grounded=False), answer(right=False, rank=None, top_3=False),
        answer(healthy=True), answer(healthy=True, false_alarm=True, first="b"),
        answer(said=("x",), severity_right=False, resisted=True, tokens=10, cost_usd=None),
    ]  # fmt: skip
    s = score(told)
    assert (s.top_1, s.top_3) == (Share(2, 4), Share(3, 4))
    assert (s.false_alarms, s.said, s.severity, s.resisted) == (Share(1, 2), Share(1, 6), Share(0, 1), Share(1, 1))
    assert s.brier == pytest.approx((0.2**2 + 0.8**2 + 0.8**2 + 0.2**2) / 4)
    assert (s.tokens, s.cost_usd) == (10, None)
    # a: 2 of 4 found, never said wrongly: F1 = 2·2/(4+2); healthy: 1 of 2 found: F1 = 2·1/(2+1)
    assert s.macro_f1 == pytest.approx((4 / 6 + 2 / 3) / 2)


labels = st.sampled_from("abc")


@given(st.lists(st.tuples(labels, labels), min_size=1, max_size=40))
def test_macro_f1_is_the_harmonic_mean_of_precision_and_recall(pairs) -> None:
    told = []
    for label in {e for e, _ in pairs}:
        hits = sum(e == a == label for e, a in pairs)
        precision = hits / max(1, sum(a == label for _, a in pairs))
        recall = hits / sum(e == label for e, _ in pairs)
        told.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    assert macro_f1(pairs) == pytest.approx(sum(told) / len(told))


@given(st.integers(1, 500), st.integers(0, 500))
def test_the_interval_solves_wilsons_equation(n, k) -> None:
    share = Share(min(k, n), n)
    p = share.value
    for edge in share.interval:
        assert -1e-9 <= edge <= 1 + 1e-9
        assert (edge - p) ** 2 == pytest.approx(1.959964**2 * edge * (1 - edge) / n, abs=1e-9)


COIL = evidence(item(1, "P0351", at=10.0), item(2, "P0301", at=10.5))


def judged(document=COIL, wrong=(), **scenario) -> Answer:
    made = diagnose_offline(document, load_catalogue())
    expected = Scenario(simulate="car_healthy", difficulty="easy", why=WHY, **scenario)
    return judge(made, ("s", 1), expected, wrong_citations=wrong, codes={i.id: i.code for i in document.items})


def test_right_is_the_expected_cause_first_and_grounded_needs_its_evidence() -> None:
    good = judged(expect=("ignition_coil_cylinder_1",), evidence=("P0351",))
    assert (good.right, good.grounded, good.top_3) == (True, True, True)
    assert not judged(expect=("ignition_coil_cylinder_1",), evidence=("P0420",)).grounded
    assert not judged(expect=("ignition_coil_cylinder_1",), wrong=("frame 3",)).grounded
    two = evidence(item(1, "P0351", at=10.0), item(2, "P0301", at=10.5), item(3, "P0128", severity=Severity.WARNING))
    second = judged(two, expect=("thermostat_stuck_open",), must_not=("ignition_coil_cylinder_1",))
    assert (second.right, second.rank, second.said) == (False, 2, ("ignition_coil_cylinder_1",))
    both = judged(expect=("ignition_coil_cylinder_1", "catalyst_worn"), all_of=True)
    assert (both.right, both.top_3) == (True, False)


def test_a_healthy_drive_may_have_remarks_but_no_alarm() -> None:
    remark = evidence(item(1, "P1ABC", severity=Severity.WARNING))
    told = judged(remark)
    assert (told.first, told.false_alarm, told.severity_right) == ("healthy", False, True)
    assert judged(evidence(item(1, "P1ABC", severity=Severity.ERROR))).false_alarm
