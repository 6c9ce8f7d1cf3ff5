"""Text logs: what python-can writes is read as it reads it, in every compression; bad lines are told."""

import gzip
import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import can
import polars as pl
import pytest
import zstandard
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from argus_assets.recordings.model import FrameBatch, Limits, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording
from argus_assets.recordings.schema import FRAMES

Row = tuple[Any, ...]
WRITERS = {"candump": can.CanutilsLogWriter, "asc": can.ASCWriter, "csv": can.CSVWriter, "trc": can.TRCWriter}
READERS = {"candump": can.CanutilsLogReader, "asc": can.ASCReader, "csv": can.CSVReader, "trc": can.TRCReader}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """ASC start times have no zone: python-can takes them for local, we for UTC."""
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
            pl.col("timestamp").dt.timestamp("ns"), pl.col("channel").cast(pl.String), "arbitration_id", "is_extended_id",
            "is_fd", "is_remote_frame", "is_error_frame", "is_rx", "payload",
        ).iter_rows()
    )  # fmt: skip


def theirs(kind: str, data: bytes) -> list[Row]:
    rows: list[Row] = []
    shift = 1 if kind == "asc" else 0
    with suppress(ValueError, IndexError):
        options = {"relative_timestamp": False} if kind == "asc" else {}
        for m in READERS[kind](io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"), **options):
            channel = "CAN" if kind == "csv" else m.channel if kind == "candump" else f"CAN{int(m.channel) + shift}"
            rows.append(
                (
                    round(m.timestamp * 1e9),
                    channel,
                    m.arbitration_id,
                    m.is_extended_id and not m.is_error_frame,
                    m.is_fd,
                    m.is_remote_frame,
                    m.is_error_frame,
                    m.is_rx,
                    bytes(m.data or b""),
                )
            )
    return rows


@st.composite
def message(draw: st.DrawFn, kind: str) -> can.Message:
    extended = draw(st.booleans())
    others = {"candump": ["remote", "fd"], "asc": ["remote", "fd"], "csv": ["remote"], "trc": []}  # as the writers can
    shape = draw(st.sampled_from(["data", "data", *others[kind]]))
    lengths = [1, 8, 12, 16, 20, 24, 32, 48, 64] if shape == "fd" else list(range(9))
    length = draw(st.sampled_from(lengths))
    low = 0x800 if extended else 0
    return can.Message(
        timestamp=1_700_000_000 + draw(st.integers(0, 10**8)) / 1000,
        arbitration_id=draw(st.integers(low, 2**29 - 1 if extended else 2**11 - 1)),
        is_extended_id=extended,
        is_fd=shape == "fd",
        is_remote_frame=shape == "remote",
        is_rx=draw(st.booleans()) if kind == "asc" else True,
        dlc=length,
        data=b"" if shape == "remote" else draw(st.binary(min_size=length, max_size=length)),
        channel=draw(st.integers(1, 5)),
    )


def sessions(kind: str) -> st.SearchStrategy[list[can.Message]]:
    return st.lists(message(kind), min_size=1, max_size=30).map(lambda ms: sorted(ms, key=lambda m: m.timestamp))


class Kept(io.BytesIO):
    """A file that stays readable after a writer closed it."""

    name = "session"

    def close(self) -> None:
        pass


def written(kind: str, messages: list[can.Message]) -> bytes:
    file = Kept()
    writer = WRITERS[kind](io.TextIOWrapper(file, encoding="utf-8", newline=""))
    for m in messages:
        writer.on_message_received(m)
    writer.stop()
    return file.getvalue()


PACK = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "two members": lambda data: gzip.compress(data[:50]) + gzip.compress(data[50:]),
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("kind", list(WRITERS))
@settings(max_examples=40, deadline=None)
@given(data=st.data(), packing=st.sampled_from(list(PACK)), workers=st.sampled_from([1, 2]))
def test_what_python_can_writes_is_read_as_it_reads_it(kind: str, data, packing: str, workers: int) -> None:
    messages = data.draw(sessions(kind))
    raw = written(kind, messages)
    batch, summary = read(PACK[packing](raw), workers=workers)
    assert summary.problems == []
    assert summary.format == kind
    got, expected = ours(batch), theirs(kind, raw)
    assert len(got) == len(messages)
    for a, b in zip(got, expected, strict=True):
        assert a[1:] == b[1:]
        assert abs(a[0] - b[0]) <= 1000, "python-can adds floats that lose 250 ns each"


def test_times_are_exact() -> None:
    batch, _ = read(b"(1700000000.123456789) can0 123#00\n(1700000000.1) can0 123#00\n")
    assert batch.frames["timestamp"].dt.timestamp("ns").to_list() == [
        1_700_000_000_123_456_789,
        1_700_000_000_100_000_000,
    ]


def test_candump_directions_errors_and_what_is_no_frame() -> None:
    text = (
        "(1.5) can0 123#R4\n(1.6) vcan1 00000123#1122 T\n(1.7) can0 20000080#0000000000000000 R\n"
        "(1.8) can0 123##3aabb\nthis is no frame\n(1.9) can0 FFFFFFFFF#00\n(2.0) can0 123#1\n\n(2.1) can0 12"
    )
    batch, summary = read(text.encode())
    assert ours(batch) == [
        (1_500_000_000, "can0", 0x123, False, False, True, False, True, b""),
        (1_600_000_000, "vcan1", 0x123, True, False, False, False, False, b"\x11\x22"),
        (1_700_000_000, "can0", 0x80, False, False, False, True, True, bytes(8)),
        (1_800_000_000, "can0", 0x123, False, True, False, False, True, b"\xaa\xbb"),
    ]
    assert [(p.kind, p.frames_lost) for p in summary.problems] == [("truncated", 1), ("bad_record", 3)]
    assert "this is no frame" in summary.problems[1].actual
    assert batch.frames["dlc"].to_list() == [4, 2, 8, 2]


def test_asc_in_decimal_with_relative_times() -> None:
    text = (
        "date Mon Mai 6 10:00:00.500 2024\nbase dec  timestamps relative\ninternal events logged\n"
        "   1.000000 1  291             Rx   d 2 17 255\n   0.500000 2  419119x  Tx   d 0\n   0.250000 1 ErrorFrame\n"
    )
    batch, summary = read(text.encode())
    assert summary.problems == []
    start = 1_714_989_600_500_000_000
    assert ours(batch) == [
        (start + 1_000_000_000, "CAN1", 291, False, False, False, False, True, b"\x11\xff"),
        (start + 1_500_000_000, "CAN2", 419119, True, False, False, False, False, b""),
        (start + 1_750_000_000, "CAN1", 0, False, False, False, True, True, b""),
    ]


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.3", "2.0"])
def test_trc_versions(version: str) -> None:
    lines = {
        "1.0": "     1)        17.5  0300  3  11 22 33\n     2)        18.5  00000301  8  RTR\n",
        "1.1": "     1)        17.5  Rx  0300  3  11 22 33\n     2)        18.5  Tx  00000301  8  RTR\n     3)  19.0 Warng 0 0\n",
        "1.3": "     1)        17.500 1  Rx  0300 -  3  11 22 33\n     2)        18.5 1  Tx  00000301 - 8  RTR\n",
        "2.0": "      1      17.500 DT     0300 Rx 3  11 22 33\n      2    18.5 RR 00000301 Tx 8\n",
    }
    head = ";###\n" if version == "1.0" else f";$FILEVERSION={version}\n"
    start = "" if version == "1.0" else ";$STARTTIME=44548.5\n"
    columns = ";$COLUMNS=N,O,T,I,d,l,D\n" if version == "2.0" else ""
    data = f"{head}{start}{columns};   comment\n{lines[version]}".encode()
    batch, summary = read(data)
    # Version 1.0 states its start in a comment, if at all.
    assert [p.kind for p in summary.problems if p.kind != "bad_record"] == (["assumed"] if version == "1.0" else [])
    rows = ours(batch)
    first = 0 if version == "1.0" else (44548 - 25569) * 86_400 * 10**9 + 43_200 * 10**9
    sent = version != "1.0"
    assert rows == [
        (first + 17_500_000, "CAN1", 0x300, False, False, False, False, True, b"\x11\x22\x33"),
        (first + 18_500_000, "CAN1", 0x301, True, False, True, False, not sent, b""),
    ]
    if version != "1.0":
        for a, b in zip(rows, theirs("trc", data), strict=True):
            assert a[1:] == b[1:]


@given(st.sampled_from(list(WRITERS)), st.data())
@settings(max_examples=80, deadline=None)
def test_damaged_text_raises_nothing_and_nothing_is_silent(kind: str, data: st.DataObject) -> None:
    messages = data.draw(sessions(kind))
    raw = bytearray(written(kind, messages))
    # The first line shows the format: a file without it is no recording.
    start = max(raw.rfind(b"\n", 0, len(raw) // 2), raw.find(b"\n")) + 1
    assume(start < len(raw))
    at = start + int(data.draw(st.floats(0, 1, exclude_max=True)) * (len(raw) - start))  # headers differ in length
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    batch, _ = read(bytes(raw))
    assert batch.frames.height <= len(messages) + 1
    assert batch.frames.height >= len(messages) - 2


@given(st.binary(max_size=300))
def test_any_bytes_behind_a_head_raise_nothing(tail: bytes) -> None:
    for head in (
        b"(1.0) can0 123#00\n",
        b"date Mon May 6 10:00:00 2024\nbase hex\n",
        b";$FILEVERSION=2.1\n",
        GZIP_HEAD,
    ):
        read(head + tail)


GZIP_HEAD = gzip.compress(b"(1.0) can0 123#00\n" * 10)[:20]


def test_a_cut_and_a_bomb_are_told() -> None:
    raw = b"".join(b"(%d.5) can0 123#%04x\n" % (i, i % 65536) for i in range(2000))
    batch, summary = read(gzip.compress(raw)[:-3000])
    assert 0 < batch.frames.height < 2000
    assert "bad_compression" in {p.kind for p in summary.problems}
    batch, summary = read(gzip.compress(b"(1.0) can0 123#00\n" * 100_000), max_total_ratio=10, min_total_bytes=4096)
    assert summary.problems[0].kind == "over_limit"
    assert batch.frames.height < 100_000


def test_blocks_do_not_cut_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = b"".join(b"(%d.5) can%d 123#%04x\n" % (i, i % 3, i % 65536) for i in range(3000))
    monkeypatch.setattr("argus_assets.recordings.formats.text.reader.BLOCK_BYTES", 997)
    batch, summary = read(raw, batch_frames=100)
    assert batch.frames.height == 3000
    assert summary.problems == []
    assert [c.frames for c in summary.channels] == [1000] * 3


def without_class(row: Row) -> Row:
    """An error frame without its class and bytes, which python-can does not read from ASC."""
    return (*row[:2], None, *row[3:8], None) if row[6] else row


def test_real_files_equal_python_can(recordings: Path) -> None:
    files = sorted([*(recordings / "can").glob("*.asc"), *(recordings / "can").glob("*.trc")])
    assert files
    for file in files:
        raw = file.read_bytes().replace(b"\r\n", b"\n")
        batch, _ = read(raw)
        got, expected = ours(batch), theirs(file.suffix[1:], raw)
        assert [without_class(r)[1:] for r in got] == [without_class(r)[1:] for r in expected], file.name
        assert [r[0] - got[0][0] for r in got] == pytest.approx([r[0] - expected[0][0] for r in expected], abs=500)
