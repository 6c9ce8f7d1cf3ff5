"""From Ethernet frames to TCP segments and UDP datagrams, as arrays (IEEE 802.3, 802.1Q, RFC 791, 8200, 9293, 768)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from argus_assets.recordings.columns import I64, U8, Flags

ETHERNET_HEADER: Final = -1
"""As the protocol of a packet: it starts with an Ethernet header, which says."""
NO_PROTOCOL: Final = -2
"""As the protocol of a packet: it starts with an IP header, whose version says."""

DOIP_PORT: Final = 13_400
"""TCP_DATA and UDP_DISCOVERY (ISO 13400-2:2019, 12.2)."""
DOIP_TLS_PORT: Final = 3496
"""The same over TLS (ISO 13400-2:2019, 12.2)."""

_VLAN: Final = (0x8100, 0x88A8, 0x9100)
_MAX_TAGS: Final = 3
"""VLAN tags of a frame: two are standardised (IEEE 802.1Q)."""
_IPV4, _IPV6 = 0x0800, 0x86DD
_MAX_EXTENSIONS: Final = 8
"""Extension headers of an IPv6 packet; each may occur once (RFC 8200, 4.1)."""
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION = 0, 43, 44, 51, 60
_TCP, _UDP = 6, 17
_ETHERTYPES: Final = {
    0x0806: "ARP", 0x22F0: "AVTP", 0x88F7: "PTP", 0x88CC: "LLDP", 0x88E5: "MACsec", 0x8892: "PROFINET",
    0x88A4: "EtherCAT", 0x99FE: "TECMP",
}  # fmt: skip
_IP_PROTOCOLS: Final = {1: "ICMP", 2: "IGMP", 58: "ICMPv6", 132: "SCTP", 50: "IPsec"}

# SOME/IP (AUTOSAR PRS_SOMEIPProtocol, 4.1.2): service, method, length of what follows, request, version of the
# protocol (1), version of the interface, message type, return code
_SOMEIP_BYTES: Final = 16
_SOMEIP_COUNTED_AT: Final = 8
_SOMEIP_TYPES: Final = (0x00, 0x01, 0x02, 0x80, 0x81, 0x20, 0x21, 0x22, 0xA0, 0xA1)
_SOMEIP_DISCOVERY: Final = 0xFFFF


class Segment(NamedTuple):
    """A TCP segment or UDP datagram of a port that is read.

    Attributes:
        channel: Index of the channel on which it was recorded.
        packet: Number of its packet among those that were given.
        time_ns: Nanoseconds since 1970.
        source: Address and port that sent it.
        target: Address and port that it is for.
        is_tcp: Not UDP.
        sequence: Of its first byte (TCP).
        flags: Of TCP: 1 FIN, 2 SYN, 4 RST.
        data: Its content, as far as it was recorded.
        missing: Bytes at its end that were not recorded.
    """

    channel: int
    packet: int
    time_ns: int
    source: bytes
    target: bytes
    is_tcp: bool
    sequence: int
    flags: int
    data: bytes
    missing: int


@dataclass(frozen=True, slots=True)
class Frames:
    """Ethernet frames, or IP packets.

    Attributes:
        buffer: Holds them.
        starts: Where each starts. Shape (n,), as all arrays here.
        sizes: Recorded bytes of each.
        protocols: EtherType of each, `ETHERNET_HEADER` or `NO_PROTOCOL`.
        times_ns: Nanoseconds since 1970.
        channel: Index of its channel.
        packet: Its number.
    """

    buffer: U8
    starts: I64
    sizes: I64
    protocols: I64
    times_ns: I64
    channel: I64
    packet: I64


@dataclass(slots=True)
class Found:
    """What frames hold.

    Attributes:
        segments: Of the ports of DoIP, in order.
        unread: Packets of other protocols, by their name.
        services: Messages of SOME/IP, by service.
    """

    segments: list[Segment] = field(default_factory=list)
    unread: dict[str, int] = field(default_factory=dict)
    services: dict[int, int] = field(default_factory=dict)

    def count(self, name: str, count: int) -> None:
        """Count packets that are not read."""
        if count:
            self.unread[name] = self.unread.get(name, 0) + count


@dataclass(slots=True)
class _Layers:
    """Frames whose headers are being read.

    Attributes:
        buffer: Holds them.
        at: Where the next header of each starts.
        end: Where each ends.
        kind: What the next header is.
        alive: Frames that are still read.
        found: What was found in them.
        ip: Where the header of IP starts.
        is_v6: It is IPv6.
    """

    buffer: U8
    at: I64
    end: I64
    kind: I64
    alive: Flags
    found: Found
    ip: I64
    is_v6: Flags

    def byte(self, rows: I64, offset: int) -> I64:
        return self.buffer[self.at[rows] + offset].astype(np.int64)

    def number(self, rows: I64, offset: int) -> I64:
        return self.byte(rows, offset) * 256 + self.byte(rows, offset + 1)

    def long(self, rows: I64, offset: int) -> I64:
        return self.number(rows, offset) * 65_536 + self.number(rows, offset + 2)

    def with_bytes(self, rows: I64, size: int, name: str) -> I64:
        """Return the rows that have so many bytes more; the others are counted and read no further."""
        has = self.end[rows] - self.at[rows] >= size
        self.drop(rows[~has], name)
        return rows[has]

    def drop(self, rows: I64, name: str) -> None:
        self.alive[rows] = False
        self.found.count(name, len(rows))


def find_segments(frames: Frames) -> Found:
    """Find the segments of DoIP, and count everything else by its protocol."""
    n = len(frames.starts)
    layers = _Layers(
        frames.buffer, frames.starts.copy(), frames.starts + frames.sizes, frames.protocols.copy(), np.ones(n, np.bool_),
        Found(), np.zeros(n, np.int64), np.zeros(n, np.bool_),
    )  # fmt: skip
    _read_link(layers)
    wire_end = _read_ip(layers)
    _read_transport(layers, wire_end, frames)
    return layers.found


def _read_link(layers: _Layers) -> None:
    """Read Ethernet headers with their VLAN tags, up to the header of IP."""
    rows = layers.with_bytes(np.flatnonzero(layers.kind == ETHERNET_HEADER), 14, "Ethernet, cut short")
    layers.kind[rows] = layers.number(rows, 12)
    layers.at[rows] += 14
    for _ in range(_MAX_TAGS):
        rows = np.flatnonzero(layers.alive & np.isin(layers.kind, _VLAN))
        rows = layers.with_bytes(rows, 4, "Ethernet, cut short")
        if not len(rows):
            break
        layers.kind[rows] = layers.number(rows, 2)
        layers.at[rows] += 4
    rows = np.flatnonzero(layers.alive & (layers.kind == NO_PROTOCOL))
    rows = layers.with_bytes(rows, 1, "IP, cut short")
    layers.kind[rows] = np.where(layers.byte(rows, 0) >> 4 == 6, _IPV6, _IPV4)
    for kind in np.unique(layers.kind[layers.alive]).tolist():
        if kind not in (_IPV4, _IPV6):
            name = _ETHERTYPES.get(kind) or (f"EtherType 0x{kind:04X}" if kind >= 0x600 else "LLC")
            layers.drop(np.flatnonzero(layers.alive & (layers.kind == kind)), name)


def _read_ip(layers: _Layers) -> I64:
    """Read the headers of IP up to the header of the transport; `kind` is its number then.

    Returns:
        Where each packet ended on the wire.
    """
    is_v4 = layers.kind == _IPV4
    layers.ip, layers.is_v6 = layers.at.copy(), ~is_v4
    wire_end = layers.end.copy()
    rows = layers.with_bytes(np.flatnonzero(layers.alive & is_v4), 20, "IP, cut short")
    first = layers.byte(rows, 0)
    header = (first & 15) * 4
    sound = (first >> 4 == 4) & (header >= 20)
    layers.drop(rows[~sound], "IP, malformed")
    rows, header = rows[sound], header[sound]
    total, fragment = layers.number(rows, 2), layers.number(rows, 6)
    # A total of 0 was left to the network card (segmentation offload).
    wire_end[rows] = np.where(total >= header, layers.at[rows] + total, layers.end[rows])
    layers.kind[rows] = layers.byte(rows, 9)
    layers.at[rows] += header
    layers.drop(rows[(fragment & 0x3FFF) != 0], "IP fragments")
    rows = layers.with_bytes(np.flatnonzero(layers.alive & ~is_v4), 40, "IP, cut short")
    sound = layers.byte(rows, 0) >> 4 == 6
    layers.drop(rows[~sound], "IP, malformed")
    rows = rows[sound]
    length = layers.number(rows, 4)
    wire_end[rows] = np.where(length > 0, layers.at[rows] + 40 + length, layers.end[rows])
    layers.kind[rows] = layers.byte(rows, 6)
    layers.at[rows] += 40
    for _ in range(_MAX_EXTENSIONS):
        more = np.isin(layers.kind[rows], (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION))
        rows = layers.with_bytes(rows[more & layers.alive[rows]], 8, "IP, cut short")
        if not len(rows):
            break
        kind, size = layers.kind[rows], layers.byte(rows, 1)
        is_fragment = kind == _FRAGMENT
        is_part = is_fragment & ((layers.number(rows, 2) & 0xFFF9) != 0)
        layers.kind[rows] = layers.byte(rows, 0)
        layers.at[rows] += np.where(is_fragment, 8, np.where(kind == _AUTHENTICATION, (size + 2) * 4, (size + 1) * 8))
        layers.drop(rows[is_part], "IP fragments")
        rows = rows[~is_part]
    layers.end = np.minimum(layers.end, wire_end)
    for kind in np.unique(layers.kind[layers.alive]).tolist():
        if kind not in (_TCP, _UDP):
            layers.drop(
                np.flatnonzero(layers.alive & (layers.kind == kind)), _IP_PROTOCOLS.get(kind, f"IP protocol {kind}")
            )
    return wire_end


def _read_transport(layers: _Layers, wire_end: I64, frames: Frames) -> None:
    """Read TCP and UDP: keep the segments of DoIP, count the others."""
    is_tcp = layers.kind == _TCP
    tcp = layers.with_bytes(np.flatnonzero(layers.alive & is_tcp), 20, "TCP, cut short")
    header = (layers.byte(tcp, 12) >> 4) * 4
    sound = (header >= 20) & (layers.at[tcp] + header <= layers.end[tcp])
    layers.drop(tcp[~sound], "TCP, malformed")
    layers.with_bytes(np.flatnonzero(layers.alive & ~is_tcp), 8, "UDP, cut short")
    rows = np.flatnonzero(layers.alive)
    if not len(rows):
        return
    ports = np.stack([layers.number(rows, 0), layers.number(rows, 2)])
    is_doip = (ports == DOIP_PORT).any(axis=0)
    bodies = layers.at.copy()
    bodies[tcp] += (layers.byte(tcp, 12) >> 4) * 4 * layers.alive[tcp]
    bodies[rows[~is_tcp[rows]]] += 8
    _count_others(layers, rows[~is_doip], ports[:, ~is_doip], bodies, is_tcp)
    for row, source, target in zip(rows[is_doip].tolist(), *ports[:, is_doip].tolist(), strict=True):
        layers.found.segments.append(_segment(layers, row, (source, target), int(bodies[row]), wire_end, frames))


def _segment(  # noqa: PLR0917 - one row of these arrays
    layers: _Layers, row: int, ports: tuple[int, int], body: int, wire_end: I64, frames: Frames
) -> Segment:
    at, end = int(layers.at[row]), int(layers.end[row])
    ip, size = int(layers.ip[row]), 16 if layers.is_v6[row] else 4
    source_at = ip + (8 if layers.is_v6[row] else 12)
    source = layers.buffer[source_at : source_at + size].tobytes()
    target = layers.buffer[source_at + size : source_at + 2 * size].tobytes()
    is_tcp = bool(layers.kind[row] == _TCP)
    one = np.array([row])
    missing = max(0, int(wire_end[row]) - max(end, body))
    return Segment(
        int(frames.channel[row]), int(frames.packet[row]), int(frames.times_ns[row]),
        source + ports[0].to_bytes(2, "big"), target + ports[1].to_bytes(2, "big"), is_tcp,
        int(layers.long(one, 4)[0]) if is_tcp else 0, int(layers.buffer[at + 13]) & 7 if is_tcp else 0,
        layers.buffer[body:end].tobytes(), missing,
    )  # fmt: skip


def _count_others(layers: _Layers, rows: I64, ports: I64, bodies: I64, is_tcp: Flags) -> None:
    """Count what is not DoIP: SOME/IP by its service, DoIP over TLS, and everything else."""
    is_tls = (ports == DOIP_TLS_PORT).any(axis=0) & is_tcp[rows]
    layers.found.count("DoIP over TLS", int(is_tls.sum()))
    rows = rows[~is_tls]
    has_header = layers.end[rows] - bodies[rows] >= _SOMEIP_BYTES
    some = rows[has_header]
    at = bodies[some]
    service, length = (
        _number(layers.buffer, at),
        _number(layers.buffer, at + 4) * 65_536 + _number(layers.buffer, at + 6),
    )
    room = layers.end[some] - at - _SOMEIP_COUNTED_AT
    is_someip = (
        (layers.buffer[at + 12] == 1)
        & np.isin(layers.buffer[at + 14], _SOMEIP_TYPES)
        & (length >= _SOMEIP_BYTES - _SOMEIP_COUNTED_AT)
        # A datagram holds whole messages; a segment may hold the start of one.
        & ((length <= room) | is_tcp[some])
        & (length < 2**24)
        & (service > 0)
    )
    for number, count in zip(*np.unique(service[is_someip], return_counts=True), strict=True):
        layers.found.services[int(number)] = int(count)
    rest = np.concatenate([rows[~has_header], some[~is_someip]])
    is_empty = is_tcp[rest] & (layers.end[rest] <= bodies[rest])
    layers.found.count("TCP without content", int(is_empty.sum()))
    layers.found.count("TCP of other ports", int((is_tcp[rest] & ~is_empty).sum()))
    layers.found.count("UDP of other ports", int((~is_tcp[rest]).sum()))


def _number(buffer: U8, at: I64) -> I64:
    return buffer[at].astype(np.int64) * 256 + buffer[at + 1]


def services_text(services: dict[int, int], listed: int = 10) -> Iterator[str]:
    """Yield the services of SOME/IP with their messages, most first."""
    ranked = sorted(services.items(), key=lambda item: (-item[1], item[0]))
    for service, count in ranked[:listed]:
        name = "service discovery" if service == _SOMEIP_DISCOVERY else f"0x{service:04X}"
        yield f"{count:,} of {name}"
    if len(ranked) > listed:
        yield f"{sum(count for _, count in ranked[listed:]):,} of {len(ranked) - listed:,} others"
