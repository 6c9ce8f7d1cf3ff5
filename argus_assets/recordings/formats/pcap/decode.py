"""Packets by their link type: frames of CAN, segments of DoIP, and counts of what is not read."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from argus_assets.recordings.columns import I64, rows_at
from argus_assets.recordings.ethernet.segments import (
    ETHERNET_HEADER,
    NO_PROTOCOL,
    Found,
    Frames,
    find_segments,
)
from argus_assets.recordings.formats.pcap import layout
from argus_assets.recordings.formats.pcap.can import CanPackets, decode_can
from argus_assets.recordings.formats.pcap.layout import LINK_NAMES, LinkType
from argus_assets.recordings.formats.pcap.packets import Packets


@dataclass(slots=True)
class DecodedPackets:
    """What some packets hold.

    Attributes:
        frames: `schema.FRAMES`, not numbered.
        channels: Frames by channel and kind.
        unread: Packets that are not read, by what they are.
        short: Packets of CAN without a whole header.
        cut: Frames with fewer data bytes than they state.
        at: Where in the file they are.
        held_bytes: Memory that the payloads keep.
        packet: Number of the packet of each frame.
        names: Channels of `ethernet`.
        ethernet: What Ethernet frames hold.
    """

    frames: pl.DataFrame
    channels: dict[tuple[str, str], int]
    at: int
    held_bytes: int
    unread: dict[str, int] = field(default_factory=dict)
    short: int = 0
    cut: int = 0
    packet: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    names: list[str] = field(default_factory=list)
    ethernet: Found = field(default_factory=Found)


_PROTOCOLS: Final = {
    LinkType.ETHERNET: ETHERNET_HEADER, LinkType.RAW_IP: NO_PROTOCOL, LinkType.IPV4: NO_PROTOCOL,
    LinkType.IPV6: NO_PROTOCOL,
}  # fmt: skip
"""Link types of Ethernet and IP, and what their packets start with."""


def decode_packets(packets: Packets) -> DecodedPackets:
    """Decode packets of any link types."""
    buffer = np.frombuffer(packets.data, np.uint8)
    links = np.array([i.link_type for i in packets.interfaces], np.int64)[packets.interface]
    little = np.array([i.order == "<" for i in packets.interfaces], np.bool_)[packets.interface]
    names = [i.channel for i in packets.interfaces]
    n = len(packets)
    starts, sizes, directions = packets.starts, packets.sizes, packets.directions
    channel, protocols = packets.interface, np.zeros(n, np.int64)
    is_can = links == LinkType.CAN
    is_little = np.zeros(n, np.bool_)
    is_ethernet = np.zeros(n, np.bool_)
    unread: dict[str, int] = {}
    short = 0
    for link in (LinkType.COOKED, LinkType.COOKED_2):
        rows = np.flatnonzero(links == link)
        if not len(rows):
            continue
        if starts is packets.starts:
            starts, sizes, directions, channel = starts.copy(), sizes.copy(), directions.copy(), channel.copy()
        head_bytes = layout.COOKED_BYTES[link]
        has_head = sizes[rows] >= head_bytes
        short += int((~has_head).sum())
        rows = rows[has_head]
        heads = rows_at(buffer, starts[rows], head_bytes)
        at = layout.COOKED_PROTOCOL_AT[link]
        protocols[rows] = heads[:, at].astype(np.int64) * 256 + heads[:, at + 1]
        sent = heads[:, layout.COOKED_SENT_AT[link]] == layout.COOKED_SENT
        directions[rows] = np.where(sent, layout.OUTBOUND, layout.INBOUND)
        if link == LinkType.COOKED_2:
            channel[rows], names = _by_index(channel[rows], heads, names)
        starts[rows] += head_bytes
        sizes[rows] -= head_bytes
        of_can = np.isin(protocols[rows], [layout.PROTOCOL_CAN, layout.PROTOCOL_CAN_FD, layout.PROTOCOL_CAN_XL])
        is_can[rows] = of_can
        # The recorder's own byte order (libpcap, pcap/sll.h), which is that of the file.
        is_little[rows] = little[rows]
        is_ethernet[rows[~of_can]] = True
    for link, protocol in _PROTOCOLS.items():
        rows = np.flatnonzero(links == link)
        is_ethernet[rows], protocols[rows] = True, protocol
    known = [LinkType.CAN, LinkType.COOKED, LinkType.COOKED_2, *_PROTOCOLS]
    for link, count in zip(*np.unique(links[~np.isin(links, known)], return_counts=True), strict=True):
        _count(unread, _link_name(int(link)), int(count))
    rows = np.flatnonzero(is_can)
    decoded = decode_can(
        CanPackets(
            buffer, starts[rows], sizes[rows], packets.times_ns[rows], channel[rows], names, directions[rows],
            protocols[rows], is_little[rows], rows,
        )
    )  # fmt: skip
    _count(unread, "CAN XL", decoded.xl)
    counts = decoded.frames.group_by("channel").len()
    channels = {(str(name), "can"): int(count) for name, count in counts.iter_rows()}
    ethernet = Found()
    rows = np.flatnonzero(is_ethernet)
    if len(rows):
        ethernet = find_segments(
            Frames(buffer, starts[rows], sizes[rows], protocols[rows], packets.times_ns[rows], channel[rows], rows)
        )
    return DecodedPackets(
        decoded.frames, channels, packets.at, len(packets.data), unread, short + decoded.short, decoded.cut,
        decoded.packet, names, ethernet,
    )  # fmt: skip


def _by_index(channel: I64, heads: np.ndarray, names: list[str]) -> tuple[I64, list[str]]:
    """Give the interfaces of a capture of all of them (`tcpdump -i any`) a channel each, by their index in the system."""
    at = layout.COOKED_INDEX_AT
    index = np.ascontiguousarray(heads[:, at : at + 4]).view(">u4").reshape(-1).astype(np.int64)
    keys, inverse = np.unique(channel << 32 | index, return_inverse=True)
    more = [f"{names[key >> 32]}:{key & 0xFFFFFFFF}" for key in keys.tolist()]
    return len(names) + inverse.reshape(-1), [*names, *more]


def _count(counts: dict[str, int], name: str, count: int) -> None:
    if count:
        counts[name] = counts.get(name, 0) + count


def _link_name(link: int) -> str:
    known: dict[int, str] = {
        LinkType.ETHERNET: "Ethernet",
        LinkType.RAW_IP: "IP",
        LinkType.IPV4: "IP",
        LinkType.IPV6: "IP",
    }
    name = known.get(link) or LINK_NAMES.get(link)
    return f"{name} (link type {link})" if name else f"link type {link}"
