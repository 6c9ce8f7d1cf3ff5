"""Order of checks and repairs, against worked examples computed by brute force elsewhere."""

from itertools import permutations

import pytest

from argus_assets.diagnosis.vehicle.checks import (
    Option,
    check_order,
    expected_minutes,
    information,
    ordered_checks,
    repair_order,
    updated,
)

CHANCES, MINUTES = (0.50, 0.25, 0.15, 0.10), (30, 5, 40, 10)
CAUSES = (0.45, 0.30, 0.15, 0.10)
T1, T2, T3 = Option(5, (0.95, 0.05, 0.10, 0.10)), Option(2, (0.9, 0.9, 0.05, 0.05)), Option(20, (1, 0, 0, 0))


def test_repairs_go_by_chance_per_minute() -> None:
    order = repair_order(CHANCES, MINUTES)
    assert order == (1, 0, 3, 2)
    assert expected_minutes(CHANCES, MINUTES, order) == pytest.approx(36.0)
    costs = [expected_minutes(CHANCES, MINUTES, tried) for tried in permutations(range(4))]
    assert min(costs) == pytest.approx(36.0)
    assert max(costs) == pytest.approx(72.25)
    assert expected_minutes(CHANCES, MINUTES, (0, 1, 2, 3)) == pytest.approx(43.5)
    assert expected_minutes(CHANCES, MINUTES, (1, 3, 0, 2)) == pytest.approx(38.0)


def test_checks_go_by_what_they_tell_per_minute() -> None:
    bits = [information(CAUSES, option.positive) for option in (T1, T2, T3)]
    assert bits == pytest.approx([0.6649, 0.4727, 0.9928], abs=1e-4)
    assert information(CAUSES, (0.5, 0.5, 0.5, 0.5)) == pytest.approx(0.0, abs=1e-12)
    assert check_order(CAUSES, (T1, T2, T3)) == (1, 0, 2)


def test_a_result_changes_the_chances() -> None:
    assert updated(CAUSES, T1.positive, result=True)[0] == pytest.approx(0.9144, abs=1e-4)
    assert updated(CAUSES, T1.positive, result=False) == pytest.approx((0.0423, 0.5352, 0.2535, 0.1690), abs=1e-4)


def test_checks_of_an_unlikely_cause_wait_for_those_of_the_likely_one() -> None:
    likely = [(5.0, "a1"), (10.0, "a2"), (20.0, "a3")]
    assert ordered_checks([(0.81, likely), (0.06, [(1.0, "b1")])], limit=9) == ("a1", "a2", "a3", "b1")


def test_checks_of_causes_side_by_side_alternate_by_their_minutes() -> None:
    first, second = [(5.0, "a1"), (30.0, "a2")], [(5.0, "b1"), (10.0, "b2")]
    assert ordered_checks([(0.5, first), (0.45, second)], limit=9) == ("a1", "b1", "b2", "a2")
