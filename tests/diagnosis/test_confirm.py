"""What a person says of a diagnosis, as a case."""

from datetime import UTC, datetime

import pytest

from argus_assets.diagnosis.confirm import confirm
from argus_assets.diagnosis.model import Diagnosis, RootCause
from argus_assets.diagnosis.ports import Case
from argus_assets.diagnosis.vocabulary import UNEXPLAINED
from argus_assets.errors import BadSetting
from argus_assets.faults.schema import Severity
from tests.support.diagnosis_evidence import evidence, item

NOW = datetime(2026, 11, 20, 12, 30, 15, 999, tzinfo=UTC)
PARTITION = "2026-11-18_truck-1_b1"
TITLES = {"engine_oil_pressure_low": "Engine oil pressure too low", "engine_oil_pressure_sensor": "Oil pressure sensor"}


def diagnosis(*causes: str) -> Diagnosis:
    return Diagnosis(
        mode="offline", mode_reason="", coverage="", verdict="", severity=Severity.ERROR, drivable="yes",
        root_causes=tuple(
            RootCause(cause=c, title=f"title of {c}", explanation="", confidence=0.8, supports=("E1",)) for c in causes
        ),
        evidence_key="k", signature="s", knowledge_version="1",
    )  # fmt: skip


def confirmed(*causes: str, codes: tuple[str, ...] = ("SPN100/FMI1",), **said: object) -> Case:
    return confirm(
        evidence(*(item(n, code) for n, code in enumerate(codes, 1))), diagnosis(*causes), partition=PARTITION,
        recorded_at=NOW, titles=TITLES, now=NOW, **said,  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_diagnosis_that_was_right_is_confirmed_with_its_own_cause_and_title() -> None:
    case = confirmed("engine_oil_pressure_low", by="Ada", fix="pump of 1M8GDM9AXKP042788")
    assert (case.id, case.partition, case.cause) == (PARTITION, PARTITION, "engine_oil_pressure_low")
    assert case.title == "title of engine_oil_pressure_low"
    assert (case.predicted_cause, case.predicted_confidence, case.confirmed_by) == (case.cause, 0.8, "Ada")
    assert case.fix == "pump of <vin>"
    assert case.confirmed_at == NOW.replace(microsecond=0)


def test_a_known_cause_corrects_it_and_a_new_one_needs_a_title() -> None:
    corrected = confirmed("engine_oil_pressure_low", cause="engine_oil_pressure_sensor")
    assert (corrected.cause, corrected.title) == ("engine_oil_pressure_sensor", "Oil pressure sensor")
    assert corrected.predicted_cause == "engine_oil_pressure_low"
    new = confirmed(cause="oil_pan_gasket", title="Oil pan gasket leaks", may_be_new=True)
    assert (new.cause, new.title, new.predicted_cause) == ("oil_pan_gasket", "Oil pan gasket leaks", None)


@pytest.mark.parametrize(
    ("causes", "said", "expected"),
    [
        ((), {}, "names no cause"),
        ((f"{UNEXPLAINED}E5",), {}, "knows no cause of E5"),
        ((), {"cause": "Bad Pump", "may_be_new": True, "title": "x"}, "cannot identify a cause"),
        ((), {"cause": "oil_pressure_sensor"}, "Did you mean engine_oil_pressure_sensor"),
        ((), {"cause": "zzz_qqq", "may_be_new": True}, "add --new-cause --title"),
        ((), {"cause": "zzz_qqq", "title": "x"}, "add --new-cause --title"),
        (("engine_oil_pressure_low",), {"codes": ()}, "has no fault codes"),
    ],
)
def test_what_cannot_be_confirmed_is_refused(causes: tuple[str, ...], said: dict[str, object], expected: str) -> None:
    with pytest.raises(BadSetting) as refused:
        confirmed(*causes, **said)  # type: ignore[arg-type]
    assert expected in f"{refused.value.what} {refused.value.help}"
