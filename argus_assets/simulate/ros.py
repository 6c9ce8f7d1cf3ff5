"""ROS 2 messages as bytes: the few types that the simulator records, in CDR (little endian), with their definitions.

The definitions are those of can_msgs, rcl_interfaces, diagnostic_msgs, sensor_msgs and std_msgs, and two of the
simulated stack's own package, argus_msgs, so that any reader decodes them.
"""

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from argus_assets.simulate.can import ERROR_FLAG, CanLog

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
    "sensor_msgs/msg/NavSatFix": "std_msgs/Header header\nsensor_msgs/NavSatStatus status\nfloat64 latitude\nfloat64 longitude\nfloat64 altitude\nfloat64[9] position_covariance\nuint8 position_covariance_type"
    + _HEADER
    + _TIME
    + """
================================================================================
MSG: sensor_msgs/NavSatStatus
int8 status
uint16 service
""",
    "argus_msgs/msg/ComputeStatus": "std_msgs/Header header\nfloat32 cpu_temperature_c\nfloat32 cpu_load_pct\nfloat32 memory_used_mib\nfloat32 disk_write_latency_ms"
    + _HEADER
    + _TIME,
    "argus_msgs/msg/LidarStatus": "std_msgs/Header header\nuint32 points_per_second\nfloat32 packet_loss_pct"
    + _HEADER
    + _TIME,
}


_CAN_FRAME: Final = np.dtype(
    [
        ("encapsulation", "u1", 4),
        ("sec", "<i4"),
        ("nanosec", "<u4"),
        ("frame_id_length", "<u4"),
        ("frame_id", "S8"),  # "can0", its end mark, and three bytes that align what follows
        ("id", "<u4"),
        ("is_rtr", "u1"),
        ("is_extended", "u1"),
        ("is_error", "u1"),
        ("dlc", "u1"),
        ("data", "u1", 8),
    ]
)
"""A can_msgs/msg/Frame of the interface can0: all have the same size."""


class CdrWriter:
    """Writes primitive values in order; alignment counts from the byte after the encapsulation header."""

    def __init__(self) -> None:
        self._out = bytearray(b"\x00\x01\x00\x00")

    def put(self, code: str, value: float) -> "CdrWriter":
        """Write a number of the `struct` code."""
        size = struct.calcsize(code)
        self._out += bytes(-(len(self._out) - 4) % size)
        self._out += struct.pack("<" + code, value)
        return self

    def text(self, value: str) -> "CdrWriter":
        """Write a string with its length and terminator."""
        raw = value.encode() + b"\0"
        self.put("I", len(raw))
        self._out += raw
        return self

    def raw(self, value: bytes) -> "CdrWriter":
        """Write bytes as they are."""
        self._out += value
        return self

    def time(self, ns: int) -> "CdrWriter":
        """Write a builtin_interfaces/Time."""
        return self.put("i", ns // 10**9).put("I", ns % 10**9)

    def done(self) -> bytes:
        """Return the message."""
        return bytes(self._out)


def can_frame(ns: int, can_id: int, *, extended: bool, data: bytes, length: int) -> bytes:
    """Return a can_msgs/msg/Frame of one data frame."""
    writer = CdrWriter().time(ns).text("can0").put("I", can_id)
    return writer.raw(bytes([0, extended, 0, length])).raw(data.ljust(8, b"\0")).done()


def can_frames(times_ns: npt.NDArray[np.int64], can: CanLog) -> npt.NDArray[np.uint8]:
    """Return a can_msgs/msg/Frame of all frames of a log, shape (n, bytes of one message)."""
    out = np.zeros(len(times_ns), _CAN_FRAME)
    out["encapsulation"] = [0, 1, 0, 0]
    out["sec"], out["nanosec"] = times_ns // 10**9, times_ns % 10**9
    out["frame_id_length"], out["frame_id"] = 5, b"can0"
    out["id"] = can.can_id & ~np.uint32(ERROR_FLAG)
    out["is_extended"], out["is_error"] = can.extended, can.error
    out["dlc"], out["data"] = can.length, can.data
    return out.view(np.uint8).reshape(len(times_ns), _CAN_FRAME.itemsize)


def log(ns: int, level: int, name: str, message: str, line: int) -> bytes:
    """Return an rcl_interfaces/msg/Log."""
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
    """Return a diagnostic_msgs/msg/DiagnosticArray of (level, name, message, hardware_id, values)."""
    writer = CdrWriter().time(ns).text("").put("I", len(statuses))
    for level, name, message, hardware, values in statuses:
        writer.put("B", level).text(name).text(message).text(hardware).put("I", len(values))
        for key, value in values.items():
            writer.text(key).text(value)
    return writer.done()


def float64(value: float) -> bytes:
    """Return a std_msgs/msg/Float64."""
    return CdrWriter().put("d", value).done()


def nav_sat_fix(ns: int, status: int, latitude: float, longitude: float, altitude: float) -> bytes:
    """Return a sensor_msgs/msg/NavSatFix of a GPS receiver; status -1 is no fix."""
    writer = CdrWriter().time(ns).text("gnss").put("b", status).put("H", 1)
    for value in (latitude, longitude, altitude, *(0.0,) * 9):
        writer.put("d", value)
    return writer.put("B", 0).done()


def compute_status(ns: int, temperature_c: float, load_pct: float, memory_mib: float, disk_ms: float) -> bytes:
    """Return an argus_msgs/msg/ComputeStatus."""
    writer = CdrWriter().time(ns).text("orin-0")
    return writer.put("f", temperature_c).put("f", load_pct).put("f", memory_mib).put("f", disk_ms).done()


def lidar_status(ns: int, points_per_second: int, packet_loss_pct: float) -> bytes:
    """Return an argus_msgs/msg/LidarStatus."""
    return CdrWriter().time(ns).text("lidar_top").put("I", points_per_second).put("f", packet_loss_pct).done()
