"""All statistics of a drive in one call."""

from dataclasses import dataclass

import polars as pl

from argus_assets.stats.distance import Distance
from argus_assets.stats.errors import aggregate_faults
from argus_assets.stats.pairs import code_pairs
from argus_assets.stats.recorded import RecordedTime
from argus_assets.stats.schema import SPEED
from argus_assets.stats.totals import drive_stats


@dataclass(frozen=True, slots=True)
class DriveStatistics:
    """Statistics of a drive.

    Attributes:
        error_stats: `schema.ERROR_STATS`, most important first.
        pairs: `schema.CODE_PAIRS`.
        totals: `schema.DRIVE_STATS`, one row.
        speed: `schema.SPEED`.
    """

    error_stats: pl.DataFrame
    pairs: pl.DataFrame
    totals: pl.DataFrame
    speed: pl.DataFrame


def aggregate(
    events: pl.DataFrame,
    recordings: pl.DataFrame,
    *,
    distance: Distance | None = None,
    speed: pl.DataFrame | None = None,
    buses: pl.DataFrame | None = None,
) -> DriveStatistics:
    """Aggregate a drive.

    Args:
        events: `faults.schema.ERROR_EVENTS`.
        recordings: `recordings.schema.RECORDINGS`.
        distance: Of the drive (`distance.measure`).
        speed: Of the drive (`speed.speed_series`).
        buses: A row for each CAN channel: channel, load_mean_pct, load_peak_pct.
    """
    time = RecordedTime.of(recordings, events)
    faults = aggregate_faults(events, time)
    return DriveStatistics(
        faults.stats,
        code_pairs(faults, time),
        drive_stats(faults.stats, recordings, time, distance=distance, buses=buses),
        SPEED.empty() if speed is None else speed,
    )
