"""Distance of a drive, by the most trusted source that was recorded.

| source | what | bytes |
|---|---|---|
| `j1939_high_resolution_distance` | PGN 65217 VDHR, SPN 917, 5 m a bit (SAE J1939-71) | 1 to 4 |
| `j1939_vehicle_distance` | PGN 65248 VD, SPN 245, 0.125 km a bit (SAE J1939-71) | 5 to 8 |
| `obd_odometer` | service 01 PID A6, 0.1 km a bit (SAE J1979-DA), in a single frame of its own | 4 to 7 |
| `odometer_signal` | a topic or signal named odometer, mileage or total distance | |
| `gnss` | positions: `NavSatFix`, `GPSFix`, `LocationFix` | |
| `wheel_speed` | PGN 65265 CCVS, SPN 84, 1/256 km/h a bit (SAE J1939-71), summed over time | 2 and 3 |

A source needs two readings, most of which must be possible. Of several senders or topics, the one with the most readings
counts. An odometer includes what was driven between two recordings, and positions bridge it in a straight line; wheel
speed does not.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import polars as pl

from argus_assets.recordings.drive import Drive
from argus_assets.stats import readings as recorded
from argus_assets.stats.motion import counted_km, integrated_km, track_km
from argus_assets.stats.readings import CanValue, Readings


@dataclass(frozen=True, slots=True)
class Distance:
    """Distance of a drive.

    Attributes:
        km: Kilometres.
        source: One of `schema.DISTANCE_SOURCES`.
        signal: Its sender and channel, or its topic.
    """

    km: float
    source: str
    signal: str


def measure(drive: Drive, frames: pl.DataFrame | None = None) -> Distance | None:
    """Measure the distance of a drive; `None` when no recorded source gives it.

    CAN frames are read once, and only those with the identifiers above; topics only when they are needed.

    Args:
        drive: What was recorded.
        frames: Its `readings.motion_frames`, if already read.
    """
    frames = recorded.motion_frames(drive) if frames is None else frames
    for source, find, km in _WAYS:
        best = recorded.longest(find(drive, frames))
        if best is not None and (driven := km(best)) is not None:
            return Distance(driven, source, best.signal)
    return None


_ODOMETER_NAME: Final = re.compile(
    r"(?:^|_)(?:odometer|odo|mileage|(?:total_)?vehicle_distance|total_distance)(?:_(km|m|meters|metres|mi|miles))?$"
)
_KM_OF: Final = {"km": 1.0, "m": 1e-3, "meters": 1e-3, "metres": 1e-3, "mi": 1.609344, "miles": 1.609344}
_SIGNAL_RESOLUTION_KM: Final = 1.0
"""Many odometer signals count whole kilometres."""


def _odometer_signals(drive: Drive) -> Iterator[Readings]:
    """Yield odometers by name, in kilometres.

    The unit is that of the name (`odometer_km`); by default, metres in a message of a robot (ROS REP 103) and kilometres
    in a signal of a vehicle's bus.
    """
    for found, topic, column, schema, rows in recorded.named(drive, _ODOMETER_NAME):
        unit = found[1] or ("m" if "/" in schema or schema.startswith("foxglove.") else "km")
        yield recorded.read(rows, f"{topic} {column}", pl.col(column).cast(pl.Float64) * _KM_OF[unit])


def _counter(value: CanValue) -> Callable[[Readings], float | None]:
    """Return a function that measures the distance by a counter of kilometres in CAN frames."""
    return lambda r: counted_km(
        r.time_ns,
        r.values[:, 0],
        resolution_km=value.factor,
        modulus_km=(value.highest + 1) * value.factor,
    )


_WAYS: Final[
    tuple[tuple[str, Callable[[Drive, pl.DataFrame], Iterator[Readings]], Callable[[Readings], float | None]], ...]
] = (
    (
        "j1939_high_resolution_distance",
        lambda _, frames: recorded.HIGH_RESOLUTION_KM.readings(frames),
        _counter(recorded.HIGH_RESOLUTION_KM),
    ),
    (
        "j1939_vehicle_distance",
        lambda _, frames: recorded.VEHICLE_DISTANCE_KM.readings(frames),
        _counter(recorded.VEHICLE_DISTANCE_KM),
    ),
    (
        "obd_odometer",
        lambda _, frames: recorded.OBD_ODOMETER_KM.readings(frames),
        _counter(recorded.OBD_ODOMETER_KM),
    ),
    (
        "odometer_signal",
        lambda drive, _: _odometer_signals(drive),
        lambda r: counted_km(r.time_ns, r.values[:, 0], resolution_km=_SIGNAL_RESOLUTION_KM),
    ),
    (
        "gnss",
        lambda drive, _: recorded.positions(drive),
        lambda r: track_km(r.time_ns, r.values[:, 0], r.values[:, 1]),
    ),
    (
        "wheel_speed",
        lambda _, frames: recorded.WHEEL_SPEED_KMH.readings(frames),
        lambda r: integrated_km(r.time_ns, r.values[:, 0]),
    ),
)
"""Source, its readings, and the distance by these, most trusted first."""
