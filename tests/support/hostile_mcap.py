"""Small MCAP files that a person with bad intentions could write, byte by byte: the official writer writes none of them."""

import struct
from collections.abc import Callable

import zstandard
from google.protobuf import descriptor_pb2

MAGIC = b"\x89MCAP0\r\n"
CDR = b"\0\1\0\0"
NOW = 10**18


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<I", len(raw)) + raw


def record(opcode: int, content: bytes, length: int | None = None) -> bytes:
    return struct.pack("<BQ", opcode, len(content) if length is None else length) + content


def schema(number: int, name: str, encoding: str, definition: str | bytes) -> bytes:
    return record(3, struct.pack("<H", number) + text(name) + text(encoding) + text(definition))


def channel(number: int, of: int, topic: str, encoding: str = "cdr") -> bytes:
    return record(4, struct.pack("<HH", number, of) + text(topic) + text(encoding) + struct.pack("<I", 0))


def message(number: int, data: bytes, at: int = NOW, *, sequence: int = 0) -> bytes:
    return record(5, struct.pack("<HIQQ", number, sequence, at, at) + data)


def chunk(records: bytes, *, claim: int | None = None, plain: bool = False) -> bytes:
    body = records if plain else zstandard.ZstdCompressor(level=3).compress(records)
    size = len(records) if claim is None else claim
    head = struct.pack("<QQQI", 0, 2**62, size, 0) + text("" if plain else "zstd")
    return record(6, head + struct.pack("<Q", len(body)) + body)


def statistics(messages: int) -> bytes:
    return record(11, struct.pack("<QHIIIIQQI", messages, 0, 0, 0, 0, 0, 0, 0, 0))


def mcap(*parts: bytes) -> bytes:
    end = record(15, bytes(4)) + record(2, bytes(20)) + MAGIC
    return MAGIC + record(1, text("") + text("")) + b"".join(parts) + end


def topic(
    encoding: str, schema_encoding: str, definition: str | bytes, *messages: bytes, name: str = "p/msg/T"
) -> bytes:
    """A file of one topic, `/t`."""
    return mcap(
        schema(1, name, schema_encoding, definition),
        channel(1, 1, "/t", encoding),
        chunk(b"".join(message(1, data) for data in messages), plain=True),
    )


def descriptors(build: Callable[[descriptor_pb2.FileDescriptorProto], object], syntax: str = "proto3") -> bytes:
    """A FileDescriptorSet of one file, of package `p`."""
    file = descriptor_pb2.FileDescriptorProto(name="a.proto", package="p", syntax=syntax)
    build(file)
    return descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()


def protobuf_message(**fields: int | str) -> bytes:
    """Descriptors of a message `p.M` whose fields have these types: numbers, or names of messages."""

    def build(file: descriptor_pb2.FileDescriptorProto) -> None:
        made = file.message_type.add(name="M")
        file.message_type.add(name="Empty")
        for number, (name, kind) in enumerate(fields.items(), 1):
            if isinstance(kind, str):
                made.field.add(
                    name=name,
                    number=number,
                    type=11,
                    label=3 if kind.startswith("*") else 1,
                    type_name=kind.lstrip("*"),
                )
            else:
                made.field.add(name=name, number=number, type=kind, label=1)  # type: ignore[arg-type]

    return descriptors(build)
