"""MCAP's records, written in memory: the form in which messages of other containers reach the decoders of MCAP."""

import struct
from typing import Final

from argus_assets.recordings.formats.mcap.chunks import CHANNEL, MESSAGE, MESSAGE_FIELDS, SCHEMA

MAX_CHANNELS: Final = 65_534
"""Channels of MCAP have 16 bits; 0 stays free for messages without a schema."""
_MAX_TIME_NS: Final = 2**64 - 1
_MESSAGE: Final = struct.Struct("<BQHIQQ")
_U16: Final = struct.Struct("<H")
_U32: Final = struct.Struct("<I")


def definitions(
    number: int, topic: str, schema: str, *, encoding: str, schema_encoding: str, definition: bytes
) -> list[tuple[int, bytes]]:
    """Return the records of a channel and its schema.

    Args:
        number: Of both, from 1.
        topic: Name of the channel.
        schema: Name of the type.
        encoding: Of the messages.
        schema_encoding: Of the definition.
        definition: The definition; may be empty.
    """
    head = _U16.pack(number)
    return [
        (SCHEMA, head + _text(schema) + _text(schema_encoding) + _U32.pack(len(definition)) + definition),
        (CHANNEL, head + head + _text(topic) + _text(encoding) + _U32.pack(0)),
    ]


def message(number: int, time_ns: int, data: bytes) -> bytes:
    """Return the record of a message."""
    at = min(max(time_ns, 0), _MAX_TIME_NS)
    return _MESSAGE.pack(MESSAGE, MESSAGE_FIELDS + len(data), number, 0, at, at) + data


def _text(text: str) -> bytes:
    raw = text.encode("utf-8", "replace")
    return _U32.pack(len(raw)) + raw
