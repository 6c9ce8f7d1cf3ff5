"""Order a confined process to measure a drive and count its traffic: the outside, with the limits of the job.

`jobs` is the other side, which runs inside of the process.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from argus_assets.containment.client import Confined, Reserve, no_reserve
from argus_assets.errors import BadTable, PermanentError
from argus_assets.faults.contained import compute_contained
from argus_assets.stats.distance import Distance
from argus_assets.stats.drive import Measured
from argus_assets.stats.jobs import MEASUREMENTS_FILE, REMARKS_FILE, SPEED_FILE, TOPICS_FILE
from argus_assets.stats.schema import MEASUREMENTS, REMARKS, SPEED, TOPIC_STATS
from argus_assets.stats.vehicle_platform import Traffic


def measure_contained(
    confined: Confined, parts: Sequence[tuple[str, Path]], *, frames: int, reserve: Reserve = no_reserve
) -> Measured:
    """Measure a drive.

    Args:
        confined: The process, which may read the parts.
        parts: Each recording with the local folder of its part.
        frames: Frames of the drive.
        reserve: Entered with the bytes of memory that it may take, while it runs.

    Returns:
        Distance, speed, live values, remarks of the log, and topics.

    Raises:
        PermanentError: It needs more than it may use.
        Unavailable: No process could be started.
    """
    ended, place = compute_contained(
        confined, "measure", {"parts": [(name, str(folder)) for name, folder in parts]}, frames=frames,
        what="Measuring the distance", reserve=reserve,
    )  # fmt: skip
    try:
        speed = SPEED.cast(pl.read_parquet(place / SPEED_FILE))
        values = MEASUREMENTS.cast(pl.read_parquet(place / MEASUREMENTS_FILE))
        remarks = REMARKS.cast(pl.read_parquet(place / REMARKS_FILE))
        topics = TOPIC_STATS.cast(pl.read_parquet(place / TOPICS_FILE))
    except (BadTable, pl.exceptions.PolarsError, OSError) as error:
        raise PermanentError(f"Measuring returned an invalid table: {error}"[:500], help="Report it.") from error
    match ended.result.get("distance"):
        case {"km": int() | float() as km, "source": str(source), "signal": str(signal)} if math.isfinite(km):
            return Measured(Distance(float(km), source, signal), speed, values, remarks, topics)
        case _:
            return Measured(None, speed, values, remarks, topics)


def count_contained(
    confined: Confined, parts: Sequence[tuple[str, Path]], *, frames: int, reserve: Reserve = no_reserve
) -> Traffic:
    """Count the traffic of a drive; see `measure_contained`.

    Raises:
        PermanentError: It needs more than it may use.
        Unavailable: No process could be started.
    """
    ended, _ = compute_contained(
        confined, "count", {"parts": [(name, str(folder)) for name, folder in parts]}, frames=frames,
        what="Counting the traffic", reserve=reserve,
    )  # fmt: skip
    match ended.result:
        case {"can": int(can), "heavy": int(heavy), "messages": int(messages)}:
            return Traffic(can, heavy, messages)
        case _:
            raise PermanentError("Counting the traffic gave no counts.", help="Report it.")
