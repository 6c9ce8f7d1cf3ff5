"""Protobuf's wire format, walked without a schema: what a record's own sections need, within their bytes."""

from collections.abc import Iterator
from typing import Final

_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5
_MAX_VARINT_BYTES: Final = 10
_MAX_DEPTH: Final = 64
_MAX_FILES: Final = 4096
"""Nesting and number of the files that descriptors depend on; Apollo has some hundred."""


class BadWire(ValueError):
    """The bytes are no protobuf message."""


def number_of(field: int, wire: int = _VARINT) -> int:
    """Return the byte that starts a field of a number below 16."""
    return field << 3 | wire


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a message: number, and an integer or bytes.

    Raises:
        BadWire: It ends within a field, or has a kind that the format does not have. What came before was yielded.
    """
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _LEN:
            size, at = _varint(data, at)
        elif wire in (_I64, _I32):
            size = 8 if wire == _I64 else 4
        else:
            raise BadWire(f"a field of kind {wire} at byte {at}")
        if size > end - at:
            raise BadWire(f"{size} bytes of field {number} at byte {at} of {end}")
        yield number, data[at : at + size] if wire == _LEN else int.from_bytes(data[at : at + size], "little")
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for place in range(at, min(at + _MAX_VARINT_BYTES, len(data))):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    raise BadWire(f"a number without end at byte {at}")


def descriptor_set(tree: bytes, max_bytes: int) -> bytes:
    """Return the `FileDescriptorSet` of a `ProtoDesc`: a file, and those it depends on, each with its own.

    A file that many depend on stands in the tree as often; it is taken once.

    Args:
        tree: The serialised `ProtoDesc`; empty bytes are an empty set.
        max_bytes: A set that would be longer is cut behind that many bytes, so that its reader refuses it.

    Raises:
        BadWire: It is none.
    """
    found: dict[bytes, None] = {}
    total = 0
    waiting = [(tree, 0)]
    while waiting and len(found) <= _MAX_FILES and total <= max_bytes:
        node, depth = waiting.pop()
        for number, value in fields(node):
            if not isinstance(value, bytes):
                continue
            if number == 1 and value not in found:
                found[value] = None
                total += len(value) + _MAX_VARINT_BYTES
            elif number == 2:
                if depth >= _MAX_DEPTH:
                    raise BadWire(f"descriptors nested more than {_MAX_DEPTH} deep")
                waiting.append((value, depth + 1))
    return b"".join(bytes([number_of(1, _LEN)]) + _written(len(file)) + file for file in found)


def _written(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
