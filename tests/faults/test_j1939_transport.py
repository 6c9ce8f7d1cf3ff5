"""DM1 messages → frames in random interleaving, with loss → messages: the whole ones found, the others counted."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.faults.can import TIME_ORDER, data_frames
from argus_assets.faults.j1939 import WANTED
from argus_assets.faults.j1939_tp import reassemble

MS = 1_000_000
PGN_DM1 = 0xFECA
PGN = PGN_DM1.to_bytes(3, "little")


class Sent(NamedTuple):
    """One message, all its frames as (time_ns, id, payload), and the positions of those that are lost."""

    address: int
    payload: bytes
    frames: tuple[tuple[int, int, bytes], ...]
    lost: frozenset[int]

    @property
    def received(self) -> list[tuple[int, int, bytes]]:
        return [frame for n, frame in enumerate(self.frames) if n not in self.lost]

    @property
    def announced(self) -> bool:
        return 0 not in self.lost

    @property
    def complete(self) -> bool:
        """The announcement came, and each packet at least once; the receiver's answers are not needed."""
        return self.announced and packets_in(self.frames) == packets_in(self.received)


def packets_in(frames: Iterable[tuple[int, int, bytes]]) -> set[bytes]:
    return {payload for _, can_id, payload in frames if can_id >> 16 & 0xFF == 0xEB}


def packets(address: int, destination: int, payload: bytes) -> list[tuple[int, bytes]]:
    can_id = 0x1CEB0000 | destination << 8 | address
    parts = [payload[at : at + 7].ljust(7, b"\xff") for at in range(0, len(payload), 7)]
    return [(can_id, bytes([number]) + part) for number, part in enumerate(parts, start=1)]


def broadcast(start_ns: int, address: int, payload: bytes) -> list[tuple[int, int, bytes]]:
    data = packets(address, 0xFF, payload)
    announcement = bytes([32, *len(payload).to_bytes(2, "little"), len(data), 0xFF]) + PGN
    steps = [(0x18ECFF00 | address, announcement), *data]
    return [(start_ns + 50 * MS * n, can_id, data) for n, (can_id, data) in enumerate(steps)]


def connection(
    start_ns: int, address: int, peer: int, payload: bytes, again: frozenset[int]
) -> list[tuple[int, int, bytes]]:
    """RTS, then a CTS for each packet; packets in `again` are asked for twice."""
    data = packets(address, peer, payload)
    from_peer = 0x18EC0000 | address << 8 | peer
    rts = bytes([16, *len(payload).to_bytes(2, "little"), len(data), 0xFF]) + PGN
    steps = [(0x18EC0000 | peer << 8 | address, rts)]
    for number, packet in enumerate(data, start=1):
        for _ in range(2 if number in again else 1):
            steps += [(from_peer, bytes([17, 1, number, 0xFF, 0xFF]) + PGN), packet]
    steps.append((from_peer, bytes([19, *len(payload).to_bytes(2, "little"), len(data), 0xFF]) + PGN))
    return [(start_ns + 20 * MS * n, can_id, data) for n, (can_id, data) in enumerate(steps)]


@st.composite
def messages(draw) -> list[Sent]:
    """Several addresses, each of which sends one message after another, broadcast or to a peer."""
    sent = []
    for address in draw(st.lists(st.integers(0, 200), min_size=1, max_size=4, unique=True)):
        start_ns = draw(st.integers(0, 900)) * MS
        for _ in range(draw(st.integers(1, 4))):
            payload = bytes(2) + draw(st.binary(min_size=8, max_size=60).filter(lambda b: len(b) % 4 == 0))
            if draw(st.booleans()):
                frames = broadcast(start_ns, address, payload)
            else:
                again = draw(st.frozensets(st.integers(1, 9)))
                frames = connection(start_ns, address, 0xF9, payload, again)
            lost = draw(st.just(frozenset()) | st.frozensets(st.integers(0, len(frames) - 1), max_size=2))
            sent.append(Sent(address, payload, tuple(frames), lost))
            # The next DM1 comes a second after this one has ended, and later than any time-out.
            start_ns = frames[-1][0] + draw(st.integers(1300, 3000)) * MS
    return sent


@given(sent=messages(), data=st.data())
def test_whole_messages_are_found_and_the_others_counted(sent, data, can, can_table):
    frames = [can(*f) for m in sent for f in m.received]
    shuffled = data.draw(st.permutations(frames))
    rows = data_frames(can_table(shuffled), WANTED).collect().sort(TIME_ORDER)

    found = reassemble(rows, pgns=[PGN_DM1])

    expected = Counter((m.address, m.payload) for m in sent if m.complete)
    assert Counter(found.messages.select("source_address", "payload").iter_rows()) == expected
    incomplete = sum(m.announced and not m.complete for m in sent)
    assert found.sessions.filter(~found.sessions["complete"]).height == incomplete
    assert found.sessions["complete"].sum() == expected.total()


def test_evidence_is_the_announcing_frame(can, can_table):
    frames = broadcast(7 * MS, 0x0B, bytes(14))
    rows = data_frames(can_table(can(*f) for f in frames), WANTED).collect()
    message = reassemble(rows, pgns=[PGN_DM1]).messages.row(0, named=True)
    assert (message["recording"], message["frame"]) == ("drive.mf4", 0)
    assert message["timestamp"] % 10**9 == 7 * MS


def test_packets_of_a_lost_announcement_do_not_end_up_in_the_message_before(can, can_table):
    first = broadcast(0, 0x0B, b"\x01" * 14)[:1]
    orphans = broadcast(1000 * MS, 0x0B, b"\x02" * 14)[1:]
    rows = data_frames(can_table(can(*f) for f in [*first, *orphans]), WANTED).collect()
    found = reassemble(rows, pgns=[PGN_DM1])
    assert found.messages.is_empty()
    assert found.sessions["complete"].to_list() == [False]


def test_a_broadcast_goes_on_in_order_only(can, can_table):
    """The last packet and the next announcement are lost: packets of the next message come in time, but from 1."""
    first = broadcast(0, 0x0B, b"\x01" * 18)[:3]
    orphans = broadcast(100 * MS, 0x0B, b"\x02" * 18)[1:]
    rows = data_frames(can_table(can(*f) for f in [*first, *orphans]), WANTED).collect()
    found = reassemble(rows, pgns=[PGN_DM1])
    assert found.messages.is_empty()
    assert found.sessions["complete"].to_list() == [False]


@pytest.mark.parametrize("aborting", ["sender", "receiver"])
def test_abort_ends_a_connection(aborting, can, can_table):
    frames = connection(0, 0x00, 0xF9, b"\x01" * 14, frozenset())
    abort_id = 0x18ECF900 if aborting == "sender" else 0x18EC00F9
    abort = (frames[3][0] - 1, abort_id, bytes([255, 1, 0xFF, 0xFF, 0xFF]) + PGN)
    rows = data_frames(can_table(can(*f) for f in sorted([*frames, abort])), WANTED).collect()
    found = reassemble(rows, pgns=[PGN_DM1])
    assert found.messages.is_empty()
    assert found.sessions["complete"].to_list() == [False]


@pytest.mark.parametrize("size", [0, 8, 15, 1786, 0xFFFF])
def test_announced_size_that_does_not_fit_its_packets_is_incomplete(size, can, can_table):
    _, *data = broadcast(0, 0x0B, bytes(14))
    announcement = (0, 0x18ECFF0B, bytes([32, *size.to_bytes(2, "little"), 2, 0xFF]) + PGN)
    rows = data_frames(can_table(can(*f) for f in [announcement, *data]), WANTED).collect()
    found = reassemble(rows, pgns=[PGN_DM1])
    assert found.messages.is_empty()
    assert found.sessions["complete"].to_list() == [False]
