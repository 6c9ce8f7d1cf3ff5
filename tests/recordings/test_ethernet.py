"""Segments of Ethernet frames equal what dpkt reads; DoIP messages are those that were sent, whatever the network did."""

import io
import random
import struct
from typing import Any

import dpkt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.recordings.ethernet import doip as doip_module
from argus_assets.recordings.ethernet import streams as streams_module
from argus_assets.recordings.model import FrameBatch, Limits, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording
from argus_assets.recordings.schema import FRAMES
from tests.support import pcap_builder as capture
from tests.support.ethernet_builder import (
    DOIP_PORT,
    GATEWAY,
    GATEWAY_V6,
    TESTER,
    TESTER_V6,
    Connection,
    diagnostic,
    doip,
    ethernet,
    ip,
    tcp,
    udp,
)

START_NS = 1_795_000_000 * 10**9
STEP_NS = 10**6


def read(
    frames: list[bytes], *, link: int = capture.ETHERNET, snap: int = 0, **limits: Any
) -> tuple[FrameBatch, RecordingSummary]:
    packets = [
        capture.Packet(START_NS + n * STEP_NS, frame[: snap or None], original=len(frame))
        for n, frame in enumerate(frames)
    ]
    reader = open_recording(io.BytesIO(capture.pcap(packets, link=link)), limits=Limits(**limits))
    batches = list(reader)
    batch = concat_batches(batches) if batches else FrameBatch(FRAMES.empty(), pl.DataFrame(), pl.DataFrame())
    FRAMES.check(batch.frames)
    assert batch.frames["frame"].to_list() == list(range(batch.frames.height))
    assert reader.summary.frames == batch.frames.height == sum(c.frames for c in reader.summary.channels)
    assert sum(p.frames_lost or 0 for p in reader.summary.problems) == reader.summary.frames_lost
    return batch, reader.summary


def payloads(batch: FrameBatch) -> list[bytes]:
    return batch.frames["payload"].to_list()


def told(summary: RecordingSummary) -> dict[str, str]:
    return {p.actual: p.kind for p in summary.problems}


MESSAGES = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=30)


@given(MESSAGES, st.integers(1, 200), st.integers(0, 2**32), st.data())
@settings(max_examples=80, deadline=None)
def test_messages_arrive_whatever_the_segments(uds: list[bytes], size: int, seed: int, data: st.DataObject) -> None:
    """Cut anywhere, doubled, overlapping and out of order within a window, over the wrap of sequence numbers."""
    connection = Connection(
        vlans=data.draw(st.sampled_from(((), (5,), (5, 6)))), options=data.draw(st.sampled_from((b"", bytes(12)))),
        to_gateway=data.draw(st.sampled_from((0, 2**32 - 100, 2**31 - 50))),
    )  # fmt: skip
    stream = b"".join(diagnostic(0x0E00, 0x1010, message) for message in uds)
    opened = list(connection.open())
    first = connection.to_gateway
    segments = connection.split(stream, size)
    randomness = random.Random(seed)
    for _ in range(len(segments) // 3):
        at = randomness.randrange(len(segments))
        segments.insert(min(len(segments), at + randomness.randrange(8)), segments[at])
    for at in range(len(segments) - 1):
        if randomness.random() < 0.2:
            to = min(len(segments) - 1, at + randomness.randrange(1, 6))
            segments[at], segments[to] = segments[to], segments[at]
    # Sent again in one piece, from inside of what was sent.
    again = randomness.randrange(len(stream))
    overlap = tcp(stream[again : again + 1000], connection.port, DOIP_PORT, first + again)
    frames = [*opened, *segments, ethernet(ip(overlap, 6, TESTER, GATEWAY))]
    batch, summary = read(frames)
    assert payloads(batch) == [struct.pack(">HH", 0x0E00, 0x1010) + message for message in uds]
    assert summary.problems == []
    (table,) = batch.topics.values()
    assert set(table["source_address"]) == {0x0E00}
    assert table["frame"].to_list() == batch.frames["frame"].to_list()


@given(st.integers(0, 39), st.integers(20, 90))
@settings(max_examples=40, deadline=None)
def test_a_missing_segment_costs_the_messages_in_it(missing: int, size: int) -> None:
    connection = Connection()
    sent = [diagnostic(0x0E00, 0x1010, bytes([n]) * 40) for n in range(200)]
    frames = [*connection.open(), *connection.split(b"".join(sent), size)]
    del frames[3 + missing]
    batch, summary = read(frames)
    lost = 200 - batch.frames.height
    assert 1 <= lost <= 2 + size // 52
    (gap,) = [p for p in summary.problems if "gap" in p.actual]
    assert gap.actual == f"1 gaps, {size} bytes"
    # The end of a segment that starts inside of a message is skipped, but for what looks like the head of one.
    assert [p for p in payloads(batch) if p[4:] != p[4:5] * 40] == []


def test_what_the_snap_length_cut_is_a_gap() -> None:
    connection = Connection()
    frames = [*connection.open(), *(connection.send(diagnostic(0x0E00, 0x1010, bytes([n]) * 40)) for n in range(9))]
    batch, summary = read(frames, snap=14 + 20 + 20 + 30)
    assert batch.frames.is_empty()
    assert any("9 gaps" in actual for actual in told(summary))


def test_a_recording_that_starts_inside_of_a_connection() -> None:
    connection = Connection()
    stream = b"".join(diagnostic(0x0E00, 0x1010, bytes([0x22, 0xF1, n])) for n in range(9))
    batch, _ = read(connection.split(stream, 10)[3:])
    assert [p[-1] for p in payloads(batch)] == list(range(2, 9))


def test_a_new_connection_of_the_same_ports() -> None:
    first, second = Connection(), Connection(to_gateway=77, to_tester=3_000_000_000)
    frames = [
        *first.open(), first.send(diagnostic(0x0E00, 0x1010, "3E00")[:-1]),
        *second.open(), second.send(diagnostic(0x0E00, 0x1010, "1003")),
    ]  # fmt: skip
    batch, summary = read(frames)
    assert [p[4:] for p in payloads(batch)] == [b"\x10\x03"]
    assert summary.frames_lost == 1


def test_messages_stand_among_the_packets_in_order_of_their_last_byte() -> None:
    connection = Connection()
    message = diagnostic(0x0E00, 0x1010, "22F190")
    frames = [*connection.open(), connection.send(message[:5]), connection.send(message[5:])]
    batch, summary = read(frames)
    assert batch.frames["timestamp"].dt.timestamp("ns").to_list() == [START_NS + 4 * STEP_NS]
    (channel,) = summary.channels
    assert (channel.channel, channel.kind, channel.schema) == ("pcap0/doip", "message", "doip/DiagnosticMessage")


def test_identification_and_routing_activation_are_typed() -> None:
    announced = b"WVWZZZ1JZXW000001" + struct.pack(">H", 0x1010) + bytes(range(12)) + b"\x00\x10"
    connection = Connection()
    frames = [
        ethernet(ip(udp(doip(0x0001, version=0xFF), 40_000, DOIP_PORT), 17, TESTER, "255.255.255.255")),
        ethernet(ip(udp(doip(0x0004, announced), DOIP_PORT, 40_000), 17, GATEWAY, TESTER)),
        *connection.open(),
        connection.send(doip(0x0005, struct.pack(">HB4x", 0x0E00, 0))),
        connection.send(doip(0x0006, struct.pack(">HHB4x", 0x0E00, 0x1010, 0x10)), answer=True),
        connection.send(diagnostic(0x0E00, 0x2020, "1003")),
        connection.send(doip(0x8003, struct.pack(">HHB", 0x2020, 0x0E00, 6)), answer=True),
        connection.send(doip(0x8002, struct.pack(">HHB", 0x1010, 0x0E00, 0)), answer=True),
    ]  # fmt: skip
    batch, summary = read(frames)
    tables = {topic: table.drop("timestamp", "frame").rows() for (topic, _), table in batch.topics.items()}
    assert tables == {
        "pcap0/doip/vehicle_identification": [("WVWZZZ1JZXW000001", 0x1010, "000102030405", "060708090a0b", 0)],
        "pcap0/doip/routing_activation": [(0x0E00, None, 0, None), (0x0E00, 0x1010, None, 0x10)],
        "pcap0/doip": [(0x0E00, 0x2020, 0x10)],
        "pcap0/doip/negative_acknowledge": [(0x2020, 0x0E00, 6)],
    }
    assert list(told(summary)) == ["2 other messages (acknowledgements, alive checks, status)"]


def test_what_is_not_read_is_told_by_protocol() -> None:
    someip = struct.pack(">HHIIBBBB", 0x1234, 1, 8, 0, 1, 1, 2, 0)
    discovery = struct.pack(">HHIIBBBB", 0xFFFF, 0x8100, 8, 0, 1, 1, 2, 0)
    frames = [
        ethernet(ip(udp(someip, 30_501, 30_502), 17, TESTER, GATEWAY)),
        ethernet(ip(udp(someip, 30_501, 30_502), 17, TESTER_V6, GATEWAY_V6), 0x86DD),
        ethernet(ip(udp(discovery, 30_490, 30_490), 17, TESTER, GATEWAY)),
        ethernet(ip(udp(b"x", 53, 53), 17, TESTER, GATEWAY)),
        ethernet(ip(tcp(b"", 80, 5000, 1), 6, TESTER, GATEWAY)),
        ethernet(ip(tcp(b"GET", 5000, 80, 1), 6, TESTER, GATEWAY)),
        ethernet(ip(tcp(b"\x16\x03", 5000, 3496, 1), 6, TESTER, GATEWAY)),
        ethernet(ip(b"\x08\x00", 1, TESTER, GATEWAY)),
        ethernet(ip(udp(b"x", 53, 53), 17, TESTER, GATEWAY, fragment=0x2000)),
        ethernet(bytes(28), 0x0806),
        ethernet(bytes(28), 0x88F7),
        ethernet(b"")[:12],
        ethernet(b"\x45"),
    ]  # fmt: skip
    batch, summary = read(frames)
    assert batch.frames.is_empty()
    assert set(told(summary)) == {
        "SOME/IP: 2 of 0x1234, 1 of service discovery", "1 packets of UDP of other ports",
        "1 packets of TCP without content", "1 packets of TCP of other ports", "1 packets of DoIP over TLS",
        "1 packets of ICMP", "1 packets of IP fragments", "1 packets of ARP", "1 packets of PTP",
        "1 packets of Ethernet, cut short", "1 packets of IP, cut short",
    }  # fmt: skip


@given(
    st.booleans(), st.booleans(), st.sampled_from(((), (1,), (1, 2))), st.sampled_from((b"", bytes(8))),
    st.sampled_from((b"", b"\x01" * 4, b"\x01" * 40)), st.binary(min_size=1, max_size=60), st.integers(0, 2**32 - 1),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_headers_are_those_that_dpkt_reads(
    is_v6: bool, is_tcp: bool, vlans: tuple[int, ...], options: bytes, tcp_options: bytes, uds: bytes, sequence: int
) -> None:
    ends = (TESTER_V6, GATEWAY_V6) if is_v6 else (TESTER, GATEWAY)
    message = diagnostic(0x0E00, 0x1010, uds)
    body = tcp(message, 1000, DOIP_PORT, sequence, options=tcp_options) if is_tcp else udp(message, 1000, DOIP_PORT)
    # Frames are padded to 60 bytes.
    frame = ethernet(
        ip(body, 6 if is_tcp else 17, *ends, options=options), 0x86DD if is_v6 else 0x0800, vlans=vlans
    ).ljust(60, b"\0")
    parsed = dpkt.ethernet.Ethernet(frame)
    transport = parsed.data.data
    assert bytes(transport.data) == message
    batch, _ = read([frame])
    assert payloads(batch) == [bytes(transport.data)[8:]]


@pytest.mark.parametrize("version", [4, 6])
def test_packets_without_a_link_layer(version: int) -> None:
    ends = (TESTER, GATEWAY) if version == 4 else (TESTER_V6, GATEWAY_V6)
    packet = ip(udp(diagnostic(1, 2, "3E00"), 1, DOIP_PORT), 17, *ends)
    assert read([packet], link=capture.RAW_IP)[0].frames.height == 1
    cooked = capture.cooked(packet, 0x0800 if version == 4 else 0x86DD, kind=1)
    assert read([cooked], link=capture.COOKED)[0].frames.height == 1


def test_bytes_that_are_no_message_are_skipped_and_told() -> None:
    connection = Connection()
    garbage = random.Random(1).randbytes(400).replace(b"\xfd", b"\0").replace(b"\xfe", b"\0")
    frames = [
        *connection.open(),
        connection.send(diagnostic(1, 2, "3E00")),
        connection.send(garbage),
        connection.send(diagnostic(1, 2, "1001")),
    ]
    batch, summary = read(frames)
    assert [p[4:] for p in payloads(batch)] == [b"\x3e\x00", b"\x10\x01"]
    assert told(summary) == {"400 bytes that are none": "bad_message"}


def test_a_message_of_4_gib_is_skipped_and_told() -> None:
    connection = Connection()
    lie = struct.pack(">BBHI", 2, 0xFD, 0x8001, 2**32 - 1)
    frames = [*connection.open(), connection.send(lie), connection.send(bytes(1000))]
    _, summary = read(frames)
    assert "over_limit" in [p.kind for p in summary.problems]


def test_a_whole_recording_holds_bounded_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages that never end, over more connections than are followed."""
    monkeypatch.setattr(streams_module, "_MAX_STREAMS", 8)
    monkeypatch.setattr(doip_module, "_MAX_BUFFERED_BYTES", 4000)
    lie = struct.pack(">BBHI", 2, 0xFD, 0x8001, 10**6)
    frames = []
    for number in range(50):
        connection = Connection(port=1024 + number)
        frames += [*connection.open(), connection.send(lie), connection.send(bytes(900))]
    _, summary = read(frames)
    kinds = [p.kind for p in summary.problems]
    assert "truncated" in kinds or "over_limit" in kinds
    assert summary.frames_lost == 50


@given(st.binary(max_size=400), st.integers(0, 400), st.sampled_from((1, 101, 113, 276, 227)))
@settings(max_examples=150, deadline=None)
def test_any_bytes_raise_nothing(raw: bytes, at: int, link: int) -> None:
    connection = Connection()
    whole = b"".join([*connection.open(), *connection.split(diagnostic(1, 2, bytes(50)) * 4, 33)])
    read([whole[:at] + raw, raw, *connection.split(raw, 40)], link=link)
