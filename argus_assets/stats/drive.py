"""All statistics of a drive in one call."""

from dataclasses import dataclass, field
from typing import Final

import polars as pl

from argus_assets.stats.distance import Distance
from argus_assets.stats.errors import aggregate_faults
from argus_assets.stats.pairs import code_pairs
from argus_assets.stats.recorded import RecordedTime
from argus_assets.stats.schema import MEASUREMENTS, REMARKS, SPEED, TOPIC_STATS
from argus_assets.stats.totals import drive_stats


@dataclass(frozen=True, slots=True)
class Measured:
    """What the frames of a drive say of it beside its faults.

    Attributes:
        distance: Distance; `None` when no source gives it.
        speed: `schema.SPEED`.
        values: `schema.MEASUREMENTS`.
        remarks: `schema.REMARKS`.
        topics: `schema.TOPIC_STATS`.
    """

    distance: Distance | None = None
    speed: pl.DataFrame = field(default_factory=SPEED.empty)
    values: pl.DataFrame = field(default_factory=MEASUREMENTS.empty)
    remarks: pl.DataFrame = field(default_factory=REMARKS.empty)
    topics: pl.DataFrame = field(default_factory=TOPIC_STATS.empty)


NOT_MEASURED: Final = Measured()
"""Of a drive whose frames nobody looked at."""


@dataclass(frozen=True, slots=True)
class DriveStatistics:
    """Statistics of a drive.

    Attributes:
        error_stats: `schema.ERROR_STATS`, most important first.
        pairs: `schema.CODE_PAIRS`.
        totals: `schema.DRIVE_STATS`, one row.
        speed: `schema.SPEED`.
        measurements: `schema.MEASUREMENTS`.
        remarks: `schema.REMARKS`.
        topics: `schema.TOPIC_STATS`.
    """

    error_stats: pl.DataFrame
    pairs: pl.DataFrame
    totals: pl.DataFrame
    speed: pl.DataFrame
    measurements: pl.DataFrame
    remarks: pl.DataFrame
    topics: pl.DataFrame


def aggregate(
    events: pl.DataFrame,
    recordings: pl.DataFrame,
    *,
    measured: Measured = NOT_MEASURED,
    buses: pl.DataFrame | None = None,
) -> DriveStatistics:
    """Aggregate a drive.

    Args:
        events: `faults.schema.ERROR_EVENTS`.
        recordings: `recordings.schema.RECORDINGS`.
        measured: Distance, speed and live values of the drive.
        buses: A row for each CAN channel: channel, load_mean_pct, load_peak_pct.
    """
    time = RecordedTime.of(recordings, events)
    faults = aggregate_faults(events, time)
    return DriveStatistics(
        faults.stats,
        code_pairs(faults, time),
        drive_stats(faults.stats, recordings, time, distance=measured.distance, buses=buses),
        measured.speed,
        measured.values,
        measured.remarks,
        measured.topics,
    )
