"""ROS 2 messages as bytes: the few types that the simulator records, in CDR (little endian), with their definitions.

The definitions are those of can_msgs, rcl_interfaces, diagnostic_msgs and std_msgs, so that any reader decodes them.
"""

import struct
from collections.abc import Sequence
from typing import Final

_HEADER: Final = """
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
"""
_TIME: Final = """
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""

DEFINITIONS: Final = {
    "can_msgs/msg/Frame": "std_msgs/Header header\nuint32 id\nbool is_rtr\nbool is_extended\nbool is_error\nuint8 dlc\nuint8[8] data"
    + _HEADER
    + _TIME,
    "rcl_interfaces/msg/Log": "builtin_interfaces/Time stamp\nuint8 level\nstring name\nstring msg\nstring file\nstring function\nuint32 line"
    + _TIME,
    "diagnostic_msgs/msg/DiagnosticArray": "std_msgs/Header header\ndiagnostic_msgs/DiagnosticStatus[] status"
    + _HEADER
    + _TIME
    + """
================================================================================
MSG: diagnostic_msgs/DiagnosticStatus
byte level
string name
string message
string hardware_id
diagnostic_msgs/KeyValue[] values
================================================================================
MSG: diagnostic_msgs/KeyValue
string key
string value
""",
    "std_msgs/msg/Float64": "float64 data",
}


class CdrWriter:
    """Writes primitive values in order; alignment counts from the byte after the encapsulation header."""

    def __init__(self) -> None:
        self._out = bytearray(b"\x00\x01\x00\x00")

    def put(self, code: str, value: float) -> "CdrWriter":
        """A number of the `struct` code."""
        size = struct.calcsize(code)
        self._out += bytes(-(len(self._out) - 4) % size)
        self._out += struct.pack("<" + code, value)
        return self

    def text(self, value: str) -> "CdrWriter":
        """A string with its length and end mark."""
        raw = value.encode() + b"\0"
        self.put("I", len(raw))
        self._out += raw
        return self

    def raw(self, value: bytes) -> "CdrWriter":
        """Bytes as they are."""
        self._out += value
        return self

    def time(self, ns: int) -> "CdrWriter":
        """A builtin_interfaces/Time."""
        return self.put("i", ns // 10**9).put("I", ns % 10**9)

    def done(self) -> bytes:
        """The message."""
        return bytes(self._out)


def can_frame(ns: int, can_id: int, *, extended: bool, data: bytes, length: int) -> bytes:
    """can_msgs/msg/Frame."""
    writer = CdrWriter().time(ns).text("can0").put("I", can_id)
    return writer.raw(bytes([0, extended, 0, length])).raw(data.ljust(8, b"\0")).done()


def log(ns: int, level: int, name: str, message: str, line: int) -> bytes:
    """rcl_interfaces/msg/Log."""
    return (
        CdrWriter()
        .time(ns)
        .put("B", level)
        .text(name)
        .text(message)
        .text(f"{name}.cpp")
        .text("tick")
        .put("I", line)
        .done()
    )


def diagnostic_array(ns: int, statuses: Sequence[tuple[int, str, str, str, dict[str, str]]]) -> bytes:
    """diagnostic_msgs/msg/DiagnosticArray of (level, name, message, hardware_id, values)."""
    writer = CdrWriter().time(ns).text("").put("I", len(statuses))
    for level, name, message, hardware, values in statuses:
        writer.put("B", level).text(name).text(message).text(hardware).put("I", len(values))
        for key, value in values.items():
            writer.text(key).text(value)
    return writer.done()


def float64(value: float) -> bytes:
    """std_msgs/msg/Float64."""
    return CdrWriter().put("d", value).done()
