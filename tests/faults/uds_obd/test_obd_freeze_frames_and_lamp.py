"""OBD-II freeze frames, the malfunction lamp and clearing → events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.faults.uds_obd.obd_pids import PIDS, monitor_status, pid_value, split_pids

S = 1_000_000_000


def talk(spoken, *exchanges, request_id=0x7DF, response_id=0x7E8):
    """Frames of (second, request or None, answer), in hex."""
    frames = []
    for second, request, answer in exchanges:
        frames += spoken(second * S, request_id, request) if request else []
        frames += spoken(second * S + S // 100, response_id, answer)
    return frames


@pytest.mark.parametrize(
    ("pid", "data", "name", "value"),
    [
        (0x03, "0200", "fuel system", "closed loop"),
        (0x03, "0204", "fuel system", "closed loop; open loop, by driving conditions"),
        (0x04, "ff", "engine load", "100.0 %"),
        (0x05, "7b", "coolant temperature", "83 °C"),
        (0x06, "80", "short term fuel trim, bank 1", "0.0 %"),
        (0x07, "00", "long term fuel trim, bank 1", "-100.0 %"),
        (0x0A, "64", "fuel pressure", "300 kPa"),
        (0x0B, "65", "intake manifold pressure", "101 kPa"),
        (0x0C, "1af8", "engine speed", "1726.00 rpm"),
        (0x0D, "32", "vehicle speed", "50 km/h"),
        (0x0E, "80", "timing advance", "0.0 °"),
        (0x0F, "00", "intake air temperature", "-40 °C"),
        (0x10, "01f4", "air flow", "5.00 g/s"),
        (0x11, "80", "throttle position", "50.2 %"),
        (0x1F, "0e10", "run time since engine start", "3600 s"),
        (0x22, "03e8", "fuel rail pressure, relative to vacuum", "79.00 kPa"),
        (0x3C, "0fa0", "catalyst temperature, bank 1, sensor 1", "360.0 °C"),
        (0x42, "3039", "control module voltage", "12.345 V"),
        (0x44, "8000", "commanded equivalence ratio", "1.000"),
        (0x5E, "0064", "engine fuel rate", "5.00 L/h"),
        (0xA6, "00112233", "PID 0xA6", "00112233"),
        (0x05, "7b7b", "PID 0x05", "7b7b"),
    ],
)
def test_values(pid, data, name, value):
    assert pid_value(pid, bytes.fromhex(data)) == (name, value)


@given(st.lists(st.sampled_from(sorted(PIDS)), max_size=6), st.booleans(), st.data())
def test_an_answer_of_several_parameters(pids, with_frame_number, data):
    sent = [(pid, data.draw(st.integers(0, 9)) if with_frame_number else 0, data.draw(_of_size(pid))) for pid in pids]
    number = (lambda n: bytes([n])) if with_frame_number else (lambda n: b"")
    answer = b"".join(bytes([pid]) + number(n) + value for pid, n, value in sent)
    assert split_pids(answer, with_frame_number=with_frame_number) == (tuple(sent), b"")
    if sent:
        cut = data.draw(st.integers(1, len(sent[-1][2])))
        found, rest = split_pids(answer[:-cut], with_frame_number=with_frame_number)
        assert found == tuple(sent[:-1])
        assert rest == answer[sum(1 + with_frame_number + len(v) for _, _, v in sent[:-1]) : -cut]


def _of_size(pid):
    return st.binary(min_size=PIDS[pid].size, max_size=PIDS[pid].size)


@given(st.binary(max_size=20), st.booleans())
def test_any_bytes_are_survived(data, with_frame_number):
    found, rest = split_pids(data, with_frame_number=with_frame_number)
    assert sum(1 + with_frame_number + len(p.data) for p in found) + len(rest) == len(data)
    for pid, _, value in found:
        pid_value(pid, value)


@given(st.binary(min_size=4, max_size=4))
def test_readiness_has_the_monitors_that_are_supported(data):
    status = monitor_status(data)
    reserved = 0b0001_0100 if status.is_compression else 0b0001_0000
    supported = (data[1] & 0b111).bit_count() + (data[2] & ~reserved).bit_count()
    assert len(status.readiness) == supported
    assert status.is_lamp_on == (data[0] > 127)
    assert status.dtc_count == data[0] % 128


def test_the_lamp_is_an_event_while_it_is_on(can_table, spoken, find):
    on, off = "410182076121", "410100076100"
    frames = talk(
        spoken, (0, "0101", off), (10, "0101", on), (20, "0101", on), (25, "010c", "410c1af8"), (30, "0101", off)
    )
    frames += talk(spoken, (40, "0101", "4101ff0f00ff"), response_id=0x7E9)
    events = find(can_table(frames)).events
    assert events.select("code", "source", "ecu", "status", "active_s", "frame_count", "severity_rule").rows() == [
        ("OBD_MIL", "obd_mode01", "0x7E8", "active", 10.0, 2, "obd: malfunction lamp on (mode 01)"),
        ("OBD_MIL", "obd_mode01", "0x7E9", "active", 0.0, 1, "obd: malfunction lamp on (mode 01)"),
    ]
    assert events["message"].to_list() == [
        "malfunction lamp on, 2 confirmed codes",
        "malfunction lamp on, 127 confirmed codes",
    ]
    assert {d["key"]: d["value"] for d in events["details"][0]} == {
        "dtc_count": "2",
        "ignition": "spark",
        "readiness misfire": "complete",
        "readiness fuel system": "complete",
        "readiness components": "complete",
        "readiness catalyst": "incomplete",
        "readiness oxygen sensor": "incomplete",
        "readiness oxygen sensor heater": "complete",
    }


def test_the_lamp_is_found_behind_other_parameters(can_table, spoken, find):
    events = find(can_table(talk(spoken, (0, "010c0d01", "410c1af80d320182076121")))).events
    assert events.select("code", "message").rows() == [("OBD_MIL", "malfunction lamp on, 2 confirmed codes")]


@pytest.mark.parametrize(
    ("service", "source", "status", "severity"),
    [
        (0x43, "obd_mode03", "confirmed", "error"),
        (0x47, "obd_mode07", "pending", "warning"),
        (0x4A, "obd_mode0a", "permanent", "warning"),
    ],
)
def test_modes_that_list_codes(service, source, status, severity, can_table, spoken, find):
    events = find(can_table(spoken(0, 0x7E8, bytes([service, 2, 3, 1, 0xC1, 0]))))
    assert events.events.select("code", "source", "status", "severity").rows() == [
        ("P0301", source, status, severity),
        ("U0100", source, status, severity),
    ]


FRAME_OF_P0301 = [(2, "020200", "4202000301"), (3, "020500", "4205007b"), (4, "020c000d00", "420c001af80d0032")]
SHOWN = {
    "freeze frame 0: coolant temperature": "83 °C",
    "freeze frame 0: engine speed": "1726.00 rpm",
    "freeze frame 0: vehicle speed": "50 km/h",
}


def details_of(found):
    rows = found.events.select("code", "occurrence", "source", "details").rows()
    return {row[:3]: {d["key"]: d["value"] for d in row[3] or []} for row in rows if row[0] != "OBD_CLEAR"}


@pytest.mark.parametrize("codes_at", [1, 9])
def test_a_freeze_frame_comes_with_its_code(codes_at, can_table, spoken, find):
    codes = [(codes_at, "03", "430203010171"), (codes_at, "07", "47010301")]
    found = find(can_table(talk(spoken, *FRAME_OF_P0301, *codes)))
    assert found.notes == ()
    assert details_of(found) == {
        ("P0301", 1, "obd_mode03"): SHOWN,
        ("P0171", 1, "obd_mode03"): {},
        ("P0301", 1, "obd_mode07"): SHOWN,
    }


def test_a_freeze_frame_belongs_to_the_activation_in_which_it_was_read(can_table, spoken, find):
    there, gone = "43010301", "4300"
    codes = [(0, "03", there), (1, "03", gone), (2, "03", there), (8, "03", gone), (9, "03", there)]
    found = find(can_table(talk(spoken, *codes, *FRAME_OF_P0301)))
    assert details_of(found) == {
        ("P0301", 1, "obd_mode03"): {},
        ("P0301", 2, "obd_mode03"): SHOWN,
        ("P0301", 3, "obd_mode03"): {},
    }


def test_freeze_frames_that_cannot_be_given_to_a_code_are_noted(can_table, spoken, find):
    found = find(can_table(talk(spoken, *FRAME_OF_P0301) + talk(spoken, (0, "020500", "4205007b"), response_id=0x7E9)))
    assert found.events.is_empty()
    assert found.notes == (
        "CAN1 0x7E9: 1 freeze frame values belong to no code (PID 02 was not read) and were left out.",
        "CAN1 0x7E8: a freeze frame of P0301 was read, but no answer that lists this code.",
    )


def test_answers_that_end_inside_a_parameter_are_noted_and_change_nothing(can_table, spoken, find):
    on = "410182076121"
    exchanges = [(0, "0101", on), (1, "0101", "41018207"), (2, "0101", on), *FRAME_OF_P0301, (5, "020c00", "420c001a")]
    found = find(can_table(talk(spoken, *exchanges, (6, "03", "43010301"))))
    assert found.events.filter(found.events["code"] == "OBD_MIL")["frame_count"].to_list() == [2]
    assert details_of(found)["P0301", 1, "obd_mode03"] == SHOWN
    assert found.notes == (
        "CAN1 0x7E8: 1 mode 01 answers end inside a parameter, which was left out.",
        "CAN1 0x7E8: 1 mode 02 answers end inside a parameter, which was left out.",
    )


def test_an_ecu_without_a_freeze_frame_has_none(can_table, spoken, find):
    found = find(can_table(talk(spoken, (0, "020200", "4202000000"))))
    assert (found.events.height, found.notes) == (0, ())


def test_clearing_is_an_event_and_ends_the_codes_of_the_ecu_that_answered(can_table, spoken, find):
    there = "43010301"
    frames = talk(spoken, (0, "03", there), (10, "04", "44"), (20, "03", there))
    frames += talk(spoken, (0, None, there), (20, None, there), response_id=0x7E9)
    frames += talk(spoken, (0, None, "4a010301"), (20, None, "4a010301"))
    events = find(can_table(frames)).events
    assert events.select("code", "ecu", "source", "occurrence", "frame_count").rows() == [
        ("P0301", "0x7E8", "obd_mode03", 1, 1),
        ("P0301", "0x7E9", "obd_mode03", 1, 2),
        # What a tester can't clear stays.
        ("P0301", "0x7E8", "obd_mode0a", 1, 2),
        ("OBD_CLEAR", "0x7E8", "obd_mode04", 1, 1),
        ("P0301", "0x7E8", "obd_mode03", 2, 1),
    ]
    cleared = events.filter(events["code"] == "OBD_CLEAR")
    assert cleared.select("status", "severity", "message", "payload_hex").rows() == [
        ("occurred", "info", "all emission-related codes cleared", "44")
    ]


def test_a_refused_clearing_ends_nothing(can_table, spoken, find):
    events = find(can_table(talk(spoken, (0, "03", "43010301"), (1, "04", "7f0422"), (2, "03", "43010301")))).events
    assert events.select("code", "frame_count").rows() == [("P0301", 2), ("OBD_NRC_04_22", 1)]
