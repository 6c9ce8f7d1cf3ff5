"""Bags of ROS 1 and ROS 2 against rosbags, the usual library, on the same bytes; damage, limits and hostile databases."""

import bz2
import gzip
import io
import lzma
import sqlite3
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_typestore

from argus_assets.recordings.model import FrameBatch, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording
from argus_assets.recordings.schema import FRAMES

ROS1 = get_typestore(Stores.ROS1_NOETIC)
ROS2 = get_typestore(Stores.ROS2_HUMBLE)
START = 1_700_000_000 * 10**9


def read(path: Path) -> tuple[FrameBatch, RecordingSummary]:
    with path.open("rb") as source:
        reader = open_recording(source)
        batch = concat_batches(list(reader))
    FRAMES.check(batch.frames)
    return batch, reader.summary


def stamp(store, at_ns: int, kind: str):
    return store.types[kind](sec=at_ns // 10**9, nanosec=at_ns % 10**9)


def messages1(count: int) -> list[tuple[str, str, int, bytes]]:
    """Log entries, diagnostics, CAN frames and typed values: topic, type, time, bytes."""
    types = ROS1.types
    found = []
    for n in range(count):
        at = START + n * 1_000_000
        header = types["std_msgs/msg/Header"](
            seq=n, stamp=stamp(ROS1, at, "builtin_interfaces/msg/Time"), frame_id="base" * (n % 3)
        )
        log = types["rosgraph_msgs/msg/Log"](
            header=header,
            level=(1, 2, 4, 8, 16)[n % 5],
            name="/lidar",
            msg=f"E{n} no packets",
            file="d.cpp",
            function="f",
            line=n,
            topics=["/a"],
        )
        status = types["diagnostic_msgs/msg/DiagnosticStatus"](level=n % 3, name="lidar", message=f"m{n}", hardware_id="h", values=[
            types["diagnostic_msgs/msg/KeyValue"](key="k", value=str(n))
        ])  # fmt: skip
        array = types["diagnostic_msgs/msg/DiagnosticArray"](header=header, status=[status])
        imu = types["sensor_msgs/msg/Range"](
            header=header,
            radiation_type=1,
            field_of_view=0.5,
            min_range=0.1,
            max_range=9.0,
            range=float(np.float32(n / 8)),
        )
        for topic, kind, value in (
            ("/rosout", "rosgraph_msgs/msg/Log", log),
            ("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", array),
            ("/range", "sensor_msgs/msg/Range", imu),
        ):
            found.append((topic, kind, at, bytes(ROS1.serialize_ros1(value, kind))))
    return found


def bag(path: Path, found, compression: str | None = None, *, chunk: int = 2000) -> Path:
    writer = Writer1(path)
    writer.set_chunk_threshold(chunk) if hasattr(writer, "set_chunk_threshold") else None
    if compression:
        writer.set_compression(Writer1.CompressionFormat[compression.upper()])
    with writer:
        connections = {}
        for topic, kind, at, data in found:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=ROS1)
            writer.write(connections[topic], at, data)
    return path


@pytest.mark.parametrize("compression", [None, "bz2", "lz4"])
def test_a_bag_is_what_rosbags_reads(tmp_path: Path, compression: str | None) -> None:
    path = bag(tmp_path / "a.bag", messages1(40), compression)
    batch, summary = read(path)
    assert summary.problems == []
    with Reader1(path) as reader:
        expected = sorted((at, connection.topic, bytes(raw)) for connection, at, raw in reader.messages())
    mine = batch.frames.select(
        pl.col("timestamp").dt.timestamp("ns"), pl.col("channel").cast(pl.String), "payload"
    ).rows()
    assert sorted(mine) == expected
    assert batch.logs.select("level", "message", "line").rows() == [
        ((10, 20, 30, 40, 50)[n % 5], f"E{n} no packets", n) for n in range(40)
    ]
    assert batch.diagnostics.select("level", "message").rows() == [(n % 3, f"m{n}") for n in range(40)]
    table = batch.topics["/range", "sensor_msgs/Range"]
    assert table["range"].to_list() == [n / 8 for n in range(40)]
    assert table["header.seq"].to_list() == list(range(40))
    assert table["header.stamp"].dt.timestamp("ns").to_list() == [START + n * 1_000_000 for n in range(40)]
    assert table["header.frame_id"].to_list() == ["base" * (n % 3) for n in range(40)]


def can_frame1(n: int) -> bytes:
    text = b"can0"
    head = np.array([n, 1, 2, len(text)], "<u4").tobytes() + text
    return head + (0x18FECA00 + n).to_bytes(4, "little") + bytes((0, 1, 0, 8)) + bytes(range(n, n + 8))


def test_can_frames_of_ros_1_are_bus_frames(tmp_path: Path) -> None:
    path = tmp_path / "can.bag"
    text = "Header header\nuint32 id\nbool is_rtr\nbool is_extended\nbool is_error\nuint8 dlc\nuint8[8] data\n"
    with Writer1(path) as writer:
        connection = writer.add_connection(
            "/can0", "can_msgs/msg/Frame", msgdef=text, md5sum="64ae5cebf967dc6aae4e78f5683a5b25"
        )
        for n in range(5):
            writer.write(connection, START + n, can_frame1(n))
    batch, summary = read(path)
    assert summary.problems == []
    assert batch.frames.select("arbitration_id", "is_extended_id", "dlc", "payload").rows() == [
        (0x18FECA00 + n, True, 8, bytes(range(n, n + 8))) for n in range(5)
    ]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_damaged_bag_raises_nothing_and_is_told(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "bags"
    folder.mkdir(exist_ok=True)
    whole = folder / "whole.bag"
    if not whole.exists():
        bag(whole, messages1(30))
    raw = bytearray(whole.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        raw = raw[:at]
    else:
        raw[at] ^= data.draw(st.integers(1, 255))
    reader = open_recording(io.BytesIO(bytes(raw)))
    batch = concat_batches(list(reader))
    assert batch.frames.height <= 90
    if len(raw) < at + 1 and batch.frames.height < 90:
        assert reader.summary.problems


def test_a_bag_that_was_cut_keeps_what_came_before(tmp_path: Path) -> None:
    raw = bag(tmp_path / "a.bag", messages1(200)).read_bytes()
    reader = open_recording(io.BytesIO(raw[: len(raw) // 2]))
    batch = concat_batches(list(reader))
    assert 0 < batch.frames.height < 600
    assert reader.summary.problems[0].kind == "truncated"


# ------------------------------------------------------------------------------------------------- db3


def db3(folder: Path, *, message_compression: bool = False) -> Path:
    types = ROS2.types
    writer = Writer2(folder, version=9, storage_plugin=StoragePlugin.SQLITE3)
    if message_compression:
        writer.set_compression(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
    with writer:
        rosout = writer.add_connection("/rosout", "rcl_interfaces/msg/Log", typestore=ROS2)
        ranges = writer.add_connection("/range", "sensor_msgs/msg/Range", typestore=ROS2)
        for n in range(50):
            at = stamp(ROS2, START + n, "builtin_interfaces/msg/Time")
            header = types["std_msgs/msg/Header"](stamp=at, frame_id="r")
            log = types["rcl_interfaces/msg/Log"](
                stamp=at, level=40, name="lidar", msg=f"E{n}", file="f", function="g", line=n
            )
            span = types["sensor_msgs/msg/Range"](
                header=header, radiation_type=1, field_of_view=0.5, min_range=0.1, max_range=9.0, range=n / 8
            )
            writer.write(rosout, START + n, ROS2.serialize_cdr(log, "rcl_interfaces/msg/Log"))
            writer.write(ranges, START + n, ROS2.serialize_cdr(span, "sensor_msgs/msg/Range"))
    return next(folder.glob("*.db3"))


@pytest.mark.parametrize("message_compression", [False, True])
def test_a_database_of_rosbag2_is_read_without_its_metadata(tmp_path: Path, message_compression: bool) -> None:
    path = db3(tmp_path / "bag", message_compression=message_compression)
    (tmp_path / "bag" / "metadata.yaml").unlink()
    batch, summary = read(path)
    assert [p for p in summary.problems if p.kind != "unsupported"] == []
    assert batch.frames.height == 100
    assert batch.logs.select("level", "message", "line").rows() == [(40, f"E{n}", n) for n in range(50)]
    if ("/range", "sensor_msgs/msg/Range") in batch.topics:
        assert batch.topics["/range", "sensor_msgs/msg/Range"]["range"].to_list() == [n / 8 for n in range(50)]


def test_a_database_that_is_no_bag_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.db3"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE things(a)")
    _, summary = read(path)
    assert [(p.kind, p.help) for p in summary.problems] == [
        ("unsupported", "It is a SQLite database, but none of rosbag2.")
    ]


def test_views_of_a_hostile_database_are_not_asked(tmp_path: Path) -> None:
    path = tmp_path / "x.db3"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE topics(id, name, type, serialization_format)")
        database.execute(
            "CREATE VIEW messages AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n topic_id, n timestamp, x'' data FROM c"
        )
    batch, summary = read(path)
    assert batch.frames.height == 0
    assert [p.kind for p in summary.problems] == ["unsupported"]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_damaged_database_raises_nothing(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp() / "db3s"
    whole = folder / "bag"
    if not whole.exists():
        folder.mkdir(exist_ok=True)
        db3(whole)
    raw = bytearray(next(whole.glob("*.db3")).read_bytes())
    at = data.draw(st.integers(16, len(raw) - 1))
    if data.draw(st.booleans()):
        raw = raw[:at]
    else:
        raw[at : at + 40] = data.draw(st.binary(min_size=40, max_size=40))
    path = folder / "damaged.db3"
    path.write_bytes(bytes(raw))
    batch, _ = read(path)
    assert batch.frames.height <= 100


def test_rows_that_are_no_messages_are_counted(tmp_path: Path) -> None:
    path = db3(tmp_path / "bag")
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES (77, 1, x'00')")
        database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES (1, 'soon', x'00')")
    batch, summary = read(path)
    assert batch.frames.height == 100
    assert [(p.kind, p.frames_lost) for p in summary.problems if p.kind == "bad_record"] == [("bad_record", 2)]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_bags_are_read(tmp_path: Path, compress) -> None:
    for name, whole in (("a.db3", db3(tmp_path / "bag")), ("a.bag", bag(tmp_path / "b.bag", messages1(20)))):
        path = tmp_path / f"{name}.z"
        path.write_bytes(compress(whole.read_bytes()))
        batch, summary = read(path)
        assert batch.frames.height in (60, 100)
        assert [p.kind for p in summary.problems if p.kind != "unsupported"] == []
