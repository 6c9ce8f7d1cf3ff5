"""Convert readings of counters, speeds and positions to kilometres. Numbers in, numbers out.

No movement is faster than `MAX_SPEED_KMH`. A single reading that does not fit between its neighbours, while these fit each
other, is dropped. Any other misfit is a reset; the distance over it is unknown and not counted.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

MAX_SPEED_KMH: Final = 400.0
"""Faster than any vehicle on a road."""

MAX_SPEED_GAP_NS: Final = 5_000_000_000
"""Longest gap between two speeds that is bridged: CCVS is sent ten times a second."""

MIN_STEP_KM: Final = 0.010
"""Shortest step between two positions: those of a parked receiver wander by several metres."""

EARTH_RADIUS_KM: Final = 6371.0088
"""Mean radius of the Earth (IUGG)."""

_NS_PER_HOUR: Final = 3600e9


def counted_km(time_ns: I64, km: F64, *, resolution_km: float, modulus_km: float | None = None) -> float | None:
    """Return the distance by a counter such as an odometer; `None` when most steps are impossible, as with a wrong unit.

    Args:
        time_ns: Times of the readings, ascending.
        km: The readings.
        resolution_km: Step of the counter, by which it may move between two close readings.
        modulus_km: Where the counter wraps around to 0; `None` when it does not.
    """

    def step(i: I64, j: I64) -> F64:
        moved = km[j] - km[i]
        return moved if modulus_km is None else np.where(moved < 0, moved + modulus_km, moved)

    # And a quarter of a step: as binary fractions, readings are not exact multiples.
    kept = _without_spikes(time_ns, step, slack_km=1.25 * resolution_km)
    steps = step(kept[:-1], kept[1:])
    possible = _possible(time_ns, kept[:-1], kept[1:], steps, slack_km=1.25 * resolution_km)
    return float(steps[possible].sum()) if 2 * possible.sum() >= len(possible) else None


def integrated_km(time_ns: I64, kmh: F64) -> float:
    """Integrate a speed: trapezoids between readings that are at most `MAX_SPEED_GAP_NS` apart.

    Args:
        time_ns: Times of the readings, ascending.
        kmh: The readings.
    """
    gap = np.diff(time_ns)
    steps = (kmh[:-1] + kmh[1:]) / 2 * gap / _NS_PER_HOUR
    return float(steps[gap <= MAX_SPEED_GAP_NS].sum())


def track_km(time_ns: I64, latitude_deg: F64, longitude_deg: F64) -> float:
    """Return the distance along positions: great circles (haversine formula) between positions at least `MIN_STEP_KM` apart.

    One position per second counts, the median, which steadies a fast receiver.

    Args:
        time_ns: Times of the positions, ascending.
        latitude_deg: WGS 84.
        longitude_deg: WGS 84.
    """
    if not len(time_ns):
        return 0.0
    time_ns, points = _each_second(time_ns, latitude_deg, longitude_deg)

    def step(i: I64, j: I64) -> F64:
        return _arc_km(np.linalg.norm(points[j] - points[i], axis=1))

    kept = _without_spikes(time_ns, step, slack_km=MIN_STEP_KM)
    jumped = ~_possible(time_ns, kept[:-1], kept[1:], step(kept[:-1], kept[1:]), slack_km=MIN_STEP_KM)
    total_km = 0.0
    anchor: list[float] = []
    # A step starts where the last counted one ended, so this is a loop. There is one position per second: 30,000 in a
    # long day's driving.
    for point, starts_anew in zip(points[kept].tolist(), [True, *jumped.tolist()], strict=True):
        if starts_anew:
            anchor = point
        elif (moved_km := 2 * EARTH_RADIUS_KM * math.asin(min(math.dist(anchor, point) / 2, 1.0))) >= MIN_STEP_KM:
            total_km += moved_km
            anchor = point
    return total_km


def track_kmh(time_ns: I64, latitude_deg: F64, longitude_deg: F64) -> tuple[I64, F64]:
    """Return the speed along positions, by steps between medians of seconds at most `MAX_SPEED_GAP_NS` apart.

    Args:
        time_ns: Times of the positions, ascending.
        latitude_deg: WGS 84.
        longitude_deg: WGS 84.

    Returns:
        The end time of each step, and its speed in km/h.
    """
    time_ns, points = _each_second(time_ns, latitude_deg, longitude_deg)
    gap = np.diff(time_ns)
    near = (gap > 0) & (gap <= MAX_SPEED_GAP_NS)
    moved_km = _arc_km(np.linalg.norm(np.diff(points, axis=0), axis=1))
    return time_ns[1:][near], moved_km[near] / (gap[near] / _NS_PER_HOUR)


def _each_second(time_ns: I64, latitude_deg: F64, longitude_deg: F64) -> tuple[I64, F64]:
    """Return middle time and median position of each second; positions are points of a unit sphere, shape (seconds, 3)."""
    latitude, longitude = np.radians(latitude_deg), np.radians(longitude_deg)
    # As points of a unit sphere: half their distance in a straight line is the root of the haversine of the arc, and
    # neither a pole nor the date line is special.
    each_second = (
        pl.DataFrame(
            {
                "second": time_ns // 10**9,
                "time_ns": time_ns,
                "x": np.cos(latitude) * np.cos(longitude),
                "y": np.cos(latitude) * np.sin(longitude),
                "z": np.sin(latitude),
            }
        )
        .group_by("second", maintain_order=True)
        # Times stay integers: one that damage made huge would not survive a float.
        .agg(pl.col("time_ns").get(pl.len() // 2), pl.col("x", "y", "z").median())
    )
    return each_second["time_ns"].to_numpy(), each_second.select("x", "y", "z").to_numpy()


def _arc_km(chord: F64) -> F64:
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chord / 2, 1.0))


def _possible(time_ns: I64, i: I64, j: I64, steps: F64, *, slack_km: float) -> npt.NDArray[np.bool_]:
    """Return for each step from reading i to reading j whether a vehicle can make it."""
    furthest = MAX_SPEED_KMH * (time_ns[j] - time_ns[i]) / _NS_PER_HOUR + slack_km
    return (steps >= 0) & (steps <= furthest)


def _without_spikes(time_ns: I64, step: Callable[[I64, I64], F64], *, slack_km: float) -> I64:
    """Return the indices of the readings without those that cannot follow the previous one while the next one can."""
    places = np.arange(len(time_ns))
    before, here, after = places[:-2], places[1:-1], places[2:]
    to_it = _possible(time_ns, before, here, step(before, here), slack_km=slack_km)
    past_it = _possible(time_ns, before, after, step(before, after), slack_km=slack_km)
    spike = np.zeros(len(places), np.bool_)
    spike[1:-1] = ~to_it & past_it
    return places[~spike]
