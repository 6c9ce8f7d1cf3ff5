"""Simulated drives, and what the formats' own libraries read from them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import can
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from argus_assets.simulate.fleet import Drive, simulate_drive, simulate_fleet
from argus_assets.simulate.scenarios import SCENARIOS
from tests.support.values import VIN
from tests.support.wire_oracles import (
    Frame,
    Report,
    dm_reports,
    error_reports,
    isotp_messages,
    obd_reports,
    rule_reports,
    silence_reports,
    software_reports,
    uds_reports,
)

STARTED_NS = 1_795_000_000_123_456_789
"""No whole second, so that a lost fraction is seen."""
SECONDS = 30.0


class RosMessage(NamedTuple):
    """One decoded message of an MCAP file."""

    log_time_ns: int
    topic: str
    schema: str
    content: Any


def _mcap_messages(path: Path) -> Iterator[RosMessage]:
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        for schema, channel, message, content in reader.iter_decoded_messages():
            assert schema is not None
            yield RosMessage(message.log_time, channel.topic, schema.name, content)


def _mdf4_frames(path: Path) -> Iterator[Frame]:
    with can.MF4Reader(path) as reader:
        for m in reader:
            yield Frame(
                m.timestamp - STARTED_NS / 1e9, m.arbitration_id, m.is_extended_id, bytes(m.data), m.is_error_frame
            )


def _frames(drive: Drive) -> list[Frame]:
    if drive.platform == "truck":
        return [frame for path in drive.files for frame in _mdf4_frames(path)]
    return [
        Frame(
            (m.log_time_ns - STARTED_NS) / 1e9,
            m.content.id,
            m.content.is_extended,
            bytes(m.content.data)[: m.content.dlc],
            m.content.is_error,
        )
        for path in drive.files
        for m in _mcap_messages(path)
        if m.schema == "can_msgs/msg/Frame"
    ]


@pytest.fixture(scope="session")
def read_mcap() -> Callable[[Path], Iterator[RosMessage]]:
    """Messages by `mcap` and `mcap_ros2`, checksums validated."""
    return _mcap_messages


@pytest.fixture(scope="session")
def read_can() -> Callable[[Drive], list[Frame]]:
    """CAN frames of a drive by python-can (MDF4) or `mcap_ros2` (MCAP), seconds since `STARTED_NS`."""
    return _frames


@pytest.fixture(scope="session")
def make_drive(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Drive]:
    """Simulate one drive into a new folder."""

    def make(scenario: str, seed: int = 1, **changes: Any) -> Drive:
        arguments: dict[str, Any] = {
            "vehicle_id": "v-1", "vin": VIN, "release": "1", "batch_id": "b-1",
            "started_ns": STARTED_NS, "seconds": max(SECONDS, SCENARIOS[scenario].shortest_s),
        }  # fmt: skip
        folder = tmp_path_factory.mktemp("drive") / "d"
        return simulate_drive(folder, scenario=scenario, seed=seed, **(arguments | changes))

    return make


@pytest.fixture(scope="session")
def fleet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fleet")


@pytest.fixture(scope="session")
def fleet(fleet_folder: Path) -> list[Drive]:
    """All scenarios once."""
    return simulate_fleet(fleet_folder, seed=7, started_ns=STARTED_NS, seconds=50)


@pytest.fixture(scope="session")
def reports_of() -> Callable[[Drive], list[Report]]:
    """What a drive's bytes report, by oracles."""

    def read(drive: Drive) -> list[Report]:
        frames = _frames(drive)
        reports = error_reports(frames) + silence_reports(frames, frames[-1].time_s)
        match drive.platform:
            case "truck":
                reports += dm_reports(frames)
            case "car":
                messages = isotp_messages(frames)
                reports += obd_reports(messages) + uds_reports(messages)
            case _:
                decoded = [m for path in drive.files for m in _mcap_messages(path)]
                reports += software_reports(decoded, STARTED_NS) + rule_reports(decoded, STARTED_NS)
        return sorted(reports)

    return read
