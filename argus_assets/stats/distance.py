"""How far a drive went, by the most trusted thing that it recorded.

| source | what | of a message |
|---|---|---|
| `j1939_high_resolution_distance` | PGN 65217 VDHR, SPN 917, 5 m a bit (SAE J1939-71) | bytes 1 to 4 |
| `j1939_vehicle_distance` | PGN 65248 VD, SPN 245, 0.125 km a bit (SAE J1939-71) | bytes 5 to 8 |
| `obd_odometer` | service 01 PID A6, 0.1 km a bit (SAE J1979-DA), in a single frame of its own | bytes 4 to 7 |
| `odometer_signal` | a topic or signal that is named odometer, mileage or total distance | |
| `gnss` | positions: `NavSatFix`, `GPSFix`, `LocationFix` | |
| `wheel_speed` | PGN 65265 CCVS, SPN 84, 1/256 km/h a bit (SAE J1939-71), summed over time | bytes 2 and 3 |

A source counts from two readings on, unless most of what it tells is impossible. Of several senders or topics the one with the most readings is taken. An odometer
also knows what was driven between two recordings, and positions bridge it in a straight line; wheel speed does not.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import polars as pl

from argus_assets.faults.can import IS_EXTENDED, byte, data_frames
from argus_assets.recordings.drive import Drive
from argus_assets.stats.motion import F64, I64, counted_km, integrated_km, track_km

_ID: Final = pl.col("arbitration_id")
_OBD_ANSWERS: Final = (~IS_EXTENDED & _ID.is_between(0x7E8, 0x7EF)) | (IS_EXTENDED & ((_ID & ~0xFF) == 0x18DAF100))
"""Answers of ECUs to an OBD tester (ISO 15765-4, 10.5)."""


@dataclass(frozen=True, slots=True)
class Distance:
    """How far a drive went.

    Attributes:
        km: Kilometres.
        source: One of `schema.DISTANCE_SOURCES`.
        signal: Who sent it, on which channel or topic.
    """

    km: float
    source: str
    signal: str


@dataclass(frozen=True, slots=True)
class _Readings:
    """What one sender or topic says.

    Attributes:
        signal: Its name.
        time_ns: Ascending.
        values: One row for each reading: a counter or speed, or latitude and longitude.
    """

    signal: str
    time_ns: I64
    values: F64


def measure(drive: Drive) -> Distance | None:
    """Measure a drive; `None` when nothing that was recorded tells how far it went.

    CAN frames are read once, and only those of the identifiers above; topics only as far as they are needed.
    """
    frames = data_frames(drive.frames, _WANTED).collect()
    for source, find, km in _WAYS:
        best = min(find(drive, frames), key=lambda r: (-len(r.time_ns), r.signal), default=None)
        if best is not None and len(best.time_ns) >= 2 and (driven := km(best)) is not None:
            return Distance(driven, source, best.signal)
    return None


# ---------------------------------------------------------------------------------------------- CAN


@dataclass(frozen=True, slots=True)
class _CanValue:
    """A number in some CAN frames.

    Attributes:
        wanted: Which frames.
        sender_mask: Bits of the identifier that tell senders apart.
        sender: How a sender is named, a format of those bits.
        first: Place of its first byte, from 0.
        count: Its bytes.
        is_little_endian: Least significant byte first.
        factor: Unit of the raw number.
        highest: Highest raw number that is a reading.
    """

    wanted: pl.Expr
    sender_mask: int
    sender: str
    first: int
    count: int
    is_little_endian: bool
    factor: float
    highest: int

    def readings(self, frames: pl.DataFrame) -> Iterator[_Readings]:
        """The readings of each sender on each channel."""
        order = range(self.count) if self.is_little_endian else reversed(range(self.count))
        raw = pl.sum_horizontal(
            (byte(self.first + place) * (1 << 8 * power) for power, place in enumerate(order)), ignore_nulls=False
        )
        rows = (
            frames.filter(self.wanted)
            .select("channel", "timestamp", sender=pl.col("arbitration_id") & self.sender_mask, raw=raw)
            .filter(pl.col("raw") <= self.highest)
            .sort("channel", "sender", "timestamp")
        )
        for (channel, sender), of_one in rows.partition_by("channel", "sender", as_dict=True).items():
            yield _Readings(
                f"{self.sender.format(sender)} on {channel}",
                of_one["timestamp"].to_numpy(),
                of_one.select(pl.col("raw") * self.factor).to_numpy(),
            )

    def km(self, readings: _Readings) -> float | None:
        """Distance by a counter of kilometres."""
        return counted_km(
            readings.time_ns,
            readings.values[:, 0],
            resolution_km=self.factor,
            modulus_km=(self.highest + 1) * self.factor,
        )


def _j1939(pgn: int, first: int, count: int, factor: float) -> _CanValue:
    """A number of a broadcast parameter group (SAE J1939-21 5.2).

    Raw numbers whose highest byte is above 0xFA are indicators, errors and "not available" (J1939-71 5.1.4).
    """
    wanted = IS_EXTENDED & ((pl.col("arbitration_id") & 0x03FFFF00) == pgn << 8)
    highest = 0xFB << 8 * (count - 1)
    return _CanValue(
        wanted, 0xFF, "SA 0x{:02X}", first, count, is_little_endian=True, factor=factor, highest=highest - 1
    )


_HIGH_RESOLUTION: Final = _j1939(65217, first=0, count=4, factor=0.005)
_VEHICLE_DISTANCE: Final = _j1939(65248, first=4, count=4, factor=0.125)
_WHEEL_SPEED: Final = _j1939(65265, first=1, count=2, factor=1 / 256)
_OBD_ODOMETER: Final = _CanValue(
    # A single frame of six bytes: the answer to service 01, the PID and its four bytes.
    _OBD_ANSWERS & (byte(0) == 6) & (byte(1) == 0x41) & (byte(2) == 0xA6),
    sender_mask=0x1FFFFFFF,
    sender="0x{:X}",
    first=3,
    count=4,
    is_little_endian=False,
    factor=0.1,
    highest=2**32 - 1,
)
_WANTED: Final = _HIGH_RESOLUTION.wanted | _VEHICLE_DISTANCE.wanted | _WHEEL_SPEED.wanted | _OBD_ODOMETER.wanted


# ---------------------------------------------------------------------------------------------- topics

_ODOMETER_NAME: Final = re.compile(
    r"(?:^|_)(?:odometer|odo|mileage|(?:total_)?vehicle_distance|total_distance)(?:_(km|m|meters|metres|mi|miles))?$"
)
_KM_OF: Final = {"km": 1.0, "m": 1e-3, "meters": 1e-3, "metres": 1e-3, "mi": 1.609344, "miles": 1.609344}
_SIGNAL_RESOLUTION_KM: Final = 1.0
"""Many odometer signals move by whole kilometres."""

_POSITIONS: Final = ("NavSatFix", "GPSFix", "LocationFix")
_NO_FIX: Final = -1
"""sensor_msgs/msg/NavSatStatus and gps_msgs/msg/GPSStatus: no position could be determined."""


def _odometer_signals(drive: Drive) -> Iterator[_Readings]:
    """Odometers by name, in kilometres.

    The unit is that of the name (`odometer_km`); without one, metres in a message of a robot (ROS REP 103) and
    kilometres in a signal of a vehicle's bus.
    """
    for (topic, schema), rows in drive.topics.items():
        for column, dtype in rows.collect_schema().items():
            # A message of one value is named by its topic.
            name = topic if column in ("data", "value") else column
            found = _ODOMETER_NAME.search(_snake_case(re.split(r"[./]", name)[-1]))
            if found is None or not dtype.is_numeric():
                continue
            unit = found[1] or ("m" if "/" in schema or schema.startswith("foxglove.") else "km")
            yield _read(rows, f"{topic} {column}", pl.col(column).cast(pl.Float64) * _KM_OF[unit])


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _positions(drive: Drive) -> Iterator[_Readings]:
    """Positions of each receiver, as far as it had any."""
    for (topic, schema), rows in drive.topics.items():
        numbers = {column for column, dtype in rows.collect_schema().items() if dtype.is_numeric()}
        if re.split(r"[./]", schema)[-1] not in _POSITIONS or not {"latitude", "longitude"} <= numbers:
            continue
        latitude, longitude = pl.col("latitude"), pl.col("longitude")
        has_fix = pl.col("status.status") != _NO_FIX if "status.status" in numbers else pl.lit(value=True)
        valid = rows.filter(
            has_fix
            & latitude.is_between(-90, 90)
            & longitude.is_between(-180, 180)
            # What receivers send before they know: no vehicle drives there.
            & ((latitude != 0) | (longitude != 0))
        )
        yield _read(valid, topic, latitude, longitude)


def _read(rows: pl.LazyFrame, signal: str, *values: pl.Expr) -> _Readings:
    """Readings of a topic; what is no number is none."""
    numbers = [value.cast(pl.Float64).alias(str(n)) for n, value in enumerate(values)]
    table = (
        rows.select(pl.col("timestamp").dt.timestamp("ns"), *numbers)
        .filter(pl.all_horizontal(pl.exclude("timestamp").is_finite()))
        .sort("timestamp")
        .collect()
    )
    return _Readings(signal, table["timestamp"].to_numpy(), table.drop("timestamp").to_numpy())


_WAYS: Final[
    tuple[tuple[str, Callable[[Drive, pl.DataFrame], Iterator[_Readings]], Callable[[_Readings], float | None]], ...]
] = (
    ("j1939_high_resolution_distance", lambda _, frames: _HIGH_RESOLUTION.readings(frames), _HIGH_RESOLUTION.km),
    ("j1939_vehicle_distance", lambda _, frames: _VEHICLE_DISTANCE.readings(frames), _VEHICLE_DISTANCE.km),
    ("obd_odometer", lambda _, frames: _OBD_ODOMETER.readings(frames), _OBD_ODOMETER.km),
    (
        "odometer_signal",
        lambda drive, _: _odometer_signals(drive),
        lambda r: counted_km(r.time_ns, r.values[:, 0], resolution_km=_SIGNAL_RESOLUTION_KM),
    ),
    ("gnss", lambda drive, _: _positions(drive), lambda r: track_km(r.time_ns, r.values[:, 0], r.values[:, 1])),
    (
        "wheel_speed",
        lambda _, frames: _WHEEL_SPEED.readings(frames),
        lambda r: integrated_km(r.time_ns, r.values[:, 0]),
    ),
)
"""Source, its readings, and the distance by them, most trusted first."""
