"""Error stats → evidence: the compact document that a diagnosis rests on and may cite."""

import polars as pl

from argus_assets.diagnosis.model import Coverage, Evidence, EvidenceItem
from argus_assets.diagnosis.redaction import redact
from argus_assets.faults.schema import Severity
from argus_assets.stats.errors import top

K = 10
"""Codes that go into the evidence."""


def build_evidence(
    stats: pl.DataFrame, recordings: pl.DataFrame, *, platform: str, release: str, drive_s: float, k: int = K
) -> Evidence:
    """Pick the `k` most important faults and say how much of the drive could be read.

    Args:
        stats: `stats.schema.ERROR_STATS`.
        recordings: `recordings.schema.RECORDINGS`.
        platform: Of the vehicle.
        release: Software release it ran.
        drive_s: Length of the drive, seconds.
        k: How many.
    """
    again = stats.filter(pl.col("same_as").is_not_null()).sort("rank")
    items = tuple(
        EvidenceItem(
            id=f"E{row['rank']}",
            code=row["code"],
            source=row["source"],
            ecu=redact(row["ecu"]),
            status=row["status"],
            severity=Severity(row["severity"]),
            occurrences=row["occurrences"],
            frame_count=row["frame_count"],
            active_s=round(row["active_s"], 3),
            active_share_pct=round(row["active_share_pct"], 2),
            seconds_into_drive=round(row["seconds_into_drive"], 3),
            co_occurring=tuple(row["co_occurring"]),
            also_reported=tuple(
                f"{source}: {status}"
                for source, status in again.filter(same_as=row["rank"]).select("source", "status").iter_rows()
            ),
            message=redact(row["message"]) if row["message"] else None,
            recording=row["recording"],
            frame=row["frame"],
        )
        for row in top(stats, k).iter_rows(named=True)
    )
    return Evidence(
        platform=platform,
        release=release,
        coverage=Coverage(
            recordings=recordings.height,
            recordings_read=recordings.filter(pl.col("state") != "failed").height,
            frames=int(recordings["frames"].sum()),
            frames_lost=int(recordings["frames_lost"].sum()),
            drive_s=drive_s,
        ),
        items=items,
        codes_total=stats["same_as"].null_count(),
    )
