"""Writes Ethernet frames of TCP and UDP, and the messages of DoIP, by their standards, without any code of the readers."""

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

TESTER, GATEWAY = "192.168.10.1", "192.168.10.2"
TESTER_V6, GATEWAY_V6 = "fe80::1", "fe80::2"
DOIP_PORT = 13_400
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def ethernet(payload: bytes, ethertype: int = 0x0800, *, vlans: tuple[int, ...] = ()) -> bytes:
    tags = b"".join(struct.pack(">HH", 0x8100, vlan) for vlan in vlans)
    return b"\x02\0\0\0\0\x02" + b"\x02\0\0\0\0\x01" + tags + struct.pack(">H", ethertype) + payload


def ip(payload: bytes, protocol: int, source: str, target: str, *, options: bytes = b"", fragment: int = 0) -> bytes:
    """Return a packet of the version that the addresses have; `options` are extension headers of version 6."""
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    if len(ends) == 32:
        kind, body = (0, bytes([protocol]) + options[1:] + payload) if options else (protocol, payload)
        return struct.pack(">IHBB", 6 << 28, len(body), kind, 64) + ends + body
    header = 5 + len(options) // 4
    total = 4 * header + len(payload)
    return struct.pack(">BBHHHBBH", 0x40 | header, 0, total, 1, fragment, 64, protocol, 0) + ends + options + payload


def udp(payload: bytes, source: int, target: int) -> bytes:
    return struct.pack(">HHHH", source, target, 8 + len(payload), 0) + payload


def tcp(payload: bytes, source: int, target: int, sequence: int, *, flags: int = ACK, options: bytes = b"") -> bytes:
    offset = (5 + len(options) // 4) << 4
    head = struct.pack(">HHIIBBHHH", source, target, sequence % 2**32, 0, offset, flags, 8192, 0, 0)
    return head + options + payload


def doip(kind: int, payload: bytes = b"", *, version: int = 2) -> bytes:
    return struct.pack(">BBHI", version, version ^ 0xFF, kind, len(payload)) + payload


def diagnostic(source: int, target: int, uds: bytes | str) -> bytes:
    data = bytes.fromhex(uds) if isinstance(uds, str) else uds
    return doip(0x8001, struct.pack(">HH", source, target) + data)


@dataclass
class Connection:
    """One TCP connection of a tester to a gateway: returns the frames of what is sent."""

    source: str = TESTER
    target: str = GATEWAY
    port: int = 50_000
    to_gateway: int = 1000
    to_tester: int = 2**32 - 20
    vlans: tuple[int, ...] = ()
    options: bytes = field(default=b"")

    def send(self, data: bytes, *, answer: bool = False, flags: int = ACK | PSH) -> bytes:
        """Return the frame of one segment."""
        ports = (DOIP_PORT, self.port) if answer else (self.port, DOIP_PORT)
        ends = (self.target, self.source) if answer else (self.source, self.target)
        sequence = self.to_tester if answer else self.to_gateway
        step = len(data) + bool(flags & (SYN | FIN))
        if answer:
            self.to_tester += step
        else:
            self.to_gateway += step
        packet = ip(tcp(data, *ports, sequence, flags=flags, options=self.options), 6, *ends)
        return ethernet(packet, 0x86DD if ":" in self.source else 0x0800, vlans=self.vlans)

    def open(self) -> Iterator[bytes]:
        yield self.send(b"", flags=SYN)
        yield self.send(b"", answer=True, flags=SYN | ACK)
        yield self.send(b"", flags=ACK)

    def split(self, data: bytes, size: int, *, answer: bool = False) -> list[bytes]:
        """Return the frames of data in segments of a size."""
        return [self.send(data[at : at + size], answer=answer) for at in range(0, len(data), size)]
