"""Messages in the encodings that people have: against rosbags, protobuf's own JSON, and Python's json on the same bytes."""

import io
import json
import re
from base64 import b64encode
from contextlib import suppress

import numpy as np
import polars as pl
import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import Writer
from rosbags.typesys import Stores, get_types_from_idl, get_typestore

from argus_assets.recordings.columns import PADDING
from argus_assets.recordings.messages.cdr_columns import decode_columns
from argus_assets.recordings.messages.idl import to_message
from argus_assets.recordings.messages.ros_msg import BadDefinition, parse_message
from argus_assets.recordings.messages.standard import level_number
from argus_assets.recordings.messages.topics import flattener
from argus_assets.recordings.model import FrameBatch, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording


def buffer_of(messages: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sizes = np.array([len(m) for m in messages], np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    return np.frombuffer(b"".join(messages) + bytes(PADDING), np.uint8), starts, sizes


def columns(
    encoding: str, schema: str, schema_encoding: str, definition: bytes, messages: list[bytes]
) -> tuple[pl.DataFrame, list[bool]]:
    flatten = flattener(encoding, schema, schema_encoding, definition, report=lambda e: pytest.fail(str(e)))
    assert flatten is not None
    table, ok = flatten(*buffer_of(messages))
    return table, ok.tolist()


def mcap(*channels: tuple[str, str, str, str, bytes, list[bytes]]) -> tuple[FrameBatch, RecordingSummary]:
    out = io.BytesIO()
    writer = Writer(out)
    writer.start()
    for topic, encoding, schema, schema_encoding, definition, messages in channels:
        number = writer.register_schema(schema, schema_encoding, definition) if schema else 0
        channel = writer.register_channel(topic, encoding, number)
        for n, data in enumerate(messages):
            writer.add_message(channel, n, data, n)
    writer.finish()
    reader = open_recording(io.BytesIO(out.getvalue()))
    return concat_batches(list(reader)), reader.summary


# ------------------------------------------------------------------------------------------------- JSON

SCHEMA = {
    "type": "object",
    "properties": {
        "speed": {"type": "number"}, "n": {"type": "integer"}, "flag": {"type": "boolean"}, "name": {"type": "string"},
        "pose": {"$ref": "#/$defs/Pose"}, "both": {"allOf": [{"$ref": "#/$defs/Pose"}, {"properties": {"z": {"type": "number"}}}]},
        "maybe": {"anyOf": [{"type": "number"}, {"type": "null"}]}, "free": {}, "mode": {"enum": ["a", "b"]}, "k": {"enum": [1, 2]},
        "list": {"type": "array", "items": {"type": "number"}},
    },
    "$defs": {"Pose": {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number"}}}},
}  # fmt: skip

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "y", "z", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(sorted(SCHEMA["properties"])), values, max_size=8), min_size=1, max_size=5)
)
def test_a_json_object_is_never_a_bad_message(messages: list[dict]) -> None:
    table, ok = columns(
        "json", "S", "jsonschema", json.dumps(SCHEMA).encode(), [json.dumps(m).encode() for m in messages]
    )
    assert ok == [True] * len(messages)
    for row, message in zip(table.iter_rows(named=True), messages, strict=True):
        speed = message.get("speed")
        is_number = isinstance(speed, int | float) and not isinstance(speed, bool) and np.isfinite(speed)
        assert row["speed"] == (float(speed) if is_number else int(speed) if isinstance(speed, bool) else None)
        pose = message.get("pose")
        x = pose.get("x") if isinstance(pose, dict) else None
        if isinstance(x, float) and np.isfinite(x):
            assert row["pose.x"] == x
        if isinstance(message.get("name"), str):
            assert row["name"] == message["name"]
    assert {"both.x", "both.y", "both.z", "maybe", "free", "mode", "k", "list"} <= set(table.columns)
    assert table.schema["k"] == pl.Int64()


def test_a_byte_order_mark_is_no_part_of_a_message() -> None:
    table, ok = columns(
        "json", "S", "jsonschema", json.dumps(SCHEMA).encode(), [b'\xef\xbb\xbf{"speed": 1.5}', b'{"speed": NaN}']
    )
    assert (ok, table["speed"].to_list()) == ([True, True], [1.5, None])


def test_what_is_no_object_is_bad() -> None:
    _, ok = columns("json", "S", "jsonschema", json.dumps(SCHEMA).encode(), [b"[1]", b"{", b"", b'{"speed": 1}', b"7"])
    assert ok == [False, False, False, True, False]


def test_a_schema_that_refers_to_itself_ends() -> None:
    tree = {"type": "object", "properties": {"v": {"type": "number"}, "left": {"$ref": "#"}, "other": {"$ref": "#/$defs/T"}},
            "$defs": {"T": {"type": "object", "properties": {"w": {"type": "number"}, "t": {"$ref": "#/$defs/T"}}}}}  # fmt: skip
    table, _ = columns(
        "json",
        "S",
        "jsonschema",
        json.dumps(tree).encode(),
        [b'{"v": 1, "left": {"v": 2}, "other": {"w": 3, "t": {"w": 4}}}'],
    )
    assert table.columns == ["v", "left", "other.w", "other.t"]
    assert json.loads(table["left"][0]) == {"v": 2}


# ------------------------------------------------------------------------------------------------- protobuf


def battery() -> bytes:
    file = descriptor_pb2.FileDescriptorProto(name="b.proto", package="b", syntax="proto3")
    inner = file.message_type.add(name="Inner")
    inner.field.add(name="x", number=1, type=1, label=1)
    inner.field.add(name="n", number=2, type=5, label=1)
    message = file.message_type.add(name="B")
    message.field.add(name="plain", number=1, type=1, label=1)
    message.field.add(name="maybe", number=2, type=1, label=1, proto3_optional=True, oneof_index=0)
    message.oneof_decl.add(name="_maybe")
    message.field.add(name="inner", number=3, type=11, label=1, type_name=".b.Inner")
    message.field.add(name="many", number=4, type=11, label=3, type_name=".b.Inner")
    return descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()


def test_what_a_message_does_not_have_is_null_and_what_it_has_by_default_is_zero() -> None:
    double = b"\x00\x00\x00\x00\x00\x00\xf8\x3f"
    messages = [b"", b"\x11" + double, b"\x1a\x00", b"\x1a\x09\x09" + double, b"\x22\x00"]
    table, ok = columns("protobuf", "b.B", "protobuf", battery(), messages)
    assert ok == [True] * 5
    assert table["plain"].to_list() == [0.0] * 5
    assert table["maybe"].to_list() == [None, 1.5, None, None, None]
    assert table["inner.x"].to_list() == [None, None, 0.0, 1.5, None]
    assert table["inner.n"].to_list() == [None, None, 0, 0, None]
    assert [json.loads(text) for text in table["many"][4]] == [{"x": 0.0, "n": 0}], "zeros of nested messages are kept"


# ------------------------------------------------------------------------------------------------- CDR

ROS2 = get_typestore(Stores.ROS2_HUMBLE)


def cdr2(fields: str, payload: bytes, kind: int = 7) -> tuple[pl.DataFrame, list[bool]]:
    table, ok = decode_columns(*buffer_of([bytes((0, kind, 0, 0)) + payload]), parse_message("p/msg/T", fields))
    return table, ok.tolist()


def test_plain_xcdr2_aligns_to_four_and_has_sizes_before_collections() -> None:
    payload = (5).to_bytes(4, "little") + np.float64(2.5).tobytes() + (7).to_bytes(4, "little")
    table, ok = cdr2("uint32 a\nfloat64 b\nuint32 c", payload)
    assert (ok, table.rows()) == ([True], [(5, 2.5, 7)])
    texts = (
        (14).to_bytes(4, "little")
        + (1).to_bytes(4, "little")
        + (2).to_bytes(4, "little")
        + b"x\0\0\0"
        + (9).to_bytes(4, "little")
    )
    table, ok = cdr2("string[] names\nuint32 after", texts)
    assert (ok, table["names"].to_list(), table["after"].to_list()) == ([True], [["x"]], [9])
    assert cdr2("uint32 a", b"\1\0\0\0", kind=9)[1] == [False], "other forms of XCDR2 are not read"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12), st.sampled_from([2, 4]))
def test_wide_texts_of_both_vendors(text: str, width: int) -> None:
    raw = text.encode("utf-32-le" if width == 4 else "utf-16-le")
    head = len(raw) // width
    body = head.to_bytes(4, "little") + raw
    body += bytes(-len(body) % 8) + np.float64(1.5).tobytes()
    table, ok = decode_columns(
        *buffer_of([b"\0\1\0\0" + body]), parse_message("p/msg/W", "wstring text\nfloat64 after")
    )
    if (
        width == 2
        and head
        and len(raw) % 4 == 0
        and (np.frombuffer((raw + bytes(64))[: 4 * head], "<u4") <= 0x10FFFF).all()
    ):
        return  # both readings are characters: nothing tells them apart
    assert ok.tolist() == [True]
    assert table.rows() == [(text, 1.5)]


# ------------------------------------------------------------------------------------------------- IDL

IDL = """
#include "builtin_interfaces/msg/Time.idl"
module demo_msgs { module msg {
  const unsigned long SIZE = 3;
  enum Mode { OFF, ON };
  typedef double double__3[3];
  @verbatim (language="comment", text="a comment")
  struct Inner { float x; string name; };
  struct Drive : Inner {
    builtin_interfaces::msg::Time stamp;
    @default (value=0.0) double speed;
    unsigned short gear; octet raw; boolean on; long long big;
    sequence<double, 8> list; sequence<demo_msgs::msg::Inner> parts; double__3 fixed; long matrix[2][SIZE]; Mode mode;
  };
}; };
"""


def test_idl_is_what_rosbags_makes_of_it() -> None:
    fields = {f.name: f for f in parse_message("demo_msgs/msg/Drive", to_message("demo_msgs/msg/Drive", IDL))}
    assert list(fields) == [
        "x",
        "name",
        "stamp",
        "speed",
        "gear",
        "raw",
        "on",
        "big",
        "list",
        "parts",
        "fixed",
        "matrix",
        "mode",
    ]
    assert [fields[n].primitive for n in ("x", "name", "stamp", "speed", "gear", "raw", "on", "big")] == [
        "f4", "string", "time", "f8", "u2", "u1", "?", "i8"
    ]  # fmt: skip
    assert (fields["fixed"].length, fields["matrix"].length, fields["mode"].primitive) == (3, 6, "u4")
    assert [f.name for f in fields["parts"].fields] == ["x", "name"]
    simple = (
        IDL.replace(": Inner", "").replace("long matrix[2][SIZE]; Mode mode;", "").replace("enum Mode { OFF, ON };", "")
    )
    theirs = get_types_from_idl(re.sub(r"#include.*", "", simple))["demo_msgs/msg/Drive"][1]
    mine = parse_message("demo_msgs/msg/Drive", to_message("demo_msgs/msg/Drive", simple))
    assert [f.name for f in mine] == [name for name, _ in theirs]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("union U switch (long) { case 1: long a; };", "union"), ("struct X { map<long, long> m; };", "map"),
        ("struct X { sequence<sequence<long>> m; };", "sequence of sequences"), ("struct X {", "ends"),
        ("struct X { long a[99999999999]; };", "items"), ("struct X { long a[9999][99999999]; };", "items"), ("", "not defined"),
    ],
)  # fmt: skip
def test_idl_that_is_not_read_is_named(text: str, why: str) -> None:
    with pytest.raises(BadDefinition, match=why):
        to_message("X", text)


WORDS = [
    "struct",
    "module",
    "{",
    "}",
    ";",
    ":",
    "<",
    ">",
    "[",
    "]",
    ",",
    "long",
    "string",
    "sequence",
    "X",
    "Y",
    "9",
    "@",
    "(",
    ")",
    "\n",
]


@given(st.lists(st.sampled_from(WORDS), max_size=60))
def test_any_idl_is_read_or_refused(words: list[str]) -> None:
    with suppress(BadDefinition):
        parse_message("X", to_message("X", " ".join(words)))


def test_messages_by_idl_have_columns() -> None:
    time = ROS2.types["builtin_interfaces/msg/Time"](sec=5, nanosec=7)
    data = bytes(ROS2.serialize_cdr(time, "builtin_interfaces/msg/Time"))
    text = "IDL: builtin_interfaces/msg/Time\nmodule builtin_interfaces { module msg { struct Time { long sec; unsigned long nanosec; }; }; };"
    batch, summary = mcap(("/t", "cdr", "builtin_interfaces/msg/Time", "ros2idl", text.encode(), [data]))
    assert summary.problems == []
    assert batch.topics["/t", "builtin_interfaces/msg/Time"].select("sec", "nanosec").rows() == [(5, 7)]


# ------------------------------------------------------------------------------------------------- logs and diagnostics


@pytest.mark.parametrize(
    ("level", "number"), [(2, 2), ("2", 2), (b64encode(b"\2").decode(), 2), (None, 0), (True, 1), (2.0, 2)]
)
def test_levels_of_json(level: object, number: int) -> None:
    assert level_number(level) == number


@pytest.mark.parametrize(
    ("schema", "level", "expected"),
    [
        ("foxglove_msgs/msg/Log", 4, 40),
        ("foxglove_msgs/Log", "ERROR", 40),
        ("rosgraph_msgs/Log", 8, 40),
        ("rcl_interfaces/msg/Log", 40, 40),
    ],
)
def test_logs_by_their_other_names(schema: str, level: object, expected: int) -> None:
    batch, summary = mcap(
        ("/log", "json", schema, "", b"", [json.dumps({"level": level, "message": "E1", "name": "n"}).encode()])
    )
    assert summary.problems == []
    assert batch.logs.select("level", "message", "name").rows() == [(expected, "E1", "n")]


@pytest.mark.parametrize(
    ("encoding", "schema_encoding", "definition"),
    [("cbor", "", b""), ("flatbuffer", "flatbuffer", b"x"), ("json", "", b""), ("cdr", "", b""), ("ros1", "", b"")],
)
def test_what_is_not_read_is_told_once(encoding: str, schema_encoding: str, definition: bytes) -> None:
    channels = [(f"/t{n}", encoding, "a/B", schema_encoding, definition, [b"{}", b"{}"]) for n in range(3)]
    batch, summary = mcap(*channels)
    (problem,) = summary.problems
    assert (problem.kind, batch.frames.height) == ("unsupported", 6)
    assert encoding in problem.actual
