"""Who is asked by whom, and which identifiers carry UDS by the traffic's proof."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.faults.can_frames import data_frames
from argus_assets.faults.config import default_config
from argus_assets.faults.uds_obd import detector
from argus_assets.faults.uds_obd.addressing import DEFAULT, Addressing, wanted
from argus_assets.faults.uds_obd.addressing_proof import prove
from tests.support.empty_drive import EMPTY_DRIVE

S = 1_000_000_000
CODES = "5902ff03010009"


def found_in(can_table, frames, addressings=DEFAULT):
    config = replace(default_config(), addressings=tuple(addressings))
    return detector.find(EMPTY_DRIVE, detector.wanted(can_table(frames), config).collect(), config)


def session(spoken, request_id, response_id, start_s=0):
    """A tester opens a session and reads the codes."""
    frames = []
    for n, (request, answer) in enumerate(
        [("1003", "5003003201f4"), ("1902ff", CODES), ("22f190", "62f190" + "41" * 17)]
    ):
        frames += spoken((start_s + n) * S, request_id, request)
        frames += spoken((start_s + n) * S + S // 50, response_id, answer)
    return frames


@pytest.mark.parametrize(
    ("request_id", "response_id"), [(0x710, 0x77A), (0x7A0, 0x7A8), (0x612, 0x692), (0x7DF, 0x77E)]
)
def test_a_pair_is_proven_by_its_exchanges(request_id, response_id, can_table, spoken):
    found = found_in(can_table, session(spoken, request_id, response_id))
    assert found.events.select("code", "ecu").rows() == [("P0301-00", f"0x{response_id:X}")]
    assert found.notes == ()


def test_ecus_that_are_asked_at_once_are_all_proven(can_table, spoken):
    pairs = [(0x710, 0x77A), (0x711, 0x77B), (0x712, 0x77C)]
    found = found_in(can_table, [f for pair in pairs for f in session(spoken, *pair)])
    assert found.events["ecu"].to_list() == ["0x77A", "0x77B", "0x77C"]


def test_one_exchange_is_not_enough_and_is_noted(can_table, spoken):
    frames = spoken(0, 0x710, "1902ff") + spoken(S, 0x77A, CODES)
    found = found_in(can_table, frames)
    assert found.events.is_empty()
    (note,) = found.notes
    assert note.startswith("0x710 and 0x77A look like UDS (1 of the 2 exchanges that prove it)")
    assert found_in(can_table, frames, (Addressing(request_id=0x710, response_id=0x77A),)).events.height == 1


def test_an_exchange_that_a_gateway_repeats_on_another_channel_counts_once(can_table, spoken):
    frames = spoken(0, 0x710, "1902ff") + spoken(S, 0x77A, CODES)
    assert found_in(can_table, frames + [f._replace(channel="CAN2") for f in frames]).events.is_empty()


def test_a_frame_that_is_not_isotp_is_against_the_proof(can, can_table, spoken):
    frames = session(spoken, 0x710, 0x77A)
    assert found_in(can_table, [*frames, can(9 * S, 0x77A, b"\x4a" + bytes(7))]).events.is_empty()


def test_answers_that_nobody_asked_for_prove_nothing(can_table, spoken):
    frames = [f for n in range(9) for f in spoken(n * S, 0x77A, CODES)]
    assert found_in(can_table, frames).events.is_empty()


def test_answers_that_repeat_something_else_prove_nothing(can_table, spoken):
    frames = [f for n in range(9) for f in spoken(n * S, 0x710, "22f190") + spoken(n * S + 1, 0x77A, "62f18c01")]
    assert found_in(can_table, frames).events.is_empty()


@settings(max_examples=30)
@given(sent=st.lists(st.tuples(st.integers(0x600, 0x60F), st.binary(max_size=8)), max_size=200))
def test_random_frames_prove_nothing(sent, can, can_table):
    rows = data_frames(can_table(can(n * 1000, i, p) for n, (i, p) in enumerate(sent)), wanted()).collect()
    assert prove(rows, DEFAULT)[0] == ()


@pytest.mark.parametrize(
    ("request_id", "response_id", "address", "label"),
    [
        (0x18DA10F1, 0x18DAF110, None, "0x18DAF110"),
        (0x18DB33F1, 0x18DAF110, None, "0x18DAF110"),
        (0x1CDA10FA, 0x1CDAFA10, None, "0x1CDAFA10"),
        (0x18CE10F1, 0x18CEF110, 0x07, "0x18CEF110 AE 0x07"),
        (0x18CDFFF1, 0x18CEF110, 0x07, "0x18CEF110 AE 0x07"),
        (0x7DF, 0x7EB, None, "0x7EB"),
        (0x7E3, 0x7EB, None, "0x7EB"),
    ],
)
def test_an_answer_finds_its_request(request_id, response_id, address, label, can, can_table):
    """A list of pending codes does not end a confirmed one, which only its request shows."""

    def say(second, can_id, payload):
        data = bytes([len(payload) // 2]) + bytes.fromhex(payload)
        return can(second * S, can_id, data if address is None else bytes([address]) + data)

    there = "5902ff03010008"[:14]
    frames = [say(0, response_id, there[:14])] if address is None else []
    # With one byte less for the address a list of one code takes two frames.
    if address is not None:
        frames = [
            can(0, response_id, bytes([address, 0x10, 7]) + bytes.fromhex(there[:10])),
            can(1, response_id, bytes([address, 0x21]) + bytes.fromhex(there[10:])),
        ]
    again = [f._replace(time_ns=f.time_ns + 20 * S) for f in frames]
    asked = [say(10, request_id, "190204"), say(11, response_id, "5902ff")]
    events = found_in(can_table, [*frames, *asked, *again]).events
    assert events.select("ecu", "frame_count").rows() == [(label, 2)]
    events = found_in(can_table, [*frames, asked[1], *again]).events
    assert events["frame_count"].to_list() == [1, 1]


def test_configured_addressings_have_names_and_bytes_of_their_own(can, can_table):
    own = (
        Addressing(
            request_id=0x6F1, response_id=0x612, mode="extended", request_address=0x12, response_address=0xF1,
            ecu_name="engine",
        ),
        Addressing(
            request_id=0x6F1, response_id=0x640, mode="extended", request_address=0x40, response_address=0xF1,
            ecu_name="access",
        ),
        Addressing(request_id=0x7E0, response_id=0x7E8, ecu_name="gateway"),
        Addressing(request_id=0x18DA10F1, response_id=0x18DAF110, ecu_name="brakes"),
    )  # fmt: skip
    frames = [
        can(0, 0x612, bytes.fromhex("f1037f1131")),
        can(1, 0x640, bytes.fromhex("f1037f1131")),
        can(2, 0x640, bytes.fromhex("40037f1131")),
        can(3, 0x7E8, bytes.fromhex("037f1131")),
        can(4, 0x18DAF110, bytes.fromhex("037f1131")),
    ]
    events = found_in(can_table, frames, (*DEFAULT, *own)).events
    assert sorted(events.select("ecu", "ecu_name", "frame_count").rows()) == [
        ("0x18DAF110", "brakes", 1),
        ("0x612", "engine", 1),
        ("0x640", "access", 1),
        ("0x7E8", "gateway", 1),
    ]


def test_channels_do_not_mix(can_table, spoken):
    frames = spoken(0, 0x7E8, "5902ff0301000903020009")
    moved = [f._replace(channel=f"CAN{1 + n}") for n, f in enumerate(frames)]
    found = found_in(can_table, moved)
    assert found.events.is_empty()
    assert len(found.notes) == 2


def test_what_was_lost_is_reported_by_sender(can, can_table):
    own = (Addressing(request_id=0x6F1, response_id=0x612, mode="extended", request_address=0x12),)
    frames = [can(0, 0x6F1, bytes.fromhex("12100a2ef190")), can(1, 0x612, bytes.fromhex("f1100a5902ff"))]
    assert found_in(can_table, frames, own).notes == tuple(
        f"CAN1 {sender}: 1 of 1 messages of several frames (ISO-TP) are incomplete (lost or late frames) and were left out."
        for sender in ("0x612", "0x6F1 TA 0x12")
    )
