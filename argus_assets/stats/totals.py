"""Totals of a drive: duration, distance, frames, faults."""

import polars as pl

from argus_assets.faults.schema import Severity
from argus_assets.stats.distance import Distance
from argus_assets.stats.recorded import RecordedTime
from argus_assets.stats.schema import DRIVE_STATS

_S_PER_HOUR = 3600.0


def drive_stats(
    stats: pl.DataFrame,
    recordings: pl.DataFrame,
    time: RecordedTime,
    *,
    distance: Distance | None = None,
    buses: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Sum up a drive.

    Args:
        stats: `schema.ERROR_STATS`.
        recordings: `recordings.schema.RECORDINGS`.
        time: When the drive was recorded.
        distance: Distance driven, where known.
        buses: A row for each CAN channel: channel, load_mean_pct, load_peak_pct.

    Returns:
        `schema.DRIVE_STATS`, one row.
    """
    frames, lost = int(recordings["frames"].sum()), int(recordings["frames_lost"].sum())
    worst = stats.group_by("code").agg(pl.col("severity").max())["severity"]
    row = {
        "recorded_h": time.recorded_s / _S_PER_HOUR,
        "span_h": time.span_s / _S_PER_HOUR,
        "distance_km": None if distance is None else distance.km,
        "distance_source": None if distance is None else distance.source,
        "distance_signal": None if distance is None else distance.signal,
        "recordings": recordings.height,
        "recordings_damaged": int((recordings["state"] != "parsed").sum()),
        "frames": frames,
        "frames_lost": lost,
        "frames_read_pct": 100.0 * frames / (frames + lost) if frames + lost else None,
        **_bus_load(buses),
        "events": int(stats["occurrences"].sum()),
        "troubles": stats["same_as"].null_count(),
        "codes": len(worst),
        **{f"codes_{severity.value}": int((worst == severity.value).sum()) for severity in Severity},
        "ecus_with_faults": stats.filter(pl.col("severity") > Severity.INFO.value)["ecu"].n_unique(),
    }
    return DRIVE_STATS.cast(pl.DataFrame([row], schema=DRIVE_STATS.schema))


def _bus_load(buses: pl.DataFrame | None) -> dict[str, object]:
    """Return the load of the busiest channel; nulls where none is known."""
    known = None if buses is None else buses.drop_nulls("load_mean_pct")
    if known is None or known.is_empty():
        return {"busiest_channel": None, "bus_load_mean_pct": None, "bus_load_peak_pct": None}
    busiest = known.sort("load_mean_pct", "channel", descending=[True, False]).row(0, named=True)
    return {
        "busiest_channel": str(busiest["channel"]),
        "bus_load_mean_pct": busiest["load_mean_pct"],
        "bus_load_peak_pct": known["load_peak_pct"].max(),
    }
