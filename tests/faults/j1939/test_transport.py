"""J1939 messages → frames in random interleaving, with loss → messages: the whole ones found, the others counted."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.faults.can_frames import TIME_ORDER, data_frames
from argus_assets.faults.j1939.detector import WANTED
from argus_assets.faults.j1939.transport import Transported, reassemble
from tests.support.j1939_reference import receive
from tests.support.j1939_sender import MS, TOOL, Frame, abort, broadcast, connection, extended, is_packet

DM1, DM2, COMPONENT_ID = 0xFECA, 0xFECB, 0xFEEB
WANTED_PGNS = [DM1, DM2]


class Sent(NamedTuple):
    """One message, all its frames, and the positions of those that are lost."""

    address: int
    pgn: int
    payload: bytes
    frames: tuple[Frame, ...]
    lost: frozenset[int]

    @property
    def received(self) -> list[Frame]:
        return [frame for n, frame in enumerate(self.frames) if n not in self.lost]

    @property
    def announced(self) -> bool:
        return 0 not in self.lost

    @property
    def complete(self) -> bool:
        """The announcement came, and each packet at least once; the receiver's answers are not needed."""
        return self.announced and packets_in(self.frames) == packets_in(self.received)


def packets_in(frames: Iterable[Frame]) -> set[bytes]:
    return {frame.payload for frame in frames if is_packet(frame)}


@st.composite
def messages(draw) -> list[Sent]:
    """Several addresses, each of which sends one message after another, broadcast or to a peer."""
    sent = []
    for address in draw(st.lists(st.integers(0, 200), min_size=1, max_size=4, unique=True)):
        start_ns = draw(st.integers(0, 900)) * MS
        for _ in range(draw(st.integers(1, 4))):
            pgn = draw(st.sampled_from([DM1, DM2, COMPONENT_ID]))
            payload = draw(st.binary(min_size=9, max_size=60))
            if draw(st.booleans()):
                frames = broadcast(start_ns, pgn, address, payload)
            else:
                frames = connection(start_ns, pgn, address, payload, again=draw(st.frozensets(st.integers(1, 9))))
            lost = draw(st.just(frozenset()) | st.frozensets(st.integers(0, len(frames) - 1), max_size=2))
            sent.append(Sent(address, pgn, payload, tuple(frames), lost))
            # The next one comes after this one has ended, and later than any time-out.
            start_ns = frames[-1].time_ns + draw(st.integers(1300, 3000)) * MS
    return sent


@pytest.fixture(scope="session")
def reassembled(can, can_table):
    def run(frames: Iterable[Frame]) -> Transported:
        rows = data_frames(can_table(can(*f) for f in frames), WANTED).collect().sort(TIME_ORDER)
        return reassemble(rows, pgns=WANTED_PGNS)

    return run


@settings(deadline=None)
@given(sent=messages(), data=st.data())
def test_whole_messages_are_found_and_the_others_counted(sent, data, reassembled):
    shuffled = data.draw(st.permutations([frame for m in sent for frame in m.received]))

    found = reassembled(shuffled)

    wanted = [m for m in sent if m.pgn in WANTED_PGNS]
    expected = Counter((m.address, m.pgn, m.payload) for m in wanted if m.complete)
    assert Counter(found.messages.select("source_address", "pgn", "payload").iter_rows()) == expected
    assert found.sessions["complete"].sum() == expected.total()
    incomplete = sum(m.announced and not m.complete for m in wanted)
    assert found.sessions.height - expected.total() == incomplete


@st.composite
def disorder(draw) -> list[Frame]:
    """Frames of few pairs as no bus would bring them: lost, doubled, late, mixed, aborted, cut short."""
    frames: list[Frame] = []
    for _ in range(draw(st.integers(1, 5))):
        start_ns = draw(st.integers(0, 1500)) * MS
        pgn, address = draw(st.sampled_from([DM1, DM2])), draw(st.sampled_from([0x00, 0x03]))
        # Few distinct bytes, so that packets of different messages are often equal.
        payload = bytes(draw(st.lists(st.sampled_from([0, 1]), min_size=9, max_size=30)))
        make = draw(st.sampled_from([broadcast, connection]))
        frames += make(start_ns, pgn, address, payload)
        if draw(st.booleans()):
            ends = draw(st.permutations([address, TOOL]))
            frames.append(abort(start_ns + draw(st.integers(0, 200)) * MS, pgn, *ends))
    kept = []
    for frame in frames:
        copies = draw(st.sampled_from([0, 1, 1, 1, 1, 2]))
        late = draw(st.sampled_from([0, 0, 0, 0, 1, 60, 800, 1300]))
        size = draw(st.sampled_from([8, 8, 8, 8, 8, 8, 7, 5, 1, 0]))
        kept += [Frame(frame.time_ns + late * MS * n, frame.can_id, frame.payload[:size]) for n in range(copies)]
        if late and copies == 1:
            kept[-1] = kept[-1]._replace(time_ns=frame.time_ns + late * MS)
    return sorted(kept, key=lambda f: f.time_ns)


@settings(max_examples=150, deadline=None)
@given(frames=disorder())
def test_disorder_is_read_as_a_receiver_reads_it(frames, reassembled):
    found = reassembled(frames)

    whole, incomplete = receive(((f.time_ns, "CAN1", f.can_id, f.payload) for f in frames), set(WANTED_PGNS))

    columns = ["channel", "source_address", "destination_address", "pgn", "payload", "frame"]
    assert sorted(found.messages.select(columns).iter_rows()) == sorted(whole)
    assert (~found.sessions["complete"]).sum() == incomplete


@settings(max_examples=15, deadline=None)
@given(
    size=st.integers(1786, 2200),
    group_of=st.integers(60, 255),
    again=st.sets(st.sampled_from([0, 60, 120, 255])),
    lost=st.none() | st.integers(0, 700),
)
def test_extended_messages_are_found_or_counted(size, group_of, again, lost, reassembled):
    payload = bytes(n * 7919 % 251 for n in range(size))
    long = extended(3 * MS, DM2, 0x00, payload, group_of=group_of, again=again)
    received = [frame for n, frame in enumerate(long) if n != lost]
    # The same pair has a session of the plain protocol meanwhile, of the same group.
    short = connection(5 * MS, DM2, 0x00, b"\x05" * 14)

    found = reassembled([*received, *short])

    whole, incomplete = receive(
        ((f.time_ns, "CAN1", f.can_id, f.payload) for f in sorted([*received, *short])), set(WANTED_PGNS)
    )
    assert sorted(found.messages["payload"]) == sorted(m.payload for m in whole)
    assert (~found.sessions["complete"]).sum() == incomplete
    if lost is None or lost >= len(long):
        assert sorted(found.messages["payload"]) == sorted([payload, b"\x05" * 14])


def test_evidence_is_the_announcing_frame(reassembled):
    message = reassembled(broadcast(7 * MS, DM1, 0x0B, bytes(14))).messages.row(0, named=True)
    assert (message["recording"], message["frame"]) == ("drive.mf4", 0)
    assert message["timestamp"] % 10**9 == 7 * MS
    assert (message["source_address"], message["destination_address"], message["pgn"]) == (0x0B, 0xFF, DM1)


def test_packets_of_a_lost_announcement_do_not_end_up_in_the_message_before(reassembled):
    first = broadcast(0, DM1, 0x0B, b"\x01" * 14)[:1]
    orphans = broadcast(1000 * MS, DM1, 0x0B, b"\x02" * 14)[1:]
    found = reassembled([*first, *orphans])
    assert found.messages.is_empty()
    assert found.sessions["complete"].to_list() == [False]


def test_a_broadcast_goes_on_in_order_only(reassembled):
    """The last packet and the next announcement are lost: packets of the next message come in time, but from 1."""
    first = broadcast(0, DM1, 0x0B, b"\x01" * 18)[:3]
    orphans = broadcast(100 * MS, DM1, 0x0B, b"\x02" * 18)[1:]
    found = reassembled([*first, *orphans])
    assert found.messages.is_empty()
    assert found.sessions["complete"].to_list() == [False]


def test_a_broadcast_that_the_logger_wrote_twice_is_read_once(reassembled):
    twice = [frame for frame in broadcast(0, DM1, 0x0B, bytes(range(18))) for _ in range(2)]
    found = reassembled(twice)
    assert found.messages["payload"].to_list() == [bytes(range(18))]
    assert found.sessions["complete"].to_list() == [True]


def test_announcements_of_which_nothing_more_was_recorded_are_counted(reassembled):
    """A logger that filters packets away still shows that there were messages."""
    found = reassembled(broadcast(n * 1000 * MS, DM1, 0x0B, bytes(range(18)))[0] for n in range(3))
    assert found.sessions["complete"].to_list() == [False] * 3


def test_a_packet_that_comes_again_with_other_bytes_spoils_a_connection(reassembled):
    """End and next announcement are lost: the packets of the next message must not fill the gap of this one."""
    first = [f for f in connection(0, DM1, 0x00, b"\x01" * 21)[:-1] if f.payload[:2] != b"\x03\x01"]
    second = [f for f in connection(150 * MS, DM1, 0x00, b"\x02" * 21)[1:-1] if is_packet(f)]
    found = reassembled([*first, *second])
    assert found.messages.is_empty()
    assert found.sessions["complete"].to_list() == [False]


def test_what_comes_after_the_last_packet_changes_nothing(reassembled):
    first = connection(0, DM1, 0x00, b"\x01" * 14)[:-1]
    stray = connection(100 * MS, DM1, 0x00, b"\x02" * 14)[2]
    assert reassembled([*first, stray]).messages["payload"].to_list() == [b"\x01" * 14]


@pytest.mark.parametrize(("make", "longest"), [(broadcast, 750), (connection, 1250), (extended, 1250)])
@pytest.mark.parametrize("late", [0, 1])
def test_a_packet_is_waited_for_as_long_as_the_standard_says(make, longest, late, reassembled):
    frames = make(0, DM1, 0x00, b"\x01" * (1786 if make is extended else 14))
    before, last = [(n, f) for n, f in enumerate(frames) if is_packet(f)][-1][0], frames[-1]
    waited = frames[before - 1].time_ns + longest * MS + late
    moved = [*frames[:before], frames[before]._replace(time_ns=waited), last._replace(time_ns=waited + MS)]
    found = reassembled(moved if make is not broadcast else moved[:-1])
    assert found.sessions["complete"].to_list() == [not late]


def test_an_extended_packet_beyond_those_of_its_offset_is_ignored(reassembled):
    frames = extended(0, DM1, 0x00, b"\x01" * 1786, group_of=200)
    first_packet = next(f for f in frames if is_packet(f))
    # Number 201 stands behind another offset.
    stray = Frame(first_packet.time_ns + 1, first_packet.can_id, bytes([201]) + b"\x02" * 7)
    assert reassembled(sorted([*frames, stray])).messages["payload"].to_list() == [b"\x01" * 1786]


@pytest.mark.parametrize(("sender", "receiver"), [(0x00, TOOL), (TOOL, 0x00)])
@pytest.mark.parametrize("in_extended", [False, True])
def test_abort_ends_a_connection(sender, receiver, in_extended, reassembled):
    frames = extended(0, DM1, 0, b"\x01" * 1786) if in_extended else connection(0, DM1, 0, b"\x01" * 14)
    ending = abort(frames[-2].time_ns - 1, DM1, sender, receiver, in_extended=in_extended)
    found = reassembled(sorted([*frames, ending]))
    assert found.messages.is_empty()
    assert found.sessions["complete"].to_list() == [False]


def test_an_abort_of_another_group_ends_nothing(reassembled):
    """A session in the opposite direction is aborted meanwhile."""
    frames = connection(0, DM1, 0x00, b"\x01" * 14)
    ending = abort(frames[3].time_ns - 1, DM2, TOOL, 0x00)
    assert reassembled(sorted([*frames, ending])).messages.height == 1


@pytest.mark.parametrize("size", [0, 8, 15, 1786, 0xFFFF])
def test_announced_size_that_does_not_fit_its_packets_is_incomplete(size, reassembled):
    announcement, *data = broadcast(0, DM1, 0x0B, bytes(14))
    wrong = announcement.payload[:1] + size.to_bytes(2, "little") + announcement.payload[3:]
    found = reassembled([announcement._replace(payload=wrong), *data])
    assert found.messages.is_empty()
    assert found.sessions["complete"].to_list() == [False]


@pytest.mark.parametrize("size", [0, 14, 1785, 2**32 - 1])
def test_extended_size_out_of_range_is_incomplete(size, reassembled):
    announcement, *rest = extended(0, DM1, 0x00, bytes(14))
    wrong = announcement.payload[:1] + size.to_bytes(4, "little") + announcement.payload[5:]
    found = reassembled([announcement._replace(payload=wrong), *rest])
    assert found.messages.is_empty()
    assert found.sessions["complete"].to_list() == [False]
