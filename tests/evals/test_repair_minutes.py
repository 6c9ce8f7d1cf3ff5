"""Expected minutes to the repair, by hand; and which texts of an answer are checks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.model import Diagnosis, RootCause
from argus_assets.diagnosis.offline import diagnose_offline
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue, parse_catalogue, parse_check
from argus_assets.diagnosis.vehicle.network import shared_checks
from argus_assets.faults.schema import Severity
from evals.repair_minutes import (
    SEARCH_MINUTES,
    UNSTATED_MINUTES,
    CheckTexts,
    Step,
    expected_minutes,
    repair_minutes,
    shipped_texts,
)
from tests.support.diagnosis_evidence import evidence, item

FIRST, SECOND, NONE = frozenset({0}), frozenset({1}), frozenset[int]()
TEXTS = CheckTexts({"quick look": 2.0, "long test": 20.0, "measure": 5.0}, frozenset({"replace it"}), ())


def step(minutes: float, *causes: int) -> Step:
    return Step(minutes, frozenset(causes))


def answer(*causes: tuple[float, tuple[str, ...]], checks: tuple[str, ...] = ()) -> Diagnosis:
    return Diagnosis(
        mode="offline", mode_reason="", coverage="", verdict="", severity=Severity.ERROR, drivable="yes",
        root_causes=tuple(
            RootCause(cause=f"c{n}", title="", explanation="", confidence=p, supports=("E1",), actions=actions)
            for n, (p, actions) in enumerate(causes)
        ),
        checks=checks, evidence_key="", knowledge_version="",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "targets", "minutes"),
    [
        # One check of the right cause: it is always paid, and misses once in ten.
        ([step(5, 0)], [FIRST], 5 + 0.1 * 60),
        # A check of another cause first delays, and confirms nothing.
        ([step(20, 1), step(5, 0)], [FIRST], 20 + 5 + 0.1 * 60),
        # The right cause first: the other check is only paid after a miss.
        ([step(5, 0), step(20, 1)], [FIRST], 5 + 0.1 * 20 + 0.1 * 60),
        # A second check of the right cause is paid after a miss, and misses once in ten again.
        ([step(5, 0), step(10, 0)], [FIRST], 5 + 0.1 * 10 + 0.01 * 60),
        # A check that two causes share confirms either.
        ([step(5, 0, 1)], [SECOND], 5 + 0.1 * 60),
        # Either of two right causes will do.
        ([step(5, 0), step(10, 1)], [frozenset({0, 1})], 5 + 0.1 * 10 + 0.01 * 60),
        # Not held: all checks and the search.
        ([step(5, 0), step(20, 1)], [NONE], 25 + 60),
        ([], [NONE], 60),
        # Two faults: both are to be confirmed. After both checks that has failed with 1 - 0.9 * 0.9.
        ([step(5, 0), step(10, 1)], [FIRST, SECOND], 5 + 10 + 0.19 * 60),
        # After both, a third check is paid while any is open.
        ([step(5, 0), step(10, 1), step(8, 0)], [FIRST, SECOND], 5 + 10 + 0.19 * 8 + (1 - 0.99 * 0.9) * 60),
        ([step(5, 0), step(10, 1)], [FIRST, NONE], 15 + 60),
    ],
)  # fmt: skip
def test_minutes_by_hand(steps, targets, minutes: float) -> None:
    assert expected_minutes(steps, targets) == pytest.approx(minutes)


def test_three_orders_of_the_same_checks_by_hand() -> None:
    """The second cause is right, and quick to check: p/c finds it first, p last; the list is our own order."""
    told = answer((0.6, ("long test", "replace it")), (0.3, ("quick look",)), checks=("quick look", "long test"))
    made = repair_minutes(told, [SECOND], TEXTS)
    assert made.by_chance == pytest.approx(20 + 2 + 0.1 * 60)
    assert made.by_chance_per_minute == pytest.approx(2 + 0.1 * 20 + 0.1 * 60)
    assert made.listed == made.by_chance_per_minute
    assert made.is_held


def test_the_other_orders_go_by_confidence_and_by_confidence_per_minute_not_by_place() -> None:
    told = answer((0.2, ("long test",)), (0.5, ("quick look", "measure")), checks=("long test",))
    made = repair_minutes(told, [SECOND], TEXTS)
    after_a_miss_each = 2 + 0.1 * 5 + 0.01 * 20 + 0.01 * 60
    assert made.by_chance == pytest.approx(after_a_miss_each)
    assert made.by_chance_per_minute == pytest.approx(after_a_miss_each), "0.5 / 7 is more than 0.2 / 20"
    # What the list leaves out follows, by probability.
    assert made.listed == pytest.approx(20 + 2 + 0.1 * 5 + 0.01 * 60)


def test_an_answer_without_the_right_cause_costs_all_its_checks_and_the_search_in_any_order() -> None:
    told = answer((0.6, ("long test",)), (0.3, ("quick look",)), checks=("quick look", "a text of the dictionary"))
    made = repair_minutes(told, [NONE], TEXTS)
    spent = 20 + 2 + UNSTATED_MINUTES + SEARCH_MINUTES
    assert (made.listed, made.by_chance, made.by_chance_per_minute) == pytest.approx((spent, spent, spent))
    assert not made.is_held
    silent = repair_minutes(answer(), [NONE], TEXTS)
    assert silent.listed == silent.by_chance == SEARCH_MINUTES
    without_checks = repair_minutes(answer((0.9, ("replace it",))), [FIRST], TEXTS)
    assert without_checks.listed == SEARCH_MINUTES
    assert without_checks.is_held


steps = st.lists(
    st.builds(Step, st.floats(0.5, 60), st.frozensets(st.integers(0, 3), max_size=2)), max_size=8
)  # fmt: skip
targets = st.lists(st.frozensets(st.integers(0, 3), max_size=2), min_size=1, max_size=2)


@given(steps, targets, st.floats(0, 500), st.data())
def test_a_difference_between_orders_does_not_depend_on_the_search(steps, targets, search: float, data) -> None:
    other = data.draw(st.permutations(steps))

    def saved(minutes: float) -> float:
        first = expected_minutes(steps, targets, search_minutes=minutes)
        return first - expected_minutes(other, targets, search_minutes=minutes)

    assert saved(search) == pytest.approx(saved(SEARCH_MINUTES), abs=1e-6)


@given(steps, targets, st.data())
def test_no_order_costs_less_than_nothing_or_more_than_all(steps, targets, data) -> None:
    """The first check is always paid, and never more than all checks and the search."""
    all_of_it = sum(s.minutes for s in steps) + SEARCH_MINUTES
    other = data.draw(st.permutations(steps))
    for order in (steps, other):
        spent = expected_minutes(order, targets)
        assert (order[0].minutes if order else SEARCH_MINUTES) <= spent + 1e-9
        assert spent <= all_of_it + 1e-9
    assert expected_minutes([*steps, Step(5.0, frozenset({9}))], targets) >= expected_minutes(steps, targets)
    if not all(targets):
        assert expected_minutes(other, targets) == pytest.approx(all_of_it)


@given(st.lists(st.tuples(st.floats(0.5, 60), st.integers(0, 3)), min_size=1, max_size=6), st.integers(0, 3))
def test_checks_of_the_right_cause_first_are_best(parts, right: int) -> None:
    steps = [step(minutes, cause) for minutes, cause in parts]
    target = [frozenset({right})]
    first = sorted(steps, key=lambda s: (right not in s.causes, s.minutes))
    assert expected_minutes(first, target) <= expected_minutes(steps, target) + 1e-9


def test_texts_of_the_catalogue_are_told_apart() -> None:
    texts = shipped_texts()
    for cause in load_catalogue().causes:
        assert [texts.minutes_of(parse_check(c).text) for c in cause.checks] == [
            parse_check(c).minutes for c in cause.checks
        ]
        assert all(texts.minutes_of(repair) is None for repair in cause.repairs)
        assert not cause.safety or texts.minutes_of(cause.safety) is None
    for check in shared_checks():
        assert texts.minutes_of(parse_check(check).text) == parse_check(check).minutes
    assert texts.minutes_of("Ask somebody who knows.") == UNSTATED_MINUTES


@pytest.mark.parametrize("code", ["SPN110/FMI3", "P0118", "SPN795/FMI3", "P0351", "U0101", "SPN639/FMI9"])
def test_checks_of_any_component_have_their_minutes(code: str) -> None:
    """Templates name components, those of the catalogue and those that are made from a code."""
    texts = shipped_texts()
    causes = diagnose_offline(evidence(item(1, code)), load_catalogue()).root_causes
    named = [cause for cause in causes if not cause.cause.startswith("unexplained_code:")]
    assert named
    for cause in named:
        stated = [text for text in cause.actions if text in texts.minutes or text in texts.no_checks]
        by_template = [t for t in cause.actions if any(pattern.fullmatch(t) for pattern, _ in texts.patterns)]
        assert {*stated, *by_template} == {*cause.actions}
        assert any(texts.minutes_of(text) is not None for text in cause.actions)


def test_a_text_with_several_durations_counts_with_the_longest() -> None:
    cause = '[[cause]]\nid = "{}"\ntitle = "x"\nexplanation = "x"\nsystem = "cooling"\nkind = "fluid"\neffects = ["P0118"]\nchecks = ["{} | Look."]\n'
    made = CheckTexts.of(parse_catalogue({"a.toml": cause.format("one", 3) + cause.format("two", 8)}))
    assert made.minutes_of("Look.") == 8
