"""Records of Apollo Cyber RT equal what was written by the official protobuf library."""

import io

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.recordings.formats.cyber.reader import CHUNK_BODY, HEADER_BYTES, SECTION
from argus_assets.recordings.formats.cyber.wire import BadWire, descriptor_set, fields
from argus_assets.recordings.model import FrameBatch, Limits, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording
from argus_assets.recordings.registry import detect
from tests.support.cyber_builder import gps, record


def read(data: bytes, limits: Limits | None = None) -> tuple[FrameBatch, RecordingSummary]:
    reader = open_recording(io.BytesIO(data), limits=limits or Limits(workers=1))
    return concat_batches(list(reader)), reader.summary


messages = st.tuples(st.sampled_from(["/gps", "/b"]), st.integers(0, 2**62), st.none() | st.floats(allow_nan=False))


@given(st.lists(st.lists(messages, min_size=1, max_size=5), min_size=1, max_size=4), st.sampled_from([0, 1, 2]))
@settings(max_examples=40, deadline=None)
def test_a_record_is_what_was_written(chunks: list[list[tuple[str, int, float | None]]], compress: int) -> None:
    batch, summary = read(record([[(n, t, gps(v)) for n, t, v in chunk] for chunk in chunks], compress=compress))
    assert summary.problems == []
    sent = [message for chunk in chunks for message in chunk]
    frames = batch.frames
    assert frames["channel"].cast(pl.String).to_list() == [n for n, _, _ in sent]
    assert frames["timestamp"].dt.timestamp("ns").to_list() == [t for _, t, _ in sent]
    assert frames["payload"].to_list() == [gps(v) for _, _, v in sent]
    for topic in {n for n, _, _ in sent}:
        assert batch.topics[topic, "a.Gps"]["speed"].to_list() == [v for n, _, v in sent if n == topic]


@pytest.mark.parametrize("compress", [0, 1, 2])
def test_a_record_that_was_cut_anywhere_keeps_its_start(compress: int) -> None:
    whole = record([[("/gps", n * 10 + k, gps(k)) for k in range(3)] for n in range(3)], compress=compress)
    before = 0
    for end in range(HEADER_BYTES + SECTION.size, len(whole), 7):
        batch, summary = read(whole[:end])
        assert batch.frames.height >= before
        before = batch.frames.height
        assert before == 9 or summary.problems
    assert before == 9


def test_damage_in_a_section_costs_its_chunk_only() -> None:
    whole = bytearray(record([[("/gps", n, gps(n))] for n in range(5)]))
    place = whole.index(SECTION.pack(CHUNK_BODY, 0)[:8], HEADER_BYTES)
    whole[place + 8 : place + 16] = b"\xff" * 8
    batch, summary = read(bytes(whole))
    assert batch.frames["timestamp"].dt.timestamp("ns").to_list() == [1, 2, 3, 4]
    assert "bad_length" in [p.kind for p in summary.problems]


@given(st.binary(max_size=300), st.integers(0, 3000))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_read_or_told(junk: bytes, place: int) -> None:
    whole = record([[("/gps", 1, gps(1.0))]])
    at = HEADER_BYTES + SECTION.size + place % (len(whole) - HEADER_BYTES - SECTION.size)
    batch, summary = read(whole[:at] + junk + whole[at + len(junk) :])
    assert batch.frames.height == 1 or summary.problems or b"/gps" not in whole[:at]


def test_a_channel_without_descriptors_keeps_its_messages_and_is_told() -> None:
    batch, summary = read(record([[("/gps", 1, gps(1.0))]], desc=b""))
    assert batch.frames.height == 1
    assert [p.kind for p in summary.problems] == ["unsupported"]


def test_descriptors_nested_without_end_are_told() -> None:
    nest = b""
    for _ in range(100):
        nest = (
            b"\x12" + (bytes([len(nest)]) if len(nest) < 128 else bytes([len(nest) & 127 | 128, len(nest) >> 7])) + nest
        )
    with pytest.raises(BadWire):
        descriptor_set(nest, 10**6)
    _, summary = read(record([[("/gps", 1, b"")]], desc=nest))
    assert "bad_record" in [p.kind for p in summary.problems]


@pytest.mark.parametrize("compress", [1, 2])
def test_a_chunk_that_inflates_too_far_is_not_read(compress: int) -> None:
    bomb = record([[("/gps", 1, bytes(10**7))]], compress=compress)
    batch, summary = read(bomb, Limits(workers=1, max_chunk_bytes=10**6))
    assert batch.frames.height == 0
    assert "over_limit" in [p.kind for p in summary.problems]


@given(st.binary(max_size=80))
def test_wire_is_walked_within_its_bytes(data: bytes) -> None:
    try:
        found = list(fields(data))
    except BadWire:
        return
    assert sum(len(v) for _, v in found if isinstance(v, bytes)) <= len(data)


@pytest.mark.parametrize("head", [bytes(4096), bytes(8) + b"\x02" + bytes(4000), b"", bytes(20)])
def test_zeros_are_no_record(head: bytes) -> None:
    found = detect(head)
    assert found is None or found.name != "cyber"
