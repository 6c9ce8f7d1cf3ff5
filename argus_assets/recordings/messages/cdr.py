"""CDR, the wire format of ROS 2 messages (OMG CDR, as in DDS-XTypes 1.3 §7.4.3, plain encoding version 1).

A message starts with a 4-byte encapsulation header whose second byte states the byte order; alignment counts from
the byte after it. Log entries and diagnostics are few, so they are read one by one; CAN frames are not read here.
"""

import struct
from typing import Final

_ENCAPSULATION: Final = 4
MAX_TEXT: Final = 4096
"""Characters kept of a text."""
MAX_ITEMS: Final = 65_536
"""Longest sequence that is believed."""


class CdrError(ValueError):
    """The bytes contradict the type."""


class CdrCursor:
    """Reads primitive values in order from one serialised message, in CDR or of ROS 1.

    Raises:
        CdrError: On every read that would go past the end, and on an unknown encapsulation.
    """

    __slots__ = ("_at", "_data", "_has_headers", "_max_align", "_order")

    def __init__(self, data: bytes, *, is_ros1: bool = False) -> None:
        self._max_align = 1 if is_ros1 else 8
        if is_ros1:
            self._data, self._at, self._order, self._has_headers = data, 0, "<", False
            return
        if len(data) < _ENCAPSULATION or data[0] != 0 or data[1] not in (0, 1, 6, 7):
            raise CdrError(f"encapsulation {data[:4].hex() or 'missing'}, expected 0000, 0001, 0006 or 0007")
        self._data = data
        self._at = _ENCAPSULATION
        self._order = "<" if data[1] in (1, 7) else ">"
        self._has_headers = data[1] in (6, 7)

    def _take(self, code: str, size: int) -> int:
        align = min(size, self._max_align)
        at = _ENCAPSULATION + (self._at - _ENCAPSULATION + align - 1) // align * align
        if at + size > len(self._data):
            raise CdrError(f"{size} bytes at {at}, message has {len(self._data)}")
        self._at = at + size
        return struct.unpack_from(self._order + code, self._data, at)[0]

    def u8(self) -> int:
        """Read an unsigned 8-bit integer."""
        return self._take("B", 1)

    def u32(self) -> int:
        """Read an unsigned 32-bit integer."""
        return self._take("I", 4)

    def i32(self) -> int:
        """Read a signed 32-bit integer."""
        return self._take("i", 4)

    def text(self) -> str:
        """Read a string of at most `MAX_TEXT` characters; what is not UTF-8 is replaced."""
        size = self.u32()
        if self._at + size > len(self._data):
            raise CdrError(f"string of {size} bytes at {self._at}, message has {len(self._data)}")
        raw = self._data[self._at : self._at + size]
        self._at += size
        return raw.rstrip(b"\0").decode("utf-8", "replace")[:MAX_TEXT]

    def count(self) -> int:
        """Read the length of a sequence of structures; in XCDR2 its size stands in front (DDS-XTypes 1.3, 7.4.3.5).

        Raises:
            CdrError: More items than bytes are left.
        """
        if self._has_headers:
            self.u32()
        n = self.u32()
        if n > min(MAX_ITEMS, len(self._data) - self._at):
            raise CdrError(f"sequence of {n} items with {len(self._data) - self._at} bytes left")
        return n
