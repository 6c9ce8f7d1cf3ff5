"""The speed of a drive over its time: the most trusted source, thinned without losing where the drive went fast."""

import struct

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.simulate.can import speed_profile
from argus_assets.stats.motion import EARTH_RADIUS_KM, MAX_SPEED_KMH, track_kmh
from argus_assets.stats.schema import SPEED, SPEED_SOURCES
from argus_assets.stats.speed import MAX_POINTS, speed_series
from tests.support.drives import made_drive
from tests.support.motion import CCVS, OBD, START, S, ccvs, drive_of, topic
from tests.support.stats_tables import NO_DEADLINE

FIX = ("/fix", "sensor_msgs/msg/NavSatFix")


def obd_speed(kmh: int) -> bytes:
    return struct.pack(">BBBB4x", 3, 0x41, 0x0D, kmh)


def by_source(source: str) -> dict:
    """The frames and topics of one source that tell 36 km/h."""
    degrees_a_second = np.degrees(0.01 / EARTH_RADIUS_KM)
    return {
        "j1939_wheel_speed": {"frames": [(at, CCVS, ccvs(36)) for at in range(4)]},
        "obd_speed": {"frames": [(at, OBD, obd_speed(36)) for at in range(4)]},
        "speed_signal": {
            "topics": {("bus", "dbc"): topic(range(4), VehicleSpeed_kmh=[36.0] * 4)},
        },
        "gnss": {
            "topics": {
                FIX: topic(range(4), latitude=[50 + n * degrees_a_second for n in range(4)], longitude=[8.0] * 4)
            }
        },
    }[source]


@pytest.mark.parametrize("source", SPEED_SOURCES)
def test_each_source_tells_the_speed(source: str) -> None:
    given = by_source(source)
    speed = speed_series(drive_of(*given.get("frames", []), topics=given.get("topics")))
    assert SPEED.check(speed)["source"].unique().to_list() == [source]
    assert speed["speed_kmh"].to_numpy() == pytest.approx(36, abs=1e-3)


def test_the_most_trusted_source_is_taken() -> None:
    seen = []
    for first in range(len(SPEED_SOURCES)):
        rest = [by_source(source) for source in SPEED_SOURCES[first:]]
        frames = [frame for one in rest for frame in one.get("frames", [])]
        topics = {key: rows for one in rest for key, rows in one.get("topics", {}).items()}
        seen += speed_series(drive_of(*frames, topics=topics))["source"].unique().to_list()
    assert seen == list(SPEED_SOURCES)


@pytest.mark.parametrize(
    ("name", "kmh"),
    [
        ("vehicle_speed_mps", 36.0), ("speed_kmh", 10.0), ("longitudinal_velocity_m_s", 36.0), ("speed_mph", 16.09344),
        ("vehicle_speed", None), ("fan_speed_kmh_limit", None), ("speed_limit_kmh", None),
    ],
)  # fmt: skip
def test_a_name_needs_a_unit(name: str, kmh: float | None) -> None:
    speed = speed_series(drive_of(topics={("bus", "dbc"): topic([0, 1], **{name: [10.0, -10.0]})}))
    assert speed["speed_kmh"].to_list() == ([] if kmh is None else pytest.approx([kmh, kmh]))


def test_what_no_vehicle_drives_and_what_is_not_available_are_left_out() -> None:
    bad = [(at, CCVS, payload) for at, payload in enumerate((b"\xff\xff\xff", b"\xff\x00\xfe", b"\xff"))]
    assert speed_series(drive_of(*bad)).is_empty()
    fast = topic([0, 1, 2], speed_kmh=[10.0, MAX_SPEED_KMH + 1, 30.0])
    assert speed_series(drive_of(topics={("bus", "dbc"): fast}))["speed_kmh"].to_list() == [10.0, 30.0]


def test_positions_far_apart_in_time_tell_no_speed() -> None:
    speed = track_kmh(np.array([0, 1, 30, 31]) * S, np.array([50.0, 50.0, 50.01, 50.01]), np.full(4, 8.0))
    assert [array.tolist() for array in speed] == [[1 * S, 31 * S], [0.0, 0.0]]


@NO_DEADLINE
@given(st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 250)), min_size=2, max_size=1500))
def test_thinning_keeps_the_time_and_the_range(rows: list[tuple[int, int]]) -> None:
    rows.sort()
    speed = speed_series(drive_of(*((at, CCVS, ccvs(kmh)) for at, kmh in rows)))
    assert 1 <= speed.height <= MAX_POINTS
    at = (speed["timestamp"].dt.timestamp("ns") - START) / S
    assert at.is_sorted()
    assert {round(t, 6) for t in at} <= {float(t) for t, _ in rows}
    kmh = [v for _, v in rows]
    assert min(kmh) - 0.01 <= speed["speed_kmh"].min() <= speed["speed_kmh"].max() <= max(kmh) + 0.01
    if len({t for t, _ in rows}) == len(rows) <= 2:
        assert speed["speed_kmh"].to_list() == pytest.approx(kmh, abs=1 / 256)


def test_a_simulated_truck_went_as_fast_as_it_was_driven(tmp_path) -> None:
    speed = made_drive(tmp_path, "truck_healthy", seconds=60).speed
    at = (speed["timestamp"] - speed["timestamp"][0]).dt.total_nanoseconds().to_numpy() / 1e9
    driven = speed_profile(at, 60.0, 85.0)
    assert speed["speed_kmh"].to_numpy() == pytest.approx(driven, abs=1.5)
    assert isinstance(speed, pl.DataFrame)
