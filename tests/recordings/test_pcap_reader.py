"""Captures of CAN equal what was written block by block, and what dpkt reads of the same bytes."""

import io
import struct
from typing import Any

import dpkt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.recordings.model import FrameBatch, Limits, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording
from argus_assets.recordings.schema import FRAMES
from tests.support import pcap_builder as capture
from tests.support.pcap_builder import Packet

START_NS = 1_795_000_000 * 10**9
STEP_NS = 10**7


def read(data: bytes, **limits: Any) -> tuple[FrameBatch, RecordingSummary]:
    reader = open_recording(io.BytesIO(data), limits=Limits(**limits))
    batches = list(reader)
    batch = concat_batches(batches) if batches else FrameBatch(FRAMES.empty(), pl.DataFrame(), pl.DataFrame())
    FRAMES.check(batch.frames)
    assert batch.frames["frame"].to_list() == list(range(batch.frames.height))
    assert reader.summary.frames == batch.frames.height == sum(c.frames for c in reader.summary.channels)
    return batch, reader.summary


def kinds(summary: RecordingSummary) -> list[str]:
    return [problem.kind for problem in summary.problems]


def at(number: int) -> int:
    return START_NS + number * STEP_NS


def some(count: int, *, order: str = ">") -> list[Packet]:
    return [Packet(at(n), capture.socketcan(n % 2048, bytes([n % 256]) * (n % 9), order=order)) for n in range(count)]


FRAME = st.fixed_dictionaries(
    {"can_id": st.integers(0, 0x7FF), "data": st.binary(max_size=8)},
    optional={"extended": st.booleans(), "remote": st.booleans()},
) | st.fixed_dictionaries(
    {
        "can_id": st.integers(0, 0x1FFFFFFF),
        "data": st.sampled_from((0, 8, 12, 24, 64)).flatmap(lambda n: st.binary(min_size=n, max_size=n)),
        "extended": st.just(value=True),
        "fd": st.just(value=True),
    }
)


@given(
    st.lists(FRAME, max_size=200), st.sampled_from("<>"), st.booleans(),
    st.sampled_from(("pcap", "pcapng", "cooked", "cooked 2")), st.booleans(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_frames_are_those_that_were_written(
    frames: list[dict[str, Any]], order: str, nanoseconds: bool, layout: str, pad: bool
) -> None:
    """In every layout, with padded frames of two sizes and with frames of any size."""
    packets: list[Packet] = []
    for number, frame in enumerate(frames):
        raw = capture.socketcan(**frame, order=order if "cooked" in layout else ">", pad=pad)
        if "cooked" in layout:
            index = 7 if "2" in layout else None
            raw = capture.cooked(raw, 13 if frame.get("fd") else 12, sent=number % 2 == 1, index=index)
        packets.append(Packet(at(number), raw, flags=1 + number % 2))
    if layout == "pcapng":
        data = capture.pcapng(packets, [capture.interface(name="can0", order=order)], order=order)
    else:
        link = {"pcap": capture.CAN, "cooked": capture.COOKED, "cooked 2": capture.COOKED_2}[layout]
        data = capture.pcap(packets, link=link, order=order, nanoseconds=nanoseconds)
    batch, summary = read(data)
    assert summary.problems == []
    assert summary.frames_lost == 0
    channel = {"pcapng": "can0", "cooked 2": "pcap0:7"}.get(layout, "pcap0")
    expected = [
        (
            at(n), channel, f["can_id"], f.get("extended", False), f.get("fd", False), f.get("remote", False),
            None if layout == "pcap" else n % 2 == 0, b"" if f.get("remote") else f["data"],
        )
        for n, f in enumerate(frames)
    ]  # fmt: skip
    columns = batch.frames.select(
        pl.col("timestamp").dt.timestamp("ns"), pl.col("channel").cast(pl.String), "arbitration_id", "is_extended_id",
        "is_fd", "is_remote_frame", "is_rx", "payload",
    )  # fmt: skip
    assert list(columns.iter_rows()) == expected


def by_dpkt(data: bytes) -> list[tuple[float, bytes]]:
    reader = dpkt.pcapng.Reader if data.startswith(b"\x0a\x0d\x0d\x0a") else dpkt.pcap.Reader
    return [(float(time), bytes(packet)) for time, packet in reader(io.BytesIO(data))]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
def test_dpkt_reads_the_same(kind: str, order: str) -> None:
    packets = some(500)
    data = (
        capture.pcap(packets, order=order)
        if kind == "pcap"
        else capture.pcapng(packets, [capture.interface(order=order)], order=order)
    )
    batch, _ = read(data)
    theirs = [(round(time * 1e6), struct.unpack(">I", raw[:4])[0], raw[8 : 8 + raw[4]]) for time, raw in by_dpkt(data)]
    ours = batch.frames.select(pl.col("timestamp").dt.timestamp("us"), "arbitration_id", "payload")
    assert list(ours.iter_rows()) == theirs


def test_sizes_that_change_are_followed() -> None:
    """Long runs of alike packets, and bytes inside of packets that look like records."""
    lookalike = struct.pack("<4I", START_NS // 10**9, 0, 16, 16)
    packets = some(300)
    packets += [Packet(at(n), capture.socketcan(1, lookalike[8:16], pad=True)) for n in range(300, 600)]
    packets += [Packet(at(n), capture.socketcan(2, (lookalike * 4)[:64], fd=True)) for n in range(600, 900)]
    packets += [Packet(at(n), capture.socketcan(3, bytes(n % 7), pad=False)) for n in range(900, 1200)]
    packets += some(300)
    for data in (capture.pcap(packets), capture.pcapng(packets)):
        batch, summary = read(data)
        assert summary.problems == []
        assert batch.frames["payload"].to_list() == [p.data[8 : 8 + p.data[4]] for p in packets]


def test_error_frames_keep_class_and_detail() -> None:
    detail = bytes([0, 0x04, 0, 0, 0, 0, 100, 2])
    batch, _ = read(capture.pcap([Packet(at(0), capture.socketcan(0x204, detail, error=True))]))
    row = batch.frames.row(0, named=True)
    assert (row["is_error_frame"], row["arbitration_id"], row["payload"]) == (True, 0x204, detail)
    assert not row["is_extended_id"]


def test_can_fd_is_known_by_flag_size_or_length() -> None:
    flagged = capture.socketcan(1, bytes(8), fd=True)
    by_size = bytearray(flagged)
    by_size[5] = 0
    by_length = bytearray(capture.socketcan(1, bytes(12), fd=True, pad=False))
    by_length[5] = 0
    classic = capture.socketcan(1, bytes(8), code=15)
    packets = [Packet(at(n), bytes(raw)) for n, raw in enumerate((flagged, by_size, by_length, classic))]
    batch, _ = read(capture.pcap(packets))
    assert batch.frames["is_fd"].to_list() == [True, True, True, False]
    assert batch.frames["dlc"].to_list() == [8, 8, 9, 15]


@pytest.mark.parametrize(
    ("resolution", "offset_s", "ticks"),
    [
        (6, None, START_NS // 1000), (9, None, START_NS), (3, None, START_NS // 10**6), (0, None, START_NS // 10**9),
        (12, 1_790_000_000, (START_NS - 1_790_000_000 * 10**9) * 1000), (6, -3600, START_NS // 1000 + 3600 * 10**6),
        (0x80 | 10, None, (START_NS // 10**9) << 10), (0x80 | 20, None, (START_NS // 10**9) << 20),
        (0x80 | 33, None, (START_NS // 10**9) << 33),
    ],
)  # fmt: skip
def test_times_of_any_resolution(resolution: int, offset_s: int | None, ticks: int) -> None:
    described = capture.interface(resolution=resolution, offset_s=offset_s)
    data = capture.section() + described + capture.enhanced(Packet(0, capture.socketcan(1, b"")), ticks)
    batch, summary = read(data)
    assert summary.problems == []
    assert batch.frames["timestamp"].dt.timestamp("ns").to_list() == [START_NS]


@pytest.mark.parametrize(
    ("resolution", "offset_s"), [(127, None), (0xFF, None), (0, 2**62), (6, -(2**63)), (6, 10**12)]
)
def test_a_resolution_that_gives_no_time_is_told_or_gives_1970(resolution: int, offset_s: int | None) -> None:
    described = capture.interface(resolution=resolution, offset_s=offset_s)
    data = capture.section() + described + capture.enhanced(Packet(0, capture.socketcan(1, b"")), 2**64 - 1)
    batch, summary = read(data)
    (time_ns,) = batch.frames["timestamp"].dt.timestamp("ns").to_list()
    assert kinds(summary) == ["bad_timestamp"] or 0 <= time_ns < 10**12


def test_sections_have_interfaces_and_byte_orders_of_their_own() -> None:
    def part(order: str, names: list[str], first: int) -> bytes:
        packets = [Packet(at(first + n), capture.socketcan(n, b""), interface=n % 2) for n in range(4)]
        return capture.pcapng(packets, [capture.interface(name=n, order=order) for n in names], order=order)

    batch, summary = read(part("<", ["can0", ""], 0) + part(">", ["vcan7", "can0"], 4))
    assert summary.problems == []
    channels = batch.frames["channel"].cast(pl.String).to_list()
    assert channels == ["can0", "pcap1", "can0", "pcap1", "vcan7", "can0", "vcan7", "can0"]


def test_old_and_simple_packets_are_read() -> None:
    first, second, third = some(3)
    data = (
        capture.section()
        + capture.interface(name="can0")
        + capture.old_packet(first, at(0) // 1000)
        + capture.simple(second)
        + capture.enhanced(third, at(2) // 1000)
    )
    batch, summary = read(data)
    assert batch.frames["arbitration_id"].to_list() == [0, 1, 2]
    assert batch.frames["timestamp"].dt.timestamp("ns").to_list() == [at(0), at(0), at(2)]
    assert kinds(summary) == ["assumed"]


def test_what_is_not_read_is_told_by_kind_and_count() -> None:
    xl = struct.pack(">I", 5) + bytes([0x81, 0]) + struct.pack("<HI", 4, 0) + b"data"
    data = (
        capture.section()
        + capture.interface()
        + capture.interface(189)
        + capture.enhanced(Packet(0, xl), at(0) // 1000)
        + capture.enhanced(Packet(0, b"usb", interface=1), at(1) // 1000) * 3
        + capture.enhanced(Packet(0, b"unknown", interface=9), at(1) // 1000)
        + capture.block(9, b"MESSAGE=x")
    )
    _, summary = read(data)
    told = {(p.kind, p.actual) for p in summary.problems}
    assert ("unsupported", "1 packets of CAN XL") in told
    assert ("unsupported", "3 packets of USB of Linux (link type 189)") in told
    assert ("unsupported", "1 packets of the systemd journal") in told
    assert ("unknown_channel", "1 others") in told
    assert summary.frames_lost == 1


def test_packets_that_were_dropped_while_capturing_are_told() -> None:
    dropped = capture.option(5, struct.pack("<Q", 12)) + capture.option(7, struct.pack("<Q", 3))
    statistics = capture.block(5, struct.pack("<III", 0, 0, 0) + dropped)
    _, summary = read(capture.pcapng(some(3)) + statistics)
    assert (summary.frames, summary.frames_lost) == (3, 15)


def test_a_snap_length_that_cuts_frames_is_told() -> None:
    packets = [Packet(at(n), p.data[:12], original=16) for n, p in enumerate(some(9))]
    batch, summary = read(capture.pcap(packets, snap=12))
    assert [len(p) for p in batch.frames["payload"]] == [0, 1, 2, 3, 4, 4, 4, 4, 4]
    assert kinds(summary) == ["bad_length"]


@given(st.sampled_from(("pcap", "pcapng")), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_a_capture_that_is_cut_keeps_all_before_it(kind: str, share: float) -> None:
    packets = some(200)
    data = capture.pcap(packets) if kind == "pcap" else capture.pcapng(packets)
    sizes = 24 if kind == "pcap" else len(capture.pcapng([]))
    each = 16 if kind == "pcap" else 32
    cut = int(len(data) * share)
    record = 16 + each if kind == "pcap" else len(capture.enhanced(packets[0], 0))
    _, summary = read(data[:cut])
    assert summary.frames == max(0, (cut - sizes) // record)
    if cut not in (0, len(data)) and (kind == "pcapng" or cut < sizes or (cut - sizes) % record):
        # Fewer than four bytes are no capture.
        assert kinds(summary) in (["truncated"], ["unknown_format"])


@given(st.sampled_from(("pcap", "pcapng")), st.integers(0, 199), st.integers(0, 15), st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_a_damaged_header_costs_few_frames_and_is_told(kind: str, record: int, offset: int, value: int) -> None:
    packets = some(200)
    data = bytearray(capture.pcap(packets) if kind == "pcap" else capture.pcapng(packets))
    start = 24 + 32 * record if kind == "pcap" else len(capture.pcapng([])) + 48 * record
    before = data[start + offset]
    data[start + offset] = value
    _, summary = read(bytes(data))
    assert summary.frames >= 197
    assert "reader_failed" not in kinds(summary)
    # A block whose type was damaged is one of that other type.
    if before != value and summary.frames < 200 and (kind == "pcap" or offset >= 4):
        assert summary.problems


HOSTILE = {
    "a block of no bytes": capture.section() + capture.interface() + struct.pack("<II", 6, 0),
    "a block of 4 GiB": capture.section() + capture.interface() + struct.pack("<II", 6, 2**32 - 4),
    "a section of no bytes": b"\x0a\x0d\x0d\x0a" + struct.pack("<II", 0, 0x1A2B3C4D),
    "no byte order": b"\x0a\x0d\x0d\x0a" + bytes(60),
    "interface 2^31": capture.section() + capture.enhanced(Packet(0, b"x" * 16, interface=2**31), 0),
    "a packet longer than its block": capture.section()
    + capture.interface()
    + capture.block(6, struct.pack("<5I", 0, 0, 0, 2**32 - 1, 2**32 - 1) + bytes(16)),
    "a record of 4 GiB": capture.pcap([]) + struct.pack("<4I", 1, 0, 2**32 - 1, 2**32 - 1) + bytes(100),
    "a record of 256 KiB": capture.pcap([]) + struct.pack("<4I", 1, 0, 262_144, 262_144) + bytes(100),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_lies_are_told(name: str) -> None:
    _, summary = read(HOSTILE[name])
    assert summary.problems, name
    assert summary.problems[0].kind in ("bad_record", "truncated", "bad_length", "unknown_channel")


@pytest.mark.parametrize("lie", [0, 7, 2**31, 2**32 - 1])
@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
def test_reading_resumes_behind_a_length_that_lies(kind: str, lie: int) -> None:
    packets = some(400)
    data = bytearray(capture.pcap(packets) if kind == "pcap" else capture.pcapng(packets))
    size_at = 24 + 32 * 200 + 8 if kind == "pcap" else len(capture.pcapng([])) + 48 * 200 + 4
    data[size_at : size_at + 4] = struct.pack("<I", lie)
    _, summary = read(bytes(data))
    assert 399 <= summary.frames <= 401
    assert summary.problems


def test_more_interfaces_than_a_section_may_have_are_told() -> None:
    from argus_assets.recordings.formats.pcap import reader

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_MAX_INTERFACES", 3)
        packets = [Packet(at(n), capture.socketcan(n, b""), interface=n) for n in range(6)]
        batch, summary = read(capture.pcapng(packets, [capture.interface() for _ in range(6)]))
    channels = batch.frames["channel"].cast(pl.String).to_list()
    assert channels == ["pcap0", "pcap1", "pcap2", "unknown", "unknown", "unknown"]
    assert sorted(kinds(summary)) == ["over_limit", "unknown_channel"]
    assert summary.frames_lost == 0


def test_more_sections_than_a_file_may_have_are_told() -> None:
    from argus_assets.recordings.formats.pcap import reader

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_MAX_SECTIONS", 3)
        _, summary = read(capture.pcapng(some(2)) * 5)
    assert summary.frames == 6
    assert kinds(summary) == ["over_limit"]


@pytest.mark.parametrize("size", [0x02000010, 2**32 - 1, 0x210, 48])
def test_a_captured_size_that_was_damaged_costs_no_frame(size: int) -> None:
    packets = some(100)
    data = bytearray(capture.pcap(packets))
    data[24 + 32 * 50 + 8 : 24 + 32 * 50 + 12] = struct.pack("<I", size)
    batch, summary = read(bytes(data))
    assert batch.frames["arbitration_id"].to_list() == list(range(100))
    assert kinds(summary) == ["bad_length"]


def test_a_first_record_that_was_damaged_costs_itself_only() -> None:
    """No time of the capture is known yet, and packets that are alike look like records at other places, too."""
    for payload in (bytes(8), bytes([16, 0, 0, 0] * 2), bytes([1, 0, 0, 0, 16, 0, 0, 0])):
        packets = [Packet(at(n), capture.socketcan(5, payload)) for n in range(100)]
        data = bytearray(capture.pcap(packets))
        data[24:40] = b"\0" * 8 + b"\xff" * 8
        batch, _ = read(bytes(data))
        assert batch.frames.height == 99
        assert set(batch.frames["payload"]) == {payload}


def test_workers_make_no_difference() -> None:
    data = capture.pcapng(some(3000), [capture.interface(name="can0")])
    one, four = read(data, workers=1)[0], read(data, workers=4)[0]
    assert one.frames.equals(four.frames)
