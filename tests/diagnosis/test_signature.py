"""The fault signature: what makes two drives the same case, and nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.model import ItemHistory
from argus_assets.diagnosis.signature import cache_key, fault_signature
from argus_assets.faults.schema import Severity
from tests.support.diagnosis_evidence import evidence, item

faults = st.lists(
    st.tuples(st.sampled_from(["P0301", "P0171", "U0100", "P1ABC"]), st.sampled_from(["engine", "body"]), st.integers(1, 4)),
    min_size=1, max_size=6, unique_by=lambda f: f[:2],
)  # fmt: skip


def of(found, **more) -> str:
    items = [
        item(n, code, ecu=ecu).model_copy(update={"appeared": place, **more})
        for n, (code, ecu, place) in enumerate(found, 1)
    ]
    return fault_signature(evidence(*items))


@given(faults, st.randoms())
def test_the_order_of_the_list_times_counts_and_texts_do_not_count(found, dice) -> None:
    mixed = list(found)
    dice.shuffle(mixed)
    changed = {
        "occurrences": 99, "seconds_into_drive": 1234.5, "active_s": 9.0, "frame": 7, "message": "x", "recording": "z",
        "history": ItemHistory(vehicle="new"), "meaning": "m", "lamps": ("red stop",),
    }  # fmt: skip
    assert of(found) == of(mixed) == of(found, **changed)
    shifted = [(code, ecu, 10 * place) for code, ecu, place in found]
    assert of(found) == of(shifted), "places count, not how far they are apart"


@given(faults)
def test_remarks_and_the_vehicle_do_not_count(found) -> None:
    items = [item(n, c, ecu=e).model_copy(update={"appeared": 2 * p}) for n, (c, e, p) in enumerate(found, 1)]
    remark = item(9, "LOG_x", severity=Severity.INFO).model_copy(update={"appeared": 3})
    plain = evidence(*items)
    assert fault_signature(plain) == fault_signature(evidence(*items, remark))
    assert fault_signature(plain) == fault_signature(plain.model_copy(update={"vehicle": "v-other"}))


@given(faults)
def test_what_makes_another_case_changes_it(found) -> None:
    base = evidence(*(item(n, c, ecu=e).model_copy(update={"appeared": p}) for n, (c, e, p) in enumerate(found, 1)))
    first = base.items[0]

    def changed(**more) -> str:
        return fault_signature(base.model_copy(update={"items": (first.model_copy(update=more), *base.items[1:])}))

    here = fault_signature(base)
    others = {
        changed(code="P9999"), changed(ecu="other"), changed(status="pending"),
        fault_signature(base.model_copy(update={"platform": "bus"})),
        fault_signature(base.model_copy(update={"release": "2"})),
        fault_signature(base.model_copy(update={"items": base.items[1:]})),
    }  # fmt: skip
    assert len(others) == 6
    assert here not in others
    if len({i.appeared for i in base.items}) > 1:
        assert of([(c, e, 5 - p) for c, e, p in found]) != here, "another order is another case"


def test_an_answer_is_kept_for_one_prompt_model_and_knowledge() -> None:
    given_ = {"prompt_version": "1", "model": "m", "knowledge_version": "k"}
    keys = {cache_key("s", **{**given_, name: "other"}) for name in given_} | {
        cache_key("t", **given_),
        cache_key("s", **given_),
    }
    assert len(keys) == 5
