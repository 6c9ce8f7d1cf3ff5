"""The layout of packet captures: pcap (draft-ietf-opsawg-pcap), pcapng (draft-ietf-opsawg-pcapng), and link layers.

Numbers of a file have the byte order of the machine that wrote it, those of link layers are big-endian.
"""

import struct
from enum import IntEnum
from typing import Final, Literal

Order = Literal["<", ">"]
"""Byte order, as `struct` and numpy spell it."""

# ------------------------------------------------------------------------------------------ pcap

PCAP_MAGIC: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
"""First bytes of a pcap file → byte order, and nanoseconds of a unit of the fraction of a second."""

# magic (4), version (2 of 2), time zone and accuracy (both unused), snap length, link type with flags above 16 bits
PCAP_HEAD: Final = "IHHiIII"
PCAP_HEAD_BYTES: Final = 24
LINK_TYPE_MASK: Final = 0xFFFF

# seconds, fraction, captured bytes, bytes on the wire
RECORD_BYTES: Final = 16
RECORD_CAPTURED_AT: Final = 8

MAX_PACKET_BYTES: Final = 262_144
"""Longest packet that libpcap captures (`MAXIMUM_SNAPLEN`); what states more was damaged."""

# ------------------------------------------------------------------------------------------ pcapng


class BlockType(IntEnum):
    """Blocks of pcapng (section 11.1, "Standardized Block Type Codes")."""

    INTERFACE = 1
    PACKET = 2
    SIMPLE_PACKET = 3
    NAME_RESOLUTION = 4
    STATISTICS = 5
    ENHANCED_PACKET = 6
    SYSTEMD_JOURNAL = 9
    DECRYPTION_SECRETS = 10
    SECTION = 0x0A0D0D0A


PCAPNG_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
BYTE_ORDER: Final[dict[bytes, Order]] = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
"""Byte-order magic of a section."""
BYTE_ORDER_AT: Final = 8
SECTION_LENGTH_AT: Final = 16
SECTION_BYTES: Final = 28
"""Smallest section header: type, length, byte order, version (2 of 2), section length (8), length again."""

# type and total length; the length follows once more at the end
BLOCK_HEAD_BYTES: Final = 8
MIN_BLOCK_BYTES: Final = 12
# interface, time (upper and lower half), captured bytes, bytes on the wire
ENHANCED_BYTES: Final = 28
# interface (2), packets dropped before it (2), and on as an enhanced packet
OLD_PACKET_BYTES: Final = 28
# bytes on the wire
SIMPLE_BYTES: Final = 12
# link type (2), reserved (2), snap length
INTERFACE_BYTES: Final = 16
"""These five: bytes of a block before its packet or its options."""

OPTION_END: Final = 0
IF_NAME, IF_TSRESOL, IF_TSOFFSET = 2, 9, 14
PACKET_FLAGS: Final = 2
"""`epb_flags` and `pack_flags`: bits 0 and 1 are the direction, 1 inbound, 2 outbound."""
INBOUND, OUTBOUND = 1, 2
STATISTICS_DROPPED: Final = (5, 7)
"""`isb_ifdrop` and `isb_osdrop`: packets that the interface and the system dropped, 64 bits each."""

# ------------------------------------------------------------------------------------------ link types


class LinkType(IntEnum):
    """Link types that are read (https://www.tcpdump.org/linktypes.html)."""

    ETHERNET = 1
    RAW_IP = 101
    COOKED = 113
    CAN = 227
    IPV4 = 228
    IPV6 = 229
    COOKED_2 = 276


LINK_NAMES: Final = {
    0: "BSD loopback", 105: "WLAN", 127: "WLAN with radiotap", 189: "USB of Linux", 190: "CAN 2.0b of Agilent",
    195: "IEEE 802.15.4", 201: "Bluetooth HCI", 210: "FlexRay", 211: "MOST", 212: "LIN", 220: "USB of Linux, padded",
    249: "USBPcap", 253: "netlink", 266: "DLT of AUTOSAR",
}  # fmt: skip
"""Link types that are reported by name: those that vehicles and their test benches have."""

COOKED_BYTES: Final = {LinkType.COOKED: 16, LinkType.COOKED_2: 20}
COOKED_PROTOCOL_AT: Final = {LinkType.COOKED: 14, LinkType.COOKED_2: 0}
COOKED_SENT_AT: Final = {LinkType.COOKED: 1, LinkType.COOKED_2: 10}
"""Offset of the (low byte of the) packet type."""
COOKED_INDEX_AT: Final = 4
"""Offset of the interface index, which only version 2 has."""
COOKED_SENT: Final = 4
"""Packet type of what the recorder sent itself."""
PROTOCOL_CAN, PROTOCOL_CAN_FD, PROTOCOL_CAN_XL = 0x000C, 0x000D, 0x000E
"""Protocols of cooked captures (linux/if_ether.h)."""

# SocketCAN: identifier with flags (4), length, flags of CAN FD, reserved, DLC above 8 of a classic frame
CAN_HEAD_BYTES: Final = 8
CAN_EXTENDED, CAN_REMOTE, CAN_ERROR = 0x80000000, 0x40000000, 0x20000000
CAN_ID, CAN_STANDARD_ID = 0x1FFFFFFF, 0x7FF
CAN_FDF: Final = 0x04
"""In the flags: a frame of CAN FD; older recorders leave it out."""
CAN_XLF: Final = 0x80
"""In the fifth byte: a frame of CAN XL, whose header is another."""
CAN_FD_PACKET: Final = 72
"""Bytes of a packet that is CAN FD without that flag."""


def struct_of(order: Order, fields: str) -> struct.Struct:
    """Return a layout in a byte order."""
    return struct.Struct(order + fields)
