"""Columns of protobuf messages: what is absent is null, zeros are zeros, and types that hold each other end."""

import io
import json
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import Writer

from argus_assets.recordings.messages.topics import flattener, message_class
from argus_assets.recordings.model import FrameBatch, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording

_Kinds = descriptor_pb2.FieldDescriptorProto


def recording(messages: list[bytes], name: str, definition: bytes) -> bytes:
    """Return a recording of one topic `/t`."""
    file = io.BytesIO()
    writer = Writer(file)
    writer.start()
    channel = writer.register_channel("/t", "protobuf", writer.register_schema(name, "protobuf", definition))
    for i, message in enumerate(messages):
        writer.add_message(channel, i, message, i, i)
    writer.finish()
    return file.getvalue()


def read(data: bytes) -> tuple[FrameBatch, RecordingSummary]:
    reader = open_recording(io.BytesIO(data))
    return concat_batches(list(reader)), reader.summary


def graph(edges: list[list[int]], *, has_values: bool = True) -> bytes:
    """Return descriptors of types `g.T0` …, whose fields are of the types that `edges` lists."""
    file = descriptor_pb2.FileDescriptorProto(name="g.proto", package="g", syntax="proto3")
    for i, targets in enumerate(edges):
        made = file.message_type.add(name=f"T{i}")
        if has_values:
            made.field.add(name="v", number=1, type=_Kinds.TYPE_DOUBLE, label=_Kinds.LABEL_OPTIONAL)
        for k, target in enumerate(targets):
            made.field.add(
                name=f"f{k}", number=k + 2, type=_Kinds.TYPE_MESSAGE, label=_Kinds.LABEL_OPTIONAL, type_name=f".g.T{target}"
            )  # fmt: skip
    return descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()


def presence() -> bytes:
    """Return descriptors of a type with a field of each kind of presence, in itself, nested and repeated."""
    file = descriptor_pb2.FileDescriptorProto(name="p.proto", package="p", syntax="proto3")
    inner, outer = file.message_type.add(name="Inner"), file.message_type.add(name="Outer")
    for owner in (inner, outer):
        owner.field.add(name="plain", number=1, type=_Kinds.TYPE_INT64, label=_Kinds.LABEL_OPTIONAL)
        owner.oneof_decl.add(name="_maybe")
        owner.field.add(
            name="maybe", number=2, type=_Kinds.TYPE_DOUBLE, label=_Kinds.LABEL_OPTIONAL, proto3_optional=True, oneof_index=0
        )  # fmt: skip
    of_inner = {"type": _Kinds.TYPE_MESSAGE, "type_name": ".p.Inner"}
    outer.field.add(name="one", number=3, label=_Kinds.LABEL_OPTIONAL, **of_inner)
    outer.field.add(name="many", number=4, label=_Kinds.LABEL_REPEATED, **of_inner)
    return descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()


values: dict[str, st.SearchStrategy[Any]] = {
    "plain": st.sampled_from([0, 1, -5]),
    "maybe": st.sampled_from([0.0, 2.5]),
}
inner_message = st.fixed_dictionaries({}, optional=values)
outer_message = st.fixed_dictionaries(
    {}, optional={**values, "one": inner_message, "many": st.lists(inner_message, max_size=2)}
)


@given(st.lists(outer_message, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_what_is_absent_is_null_and_zeros_are_zeros(rows: list[dict[str, Any]]) -> None:
    made = message_class("p.Outer", presence())
    assert made is not None
    sent = [json_format.ParseDict(row, made()) for row in rows]
    batch, summary = read(recording([m.SerializeToString() for m in sent], "p.Outer", presence()))
    assert summary.problems == []
    found = batch.topics["/t", "p.Outer"].to_dicts()
    for row, message in zip(found, sent, strict=True):
        official = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
        expected = {
            "plain": int(official["plain"]),
            "maybe": official.get("maybe"),
            "one.plain": int(official["one"]["plain"]) if "one" in official else None,
            "one.maybe": official["one"].get("maybe") if "one" in official else None,
        }
        assert {name: row[name] for name in expected} == expected
        assert [json.loads(text) for text in row["many"]] == official["many"]


@pytest.mark.parametrize(
    "edges",
    [[[1], [0]], [list(range(12))] * 12, [*([i + 1, i + 1] for i in range(39)), []], [list(range(150))] * 150],
    ids=["two", "twelve", "a chain of pairs", "wide"],
)
@pytest.mark.parametrize("has_values", [True, False])
def test_types_that_hold_each_other_have_a_bounded_number_of_columns(
    edges: list[list[int]], *, has_values: bool
) -> None:
    definition = graph(edges, has_values=has_values)
    made = message_class("g.T0", definition)
    assert made is not None
    batch, summary = read(recording([b"", made().SerializeToString()], "g.T0", definition))
    assert 2 < batch.topics["/t", "g.T0"].width <= 2050
    (problem,) = summary.problems
    assert problem.kind == "unsupported"
    assert "g.T0" in problem.expected
    assert "/t" in problem.actual


def test_a_type_of_too_many_fields_of_its_own_is_told() -> None:
    told: list[Exception] = []
    assert flattener("protobuf", "g.T0", "protobuf", graph([[1] * 3000, []]), report=told.append) is None
    assert [str(error) for error in told] == ["more than 2,048 columns"]
