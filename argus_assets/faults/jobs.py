"""Find the faults of a drive, inside of the confined process: the job that `containment.worker` runs by name.

`contained` is the other side: it orders the job from outside, and says what it may use.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from argus_assets.containment.job import Job
from argus_assets.faults.config import FaultConfig, default_config
from argus_assets.faults.detection import find_built_in
from argus_assets.faults.detector import Collector
from argus_assets.recordings.drive import Drive

EVENTS: Final = "events.parquet"
BUSES: Final = "buses.parquet"


def find(job: Job, *, parts: Sequence[tuple[str, str]], config: FaultConfig | None) -> dict[str, Any]:
    """Find what the detectors of this package find; leaves `EVENTS` and `BUSES`, returns `notes`.

    Args:
        job: Where to write.
        parts: Each recording with the folder of its part.
        config: Configuration of fault detection; the shipped rules unless given.
    """
    drive = Drive.of_parts((name, Path(folder)) for name, folder in parts)
    found = find_built_in(drive, default_config() if config is None else config)
    _write(found.events, job.folder / EVENTS)
    _write(found.buses, job.folder / BUSES)
    return {"notes": list(found.notes)}


def collect_events(job: Job, *, output: str, collector: Collector) -> dict[str, Any]:
    """Read the events that a detector of another package wrote; leaves `EVENTS`, returns `notes`.

    Args:
        job: Where to write.
        output: Folder of what it wrote.
        collector: Reads it.
    """
    found = collector.found(Path(output))
    _write(found.events, job.folder / EVENTS)
    return {"notes": list(found.notes)}


def _write(table: pl.DataFrame, path: Path) -> None:
    table.with_columns(pl.col(pl.Enum).cast(pl.String)).write_parquet(path)


default_config()  # read once, in the process that confined ones are forked from
