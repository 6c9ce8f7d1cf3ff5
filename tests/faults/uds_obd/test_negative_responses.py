"""Negative answers → events; udsoncan has the same response codes."""

import pytest

from argus_assets.faults.uds_obd.negative_response import RESPONSE_CODES, RESPONSE_PENDING, SERVICES

pytest.importorskip("udsoncan", reason="udsoncan is not installed; it is the oracle of these tests")

S = 1_000_000_000


def answers(spoken, *sent, response_id=0x7E8):
    return [frame for second, payload in sent for frame in spoken(second * S, response_id, payload)]


def test_response_codes_are_those_of_udsoncan():
    codes = vars(pytest.importorskip("udsoncan.ResponseCode").ResponseCode)
    theirs = {value: name.lower().replace("_", "") for name, value in codes.items() if isinstance(value, int) and value}
    secured = range(0x38, 0x41)  # of the secured data link (ISO 15764), which reserves this range
    assert {code: name.lower() for code, (name, _) in RESPONSE_CODES.items()} == {
        code: name for code, name in theirs.items() if code not in secured and code != RESPONSE_PENDING
    }


def test_services_are_those_of_udsoncan():
    theirs = {
        service._sid: name  # noqa: SLF001 - udsoncan has no public name for it
        for name, service in vars(pytest.importorskip("udsoncan.services")).items()
        if hasattr(service, "_sid")
    }
    assert theirs == {sid: name for sid, name in SERVICES.items() if sid >= 0x10}


@pytest.mark.parametrize(
    ("answer", "code", "message", "severity", "rule"),
    [
        ("7f2231", "UDS_NRC_22_31", "ReadDataByIdentifier (0x22) refused: requestOutOfRange (0x31)", "info", "negative response: not supported"),
        ("7f2735", "UDS_NRC_27_35", "SecurityAccess (0x27) refused: invalidKey (0x35)", "warning", "negative response: access denied"),
        ("7f3672", "UDS_NRC_36_72", "TransferData (0x36) refused: generalProgrammingFailure (0x72)", "warning", "negative response: not carried out"),
        ("7f1422", "UDS_NRC_14_22", "ClearDiagnosticInformation (0x14) refused: conditionsNotCorrect (0x22)", "info", "negative response: conditions not met"),
        ("7f0312", "OBD_NRC_03_12", "confirmed codes (0x03) refused: subFunctionNotSupported (0x12)", "info", "negative response: not supported"),
        ("7fbaf1", "UDS_NRC_BA_F1", "service (0xBA) refused: unknown response code (0xF1)", "info", "negative response: not in ISO 14229-1"),
    ],
)  # fmt: skip
def test_refusals(answer, code, message, severity, rule, can_table, spoken, find):
    events = find(can_table(answers(spoken, (0, answer)))).events
    assert events.select("code", "source", "status", "message", "severity", "severity_rule").rows() == [
        (code, "uds_negative", "occurred", message, severity, rule)
    ]


def test_a_pending_response_is_no_refusal(can_table, spoken, find):
    found = find(can_table(answers(spoken, (0, "7f1978"), (1, "7f1978"), (2, "7f19"), (3, "7f"))))
    assert found.events.is_empty()


def test_a_burst_of_refusals_ends_after_ten_seconds(can_table, spoken, find):
    sent = [(second, "7f2231") for second in (0, 5, 15, 26)]
    frames = answers(spoken, *sent) + answers(spoken, (1, "7f2231"), response_id=0x7E9)
    events = find(can_table(frames)).events
    assert events.select("ecu", "occurrence", "frame_count").rows() == [
        ("0x7E8", 1, 3), ("0x7E9", 1, 1), ("0x7E8", 2, 1)
    ]  # fmt: skip


def test_a_refusal_that_is_cut_short_is_noted(can_table, spoken, find):
    found = find(can_table(answers(spoken, (0, "7f22"), (1, "7f"), (2, "7f2231"))))
    assert found.events["code"].to_list() == ["UDS_NRC_22_31"]
    assert found.notes == ("CAN1 0x7E8: 2 negative responses are shorter than 3 bytes and were left out.",)
