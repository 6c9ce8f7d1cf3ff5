"""The extended transport protocol (SAE J1939-21, 5.11): messages above 1785 bytes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.faults.can import TIME_ORDER, data_frames
from argus_assets.faults.j1939 import WANTED
from argus_assets.faults.j1939_tp import reassemble

MS = 1_000_000
PGN = 0xFECA
GROUP = PGN.to_bytes(3, "little")
SENDER, PEER = 0x00, 0xF9
CONTROL, DATA, ANSWER = 0x18C8F900, 0x18C7F900, 0x18C800F9


def session(payload: bytes, window: int, again: bool) -> list[tuple[int, int, bytes]]:
    """RTS, then for each window of packets CTS, DPO and the packets; the first window twice if asked for again."""
    packets = [payload[i : i + 7].ljust(7, b"\xff") for i in range(0, len(payload), 7)]
    steps = [(CONTROL, bytes([20, *len(payload).to_bytes(4, "little")]) + GROUP)]
    starts = list(range(0, len(packets), window))
    for start in [starts[0], *starts] if again else starts:
        part = packets[start : start + window]
        steps.append((ANSWER, bytes([21, len(part), *(start + 1).to_bytes(3, "little")]) + GROUP))
        steps.append((CONTROL, bytes([22, len(part), *start.to_bytes(3, "little")]) + GROUP))
        steps += [(DATA, bytes([number]) + data) for number, data in enumerate(part, start=1)]
    steps.append((ANSWER, bytes([23, *len(payload).to_bytes(4, "little")]) + GROUP))
    return [(5 * MS * n, can_id, data) for n, (can_id, data) in enumerate(steps)]


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(1786, 6000), seed=st.integers(0, 255), window=st.integers(1, 255), again=st.booleans(),
    lost=st.none() | st.integers(1, 200), data=st.data(),
)  # fmt: skip
def test_whole_messages_are_found_and_others_counted(size, seed, window, again, lost, data, can, can_table):
    payload = bytes((seed + i * i) % 256 for i in range(size))
    frames = session(payload, window, again=False if lost else again)
    packets = [n for n, (_, can_id, _) in enumerate(frames) if can_id == DATA]
    if lost is not None:
        del frames[packets[lost % len(packets)]]
    # A broadcast of the same sender and a short session run beside it.
    rows = data_frames(can_table(can(*f) for f in data.draw(st.permutations(frames))), WANTED)
    found = reassemble(rows.collect().sort(TIME_ORDER), pgns=[PGN])
    assert found.sessions.height == 1
    assert found.messages["payload"].to_list() == ([payload] if lost is None else [])


def test_both_protocols_run_side_by_side(can, can_table):
    long = bytes(range(256)) * 8
    short = bytes(range(14))
    frames = session(long, 64, again=False)
    between = frames[5][0] + 1
    rts = bytes([16, 14, 0, 2, 0xFF]) + GROUP
    frames += [
        (between, 0x18ECF900, rts),
        (between + 1, 0x18EBF900, b"\x01" + short[:7]),
        (between + 2, 0x18EBF900, b"\x02" + short[7:]),
    ]
    rows = data_frames(can_table(can(*f) for f in sorted(frames)), WANTED).collect().sort(TIME_ORDER)
    assert sorted(reassemble(rows, pgns=[PGN]).messages["payload"].to_list(), key=len) == [short, long]
