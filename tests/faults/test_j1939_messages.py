"""All diagnostic messages of SAE J1939-73, random and interleaved, against a state machine that reads frame by frame."""

from collections import defaultdict
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.faults.j1939_dm import CLEARS, LISTS

S = 1_000_000_000
MS = 1_000_000
DM1 = 0xFECA
ADDRESSES = (0x00, 0x03, 0x31)
CODES = ((100, 1), (190, 0), (520_192, 7), (3_031, 9), (91, 3))
EMPTIED = {0xFECC: {0xFECB, 0xFDB5}, 0xFED3: {0xFECA, 0xFECF, 0xFED4, 0xFD82, 0xFDB5}}


class Sent(NamedTuple):
    """One message of an ECU, with the codes that it lists."""

    pgn: int
    address: int
    codes: tuple[tuple[int, int], ...]
    lost: int | None
    """Number of a frame that is not received."""


class Clear(NamedTuple):
    """A request to clear, to one ECU or to all, and the answer's control byte."""

    pgn: int
    to: int
    control: int | None


def payload_of(codes: tuple[tuple[int, int], ...]) -> bytes:
    listed = [spn & 0xFFFF | fmi << 16 | spn >> 16 << 21 | 1 << 24 for spn, fmi in codes] or [0]
    return b"\x04\xff" + b"".join(number.to_bytes(4, "little") for number in listed)


def frames_of(sent: Sent, at: int) -> list[tuple[int, int, bytes]]:
    payload = payload_of(sent.codes)
    if len(payload) <= 8:
        return [(at, 0x18000000 | sent.pgn << 8 | sent.address, payload.ljust(8, b"\xff"))]
    parts = [payload[i : i + 7].ljust(7, b"\xff") for i in range(0, len(payload), 7)]
    announcement = bytes([32, *len(payload).to_bytes(2, "little"), len(parts), 0xFF]) + sent.pgn.to_bytes(3, "little")
    frames = [(at, 0x1CECFF00 | sent.address, announcement)]
    for number, part in enumerate(parts, start=1):
        frames.append((at + 50 * MS * number, 0x1CEBFF00 | sent.address, bytes([number]) + part))
    return frames


def frames_of_clear(clear: Clear, at: int) -> list[tuple[int, int, bytes]]:
    group = clear.pgn.to_bytes(3, "little")
    frames = [(at, 0x18EA00F9 | clear.to << 8, group)]
    if clear.control is not None and clear.to != 0xFF:
        answer = bytes([clear.control, 0xFF, 0xFF, 0xFF, 0xF9]) + group
        frames.append((at + 20 * MS, 0x18E8FF00 | clear.to, answer))
    return frames


steps = st.lists(
    st.one_of(
        st.builds(
            Sent,
            st.sampled_from(sorted(LISTS)),
            st.sampled_from(ADDRESSES),
            st.lists(st.sampled_from(CODES), max_size=4, unique=True).map(tuple),
            st.none() | st.integers(0, 3),
        ),
        st.builds(
            Clear, st.sampled_from(sorted(CLEARS)), st.sampled_from([*ADDRESSES, 0xFF]), st.none() | st.integers(0, 3)
        ),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(steps=steps)
def test_activations_are_those_of_a_state_machine(steps, can, can_table, find):
    frames, expected, incomplete = [], defaultdict(int), 0
    active: dict[tuple[int, int], dict[tuple[int, int], int]] = defaultdict(dict)
    seen: set[int] = set()
    for number, step in enumerate(steps):
        at = number * 2 * S
        if isinstance(step, Clear):
            frames += frames_of_clear(step, at)
            followed = step.to == 0xFF or step.control == 0
            for pgn in EMPTIED[step.pgn] if followed else ():
                for address in ADDRESSES if step.to == 0xFF else (step.to,):
                    active[pgn, address].clear()
            continue
        whole = frames_of(step, at)
        kept = [f for i, f in enumerate(whole) if i != step.lost]
        frames += kept
        seen.add(step.address)
        if len(kept) < len(whole):
            incomplete += len(whole) > 1 and step.lost != 0
            continue
        before = active[step.pgn, step.address]
        now = {}
        for code in step.codes:
            # A DM1 that did not come for ten seconds ends its codes.
            goes_on = code in before and (step.pgn != DM1 or at - before[code] < 10 * S)
            expected[step.pgn, step.address, code] += not goes_on
            now[code] = at
        active[step.pgn, step.address] = now
    found = find(can_table(can(*f) for f in sorted(frames)))

    events = found.events.filter(found.events["code"] != "J1939_CLEAR")
    counted = defaultdict(int)
    for source, ecu, code in events.select("source", "ecu", "code").iter_rows():
        counted[source, ecu, code] += 1
    assert counted == {
        (LISTS[pgn].source, f"SA 0x{address:02X}", f"SPN{spn}/FMI{fmi}"): times
        for (pgn, address, (spn, fmi)), times in expected.items()
        if times
    }
    clears = found.events.filter(found.events["code"] == "J1939_CLEAR")
    assert clears.height == sum(isinstance(step, Clear) for step in steps)
    told = sum(int(note.split(": ")[1].split()[0]) for note in found.notes if "transport protocol" in note)
    assert told == incomplete


def test_each_message_says_what_it_says_of_its_codes(can, can_table, find):
    frames = [f for n, pgn in enumerate(LISTS) for f in frames_of(Sent(pgn, 0x00, CODES[:1], None), n * S)]
    events = find(can_table(can(*f) for f in frames)).events
    assert dict(events.select("source", "status").iter_rows()) == {
        "j1939_dm1": "active", "j1939_dm2": "previously_active", "j1939_dm6": "pending", "j1939_dm12": "confirmed",
        "j1939_dm23": "previously_active", "j1939_dm27": "pending", "j1939_dm28": "permanent",
    }  # fmt: skip
    # The amber lamp is that of the active codes: it does not make a past or a pending code worse.
    severities = dict(events.select("source", "severity").iter_rows())
    assert severities == {
        "j1939_dm1": "warning", "j1939_dm2": "info", "j1939_dm6": "warning", "j1939_dm12": "error",
        "j1939_dm23": "warning", "j1939_dm27": "warning", "j1939_dm28": "error",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("lamps", "text"),
    [
        ("50ff", "red stop, malfunction"),
        ("5000", "red stop (slow flash), malfunction (slow flash)"),
        ("1010", "red stop (fast flash)"),
        ("50df", "red stop (fast flash), malfunction"),
        ("00ff", "none on"),
        ("ffff", "not available"),
    ],
)
def test_lamps_and_how_they_flash(lamps, text, can, can_table, find):
    event = find(can_table([can(0, 0x18FECA00, bytes.fromhex(lamps + "64000101ffff"))])).events.row(0, named=True)
    assert event["lamp_status"] == text


@given(spn=st.integers(1, 2**19 - 2), version=st.integers(1, 3))
def test_one_of_the_readings_of_an_older_layout_is_right(spn, version, can, can_table, find):
    if version == 1:  # most significant bits first
        low, middle, high = spn >> 11, spn >> 3 & 0xFF, spn & 7
    elif version == 2:  # the upper 16 bits, the least significant of their bytes first
        low, middle, high = spn >> 3 & 0xFF, spn >> 11, spn & 7
    else:
        low, middle, high = spn & 0xFF, spn >> 8 & 0xFF, spn >> 16
    payload = bytes([0x04, 0xFF, low, middle, high << 5 | 3, 0x81, 0xFF, 0xFF])
    events = find(can_table([can(0, 0x18FECA00, payload)])).events
    if events.is_empty():
        assert (low, middle, high) in {(0, 0, 0), (0xFF, 0xFF, 7)}
        return
    readings = {d["key"]: d["value"] for d in events["details"][0]}
    assert readings[f"spn_version_{version}"] == str(spn)
    assert "conversion method 1" in events["message"][0]


def test_a_clear_says_who_asked_and_what_became_of_it(can, can_table, find):
    frames = [
        *frames_of_clear(Clear(0xFED3, 0x00, 0), 0),
        *frames_of_clear(Clear(0xFED3, 0x03, 2), 5 * S),
        *frames_of_clear(Clear(0xFECC, 0xFF, None), 10 * S),
        *frames_of_clear(Clear(0xFECC, 0x0B, None), 15 * S),
    ]
    events = find(can_table(can(*f) for f in frames)).events
    assert events.select("source", "ecu", "severity", "status").rows() == [
        ("j1939_dm11", "SA 0x00", "info", "occurred"),
        ("j1939_dm11", "SA 0x03", "info", "occurred"),
        ("j1939_dm3", "SA 0xFF", "info", "occurred"),
        ("j1939_dm3", "SA 0x0B", "info", "occurred"),
    ]
    answers = [{d["key"]: d["value"] for d in details}["answer"] for details in events["details"]]
    assert [answer.split(" by ")[0] for answer in answers] == [
        "acknowledged",
        "access denied",
        "no answer",
        "no answer",
    ]
