"""Job of a confined process (`containment.worker`): measure distance and speed of a drive."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from argus_assets.containment.job import Job
from argus_assets.recordings.drive import Drive
from argus_assets.stats import distance
from argus_assets.stats.readings import motion_frames
from argus_assets.stats.speed import speed_series

SPEED_FILE: Final = "speed.parquet"


def measure(job: Job, *, parts: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Measure a drive: write `SPEED_FILE`, and return `distance` (`distance.Distance`, or none).

    Args:
        job: Where to write.
        parts: Each recording with the folder of its part.
    """
    drive = Drive.of_parts((name, Path(folder)) for name, folder in parts)
    frames = motion_frames(drive)
    far = distance.measure(drive, frames)
    speed_series(drive, frames).write_parquet(job.folder / SPEED_FILE)
    return {"distance": None if far is None else asdict(far)}
