"""Messages that the platform understands beyond their bytes: CAN frames, log entries, diagnostics.

CAN frames come by the million and are decoded as arrays; the others one by one.
"""

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from argus_assets.recordings.columns import I64, U8, rows_at
from argus_assets.recordings.messages.cdr import MAX_ITEMS, MAX_TEXT, CdrCursor, CdrError

CAN_FRAME: Final = "can_msgs/msg/Frame"
CAN_FRAME_1: Final = "can_msgs/Frame"
"""The same in ROS 1."""
CAN_FD_FRAME: Final = "ros2_socketcan_msgs/msg/FdFrame"
ROS_LOG: Final = "rcl_interfaces/msg/Log"
FOXGLOVE_LOG: Final = "foxglove.Log"
DIAGNOSTIC_ARRAY: Final = "diagnostic_msgs/msg/DiagnosticArray"
DIAGNOSTIC_ARRAYS: Final = (DIAGNOSTIC_ARRAY, "diagnostic_msgs/DiagnosticArray")
"""The names of the type in ROS 2, and in ROS 1 and JSON."""

MAX_STATUS_VALUES: Final = 64
_LONG_JSON: Final = 1024**2
_MAX_JSON_VALUES: Final = 262_144
"""Values of a message in JSON that is longer than `_LONG_JSON` bytes."""

_ID_EFF: Final = 0x80000000
_ID_RTR: Final = 0x40000000
_ID_ERR: Final = 0x20000000
"""Flag bits that SocketCAN keeps in the identifier (linux/can.h)."""

FOXGLOVE_LEVELS: Final = {0: 0, 1: 10, 2: 20, 3: 30, 4: 40, 5: 50}
ROS1_LEVELS: Final = {1: 10, 2: 20, 4: 30, 8: 40, 16: 50}
"""Levels of `rosgraph_msgs/Log`, each a bit."""

LOG_LEVELS: Final[Mapping[str, Mapping[int, int] | None]] = {
    ROS_LOG: None,
    "rcl_interfaces/Log": None,
    FOXGLOVE_LOG: FOXGLOVE_LEVELS,
    "foxglove_msgs/msg/Log": FOXGLOVE_LEVELS,
    "foxglove_msgs/Log": FOXGLOVE_LEVELS,
    "rosgraph_msgs/Log": ROS1_LEVELS,
    "rosgraph_msgs/msg/Log": ROS1_LEVELS,
}
"""Types of log entries → what their levels mean in those of ROS 2; `None` where they are these."""
_STATUS_NAMES: Final = {"OK": 0, "WARN": 1, "WARNING": 1, "ERROR": 2, "STALE": 3}
_LEVEL_NAMES: Final = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "WARN": 30, "ERROR": 40, "FATAL": 50}


@dataclass(frozen=True, slots=True)
class CanArrays:
    """CAN frames as arrays of one length.

    Attributes:
        ok: Rows that could be read; the others hold zeros.
        starts: Where each frame's data bytes are in the buffer that was decoded.
        lengths: Data bytes of each frame.
    """

    ok: npt.NDArray[np.bool_]
    arbitration_id: npt.NDArray[np.uint32]
    is_extended_id: npt.NDArray[np.bool_]
    is_remote_frame: npt.NDArray[np.bool_]
    is_error_frame: npt.NDArray[np.bool_]
    is_fd: bool
    dlc: npt.NDArray[np.uint8]
    starts: I64
    lengths: I64

    def only_ok(self) -> "CanArrays":
        """Return the rows that could be read."""
        ok = self.ok
        return CanArrays(
            ok[ok], self.arbitration_id[ok], self.is_extended_id[ok], self.is_remote_frame[ok],
            self.is_error_frame[ok], self.is_fd, self.dlc[ok], self.starts[ok], self.lengths[ok],
        )  # fmt: skip


_FD_LENGTHS: Final = (12, 16, 20, 24, 32, 48, 64)


def decode_can(buffer: U8, starts: I64, sizes: I64, schema: str) -> CanArrays:
    """Decode messages of `CAN_FRAME` or `CAN_FD_FRAME` in CDR, or of `CAN_FRAME_1` in ROS 1.

    ROS 1 has neither encapsulation nor alignment: a sequence number, stamp and frame_id, then the same fields.

    Layout after the 4-byte encapsulation: stamp (8 bytes), frame_id (string), then on a 4-byte boundary
    `can_msgs/msg/Frame`: id u32, is_rtr, is_extended, is_error, dlc, data[8];
    `ros2_socketcan_msgs/msg/FdFrame`: id u32, is_extended, is_error, len, pad, data (count u32, bytes).

    Args:
        buffer: Bytes that hold all messages.
        starts: Where each message's payload starts.
        sizes: Bytes of each payload.
        schema: Which of the two.
    """
    if schema == CAN_FRAME_1:
        return _decode_can_1(buffer, starts, sizes)
    is_fd = schema == CAN_FD_FRAME
    tail = 12 if is_fd else 16
    ok = sizes >= 4 + 12 + tail
    head = _rows_where(ok, buffer, starts, 16)
    little = head[:, 1] == 1
    ok &= (head[:, 0] == 0) & (head[:, 1] <= 1)
    text = _u32(head[:, 12:16], little).astype(np.int64)
    at = 4 + (12 + text + 3) // 4 * 4
    ok &= at + tail <= sizes
    body = _rows_where(ok, buffer, starts + at, tail)
    raw_id = _u32(body[:, 0:4], little)
    if is_fd:
        extended, error = body[:, 4] != 0, body[:, 5] != 0
        remote = np.zeros(len(starts), np.bool_)
        lengths = _u32(body[:, 8:12], little).astype(np.int64)
        ok &= (lengths <= 64) & (at + 12 + lengths <= sizes)
        first = starts + at + 12
        dlc = np.searchsorted(_FD_LENGTHS, lengths).astype(np.uint8) + np.uint8(9)
        dlc = np.where(lengths <= 8, lengths, dlc).astype(np.uint8)
    else:
        remote, extended, error, dlc = body[:, 4] != 0, body[:, 5] != 0, body[:, 6] != 0, body[:, 7]
        # A DLC of 9 to 15 is legal on classic CAN and means 8 bytes (ISO 11898-1, 8.4.2.4).
        ok &= dlc <= 15
        lengths = np.minimum(dlc, 8).astype(np.int64)
        if remote.any():
            lengths[remote] = 0
        first = starts + at + 8
    if not ok.all():
        lengths = np.where(ok, lengths, 0)
    return CanArrays(
        ok=ok,
        arbitration_id=(raw_id & np.uint32(0x1FFFFFFF)).astype(np.uint32),
        is_extended_id=extended | ((raw_id & np.uint32(_ID_EFF)) != 0),
        is_remote_frame=remote | ((raw_id & np.uint32(_ID_RTR)) != 0),
        is_error_frame=error | ((raw_id & np.uint32(_ID_ERR)) != 0),
        is_fd=is_fd,
        dlc=dlc,
        starts=first,
        lengths=lengths,
    )


def _decode_can_1(buffer: U8, starts: I64, sizes: I64) -> CanArrays:
    tail = 16
    ok = sizes >= 16 + tail
    little = np.ones(len(starts), np.bool_)
    text = _u32(_rows_where(ok, buffer, starts + 12, 4), little).astype(np.int64)
    at = 16 + text
    ok &= at + tail <= sizes
    body = _rows_where(ok, buffer, starts + at, tail)
    raw_id = _u32(body[:, 0:4], little)
    remote, extended, error, dlc = body[:, 4] != 0, body[:, 5] != 0, body[:, 6] != 0, body[:, 7]
    ok &= dlc <= 15
    lengths = np.where(ok & ~remote, np.minimum(dlc, 8).astype(np.int64), 0)
    return CanArrays(
        ok=ok,
        arbitration_id=(raw_id & np.uint32(0x1FFFFFFF)).astype(np.uint32),
        is_extended_id=extended | ((raw_id & np.uint32(_ID_EFF)) != 0),
        is_remote_frame=remote | ((raw_id & np.uint32(_ID_RTR)) != 0),
        is_error_frame=error | ((raw_id & np.uint32(_ID_ERR)) != 0),
        is_fd=False,
        dlc=dlc,
        starts=starts + at + 8,
        lengths=lengths,
    )


def _rows_where(ok: npt.NDArray[np.bool_], buffer: U8, positions: I64, size: int) -> U8:
    """Return `columns.rows_at` in rows that are ok, zeros in the others."""
    if ok.all():
        return rows_at(buffer, positions, size)
    rows = np.zeros((len(positions), size), np.uint8)
    rows[ok] = rows_at(buffer, positions[ok], size)
    return rows


def _u32(rows: U8, little: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint32]:
    """Read four bytes a row as an unsigned integer in the row's byte order."""
    block = np.ascontiguousarray(rows)
    value = block.view("<u4").reshape(-1)
    return value if little.all() else np.where(little, value, block.view(">u4").reshape(-1)).astype(np.uint32)


def decode_log(data: bytes, schema: str, encoding: str) -> dict[str, Any]:
    """Decode one log entry: level, name, message, file, line.

    Raises:
        ValueError: The bytes are not a log entry.
    """
    if encoding == "json":
        entry = _json(data)
        level = entry.get("level", 0)
        if isinstance(level, str) and level.upper() in _LEVEL_NAMES:
            number = _LEVEL_NAMES[level.upper()]
        else:
            number = level_number(level)
            levels = LOG_LEVELS.get(schema)
            number = number if levels is None else levels.get(number, 0)
        text = entry.get("message", entry.get("msg", ""))
        return {
            "level": max(0, min(255, number)),
            "name": _text(entry.get("name", "")),
            "message": _text(text),
            "file": _text(entry.get("file", "")),
            "line": _line(entry.get("line", 0)),
        }
    cursor = CdrCursor(data)
    cursor.i32()
    cursor.u32()
    level, name, message, file = cursor.u8(), cursor.text(), cursor.text(), cursor.text()
    cursor.text()  # function
    return {"level": level, "name": name, "message": message, "file": file, "line": cursor.u32()}


_FIRST_PRINTABLE: Final = 32


def level_number(level: object) -> int:
    """Return a level of JSON as a number: a number, its digits, the byte as a character, or in base64 as protobuf's JSON has it.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(level, bool) or level is None:
        return int(bool(level))
    if isinstance(level, int | float):
        return int(level)
    text = str(level)
    if text.lstrip("-").isdigit() and len(text) <= 4:
        return int(text)
    if len(text) == 1 and ord(text) < _FIRST_PRINTABLE:
        return ord(text)
    raw = b64decode(text, validate=True) if len(text) <= 8 else b""
    if len(raw) != 1:
        raise CdrError(f"{text[:20]!r} is no level")
    return raw[0]


def decode_diagnostics(data: bytes, encoding: str) -> list[dict[str, Any]]:
    """Decode the statuses of one DiagnosticArray: level, name, message, hardware_id, values.

    Raises:
        ValueError: The bytes are not a DiagnosticArray.
    """
    if encoding == "json":
        statuses = _json(data).get("status", ())
        if not isinstance(statuses, list):
            raise CdrError("field status is not a list")
        if len(statuses) > MAX_ITEMS:
            raise CdrError(f"{len(statuses)} statuses, at most {MAX_ITEMS}")
        return [_json_status(status) for status in statuses]
    cursor = CdrCursor(data, is_ros1=encoding == "ros1")
    if encoding == "ros1":
        cursor.u32()  # sequence number
    cursor.i32()
    cursor.u32()
    cursor.text()
    found: list[dict[str, Any]] = []
    for _ in range(cursor.count()):
        level, name, message, hardware = cursor.u8(), cursor.text(), cursor.text(), cursor.text()
        values = [{"key": cursor.text(), "value": cursor.text()} for _ in range(cursor.count())]
        found.append(
            {
                "level": level,
                "name": name,
                "message": message,
                "hardware_id": hardware,
                "values": values[:MAX_STATUS_VALUES],
            }
        )
    return found


def has_too_many(data: U8) -> bool:
    """Return whether JSON has more values than a message may: each takes some hundred bytes of memory."""
    return sum(int(np.count_nonzero(data == sign)) for sign in b",[{") > _MAX_JSON_VALUES


def _text(value: object) -> str:
    """Return a text of bounded length, without characters that UTF-8 cannot encode."""
    return str(value)[:MAX_TEXT].encode("utf-8", "replace").decode()


def _json(data: bytes) -> Mapping[str, Any]:
    if len(data) > _LONG_JSON and has_too_many(np.frombuffer(data, np.uint8)):
        raise CdrError(f"JSON of more than {_MAX_JSON_VALUES:,} values")
    value = json.loads(data)
    if not isinstance(value, dict):
        raise CdrError(f"JSON {type(value).__name__}, expected an object")
    return value


def _json_status(status: object) -> dict[str, Any]:
    if not isinstance(status, dict):
        raise CdrError("a status is not an object")
    level = status.get("level", 0)
    pairs = status.get("values", [])
    named = _STATUS_NAMES.get(level.upper()) if isinstance(level, str) else None
    return {
        "level": max(0, min(255, named if named is not None else level_number(level))),
        "name": _text(status.get("name", "")),
        "message": _text(status.get("message", "")),
        "hardware_id": _text(status.get("hardware_id", "")),
        "values": [
            {"key": _text(p.get("key", "")), "value": _text(p.get("value", ""))}
            for p in islice(
                (p for p in (pairs if isinstance(pairs, list) else []) if isinstance(p, dict)), MAX_STATUS_VALUES
            )
        ],
    }


def _line(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**32 else 0
