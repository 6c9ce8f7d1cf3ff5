"""Frame tables by hand, and the detectors over them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import polars as pl
import pytest

from argus_assets.common.tables import Table
from argus_assets.faults.config import FaultConfig
from argus_assets.faults.detection import Findings, find_events
from argus_assets.recordings.drive import Drive
from argus_assets.recordings.model import TopicKey
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS

START_NS = 1_790_000_000 * 10**9
"""Times in these tests count from here."""


class Can(NamedTuple):
    """One CAN frame of a test; an identifier above 11 bits is an extended one."""

    time_ns: int
    arbitration_id: int
    payload: bytes
    channel: str = "CAN1"
    is_error_frame: bool | None = False
    is_remote_frame: bool | None = False


@pytest.fixture(scope="session")
def can() -> type[Can]:
    return Can


@pytest.fixture(scope="session")
def spoken(can) -> Callable[..., list[Can]]:
    """Segment a message by ISO-TP into classic frames, 10 ms apart (a plain sender: no flow control)."""

    def segment(time_ns: int, arbitration_id: int, payload: bytes | str, channel: str = "CAN1") -> list[Can]:
        payload = bytes.fromhex(payload) if isinstance(payload, str) else payload
        if len(payload) <= 7:
            frames = [bytes([len(payload)]) + payload]
        else:
            frames = [(0x1000 | len(payload)).to_bytes(2, "big") + payload[:6]]
            for number, at in enumerate(range(6, len(payload), 7), 1):
                frames.append(bytes([0x20 | number % 16]) + payload[at : at + 7])
        return [
            can(time_ns + 10_000_000 * n, arbitration_id, frame.ljust(8, b"\xcc"), channel)
            for n, frame in enumerate(frames)
        ]

    return segment


def _table(table: Table, rows: list[dict[str, Any]], recording: str) -> pl.LazyFrame:
    for number, row in enumerate(rows):
        row.setdefault("frame", number)
    schema = {**table.schema, "timestamp": pl.Int64()}
    frame = table.cast(pl.DataFrame(rows, schema={**schema, "channel": pl.String()}))
    return frame.lazy().with_columns(recording=pl.lit(recording))


@pytest.fixture(scope="session")
def can_table() -> Callable[..., pl.LazyFrame]:
    """Build a frame table with `recording`, frames numbered in the order given."""

    def build(frames: Iterable[Can], recording: str = "drive.mf4") -> pl.LazyFrame:
        rows = [
            {
                "timestamp": START_NS + f.time_ns,
                "channel": f.channel,
                "kind": "can",
                "arbitration_id": f.arbitration_id,
                "is_extended_id": f.arbitration_id > 0x7FF,
                "is_fd": len(f.payload) > 8,
                "is_remote_frame": f.is_remote_frame,
                "is_error_frame": f.is_error_frame,
                "is_rx": True,
                "dlc": min(len(f.payload), 15),
                "payload": f.payload,
            }
            for f in frames
        ]
        return _table(FRAMES, rows, recording)

    return build


@pytest.fixture(scope="session")
def message_table() -> Callable[..., pl.LazyFrame]:
    """Build a frame table of messages that are not CAN: (time_ns, channel, kind, payload)."""

    def build(messages: Iterable[tuple[int, str, str, bytes]], recording: str = "drive.mcap") -> pl.LazyFrame:
        rows = [
            {"timestamp": START_NS + time_ns, "channel": channel, "kind": kind, "payload": payload}
            for time_ns, channel, kind, payload in messages
        ]
        return _table(FRAMES, rows, recording)

    return build


@pytest.fixture(scope="session")
def log_table() -> Callable[..., pl.LazyFrame]:
    """Build a log table from (time_ns, level, name, message)."""

    def build(entries: Iterable[tuple[int, int, str, str]], recording: str = "drive.mcap") -> pl.LazyFrame:
        rows = [
            {
                "timestamp": START_NS + time_ns,
                "channel": "/rosout",
                "level": level,
                "name": name,
                "message": message,
                "file": "",
                "line": 0,
            }
            for time_ns, level, name, message in entries
        ]
        return _table(LOGS, rows, recording)

    return build


@pytest.fixture(scope="session")
def diagnostic_table() -> Callable[..., pl.LazyFrame]:
    """Build a diagnostics table from (time_ns, level, name, message, {key: value})."""

    def build(
        statuses: Iterable[tuple[int, int, str, str, dict[str, str]]], recording: str = "drive.mcap"
    ) -> pl.LazyFrame:
        rows = [
            {
                "timestamp": START_NS + time_ns,
                "channel": "/diagnostics",
                "level": level,
                "name": name,
                "message": message,
                "hardware_id": "",
                "values": [{"key": key, "value": value} for key, value in values.items()],
            }
            for time_ns, level, name, message, values in statuses
        ]
        return _table(DIAGNOSTICS, rows, recording)

    return build


@pytest.fixture(scope="session")
def find(can_table, log_table, diagnostic_table) -> Callable[..., Findings]:
    """All detectors; tables that are not given are empty."""

    def run(
        frames: pl.LazyFrame | None = None,
        logs: pl.LazyFrame | None = None,
        diagnostics: pl.LazyFrame | None = None,
        topics: Mapping[TopicKey, pl.LazyFrame] | None = None,
        config: FaultConfig | None = None,
    ) -> Findings:
        return find_events(
            Drive(
                can_table([]) if frames is None else frames,
                log_table([]) if logs is None else logs,
                diagnostic_table([]) if diagnostics is None else diagnostics,
                topics or {},
            ),
            config,
        )

    return run
