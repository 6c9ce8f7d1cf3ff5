"""Part and failure mode of codes: by the structure of the standards, whatever the notation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.faults.dictionary.failure import Failure
from argus_assets.faults.dictionary.lookup import describe

MECHANICAL = {
    Failure.STUCK, Failure.STUCK_OPEN, Failure.STUCK_CLOSED, Failure.LEAK, Failure.SLIP, Failure.LEVEL_LOW,
    Failure.CIRCUIT_LOW, Failure.CIRCUIT_HIGH, Failure.CIRCUIT_OPEN,
}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "part", "failure"),
    [
        ("P0117", "coolant temperature sensor 1", Failure.CIRCUIT_LOW),
        ("P0118-00", "coolant temperature sensor 1", Failure.CIRCUIT_HIGH),
        ("P0352-13", "ignition coil B", Failure.CIRCUIT_OPEN),
        ("P0301", "cylinder 1", Failure.MISFIRE),
        ("P0171", "bank 1", Failure.MIXTURE),
        ("P0420", "bank 1", Failure.EFFICIENCY),
        ("P0730-64", "gear ratio", Failure.SLIP),
        ("P0641", "sensor supply A", Failure.SUPPLY_OPEN),
        ("P0562", "system voltage", Failure.SUPPLY_LOW),
        ("P2112", "throttle", Failure.STUCK_CLOSED),
        ("P2104", "throttle control", Failure.LIMIT),
        ("P0AA6", "high voltage", Failure.ISOLATION),
        ("P0A0A", "interlock", Failure.INTERLOCK),
        ("P0AA2", "positive contactor", Failure.STUCK_OPEN),
        ("P0A3C", "inverter", Failure.OVERHEATED),
        ("P0ADB", "positive contactor", Failure.CIRCUIT_LOW),
        ("P0715-31", "transmission speed sensor A", Failure.NO_SIGNAL),
        ("C0040-5A", "wheel speed sensor", Failure.IMPLAUSIBLE),
        ("U0100", "engine control module", Failure.MISSING_MESSAGE),
        ("U0100-87", "engine control module", Failure.MISSING_MESSAGE),
        ("U0121-71", "anti-lock brake control module", Failure.INVALID_MESSAGE),
        ("U0415-71", "anti-lock brake control module", Failure.INVALID_MESSAGE),
        ("P1234", "", Failure.UNKNOWN),
        ("P1234-13", "", Failure.CIRCUIT_OPEN),
        ("SPN110/FMI0", "engine coolant temperature", Failure.VALUE_HIGH),
        ("SPN110/FMI3", "engine coolant temperature", Failure.CIRCUIT_HIGH),
        ("SPN111/FMI18", "engine coolant level", Failure.LEVEL_LOW),
        ("SPN3364/FMI18", "exhaust fluid quality", Failure.QUALITY),
        ("SPN3509/FMI4", "sensor supply voltage", Failure.SUPPLY_LOW),
        ("SPN639/FMI9", "J1939 network", Failure.MISSING_MESSAGE),
        ("SPN84/FMI13", "vehicle speed", Failure.INVALID_MESSAGE),
        ("SPN84/FMI19", "vehicle speed", Failure.INVALID_MESSAGE),
        ("SPN100/FMI22", "engine oil pressure", Failure.UNKNOWN),
    ],
)
def test_a_code_states_its_part_and_how_it_fails(code: str, part: str, failure: Failure) -> None:
    entry = describe(code)
    assert part in entry.part or not part
    assert entry.failure is failure


@given(st.integers(0, 0x05FF), st.integers(0, 0xFF))
def test_no_failure_type_makes_a_network_code_mechanical_or_electrical(number: int, failure_type: int) -> None:
    entry = describe(f"U{number:04X}-{failure_type:02X}")
    assert entry.failure not in MECHANICAL
    assert "stuck" not in entry.text


@given(st.integers(1, 8191), st.integers(0, 31))
def test_every_spn_and_fmi_has_a_meaning(spn: int, fmi: int) -> None:
    entry = describe(f"SPN{spn}/FMI{fmi}")
    assert entry.part
    assert isinstance(entry.failure, Failure)


def test_low_is_dangerous_only_where_it_is() -> None:
    assert "dangerously" in describe("SPN100/FMI1").text
    assert "dangerously" not in describe("SPN102/FMI0").text
