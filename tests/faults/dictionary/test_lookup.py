"""What is said of a code: listed, composed of its parts, or described by its structure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.faults.dictionary.data import load_tables
from argus_assets.faults.dictionary.lookup import built_in, describe
from argus_assets.faults.schema import Severity
from argus_assets.simulate.scenarios import SCENARIOS

HEX = "0123456789ABCDEF"
BADNESS = list(Severity)


@pytest.mark.parametrize("code", sorted({code for s in SCENARIOS.values() for code in s.codes}))
def test_the_codes_of_the_scenarios_are_known(code):
    assert describe(code).known


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("SPN100/FMI1", "Engine oil pressure: dangerously low"),
        ("SPN9876/FMI5", "SPN 9876: current too low or circuit open"),
        ("SPN100/FMI40", "Engine oil pressure: failure mode 40, which J1939 does not have"),
        ("SPN520192/FMI7", "Manufacturer's own SPN 520192: mechanism does not follow its command"),
        ("P1234", "Manufacturer's own powertrain code"),
        ("P33FF", "Manufacturer's own powertrain code"),
        ("P3900", "Generic code of powertrain, not in the dictionary"),
        ("U2100", "Manufacturer's own network code"),
        ("P07F9", "Generic code of transmission, not in the dictionary"),
        ("P0301-1C", "Misfires in cylinder 1 (voltage out of range)"),
        ("P0301-00", "Misfires in cylinder 1"),
        ("P0301-F3", "Misfires in cylinder 1 (manufacturer's failure type F3)"),
        ("P0301-DE", "Misfires in cylinder 1 (failure type DE)"),
        ("U0100-87", "No communication: engine control module A (message missing)"),
        ("P1ABC-13", "Manufacturer's own powertrain code (circuit open)"),
        ("UDS_NRC_22_31", "Negative response, read data (service 22): request out of range"),
        ("UDS_NRC_BA_FE", "Negative response, service BA: reason FE"),
        ("DIAG_CPU_TEMP", "Component cpu temp reports a fault"),
        ("LOG_PLANNER_MAIN_01ab23cd", "Error logged by planner main"),
        ("RULE_BRAKE_FADE", "Rule brake fade was broken"),
        ("0x8004", "Code of the vehicle's software, not in the dictionary"),
    ],
)
def test_text(code, text):
    assert describe(code).text == text


dtcs = st.builds(
    "{}{}{}".format,
    st.sampled_from("PBCU"),
    st.sampled_from("0123"),
    st.text(HEX, min_size=3, max_size=3),
)
made_codes = st.one_of(
    dtcs,
    st.builds("{}-{}".format, dtcs, st.text(HEX, min_size=2, max_size=2)),
    st.builds("SPN{}/FMI{}".format, st.integers(0, 2**19 - 1), st.integers(0, 31)),
    st.builds("UDS_NRC_{:02X}_{:02X}".format, st.integers(0, 255), st.integers(0, 255)),
    st.builds("{}{}".format, st.sampled_from(["LOG_", "DIAG_", "RULE_", "CAN_", "SPN", "UDS_NRC_"]), st.text()),
    st.text(),
)


@given(code=made_codes)
def test_any_text_gets_an_entry(code):
    entry = describe(code)
    assert entry.code == code
    assert entry.text
    assert entry.system
    assert entry.source
    if entry.known:
        assert entry.severity is not None
        assert entry.causes


@given(code=made_codes)
def test_what_is_not_listed_claims_no_severity(code):
    entry = describe(code)
    if not entry.known and not code.startswith("UDS_NRC_"):
        assert entry.severity is None


@given(code=dtcs, failure_type=st.text(HEX, min_size=2, max_size=2))
def test_a_failure_type_changes_neither_system_nor_severity(code, failure_type):
    base, full = describe(code), describe(f"{code}-{failure_type}")
    assert (full.system, full.severity, full.known) == (base.system, base.severity, base.known)
    assert full.text.startswith(base.text)
    assert set(base.must_not) <= set(full.must_not)


@pytest.mark.parametrize("spn", sorted(load_tables().parameters))
def test_a_milder_failure_mode_is_never_worse_than_a_severer_one(spn):
    severity = {fmi: BADNESS.index(describe(f"SPN{spn}/FMI{fmi}").severity) for fmi in (0, 1, 15, 16, 17, 18)}
    assert severity[15] <= severity[16] <= severity[0]
    assert severity[17] <= severity[18] <= severity[1]


def test_a_failure_mode_takes_the_guide_of_its_direction():
    guides = load_tables().guides
    for code, guide in {
        "SPN110/FMI0": "engine_overheating",
        "SPN110/FMI17": "engine_cold",
        "SPN110/FMI3": "short_to_battery",
        "SPN110/FMI4": "short_to_ground",
        "SPN110/FMI9": "module_silent",
        "SPN111/FMI0": "value_high",
        "SPN2791/FMI7": "egr_valve",
        "SPN2791/FMI14": "egr_valve",
        "SPN629/FMI12": "module_defective",
    }.items():
        assert describe(code).causes == guides[guide].causes, code


@pytest.mark.parametrize(
    ("code", "severity"),
    [
        ("SPN100/FMI1", "critical"),
        ("SPN100/FMI18", "error"),
        ("SPN100/FMI17", "warning"),
        ("SPN100/FMI4", "warning"),
        ("SPN117/FMI1", "critical"),
        ("P0217", "critical"),
        ("P0524", "critical"),
        ("P0AA6", "critical"),
        ("P0301", "error"),
        ("P0420", "warning"),
        ("P0456", "info"),
        ("CAN_BUSOFF", "critical"),
        ("U0073", "error"),
        ("E101", "error"),
        ("UDS_NRC_22_78", "info"),
    ],
)
def test_severity_default(code, severity):
    assert describe(code).severity == severity


def test_the_built_in_dictionary_has_the_version_of_its_data():
    assert built_in().version == load_tables().version
    assert len(built_in().version) == 12
