"""Recorded readings of motion: counters, speeds and positions of CAN frames and topics.

`distance.py` and `speed.py` evaluate them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import polars as pl

from argus_assets.faults.can_frames import IS_EXTENDED, byte, data_frames
from argus_assets.recordings.drive import Drive
from argus_assets.stats.motion import F64, I64

_ID: Final = pl.col("arbitration_id")
OBD_ANSWERS: Final = (~IS_EXTENDED & _ID.is_between(0x7E8, 0x7EF)) | (IS_EXTENDED & ((_ID & ~0xFF) == 0x18DAF100))
"""Answers of ECUs to an OBD tester (ISO 15765-4, 10.5)."""


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings of one sender or topic.

    Attributes:
        signal: Its name.
        time_ns: Ascending.
        values: One row for each reading: a counter or speed, or latitude and longitude.
    """

    signal: str
    time_ns: I64
    values: F64


def longest(found: Iterator[Readings]) -> Readings | None:
    """Return the series with the most readings, at least two; of several, the first by name."""
    best = min(found, key=lambda r: (-len(r.time_ns), r.signal), default=None)
    return best if best is not None and len(best.time_ns) >= 2 else None


# ---------------------------------------------------------------------------------------------- CAN


@dataclass(frozen=True, slots=True)
class CanValue:
    """A number in some CAN frames.

    Attributes:
        wanted: Filter for its frames.
        sender_mask: Bits of the identifier that identify the sender.
        sender: Format of a sender's name, given those bits.
        first: Index of its first byte, from 0.
        count: Number of its bytes.
        is_little_endian: Least significant byte first.
        factor: Unit of the raw number.
        highest: Highest raw number that is a valid reading.
    """

    wanted: pl.Expr
    sender_mask: int
    sender: str
    first: int
    count: int
    is_little_endian: bool
    factor: float
    highest: int

    def readings(self, frames: pl.DataFrame) -> Iterator[Readings]:
        """Yield the readings of each sender on each channel."""
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
            yield Readings(
                f"{self.sender.format(sender)} on {channel}",
                of_one["timestamp"].to_numpy(),
                of_one.select(pl.col("raw") * self.factor).to_numpy(),
            )


def _j1939(pgn: int, first: int, count: int, factor: float) -> CanValue:
    """Describe a number of a broadcast parameter group (SAE J1939-21, 5.2).

    Raw numbers whose highest byte is above 0xFA are indicators, errors and "not available" (J1939-71 5.1.4).
    """
    wanted = IS_EXTENDED & ((pl.col("arbitration_id") & 0x03FFFF00) == pgn << 8)
    highest = 0xFB << 8 * (count - 1)
    return CanValue(
        wanted, 0xFF, "SA 0x{:02X}", first, count, is_little_endian=True, factor=factor, highest=highest - 1
    )


def _obd(pid: int, count: int, factor: float) -> CanValue:
    """Describe the number in the answer to a service 01 PID, in a single frame of its own (SAE J1979-DA)."""
    return CanValue(
        # Length, answer to service 01, PID, then its bytes.
        OBD_ANSWERS & (byte(0) == 2 + count) & (byte(1) == 0x41) & (byte(2) == pid),
        sender_mask=0x1FFFFFFF,
        sender="0x{:X}",
        first=3,
        count=count,
        is_little_endian=False,
        factor=factor,
        highest=2 ** (8 * count) - 1,
    )


HIGH_RESOLUTION_KM: Final = _j1939(65217, first=0, count=4, factor=0.005)
VEHICLE_DISTANCE_KM: Final = _j1939(65248, first=4, count=4, factor=0.125)
WHEEL_SPEED_KMH: Final = _j1939(65265, first=1, count=2, factor=1 / 256)
OBD_ODOMETER_KM: Final = _obd(0xA6, count=4, factor=0.1)
OBD_SPEED_KMH: Final = _obd(0x0D, count=1, factor=1.0)

_WANTED: Final = (
    HIGH_RESOLUTION_KM.wanted
    | VEHICLE_DISTANCE_KM.wanted
    | WHEEL_SPEED_KMH.wanted
    | OBD_ODOMETER_KM.wanted
    | OBD_SPEED_KMH.wanted
)


def motion_frames(drive: Drive) -> pl.DataFrame:
    """Return the CAN frames of a drive that any `CanValue` of this module reads, in one pass."""
    return data_frames(drive.frames, _WANTED).collect()


# ---------------------------------------------------------------------------------------------- topics

_POSITIONS: Final = ("NavSatFix", "GPSFix", "LocationFix")
_NO_FIX: Final = -1
"""sensor_msgs/msg/NavSatStatus and gps_msgs/msg/GPSStatus: no position could be determined."""


def named(drive: Drive, name: re.Pattern[str]) -> Iterator[tuple[re.Match[str], str, str, str, pl.LazyFrame]]:
    """Yield numbers of topics and signals whose name in snake case matches: match, topic, column, schema and rows."""
    for (topic, schema), rows in drive.topics.items():
        for column, dtype in rows.collect_schema().items():
            # A message with a single value is named by its topic.
            last = re.split(r"[./]", topic if column in ("data", "value") else column)[-1]
            if dtype.is_numeric() and (found := name.search(_snake_case(last))):
                yield found, topic, column, schema, rows


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def positions(drive: Drive) -> Iterator[Readings]:
    """Yield the positions of each receiver that had any."""
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
            # Sent before the first fix; no vehicle drives there.
            & ((latitude != 0) | (longitude != 0))
        )
        yield read(valid, topic, latitude, longitude)


def read(rows: pl.LazyFrame, signal: str, *values: pl.Expr) -> Readings:
    """Read a topic; values that are not finite numbers are dropped."""
    numbers = [value.cast(pl.Float64).alias(str(n)) for n, value in enumerate(values)]
    table = (
        rows.select(pl.col("timestamp").dt.timestamp("ns"), *numbers)
        .filter(pl.all_horizontal(pl.exclude("timestamp").is_finite()))
        .sort("timestamp")
        .collect()
    )
    return Readings(signal, table["timestamp"].to_numpy(), table.drop("timestamp").to_numpy())
