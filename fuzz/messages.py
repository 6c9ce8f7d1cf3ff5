"""Messages with their schema, as one input: a byte for the encoding, two for the schema's length, schema, message."""

import struct
from typing import Final

import numpy as np

from argus_assets.recordings.columns import PADDING
from argus_assets.recordings.messages import standard as messages
from argus_assets.recordings.messages.topics import flattener
from argus_assets.simulate import ros

ENCODINGS: Final = (("cdr", "ros2msg"), ("json", "jsonschema"), ("protobuf", "protobuf"))
_SCHEMA: Final = (
    b'{"type":"object","properties":{"a":{"type":"number"},"b":{"type":"array","items":{"type":"string"}}}}'
)


def _seed(encoding: int, schema: bytes, message: bytes) -> bytes:
    return bytes([encoding]) + struct.pack("<H", len(schema)) + schema + message


SEEDS: Final = (
    _seed(0, ros.DEFINITIONS["rcl_interfaces/msg/Log"].encode(), ros.log(10**18, 40, "node", "text", 3)),
    _seed(0, b"float64[] a\nstring b\nuint8[3] c\nstring[<=2] d", bytes([0, 1, 0, 0]) + bytes(60)),
    _seed(0, b"Inner[] a\n===\nMSG: t/Inner\nbool x\nbuiltin_interfaces/Time t", bytes([0, 0, 0, 0]) + bytes(40)),
    _seed(1, _SCHEMA, b'{"a": 1.5, "b": ["x", null]}'),
    _seed(2, b'\n\x07a.proto\x12\x01t"\x0f\n\x01M\x12\n\n\x01v\x18\x01 \x01(\x05', b"\x08\x05"),
    _seed(3, b"", ros.log(10**18, 40, "node", "text", 3)),
)


def check_message(data: bytes) -> int:
    """Check any bytes as schema and message: nothing may be raised, and each message gives a row or is reported.

    Returns:
        Rows that two copies of the message gave: as they are the same, 0 or 2.
    """
    if len(data) < 3:
        return 0
    size = int.from_bytes(data[1:3], "little")
    schema, message = data[3 : 3 + size], data[3 + size :]
    buffer = np.frombuffer(message + message + bytes(PADDING), np.uint8)
    starts = np.array([0, len(message)], np.int64)
    sizes = np.array([len(message)] * 2, np.int64)
    if data[0] % 4 == 3:
        kinds = (messages.CAN_FRAME, messages.CAN_FD_FRAME)
        return max(int(messages.decode_can(buffer, starts, sizes, name).ok.sum()) for name in kinds)
    encoding, schema_encoding = ENCODINGS[data[0] % 4]
    flatten = flattener(encoding, "t.M" if encoding == "protobuf" else "t/msg/M", schema_encoding, schema)
    if flatten is None:
        return 0
    table, readable = flatten(buffer, starts, sizes)
    assert len(readable) == 2
    assert readable[0] == readable[1]
    assert table.height in (2, int(readable.sum()))
    return table.height
