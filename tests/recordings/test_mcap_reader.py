"""Our MCAP reader against the official one, on what the official writer wrote, whole and damaged."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.exceptions import McapError
from mcap.reader import NonSeekingReader
from mcap.writer import CompressionType, IndexType, Writer
from mcap_ros2.decoder import DecoderFactory

from argus_assets.recordings.model import Limits, concat_batches
from argus_assets.recordings.reading import open_recording
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS
from argus_assets.simulate import ros

Row = tuple[str, int, bytes]


def read(raw: bytes, **limits: Any) -> tuple[Any, Any]:
    reader = open_recording(io.BytesIO(raw), limits=Limits(**limits))
    batch = concat_batches(list(reader))
    FRAMES.check(batch.frames)
    LOGS.check(batch.logs)
    DIAGNOSTICS.check(batch.diagnostics)
    assert batch.frames["frame"].to_list() == list(range(batch.frames.height)), "numbered in file order"
    assert reader.summary.frames == batch.frames.height
    return batch, reader.summary


def official(raw: bytes) -> list[Row]:
    """(topic, log_time, data) as the official stream reader gives them, as far as it gets."""
    rows: list[Row] = []
    try:
        for _, channel, message in NonSeekingReader(io.BytesIO(raw)).iter_messages(log_time_order=False):
            rows.append((channel.topic, message.log_time, message.data))
    except (McapError, Exception):  # the official reader raises many things on damage
        pass
    return rows


def ours(batch: Any) -> list[Row]:
    times = batch.frames["timestamp"].dt.timestamp("ns")
    return list(zip(batch.frames["channel"].cast(pl.String), times, batch.frames["payload"], strict=True))


messages = st.lists(
    st.tuples(st.sampled_from(["/a", "/b", "/c/d"]), st.integers(0, 2**62), st.binary(max_size=60)), max_size=80
)
writers = st.fixed_dictionaries(
    {
        "compression": st.sampled_from(list(CompressionType)),
        "chunk_size": st.sampled_from([1, 200, 100_000]),
        "use_chunking": st.booleans(),
        "use_statistics": st.booleans(),
        "use_summary_offsets": st.booleans(),
        "enable_crcs": st.booleans(),
        "index_types": st.sampled_from([IndexType.NONE, IndexType.ALL, IndexType.MESSAGE]),
        "repeat_channels": st.booleans(),
    }
)


def written(rows: list[Row], options: dict[str, Any], *, finish: bool = True) -> bytes:
    out = io.BytesIO()
    writer = Writer(out, **options)
    writer.start()
    schema = writer.register_schema("x/msg/X", "", b"")  # bytes that nobody decodes
    channels: dict[str, int] = {}
    for topic, time_ns, data in rows:
        if topic not in channels:
            channels[topic] = writer.register_channel(topic, "cdr", schema)
        writer.add_message(channels[topic], time_ns, data, time_ns)
    if finish:
        writer.finish()
    return out.getvalue()


@given(messages, writers)
@settings(max_examples=60, deadline=None)
def test_what_the_official_writer_writes_is_read_back_equal(rows: list[Row], options: dict[str, Any]) -> None:
    batch, summary = read(written(rows, options))
    assert ours(batch) == rows
    # Only a word on messages without a schema.
    assert {p.kind for p in summary.problems} <= {"unsupported"}
    assert summary.first_timestamp_ns == min((r[1] for r in rows), default=None)
    assert summary.last_timestamp_ns == max((r[1] for r in rows), default=None)
    counted = {c.channel: c.frames for c in summary.channels if c.frames}
    assert counted == {t: sum(r[0] == t for r in rows) for t in {r[0] for r in rows}}


@given(messages, st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_batches_of_any_size_hold_the_same_frames(rows: list[Row], size: int) -> None:
    raw = written(rows, {"chunk_size": 100})
    assert ours(read(raw, batch_frames=size)[0]) == rows


def equal_prefix(got: list[Row], wanted: list[Row]) -> bool:
    return got == wanted[: len(got)]


@given(messages.filter(bool), writers, st.floats(0.02, 0.999))
@settings(max_examples=80, deadline=None)
def test_a_cut_file_gives_all_that_is_before_the_cut(rows: list[Row], options: dict[str, Any], share: float) -> None:
    raw = written(rows, options)
    cut = raw[: max(8, int(len(raw) * share))]
    batch, summary = read(cut)
    assert equal_prefix(ours(batch), rows)
    assert len(batch.frames) >= len(official(cut)), "never fewer than the official reader"
    assert any(p.kind == "truncated" for p in summary.problems)


@given(messages.filter(bool), writers, st.lists(st.tuples(st.floats(0, 1), st.integers(0, 7)), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_flipped_bits_raise_nothing(rows: list[Row], options: dict[str, Any], flips: list[tuple[float, int]]) -> None:
    raw = bytearray(written(rows, options))
    for place, bit in flips:
        at = 8 + int(place * (len(raw) - 9))
        raw[at] ^= 1 << bit
    read(bytes(raw))


@given(writers, st.lists(st.tuples(st.floats(0, 0.5), st.integers(0, 7)), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_no_loss_is_silent_where_the_file_states_its_count(
    options: dict[str, Any], flips: list[tuple[float, int]]
) -> None:
    rows = [("/a", n, bytes(range(n % 60))) for n in range(100)]
    raw = bytearray(written(rows, {**options, "use_statistics": True}))
    for place, bit in flips:  # in the first half: the statistics stand at the end
        raw[8 + int(place * (len(raw) - 9))] ^= 1 << bit
    batch, summary = read(bytes(raw))
    missing = len(rows) - len(batch.frames)
    if missing > 0:
        assert summary.problems
        assert summary.frames_lost >= missing


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_no_bytes_after_the_magic_raise(tail: bytes) -> None:
    read(b"\x89MCAP0\r\n" + tail)


def test_a_damaged_chunk_is_counted_by_its_index_and_the_others_are_read() -> None:
    rows = [("/a", n, bytes([n % 256]) * 20) for n in range(300)]
    raw = bytearray(
        written(rows, {"chunk_size": 1000, "compression": CompressionType.ZSTD, "index_types": IndexType.ALL})
    )
    first = raw.index(b"zstd") + 12
    raw[first : first + 4] = b"\0\0\0\0"  # the magic of the first chunk's zstd frame
    batch, summary = read(bytes(raw))
    lost = len(rows) - len(batch.frames)
    assert 0 < lost < 60
    assert summary.frames_lost == lost
    assert ours(batch) == rows[lost:]
    assert [p.kind for p in summary.problems] == ["bad_compression", "bad_compression"] or summary.problems[
        0
    ].kind == "bad_compression"


@pytest.mark.parametrize("compression", [CompressionType.ZSTD, CompressionType.LZ4, CompressionType.NONE])
def test_a_bomb_is_refused_before_it_is_inflated(compression: CompressionType) -> None:
    raw = written([("/a", 1, bytes(3_000_000))], {"compression": compression})
    batch, summary = read(raw, max_chunk_bytes=1_000_000)
    assert batch.frames.is_empty()
    assert summary.problems[0].kind == "over_limit"
    assert summary.frames_lost == 1


CAN = st.tuples(st.integers(0, 0x1FFFFFFF), st.booleans(), st.binary(max_size=8), st.integers(0, 2**40))


@given(st.lists(CAN, min_size=1, max_size=60), st.sampled_from(["", "can0", "a_longer_frame_id"]))
@settings(max_examples=50, deadline=None)
def test_can_frames_are_decoded_as_the_official_decoder_does(
    rows: list[tuple[int, bool, bytes, int]], frame_id: str
) -> None:
    out = io.BytesIO()
    writer = Writer(out, chunk_size=500)
    writer.start()
    schema = writer.register_schema("can_msgs/msg/Frame", "ros2msg", ros.DEFINITIONS["can_msgs/msg/Frame"].encode())
    channel = writer.register_channel("/can0", "cdr", schema)
    for can_id, extended, data, at in rows:
        message = ros.CdrWriter().time(at).text(frame_id).put("I", can_id)
        raw = message.raw(bytes([0, extended, 0, len(data)])).raw(data.ljust(8, b"\0")).done()
        writer.add_message(channel, at, raw, at)
    writer.finish()
    batch, summary = read(out.getvalue())
    assert summary.problems == []
    decoded = [m.decoded_message for m in _decoded(out.getvalue())]
    assert batch.frames["arbitration_id"].to_list() == [m.id for m in decoded]
    assert batch.frames["is_extended_id"].to_list() == [m.is_extended for m in decoded]
    assert batch.frames["dlc"].to_list() == [m.dlc for m in decoded]
    assert batch.frames["payload"].to_list() == [bytes(m.data[: m.dlc]) for m in decoded]
    assert set(batch.frames["kind"]) == {"can"}


def _decoded(raw: bytes) -> list[Any]:
    from mcap.reader import make_reader

    reader = make_reader(io.BytesIO(raw), decoder_factories=[DecoderFactory()])

    class Decoded:
        def __init__(self, message: Any) -> None:
            self.decoded_message = message

    return [Decoded(d) for _, _, _, d in reader.iter_decoded_messages(log_time_order=False)]


def test_big_endian_and_flag_bits() -> None:
    import struct

    body = (
        struct.pack(">iI", 5, 6)
        + struct.pack(">I", 5)
        + b"can0\0"
        + b"\0\0\0"
        + struct.pack(">I", 0x98FECA00)
        + bytes([0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0])
    )
    out = io.BytesIO()
    writer = Writer(out)
    writer.start()
    schema = writer.register_schema("can_msgs/msg/Frame", "ros2msg", b"")
    channel = writer.register_channel("/can0", "cdr", schema)
    writer.add_message(channel, 1, b"\0\0\0\0" + body, 1)
    writer.finish()
    frame = read(out.getvalue())[0].frames.row(0, named=True)
    assert (frame["arbitration_id"], frame["is_extended_id"], frame["payload"]) == (0x18FECA00, True, b"\1\2\3")


def test_a_message_that_is_not_its_type_is_kept_undecoded_and_told() -> None:
    out = io.BytesIO()
    writer = Writer(out)
    writer.start()
    for name, topic in (
        ("can_msgs/msg/Frame", "/can"),
        ("rcl_interfaces/msg/Log", "/rosout"),
        ("diagnostic_msgs/msg/DiagnosticArray", "/diagnostics"),
    ):
        schema = writer.register_schema(name, "ros2msg", b"")
        channel = writer.register_channel(topic, "cdr", schema)
        for raw in (b"", b"\0\1\0\0", b"\0\1\0\0" + b"\xff" * 30):
            writer.add_message(channel, 1, raw, 1)
    writer.finish()
    batch, summary = read(out.getvalue())
    assert batch.frames.height == 9
    assert set(batch.frames["kind"]) == {"message"}
    assert batch.logs.is_empty()
    assert batch.diagnostics.is_empty()
    assert [p.kind for p in summary.problems] == ["bad_message"] * 3


@pytest.mark.parametrize("make", [lambda r: r / "mcap"])
def test_real_recordings_equal_the_official_reader(recordings: Path, make: Callable[[Path], Path]) -> None:
    files = sorted(make(recordings).glob("*.mcap"))
    assert files
    for file in files:
        raw = file.read_bytes()
        batch, summary = read(raw)
        assert summary.problems == []
        rows = official(raw)
        assert len(rows) == batch.frames.height
        assert ours(batch) == rows
        logs = (
            [d.decoded_message for d in _decoded(raw) if type(d.decoded_message).__name__ == "Log"]
            if "talker" in file.name
            else []
        )
        assert batch.logs["message"].to_list() == [m.msg for m in logs]
