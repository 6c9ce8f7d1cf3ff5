"""Answers: what holds is kept, what does not is dropped and told, and the floor holds whatever a model says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.answer import (
    MAX_ANSWER_CHARS,
    MAX_CONFIDENCE,
    Answer,
    parse_answer,
    repair_message,
    validate_answer,
)
from argus_assets.diagnosis.model import Citation, Evidence, ReadOut
from argus_assets.diagnosis.offline import diagnose_offline
from argus_assets.diagnosis.reuse import reuse, saved_answer
from argus_assets.diagnosis.severity_floor import drivable_floor, severity_floor
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from argus_assets.diagnosis.vocabulary import STRICTEST_DRIVABLE_FIRST
from argus_assets.faults.schema import Severity
from tests.support.diagnosis_evidence import coverage, evidence, item
from tests.support.injections import INJECTIONS, VIN

KNOWLEDGE = load_catalogue()
DOCUMENT = evidence(item(1, "P0301", at=10.0), item(2, "P1ABC", ecu="body", severity=Severity.CRITICAL))


class Holds:
    def problem(self, citation: Citation, evidence: Evidence) -> str | None:
        return None

    def has_code(self, code: str) -> bool:
        return code == "P0171"


class HoldsBut(Holds):
    def __init__(self, item_id: str) -> None:
        self.item_id = item_id

    def problem(self, citation: Citation, evidence: Evidence) -> str | None:
        return "frame 1 begins no such code" if citation.item == self.item_id else None


def claim(item_id: str = "E1", code: str = "P0301", text: str = "It misfires [E1].", speaks: str = "for") -> dict:
    return {"text": text, "speaks": speaks, "evidence": [{"item": item_id, "code": code}]}


def cause(name: str = "misfire_cylinder_1", **more) -> dict:
    return {
        "cause": name, "title": "Misfire", "system": "ignition", "kind": "mechanical", "confidence": 0.8,
        "explanation": "Cylinder 1 misfires [E1].", "claims": [claim()], "checks": ["Look at the plug."], **more,
    }  # fmt: skip


def answer(*causes: dict, **more) -> Answer:
    told = {"summary": "It misfires.", "severity": "warning", "drivable": "yes", "root_causes": list(causes), **more}
    parsed = parse_answer(json.dumps(told))
    assert isinstance(parsed, Answer), parsed
    return parsed


def checked(*causes: dict, facts=None, document: Evidence = DOCUMENT, **more):
    found = diagnose_offline(document, KNOWLEDGE).root_causes
    return validate_answer(answer(*causes, **more), document, found, KNOWLEDGE, facts or Holds())


def test_what_holds_is_kept_whole() -> None:
    valid = checked(cause(claims=[claim(), claim("E2", "P1ABC", "But [E2] is not explained.", "against")]))
    (made,) = valid.root_causes
    assert (made.cause, made.confidence, made.supports, made.contradicts) == (
        "misfire_cylinder_1",
        0.8,
        ("E1",),
        ("E2",),
    )
    assert made.claims[0].cites[0].code == "P0301"
    assert not valid.problems
    assert valid.checks == ("Look at the plug.",)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (claim("E1", "P1ABC"), "item E1 is P0301"),
        (claim("E9", "P0301"), "no item 'E9'"),
        (claim("E2", "P1ABC"), "frame 1 begins no such code"),
        (claim(text="P0999 says so."), "P0999 is not in the evidence"),
    ],
)
def test_a_claim_that_does_not_hold_is_dropped_and_costs_confidence(wrong, told) -> None:
    valid = checked(cause(claims=[claim(), wrong]), facts=HoldsBut("E2"))
    assert [c.text for c in valid.root_causes[0].claims] == ["It misfires [E1]."]
    assert valid.root_causes[0].confidence == pytest.approx(0.4)
    assert any(told in note for note in valid.notes)
    alone = checked(cause(claims=[wrong]), facts=HoldsBut("E2"))
    assert not alone.root_causes
    assert any(told in problem for problem in alone.problems)


def test_causes_come_from_the_list() -> None:
    valid = checked(cause("the_moon"), cause("unexplained_code:P1ABC", claims=[claim("E2", "P1ABC", "It is there.")]))
    assert [c.cause for c in valid.root_causes] == ["unexplained_code:P1ABC"]
    assert any("the_moon" in note for note in valid.notes)
    assert checked(cause("unexplained_code:P0999")).problems


def test_lost_frames_lower_the_confidence() -> None:
    cut = DOCUMENT.model_copy(update={"coverage": coverage(frames=500, lost=500)})
    assert checked(cause(confidence=1.0), document=cut).root_causes[0].confidence == pytest.approx(MAX_CONFIDENCE / 2)


names = st.sampled_from(
    ["misfire_cylinder_1", "ignition_coil_cylinder_1", "unexplained_code:P1ABC", "x", "random_misfire"]
)
claims = st.lists(
    st.builds(
        claim, st.sampled_from(["E1", "E2", "E3"]), st.sampled_from(["P0301", "P1ABC", "P0999"]),
        st.one_of(st.text(max_size=80), st.sampled_from(INJECTIONS)), st.sampled_from(["for", "against"]),
    ),
    min_size=1, max_size=5,
)  # fmt: skip
told = st.lists(
    st.builds(cause, names, claims=claims, confidence=st.floats(0, 1), explanation=st.sampled_from(INJECTIONS)),
    min_size=1, max_size=5,
)  # fmt: skip


@given(
    told,
    st.sampled_from(["info", "warning", "error", "critical"]),
    st.sampled_from(STRICTEST_DRIVABLE_FIRST),
    st.booleans(),
)
def test_no_answer_breaks_the_rules(causes, severity, drivable, second_fails) -> None:
    facts = HoldsBut("E2") if second_fails else Holds()
    valid = checked(*causes, facts=facts, severity=severity, drivable=drivable, summary=" ".join(INJECTIONS[:6]))
    floor = severity_floor(DOCUMENT)
    assert list(Severity).index(valid.severity) >= list(Severity).index(floor)
    assert STRICTEST_DRIVABLE_FIRST.index(valid.drivable) <= STRICTEST_DRIVABLE_FIRST.index(
        drivable_floor(DOCUMENT, valid.severity)
    )
    assert bool(valid.root_causes) != bool(valid.problems)
    confidences = [c.confidence for c in valid.root_causes]
    assert confidences == sorted(confidences, reverse=True)
    for made in valid.root_causes:
        assert made.confidence <= MAX_CONFIDENCE
        assert made.supports
        for kept in made.claims:
            assert all(facts.problem(cite, DOCUMENT) is None for cite in kept.cites)
            assert all((cite.item, cite.code) in {("E1", "P0301"), ("E2", "P1ABC")} for cite in kept.cites)
    texts = " ".join(
        [valid.summary, *valid.checks, *(c.explanation + " ".join(k.text for k in c.claims) for c in valid.root_causes)]
    )
    for banned in (VIN, "evil.example", "<script", "P0999", "javascript:"):
        assert banned not in texts


@pytest.mark.parametrize("text", INJECTIONS)
def test_a_model_that_obeys_a_recording_talks_nothing_down(text: str) -> None:
    obedient = cause(explanation=text, title=text, claims=[claim(text=text)], checks=[text], confidence=0.01)
    valid = checked(obedient, severity="info", drivable="yes", summary=text)
    assert (valid.severity, valid.drivable) == (Severity.CRITICAL, "no")
    told = repr(valid)
    assert VIN not in told
    assert "evil.example" not in told
    assert parse_answer('{"summary": "all good", "severity": "info", "drivable": "yes", "root_causes": []}') == [
        "root_causes: Tuple should have at least 1 item after validation, not 0"
    ]


@pytest.mark.parametrize("text", INJECTIONS)
def test_rules_do_not_read_what_a_recording_says(text: str) -> None:
    hostile = DOCUMENT.model_copy(
        update={"items": tuple(i.model_copy(update={"message": text}) for i in DOCUMENT.items)}
    )
    plain, planted = diagnose_offline(DOCUMENT, KNOWLEDGE), diagnose_offline(hostile, KNOWLEDGE)
    assert planted.model_copy(update={"evidence_key": plain.evidence_key}) == plain


@given(
    st.one_of(
        st.text(max_size=200),
        st.sampled_from(INJECTIONS),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5),
            lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=8), x, max_size=3),
            max_leaves=10,
        ).map(json.dumps),
    )
)
def test_anything_can_be_read_without_breaking(text: str) -> None:
    found = parse_answer(text)
    if isinstance(found, list):
        assert found
        assert "cannot be used" in repair_message(found)


def test_prose_around_the_answer_does_not_matter() -> None:
    inside = answer(cause())
    assert parse_answer(f"Here you are:\n{inside.model_dump_json()}\nGood luck.") == inside


@given(st.permutations([("P0301", "engine"), ("P1ABC", "body"), ("P0420", "engine")]))
def test_a_saved_answer_speaks_of_this_drives_items(order) -> None:
    before = evidence(item(1, "P0301"), item(2, "P1ABC", ecu="body"), item(3, "P0420"))
    text = answer(cause(claims=[claim(), claim("E2", "P1ABC", "But [E2].", "against")])).model_dump_json()
    saved = saved_answer(text, before, precedent="p", model="m", made_at="2026-11-01T00:00:00Z")
    here = evidence(*(item(n, code, ecu=ecu) for n, (code, ecu) in enumerate(order, 1)))
    again = reuse(saved, here)
    valid = validate_answer(again, here, (), KNOWLEDGE, Holds())
    by_id = {i.id: i.code for i in here.items}
    (made,) = valid.root_causes
    assert [by_id[i] for i in (*made.supports, *made.contradicts)] == ["P0301", "P1ABC"]
    assert f"[{made.supports[0]}]" in made.explanation


def test_a_saved_answer_about_what_is_not_here_is_not_used() -> None:
    text = answer(cause()).model_dump_json()
    saved = saved_answer(text, DOCUMENT, precedent="p", model="m", made_at="2026-11-01T00:00:00Z")
    assert reuse(saved, evidence(item(1, "P1ABC", ecu="body"))) is None
    two = evidence(item(1, "P0301"), item(2, "P0301"))
    assert reuse(saved, two) is None, "which of two is meant, nobody knows"


def test_an_answer_that_no_schema_allows_is_refused_before_it_is_read() -> None:
    """Its length bounds all that is done with it."""
    (problem,) = parse_answer("{" * (MAX_ANSWER_CHARS + 1))
    assert f"at most {MAX_ANSWER_CHARS:,}" in problem


@pytest.mark.parametrize("unit", ["a", "[", "[](", "a://", "<", "E1 ", "CAN_A", ". ", "1" * 17, "a@a.", "token "])
def test_texts_are_cut_to_the_schema_before_anything_looks_at_them(unit: str) -> None:
    """What stands behind the schema's length changes nothing, so that it costs nothing either."""
    long = ("It misfires [E1]. " + unit * 50_000)[:20_000]
    kept = checked(cause(explanation=long, claims=[claim(text=long)], checks=[long]), summary=long)
    short = checked(
        cause(explanation=long[:700], claims=[claim(text=long[:700])], checks=[long[:700]]), summary=long[:700]
    )
    assert kept == short


@pytest.mark.parametrize("length", [10, 299, 301, 350])
def test_no_link_is_left_however_long_its_text_is(length: int) -> None:
    text = f"It misfires [{'s' * length}](http:/ x) and (javascript:y)."
    diagnosis = checked(cause(claims=[claim(text=text)], explanation=text), summary=text)
    shown = [diagnosis.summary, *(c.text for found in diagnosis.root_causes for c in found.claims)]
    assert not any("](" in text for text in shown), shown


def composed(component: str, failure: str = "contact", place: str = "connector", **more) -> dict:
    return cause("composed", component=component, failure=failure, place=place, **more)


def test_a_composed_cause_is_named_by_the_vocabulary() -> None:
    made = checked(composed("Harness of the rear light <b>x</b>", title="ignore this title"))
    (found,) = made.root_causes
    assert found.cause == "harness_of_the_rear_light_b_x_b.contact@connector"
    assert found.title == "Harness of the rear light b x /b: bad contact (loose, corroded, wet, chafed) (connector)"
    assert made.verdict.startswith("Most likely: Harness of the rear light")


def test_a_composed_cause_that_the_catalogue_has_is_that_one() -> None:
    (found,) = checked(composed("misfire", "worn", "itself")).root_causes
    assert found.cause == "misfire.worn@itself"
    document = evidence(item(1, "P0117"))
    asked = composed("coolant temperature sensor", claims=[claim(code="P0117")])
    (found,) = checked(asked, document=document).root_causes
    assert found.cause == "coolant_temperature_sensor"


def test_a_composed_cause_without_a_name_is_none() -> None:
    made = checked(composed("…"))
    assert made.problems
    assert "names no component" in made.problems[0]


def test_no_repair_never_lowers_the_floor() -> None:
    made = checked(composed("radio", "no_repair", "itself"), severity="info", drivable="yes")
    assert made.severity is Severity.CRITICAL
    assert made.drivable == "no"


READ = DOCUMENT.model_copy(update={"read_outs": (ReadOut(ecu="0x7E8", service="03", answers=2),)})
ABSENT = {"item": "absent", "code": "P0300"}


@pytest.mark.parametrize(
    ("document", "cited", "why"),
    [
        (READ, ABSENT, None),
        (DOCUMENT, ABSENT, "nothing was read"),
        (READ, {"item": "absent", "code": "P0301"}, "the drive has it"),
        (READ, {"item": "absent", "code": "P0171"}, "the drive has it"),
        (READ, {"item": "absent", "code": "SPN100/FMI1"}, "nothing was read"),
        (READ, {"item": "absent", "code": "nothing"}, "is no code"),
    ],
)
def test_an_absent_code_can_be_cited_where_it_would_have_been_seen(document, cited, why) -> None:
    against = {"text": f"There is no {cited['code']}.", "speaks": "against", "evidence": [cited]}
    made = checked(cause(claims=[claim(), against]), document=document)
    (found,) = made.root_causes
    assert [c.absent for c in found.claims] == ([(), ("P0300",)] if why is None else [()])
    assert why is None or any(why in note for note in made.notes)


def test_what_is_absent_alone_proves_nothing() -> None:
    made = checked(cause(claims=[{"text": "No P0300.", "speaks": "for", "evidence": [ABSENT]}]), document=READ)
    assert made.problems


def test_a_second_fault_is_told_from_an_alternative() -> None:
    second = cause("unexplained_code:P1ABC", confidence=0.5, relation="independent", claims=[claim("E2", "P1ABC")])
    assert [c.is_independent for c in checked(cause(), second).root_causes] == [False, True]
