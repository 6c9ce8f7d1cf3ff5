"""Measure a drive and count its traffic, inside of the confined process: jobs that `containment.worker` runs by name.

`contained` is the other side: it orders the job from outside, and sets its limits.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import polars as pl

from argus_assets.containment.job import Job
from argus_assets.recordings.drive import Drive
from argus_assets.stats import distance, measurements, remarks, topics
from argus_assets.stats.readings import motion_frames
from argus_assets.stats.speed import speed_series
from argus_assets.stats.vehicle_platform import count_traffic

SPEED_FILE: Final = "speed.parquet"
MEASUREMENTS_FILE: Final = "measurements.parquet"
REMARKS_FILE: Final = "remarks.parquet"
TOPICS_FILE: Final = "topics.parquet"


def measure(job: Job, *, parts: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Measure a drive: write speed, measurements, remarks and topics, and return `distance` (or none).

    Args:
        job: Where to write.
        parts: Each recording with the folder of its part.
    """
    drive = Drive.of_parts((name, Path(folder)) for name, folder in parts)
    frames = motion_frames(drive)
    far = distance.measure(drive, frames)
    speed_series(drive, frames).write_parquet(job.folder / SPEED_FILE)
    measured = measurements.measure(drive)
    measured.with_columns(pl.col(pl.Enum).cast(pl.String)).write_parquet(job.folder / MEASUREMENTS_FILE)
    remarks.remarks(drive).write_parquet(job.folder / REMARKS_FILE)
    topics.topic_stats(drive).write_parquet(job.folder / TOPICS_FILE)
    return {"distance": None if far is None else asdict(far)}


def count(_: Job, *, parts: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Count the traffic of a drive; returns the fields of `vehicle_platform.Traffic`.

    Args:
        parts: Each recording with the folder of its part.
    """
    return asdict(count_traffic(Drive.of_parts((name, Path(folder)) for name, folder in parts)))
