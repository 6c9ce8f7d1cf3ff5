"""Typed columns of topics equal what the official decoders make of the same bytes."""

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from google.protobuf import descriptor_pb2, timestamp_pb2
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.writer import Writer
from mcap_ros2.decoder import DecoderFactory
from mcap_ros2.writer import Writer as Ros2Writer

from argus_assets.recordings.columns import PADDING
from argus_assets.recordings.messages.cdr_columns import MAX_ITEMS
from argus_assets.recordings.messages.ros_msg import BadDefinition, parse_message
from argus_assets.recordings.messages.topics import flattener
from argus_assets.recordings.model import FrameBatch, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording

DEFINITION = """
# A comment
uint8 KIND_A=1
string NAME = "a # b"
bool flag
int8 i8
uint16 u16 7
float32 f32
string text
float64 f64
uint64 u64
builtin_interfaces/Time stamp
int16[3] triple
string[2] pair
float64[] samples
uint8[<=5] bounded
string<=20[] names
Pose pose
Pose[] poses
int32 last
================================================================================
MSG: test_msgs/Pose
Point position
uint8 quality
string[] tags
================================================================================
MSG: test_msgs/Point
float64 x
float32 y
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
SCHEMA = "test_msgs/msg/Everything"
FIELDS = parse_message(SCHEMA, DEFINITION)

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
f32 = st.floats(width=32, allow_nan=False)
point = st.fixed_dictionaries({"x": st.floats(allow_nan=False), "y": f32})
pose = st.fixed_dictionaries({"position": point, "quality": st.integers(0, 255), "tags": st.lists(text, max_size=3)})
message = st.fixed_dictionaries(
    {
        "flag": st.booleans(),
        "i8": st.integers(-128, 127),
        "u16": st.integers(0, 65535),
        "f32": f32,
        "text": text,
        "f64": st.floats(allow_nan=False),
        "u64": st.integers(0, 2**64 - 1),
        "stamp": st.fixed_dictionaries({"sec": st.integers(-(2**31), 2**31 - 1), "nanosec": st.integers(0, 10**9 - 1)}),
        "triple": st.lists(st.integers(-(2**15), 2**15 - 1), min_size=3, max_size=3),
        "pair": st.lists(text, min_size=2, max_size=2),
        "samples": st.lists(st.floats(allow_nan=False), max_size=4),
        "bounded": st.lists(st.integers(0, 255), max_size=5),
        "names": st.lists(text, max_size=3),
        "pose": pose,
        "poses": st.lists(pose, max_size=3),
        "last": st.integers(-(2**31), 2**31 - 1),
    }
)


def flat(message: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A message as the row that is expected of it."""
    row: dict[str, Any] = {}
    for name, value in message.items():
        if isinstance(value, dict) and set(value) == {"sec", "nanosec"}:
            row[prefix + name] = value["sec"] * 10**9 + value["nanosec"]
        elif isinstance(value, dict):
            row |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, list) and f"{prefix}{name}" in ("triple", "pair"):
            row[prefix + name] = value
        elif isinstance(value, list):
            row[f"{prefix}{name}.count"] = len(value)
            row[prefix + name] = [flat(v) if isinstance(v, dict) else v for v in value]
        else:
            row[prefix + name] = value
    return row


def written(rows: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    writer = Ros2Writer(file)
    schema = writer.register_msgdef(SCHEMA, DEFINITION)
    for i, row in enumerate(rows):
        writer.write_message("/everything", schema, row, log_time=i, publish_time=i, sequence=i)
    writer.finish()
    return file.getvalue()


def read(data: bytes) -> tuple[FrameBatch, RecordingSummary]:
    reader = open_recording(io.BytesIO(data))
    return concat_batches(list(reader)), reader.summary


def rows_of(table: pl.DataFrame) -> list[dict[str, Any]]:
    times = [
        pl.col(name).dt.timestamp("ns") for name, dtype in table.schema.items() if dtype == pl.Datetime("ns", "UTC")
    ]
    return table.with_columns(times).drop("frame", "timestamp").to_dicts()


@given(st.lists(message, min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_every_kind_of_field_is_what_was_written(rows: list[dict[str, Any]]) -> None:
    batch, summary = read(written(rows))
    assert summary.problems == []
    table = batch.topics["/everything", SCHEMA]
    assert table["frame"].to_list() == list(range(len(rows)))
    found = rows_of(table)
    for got, expected in zip(found, map(flat, rows), strict=True):
        for name, value in expected.items():
            assert got[name] == value, name


@given(st.lists(message, min_size=1, max_size=6), st.data())
@settings(max_examples=60, deadline=None)
def test_both_byte_orders_and_cut_messages(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    reader = make_reader(io.BytesIO(written(rows)))
    payloads = [m.data for _, _, m in reader.iter_messages(log_time_order=False)]
    cut = data.draw(st.integers(0, len(rows) - 1))
    payloads[cut] = payloads[cut][: data.draw(st.integers(0, len(payloads[cut]) - 1))]
    lengths = np.array([len(p) for p in payloads])
    buffer = np.frombuffer(b"".join(payloads) + bytes(PADDING), np.uint8)
    decode = flattener("cdr", SCHEMA, "ros2msg", DEFINITION.encode())
    assert decode is not None
    table, ok = decode(buffer, np.cumsum(lengths) - lengths, lengths)
    assert table.height == len(rows)
    assert ok.tolist() == [i != cut for i in range(len(rows))]
    assert table["last"].to_list()[:cut] == [row["last"] for row in rows][:cut]
    assert table["last"].to_list()[cut + 1 :] == [row["last"] for row in rows][cut + 1 :]


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.floats(allow_nan=False), st.booleans()), min_size=1, max_size=9)
)
def test_big_endian_messages(rows: list[tuple[int, float, bool]]) -> None:
    payloads = []
    for number, real, little in rows:
        order = "<" if little else ">"
        body = np.array(number, f"{order}u4").tobytes() + bytes(4) + np.array(real, f"{order}f8").tobytes()
        payloads.append(bytes([0, int(little), 0, 0]) + body)
    buffer = np.frombuffer(b"".join(payloads) + bytes(PADDING), np.uint8)
    starts = np.arange(len(rows)) * 20
    decode = flattener("cdr", "a/msg/B", "ros2msg", b"uint32 number\nfloat64 real")
    assert decode is not None
    table, ok = decode(buffer, starts, np.full(len(rows), 20))
    assert ok.all()
    assert list(table.iter_rows()) == [(number, real) for number, real, _ in rows]


@given(st.binary(max_size=200), st.integers(1, 5))
def test_any_bytes_are_read_or_refused(raw: bytes, pieces: int) -> None:
    bounds = np.linspace(0, len(raw), pieces + 1).astype(np.int64)
    buffer = np.frombuffer(raw + bytes(PADDING), np.uint8)
    decode = flattener("cdr", SCHEMA, "ros2msg", DEFINITION.encode())
    assert decode is not None
    table, ok = decode(buffer, bounds[:-1], np.diff(bounds))
    assert table.height == pieces
    assert table.schema == decode(buffer, bounds[:0], bounds[:0])[0].schema, "the columns do not follow the data"
    assert len(ok) == pieces


def test_a_long_sequence_is_counted_and_what_follows_is_found() -> None:
    rows = [message_of(samples=[1.0] * (MAX_ITEMS + 1), last=7), message_of(samples=[2.0], last=8)]
    batch, summary = read(written(rows))
    table = batch.topics["/everything", SCHEMA]
    assert table["samples.count"].to_list() == [MAX_ITEMS + 1, 1]
    assert table["samples"].to_list() == [None, [2.0]]
    assert table["last"].to_list() == [7, 8]
    assert summary.problems == []


def message_of(**changes: object) -> dict[str, Any]:
    empty = {"position": {"x": 0.0, "y": 0.0}, "quality": 0, "tags": []}
    return {
        "flag": False, "i8": 0, "u16": 0, "f32": 0.0, "text": "", "f64": 0.0, "u64": 0,
        "stamp": {"sec": 0, "nanosec": 0}, "triple": [0, 0, 0], "pair": ["", ""], "samples": [], "bounded": [],
        "names": [], "pose": empty, "poses": [], "last": 0, **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    "definition",
    ["uint8", "Missing field", "uint8 x y z\n!", "A a\n====\nMSG: test_msgs/A\nA a"],
)
def test_a_definition_that_cannot_be_read_leaves_the_frames(definition: str) -> None:
    with pytest.raises(BadDefinition):
        parse_message(
            "test_msgs/msg/X", definition if "====" not in definition else definition.replace("====", "=" * 80)
        )


def json_file(rows: list[bytes], schema: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    writer = Writer(file)
    writer.start()
    number = writer.register_schema("State", "jsonschema", json.dumps(schema).encode())
    channel = writer.register_channel("/state", "json", number)
    for i, row in enumerate(rows):
        writer.add_message(channel, i, row, i, i)
    writer.finish()
    return file.getvalue()


STATE = {
    "type": "object",
    "properties": {
        "speed": {"type": "number"},
        "gear": {"type": "integer"},
        "name": {"type": "string"},
        "on": {"type": "boolean"},
        "at": {"type": "object", "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}}},
        "pose": {"type": "object", "properties": {"x": {"type": "number"}}},
        "list": {"type": "array", "items": {"type": "integer"}},
    },
}
state = st.fixed_dictionaries(
    {
        "speed": st.floats(allow_nan=False, allow_infinity=False),
        "gear": st.integers(-(2**63), 2**63 - 1),
        "name": text,
        "on": st.booleans(),
        "at": st.fixed_dictionaries({"sec": st.integers(0, 2**31), "nsec": st.integers(0, 10**9 - 1)}),
        "pose": st.fixed_dictionaries({"x": st.floats(allow_nan=False, allow_infinity=False)}),
        "list": st.lists(st.integers(-(2**31), 2**31), max_size=3),
    }
)


@given(st.lists(state, min_size=1, max_size=6), st.booleans())
@settings(max_examples=40, deadline=None)
def test_json_is_what_was_written(rows: list[dict[str, Any]], one_is_bad: bool) -> None:
    raw = [json.dumps(row).encode() for row in rows]
    batch, summary = read(json_file([*raw, b"{not json"] if one_is_bad else raw, STATE))
    assert [p.kind for p in summary.problems] == ["bad_message"] * one_is_bad
    found = rows_of(batch.topics["/state", "State"])
    assert len(found) == len(rows)
    for got, row in zip(found, rows, strict=True):
        assert got["at"] == row["at"]["sec"] * 10**9 + row["at"]["nsec"]
        assert math.isclose(got["pose.x"], row["pose"]["x"], rel_tol=1e-12)
        assert math.isclose(got["speed"], row["speed"], rel_tol=1e-12)
        assert {k: got[k] for k in ("gear", "name", "on", "list")} == {
            k: row[k] for k in ("gear", "name", "on", "list")
        }


def protobuf_schema() -> bytes:
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    inner = file.message_type.add(name="Inner")
    inner.field.add(name="x", number=1, type=kinds.TYPE_DOUBLE, label=kinds.LABEL_OPTIONAL)
    outer = file.message_type.add(name="Outer")
    for number, (name, kind, label, of) in enumerate(
        [
            ("stamp", kinds.TYPE_MESSAGE, kinds.LABEL_OPTIONAL, ".google.protobuf.Timestamp"),
            ("n", kinds.TYPE_INT64, kinds.LABEL_OPTIONAL, ""),
            ("text", kinds.TYPE_STRING, kinds.LABEL_OPTIONAL, ""),
            ("raw", kinds.TYPE_BYTES, kinds.LABEL_OPTIONAL, ""),
            ("inner", kinds.TYPE_MESSAGE, kinds.LABEL_OPTIONAL, ".t.Inner"),
            ("list", kinds.TYPE_FLOAT, kinds.LABEL_REPEATED, ""),
            ("inners", kinds.TYPE_MESSAGE, kinds.LABEL_REPEATED, ".t.Inner"),
        ],
        1,
    ):
        outer.field.add(name=name, number=number, type=kind, label=label, **({"type_name": of} if of else {}))
    stamp = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(stamp)
    # The file before the one that it imports: the order is not fixed.
    return descriptor_pb2.FileDescriptorSet(file=[file, stamp]).SerializeToString()


def test_protobuf_is_what_was_written() -> None:
    from argus_assets.recordings.messages.topics import message_class

    outer = message_class("t.Outer", protobuf_schema())
    assert outer is not None
    made: Any = outer(n=-5, text="é", raw=b"\x00\xff", list=[1.5, 2.5])
    made.stamp.seconds, made.stamp.nanos = 1_700_000_000, 5
    made.inner.x = 2.25
    made.inners.add(x=1.0)
    file = io.BytesIO()
    writer = Writer(file)
    writer.start()
    channel = writer.register_channel(
        "/p", "protobuf", writer.register_schema("t.Outer", "protobuf", protobuf_schema())
    )
    writer.add_message(channel, 1, made.SerializeToString(), 1)
    writer.add_message(channel, 2, b"\xff\xff", 2)
    writer.finish()
    batch, summary = read(file.getvalue())
    assert [(p.kind, p.actual) for p in summary.problems] == [("bad_message", "1 invalid messages")]
    (row,) = rows_of(batch.topics["/p", "t.Outer"])
    assert row == {
        "stamp": 1_700_000_000 * 10**9 + 5, "n": -5, "text": "é", "raw": b"\x00\xff", "inner.x": 2.25,
        "list": [1.5, 2.5], "inners": ['{"x": 1.0}'],
    }  # fmt: skip
    assert batch.frames.height == 2


def test_real_rosbags_equal_the_official_decoder(recordings: Path) -> None:
    """Every scalar of every message that the official decoder reads."""
    compared = 0
    for path in sorted((recordings / "mcap").glob("*.mcap")):
        with path.open("rb") as file:
            batches = list(open_recording(file))
            topics = concat_batches(batches).topics
            iterators = {key: iter(rows_of(table)) for key, table in topics.items()}
            file.seek(0)
            reader = make_reader(file, decoder_factories=[DecoderFactory()])
            for schema, channel, _, decoded in reader.iter_decoded_messages(log_time_order=False):
                key = (channel.topic, schema.name if schema else "")
                if key not in iterators:
                    continue
                row = next(iterators[key])
                for name, value in scalars(decoded):
                    if name in row:
                        same = row[name] == value or (value != value and row[name] != row[name])
                        assert same, (path.name, key, name)
                        compared += 1
    assert compared > 20


def scalars(message: Any, prefix: str = ""):
    for name in message.__slots__:
        value = getattr(message, name)
        if hasattr(value, "__slots__"):
            yield from scalars(value, f"{prefix}{name}.")
        elif isinstance(value, (int, float, str)):
            yield prefix + name, value


@pytest.mark.parametrize("items", [10**6, 2**28, 2**28 + 1, 2**64])
def test_a_fixed_array_of_any_size_in_a_definition_takes_no_memory(items: int) -> None:
    flatten = flattener("cdr", "t/msg/M", "ros2msg", f"float64[{items}] x\nuint8 y".encode())
    if items > 2**28:
        assert flatten is None
        return
    assert flatten is not None
    table, readable = flatten(np.zeros(64 + PADDING, np.uint8), np.array([0]), np.array([64]))
    assert not readable.any()
    assert table.columns == ["y"], "a long array has no column"


@pytest.mark.parametrize("odd", [b"", b" ", b'{"a": 1}{"a": 2}', b'{"a": 1}\n{"a": 2}', b"{", b"[1]"])
def test_a_message_that_is_not_one_json_value_shifts_no_other(odd: bytes) -> None:
    schema = b'{"type": "object", "properties": {"a": {"type": "integer"}}}'
    flatten = flattener("json", "M", "jsonschema", schema)
    assert flatten is not None
    sent = [b'{"a": 5}', odd, b'{"a": 7}', b'{\n  "a": 8\n}']
    buffer = np.frombuffer(b"".join(sent) + bytes(PADDING), np.uint8)
    sizes = np.array([len(m) for m in sent], np.int64)
    table, readable = flatten(buffer, np.cumsum(sizes) - sizes, sizes)
    assert readable.tolist() == [True, False, True, True]
    assert table["a"].to_list() == [5, None, 7, 8]
