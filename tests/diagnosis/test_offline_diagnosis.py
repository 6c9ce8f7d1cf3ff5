"""The offline diagnosis: same evidence, same answer; every claim cites what is there; damage lowers confidence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.offline import MAX_CAUSES, MAX_CONFIDENCE, diagnose_offline
from argus_assets.diagnosis.states import NOW, WEIGHTS
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from argus_assets.diagnosis.vehicle.network import SAME_MOMENT_S
from argus_assets.faults.dictionary.lookup import describe
from argus_assets.faults.schema import Severity
from tests.support.diagnosis_evidence import coverage, evidence, item

KNOWLEDGE = load_catalogue()
CODES = (
    "P0117", "P0118", "P0122", "P0171", "P0174", "P0300", "P0301", "P0351", "P0420", "P0562", "P0641", "P0700", "P0715",
    "P0730", "P2104", "P2112", "C0035", "C0040-5A", "U0100", "U0121", "U0121-71", "U0415", "OBD_MIL", "CAN_BUSOFF",
    "CAN_SILENT", "SPN100/FMI1", "SPN100/FMI4", "SPN110/FMI0", "SPN110/FMI3", "SPN111/FMI1", "SPN94/FMI18",
    "SPN157/FMI18", "SPN168/FMI1", "SPN639/FMI9", "SPN1569/FMI31", "SPN2003/FMI9", "SPN3509/FMI4", "E101", "E202",
)  # fmt: skip
codes = st.sampled_from([*CODES, "P1ABC", "SPN520192/FMI7", "LOG_PLANNER_x"])

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


@given(items, st.data())
def test_every_claim_holds(found, data) -> None:
    states = [data.draw(st.sampled_from(list(WEIGHTS))) for _ in found]
    seen = [data.draw(st.booleans()) for _ in found]
    document = evidence(
        *(i.model_copy(update={"state": s, "onset_seen": o}) for i, s, o in zip(found, states, seen, strict=True))
    )
    by_id = {i.id: i for i in document.items}
    answer = diagnose_offline(document, KNOWLEDGE)
    if not any(i.state in NOW and i.severity is not Severity.INFO for i in document.items):
        assert answer.root_causes == (), "what was is nothing to repair"
    for cause in answer.root_causes:
        assert any(by_id[i].state in NOW for i in cause.supports), "the past establishes no cause"
        own = [by_id[c.item] for c in cause.claims[0].cites]
        for claim in cause.claims:
            cited = [by_id[c.item] for c in claim.cites]
            assert all(c.code in claim.text and c.id in claim.text for c in cited)
            begins = min((i.seconds_into_drive for i in own if i.onset_seen), default=None)
            if "appeared no earlier" in claim.text:
                assert begins is not None
                assert all(i.onset_seen and i.seconds_into_drive >= begins - SAME_MOMENT_S for i in cited)
            if "appeared before it" in claim.text:
                assert begins is not None
                assert all(i.onset_seen and i.seconds_into_drive < begins - SAME_MOMENT_S for i in cited)
            if "Does not account for" in claim.text:
                assert not {c.id for c in cited} & set(cause.supports)


def test_two_independent_faults_are_two_answers() -> None:
    answer = diagnose_offline(
        evidence(item(1, "SPN111/FMI1", at=20.0), item(2, "SPN3242/FMI3", ecu="SA 0x3D", at=400.0)), KNOWLEDGE
    )
    first, second = answer.root_causes[:2]
    assert {first.cause, second.cause} == {"coolant_loss", "exhaust_temperature_dpf_inlet.circuit"}
    assert second.confidence > 0.4


def test_circuits_of_one_unit_in_one_moment_share_a_wire() -> None:
    three = [item(n, f"SPN{spn}/FMI3", ecu="SA 0x00", at=42.0) for n, spn in enumerate((110, 174, 175), 1)]
    assert diagnose_offline(evidence(*three), KNOWLEDGE).root_causes[0].cause.startswith("shared_return")
    apart = [i.model_copy(update={"seconds_into_drive": 900.0 * n}) for n, i in enumerate(three, 1)]
    assert not diagnose_offline(evidence(*apart), KNOWLEDGE).root_causes[0].cause.startswith("shared")
    others = [i.model_copy(update={"ecu": f"SA 0x0{n}"}) for n, i in enumerate(three)]
    assert not diagnose_offline(evidence(*others), KNOWLEDGE).root_causes[0].cause.startswith("shared")


def test_a_unit_that_reports_is_not_lost() -> None:
    missed = item(1, "SPN2003/FMI9", ecu="SA 0x00", at=50.0)
    silent = diagnose_offline(evidence(missed), KNOWLEDGE).root_causes[0]
    assert silent.cause == "transmission_control_module.lost"
    speaks = diagnose_offline(evidence(missed, item(2, "SPN177/FMI3", ecu="SA 0x03", at=60.0)), KNOWLEDGE)
    lost = next((c for c in speaks.root_causes if c.cause == silent.cause), None)
    assert lost is None or lost.confidence < silent.confidence


def test_safety_comes_before_every_check() -> None:
    answer = diagnose_offline(
        evidence(item(1, "SPN100/FMI1", severity=Severity.CRITICAL), item(2, "SPN100/FMI18")), KNOWLEDGE
    )
    assert answer.checks[0] == next(c.safety for c in KNOWLEDGE.causes if c.id == "engine_oil_pressure_low")
    assert answer.root_causes[0].actions[0] == answer.checks[0]


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


def test_a_fuller_signature_names_the_part() -> None:
    alone = diagnose_offline(evidence(item(1, "P0301")), KNOWLEDGE)
    assert alone.root_causes[0].cause == "misfire_cylinder_1"
    both = diagnose_offline(evidence(item(1, "P0301"), item(2, "P0351")), KNOWLEDGE)
    assert both.root_causes[0].cause == "ignition_coil_cylinder_1"
    assert set(both.root_causes[0].supports) == {"E1", "E2"}


def test_an_unknown_code_is_named_as_unexplained() -> None:
    answer = diagnose_offline(evidence(item(1, "P1ABC")), KNOWLEDGE)
    assert [c.cause for c in answer.root_causes] == ["unexplained_code:P1ABC"]
    assert "No known pattern matches" in answer.root_causes[0].explanation


def test_a_code_of_the_dictionary_that_no_cause_explains_brings_its_checks_and_warnings() -> None:
    entry = describe("B0092")
    answer = diagnose_offline(evidence(item(1, "B0092")), KNOWLEDGE)
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


@pytest.mark.parametrize("state", sorted(set(WEIGHTS) - NOW))
def test_a_code_that_is_not_there_now_shows_no_cause_and_supports_one(state: str) -> None:
    past = item(1, "SPN110/FMI16").model_copy(update={"state": state})
    alone = diagnose_offline(evidence(past), KNOWLEDGE)
    assert alone.root_causes == ()
    assert alone.verdict.startswith("Nothing to repair now: SPN110/FMI16")
    assert (alone.severity, alone.drivable) == (Severity.INFO, "yes")
    both = diagnose_offline(evidence(past, item(2, "SPN110/FMI0")), KNOWLEDGE)
    assert both.root_causes[0].cause == "engine_overheating"
    assert set(both.root_causes[0].supports) == {"E1", "E2"}


def test_a_code_for_information_only_shows_no_cause() -> None:
    assert diagnose_offline(evidence(item(1, "P0301", severity=Severity.INFO)), KNOWLEDGE).root_causes == ()


def test_a_lamp_needs_no_cause_and_is_named_last() -> None:
    answer = diagnose_offline(evidence(item(1, "OBD_MIL", at=1.0), item(2, "P1ABC", at=5.0)), KNOWLEDGE)
    assert [c.cause for c in answer.root_causes] == ["unexplained_code:P1ABC", "unexplained_code:OBD_MIL"]
