"""How far a drive went, from frames and topics: the most trusted source that says anything, and only what it says."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.simulate.can import speed_profile
from argus_assets.stats.distance import Distance, measure
from argus_assets.stats.schema import DISTANCE_SOURCES
from tests.support.drives import made_drive
from tests.support.motion import CCVS, ERROR, NOT_AVAILABLE, OBD, VD, VDHR, ccvs, drive_of, topic
from tests.support.stats_tables import NO_DEADLINE


def vdhr(raw: int) -> bytes:
    return struct.pack("<II", raw, NOT_AVAILABLE)


def vd(raw: int) -> bytes:
    """Trip distance, then total distance."""
    return struct.pack("<II", NOT_AVAILABLE, raw)


def pid_a6(km: float) -> bytes:
    return struct.pack(">BBBIB", 6, 0x41, 0xA6, round(km * 10), 0xAA)


FRAMES_BY_SOURCE = {
    "j1939_high_resolution_distance": [(n, VDHR, vdhr(200_000 + 4 * n)) for n in range(11)],
    "j1939_vehicle_distance": [(n * 10, VD, vd(8_000 + 2 * n)) for n in range(5)],
    "obd_odometer": [(n * 10, OBD, pid_a6(54_321 + n / 10)) for n in range(4)],
    "wheel_speed": [(n / 10, CCVS, ccvs(72)) for n in range(101)],
}
TOPICS_BY_SOURCE = {
    "odometer_signal": {("CAN1 Odometer", "mdf4.signals"): topic(range(3), Odometer=[100.0, 100.2, 100.4])},
    "gnss": {
        ("/gps/fix", "sensor_msgs/msg/NavSatFix"): topic(
            range(61), **{"status.status": [0] * 61, "latitude": [48 + n / 7200 for n in range(61)], "longitude": [11.0] * 61}
        )
    },
}  # fmt: skip
KM = {
    "j1939_high_resolution_distance": 0.2,
    "j1939_vehicle_distance": 1.0,
    "obd_odometer": 0.3,
    "odometer_signal": 0.4,
    "gnss": 1.853 / 2,
    "wheel_speed": 0.2,
}


@NO_DEADLINE
@given(st.sets(st.sampled_from(DISTANCE_SOURCES)), st.randoms(use_true_random=False))
def test_the_most_trusted_source_counts(sources, shuffled):
    """Whatever else was recorded, in whatever order."""
    frames = [frame for source in sources for frame in FRAMES_BY_SOURCE.get(source, [])]
    shuffled.shuffle(frames)
    topics = {key: rows for source in sources for key, rows in TOPICS_BY_SOURCE.get(source, {}).items()}
    found = measure(drive_of(*frames, topics=topics))
    best = next((source for source in DISTANCE_SOURCES if source in sources), None)
    assert (found and found.source) == best
    if found and best:
        assert found.km == pytest.approx(KM[best], rel=1e-3)


@pytest.mark.parametrize(
    ("source", "signal"),
    [
        ("j1939_high_resolution_distance", "SA 0x27 on CAN1"),
        ("obd_odometer", "0x7E8 on CAN1"),
        ("odometer_signal", "CAN1 Odometer Odometer"),
        ("gnss", "/gps/fix"),
    ],
)
def test_a_distance_names_who_sent_it(source, signal):
    found = measure(drive_of(*FRAMES_BY_SOURCE.get(source, []), topics=TOPICS_BY_SOURCE.get(source)))
    assert found is not None
    assert found.signal == signal


@NO_DEADLINE
@given(st.lists(st.sampled_from([NOT_AVAILABLE, ERROR, 0xFB000000, 0xFFFFFFFE]), min_size=1), st.data())
def test_what_is_not_available_is_never_a_distance(invalid, data):
    good = FRAMES_BY_SOURCE["j1939_high_resolution_distance"]
    bad = [(data.draw(st.floats(0, 10)), VDHR, vdhr(raw)) for raw in invalid]
    assert measure(drive_of(*bad)) is None
    assert measure(drive_of(*good, *bad)) == measure(drive_of(*good))


@pytest.mark.parametrize("payload", [b"", b"\x01", vdhr(1)[:3]])
def test_short_frames_say_nothing(payload):
    assert measure(drive_of((0, VDHR, payload), (1, VDHR, payload), (2, CCVS, b"\xff\x00"), (3, CCVS, b""))) is None


@pytest.mark.parametrize("flag", ["is_error_frame", "is_remote_frame"])
def test_error_and_remote_frames_say_nothing(flag):
    assert measure(drive_of(*FRAMES_BY_SOURCE["j1939_high_resolution_distance"], **{flag: True})) is None


def test_one_reading_gives_way_to_the_next_source():
    found = measure(drive_of((0, VDHR, vdhr(5)), *FRAMES_BY_SOURCE["wheel_speed"]))
    assert found is not None
    assert found.source == "wheel_speed"


def test_of_two_senders_the_one_with_more_readings_is_taken():
    more = [(n / 2, VDHR & ~0xFF | 0x31, vdhr(8_000 + 2 * n)) for n in range(21)]
    found = measure(drive_of(*FRAMES_BY_SOURCE["j1939_high_resolution_distance"], *more))
    assert found == Distance(pytest.approx(0.2), "j1939_high_resolution_distance", "SA 0x31 on CAN1")


@pytest.mark.parametrize(
    ("key", "columns", "km"),
    [
        (("/odometer", "std_msgs/msg/Float64"), {"data": [1000.0, 1015.0, 1030.0]}, 0.030),
        (("/status", "acme_msgs/msg/Vehicle"), {"dash.odometer_km": [10.0, 10.02, 10.05]}, 0.05),
        (("Dash", "mdf4.signals"), {"TotalVehicleDistance": [10, 10, 11]}, 1.0),
        (("Dash", "mdf4.signals"), {"mileage_mi": [10.0, 10.1, 10.2]}, 0.2 * 1.609344),
        (("/odometer", "std_msgs/msg/Float64"), {"data": [float("nan"), 5.0, 20.0]}, 0.015),
        (("Dash", "mdf4.signals"), {"Odometer": [100_000, 100_100, 100_200]}, None),  # metres that are not named so
        (("/odom", "nav_msgs/msg/Odometry"), {"pose.pose.position.x": [1.0, 2.0, 3.0]}, None),
        (("/odometer", "std_msgs/msg/String"), {"data": ["a", "b", "c"]}, None),
        (("/fix", "sensor_msgs/msg/NavSatFix"), {"latitude": ["x", "y", "z"], "longitude": [1.0, 2.0, 3.0]}, None),
        (("/goal", "geographic_msgs/msg/GeoPoint"), {"latitude": [1.0, 2.0, 3.0], "longitude": [1.0, 2.0, 3.0]}, None),
    ],
)
def test_an_odometer_is_known_by_its_name_and_its_unit(key, columns, km):
    found = measure(drive_of(topics={key: topic([0, 5, 10], **columns)}))
    assert (found and found.km) == (km if km is None else pytest.approx(km))


@pytest.mark.parametrize(
    ("latitude", "longitude", "status"),
    [(0.0, 0.0, 0), (float("nan"), 11.0, 0), (95.0, 11.0, 0), (48.0, None, 0), (50.0, 12.0, -1), (50.0, 12.0, None)],
)
def test_positions_without_a_fix_are_left_out(latitude, longitude, status):
    seconds = range(61)
    columns = {
        "latitude": [latitude if n % 3 == 1 else 48 + n / 7200 for n in seconds],
        "longitude": [longitude if n % 3 == 1 else 11.0 for n in seconds],
        "status.status": [status if n % 3 == 1 else 0 for n in seconds],
    }
    found = measure(drive_of(topics={("/fix", "sensor_msgs/msg/NavSatFix"): topic(seconds, **columns)}))
    assert found is not None
    assert found.km == pytest.approx(KM["gnss"], rel=1e-3)


def test_a_location_fix_of_foxglove_needs_no_status():
    rows = topic(range(61), latitude=[48 + n / 7200 for n in range(61)], longitude=[11.0] * 61)
    found = measure(drive_of(topics={("/location", "foxglove.LocationFix"): rows}))
    assert found == Distance(pytest.approx(KM["gnss"], rel=1e-3), "gnss", "/location")


def test_the_simulated_truck_drove_what_its_wheels_say(tmp_path: Path):
    totals = made_drive(tmp_path, "truck_oil_pressure").totals.row(0, named=True)
    at = np.linspace(0, 30, 3001)
    assert totals["distance_source"] == "j1939_high_resolution_distance"
    assert totals["distance_signal"] == "SA 0x17 on CAN1"
    assert totals["distance_km"] == pytest.approx(np.trapezoid(speed_profile(at, 30, 85), at) / 3600, abs=0.03)
    assert totals["recorded_h"] * 3600 == pytest.approx(30, abs=0.1)
