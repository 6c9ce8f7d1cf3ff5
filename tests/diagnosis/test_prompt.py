"""The request: only listed fields, texts as data whatever they say, bounded, and cheap enough for twenty a day."""

import json
import re
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.budget import bound, tokens_of
from argus_assets.diagnosis.composition import COMPOSED
from argus_assets.diagnosis.diagnose import MAX_ANSWER_TOKENS
from argus_assets.diagnosis.model import EvidencePair, History, ItemHistory, Observation, ReadOut, SimilarCase, UnitSeen
from argus_assets.diagnosis.offline import diagnose_offline
from argus_assets.diagnosis.prompt import MAX_MESSAGE, MAX_PROMPT_BYTES, build_request, candidates
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from tests.support.diagnosis_evidence import coverage, evidence, item
from tests.support.drives import made_drive
from tests.support.injections import INJECTIONS, VIN

KNOWLEDGE = load_catalogue()
TWO = (item(1, "P0301", at=10.0), item(2, "P1ABC", ecu="body"))


def request(document, cases=()):
    found = diagnose_offline(document, KNOWLEDGE).root_causes
    return build_request(document, found, cases, max_tokens=MAX_ANSWER_TOKENS)


def data_of(asked) -> dict:
    """What stands between the marks: there is one such place, and it is one line of JSON."""
    found = re.fullmatch(r"<(data-[0-9a-f]{12})>\n(.*)\n</\1>\n[^<>]*", asked.user)
    assert found is not None, "the marks stand around the data and nowhere else"
    assert asked.system.count(f"<{found[1]}>") == 1
    return json.loads(found[2])


@pytest.mark.parametrize("text", INJECTIONS)
def test_what_a_recording_says_stays_data(text: str) -> None:
    hostile = TWO[0].model_copy(update={"message": text, "ecu": text, "meaning": text, "also_reported": (text,)})
    plain, planted = request(evidence(*TWO)), request(evidence(hostile, TWO[1]).model_copy(update={"platform": text}))
    before, after = data_of(plain), data_of(planted)
    assert before.keys() == after.keys()
    assert [i["id"] for i in after["items"]] == ["E1", "E2"]
    assert re.sub("[0-9a-f]{12}", "", planted.system) == re.sub("[0-9a-f]{12}", "", plain.system)
    assert planted.schema == plain.schema
    assert VIN not in planted.user
    assert len(after["items"][0].get("text_in_recording", "")) <= MAX_MESSAGE


vins = st.text("ABCDEFGHJKLMNPRSTUVWXYZ0123456789", min_size=17, max_size=17).filter(
    lambda v: re.search(r"\d", v) and re.search("[A-Z]", v)
)


@given(vins)
def test_a_vin_in_any_text_never_leaves(vin: str) -> None:
    said = f"vehicle {vin} stopped"
    hostile = TWO[0].model_copy(
        update={"message": said, "ecu": f"node {vin}", "meaning": said, "also_reported": (said,)}
    )
    case = SimilarCase(
        id=vin, cause="c", title=said, fix=said, platform=vin, release=vin, similarity=0.5, weight=0.5,
        shared_codes=(vin,), confirmed_on="2026-11-01",
    )  # fmt: skip
    document = evidence(hostile, TWO[1]).model_copy(update={"platform": said, "release": said})
    asked = request(document, [case])
    assert vin not in asked.system + asked.user + json.dumps(asked.schema)


def test_only_listed_fields_are_told() -> None:
    full = TWO[0].model_copy(
        update={
            "recording": "canary-recording", "recording_sha256": "canary-sha", "co_occurring": ("canary-co",),
            "message": "told-message", "lamps": ("told-lamp",), "also_reported": ("told-also",),
            "history": ItemHistory(vehicle="back", vehicle_drives_with=77), "values": (("told-name", "told-value"),),
        }
    )  # fmt: skip
    document = evidence(full, TWO[1]).model_copy(
        update={
            "observations": (
                Observation(id="O1", quantity="told-live", component="canary-component", unit="V", ecu="x", source="canary",
                            state="unknown", readings=3),
            ),
            "units": (UnitSeen(ecu="told-unit", messages=77, first_s=0, last_s=9),),
            "read_outs": (ReadOut(ecu="told-reader", service="03", answers=1),),
            "vehicle": "v-told", "history": History(window_days=90, vehicle_drives=5),
            "pairs": (EvidencePair(a="E2", b="E1", joint_activations=3, lift=123.456, median_lead_s=-2.0),),
        }
    )  # fmt: skip
    asked = request(document)
    assert "canary" not in asked.system + asked.user + json.dumps(asked.schema)
    data = data_of(asked)
    for told in (
        "told-name",
        "told-value",
        "told-live",
        "told-unit",
        "told-reader",
        "told-message",
        "told-lamp",
        "told-also",
        "v-told",
    ):
        assert told in asked.user
    assert data["order"] == [{"first": "E1", "then": "E2", "after_s": 2.0, "times_together": 3}]
    assert data["items"][0]["history"]["vehicle"] == "back"
    assert set(data["items"][0]) <= {
        "id", "code", "meaning", "ecu", "source", "status", "severity", "order", "first_s", "active_s", "times", "lamps",
        "also", "text_in_recording", "history", "state", "onset", "stored_with_it",
    }  # fmt: skip


@given(st.lists(st.text(max_size=300), min_size=10, max_size=10), st.integers(0, 12))
def test_the_data_is_bounded_whatever_there_is(texts, count) -> None:
    items = [
        item(n, f"P0{n}0{n}").model_copy(
            update={"message": text, "ecu": text[:190], "meaning": text[:190], "also_reported": (text[:190],) * 8}
        )
        for n, text in enumerate(texts[: max(1, count)], 1)
    ]
    asked = request(evidence(*items))
    assert len(data_of(asked)["items"]) == len(items)
    assert len(asked.user.encode()) <= 2 * MAX_PROMPT_BYTES


def test_a_cause_has_to_be_spoken_for_to_be_a_candidate() -> None:
    found = [cause.cause for cause in candidates(diagnose_offline(evidence(*TWO), KNOWLEDGE).root_causes)]
    assert found[0] == "misfire_cylinder_1"
    assert "misfire_cylinder_2" not in found
    assert not any(cause.startswith("unexplained_code:") for cause in found)
    enum = request(evidence(*TWO)).schema["properties"]["root_causes"]["items"]["properties"]["cause"]["enum"]
    assert set(enum) == {COMPOSED, *found, "unexplained_code:P0301", "unexplained_code:P1ABC"}


def test_the_schema_is_strict_everywhere() -> None:
    def check(node) -> None:
        if isinstance(node, dict):
            if node.get("type") == "object":
                assert node["additionalProperties"] is False
                assert node["required"] == list(node["properties"])
            if node.get("type") == "array":
                assert node["maxItems"] >= 1
            if node.get("type") == "string":
                assert "enum" in node or "maxLength" in node
            for value in node.values():
                check(value)
        elif isinstance(node, list):
            for value in node:
                check(value)

    check(request(evidence(*TWO, covered=coverage())).schema)


def test_a_day_has_room_for_twenty(tmp_path: Path) -> None:
    scenarios = ("truck_oil_pressure", "car_bus_loss", "av_compute_overheat", "car_misfire_coil", "av_lidar_dropout")
    asked = [request(made_drive(tmp_path / name, name, seconds=30.0).evidence) for name in scenarios]
    assert median(bound(one) for one in asked) <= 5_000
    assert all(tokens_of(one.system) < 900 for one in asked)
