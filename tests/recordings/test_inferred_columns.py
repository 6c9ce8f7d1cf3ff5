"""JSON without a schema has the columns of its first messages, and says so."""

import io
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mcap.writer import Writer

from argus_assets.recordings.messages.inferred import MAX_SAMPLES, infer_schema, states_nothing
from argus_assets.recordings.model import DEFAULT_LIMITS, FrameBatch, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording


def recording(messages: list[bytes], definition: bytes | None = None, name: str = "") -> bytes:
    """Return JSON messages on a topic `/t`, with such a definition or none."""
    file = io.BytesIO()
    writer = Writer(file)
    writer.start()
    schema = 0 if definition is None else writer.register_schema(name, "jsonschema", definition)
    channel = writer.register_channel("/t", "json", schema)
    for i, message in enumerate(messages):
        writer.add_message(channel, i, message, i, i)
    writer.finish()
    return file.getvalue()


def read(data: bytes) -> tuple[FrameBatch, RecordingSummary]:
    reader = open_recording(io.BytesIO(data))
    return concat_batches(list(reader)), reader.summary


numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
messages = st.fixed_dictionaries(
    {"always": numbers},
    optional={
        "text": texts | st.none(),
        "on": st.booleans(),
        "pose": st.fixed_dictionaries({"x": numbers}),
        "list": st.lists(st.integers(-5, 5), max_size=3),
    },
)


@given(st.lists(messages, min_size=1, max_size=6), st.sampled_from([None, b"", b"{}", b'{"type": "object"}']))
@settings(max_examples=50, deadline=None)
def test_the_values_are_those_that_json_has(rows: list[dict[str, Any]], definition: bytes | None) -> None:
    batch, summary = read(recording([json.dumps(row).encode() for row in rows], definition, "S"))
    assert [(p.kind, p.frames_lost) for p in summary.problems] == [("assumed", 0)]
    (table,) = batch.topics.values()
    for got, row in zip(table.to_dicts(), rows, strict=True):
        flat = {**row, **({"pose.x": row["pose"]["x"]} if "pose" in row else {})}
        for name in ("always", "text", "on", "pose.x", "list"):
            assert got.get(name) == flat.get(name) or (name == "list" and not flat.get(name)), name


def test_what_comes_later_changes_no_column() -> None:
    first = [b'{"a": 1}'] * MAX_SAMPLES
    batch, summary = read(recording([*first, b'{"a": "text", "b": 2}', b"\xef\xbb\xbf" + b'{"a": 3}', b"[1]"]))
    table = batch.topics["/t", ""]
    assert table["a"].to_list() == [*[1] * MAX_SAMPLES, None, 3]
    assert "b" not in table.columns
    assert [p.kind for p in summary.problems] == ["assumed", "bad_message"]


def test_two_channels_of_a_topic_have_one_table() -> None:
    file = io.BytesIO()
    writer = Writer(file)
    writer.start()
    channels = [writer.register_channel("/t", "json", 0, {"publisher": str(n)}) for n in range(2)]
    for i, channel in enumerate(channels):
        writer.add_message(channel, i, b'{"a": %d}' % i, i, i)
    writer.finish()
    batch, summary = read(file.getvalue())
    assert batch.topics["/t", ""]["a"].to_list() == [0, 1]
    assert [p.kind for p in summary.problems] == ["assumed"]


@pytest.mark.parametrize("odd", [b"", b"[]", b"{}", b"\xff\xfe", b"[" * 5000, b"5", b'{"a": ' * 3000])
def test_messages_that_give_no_column_are_told(odd: bytes) -> None:
    batch, summary = read(recording([odd] * 3))
    assert batch.frames.height == 3
    assert batch.topics == {}
    assert [p.kind for p in summary.problems] == ["unsupported"]


def test_samples_are_looked_at_within_the_limits() -> None:
    deep = json.dumps({"a": json.loads("[" * 100 + "]" * 100), "b": {"c": 1}}).encode()
    wide = json.dumps({f"f{n}": n for n in range(5000)}).encode()
    schema, used = infer_schema([deep, wide], DEFAULT_LIMITS) or (b"", 0)
    assert used == 2
    assert len(json.loads(schema)["properties"]) <= DEFAULT_LIMITS.max_columns


@given(
    st.recursive(
        st.none() | st.booleans() | numbers | texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner)
    )
)
@settings(max_examples=80, deadline=None)
@example({"*": None})
@example({"^.*$": 1, "a": 2, "*": {"*": 3}})
def test_any_json_is_a_row_or_told(value: Any) -> None:
    batch, summary = read(recording([json.dumps(value).encode()]))
    assert batch.frames.height == 1
    assert len(summary.problems) == 1
    told = summary.problems[0].kind == "assumed"
    assert told == bool(batch.topics)


def test_a_schema_that_states_fields_is_not_open() -> None:
    assert not states_nothing(b'{"type": "object", "properties": {"a": {"type": "number"}}}')
    assert not states_nothing(b'{"$ref": "#/$defs/a"}')
    assert not states_nothing(b"not JSON")
