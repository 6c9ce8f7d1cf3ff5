"""The offline diagnosis: same evidence, same answer; every claim cites what is there; damage lowers confidence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from argus_assets.diagnosis.offline import MAX_CAUSES, MAX_CONFIDENCE, diagnose_offline
from argus_assets.diagnosis.severity_floor import NOT_NOW
from argus_assets.faults.dictionary.lookup import describe
from argus_assets.faults.schema import Severity
from tests.support.diagnosis_evidence import coverage, evidence, item

KNOWLEDGE = load_catalogue()
OWN_CODES = sorted({code.replace("*", "1") for c in KNOWLEDGE.causes for group in c.shows for code in group})
codes = st.sampled_from([*OWN_CODES, "P1ABC", "SPN520192/FMI7", "LOG_PLANNER_x"])

items = st.lists(
    st.tuples(codes, st.sampled_from(["engine", "body", "gateway"]), st.sampled_from(Severity), st.floats(0, 3600)),
    max_size=10,
    unique_by=lambda row: (row[0], row[1]),
).map(lambda rows: [item(n, c, ecu=e, severity=s, at=t) for n, (c, e, s, t) in enumerate(rows, 1)])


@given(items, st.integers(0, 1000), st.integers(0, 1000))
def test_every_answer_keeps_the_rules(found, frames, lost) -> None:
    document = evidence(*found, covered=coverage(frames=frames, lost=lost))
    answer = diagnose_offline(document, KNOWLEDGE)
    assert answer == diagnose_offline(document, KNOWLEDGE)
    known = {i.id for i in document.items}
    assert all({*cause.supports, *cause.contradicts} <= known for cause in answer.root_causes)
    assert all(cite.item in known for cause in answer.root_causes for claim in cause.claims for cite in claim.cites)
    confidences = [cause.confidence for cause in answer.root_causes]
    assert confidences == sorted(confidences, reverse=True)
    assert len(confidences) <= MAX_CAUSES
    assert all(confidence <= MAX_CONFIDENCE for confidence in confidences)
    worst = max((i.severity for i in found), key=list(Severity).index, default=Severity.INFO)
    assert answer.severity == worst
    if worst is Severity.CRITICAL and frames:
        assert answer.drivable == "no"
    assert answer.mode == "offline"
    assert answer.evidence_key == document.key()
    if any(i.severity is not Severity.INFO for i in found):
        assert answer.root_causes, "a fault is never passed over in silence"


@given(items.filter(len), st.integers(1, 999))
def test_lost_frames_lower_every_confidence(found, lost) -> None:
    whole = diagnose_offline(evidence(*found, covered=coverage(frames=1000)), KNOWLEDGE)
    cut = diagnose_offline(evidence(*found, covered=coverage(frames=1000 - lost, lost=lost)), KNOWLEDGE)
    before = {cause.cause: cause.confidence for cause in whole.root_causes}
    assert [cause.cause for cause in cut.root_causes] == list(before), "damage does not change the order"
    for cause in cut.root_causes:
        assert cause.confidence == pytest.approx(before[cause.cause] * (1000 - lost) / 1000, abs=0.0011)


@pytest.mark.parametrize("cause", KNOWLEDGE.causes, ids=lambda cause: cause.id)
def test_each_cause_is_found_by_its_own_codes(cause) -> None:
    found = [
        item(100 * n + 10 * e + c, code.replace("*", "1"), ecu=f"ecu{e}", at=float(n))
        for n, group in enumerate(cause.shows, 1)
        for e in range(max(1, cause.min_ecus))
        for c, code in enumerate(group[: cause.min_codes])
    ]
    answer = diagnose_offline(evidence(*found), KNOWLEDGE)
    assert cause.id in [c.cause for c in answer.root_causes]
    assert next(c for c in answer.root_causes if c.cause == cause.id).actions == cause.actions


def test_the_cause_that_came_first_wins_over_its_louder_consequence() -> None:
    answer = diagnose_offline(
        evidence(
            item(1, "SPN1569/FMI31", severity=Severity.ERROR, at=12.0),
            item(2, "SPN100/FMI1", severity=Severity.CRITICAL, at=4.0),
        ),
        KNOWLEDGE,
    )
    first = answer.root_causes[0]
    assert first.cause == "engine_oil_pressure_low"
    assert set(first.supports) == {"E1", "E2"}


def test_what_speaks_against_is_told_and_costs() -> None:
    alone = diagnose_offline(evidence(item(1, "P0301")), KNOWLEDGE)
    both = diagnose_offline(evidence(item(1, "P0301"), item(2, "P0351")), KNOWLEDGE)

    def misfire(answer):
        return next(c for c in answer.root_causes if c.cause == "misfire_cylinder_1")

    assert misfire(both).contradicts == ("E2",)
    assert misfire(both).confidence < misfire(alone).confidence
    assert both.root_causes[0].cause == "ignition_coil_cylinder_1"


def test_an_unknown_code_is_named_as_unexplained() -> None:
    answer = diagnose_offline(evidence(item(1, "P1ABC")), KNOWLEDGE)
    assert [c.cause for c in answer.root_causes] == ["unexplained_code:P1ABC"]
    assert "No known pattern matches" in answer.root_causes[0].explanation


def test_a_code_of_the_dictionary_that_no_cause_explains_brings_its_checks_and_warnings() -> None:
    entry = describe("B0001")
    answer = diagnose_offline(evidence(item(1, "B0001")), KNOWLEDGE)
    (cause,) = answer.root_causes
    assert cause.actions == (*entry.checks, *entry.must_not)
    assert entry.causes[0] in cause.explanation


@pytest.mark.parametrize(
    ("covered", "told"),
    [
        (coverage(), "No fault found."),
        (
            coverage(recordings=3, read=2),
            "No fault found in the data that could be read; some recordings were unreadable.",
        ),
        (coverage(read=0, frames=0), "No recording could be read, so the drive cannot be assessed."),
    ],
)
def test_a_drive_without_faults_says_how_much_was_read(covered, told: str) -> None:
    answer = diagnose_offline(evidence(covered=covered), KNOWLEDGE)
    assert answer.verdict == told
    assert answer.root_causes == ()
    assert answer.drivable == ("yes" if covered.frames else "with_care"), "nobody is told to drive on no evidence"


def test_matching_is_by_whole_code() -> None:
    assert matches("P0301", ("P030*",))
    assert not matches("P03010", ("P0301",))
    assert not matches("p0301", ("P0301",))


@pytest.mark.parametrize("status", sorted(NOT_NOW))
def test_a_code_that_is_not_there_now_shows_no_cause_and_supports_one(status: str) -> None:
    past = item(1, "SPN110/FMI16").model_copy(update={"status": status})
    alone = diagnose_offline(evidence(past), KNOWLEDGE)
    assert [c.cause for c in alone.root_causes] == ["unexplained_code:SPN110/FMI16"]
    both = diagnose_offline(evidence(past, item(2, "SPN110/FMI0")), KNOWLEDGE)
    assert both.root_causes[0].cause == "engine_overheating"
    assert set(both.root_causes[0].supports) == {"E1", "E2"}


def test_a_code_for_information_only_shows_no_cause() -> None:
    assert diagnose_offline(evidence(item(1, "P0301", severity=Severity.INFO)), KNOWLEDGE).root_causes == ()
