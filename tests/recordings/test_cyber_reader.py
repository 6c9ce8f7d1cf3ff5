"""Records of Apollo Cyber RT equal what was written by the official protobuf library."""

import bz2
import io
from collections.abc import Callable
from typing import Any

import lz4.frame
import polars as pl
import pytest
from google.protobuf import descriptor_pb2, timestamp_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.recordings.formats.cyber.reader import (
    CHANNEL,
    CHUNK_BODY,
    CHUNK_HEADER,
    HEADER,
    HEADER_BYTES,
    INDEX,
    SECTION,
)  # fmt: skip
from argus_assets.recordings.formats.cyber.wire import BadWire, descriptor_set, fields
from argus_assets.recordings.messages.topics import message_class
from argus_assets.recordings.model import FrameBatch, Limits, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording
from argus_assets.recordings.registry import detect

_Kinds = descriptor_pb2.FieldDescriptorProto
_U64, _TEXT, _BYTES, _BOOL = _Kinds.TYPE_UINT64, _Kinds.TYPE_STRING, _Kinds.TYPE_BYTES, _Kinds.TYPE_BOOL


def types_of_record() -> bytes:
    """Return descriptors of a record's own messages, as far as they are used here."""
    file = descriptor_pb2.FileDescriptorProto(name="r.proto", package="r", syntax="proto2")
    for name, members in {
        "Header": [
            ("major", 1, _U64), ("minor", 2, _U64), ("compress", 3, _U64), ("messages", 11, _U64), ("complete", 13, _BOOL)
        ],
        "Channel": [("name", 1, _TEXT), ("type", 2, _TEXT), ("desc", 3, _BYTES)],
        "ChunkHeader": [("begin", 1, _U64), ("end", 2, _U64), ("messages", 3, _U64), ("size", 4, _U64)],
        "Single": [("name", 1, _TEXT), ("time", 2, _U64), ("content", 3, _BYTES)],
        "Desc": [("desc", 1, _BYTES)],
        "Body": [],
    }.items():  # fmt: skip
        made = file.message_type.add(name=name)
        for field, number, kind in members:
            made.field.add(name=field, number=number, type=kind, label=_Kinds.LABEL_OPTIONAL)
    for owner, field, number, of in (("Desc", "dependencies", 2, ".r.Desc"), ("Body", "messages", 1, ".r.Single")):
        made = next(m for m in file.message_type if m.name == owner)
        made.field.add(name=field, number=number, type=_Kinds.TYPE_MESSAGE, label=_Kinds.LABEL_REPEATED, type_name=of)
    return descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()


def record_type(name: str) -> Any:
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
    gps, stamp = gps_files()
    return Desc(desc=gps, dependencies=[{"desc": stamp}] * 2).SerializeToString()


def gps(speed: float | None) -> bytes:
    made: Any = message_class("a.Gps", descriptor_set(tree(), 10**6))
    return (made() if speed is None else made(speed=speed)).SerializeToString()


def section(kind: int, content: bytes, *, bytes_of_header: int = 0) -> bytes:
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


def read(data: bytes, limits: Limits | None = None) -> tuple[FrameBatch, RecordingSummary]:
    reader = open_recording(io.BytesIO(data), limits=limits or Limits(workers=1))
    return concat_batches(list(reader)), reader.summary


messages = st.tuples(st.sampled_from(["/gps", "/b"]), st.integers(0, 2**62), st.none() | st.floats(allow_nan=False))


@given(st.lists(st.lists(messages, min_size=1, max_size=5), min_size=1, max_size=4), st.sampled_from([0, 1, 2]))
@settings(max_examples=40, deadline=None)
def test_a_record_is_what_was_written(chunks: list[list[tuple[str, int, float | None]]], compress: int) -> None:
    batch, summary = read(record([[(n, t, gps(v)) for n, t, v in chunk] for chunk in chunks], compress=compress))
    assert summary.problems == []
    sent = [message for chunk in chunks for message in chunk]
    frames = batch.frames
    assert frames["channel"].cast(pl.String).to_list() == [n for n, _, _ in sent]
    assert frames["timestamp"].dt.timestamp("ns").to_list() == [t for _, t, _ in sent]
    assert frames["payload"].to_list() == [gps(v) for _, _, v in sent]
    for topic in {n for n, _, _ in sent}:
        assert batch.topics[topic, "a.Gps"]["speed"].to_list() == [v for n, _, v in sent if n == topic]


@pytest.mark.parametrize("compress", [0, 1, 2])
def test_a_record_that_was_cut_anywhere_keeps_its_start(compress: int) -> None:
    whole = record([[("/gps", n * 10 + k, gps(k)) for k in range(3)] for n in range(3)], compress=compress)
    before = 0
    for end in range(HEADER_BYTES + SECTION.size, len(whole), 7):
        batch, summary = read(whole[:end])
        assert batch.frames.height >= before
        before = batch.frames.height
        assert before == 9 or summary.problems
    assert before == 9


def test_damage_in_a_section_costs_its_chunk_only() -> None:
    whole = bytearray(record([[("/gps", n, gps(n))] for n in range(5)]))
    place = whole.index(SECTION.pack(CHUNK_BODY, 0)[:8], HEADER_BYTES)
    whole[place + 8 : place + 16] = b"\xff" * 8
    batch, summary = read(bytes(whole))
    assert batch.frames["timestamp"].dt.timestamp("ns").to_list() == [1, 2, 3, 4]
    assert "bad_length" in [p.kind for p in summary.problems]


@given(st.binary(max_size=300), st.integers(0, 3000))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_read_or_told(junk: bytes, place: int) -> None:
    whole = record([[("/gps", 1, gps(1.0))]])
    at = HEADER_BYTES + SECTION.size + place % (len(whole) - HEADER_BYTES - SECTION.size)
    batch, summary = read(whole[:at] + junk + whole[at + len(junk) :])
    assert batch.frames.height == 1 or summary.problems or b"/gps" not in whole[:at]


def test_a_channel_without_descriptors_keeps_its_messages_and_is_told() -> None:
    batch, summary = read(record([[("/gps", 1, gps(1.0))]], desc=b""))
    assert batch.frames.height == 1
    assert [p.kind for p in summary.problems] == ["unsupported"]


def test_descriptors_nested_without_end_are_told() -> None:
    nest = b""
    for _ in range(100):
        nest = (
            b"\x12" + (bytes([len(nest)]) if len(nest) < 128 else bytes([len(nest) & 127 | 128, len(nest) >> 7])) + nest
        )
    with pytest.raises(BadWire):
        descriptor_set(nest, 10**6)
    _, summary = read(record([[("/gps", 1, b"")]], desc=nest))
    assert "bad_record" in [p.kind for p in summary.problems]


@pytest.mark.parametrize("compress", [1, 2])
def test_a_chunk_that_inflates_too_far_is_not_read(compress: int) -> None:
    bomb = record([[("/gps", 1, bytes(10**7))]], compress=compress)
    batch, summary = read(bomb, Limits(workers=1, max_chunk_bytes=10**6))
    assert batch.frames.height == 0
    assert "over_limit" in [p.kind for p in summary.problems]


@given(st.binary(max_size=80))
def test_wire_is_walked_within_its_bytes(data: bytes) -> None:
    try:
        found = list(fields(data))
    except BadWire:
        return
    assert sum(len(v) for _, v in found if isinstance(v, bytes)) <= len(data)


@pytest.mark.parametrize("head", [bytes(4096), bytes(8) + b"\x02" + bytes(4000), b"", bytes(20)])
def test_zeros_are_no_record(head: bytes) -> None:
    found = detect(head)
    assert found is None or found.name != "cyber"
