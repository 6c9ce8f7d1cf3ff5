"""Open the parsed parts of a drive, and compute on them in a confined process. Free of Dagster, as `ingest` is."""

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from argus_assets.containment.client import Confined, Pool, Reserve, no_reserve, pool
from argus_assets.faults.config import FaultConfig
from argus_assets.faults.contained import find_contained
from argus_assets.faults.detection import Findings
from argus_assets.lake.store import Lake
from argus_assets.stats.contained import measure_contained
from argus_assets.stats.drive import DriveStatistics, Measured, aggregate


@dataclass(frozen=True, slots=True)
class OpenDrive:
    """The parts of a drive's recordings in local folders, and a confined process that computes on them.

    Attributes:
        parts: Each recording with the folder of its part.
        frames: Of all of them.
        process: It may read these parts, and no others.
    """

    parts: list[tuple[str, Path]]
    frames: int
    process: Confined


@contextmanager
def open_drive(
    recordings: pl.DataFrame, *, lake: Lake, processes: Pool | None = None, kept: Mapping[str, Path] | None = None
) -> Generator[OpenDrive]:
    """Open a drive for the time of the block.

    Args:
        recordings: `recordings.schema.RECORDINGS`.
        lake: Where the parts are.
        processes: Where the recordings were parsed: the process that still has all parts computes on them.
        kept: Its folders of them; see `ParsedBatch`.

    Raises:
        Unavailable: Storage did not answer.
    """
    parsed = recordings.filter(pl.col("part").is_not_null() & (pl.col("frames") > 0))
    frames = int(recordings["frames"].sum())
    named = list(parsed.select("recording", "part").iter_rows())
    if processes is not None and kept and all(part in kept for _, part in named):
        with processes.process() as process:
            yield OpenDrive([(name, kept[part]) for name, part in named], frames, process)
        return
    with ExitStack() as stack:
        parts = [(name, stack.enter_context(lake.local_folder(part))) for name, part in named]
        processes = stack.enter_context(pool([folder for _, folder in parts]))
        process = stack.enter_context(processes.process())
        yield OpenDrive(parts, frames, process)


def detect_faults(
    recordings: pl.DataFrame,
    *,
    lake: Lake,
    config: FaultConfig | None = None,
    drive: OpenDrive | None = None,
    computing: Reserve = no_reserve,
) -> Findings:
    """Find the error events of a drive in the parsed parts of all its recordings, in a confined process.

    Args:
        recordings: `recordings.schema.RECORDINGS`.
        lake: Where the parts are.
        config: How faults are looked for; see `find_events`.
        drive: The parts, where they are open already.
        computing: Entered with the bytes of memory that this may take, while it does.

    Raises:
        PermanentError: The drive needs more than finding faults may use.
        Unavailable: Storage did not answer.
    """
    if drive is None:
        with open_drive(recordings, lake=lake) as opened:
            return detect_faults(recordings, lake=lake, config=config, drive=opened, computing=computing)
    return find_contained(drive.process, drive.parts, frames=drive.frames, config=config, reserve=computing)


def measure_motion(
    recordings: pl.DataFrame, *, lake: Lake, drive: OpenDrive | None = None, computing: Reserve = no_reserve
) -> Measured:
    """Measure distance, speed and live values of a drive, by the parsed parts of all its recordings, in a confined process.

    Args:
        recordings: `recordings.schema.RECORDINGS`.
        lake: Where the parts are.
        drive: The parts, where they are open already.
        computing: Entered with the bytes of memory that this may take, while it does.

    Returns:
        Distance, speed and live values.

    Raises:
        PermanentError: The drive needs more than this may use.
        Unavailable: Storage did not answer.
    """
    if drive is None:
        with open_drive(recordings, lake=lake) as opened:
            return measure_motion(recordings, lake=lake, drive=opened, computing=computing)
    return measure_contained(drive.process, drive.parts, frames=drive.frames, reserve=computing)


def aggregate_stats(
    events: pl.DataFrame,
    recordings: pl.DataFrame,
    *,
    lake: Lake,
    buses: pl.DataFrame | None = None,
    drive: OpenDrive | None = None,
    computing: Reserve = no_reserve,
) -> DriveStatistics:
    """Return the statistics of a drive: each fault, pairs of them, totals, and the speed.

    Args:
        events: `faults.schema.ERROR_EVENTS`.
        recordings: `recordings.schema.RECORDINGS`.
        lake: Where the parts are, which show how far and how fast the drive went.
        buses: A row for each CAN channel: channel, load_mean_pct, load_peak_pct.
        drive: The parts, where they are open already.
        computing: Entered with the bytes of memory that this may take, while it does.
    """
    measured = measure_motion(recordings, lake=lake, drive=drive, computing=computing)
    return aggregate(events, recordings, measured=measured, buses=buses)
