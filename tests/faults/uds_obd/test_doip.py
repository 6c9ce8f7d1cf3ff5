"""Diagnostics over IP give the faults that the same conversation gives on CAN."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argus_assets.faults.bounds import Bounds
from argus_assets.faults.detection import Findings, find_events
from argus_assets.faults.uds_obd import doip
from argus_assets.recordings.drive import Drive
from argus_assets.recordings.parts import write_part
from tests.support import pcap_builder as capture
from tests.support.ethernet_builder import TESTER_V6, Connection, diagnostic

START_NS = 1_795_000_000 * 10**9
STEP_NS = 10**7
TESTER, GROUP = 0x0E00, 0xE400
Exchange = tuple[int, str, bool]
"""Logical address of an ECU (or a group), UDS message, and whether it is an answer."""

CONVERSATION: list[Exchange] = [
    (0x1010, "1003", False), (0x1010, "5003003201F4", True),
    (0x1010, "1902FF", False), (0x1010, "5902FF" + "C10087" + "2F" + "123456" + "08", True),
    (0x2020, "1902FF", False), (0x2020, "7F1978", True), (0x2020, "5902FF" + "0A0B0C" + "8C", True),
    (0x2020, "22F190", False), (0x2020, "7F2231", True),
    (0x1010, "14FFFFFF", False), (0x1010, "54", True),
]  # fmt: skip


def over_ip(exchanges: list[Exchange], size: int = 1000, *, source: str | None = None) -> bytes:
    """Return a capture of the conversation, in segments of a size."""
    connection = Connection() if source is None else Connection(source=source, target="fe80::2")
    packets = [capture.Packet(START_NS, frame) for frame in connection.open()]
    for number, (ecu, uds, is_answer) in enumerate(exchanges, 1):
        ends = (ecu, TESTER) if is_answer else (TESTER, ecu)
        frames = connection.split(diagnostic(*ends, uds), size, answer=is_answer)
        packets += [capture.Packet(START_NS + number * STEP_NS, frame) for frame in frames]
    return capture.pcap(packets, link=capture.ETHERNET)


def on_can(exchanges: list[Exchange]) -> bytes:
    """Return the same on CAN, by normal fixed addressing (ISO 15765-2): one ECU for each logical address."""
    packets: list[capture.Packet] = []
    for number, (ecu, uds, is_answer) in enumerate(exchanges, 1):
        address = ecu >> 8
        can_id = 0x18DA0000 | (0xF1 << 8 | address if is_answer else address << 8 | 0xF1)
        data = bytes.fromhex(uds)
        parts = [bytes([len(data)]) + data] if len(data) < 8 else list(_segmented(data))
        for part in parts:
            raw = capture.socketcan(can_id, part.ljust(8, b"\xcc"), extended=True)
            packets.append(capture.Packet(START_NS + number * STEP_NS, raw))
    return capture.pcap(packets)


def _segmented(data: bytes) -> Iterator[bytes]:
    yield (0x1000 | len(data)).to_bytes(2, "big") + data[:6]
    for number, at in enumerate(range(6, len(data), 7), 1):
        yield bytes([0x20 | number % 16]) + data[at : at + 7]


def drive_of(folder: Path, *recordings: bytes) -> Drive:
    parts: list[tuple[str, Path]] = []
    for number, data in enumerate(recordings):
        path, part = folder / f"{number}.pcap", folder / f"part{number}"
        path.write_bytes(data)
        part.mkdir()
        with path.open("rb") as source:
            write_part(source, folder=part)
        parts.append((path.name, part))
    return Drive.of_parts(parts)


def found(folder: Path, *recordings: bytes) -> Findings:
    return find_events(drive_of(folder, *recordings))


def rows(findings: Findings) -> list[tuple[object, ...]]:
    columns = ["source", "code", "status", "severity", "message", "first_seen"]
    return sorted(findings.events.select(columns).rows(), key=str)


def test_the_faults_are_those_on_can(tmp_path: Path) -> None:
    for name in ("ip", "can"):
        (tmp_path / name).mkdir()
    ip, can = found(tmp_path / "ip", over_ip(CONVERSATION)), found(tmp_path / "can", on_can(CONVERSATION))
    assert {row[0] for row in rows(ip)} == {"uds_dtc", "uds_negative", "uds_clear"}
    assert rows(ip) == rows(can)
    ends = ip.events.select("channel", "ecu").unique().sort("ecu").rows()
    assert ends == [("pcap0", "0x1010"), ("pcap0", "0x2020")]


@pytest.mark.parametrize("size", [1, 7, 13])
def test_segments_make_no_difference(size: int, tmp_path: Path) -> None:
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = found(tmp_path / "whole", over_ip(CONVERSATION))
    parts = found(tmp_path / "parts", over_ip(CONVERSATION, size, source=TESTER_V6))
    columns = ["code", "channel", "ecu", "status", "first_seen", "payload_hex"]
    assert parts.events.select(columns).equals(whole.events.select(columns))


def test_evidence_is_the_frame_of_the_answer(tmp_path: Path) -> None:
    findings = found(tmp_path, over_ip(CONVERSATION))
    codes = findings.events.filter(pl.col("source") == "uds_dtc").sort("frame")
    assert codes["frame"].unique().sort().to_list() == [3, 6]
    assert codes["payload_hex"].str.starts_with("5902ff").all()


def test_a_group_of_ecus_is_asked_at_once(tmp_path: Path) -> None:
    """The answers of each are of the request to the group: its mask of status bits is known by that."""
    asked: list[Exchange] = [
        (GROUP, "190208", False),
        (0x1010, "5902FF" + "C1008708", True),
        (0x2020, "5902FF" + "0A0B0C08", True),
    ]
    findings = found(tmp_path, over_ip(asked))
    ecus = findings.events.filter(pl.col("source") == "uds_dtc").select("ecu", "code").sort("ecu").rows()
    assert [ecu for ecu, _ in ecus] == ["0x1010", "0x2020"]


def test_a_drive_may_have_both(tmp_path: Path) -> None:
    findings = found(tmp_path, over_ip(CONVERSATION), on_can(CONVERSATION))
    by_recording = findings.events.group_by("recording").len().sort("recording").rows()
    assert [count for _, count in by_recording] == [by_recording[0][1]] * 2


def test_software_that_is_transferred_is_found_and_not_read(tmp_path: Path) -> None:
    block = "36" + "01" + "AB" * 200_000
    programmed: list[Exchange] = [
        (0x1010, "1002", False), (0x1010, "500200320190", True),
        (0x1010, "340044000000000000FFFF", False), (0x1010, "74200FFF", True),
        (0x1010, block, False), (0x1010, "7601", True), (0x1010, "37", False), (0x1010, "77", True),
    ]  # fmt: skip
    findings = found(tmp_path, over_ip(programmed, 60_000))
    assert findings.events["source"].to_list() == ["uds_programming"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from((0x1010, 0x2020, GROUP)), st.binary(min_size=1, max_size=40).map(bytes.hex), st.booleans()
        ),
        max_size=30,
    )
)
@settings(max_examples=30, deadline=None)
def test_any_messages_raise_nothing(tmp_path_factory: pytest.TempPathFactory, exchanges: list[Exchange]) -> None:
    found(tmp_path_factory.mktemp("doip"), over_ip(exchanges))


def test_a_bound_leaves_messages_out_and_says_so(tmp_path: Path) -> None:
    read = doip.messages(drive_of(tmp_path, over_ip(CONVERSATION)), Bounds(frames=4))
    assert read.rows.height == 4
    assert len(read.notes) == 1
