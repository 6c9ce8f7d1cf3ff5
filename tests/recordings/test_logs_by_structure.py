"""Logs under other type names: read by their fields, or reported."""

import io
import json
from typing import Any

import pytest
from mcap.writer import Writer
from mcap_ros2.writer import Writer as Ros2Writer

from argus_assets.recordings.model import FrameBatch, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording

ROS2 = "uint8 level\nstring name\nstring msg\nstring file\nstring function\nuint32 line"


def read(data: bytes) -> tuple[FrameBatch, RecordingSummary]:
    reader = open_recording(io.BytesIO(data))
    return concat_batches(list(reader)), reader.summary


def cdr(definition: str, message: dict[str, Any], name: str = "acme_msgs/msg/Entry") -> bytes:
    file = io.BytesIO()
    writer = Ros2Writer(file)
    writer.write_message("/l", writer.register_msgdef(name, definition), message, log_time=1, publish_time=1)
    writer.finish()
    return file.getvalue()


def in_json(message: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    writer = Writer(file)
    writer.start()
    writer.add_message(writer.register_channel("/l", "json", 0), 1, json.dumps(message).encode(), 1, 1)
    writer.finish()
    return file.getvalue()


ENTRY: dict[str, Any] = {"level": 40, "name": "n", "msg": "E101", "file": "a.c", "function": "f", "line": 7}


@pytest.mark.parametrize("data", [cdr(ROS2, ENTRY), in_json(ENTRY)], ids=["cdr", "json"])
def test_entries_with_all_fields_of_a_log_are_a_log(data: bytes) -> None:
    batch, summary = read(data)
    assert batch.logs.select("level", "name", "message", "file", "line").rows() == [(40, "n", "E101", "a.c", 7)]
    assert "unsupported" not in [p.kind for p in summary.problems]


def test_levels_are_those_of_the_type_that_the_fields_show() -> None:
    of_ros1 = cdr(f"{ROS2}\nstring[] topics", {**ENTRY, "level": 8, "topics": []})
    of_foxglove = in_json({"timestamp": 1, "level": "WARN", "message": "m", "name": "n", "file": "", "line": 0})
    assert [read(data)[0].logs["level"].to_list() for data in (of_ros1, of_foxglove)] == [[40], [30]]


@pytest.mark.parametrize(
    "data",
    [
        cdr("uint8 level\nstring message", {"level": 4, "message": "m"}),
        in_json({"level": "error", "msg": "m"}),
        cdr("uint8 code", {"code": 1}, "acme_msgs/msg/DiagnosticArray"),
    ],
)
def test_what_only_looks_like_a_log_is_reported_and_stays_a_table(data: bytes) -> None:
    batch, summary = read(data)
    assert batch.logs.is_empty()
    assert len(batch.topics) == 1
    assert "unsupported" in [p.kind for p in summary.problems]


def test_other_messages_are_not_reported() -> None:
    _, summary = read(cdr("float64 level\nstring message", {"level": 0.5, "message": "fuel"}))
    assert summary.problems == []


@pytest.mark.parametrize("level", [2, 2.0, "2", "Ag==", "\x02", "ERROR", "error"])
def test_the_level_of_a_diagnostic_in_any_form(level: object) -> None:
    status = {"level": level, "name": "gps", "message": "no fix", "hardware_id": "u", "values": []}
    file = io.BytesIO()
    writer = Writer(file)
    writer.start()
    schema = writer.register_schema("diagnostic_msgs/msg/DiagnosticArray", "jsonschema", b"{}")
    message = json.dumps({"status": [status]}).encode()
    writer.add_message(writer.register_channel("/d", "json", schema), 1, message, 1, 1)
    writer.finish()
    batch, summary = read(file.getvalue())
    assert summary.problems == []
    assert batch.diagnostics["level"].to_list() == [2]
