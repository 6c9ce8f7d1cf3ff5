"""Reduce a drive to the facts that the drive memory keeps."""

from datetime import datetime

import polars as pl

from argus_assets.diagnosis.ports import DriveFacts


def drive_facts(
    partition: str,
    *,
    vehicle_id: str,
    platform: str,
    release: str,
    recorded_from: datetime,
    recorded_h: float,
    manifest_digest: str,
    stats: pl.DataFrame,
) -> DriveFacts:
    """Return the faults of a drive, once for each code and ECU, without duplicates reported by another source.

    Args:
        partition: Partition of the batch.
        vehicle_id: Name of the vehicle; it never leaves Argus's own database.
        platform: Vehicle platform.
        release: Software release of the vehicle.
        recorded_from: Start of the drive.
        recorded_h: Hours recorded.
        manifest_digest: Digest of the batch's manifest.
        stats: `stats.schema.ERROR_STATS`.
    """
    troubles = (
        stats.filter(pl.col("same_as").is_null())
        .sort("rank")
        .unique(["code", "ecu"], keep="first", maintain_order=True)
        .select("code", "ecu", pl.col("status", "severity").cast(pl.String), "occurrences")
    )
    return DriveFacts(
        partition=partition,
        vehicle_id=vehicle_id,
        platform=platform,
        release=release,
        recorded_from=recorded_from,
        recorded_h=recorded_h,
        manifest_digest=manifest_digest,
        faults=tuple(troubles.iter_rows()),
    )
