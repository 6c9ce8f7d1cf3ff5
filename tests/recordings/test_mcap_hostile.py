"""Hostile MCAP files: told, bounded, and no harm to what stands beside them."""

import io
import json
import struct
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.recordings.columns import PADDING
from argus_assets.recordings.messages.ros_msg import (
    BadDefinition,
    DefinitionOverLimit,
    count_columns,
    min_bytes,
    parse_message,
)
from argus_assets.recordings.messages.topics import flattener
from argus_assets.recordings.model import FrameBatch, Limits, Problem, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording
from argus_assets.recordings.schema import DAMAGE_KINDS, DIAGNOSTICS, FRAMES, LOGS
from tests.support.hostile_mcap import (
    CDR,
    MAGIC,
    channel,
    chunk,
    descriptors,
    mcap,
    message,
    protobuf_message,
    record,
    schema,
    statistics,
    topic,
)


class Counted(io.BytesIO):
    """A file that counts the bytes that are read."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        out = super().read(size)
        self.count += len(out)
        return out


def read(data: bytes, **limits: Any) -> tuple[FrameBatch, RecordingSummary]:
    reader = open_recording(io.BytesIO(data), limits=Limits(workers=1, **limits))
    batches = list(reader)
    summary = reader.summary
    for batch in batches:
        FRAMES.check(batch.frames)
        LOGS.check(batch.logs)
        DIAGNOSTICS.check(batch.diagnostics)
    whole = concat_batches(batches)
    assert whole.frames["frame"].to_list() == list(range(whole.frames.height))
    assert summary.frames == whole.frames.height
    assert sum(c.frames for c in summary.channels) == whole.frames.height
    assert sum(p.frames_lost or 0 for p in summary.problems) == summary.frames_lost
    assert "reader_failed" not in kinds(summary), summary.problems
    assert set(kinds(summary)) <= set(DAMAGE_KINDS)
    return whole, summary


def kinds(summary: RecordingSummary) -> list[str]:
    return [p.kind for p in without_notices(summary)]


def without_notices(summary: RecordingSummary) -> list[Problem]:
    """The problems but the word on messages that have no schema, as most of these here."""
    return [p for p in summary.problems if not p.expected.startswith("cdr, ros1")]


# ------------------------------------------------------------------------------------------ damage


@pytest.mark.parametrize("broken", [record(0x20, b"", 2**50), record(6, bytes(60), 2**50), record(5, b"", 2**40)])
def test_each_byte_is_read_once_however_often_records_are_broken(broken: bytes) -> None:
    unit = broken + chunk(message(1, b"x"), plain=True)
    read_of: dict[int, int] = {}
    for count in (300, 600):
        source = Counted(mcap(channel(1, 0, "/t"), unit * count))
        reader = open_recording(source, limits=Limits(workers=1))
        assert sum(batch.frames.height for batch in reader) == count
        read_of[count] = source.count / len(source.getvalue())  # type: ignore[assignment]
    assert read_of[600] <= 2.5
    assert read_of[600] <= read_of[300] + 0.5


def test_all_messages_of_a_chunk_are_read_between_a_hundred_wrong_lengths() -> None:
    unit = message(1, b"a") + message(1, b"b") + struct.pack("<BQ", 5, 2**40) + bytes(22)
    batch, summary = read(mcap(channel(1, 0, "/t"), chunk(unit * 200 + message(1, b"a") + message(1, b"b"))))
    assert batch.frames.height == 402
    assert kinds(summary).count("bad_length") == 101, "the first hundred, and how many more"


@given(st.lists(st.sampled_from(["plain", "false", "unknown"]), min_size=1, max_size=400), st.booleans())
@settings(max_examples=30, deadline=None)
def test_bytes_of_messages_that_look_like_records_hide_none(parts: list[str], in_chunk: bool) -> None:
    made = {
        "plain": message(1, b"x" * 40),
        "false": message(1, b"y", sequence=0x1F05, at=0),  # 05, and a length that could be
        "unknown": record(0x80, b"zz"),
    }
    raw = b"".join(made[part] for part in parts)
    batch, summary = read(mcap(channel(1, 0, "/t"), chunk(raw) if in_chunk else raw))
    wanted = [b"x" * 40 if part == "plain" else b"y" for part in parts if part != "unknown"]
    assert batch.frames["payload"].to_list() == wanted
    assert "bad_length" not in kinds(summary)


def test_a_chunk_of_tiny_records_ends_with_the_budget_and_the_next_file_part_is_read() -> None:
    raw = mcap(channel(1, 0, "/t"), chunk(record(0x80, b"") * 5000 + message(1, b"late")), chunk(message(1, b"next")))
    batch, summary = read(raw, max_records=1000)
    assert batch.frames["payload"].to_list() == [b"next"]
    assert [p.expected for p in without_notices(summary)] == ["at most 1,000 records"]


def test_chunks_that_claim_less_than_they_hold_are_read_on_and_counted() -> None:
    small = chunk(message(1, bytes(1000)), claim=1)
    batch, summary = read(mcap(channel(1, 0, "/t"), small * 20))
    assert batch.frames.height == 20
    assert kinds(summary) == ["bad_compression"] * 20
    big = chunk(message(1, bytes(9_000_000)), claim=1)
    batch, summary = read(mcap(channel(1, 0, "/t"), big * 4), max_ratio=1e6, min_total_bytes=20_000_000)
    assert batch.frames.height == 2, "what is beyond 16 MiB of the claims of a group is cut"
    assert summary.problems


def test_statistics_that_nothing_can_hold_are_told_and_cost_no_frame() -> None:
    batch, summary = read(mcap(channel(1, 0, "/t"), message(1, b"x"), statistics(2**64 - 1)))
    assert batch.frames.height == 1
    assert [(p.kind, p.frames_lost) for p in without_notices(summary)] == [("bad_record", None)]
    _, summary = read(mcap(channel(1, 0, "/t"), message(1, b"x"), statistics(5)))
    assert summary.frames_lost == 4


@pytest.mark.parametrize("at", [2**63 - 1, 2**63, 2**64 - 1])
def test_times_at_the_edge_of_64_bits_are_told(at: int) -> None:
    batch, summary = read(mcap(channel(1, 0, "/t"), message(1, b"x", at)))
    assert batch.frames["timestamp"].dt.timestamp("ns").to_list() == [2**63 - 1]
    assert kinds(summary) == ["bad_timestamp"] * (at > 2**63 - 1)


# ------------------------------------------------------------------------------------------ counts


def test_frames_of_further_channels_are_lost_and_counted() -> None:
    raw = mcap(*(channel(n, 0, f"/t{n}") for n in range(1, 21)), *(message(n, b"x") * n for n in range(1, 31)))
    batch, summary = read(raw, max_channels=15)
    assert batch.frames.height == sum(range(1, 16))
    assert summary.frames_lost == sum(range(16, 31))
    assert [p.kind for p in summary.problems if p.kind == "over_limit"] == ["over_limit"]


def test_messages_of_further_topics_stay_frames() -> None:
    parts = [channel(n, 1, f"/t{n}") for n in range(1, 21)]
    raw = mcap(
        schema(1, "p/msg/T", "ros2msg", "float64 x"), *parts, *(message(n, CDR + bytes(8)) for n in range(1, 21))
    )
    batch, summary = read(raw, max_topics=7)
    assert batch.frames.height == 20
    assert len(batch.topics) == 7
    assert [(p.kind, p.frames_lost) for p in summary.problems] == [("over_limit", None)]


def test_twelve_hundred_topics_have_a_table_each() -> None:
    parts = [channel(n, 1, f"/t{n}") for n in range(1, 1201)]
    some = b"".join(message(n, CDR + struct.pack("<d", n)) for n in range(1, 1201))
    batch, summary = read(mcap(schema(1, "p/msg/T", "ros2msg", "float64 x"), *parts, chunk(some * 3)))
    assert summary.problems == []
    assert {t: table["x"].to_list() for (t, _), table in batch.topics.items()} == {
        f"/t{n}": [float(n)] * 3 for n in range(1, 1201)
    }


def test_a_schema_is_parsed_once_however_many_channels_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from argus_assets.recordings.messages import topics

    parsed: list[str] = []
    real = topics.parse_message
    monkeypatch.setattr(
        topics, "parse_message", lambda name, *rest, **more: parsed.append(name) or real(name, *rest, **more)
    )
    parts = [schema(n, "p/msg/T", "ros2msg", "float64 x") + channel(n, n, f"/t{n}") for n in range(1, 200)]
    batch, _ = read(mcap(*parts, *(message(n, CDR + bytes(8)) for n in range(1, 100))))
    assert len(batch.topics) == 99
    assert parsed == ["p/msg/T"]


def test_schemas_beyond_the_limits_leave_frames_and_are_told() -> None:
    raw = mcap(
        schema(1, "a/msg/A", "ros2msg", "float64 x" + "#" * 3000), channel(1, 1, "/a"), message(1, CDR + bytes(8)),
        schema(2, "b/msg/B", "ros2msg", "float64 x"), channel(2, 2, "/b"), message(2, CDR + bytes(8)),
        schema(3, "c/msg/C", "ros2msg", "float64 y"), channel(3, 3, "/c"), message(3, CDR + bytes(8)),
    )  # fmt: skip
    batch, summary = read(raw, max_schema_bytes=1000, max_schemas=1)
    assert batch.frames.height == 3
    assert list(batch.topics) == [("/b", "b/msg/B")]
    assert kinds(summary) == ["over_limit"] * 2


def test_another_definition_of_the_same_topic_and_type_does_not_change_its_table() -> None:
    raw = mcap(
        schema(1, "p/msg/T", "ros2msg", "float64 x"), channel(1, 1, "/t"),
        schema(2, "p/msg/T", "ros2msg", "string x"), channel(2, 2, "/t"),
        chunk(message(1, CDR + bytes(8)) + message(2, CDR + struct.pack("<I", 2) + b"a\0") + message(1, CDR + bytes(8))),
    )  # fmt: skip
    batch, summary = read(raw)
    assert batch.topics["/t", "p/msg/T"]["x"].to_list() == [0.0, 0.0]
    assert kinds(summary) == ["unsupported"]


def test_names_of_a_megabyte_are_cut() -> None:
    _, summary = read(mcap(schema(1, "n" * 10**6, "x", "y"), channel(1, 1, "t" * 10**6), message(1, b"x")))
    (of,) = summary.channels
    assert len(of.channel) <= 1025
    assert len(of.schema) <= 1025


# ------------------------------------------------------------------------------------------ definitions

HOSTILE_ROS = {
    "itself": "T a",
    "through another": "A a\n===\nMSG: p/A\nT t",
    "doubling": "A0 a\nA0 b\n"
    + "".join(f"===\nMSG: p/A{n}\nA{n + 1} a\nA{n + 1} b\n" for n in range(24))
    + "===\nMSG: p/A24\nint8 x",
    "deep": "".join(f"A{n} a\n===\nMSG: p/A{n}\n" for n in range(5000)) + "int8 x",
    "wide": "\n".join(f"int8 a{n}" for n in range(10_000)),
    "a name": f"int8 {'a' * 10**6}",
    "a path": "".join(f"A{n} {'a' * 50}\n===\nMSG: p/A{n}\n" for n in range(10)) + "int8 x",
    "twice": "int8 x\nint8 x",
    "an array": "float64[4000000000] x",
    "blanks": "int8" + " " * 10**6 + "1",
    "a type": "a" * 10**6 + "!",
    "types": "int8 x\n" + "=\nMSG: q/A\n" * 20_000,
    "a line of =": "=" * 10**6 + "x",
    "no text": "int8 \udcff",
}


@pytest.mark.parametrize("definition", HOSTILE_ROS.values(), ids=HOSTILE_ROS)
def test_a_hostile_definition_is_told_and_its_messages_stay_frames(definition: str) -> None:
    raw = definition.encode("utf-8", "surrogateescape")
    batch, summary = read(topic("cdr", "ros2msg", raw, CDR + bytes(100)))
    assert batch.frames.height == 1
    assert batch.topics == {}
    assert kinds(summary) in (["unsupported"], ["over_limit"])


def test_towers_of_fixed_arrays_are_refused_by_their_size_and_not_walked() -> None:
    tower = (
        "A[1024] a\n"
        + "".join(f"===\nMSG: p/{a}\n{b}[1024] x\n" for a, b in ("AB", "BC", "CD", "DE", "EF"))
        + "===\nMSG: p/F\nstring s"
    )
    batch, summary = read(topic("cdr", "ros2msg", tower, *[CDR + bytes(200)] * 50))
    assert batch.frames.height == 50
    assert kinds(summary) == ["bad_message"]
    assert min_bytes(parse_message("p/msg/T", tower)) == 2**30


types = st.recursive(
    st.sampled_from(["int8", "float64", "string", "wstring", "bool", "builtin_interfaces/Time"]),
    lambda inner: st.lists(st.tuples(inner, st.sampled_from(["", "[]", "[2]", "[0]", "[<=3]", "[1500]"])), max_size=5),
    max_leaves=12,
)


def definition_of(kind: Any) -> str:
    """A definition of nested lists of (type, array)."""
    found: list[str] = []

    def add(fields: Any) -> str:
        number = len(found)
        found.append("")
        lines = [
            f"{inner if isinstance(inner, str) else add(inner)}{array} f{n}" for n, (inner, array) in enumerate(fields)
        ]
        found[number] = f"MSG: p/T{number}\n" + "\n".join(lines)
        return f"p/T{number}"

    add([(kind, "")] if isinstance(kind, str) else kind)
    return "\n===\n".join([found[0].partition("\n")[2], *found[1:]])


@given(types, st.lists(st.binary(max_size=80), min_size=1, max_size=6), st.integers(1, 40))
@settings(max_examples=120, deadline=None)
def test_any_definition_and_any_message_give_columns_within_the_limit(kind: Any, raws: list[bytes], limit: int) -> None:
    definition = definition_of(kind)
    raws = [CDR + raw for raw in raws]
    try:
        fields = parse_message("p/T0", definition, Limits(max_columns=limit))
    except DefinitionOverLimit:
        assert count_columns(parse_message("p/T0", definition)) > limit
        return
    except BadDefinition:  # [0] as the first item of a type that has others
        return
    assert count_columns(fields) <= limit
    flatten = flattener("cdr", "p/T0", "ros2msg", definition.encode())
    if flatten is None:
        return
    sizes = np.array([len(raw) for raw in raws])
    buffer = np.frombuffer(b"".join(raws) + bytes(PADDING), np.uint8)
    table, ok = flatten(buffer, np.cumsum(sizes) - sizes, sizes)
    assert table.height == len(raws)
    assert table.width <= flatten.columns
    if "[1500]" not in definition:  # such items are left out, unread
        assert not ok[sizes < flatten.min_bytes].any(), "a message that is too short is never readable"
    again, _ = flatten(buffer, np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert table.schema == again.schema


@given(st.integers(1, 1024), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_a_sequence_never_has_more_items_than_its_message_has_bytes_for(items: int, claimed: int) -> None:
    for definition, least in (
        ("string[] a", 4),
        ("E[] a\n===\nMSG: p/E\n", 1),
        ("float64[] a", 8),
        ("N[] a\n===\nMSG: p/N\nstring[] b", 4),
    ):
        flatten = flattener("cdr", "p/T", "ros2msg", definition.encode())
        assert flatten is not None
        raw = CDR + struct.pack("<I", claimed) + bytes(items)
        buffer = np.frombuffer(raw + bytes(PADDING), np.uint8)
        table, ok = flatten(buffer, np.array([0]), np.array([len(raw)]))
        assert not (ok[0] and claimed * least > items + 4)
        assert (table["a"].list.len().fill_null(0) <= items + 4).all()


def test_what_follows_items_that_were_left_out_is_null_and_not_zero() -> None:
    raw = CDR + struct.pack("<I", 2000) + bytes(2000) + struct.pack("<i", 7)
    batch, summary = read(topic("cdr", "ros2msg", "E[] a\nint32 last\n===\nMSG: p/E\n", raw))
    row = batch.topics["/t", "p/msg/T"].row(0, named=True)
    assert (row["a.count"], row["a"], row["last"]) == (2000, None, None)
    assert summary.problems == []


def test_items_that_are_walked_one_by_one_are_spent() -> None:
    inner = struct.pack("<I", 100) + struct.pack("<I", 0) * 100
    raw = CDR + struct.pack("<I", 100) + inner * 100
    batch, summary = read(topic("cdr", "ros2msg", "A[] a\n===\nMSG: p/A\nstring[] b", *[raw] * 3), max_values=10**6)
    assert batch.frames.height == 3
    assert batch.topics == {}
    assert kinds(summary) == ["over_limit"]


# ------------------------------------------------------------------------------------------ JSON


def object_of(**properties: object) -> str:
    return json.dumps({"type": "object", "properties": properties})


HOSTILE_JSON = {
    "deep": "[" * 100_000,
    "wide": object_of(**{f"f{n}": {"type": "number"} for n in range(5000)}),
    "a name": object_of(**{"a" * 10**5: {"type": "number"}}),
    "a surrogate": '{"type": "object", "properties": {"\\ud800": {"type": "number"}}}',
    "digits": '{"type": "object", "properties": {"a": {"type": "number", "minimum": %s}}}' % ("9" * 5000),
    "properties": '{"type": "object", "properties": [1, 2]}',
    "an array": "[1]",
    "broken": "{",
    "not UTF-8": '{"type": "\udcff"}',
}


@pytest.mark.parametrize("definition", HOSTILE_JSON.values(), ids=HOSTILE_JSON)
def test_a_hostile_json_schema_is_told_and_its_messages_stay_frames(definition: str) -> None:
    raw = definition.encode("utf-8", "surrogateescape")
    batch, summary = read(topic("json", "jsonschema", raw, b'{"a": 1}'))
    assert batch.frames.height == 1
    assert batch.topics == {}
    assert kinds(summary) in (["unsupported"], ["over_limit"])


def test_a_json_schema_that_is_nested_deeper_than_the_limit_or_refers_to_itself_is_a_text() -> None:
    deep: dict[str, Any] = {"type": "integer"}
    for _ in range(40):
        deep = {"type": "object", "properties": {"a": deep}}
    deep["properties"]["me"] = {"$ref": "#"}
    batch, summary = read(topic("json", "jsonschema", json.dumps(deep), b'{"me": "x"}'))
    table = batch.topics["/t", "p/msg/T"]
    assert table["me"].to_list() == ["x"]
    assert set(table.schema.values()) <= {pl.String(), pl.UInt64(), pl.Datetime("ns", "UTC")}
    assert summary.problems == []


def test_columns_that_would_have_the_same_name_keep_their_values() -> None:
    definition = object_of(
        **{"a.b": {"type": "integer"}, "a": {"type": "object", "properties": {"b": {"type": "integer"}}}},
        frame={"type": "integer"}, frame_={"type": "integer"}, timestamp={"type": "integer"},
    )  # fmt: skip
    raw = b'{"a.b": 1, "a": {"b": 2}, "frame": 3, "frame_": 4, "timestamp": 5}'
    batch, summary = read(topic("json", "jsonschema", definition, raw))
    row = batch.topics["/t", "p/msg/T"].row(0, named=True)
    assert [row[name] for name in ("a.b", "a.b_", "frame__", "frame_", "timestamp_")] == [1, 2, 3, 4, 5]
    assert summary.problems == []


ODD_JSON = [
    b"", b" ", b"{", b"}", b"[1]", b"5", b"null", b'"x"', b'{"a": NaN}', b'{"a": 1e999}', b'{"a": Infinity}',
    b'{"a": ' + b"9" * 5000 + b"}", b'{"zz": ' + b"[" * 5000 + b"]" * 5000 + b"}", b'{"a": "x"}', b'{"a": {}}',
    b'{"a": 1, "a": "x"}', b'{"a": "x", "a": 1}', b'{"s": [1]}', b'{"b": 1}', b'{"l": {"a": 1}}', b'{"l": ["x"]}', b'{"t": 5}',
    b'{"a": 1}{"a": 2}', b'{"a": 1} x', b"\xff\xfe", b'\xef\xbb\xbf{"a": 1}', b'{"a": 01}', b"{'a': 1}",
]  # fmt: skip
FINE_JSON = [
    b'{"a": 1}',
    b'{"a": 2.5, "s": "x", "b": true, "l": [1, 2], "t": {"sec": 1, "nsec": 5}}',
    b"{}",
    b'{"s": "\\ud800"}',
]
STATE = object_of(
    a={"type": "number"}, s={"type": "string"}, b={"type": "boolean"}, l={"type": "array", "items": {"type": "integer"}},
    t={"type": "object", "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}}},
)  # fmt: skip


@given(st.lists(st.sampled_from([*ODD_JSON, *FINE_JSON]) | st.binary(max_size=30), min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_broken_json_beside_good_changes_no_other_row(raws: list[bytes]) -> None:
    def decoded(some: list[bytes]) -> tuple[list[tuple[Any, ...]], list[bool]]:
        flatten = flattener("json", "T", "jsonschema", STATE.encode())
        assert flatten is not None
        sizes = np.array([len(raw) for raw in some])
        table, ok = flatten(np.frombuffer(b"".join(some) + bytes(PADDING), np.uint8), np.cumsum(sizes) - sizes, sizes)
        return table.rows(), ok.tolist()

    together = decoded(raws)
    alone = [decoded([raw]) for raw in raws]
    assert together[1] == [ok for _, (ok,) in alone]
    assert [row for row, ok in zip(*together, strict=True) if ok] == [rows[0] for rows, (ok,) in alone if ok]
    assert all(ok for raw, (_, (ok,)) in zip(raws, alone, strict=True) if raw in FINE_JSON)


@pytest.mark.parametrize("sec", [2**63 - 1, -(2**63), 10**10])
def test_json_times_beyond_64_bits_are_null(sec: int) -> None:
    batch, _ = read(topic("json", "jsonschema", STATE, json.dumps({"t": {"sec": sec, "nsec": 2**62}}).encode()))
    assert batch.topics["/t", "p/msg/T"]["t"].to_list() == [None]


def test_rows_without_bytes_are_spent_before_they_become_columns() -> None:
    wide = object_of(**{f"f{n}": {"type": "number"} for n in range(2000)})
    batch, summary = read(topic("json", "jsonschema", wide, *[b"{}"] * 2000), max_values=100_000)
    assert batch.frames.height == 2000
    assert batch.topics == {}
    assert kinds(summary) == ["over_limit"]


@given(st.binary(max_size=60) | st.sampled_from(ODD_JSON) | st.sampled_from(
    [b'{"status": ' + b"[" * 3000, b'{"status": [{"level": 1e308}]}', b'{"status": [{"name": "\\ud800", "values": [1, {"key": {}}]}]}',
     b'{"level": [], "message": "\\ud800"}', b'{"level": 1e999}', b'{"status": 5}', b'{"line": -1, "level": "WARN"}']
), st.sampled_from(["foxglove.Log", "rcl_interfaces/msg/Log", "diagnostic_msgs/msg/DiagnosticArray"]))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_any_log_or_diagnostic_in_json_is_read_or_told(raw: bytes, name: str) -> None:
    batch, summary = read(topic("json", "jsonschema", "{}", raw, name=name))
    assert batch.frames.height == 1
    told = kinds(summary) == ["bad_message"]
    assert told or summary.problems == []
    assert not (told and (batch.logs.height or batch.diagnostics.height))


# ------------------------------------------------------------------------------------------ protobuf


def test_a_message_inside_of_its_own_type_is_one_text() -> None:
    definition = protobuf_message(**{f"a{n}": ".p.M" for n in range(6)}, v=5)
    batch, summary = read(topic("protobuf", "protobuf", definition, b"", b"\x0a\x02\x38\x05\x38\x07", name="p.M"))
    table = batch.topics["/t", "p.M"]
    assert table.columns[2:] == [*(f"a{n}" for n in range(6)), "v"]
    assert table["a0"].to_list() == [None, '{"v": 5}']
    assert table["v"].to_list() == [0, 7]
    assert kinds(summary) == ["unsupported"], "which fields are texts is told"


def test_fields_named_like_methods_are_fields() -> None:
    names = [
        "ParseFromString",
        "ListFields",
        "FromString",
        "ByteSize",
        "DESCRIPTOR",
        "__class__",
        "__init__",
        "HasField",
    ]
    definition = protobuf_message(**dict.fromkeys(names, 5), r="*.p.M")
    raw = b"".join(bytes([n << 3, n]) for n in range(1, 9))
    batch, summary = read(topic("protobuf", "protobuf", definition, raw, raw + b"\x4a\x02\x08\x01", name="p.M"))
    row = batch.topics["/t", "p.M"].row(1, named=True)
    assert [row[name] for name in names] == list(range(1, 9))
    assert summary.problems == []


def timestamp_of(kind: int) -> bytes:
    """A type of protobuf's name for a point in time, whose seconds are something else."""

    def build(file: Any) -> None:
        file.package = "google.protobuf"
        time = file.message_type.add(name="Timestamp")
        time.field.add(name="seconds", number=1, type=kind, label=1)
        time.field.add(name="nanos", number=2, type=5, label=1)
        made = file.message_type.add(name="M")
        made.field.add(name="t", number=1, type=11, label=1, type_name=".google.protobuf.Timestamp")
        made.field.add(name="many", number=2, type=11, label=3, type_name=".google.protobuf.Timestamp")

    return descriptors(build)


def test_seconds_that_are_no_number_are_not_multiplied() -> None:
    raw = b"\x0a\x06\x0a\x04aaaa\x12\x03\x0a\x01a"
    batch, summary = read(topic("protobuf", "protobuf", timestamp_of(9), raw, name="google.protobuf.M"))
    table = batch.topics["/t", "google.protobuf.M"]
    assert table["t.seconds"].to_list() == ["aaaa"]
    assert summary.problems == []


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1))
@settings(max_examples=60, deadline=None)
def test_protobuf_times_are_exact_or_null(seconds: int, nanos: int) -> None:
    from argus_assets.recordings.messages.topics import message_class

    made = message_class("google.protobuf.M", timestamp_of(3))
    assert made is not None
    value: Any = made()
    value.t.seconds, value.t.nanos = seconds, nanos
    value.many.add(seconds=seconds)
    raw = value.SerializeToString()
    batch, _ = read(topic("protobuf", "protobuf", timestamp_of(3), raw, name="google.protobuf.M"))
    whole = seconds * 10**9 + nanos
    expected = whole if abs(whole) < 2**63 else None
    assert batch.topics["/t", "google.protobuf.M"]["t"].to_physical().to_list() == [expected]


def test_hostile_descriptors_are_told_and_their_messages_stay_frames() -> None:
    def wide(file: Any) -> None:
        made = file.message_type.add(name="M")
        for n in range(3000):
            made.field.add(name=f"f{n}", number=n + 1, type=5, label=1)

    def many(file: Any) -> None:
        file.message_type.add(name="M").field.add(name="x", number=1, type=5, label=1)
        for n in range(20_000):
            file.message_type.add(name=f"T{n}")

    def circle(file: Any) -> None:
        file.message_type.add(name="M").field.add(name="x", number=1, type=5, label=1)
        file.dependency.append("a.proto")

    def enum(file: Any) -> None:
        file.enum_type.add(name="E").value.add(name="e" * 10**5, number=0)
        file.message_type.add(name="M").field.add(name="x", number=1, type=14, label=1, type_name=".p.E")

    hostile = [
        descriptors(wide),
        descriptors(many),
        descriptors(circle),
        descriptors(enum),
        b"\xff",
        protobuf_message(**{"a" * 10**5: 5}),
    ]
    two_of_a_name = protobuf_message(a=5) + protobuf_message(a=9)
    for definition in [*hostile, two_of_a_name]:
        batch, summary = read(topic("protobuf", "protobuf", definition, b"\x08\x01", name="p.M"))
        assert batch.frames.height == 1
        assert batch.topics == {}
        assert kinds(summary) in (["unsupported"], ["over_limit"])


def test_a_log_type_whose_fields_are_of_other_types_gives_logs_without_them() -> None:
    def build(file: Any) -> None:
        file.package = "foxglove"
        made = file.message_type.add(name="Log")
        made.field.add(name="level", number=1, type=9, label=1)
        made.field.add(name="message", number=2, type=12, label=1)
        made.field.add(name="line", number=3, type=5, label=3)

    batch, summary = read(
        topic("protobuf", "protobuf", descriptors(build), b"\x0a\x01x\x12\x02\xff\xfe", b"\xff", name="foxglove.Log")
    )
    assert batch.logs.select("level", "message", "line").rows() == [(0, "", 0)]
    assert kinds(summary) == ["bad_message"]


@given(st.binary(max_size=200), st.binary(max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_bytes_as_descriptors_and_message_raise_nothing(definition: bytes, raw: bytes) -> None:
    for known in (definition, protobuf_message(a=5, s=9, r="*.p.M", e=".p.Empty")):
        batch, _ = read(topic("protobuf", "protobuf", known, raw, raw, name="p.M"))
        assert batch.frames.height == 2


def test_text_of_proto2_need_not_be_utf8() -> None:
    def build(file: Any) -> None:
        made = file.message_type.add(name="M")
        made.field.add(name="s", number=1, type=9, label=1)
        made.field.add(name="r", number=2, type=9, label=3)

    batch, summary = read(
        topic("protobuf", "protobuf", descriptors(build, "proto2"), b"\x0a\x01\xff\x12\x01\xfe", name="p.M")
    )
    row = batch.topics["/t", "p.M"].row(0, named=True)
    assert (row["s"], row["r"]) == ("�", ["�"])
    assert summary.problems == []


# ------------------------------------------------------------------------------------------ windows


@given(st.lists(st.integers(0, 60), min_size=1, max_size=60), st.integers(1, 400), st.integers(1, 30))
@settings(max_examples=50, deadline=None)
def test_windows_of_any_size_give_the_same_rows(sizes: list[int], max_bytes: int, max_messages: int) -> None:
    from argus_assets.recordings.formats.mcap import messages as mcap_messages

    some = b"".join(message(1 + n % 2, CDR + bytes([n]) * size) for n, size in enumerate(sizes))
    raw = mcap(
        schema(1, "p/msg/T", "ros2msg", "uint8 x"), channel(1, 1, "/a"), channel(2, 1, "/b"), chunk(some), chunk(some)
    )
    wanted, _ = read(raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mcap_messages, "MAX_BYTES", max_bytes)
        patch.setattr(mcap_messages, "MAX_MESSAGES", max_messages)
        patch.setattr(mcap_messages, "MAX_VALUES", max_messages + 2)
        got, _ = read(raw)
    assert got.frames.equals(wanted.frames)
    assert got.topics.keys() == wanted.topics.keys()
    assert all(got.topics[key].equals(wanted.topics[key]) for key in wanted.topics)


def test_a_file_of_nothing_but_its_magic_is_truncated() -> None:
    assert kinds(read(MAGIC)[1]) == ["truncated"]
