"""Records of Apollo Cyber RT, written with the official protobuf library."""

import bz2
from collections.abc import Callable
from typing import Any

import lz4.frame
from google.protobuf import descriptor_pb2, timestamp_pb2

from argus_assets.recordings.formats.cyber.reader import (
    CHANNEL,
    CHUNK_BODY,
    CHUNK_HEADER,
    HEADER,
    HEADER_BYTES,
    INDEX,
    SECTION,
)  # fmt: skip
from argus_assets.recordings.formats.cyber.wire import descriptor_set
from argus_assets.recordings.messages.topics import message_class

_Kinds = descriptor_pb2.FieldDescriptorProto
_U64, _TEXT, _BYTES, _BOOL = _Kinds.TYPE_UINT64, _Kinds.TYPE_STRING, _Kinds.TYPE_BYTES, _Kinds.TYPE_BOOL


def types_of_record() -> bytes:
    """Return descriptors of a record's own messages, as far as they are used here."""
    file = descriptor_pb2.FileDescriptorProto(name="r.proto", package="r", syntax="proto2")
    every: dict[str, list[tuple[str, int, Any]]] = {
        "Header": [
            ("major", 1, _U64), ("minor", 2, _U64), ("compress", 3, _U64), ("messages", 11, _U64), ("complete", 13, _BOOL)
        ],
        "Channel": [("name", 1, _TEXT), ("type", 2, _TEXT), ("desc", 3, _BYTES)],
        "ChunkHeader": [("begin", 1, _U64), ("end", 2, _U64), ("messages", 3, _U64), ("size", 4, _U64)],
        "Single": [("name", 1, _TEXT), ("time", 2, _U64), ("content", 3, _BYTES)],
        "Desc": [("desc", 1, _BYTES)],
        "Body": [],
    }  # fmt: skip
    for name, members in every.items():
        made = file.message_type.add(name=name)
        for field, number, kind in members:
            made.field.add(name=field, number=number, type=kind, label=_Kinds.LABEL_OPTIONAL)
    for owner, field, number, of in (("Desc", "dependencies", 2, ".r.Desc"), ("Body", "messages", 1, ".r.Single")):
        made = next(m for m in file.message_type if m.name == owner)
        made.field.add(name=field, number=number, type=_Kinds.TYPE_MESSAGE, label=_Kinds.LABEL_REPEATED, type_name=of)
    return descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()


def record_type(name: str) -> Any:
    """Return one of these types."""
    made = message_class(f"r.{name}", types_of_record())
    assert made is not None
    return made


Header, Channel, ChunkHeader, Single, Desc, Body = map(
    record_type, ("Header", "Channel", "ChunkHeader", "Single", "Desc", "Body")
)


def gps_files() -> list[bytes]:
    """Return the descriptors of a type `a.Gps`, and those of the file that it needs."""
    gps = descriptor_pb2.FileDescriptorProto(name="gps.proto", package="a", syntax="proto2")
    gps.dependency.append("google/protobuf/timestamp.proto")
    made = gps.message_type.add(name="Gps")
    made.field.add(name="speed", number=1, type=_Kinds.TYPE_DOUBLE, label=_Kinds.LABEL_OPTIONAL)
    made.field.add(
        name="at",
        number=2,
        type=_Kinds.TYPE_MESSAGE,
        label=_Kinds.LABEL_OPTIONAL,
        type_name=".google.protobuf.Timestamp",
    )
    stamp = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(stamp)
    return [gps.SerializeToString(), stamp.SerializeToString()]


def tree() -> bytes:
    """Return the descriptors of `a.Gps` as a channel has them."""
    gps, stamp = gps_files()
    return Desc(desc=gps, dependencies=[{"desc": stamp}] * 2).SerializeToString()


def gps(speed: float | None) -> bytes:
    """Return a message of `a.Gps`."""
    made: Any = message_class("a.Gps", descriptor_set(tree(), 10**6))
    return (made() if speed is None else made(speed=speed)).SerializeToString()


def section(kind: int, content: bytes, *, bytes_of_header: int = 0) -> bytes:
    """Return a section."""
    return SECTION.pack(kind, len(content)) + content.ljust(bytes_of_header, b"\0")


PACK: dict[int, Callable[[bytes], bytes]] = {0: bytes, 1: bz2.compress, 2: lz4.frame.compress}


def record(chunks: list[list[tuple[str, int, bytes]]], *, compress: int = 0, desc: bytes | None = None) -> bytes:
    """Return a record of chunks of messages (channel, time in ns, content)."""
    desc = tree() if desc is None else desc
    header = Header(major=1, minor=0, compress=compress, messages=sum(map(len, chunks)), complete=True)
    out = section(HEADER, header.SerializeToString(), bytes_of_header=HEADER_BYTES)
    for name in sorted({m[0] for chunk in chunks for m in chunk}):
        out += section(CHANNEL, Channel(name=name, type="a.Gps", desc=desc).SerializeToString())
    for chunk in chunks:
        body = Body(messages=[{"name": n, "time": t, "content": c} for n, t, c in chunk]).SerializeToString()
        out += section(CHUNK_HEADER, ChunkHeader(begin=10**18, end=10**18, messages=len(chunk)).SerializeToString())
        out += section(CHUNK_BODY, PACK[compress](body))
    return out + section(INDEX, b"")
