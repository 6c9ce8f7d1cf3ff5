"""Our BLF reader against python-can's, on what its writer wrote, on every object type, whole and damaged."""

import io
import re
import signal
import struct
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import can
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.recordings.model import FrameBatch, Limits, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording
from argus_assets.recordings.schema import FRAMES
from tests.support.ethernet_builder import Connection, diagnostic, ethernet

Row = tuple[Any, ...]


class Kept(io.BytesIO):
    """A file that stays readable after a writer closed it."""

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """BLF start times have no zone: python-can takes them for local, we for UTC."""
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def read(data: bytes, **limits: Any) -> tuple[FrameBatch, RecordingSummary]:
    reader = open_recording(io.BytesIO(data), limits=Limits(**limits))
    batch = concat_batches(list(reader))
    FRAMES.check(batch.frames)
    assert batch.frames["frame"].to_list() == list(range(batch.frames.height))
    assert reader.summary.frames == batch.frames.height == sum(c.frames for c in reader.summary.channels)
    return batch, reader.summary


def ours(batch: FrameBatch) -> list[Row]:
    return list(
        batch.frames.select(
            pl.col("timestamp").dt.timestamp("ns") // 1000, pl.col("channel").cast(pl.String), "arbitration_id",
            "is_extended_id", "is_fd", "is_remote_frame", "is_error_frame", "is_rx", "payload",
        ).iter_rows()
    )  # fmt: skip


class Endless(BaseException):
    """python-can goes round in a circle, as it does for an object that states 0 bytes."""


def theirs(data: bytes) -> list[Row]:
    """What python-can reads before it raises; nothing when it never ends."""
    rows: list[Row] = []

    def stop(*_: object) -> None:
        raise Endless

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 5)
    try:
        with suppress(Exception):  # damage raises many things
            rows.extend(row_of(m) for m in can.BLFReader(io.BytesIO(data)))
    except Endless:
        return []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return rows


def row_of(m: can.Message) -> Row:
    """A message as python-can gives it; of an error frame that is none of SocketCAN's, the class is unknown."""
    if m.is_error_frame:
        known = m.dlc == 8 and m.arbitration_id != 0
        classes, details = (m.arbitration_id, bytes(m.data)) if known else (0, b"")
        return round(m.timestamp * 1e6), f"CAN{m.channel + 1}", classes, False, False, False, True, m.is_rx, details
    return (
        round(m.timestamp * 1e6), f"CAN{m.channel + 1}", m.arbitration_id, m.is_extended_id, m.is_fd, m.is_remote_frame,
        m.is_error_frame, m.is_rx, bytes(m.data),
    )  # fmt: skip


def close(a: list[Row], b: list[Row]) -> bool:
    """Equal, but for the 250 ns that python-can's floats lose."""
    return len(a) == len(b) and all(x[1:] == y[1:] and abs(x[0] - y[0]) <= 1 for x, y in zip(a, b, strict=True))


@st.composite
def message(draw: st.DrawFn) -> can.Message:
    extended = draw(st.booleans())
    kind = draw(st.sampled_from(["data", "data", "fd", "remote", "error"]))
    lengths = [*range(9), 12, 16, 20, 24, 32, 48, 64] if kind == "fd" else list(range(9))
    length = draw(st.sampled_from(lengths))
    return can.Message(
        timestamp=1_700_000_000 + draw(st.integers(0, 10**9)) / 1000,
        arbitration_id=draw(st.integers(0, 2**29 - 1 if extended else 2**11 - 1)),
        is_extended_id=extended,
        is_fd=kind == "fd",
        is_remote_frame=kind == "remote",
        is_error_frame=kind == "error",
        is_rx=draw(st.booleans()) if kind != "error" else True,
        dlc=length,
        data=b"" if kind == "remote" else draw(st.binary(min_size=length, max_size=length)),
        channel=draw(st.integers(0, 5)),
    )


def written(messages: list[can.Message], *, container: int = 128 * 1024, level: int = -1) -> bytes:
    file = Kept()
    writer = can.BLFWriter(file, compression_level=level)
    writer.max_container_size = container
    for m in messages:
        writer.on_message_received(m)
    writer.stop()
    return file.getvalue()


@given(
    st.lists(message(), max_size=60),
    st.sampled_from([200, 1000, 131072]),
    st.sampled_from([0, 1]),
    st.sampled_from([1, 2]),
)
@settings(max_examples=80, deadline=None)
def test_what_python_can_writes_is_read_as_it_reads_it(messages, container: int, level: int, workers: int) -> None:
    data = written(messages, container=container, level=level)
    batch, summary = read(data, workers=workers)
    assert close(ours(batch), theirs(data))
    assert len(ours(batch)) == len(messages)
    assert summary.problems == []


@given(st.lists(message(), min_size=1, max_size=60), st.data())
@settings(max_examples=80, deadline=None)
def test_a_cut_file_gives_no_fewer_frames_than_python_can(messages, data: st.DataObject) -> None:
    whole = written(messages, container=500)
    cut = whole[: data.draw(st.integers(4, len(whole) - 1))]
    batch, summary = read(cut)
    expected = theirs(cut)
    assert close(ours(batch)[: len(expected)], expected)
    assert summary.problems or summary.frames == len(messages)
    assert summary.frames + summary.frames_lost <= len(messages) + len(summary.problems)


@given(st.lists(message(), min_size=20, max_size=60), st.data())
@settings(max_examples=120, deadline=None)
def test_flipped_bits_raise_nothing_and_cost_no_more_than_they_hit(messages, data: st.DataObject) -> None:
    whole = bytearray(written(messages, container=500))
    at = data.draw(st.integers(144, len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    batch, summary = read(bytes(whole))
    expected = theirs(bytes(whole))
    assert true_rows(ours(batch), messages) >= true_rows(expected, messages)
    if batch.frames.height < len(messages):
        assert summary.problems
        # An object whose type was hit counts as one of another type; all others are read or told as lost.
        assert summary.frames + summary.frames_lost > len(expected) or summary.frames_lost == 0


def true_rows(rows: list[Row], messages: list[can.Message]) -> int:
    """How many of the rows were written; python-can also puts halves of objects together to rows that never were."""
    written_rows = Counter(row_of(m)[1:] for m in messages)
    return (Counter(row[1:] for row in rows) & written_rows).total()


@given(st.lists(message(), min_size=20, max_size=60), st.data())
@settings(max_examples=40, deadline=None)
def test_a_container_whose_type_or_compression_was_damaged_is_read_whole(messages, data: st.DataObject) -> None:
    whole = bytearray(written(messages, container=500))
    starts = [m.start() for m in re.finditer(rb"LOBJ\x10\x00", whole)]
    at = data.draw(st.sampled_from(starts)) + data.draw(st.sampled_from([12, 16]))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    batch, summary = read(bytes(whole))
    assert true_rows(ours(batch), messages) == len(messages)
    assert summary.problems


def obj(
    kind: int, body: bytes, *, version: int = 1, stamp: int = 5, flags: int = 2, padding: int | None = None
) -> bytes:
    head = 32 if version == 1 else 40
    size = head + len(body)
    raw = struct.pack("<4sHHII", b"LOBJ", head, version, size, kind) + struct.pack("<IHHQ", flags, 0, 0, stamp)
    raw += bytes(head - 32) + body
    return raw + bytes(size % 4 if padding is None else padding)


def log(*objects: bytes, containers: int = 1, count: int = 0) -> bytes:
    head = bytearray(144)
    struct.pack_into("<4sI", head, 0, b"LOGG", 144)
    struct.pack_into("<I", head, 32, count)
    struct.pack_into("<8H", head, 40, 2024, 5, 3, 1, 12, 30, 15, 250)
    return bytes(head) + container(b"".join(objects))


def container(data: bytes, method: int = 2) -> bytes:
    packed = zlib.compress(data) if method == 2 else data
    size = 32 + len(packed)
    head = struct.pack("<4sHHII", b"LOBJ", 16, 1, size, 10) + struct.pack("<H6xI4x", method, len(data))
    return head + packed + bytes(size % 4)


START_US = 1_714_566_615_250_000
FD64 = struct.pack("<BBBBIIIIIIIHBBI", 3, 9, 12, 0, 0x80000123, 0, 0x3000, 0, 0, 0, 0, 0, 1, 0, 0) + bytes(range(12))
LIN = struct.pack("<HBB8sBBBBHB5x", 2, 0x21, 4, b"abcdefgh", 0, 0, 0, 0, 0, 1)
LIN2 = struct.pack("<QIH23xBBB72x8sHB9x", 0, 19200, 7, 0x3C, 8, 0, b"ABCDEFGH", 0, 0)
ERROR64 = struct.pack("<BBBBHHHBBI28x", 1, 8, 2, 0, 0, 0, 0, 0, 0, 0x7FF) + b"\x01\x02"


@pytest.mark.parametrize("version", [1, 2])
def test_every_object_type(version: int) -> None:
    classic = struct.pack("<HBBI8s", 2, 1, 3, 0x123, b"\1\2\3\4\5\6\7\x08")
    data = log(
        obj(1, classic, version=version),
        obj(86, classic + bytes(8), version=version, stamp=7, flags=1),
        obj(101, FD64, version=version),
        obj(2, struct.pack("<HHI", 4, 0, 0), version=version),
        obj(104, ERROR64, version=version),
        obj(11, LIN, version=version),
        obj(57, LIN2, version=version),
        obj(65, b"some application text", version=version),
    )
    batch, summary = read(data)
    assert summary.problems == []
    assert ours(batch) == [
        (START_US, "CAN2", 0x123, False, False, False, False, False, b"\1\2\3"),
        (START_US + 70, "CAN2", 0x123, False, False, False, False, False, b"\1\2\3"),
        (START_US, "CAN3", 0x123, True, True, False, False, False, bytes(range(12))),
        (START_US, "CAN4", 0, False, False, False, True, True, b""),
        (START_US, "CAN1", 0, False, True, False, True, True, b""),
        (START_US, "LIN2", 0x21, False, False, False, False, False, b"abcd"),
        (START_US, "LIN7", 0x3C, False, False, False, False, True, b"ABCDEFGH"),
    ]
    assert batch.frames["kind"].to_list() == ["can"] * 5 + ["lin"] * 2
    assert batch.frames["timestamp"].dt.timestamp("ns")[0] == START_US * 1000 + 5
    assert len(theirs(data)) == 3, "python-can reads the three that it knows"


def test_nested_containers_and_objects_outside_of_them() -> None:
    frame = obj(1, struct.pack("<HBBI8s", 1, 0, 1, 0x10, b"\1"))
    data = log(frame, container(frame + frame), frame) + frame + container(frame, method=0)
    batch, summary = read(data)
    assert batch.frames.height == 6
    assert summary.problems == []


def test_other_buses_are_told() -> None:
    batch, summary = read(
        log(obj(1, struct.pack("<HBBI8s", 1, 0, 1, 0x10, b"\1")), obj(93, bytes(40)), obj(22, bytes(40)))
    )
    assert batch.frames.height == 1
    assert [(p.kind, p.actual) for p in summary.problems] == [
        ("unsupported", "1 objects of MOST"), ("unsupported", "1 objects of WLAN")
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [71, 120, 121])
def test_diagnostics_over_ip_stand_among_the_other_frames(kind: int) -> None:
    def recorded(frame: bytes) -> bytes:
        if kind == 71:
            tag = frame[12:14] == b"\x81\0"
            ethertype = int.from_bytes(frame[16:18] if tag else frame[12:14], "big")
            payload = frame[18:] if tag else frame[14:]
            head = frame[6:12] + struct.pack("<H", 3) + frame[:6]
            return obj(
                kind, head + struct.pack("<HHHHH8x", 0, ethertype, 0x8100 * tag, 5 * tag, len(payload)) + payload
            )
        return obj(kind, struct.pack("<HHHHQIHHII", 30, 0, 3, 0, 0, 0, 0, len(frame), 0, 0) + frame)

    connection = Connection(vlans=(5,))
    can_frame = obj(1, struct.pack("<HBBI8s", 1, 0, 1, 0x10, b"\1"))
    spoken = [
        *connection.open(), connection.send(diagnostic(0x0E00, 0x1010, "22F190")),
        *connection.split(diagnostic(0x1010, 0x0E00, "62F190" + "41" * 17), 20, answer=True),
        ethernet(bytes(28), 0x0806),
    ]  # fmt: skip
    batch, summary = read(log(*(part for frame in spoken for part in (recorded(frame), can_frame))))
    assert [(p.kind, p.actual) for p in summary.problems] == [("unsupported", "1 packets of ARP")]
    channels = batch.frames["channel"].cast(pl.String).to_list()
    assert channels == ["CAN1"] * 3 + ["ETH3/doip", "CAN1", "CAN1", "ETH3/doip", "CAN1", "CAN1"]
    ((key, table),) = batch.topics.items()
    assert key == ("ETH3/doip", "doip/DiagnosticMessage")
    assert table.drop("timestamp").rows() == [(3, 0x0E00, 0x1010, 0x22), (6, 0x1010, 0x0E00, 0x62)]
    assert batch.frames["payload"][6] == bytes.fromhex("10100E0062F190") + b"A" * 17


def test_ethernet_objects_that_are_too_short_are_told() -> None:
    batch, summary = read(log(obj(71, bytes(8)), obj(120, bytes(32)), obj(120, b"")))
    assert batch.frames.is_empty()
    assert sum(int(p.actual.split()[0]) for p in summary.problems if p.kind == "unsupported") == 3


def test_a_dlc_that_disagrees_with_the_length_is_told() -> None:
    wrong = bytearray(FD64)
    wrong[2] = 7
    batch, summary = read(log(obj(101, bytes(wrong)), obj(101, FD64)))
    assert [len(p) for p in batch.frames["payload"]] == [7, 12]
    assert [(p.kind, p.actual) for p in summary.problems] == [("bad_length", "1 frames with another number")]


def test_a_container_that_lies_and_a_bomb() -> None:
    frame = obj(1, struct.pack("<HBBI8s", 1, 0, 1, 0x10, b"\1"))
    lying = bytearray(container(frame * 10))
    struct.pack_into("<I", lying, 24, 2**31)
    bomb = container(bytes(5_000_000))
    head = log()
    batch, summary = read(head + bytes(lying) + bomb + container(frame), max_chunk_bytes=1_000_000, max_ratio=500)
    assert batch.frames.height >= 1 + 10
    assert {"over_limit", "bad_compression"} & {p.kind for p in summary.problems}


def test_a_damaged_container_costs_only_itself() -> None:
    messages = [can.Message(timestamp=i / 10, arbitration_id=i, data=bytes(8), channel=0) for i in range(400)]
    data = bytearray(written(messages, container=2000))
    places = [i for i in range(len(data) - 4) if data[i : i + 4] == b"LOBJ"]
    hit = places[len(places) // 2]
    data[hit + 40 : hit + 60] = b"\xff" * 20
    batch, summary = read(bytes(data))
    assert batch.frames.height > 300
    assert batch.frames["arbitration_id"][-1] == 399
    assert summary.frames + summary.frames_lost == 400
    assert "bad_compression" in {p.kind for p in summary.problems}


def comparable(row: Row) -> Row:
    """Without direction, and an error frame without its class and bytes, which python-can does not read."""
    return (*row[:2], None, *row[3:7], None if row[6] else row[8])


def test_real_files_equal_python_can(recordings: Path) -> None:
    files = sorted((recordings / "can").glob("*.blf"))
    assert files
    for file in files:
        data = file.read_bytes()
        batch, _ = read(data)
        assert close(list(map(comparable, ours(batch))), list(map(comparable, theirs(data)))), file.name
