"""SAE J1939 messages → the frames that carry them, as their sender and its receiver put them on the bus."""

from collections.abc import Collection
from typing import NamedTuple

MS = 1_000_000
TOOL = 0xF9
"""The address of a diagnostic tool."""


class Frame(NamedTuple):
    time_ns: int
    can_id: int
    payload: bytes


def single(start_ns: int, pgn: int, address: int, payload: bytes) -> list[Frame]:
    return [Frame(start_ns, 0x18000000 | pgn << 8 | address, payload.ljust(8, b"\xff"))]


def broadcast(start_ns: int, pgn: int, address: int, payload: bytes) -> list[Frame]:
    packets = _packets(payload)
    announcement = bytes([32, *len(payload).to_bytes(2, "little"), len(packets), 0xFF]) + pgn.to_bytes(3, "little")
    steps = [(0x18ECFF00 | address, announcement)]
    steps += [(0x1CEBFF00 | address, bytes([n]) + packet) for n, packet in enumerate(packets, start=1)]
    return _spaced(start_ns, 50 * MS, steps)


def connection(
    start_ns: int, pgn: int, address: int, payload: bytes, peer: int = TOOL, again: Collection[int] = ()
) -> list[Frame]:
    """RTS, then a CTS for each packet; packets in `again` are asked for twice."""
    to_peer, to_sender = 0x18000000 | peer << 8 | address, 0x18000000 | address << 8 | peer
    group = pgn.to_bytes(3, "little")
    packets = _packets(payload)
    size = len(payload).to_bytes(2, "little")
    steps = [(to_peer | 0xEC0000, bytes([16, *size, len(packets), 0xFF]) + group)]
    for number, packet in enumerate(packets, start=1):
        for _ in range(2 if number in again else 1):
            steps += [
                (to_sender | 0xEC0000, bytes([17, 1, number, 0xFF, 0xFF]) + group),
                (to_peer | 0xEB0000, bytes([number]) + packet),
            ]
    steps.append((to_sender | 0xEC0000, bytes([19, *size, len(packets), 0xFF]) + group))
    return _spaced(start_ns, 20 * MS, steps)


def extended(
    start_ns: int,
    pgn: int,
    address: int,
    payload: bytes,
    peer: int = TOOL,
    group_of: int = 100,
    again: Collection[int] = (),
) -> list[Frame]:
    """ETP: packets in groups, each behind its offset; the groups that start at an offset in `again` come twice."""
    to_peer, to_sender = 0x18000000 | peer << 8 | address, 0x18000000 | address << 8 | peer
    group = pgn.to_bytes(3, "little")
    packets = _packets(payload)
    size = len(payload).to_bytes(4, "little")
    steps = [(to_peer | 0xC80000, bytes([20, *size]) + group)]
    for offset in range(0, len(packets), group_of):
        part = packets[offset : offset + group_of]
        for _ in range(2 if offset in again else 1):
            steps += [
                (to_sender | 0xC80000, bytes([21, len(part), *(offset + 1).to_bytes(3, "little")]) + group),
                (to_peer | 0xC80000, bytes([22, len(part), *offset.to_bytes(3, "little")]) + group),
            ]
            steps += [(to_peer | 0xC70000, bytes([n]) + packet) for n, packet in enumerate(part, start=1)]
    steps.append((to_sender | 0xC80000, bytes([23, *size]) + group))
    return _spaced(start_ns, 2 * MS, steps)


def abort(time_ns: int, pgn: int, sender: int, receiver: int, *, in_extended: bool = False) -> Frame:
    can_id = 0x18000000 | (0xC8 if in_extended else 0xEC) << 16 | receiver << 8 | sender
    return Frame(time_ns, can_id, bytes([255, 1, 0xFF, 0xFF, 0xFF]) + pgn.to_bytes(3, "little"))


def request(time_ns: int, pgn: int, asked: int, requester: int = TOOL) -> Frame:
    return Frame(time_ns, 0x18EA0000 | asked << 8 | requester, pgn.to_bytes(3, "little"))


def acknowledgement(time_ns: int, pgn: int, address: int, control: int, acknowledged: int = TOOL) -> Frame:
    return Frame(
        time_ns, 0x18E8FF00 | address, bytes([control, 0xFF, 0xFF, 0xFF, acknowledged]) + pgn.to_bytes(3, "little")
    )


def claim(time_ns: int, address: int, name: int) -> Frame:
    return Frame(time_ns, 0x18EEFF00 | address, name.to_bytes(8, "little"))


def is_packet(frame: Frame) -> bool:
    return frame.can_id >> 16 & 0xFF in (0xEB, 0xC7)


def _packets(payload: bytes) -> list[bytes]:
    return [payload[at : at + 7].ljust(7, b"\xff") for at in range(0, len(payload), 7)]


def _spaced(start_ns: int, step_ns: int, steps: list[tuple[int, bytes]]) -> list[Frame]:
    return [Frame(start_ns + step_ns * n, can_id, payload) for n, (can_id, payload) in enumerate(steps)]
