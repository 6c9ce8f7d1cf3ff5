"""ISO-TP answers that the can-isotp package sent, with frames of several ECUs mixed and some lost."""

from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.faults.can import TIME_ORDER, data_frames
from argus_assets.faults.isotp import reassemble
from argus_assets.faults.obd import WANTED

isotp = pytest.importorskip("isotp", reason="can-isotp is not installed; it is the oracle of these tests")

MS = 1_000_000
ECUS = [0x7E8, 0x7E9, 0x7EF, 0x18DAF110, 0x18DAF1FE]


def sent_by_can_isotp(arbitration_id: int, payload: bytes, *, can_fd: bool) -> list[bytes]:
    """The data frames that can-isotp's sender makes, its receiver granting them."""
    extended = arbitration_id > 0x7FF
    peer = 0x18DA10F1 if extended else 0x7E0
    mode = isotp.AddressingMode.Normal_29bits if extended else isotp.AddressingMode.Normal_11bits
    to_tester, to_ecu = deque(), deque()
    data = []

    def send(message):
        data.append(bytes(message.data))
        to_tester.append(message)

    def take(queue):
        return lambda timeout=0.0: queue.popleft() if queue else None

    def layer(rx, tx, rxid, txid):
        params = {"can_fd": can_fd, "tx_data_length": 64 if can_fd else 8, "stmin": 0, "blocksize": 0}
        return isotp.TransportLayerLogic(rx, tx, isotp.Address(mode, rxid=rxid, txid=txid), params=params)

    ecu = layer(take(to_ecu), send, peer, arbitration_id)
    tester = layer(take(to_tester), to_ecu.append, arbitration_id, peer)
    ecu.send(payload)
    for _ in range(1000):
        ecu.process()
        tester.process()
        if tester.available():
            assert tester.recv() == payload
            return data
    raise AssertionError("can-isotp did not deliver its own message")


@st.composite
def answers(draw) -> list[tuple[int, bytes, list[bytes], frozenset[int], int]]:
    """(identifier, payload, frames, positions lost, start in ms)."""
    sent = []
    can_fd = draw(st.booleans())
    for arbitration_id in draw(st.lists(st.sampled_from(ECUS), min_size=1, max_size=3, unique=True)):
        start = 0
        for _ in range(draw(st.integers(1, 4))):
            payload = draw(st.binary(min_size=1, max_size=draw(st.sampled_from([7, 40, 150]))))
            frames = sent_by_can_isotp(arbitration_id, payload, can_fd=can_fd)
            lost = draw(st.just(frozenset()) | st.frozensets(st.integers(0, len(frames) - 1), max_size=2))
            sent.append((arbitration_id, payload, frames, lost, start))
            # Later than N_Cr after the last frame.
            start += 10 * len(frames) + draw(st.integers(1001, 2000))
    return sent


@given(sent=answers(), data=st.data())
def test_whole_answers_are_found_and_the_others_counted(sent, data, can, can_table):
    frames = [
        can((start + 10 * n) * MS, arbitration_id, frame)
        for arbitration_id, _, all_frames, lost, start in sent
        for n, frame in enumerate(all_frames)
        if n not in lost
    ]
    rows = data_frames(can_table(data.draw(st.permutations(frames))), WANTED).collect().sort(TIME_ORDER)

    found = reassemble(rows)

    expected = Counter((can_id, payload) for can_id, payload, _, lost, _ in sent if not lost)
    assert Counter(found.messages.select("arbitration_id", "payload").iter_rows()) == expected
    begun = [(frames, lost) for _, _, frames, lost, _ in sent if len(frames) > 1 and 0 not in lost]
    assert found.multi_frame.height == len(begun)
    assert (~found.multi_frame["complete"]).sum() == sum(bool(lost) for _, lost in begun)


def test_a_new_answer_ends_one_that_is_not_complete(can, can_table):
    frames = [can(0, 0x7E8, bytes.fromhex("100a430401010102")), can(MS, 0x7E8, bytes.fromhex("024300"))]
    frames.append(can(2 * MS, 0x7E8, bytes.fromhex("2101030104")))
    found = reassemble(data_frames(can_table(frames), WANTED).collect().sort(TIME_ORDER))
    assert found.messages["payload"].to_list() == [bytes.fromhex("4300")]
    assert found.multi_frame["complete"].to_list() == [False]


def test_a_consecutive_frame_after_the_time_out_does_not_count(can, can_table):
    frames = [can(0, 0x7E8, bytes.fromhex("100a430401010102")), can(1001 * MS, 0x7E8, bytes.fromhex("2101030104"))]
    found = reassemble(data_frames(can_table(frames), WANTED).collect().sort(TIME_ORDER))
    assert found.messages.is_empty()
    assert found.multi_frame["complete"].to_list() == [False]


def test_consecutive_frames_of_a_lost_first_frame_do_not_end_up_in_the_answer_before(can, can_table):
    frames = [b"\x10\x14" + bytes(6), b"\x21" + bytes(7), b"\x21" + b"\x01" * 7, b"\x22" + b"\x01" * 7]
    rows = data_frames(can_table(can(n * MS, 0x7E8, f) for n, f in enumerate(frames)), WANTED).collect()
    found = reassemble(rows)
    assert found.messages.is_empty()
    assert found.multi_frame["complete"].to_list() == [False]


@given(payloads=st.lists(st.binary(max_size=64), max_size=30))
def test_any_bytes_are_survived(payloads, can, can_table):
    rows = data_frames(can_table(can(n * MS, 0x7E8, p) for n, p in enumerate(payloads)), WANTED).collect()
    found = reassemble(rows.sort(TIME_ORDER))
    assert found.messages["payload"].bin.size().sum() <= sum(map(len, payloads))
