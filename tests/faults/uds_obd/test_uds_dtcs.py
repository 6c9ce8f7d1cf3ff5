"""UDS ReadDTCInformation answers → events; udsoncan reads the same bytes."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.faults.uds_obd.dtc import uds_dtc_text
from argus_assets.faults.uds_obd.uds import FAULT_BITS, parse_dtc_answer, status_text

udsoncan = pytest.importorskip("udsoncan", reason="udsoncan is not installed; it is the oracle of these tests")
services = pytest.importorskip("udsoncan.services")

S = 1_000_000_000
SERVICE = services.ReadDTCInformation
LISTS = [0x02, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x13, 0x15]
dtcs = st.integers(1, 0xFFFFFF).map(lambda n: n.to_bytes(3, "big"))
bytes_ = st.integers(0, 255)


def by_udsoncan(payload, **options):
    response = udsoncan.Response.from_payload(payload)
    return SERVICE.interpret_response(
        response, payload[1], tolerate_zero_padding=False, ignore_all_zero_dtc=False, **options
    )


def events_of(found, *columns):
    return found.events.filter(found.events["source"] == "uds_dtc").select(columns).rows()


@given(st.sampled_from(LISTS), bytes_, st.lists(st.tuples(dtcs, bytes_), max_size=40))
def test_lists_of_codes(sub_function, mask, records):
    if 0x0B <= sub_function <= 0x0E:
        records = records[:1]
    payload = bytes([0x59, sub_function, mask]) + b"".join(dtc + bytes([status]) for dtc, status in records)
    answer = parse_dtc_answer(payload, {})
    oracle = by_udsoncan(payload).service_data
    assert [(int.from_bytes(c.dtc, "big"), c.status) for c in answer.codes] == [
        (d.id, d.status.get_byte_as_int()) for d in oracle.dtcs
    ]
    assert answer.availability_mask == oracle.status_availability.get_byte_as_int() == mask


@given(bytes_, st.sampled_from([0, 1, 2, 3, 4]), st.integers(0, 0xFFFF))
def test_counts(mask, dtc_format, total):
    payload = bytes([0x59, 0x01, mask, dtc_format]) + total.to_bytes(2, "big")
    answer, oracle = parse_dtc_answer(payload, {}), by_udsoncan(payload).service_data
    assert (answer.availability_mask, answer.dtc_format, answer.total) == (
        oracle.status_availability.get_byte_as_int(), oracle.dtc_format, oracle.dtc_count
    )  # fmt: skip


@given(st.lists(st.tuples(dtcs, bytes_), max_size=20))
def test_snapshot_identification(records):
    payload = b"\x59\x03" + b"".join(dtc + bytes([number]) for dtc, number in records)
    found = {
        int.from_bytes(c.dtc, "big"): [int(n, 16) for n in dict(c.details)["snapshots stored"].split(", ")]
        for c in parse_dtc_answer(payload, {}).codes
    }
    assert found == {d.id: d.snapshots for d in by_udsoncan(payload).service_data.dtcs}


@given(dtcs, bytes_, st.dictionaries(st.integers(0, 0xFFFF), st.integers(0, 20), min_size=1, max_size=5), st.data())
def test_snapshots_whose_identifiers_are_known(dtc, status, sizes, data):
    records = data.draw(
        st.lists(st.lists(st.sampled_from(sorted(sizes)), min_size=1, max_size=4, unique=True), min_size=1, max_size=3)
    )
    payload, expected = b"\x59\x04" + dtc + bytes([status]), []
    for number, dids in enumerate(records, 1):
        payload += bytes([number, len(dids)])
        for did in dids:
            value = data.draw(st.binary(min_size=sizes[did], max_size=sizes[did]))
            payload += did.to_bytes(2, "big") + value
            expected.append((number, did, value))
    (code,) = parse_dtc_answer(payload, sizes).codes
    assert code.details == tuple((f"snapshot {n:02X}, DID {did:04X}", value.hex()) for n, did, value in expected)

    class Raw(udsoncan.DidCodec):
        def __init__(self, size):
            self.size = size

        def decode(self, payload):
            return payload

        def __len__(self):
            return self.size

    options = {"dtc_snapshot_did_size": 2, "didconfig": {did: Raw(size) for did, size in sizes.items()}}
    (oracle,) = by_udsoncan(payload, **options).service_data.dtcs
    assert (oracle.id, oracle.status.get_byte_as_int()) == (int.from_bytes(code.dtc, "big"), code.status)
    assert [(s.record_number, s.did, s.raw_data) for s in oracle.snapshots] == expected


@given(dtcs, bytes_, st.binary(max_size=40), st.dictionaries(st.integers(0, 0xFFFF), st.integers(0, 9), max_size=3))
def test_no_byte_of_a_snapshot_or_of_extended_data_is_lost(dtc, status, data, sizes):
    for sub_function in (0x04, 0x06):
        (code,) = parse_dtc_answer(bytes([0x59, sub_function]) + dtc + bytes([status]) + data, sizes).codes
        shown = sum(len(value) // 2 for _, value in code.details)
        heads = (
            sum(2 if "DID " in key else 0 for key, _ in code.details)
            + len({k.split(",")[0] for k, _ in code.details}) * 2
        )
        assert shown <= len(data) <= shown + heads + 2


@pytest.mark.parametrize(
    ("dtc", "dtc_format", "code"),
    [
        ("c10087", 0, "U0100-87"),
        ("030100", None, "P0301-00"),
        ("030100", 1, "P0301-00"),
        ("52341a", 4, "C1234-1A"),
        ("640001", 2, "SPN100/FMI1"),
        ("ffffff", 2, "SPN524287/FMI31"),
        ("0a1b2c", 3, "DTC_0A1B2C"),
    ],
)
def test_texts_of_codes(dtc, dtc_format, code):
    assert uds_dtc_text(bytes.fromhex(dtc), dtc_format) == code


@given(bytes_)
def test_status_bits_are_those_of_udsoncan(status):
    oracle = udsoncan.Dtc.Status()
    oracle.set_byte(status)
    texts = {
        "test failed": oracle.test_failed,
        "failed this operation cycle": oracle.test_failed_this_operation_cycle,
        "pending": oracle.pending,
        "confirmed": oracle.confirmed,
        "not tested since clearing": oracle.test_not_completed_since_last_clear,
        "failed since clearing": oracle.test_failed_since_last_clear,
        "not tested this operation cycle": oracle.test_not_completed_this_operation_cycle,
        "warning indicator requested": oracle.warning_indicator_requested,
    }
    assert status_text(status) == (", ".join(t for t, is_set in texts.items() if is_set) or "no status bit set")


ECUS = {0x7E8: 0x7E0, 0x7E9: 0x7E1, 0x18DAF110: 0x18DA10F1, 0x18CEF110: 0x18CE10F1}


@settings(max_examples=60)
@given(data=st.data())
def test_whole_lists_become_events_and_the_others_are_counted(data, can, can_table, spoken, find):
    frames, expected, incomplete = [], {}, Counter()
    for response_id in data.draw(st.lists(st.sampled_from(sorted(ECUS)), min_size=1, unique=True)):
        for n in range(data.draw(st.integers(1, 3))):
            records = data.draw(st.dictionaries(dtcs, bytes_, max_size=12))
            payload = b"\x59\x02\xff" + b"".join(dtc + bytes([status]) for dtc, status in records.items())
            answer = spoken(20 * n * S + data.draw(st.integers(0, S)), response_id, payload)
            if response_id == 0x18CEF110:
                answer = [
                    f._replace(payload=b"\x07" + f.payload) for f in spoken_mixed(can, answer[0].time_ns, payload)
                ]
            lost = data.draw(st.integers(-2, len(answer) - 1))
            ecu = f"0x{response_id:X}" + (" AE 0x07" if response_id == 0x18CEF110 else "")
            if lost < 0:
                for dtc, status in records.items():
                    if status & FAULT_BITS:
                        expected[ecu, uds_dtc_text(dtc, None)] = status
            elif lost > 0:
                incomplete[ecu] += 1
            frames += [f for k, f in enumerate(answer) if k != lost]
    found = find(can_table(data.draw(st.permutations(frames))))
    events = events_of(found, "ecu", "code", "occurrence", "dtc_status")
    # The latest activation has the latest status.
    assert {(ecu, code): status for ecu, code, _, status in sorted(events)} == expected
    reported = {
        n.split(": ")[0].removeprefix("CAN1 "): int(n.split(": ")[1].split()[0])
        for n in found.notes
        if "incomplete" in n
    }
    assert reported == dict(incomplete)


def spoken_mixed(can, time_ns, payload):
    """ISO-TP frames with one byte less room, for the address extension."""
    if len(payload) <= 6:
        return [can(time_ns, 0x18CEF110, bytes([len(payload)]) + payload)]
    frames = [(0x1000 | len(payload)).to_bytes(2, "big") + payload[:5]]
    frames += [bytes([0x20 | n % 16]) + payload[at : at + 6] for n, at in enumerate(range(5, len(payload), 6), 1)]
    return [can(time_ns + 10_000_000 * n, 0x18CEF110, frame) for n, frame in enumerate(frames)]


def talk(spoken, *exchanges):
    """Frames of (second, request or None, answer or None), in hex."""
    frames = []
    for second, request, answer in exchanges:
        frames += spoken(second * S, 0x7E0, request) if request else []
        frames += spoken(second * S + S // 100, 0x7E8, answer) if answer else []
    return frames


MISFIRE = "030100"
LIST, LIST_CONFIRMED, LIST_PENDING = "1902ff", "190208", "190204"


@pytest.mark.parametrize(
    ("status", "words", "rule", "severity"),
    [
        ("89", "active", "uds: warning indicator requested", "error"),
        ("88", "confirmed", "uds: warning indicator requested", "error"),
        ("2f", "active", "dictionary: P0301-00 Misfires in cylinder 1", "error"),
        ("01", "active", "uds: test failed now, not confirmed", "warning"),
        ("2c", "confirmed", "uds: confirmed, not failing now", "warning"),
        ("64", "pending", "uds: pending, not failing now", "info"),
    ],
)
def test_what_the_status_byte_decides(status, words, rule, severity, can_table, spoken, find):
    found = find(can_table(talk(spoken, (0, LIST, f"5902ff{MISFIRE}{status}"))))
    assert events_of(found, "code", "status", "severity_rule", "severity", "dtc_status", "ecu") == [
        ("P0301-00", words, rule, severity, int(status, 16), "0x7E8")
    ]


@pytest.mark.parametrize("status", ["00", "50", "52", "20", "70"])
def test_a_code_without_a_fault_bit_is_no_event(status, can_table, spoken, find):
    found = find(can_table(talk(spoken, (0, "190a", f"590aff{MISFIRE}{status}"))))
    assert found.events.is_empty()
    assert found.notes == ()


def test_bits_that_the_ecu_does_not_support_are_not_looked_at(can_table, spoken, find):
    found = find(can_table(talk(spoken, (0, LIST, f"590208{MISFIRE}ff"))))
    assert events_of(found, "dtc_status", "severity_rule") == [(8, "uds: confirmed, not failing now")]


@pytest.mark.parametrize(
    ("between", "occurrences"),
    [
        ((LIST, f"5902ff{MISFIRE}50"), 2),  # listed as passed
        ((LIST, "5902ff"), 2),  # not listed
        ((LIST_CONFIRMED, "5902ff"), 2),  # not among the confirmed codes, and it was one
        ((LIST_PENDING, "5902ff"), 1),  # not pending, and it was not
        ((None, "5902ff"), 2),  # request not recorded
        ((LIST, f"5902ff{MISFIRE}08"), 1),
        (("190b", "590bff"), 1),
        (("1904c10087ff", "5904c1008708"), 1),  # about another code
        (("14ffffff", "54"), 2),
        (("14ffff33", "54"), 2),
        (("14000000", "54"), 2),
        (("14030100", "54"), 2),
        (("14c00000", "54"), 1),
        (("14c10087", "54"), 1),
        (("14ffffff", "7f1422"), 1),
        (("14ffffff", None), 1),
    ],
)
def test_what_ends_a_code(between, occurrences, can_table, spoken, find):
    there = f"5902ff{MISFIRE}09"
    found = find(can_table(talk(spoken, (0, LIST, there), (60, *between), (120, LIST, there))))
    mine = [row for row in events_of(found, "code", "occurrence") if row[0] == "P0301-00"]
    assert len(mine) == occurrences


def test_a_snapshot_and_extended_data_come_with_the_code(can_table, spoken, find):
    found = find(
        can_table(
            talk(
                spoken,
                (0, "220d01", "620d0155"),
                (1, LIST, f"5902ff{MISFIRE}09"),
                (2, "1903", f"5903{MISFIRE}01{MISFIRE}02"),
                (3, f"1904{MISFIRE}01", f"5904{MISFIRE}0901020d01660d02abcd"),
                (4, f"1904{MISFIRE}02", f"5904{MISFIRE}0902020d03660d02abcd"),
                (5, f"1906{MISFIRE}ff", f"5906{MISFIRE}090112"),
            )
        )
    )
    assert found.notes == ()
    ((details, frames, text),) = events_of(found, "details", "frame_count", "message")
    assert {d["key"]: d["value"] for d in details} == {
        "snapshots stored": "01, 02",
        "snapshot 01, DID 0D01": "66",
        "snapshot 01, DID 0D02": "abcd",
        "snapshot 02, 2 DIDs": "0d03660d02abcd",
        "extended data 01": "12",
    }
    assert (frames, text) == (4, "test failed, confirmed")


def test_codes_in_the_format_of_j1939(can_table, spoken, find):
    found = find(can_table(talk(spoken, (0, "190108", "5901ff020001"), (1, LIST_CONFIRMED, "5902ff64000109"))))
    assert events_of(found, "code") == [("SPN100/FMI1",)]


@pytest.mark.parametrize(
    ("group", "message", "occurrences"),
    [
        ("640001", "SPN100/FMI1 cleared", 2),
        ("640002", "SPN100/FMI2 cleared", 1),
        ("400000", "SPN64/FMI0 cleared", 1),  # no group of a system
        ("ffffff", "all codes cleared", 2),
    ],
)
def test_clearing_goes_by_the_format_of_the_ecu(group, message, occurrences, can_table, spoken, find):
    lists = [(at, LIST_CONFIRMED, "5902ff64000109") for at in (1, 3)]
    found = find(can_table(talk(spoken, *lists, (2, "14" + group, "54"), (4, "190108", "5901ff020001"))))
    assert len(events_of(found, "code")) == occurrences
    assert found.events.filter(found.events["code"] == "UDS_CLEAR")["message"].to_list() == [message]


def test_what_could_not_be_read_is_noted(can_table, spoken, find):
    found = find(
        can_table(
            talk(
                spoken,
                (0, "190108", "5901ff000003"),
                (1, "1942", "59423308"),
                (2, "1903", f"5903{MISFIRE}01"),
                (3, None, "59"),
            )
        )
    )
    assert found.notes == (
        "CAN1 0x7E8: 1 ReadDTCInformation answers without a sub-function could not be read and were left out.",
        "CAN1 0x7E8: 1 ReadDTCInformation answers of sub-function 0x42 could not be read and were left out.",
        "CAN1 0x7E8: counts 3 codes for status mask 0x08, but no list of codes was recorded.",
        "CAN1 0x7E8: 1 codes have snapshots, but no answer says that they are faults.",
    )


def test_clearings_are_events(can_table, spoken, find):
    frames = talk(spoken, (0, "14ffffff", "54"), (1, "14ffffff", "54"), (2, None, "54"), (3, "14c10087", "54"))
    events = find(can_table(frames)).events
    assert events.select("code", "source", "status", "occurrence", "message", "severity").rows() == [
        ("UDS_CLEAR", "uds_clear", "occurred", 1, "all codes cleared", "info"),
        ("UDS_CLEAR", "uds_clear", "occurred", 2, "all codes cleared", "info"),
        # The latest request of this service is still the one that it may answer.
        ("UDS_CLEAR", "uds_clear", "occurred", 3, "all codes cleared", "info"),
        ("UDS_CLEAR", "uds_clear", "occurred", 4, "U0100-87 cleared", "info"),
    ]
