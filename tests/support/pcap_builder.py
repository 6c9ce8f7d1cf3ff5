"""Writes pcap and pcapng by their specifications, block by block, without any code of the readers."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CAN, COOKED, COOKED_2, ETHERNET, RAW_IP = 227, 113, 276, 1, 101


def socketcan(
    can_id: int,
    data: bytes,
    *,
    extended: bool = False,
    fd: bool = False,
    remote: bool = False,
    error: bool = False,
    order: str = ">",
    code: int = 0,
    pad: bool = True,
) -> bytes:
    """Return a frame with its SocketCAN header; padded as the kernel hands it out."""
    number = can_id | extended << 31 | remote << 30 | error << 29
    head = struct.pack(f"{order}I", number) + bytes([len(data), 4 if fd else 0, 0, code])
    return head + (data.ljust(64 if fd else 8, b"\0") if pad else data)


def cooked(payload: bytes, protocol: int, *, sent: bool = False, index: int | None = None, kind: int = 280) -> bytes:
    """Return a packet of Linux' cooked capture: of version 2 with an interface's index."""
    direction = 4 if sent else 1
    if index is None:
        return struct.pack(">HHH8xH", direction, kind, 0, protocol) + payload
    return struct.pack(">HHIHBB8x", protocol, 0, index, kind, direction, 0) + payload


@dataclass(frozen=True)
class Packet:
    """A packet: its time in nanoseconds since 1970, its bytes, and where it stands."""

    time_ns: int
    data: bytes
    interface: int = 0
    original: int | None = None
    flags: int | None = None

    @property
    def size(self) -> int:
        return len(self.data) if self.original is None else self.original


def pcap(
    packets: Iterable[Packet], *, link: int = CAN, order: str = "<", nanoseconds: bool = False, snap: int = 262_144
) -> bytes:
    """Return a pcap file."""
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    out = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snap, link)]
    for packet in packets:
        seconds, rest = divmod(packet.time_ns, 10**9)
        unit = rest if nanoseconds else rest // 1000
        out.append(struct.pack(f"{order}4I", seconds, unit, len(packet.data), packet.size) + packet.data)
    return b"".join(out)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + size + body + size


def section(order: str = "<", *, size: int = -1, options: bytes = b"") -> bytes:
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, size) + options, order)


def interface(
    link: int = CAN,
    *,
    name: str = "",
    order: str = "<",
    resolution: int | None = None,
    offset_s: int | None = None,
    snap: int = 0,
) -> bytes:
    body = struct.pack(f"{order}HHI", link, 0, snap)
    if name:
        body += option(2, name.encode(), order)
    if resolution is not None:
        body += option(9, bytes([resolution]), order)
    if offset_s is not None:
        body += option(14, struct.pack(f"{order}q", offset_s), order)
    return block(1, body + option(0, b"", order), order)


def enhanced(packet: Packet, ticks: int, order: str = "<", *, options: bytes = b"") -> bytes:
    head = struct.pack(f"{order}5I", packet.interface, ticks >> 32, ticks & 0xFFFFFFFF, len(packet.data), packet.size)
    body = head + packet.data + bytes(-len(packet.data) % 4) + options
    if packet.flags is not None:
        body += option(2, struct.pack(f"{order}I", packet.flags), order) + option(0, b"", order)
    return block(6, body, order)


def old_packet(packet: Packet, ticks: int, order: str = "<") -> bytes:
    head = struct.pack(
        f"{order}HH4I", packet.interface, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(packet.data), packet.size
    )
    return block(2, head + packet.data, order)


def simple(packet: Packet, order: str = "<") -> bytes:
    return block(3, struct.pack(f"{order}I", packet.size) + packet.data, order)


def pcapng(packets: Iterable[Packet], interfaces: Sequence[bytes] = (), *, order: str = "<") -> bytes:
    """Return a pcapng file of one section, which states its size, with times in microseconds."""
    described = interfaces or [interface(order=order)]
    blocks = [enhanced(packet, packet.time_ns // 1000, order) for packet in packets]
    body = b"".join(described) + b"".join(blocks)
    return section(order, size=len(body)) + body
