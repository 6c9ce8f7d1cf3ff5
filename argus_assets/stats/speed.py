"""Speed of a drive over time, by the most trusted source that was recorded.

| source | what | bytes |
|---|---|---|
| `j1939_wheel_speed` | PGN 65265 CCVS, SPN 84, 1/256 km/h a bit (SAE J1939-71) | 2 and 3 |
| `obd_speed` | service 01 PID 0D, 1 km/h a bit (SAE J1979-DA), in a single frame of its own | 4 |
| `speed_signal` | a topic or signal named speed or velocity, with its unit: `vehicle_speed_kmh` | |
| `gnss` | distances between positions a second apart | |

Names without a unit are ignored: half of them are km/h and half are m/s. As with distances, a source needs two readings,
and of several senders the one with the most counts.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import polars as pl

from argus_assets.recordings.drive import Drive
from argus_assets.stats import readings as recorded
from argus_assets.stats.motion import MAX_SPEED_KMH, track_kmh
from argus_assets.stats.readings import Readings
from argus_assets.stats.schema import SPEED

MAX_POINTS: Final = 600
"""More than a plot as wide as a page can resolve."""

_SPEED_NAME: Final = re.compile(
    r"(?:^|_)(?:vehicle_|ground_|longitudinal_)?(?:speed|velocity)_(kmh|kph|km_h|km_per_h|mps|m_s|m_per_s|mph)$"
)
_KMH_OF: Final = {"mps": 3.6, "m_s": 3.6, "m_per_s": 3.6, "mph": 1.609344}


def speed_series(drive: Drive, frames: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return the mean speed in each of at most `MAX_POINTS` equal parts of a drive, as far as they have readings.

    Args:
        drive: What was recorded.
        frames: Its `readings.motion_frames`, if already read.

    Returns:
        `schema.SPEED`; empty when no recorded source gives it.
    """
    frames = recorded.motion_frames(drive) if frames is None else frames
    for source, find in _WAYS:
        best = recorded.longest(find(drive, frames))
        if best is not None and not (points := _thinned(best)).is_empty():
            return SPEED.cast(points.with_columns(source=pl.lit(source), signal=pl.lit(best.signal)))
    return SPEED.empty()


def _thinned(readings: Readings) -> pl.DataFrame:
    """Average the possible readings over equal parts of the time from the first to the last."""
    table = pl.DataFrame({"timestamp": readings.time_ns, "speed_kmh": readings.values[:, 0]}).filter(
        pl.col("speed_kmh").is_between(0, MAX_SPEED_KMH)
    )
    if table.is_empty():
        return table
    since = pl.col("timestamp") - pl.col("timestamp").first()
    width_ns = since.last() // MAX_POINTS + 1
    return (
        table.with_columns(part=since // width_ns)
        .group_by("part", maintain_order=True)
        # Time of the middle reading: a mean of nanoseconds would round.
        .agg(pl.col("timestamp").get(pl.len() // 2), pl.col("speed_kmh").mean())
        .drop("part")
    )


def _speed_signals(drive: Drive) -> Iterator[Readings]:
    """Yield speeds by name, in km/h; driving backwards counts, too."""
    for found, topic, column, _, rows in recorded.named(drive, _SPEED_NAME):
        kmh = pl.col(column).cast(pl.Float64).abs() * _KMH_OF.get(found[1], 1.0)
        yield recorded.read(rows, f"{topic} {column}", kmh)


def _from_positions(drive: Drive) -> Iterator[Readings]:
    best = recorded.longest(recorded.positions(drive))
    if best is not None:
        time_ns, kmh = track_kmh(best.time_ns, best.values[:, 0], best.values[:, 1])
        yield Readings(best.signal, time_ns, kmh[:, np.newaxis])


_WAYS: Final[tuple[tuple[str, Callable[[Drive, pl.DataFrame], Iterator[Readings]]], ...]] = (
    ("j1939_wheel_speed", lambda _, frames: recorded.WHEEL_SPEED_KMH.readings(frames)),
    ("obd_speed", lambda _, frames: recorded.OBD_SPEED_KMH.readings(frames)),
    ("speed_signal", lambda drive, _: _speed_signals(drive)),
    ("gnss", lambda drive, _: _from_positions(drive)),
)
"""Source and its readings, most trusted first."""
