"""The layout of BLF: file header, object headers, the bodies of the objects that are read, and their flags.

Names and layouts are those of Vector's public `binlog_objects.h`; all numbers are little-endian.
"""

import struct
from enum import IntEnum
from typing import Final

import numpy as np

MAGIC: Final = b"LOGG"

# signature, size of the header, application and its version (4), version of the format (4), file size, size of all
# objects inflated, number of objects, objects read, start and end of the measurement (SYSTEMTIME: year, month, day of
# the week, day, hour, minute, second, millisecond)
FILE_HEAD: Final = struct.Struct("<4sIBBBBBBBBQQII8H8H")
OBJECT_COUNT: Final = 12
"""Field of `FILE_HEAD`."""
START_TIME: Final = slice(14, 22)
"""Fields of `FILE_HEAD`."""
START_TIME_AT: Final = 40
"""Offset of the start in the file."""
FILE_HEAD_BYTES: Final = 144
"""Size of the header as it is written, with what is reserved at its end."""

OBJECT_MAGIC: Final = b"LOBJ"

# signature, size of the header, version of the header, size of the object with its headers, object type
BASE: Final = struct.Struct("<4sHHII")
OBJECT_SIGNATURE: Final = int.from_bytes(OBJECT_MAGIC, "little")
"""The same as a number."""

# compression, reserved (6), inflated size, reserved (4)
CONTAINER: Final = struct.Struct("<H6xI4x")
NO_COMPRESSION, ZLIB = 0, 2

# The base header, and what version 1 and version 2 of the object header have in common.
OBJECT_HEAD: Final = np.dtype(
    [
        ("signature", "<u4"), ("header_size", "<u2"), ("header_version", "<u2"), ("size", "<u4"), ("type", "<u4"),
        ("flags", "<u4"), ("client", "<u2"), ("version", "<u2"), ("timestamp", "<u8"),
    ]
)  # fmt: skip
HEADER_BYTES: Final = {1: 32, 2: 40}
"""Size of both headers by version."""
TIME_TEN_MICS: Final = 0x1
"""Flag of an object header: the timestamp counts 10 µs instead of nanoseconds."""


class ObjectType(IntEnum):
    """Object types, as far as they are read or reported."""

    CAN_MESSAGE = 1
    CAN_ERROR = 2
    LOG_CONTAINER = 10
    LIN_MESSAGE = 11
    MOST_SPY = 22
    MOST_CTRL = 23
    FLEXRAY_DATA = 29
    FLEXRAY_CYCLE = 40
    FLEXRAY_MESSAGE = 41
    FR_RCVMESSAGE = 50
    LIN_MESSAGE2 = 57
    ETHERNET_FRAME = 71
    CAN_ERROR_EXT = 73
    CAN_MESSAGE2 = 86
    WLAN_FRAME = 93
    CAN_FD_MESSAGE = 100
    CAN_FD_MESSAGE_64 = 101
    CAN_FD_ERROR_64 = 104
    RESTORE_POINT_CONTAINER = 115
    ETHERNET_FRAME_EX = 120
    ETHERNET_FRAME_FORWARDED = 121
    MOST_PKT = 32
    MOST_PKT2 = 33
    FR_RCVMESSAGE_EX = 66
    AFDX_FRAME = 97
    KLINE_STATUSEVENT = 99
    CAN_XL_CHANNEL_FRAME = 139
    CAN_XL_FRAME = 140


MAX_TYPE: Final = 255
"""Object types are small numbers (150 in 2024); what is far beyond was damaged."""
FRAME_TYPES: Final = frozenset(
    {
        ObjectType.CAN_MESSAGE, ObjectType.CAN_MESSAGE2, ObjectType.CAN_FD_MESSAGE, ObjectType.CAN_FD_MESSAGE_64,
        ObjectType.CAN_ERROR, ObjectType.CAN_ERROR_EXT, ObjectType.CAN_FD_ERROR_64, ObjectType.LIN_MESSAGE,
        ObjectType.LIN_MESSAGE2,
    }
)  # fmt: skip
"""Objects that become frames."""
ETHERNET_TYPES: Final = (
    ObjectType.ETHERNET_FRAME,
    ObjectType.ETHERNET_FRAME_EX,
    ObjectType.ETHERNET_FRAME_FORWARDED,
)
"""Objects of Ethernet frames, whose diagnostic messages become frames."""
UNREAD_BUSES: Final[dict[int, str]] = {
    ObjectType.MOST_SPY: "MOST", ObjectType.MOST_CTRL: "MOST", ObjectType.FLEXRAY_DATA: "FlexRay",
    ObjectType.FLEXRAY_CYCLE: "FlexRay", ObjectType.FLEXRAY_MESSAGE: "FlexRay", ObjectType.FR_RCVMESSAGE: "FlexRay",
    ObjectType.WLAN_FRAME: "WLAN", ObjectType.MOST_PKT: "MOST",
    ObjectType.MOST_PKT2: "MOST", ObjectType.FR_RCVMESSAGE_EX: "FlexRay", ObjectType.AFDX_FRAME: "AFDX",
    ObjectType.KLINE_STATUSEVENT: "K-Line", ObjectType.CAN_XL_CHANNEL_FRAME: "CAN XL", ObjectType.CAN_XL_FRAME: "CAN XL",
}  # fmt: skip
"""Buses of frames that are not read, by object type."""

# CAN_MESSAGE and CAN_MESSAGE2: channel, flags, DLC, identifier; 8 data bytes follow
CAN_MESSAGE: Final = np.dtype([("channel", "<u2"), ("flags", "u1"), ("dlc", "u1"), ("id", "<u4")])

# CAN_ERROR: channel; a length (2) follows
CAN_ERROR: Final = np.dtype([("channel", "<u2")])

# CAN_ERROR_EXT: channel, length, flags (0x1: the SJA1000's error code capture is valid), ECC, position, DLC,
# reserved, frame length in ns, identifier; extended flags (2), reserved (2) and 8 data bytes follow
CAN_ERROR_EXT: Final = np.dtype(
    [
        ("channel", "<u2"), ("length", "<u2"), ("flags", "<u4"), ("ecc", "u1"), ("position", "u1"), ("dlc", "u1"),
        ("_", "u1"), ("frame_length", "<u4"), ("id", "<u4"),
    ]
)  # fmt: skip
CAN_ERROR_EXT_DATA_AT: Final = CAN_ERROR_EXT.itemsize + 4

# CAN_FD_MESSAGE: channel, flags, DLC, identifier, frame length in ns, bit count, FD flags, number of data bytes,
# reserved; 64 data bytes follow
CAN_FD_MESSAGE: Final = np.dtype(
    [
        ("channel", "<u2"), ("flags", "u1"), ("dlc", "u1"), ("id", "<u4"), ("frame_length", "<u4"),
        ("bit_count", "u1"), ("fd_flags", "u1"), ("valid", "u1"), ("_", "u1", 5),
    ]
)  # fmt: skip

# CAN_FD_MESSAGE_64: channel, DLC, number of data bytes, transmissions, identifier, frame length in ns, flags, bit
# timing of both phases, offsets of BRS and CRC delimiter in ns, bit count, direction, offset of more data, CRC;
# as many data bytes as stated follow
CAN_FD_MESSAGE_64: Final = np.dtype(
    [
        ("channel", "u1"), ("dlc", "u1"), ("valid", "u1"), ("tx_count", "u1"), ("id", "<u4"), ("frame_length", "<u4"),
        ("flags", "<u4"), ("arbitration", "<u4"), ("data", "<u4"), ("brs", "<u4"), ("crc_delimiter", "<u4"),
        ("bit_count", "<u2"), ("dir", "u1"), ("ext_offset", "u1"), ("crc", "<u4"),
    ]
)  # fmt: skip

# CAN_FD_ERROR_64: channel, DLC, number of data bytes, ECC, flags, error code, extended flags, offset of more data,
# reserved, identifier; frame length, bit timing and positions follow
CAN_FD_ERROR_64: Final = np.dtype(
    [
        ("channel", "u1"), ("dlc", "u1"), ("valid", "u1"), ("ecc", "u1"), ("flags", "<u2"), ("code", "<u2"),
        ("ext_flags", "<u2"), ("ext_offset", "u1"), ("_", "u1"), ("id", "<u4"), ("rest", "u1", 28),
    ]
)  # fmt: skip

# LIN_MESSAGE: channel, identifier, number of data bytes, data, state of the slave's state machine and times (4), CRC,
# direction
LIN_MESSAGE: Final = np.dtype(
    [
        ("channel", "<u2"), ("id", "u1"), ("dlc", "u1"), ("data", "u1", 8), ("state", "u1", 4), ("crc", "<u2"),
        ("dir", "u1"),
    ]
)  # fmt: skip

# LIN_MESSAGE2: start of frame in ns, baud rate, channel, times of sync and message (23), identifier, number of data
# bytes, checksum model, end of each byte in ns (9 of 8), data, CRC, direction
LIN_MESSAGE2: Final = np.dtype(
    [
        ("sof", "<u8"), ("baudrate", "<u4"), ("channel", "<u2"), ("_", "u1", 23), ("id", "u1"), ("dlc", "u1"),
        ("model", "u1"), ("times", "u1", 72), ("data", "u1", 8), ("crc", "<u2"), ("dir", "u1"),
    ]
)  # fmt: skip

# ETHERNET_FRAME: source, channel, destination, direction, EtherType, VLAN tag (TPID, TCI), bytes of the payload,
# reserved; the payload follows
ETHERNET_FRAME: Final = np.dtype(
    [
        ("source", "u1", 6), ("channel", "<u2"), ("destination", "u1", 6), ("dir", "<u2"), ("type", "<u2"),
        ("tpid", "<u2"), ("tci", "<u2"), ("length", "<u2"), ("_", "u1", 8),
    ]
)  # fmt: skip

# ETHERNET_FRAME_EX and ETHERNET_FRAME_FORWARDED: length of this structure, flags, channel, hardware channel, duration in
# ns, checksum, direction, bytes of the frame, handle, reserved; the frame follows from its destination address on
ETHERNET_FRAME_EX: Final = np.dtype(
    [
        ("struct_length", "<u2"), ("flags", "<u2"), ("channel", "<u2"), ("hardware_channel", "<u2"),
        ("duration", "<u8"), ("checksum", "<u4"), ("dir", "<u2"), ("length", "<u2"), ("handle", "<u4"), ("_", "<u4"),
    ]
)  # fmt: skip

MAX_BODY_BYTES: Final = 160
"""At least as many as the longest of these bodies."""

EXTENDED_ID: Final = 0x80000000
"""In an identifier: it has 29 bits."""
ID_MASK: Final = 0x1FFFFFFF
DIRECTION: Final = 0x0F
"""In `flags` of CAN_MESSAGE and CAN_FD_MESSAGE: received, sent by the logger (1), or its request to send (2)."""
REMOTE: Final = 0x80
"""In the same flags: a remote frame."""
EDL: Final = 0x01
"""In `fd_flags` of CAN_FD_MESSAGE: a frame of CAN FD."""
REMOTE_64: Final = 0x0010
"""In `flags` of CAN_FD_MESSAGE_64: a remote frame."""
EDL_64: Final = 0x1000
"""In the same flags: a frame of CAN FD."""
RX: Final = 0
"""In `dir`: the frame was received."""
