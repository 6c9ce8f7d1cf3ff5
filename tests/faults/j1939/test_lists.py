"""Lists of trouble codes of every kind → events, against a plain loop over the messages that came through."""

from collections import defaultdict
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.j1939_sender import (
    MS,
    Frame,
    acknowledgement,
    broadcast,
    connection,
    extended,
    is_packet,
    request,
    single,
)

DM3, DM11 = 0xFECC, 0xFED3
S = 1000 * MS
LISTS = {
    65226: ("j1939_dm1", "active", 10 * S),
    65227: ("j1939_dm2", "previously_active", None),
    65231: ("j1939_dm6", "pending", None),
    65236: ("j1939_dm12", "confirmed", None),
    64949: ("j1939_dm23", "previously_active", None),
    64898: ("j1939_dm27", "pending", None),
    64896: ("j1939_dm28", "permanent", None),
}
CLEARED = {DM3: {65227, 64949}, DM11: {65226, 65231, 65236, 64949, 64898}}

dtcs = st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(0, 127))


def encoded(lamps: bytes, codes: list[tuple[int, int, int]]) -> bytes:
    return lamps + b"".join(
        (spn | fmi << 16 | count << 24).to_bytes(4, "little") for spn, fmi, count in codes or [(0, 0, 0)]
    )


class Said(NamedTuple):
    """What an ECU meant to say at a time, and whether it came through."""

    time_ns: int
    address: int
    pgn: int
    codes: frozenset[tuple[int, int]]
    whole: bool
    frames: list[Frame]


@st.composite
def conversations(draw) -> list[Said]:
    said = []
    for address in draw(st.sampled_from([[0x00], [0x00, 0x03]])):
        for pgn in draw(st.lists(st.sampled_from(list(LISTS)), min_size=1, max_size=3, unique=True)):
            now = 0
            for _ in range(draw(st.integers(1, 5))):
                now += draw(st.sampled_from([1500, 2000, 9999, 10_000, 30_000])) * MS + len(said)
                codes = draw(st.lists(dtcs, max_size=4, unique_by=lambda d: d[:2]))
                payload = encoded(draw(st.sampled_from([b"\x00\xff", b"\x04\xff"])), codes)
                if len(payload) <= 8:
                    frames = single(now, pgn, address, payload)
                else:
                    # Each list has a receiver of its own: one pair has one session at a time.
                    peer = 0xA0 + list(LISTS).index(pgn)
                    frames = connection(now, pgn, address, payload, peer=peer)
                lost = draw(st.none() | st.integers(0, len(frames) - 1)) if len(frames) > 1 else None
                kept = [f for n, f in enumerate(frames) if n != lost]
                whole = frames[0] in kept and all(f in kept for f in frames if is_packet(f))
                said.append(Said(now, address, pgn, frozenset(c[:2] for c in codes), whole, kept))
    return said


def expected_events(said: list[Said], clears: list[tuple[int, int, int]]) -> dict[tuple[str, str, str], list[int]]:
    """Frame counts of the activations of each code, by a loop; a clear is (time_ns, address, pgn)."""
    steps = defaultdict(list)
    for s in said:
        if s.whole:
            steps[s.address, s.pgn].append((s.time_ns, s.codes))
    for time_ns, address, clear in clears:
        for pgn in CLEARED[clear]:
            steps[address, pgn].append((time_ns, frozenset()))
    counts = defaultdict(list)
    for (address, pgn), messages in steps.items():
        source, _, gap = LISTS[pgn]
        last_ns: dict[tuple[int, int], int] = {}
        for time_ns, codes in sorted(messages, key=lambda m: m[0]):
            for code in codes:
                key = source, f"SA 0x{address:02X}", f"SPN{code[0]}/FMI{code[1]}"
                if code in last_ns and (gap is None or time_ns - last_ns[code] < gap):
                    counts[key][-1] += 1
                else:
                    counts[key].append(1)
            last_ns = dict.fromkeys(codes, time_ns)
    return dict(counts)


@settings(deadline=None)
@given(said=conversations(), clears=st.lists(st.tuples(st.integers(1, 60_000), st.sampled_from([DM3, DM11]))))
def test_events_are_the_activations_of_what_came_through(said, clears, can, can_table, find):
    # Half a millisecond aside, where no message is announced.
    asked = sorted((at * MS + MS // 2, pgn) for at, pgn in clears)
    frames = [f for s in said for f in s.frames]
    for at_ns, pgn in asked:
        frames += [request(at_ns, pgn, 0x00), acknowledgement(at_ns + 1, pgn, 0x00, 0)]

    findings = find(can_table(can(*f) for f in sorted(frames)))

    listed = findings.events.filter(~findings.events["source"].is_in(["j1939_dm3", "j1939_dm11"]))
    found = defaultdict(list)
    for row in listed.sort("first_seen").iter_rows(named=True):
        found[row["source"], row["ecu"], row["code"]].append(row["frame_count"])
    assert found == expected_events(said, [(at_ns + 1, 0x00, pgn) for at_ns, pgn in asked])
    assert all(row["status"] == dict(v[:2] for v in LISTS.values())[row["source"]] for row in listed.to_dicts())
    incomplete = sum(len(s.frames) > 1 and not s.whole and s.frames[0].payload[0] == 16 for s in said)
    assert sum(int(note.split(": ")[1].split(" of ")[0]) for note in findings.notes) == incomplete
    assert (findings.events["status"] == "occurred").sum() == len(asked)


@pytest.mark.parametrize("pgn", LISTS)
@pytest.mark.parametrize("make", [single, broadcast, connection, extended])
def test_every_list_comes_by_every_way(pgn, make, can, can_table, find):
    many = {single: 1, extended: 450}.get(make, 5)
    frames = make(0, pgn, 0x21, encoded(b"\x10\xff", [(spn, 3, 7) for spn in range(1, many + 1)]))
    findings = find(can_table(can(*f) for f in frames))
    assert sorted(findings.events["code"]) == sorted(f"SPN{spn}/FMI3" for spn in range(1, many + 1))
    event = findings.events.row(0, named=True)
    assert (event["source"], event["status"]) == LISTS[pgn][:2]
    assert (event["lamp_status"], event["occurrence_count"], event["ecu"]) == ("red stop", 7, "SA 0x21")
    assert findings.notes == ()


def test_the_list_weighs_a_code_that_is_not_active_and_not_the_lamps_of_others(can, can_table, find):
    frames = [f for n, pgn in enumerate(LISTS) for f in single(n * S, pgn, 0, encoded(b"\x10\xff", [(100, 1, 1)]))]
    events = find(can_table(can(*f) for f in frames)).events
    assert dict(events.select("source", "severity").iter_rows()) == {
        "j1939_dm1": "critical",
        "j1939_dm2": "info",
        "j1939_dm6": "warning",
        "j1939_dm12": "error",
        "j1939_dm23": "warning",
        "j1939_dm27": "warning",
        "j1939_dm28": "error",
    }


class Told(NamedTuple):
    ecu: str
    message: str


def cleared(find, can, can_table, *frames: Frame) -> tuple[list[Told], list[int]]:
    """What a DM11 event says, and the frame counts of one active code of SA 0x00 that is there all the time."""
    active = [f for n in range(10) for f in single(n * S, 65226, 0x00, encoded(b"\x04\xff", [(100, 1, 1)]))]
    events = find(can_table(can(*f) for f in sorted([*active, *frames]))).events
    clears = events.filter(events["source"] == "j1939_dm11")
    assert set(clears["status"]) <= {"occurred"}
    assert set(clears["severity"]) <= {"info"}
    return [Told(*row) for row in clears.select("ecu", "message").iter_rows()], events.filter(
        events["source"] == "j1939_dm1"
    )["frame_count"].to_list()


AT = 4 * S + 500 * MS
ASKED_ALONE = "SA 0xF9 asked SA 0x00 to clear active codes (DM11): "
ASKED_ALL = "SA 0xF9 asked all ECUs to clear active codes (DM11): "


@pytest.mark.parametrize(
    ("asked", "answers", "message", "frame_counts"),
    [
        (0x00, [(0x00, 0)], ASKED_ALONE + "acknowledged by SA 0x00", [5, 5]),
        (0x00, [(0x00, 1)], ASKED_ALONE + "refused by SA 0x00", [10]),
        (0x00, [(0x00, 2)], ASKED_ALONE + "access denied by SA 0x00", [10]),
        (0x00, [(0x00, 3)], ASKED_ALONE + "busy by SA 0x00", [10]),
        (0x00, [(0x00, 77)], ASKED_ALONE + "answered in a way that J1939 does not have by SA 0x00", [10]),
        (0x00, [(0x00, 3), (0x00, 0)], ASKED_ALONE + "acknowledged by SA 0x00", [5, 5]),
        (0x00, [], ASKED_ALONE + "no answer", [10]),
        (0xFF, [], ASKED_ALL + "no answer", [5, 5]),
        (0xFF, [(0x00, 1)], ASKED_ALL + "refused by SA 0x00", [10]),
        (0xFF, [(0x03, 1)], ASKED_ALL + "refused by SA 0x03", [5, 5]),
        (0xFF, [(0x00, 0), (0x03, 2)], ASKED_ALL + "acknowledged by SA 0x00, access denied by SA 0x03", [5, 5]),
    ],
)
def test_a_clear_tells_who_asked_whom_and_what_came_of_it(asked, answers, message, frame_counts, can, can_table, find):
    replies = [acknowledgement(AT + (n + 1) * MS, DM11, *answer) for n, answer in enumerate(answers)]
    told = cleared(find, can, can_table, request(AT, DM11, asked), *replies)
    assert told == ([Told(f"SA 0x{asked:02X}", message)], frame_counts)


def test_the_details_of_a_clear(can, can_table, find):
    frames = [request(AT, DM3, 0x00), acknowledgement(AT + MS, DM3, 0x00, 0)]
    event = find(can_table(can(*f) for f in frames)).events.row(0, named=True)
    assert {d["key"]: d["value"] for d in event["details"]} == {
        "requested_by": "SA 0xF9", "requested_of": "SA 0x00", "answer": "acknowledged by SA 0x00",
        "scope": "DM3", "cleared_ecu": "SA 0x00",
    }  # fmt: skip
    assert (event["source"], event["code"], event["payload_hex"]) == ("j1939_dm3", "J1939_CLEAR", "ccfe00")


def test_an_answer_whose_request_was_not_recorded_counts_too(can, can_table, find):
    told = cleared(find, can, can_table, acknowledgement(AT, DM11, 0x00, 0))
    assert told == ([Told("SA 0x00", ASKED_ALONE + "acknowledged by SA 0x00 (the request was not recorded)")], [5, 5])


def test_an_answer_to_another_tool_is_not_taken_for_this_ones(can, can_table, find):
    answer = acknowledgement(AT + MS, DM11, 0x00, 0, acknowledged=0xFA)
    told, frame_counts = cleared(find, can, can_table, request(AT, DM11, 0x00), answer)
    assert told[0].message == ASKED_ALONE + "no answer"
    assert told[1].message.startswith("SA 0xFA asked SA 0x00")
    assert frame_counts == [5, 5]


def test_an_answer_that_does_not_state_whom_it_is_to_is_to_the_last_request(can, can_table, find):
    answer = acknowledgement(AT + MS, DM11, 0x00, 0, acknowledged=0xFF)
    assert cleared(find, can, can_table, request(AT, DM11, 0x00), answer)[0] == [
        Told("SA 0x00", ASKED_ALONE + "acknowledged by SA 0x00")
    ]


def test_a_late_answer_is_to_no_request(can, can_table, find):
    answer = acknowledgement(AT + 5 * S + 1, DM11, 0x00, 0)
    told, _ = cleared(find, can, can_table, request(AT, DM11, 0x00), answer)
    assert [t.message.removeprefix(ASKED_ALONE) for t in told] == [
        "no answer", "acknowledged by SA 0x00 (the request was not recorded)",
    ]  # fmt: skip


def test_requests_of_other_groups_and_answers_to_them_say_nothing_of_clears(can, can_table, find):
    frames = [request(AT, 65226, 0x00), acknowledgement(AT + MS, 65226, 0x00, 0), Frame(AT, 0x18EA00F9, b"\xd3")]
    assert cleared(find, can, can_table, *frames) == ([], [10])


def test_a_clear_on_one_channel_says_nothing_of_another(can, can_table, find):
    active = [f for n in range(4) for f in single(n * S, 65226, 0x00, encoded(b"\x04\xff", [(100, 1, 1)]))]
    clear = [request(1500 * MS, DM11, 0xFF)]
    frames = [can(*f, channel=ch) for f in active for ch in ("CAN1", "CAN2")] + [can(*f, channel="CAN2") for f in clear]
    events = find(can_table(sorted(frames))).events
    counts = events.filter(events["source"] == "j1939_dm1").group_by("channel").agg("frame_count").sort("channel")
    assert counts.rows() == [("CAN1", [4]), ("CAN2", [2, 2])]
