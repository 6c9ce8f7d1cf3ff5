"""OBD-II mode 03 answers → events."""

from hypothesis import given
from hypothesis import strategies as st

from argus_assets.faults.uds_obd.dtc import dtc_text
from argus_assets.faults.uds_obd.obd import parse_codes

S = 1_000_000_000
NONE = "024300"
MISFIRE = "0443010301"


def answer(can, seconds, payload, can_id=0x7E8):
    return can(seconds * S, can_id, bytes.fromhex(payload))


@given(st.integers(1, 0xFFFF))
def test_dtc_text(number):
    # The decoder goes by bytes; this is the layout as one number.
    assert dtc_text(*number.to_bytes(2, "big")) == f"{'PCBU'[number >> 14]}{number >> 12 & 3}{number & 0xFFF:03X}"


@given(st.lists(st.integers(1, 0xFFFF), max_size=60, unique=True), st.integers(0, 3), st.binary(max_size=4))
def test_codes_of_an_answer(numbers, fillers, behind):
    pairs = b"".join(n.to_bytes(2, "big") for n in numbers) + bytes(2 * fillers)
    payload = bytes([0x43, len(numbers) + fillers]) + pairs + behind
    found = parse_codes(payload)
    assert found == tuple(dtc_text(*n.to_bytes(2, "big")) for n in numbers)


def test_active_until_an_answer_of_the_same_ecu_lists_it_no_more(can, can_table, find):
    frames = [
        answer(can, 0, MISFIRE),
        # Asked rarely: an hour without an answer does not end it.
        answer(can, 3600, MISFIRE),
        answer(can, 3601, NONE, 0x7E9),
        answer(can, 3602, MISFIRE),
        answer(can, 3603, NONE),
        answer(can, 3604, MISFIRE),
    ]
    events = find(can_table(frames)).events
    assert events.select("code", "ecu", "occurrence", "frame_count", "active_s").rows() == [
        ("P0301", "0x7E8", 1, 3, 3602.0),
        ("P0301", "0x7E8", 2, 1, 0.0),
    ]
    assert events["severity_rule"].unique().to_list() == ["dictionary: P0301 Misfires in cylinder 1"]
    assert events["payload_hex"].unique().to_list() == ["43010301"]


def test_29_bit_identifiers(can, can_table, find):
    # A gateway of a fleet asks under an address of its own.
    events = find(can_table([answer(can, 0, MISFIRE, 0x18DAF110), answer(can, 0, MISFIRE, 0x18DAFA10)])).events
    assert events["ecu"].to_list() == ["0x18DAF110", "0x18DAFA10"]


def test_other_services_and_requests_are_no_answers(can, can_table, find):
    frames = [answer(can, 0, "037f0378"), answer(can, 1, "0446010301"), answer(can, 2, MISFIRE, 0x7E0)]
    assert find(can_table(frames)).events.is_empty()


def test_an_answer_that_is_shorter_than_its_count_is_noted_and_changes_nothing(can, can_table, find):
    findings = find(can_table([answer(can, 0, MISFIRE), answer(can, 1, "044305 0301"), answer(can, 2, MISFIRE)]))
    assert findings.events["frame_count"].to_list() == [2]
    assert findings.notes == ("CAN1 0x7E8: 1 mode 03 answers hold fewer codes than they state and were left out.",)


def test_a_lost_frame_of_a_long_answer_is_noted(can, can_table, find):
    findings = find(can_table([answer(can, 0, "100a430401010102")]))
    assert findings.events.is_empty()
    assert findings.notes == (
        "CAN1 0x7E8: 1 of 1 messages of several frames (ISO-TP) are incomplete (lost or late frames) and were left out.",
    )
