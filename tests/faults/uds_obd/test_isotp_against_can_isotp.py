"""ISO-TP messages that the can-isotp package sent, with frames of several senders mixed and some lost."""

from collections import Counter, deque
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.faults.can_frames import TIME_ORDER, data_frames
from argus_assets.faults.config import default_config
from argus_assets.faults.uds_obd.addressing import DEFAULT, Addressing, by_sender, wanted
from argus_assets.faults.uds_obd.detector import find
from argus_assets.faults.uds_obd.isotp import reassemble
from tests.support.empty_drive import EMPTY_DRIVE

isotp = pytest.importorskip("isotp", reason="can-isotp is not installed; it is the oracle of these tests")

MS = 1_000_000
MODE = isotp.AddressingMode
OWN = (
    Addressing(request_id=0x6F1, response_id=0x612, mode="extended", request_address=0x12, response_address=0xF1),
    Addressing(request_id=0x6F1, response_id=0x640, mode="extended", request_address=0x40, response_address=0xF1),
    Addressing(request_id=0x710, response_id=0x77A, mode="mixed", request_address=0x21, response_address=0x21),
    Addressing(request_id=0x710, response_id=0x77A, mode="mixed", request_address=0x22, response_address=0x22),
    Addressing(request_id=0x1BFF0101, response_id=0x1BFF0202, mode="extended", request_address=2, response_address=1),
)
ALL = (*DEFAULT, *OWN)
ENDS = {
    "CAN1 0x7E8": (isotp.Address(MODE.Normal_11bits, txid=0x7E8, rxid=0x7E0), 0x7E8),
    "CAN1 0x7EF": (isotp.Address(MODE.Normal_11bits, txid=0x7EF, rxid=0x7E7), 0x7EF),
    "CAN1 0x7E1": (isotp.Address(MODE.Normal_11bits, txid=0x7E1, rxid=0x7E9), 0x7E1),
    "CAN1 0x18DAF110": (isotp.Address(MODE.NormalFixed_29bits, source_address=0x10, target_address=0xF1), 0x18DAF110),
    "CAN1 0x18DAFAFE": (isotp.Address(MODE.Normal_29bits, txid=0x18DAFAFE, rxid=0x18DAFEFA), 0x18DAFAFE),
    "CAN1 0x612": (
        isotp.Address(MODE.Extended_11bits, txid=0x612, rxid=0x6F1, source_address=0x12, target_address=0xF1), 0x612
    ),
    "CAN1 0x640": (
        isotp.Address(MODE.Extended_11bits, txid=0x640, rxid=0x6F1, source_address=0x40, target_address=0xF1), 0x640
    ),
    "CAN1 0x1BFF0202": (
        isotp.Address(MODE.Extended_29bits, txid=0x1BFF0202, rxid=0x1BFF0101, source_address=2, target_address=1),
        0x1BFF0202,
    ),
    "CAN1 0x77A AE 0x21": (
        isotp.Address(MODE.Mixed_11bits, txid=0x77A, rxid=0x710, address_extension=0x21), 0x77A
    ),
    "CAN1 0x77A AE 0x22": (
        isotp.Address(MODE.Mixed_11bits, txid=0x77A, rxid=0x710, address_extension=0x22), 0x77A
    ),
    "CAN1 0x18CEF130 AE 0x05": (
        isotp.Address(MODE.Mixed_29bits, source_address=0x30, target_address=0xF1, address_extension=5), 0x18CEF130
    ),
}  # fmt: skip
"""Sender by its name: its end of the connection in every addressing mode, and the identifier that it sends with."""


def other_end(address):
    """The address of who receives what this address sends."""
    return isotp.Address(
        address._addressing_mode,  # noqa: SLF001 - no public name in can-isotp
        txid=address._rxid,  # noqa: SLF001 - no public name in can-isotp
        rxid=address._txid,  # noqa: SLF001 - no public name in can-isotp
        source_address=address._target_address,  # noqa: SLF001 - no public name in can-isotp
        target_address=address._source_address,  # noqa: SLF001 - no public name in can-isotp
        address_extension=address._address_extension,  # noqa: SLF001 - no public name in can-isotp
    )


def sent_by_can_isotp(address, payload: bytes, *, can_fd: bool) -> tuple[list[bytes], list[tuple[int, bytes]]]:
    """The frames that can-isotp's sender makes, and the flow control that its receiver grants them with."""
    to_receiver, to_sender = deque(), deque()
    data, granted = [], []

    def send(message):
        data.append(bytes(message.data))
        to_receiver.append(message)

    def grant(message):
        granted.append((message.arbitration_id, bytes(message.data)))
        to_sender.append(message)

    def take(queue):
        return lambda timeout=0.0: queue.popleft() if queue else None

    def layer(rx, tx, own):
        params = {"can_fd": can_fd, "tx_data_length": 64 if can_fd else 8, "stmin": 0, "blocksize": 4}
        return isotp.TransportLayerLogic(rx, tx, own, params=params)

    sender = layer(take(to_sender), send, address)
    receiver = layer(take(to_receiver), grant, other_end(address))
    sender.send(payload)
    for _ in range(1000):
        sender.process()
        receiver.process()
        if receiver.available():
            assert receiver.recv() == payload
            return data, granted
    raise AssertionError("can-isotp did not deliver its own message")


@st.composite
def conversations(draw):
    """(sender, payload, frames, positions lost, start in ms), and the flow control as (id, payload)."""
    sent, grants = [], []
    can_fd = draw(st.booleans())
    for sender in draw(st.lists(st.sampled_from(sorted(ENDS)), min_size=1, max_size=4, unique=True)):
        start = 0
        for _ in range(draw(st.integers(1, 3))):
            payload = draw(st.binary(min_size=1, max_size=draw(st.sampled_from([7, 40, 150]))))
            frames, granted = sent_by_can_isotp(ENDS[sender][0], payload, can_fd=can_fd)
            lost = draw(st.just(frozenset()) | st.frozensets(st.integers(0, len(frames) - 1), max_size=2))
            sent.append((sender, payload, frames, lost, start))
            grants += [(start + 10 * n + 5, *frame) for n, frame in enumerate(granted)]
            # Later than N_Cr after the last frame.
            start += 10 * len(frames) + draw(st.integers(1001, 2000))
    return sent, grants


def reassembled(rows, addressings=ALL):
    """Reassemble, and messages by the names of their senders."""
    sent = by_sender(rows.sort(TIME_ORDER), addressings)
    found = reassemble(sent.frames)
    return found, [(sent.names[s], p) for s, p in found.messages.select("sender", "payload").iter_rows()]


@settings(max_examples=60)
@given(conversation=conversations(), data=st.data())
def test_whole_messages_of_all_addressing_modes_are_found_and_the_others_counted(conversation, data, can, can_table):
    sent, grants = conversation
    frames = [
        can((start + 10 * n) * MS, ENDS[sender][1], frame)
        for sender, _, all_frames, lost, start in sent
        for n, frame in enumerate(all_frames)
        if n not in lost
    ] + [can(at * MS, can_id, frame) for at, can_id, frame in grants]
    rows = data_frames(can_table(data.draw(st.permutations(frames))), wanted(ALL)).collect()

    found, messages = reassembled(rows)

    assert Counter(messages) == Counter((sender, payload) for sender, payload, _, lost, _ in sent if not lost)
    begun = [(frames, lost) for _, _, frames, lost, _ in sent if len(frames) > 1 and 0 not in lost]
    assert found.multi_frame.height == len(begun)
    assert (~found.multi_frame["complete"]).sum() == sum(bool(lost) for _, lost in begun)
    headless = sum(len(frames) - len(lost) for _, _, frames, lost, _ in sent if 0 in lost)
    assert found.orphans["frames"].sum() == headless


FIRST, NEXT, LAST = "1014590201010203", "2104050607080910", "2211121314151617"
GRANT, WAIT, OVERFLOW = "3000000000000000", "3100000000000000", "3200000000000000"


def rows_of(can, can_table, frames):
    """Frames as (ms, identifier, hex)."""
    table = can_table(can(at * MS, can_id, bytes.fromhex(payload)) for at, can_id, payload in frames)
    return data_frames(table, wanted(ALL)).collect()


def test_a_new_message_ends_one_that_is_not_complete(can, can_table):
    frames = [(0, 0x7E8, FIRST), (1, 0x7E8, "024300"), (2, 0x7E8, NEXT)]
    found, messages = reassembled(rows_of(can, can_table, frames))
    assert messages == [("CAN1 0x7E8", bytes.fromhex("4300"))]
    assert found.multi_frame["complete"].to_list() == [False]
    assert found.orphans["frames"].to_list() == [1]


def test_a_consecutive_frame_after_the_time_out_does_not_count(can, can_table):
    found, messages = reassembled(
        rows_of(can, can_table, [(0, 0x7E8, FIRST), (1001, 0x7E8, NEXT), (1002, 0x7E8, LAST)])
    )
    assert messages == []
    assert found.multi_frame["complete"].to_list() == [False]


def test_a_receiver_that_asks_to_wait_starts_the_time_anew(can, can_table):
    frames = [(0, 0x7E8, FIRST), (900, 0x7E0, WAIT), (1800, 0x7E0, GRANT), (2700, 0x7E8, NEXT), (2701, 0x7E8, LAST)]
    found, messages = reassembled(rows_of(can, can_table, frames))
    assert len(messages) == 1
    assert found.multi_frame["complete"].to_list() == [True]


@pytest.mark.parametrize("wrong", ["22", "20", "2f"])
def test_a_wrong_sequence_number_ends_a_message(wrong, can, can_table):
    frames = [(0, 0x7E8, FIRST), (1, 0x7E8, wrong + NEXT[2:]), (2, 0x7E8, NEXT), (3, 0x7E8, LAST)]
    assert reassembled(rows_of(can, can_table, frames))[1] == []


def test_an_overflow_is_reported_as_a_refusal_and_not_as_a_loss(can, can_table):
    frames = [(0, 0x7E8, FIRST), (1, 0x7E0, OVERFLOW), (2, 0x7E8, NEXT), (3, 0x7E8, LAST)]
    found = find(EMPTY_DRIVE, rows_of(can, can_table, frames), default_config())
    refused = "1 of 1 messages of several frames (ISO-TP) were refused by their receiver, which had no room for them."
    assert found.notes == (f"CAN1 0x7E8: {refused}",)


def test_another_testers_flow_control_changes_nothing(can, can_table):
    frames = [(0, 0x7E8, FIRST), (1, 0x7E1, OVERFLOW), (2, 0x7E8, NEXT), (3, 0x7E8, LAST)]
    assert len(reassembled(rows_of(can, can_table, frames))[1]) == 1


def test_a_classic_frame_whose_length_is_zero_is_no_message(can, can_table):
    assert reassembled(rows_of(can, can_table, [(0, 0x7E8, "0006590201000000")]))[1] == []


def test_a_first_frame_with_a_length_of_32_bits(can, can_table):
    payload = bytes(n % 251 for n in range(5000))
    chunks = [payload[at : at + 63] for at in range(58, 5000, 63)]
    frames = [b"\x10\x00" + (5000).to_bytes(4, "big") + payload[:58]]
    frames += [bytes([0x20 | (n + 1) % 16]) + chunk for n, chunk in enumerate(chunks)]
    table = can_table(can(n * MS, 0x18DAF110, frame) for n, frame in enumerate(frames))
    assert reassembled(data_frames(table, wanted()).collect())[1] == [("CAN1 0x18DAF110", payload)]


@pytest.mark.parametrize("size", ["00000000", "ffffffff"])
def test_a_length_that_no_frames_follow_is_only_counted(size, can, can_table):
    found, messages = reassembled(rows_of(can, can_table, [(0, 0x7E8, f"1000{size}5902"), (1, 0x7E8, NEXT)]))
    assert messages == []
    assert found.multi_frame["complete"].to_list() == [False]


def test_consecutive_frames_of_a_lost_first_frame_do_not_end_up_in_the_answer_before(can, can_table):
    frames = [b"\x10\x14" + bytes(6), b"\x21" + bytes(7), b"\x21" + b"\x01" * 7, b"\x22" + b"\x01" * 7]
    rows = data_frames(can_table(can(n * MS, 0x7E8, f) for n, f in enumerate(frames)), wanted()).collect()
    found, messages = reassembled(rows)
    assert messages == []
    assert found.multi_frame["complete"].to_list() == [False]


IDS = [0x7DF, 0x7E0, 0x7E8, 0x612, 0x6F1, 0x77A, 0x700, 0x18DAF110, 0x18DA10F1, 0x18DB33F1, 0x18CEF130, 0x1BFF0202]


@given(sent=st.lists(st.tuples(st.sampled_from(IDS), st.binary(max_size=64)), max_size=30))
def test_any_bytes_are_survived(sent, can, can_table):
    rows = data_frames(can_table(can(n * MS, i, p) for n, (i, p) in enumerate(sent)), wanted(ALL)).collect()
    _, messages = reassembled(rows)
    assert sum(len(p) for _, p in messages) <= sum(len(p) for _, p in sent)
    find(EMPTY_DRIVE, rows, replace(default_config(), addressings=tuple(ALL)))
