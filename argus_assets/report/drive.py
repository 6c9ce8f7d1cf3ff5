"""The page of one drive, from its tables and its diagnosis."""

from collections.abc import Mapping, Sequence

import polars as pl

from argus_assets.diagnosis.model import Diagnosis, Evidence
from argus_assets.drop.manifest import Manifest
from argus_assets.faults.dictionary.lookup import Dictionary, built_in
from argus_assets.monitoring.latency import Latency
from argus_assets.report.page import PageBatch, render_page
from argus_assets.stats.schema import SPEED


def render_drive(
    manifest: Manifest,
    partition: str,
    *,
    tables: Mapping[str, pl.DataFrame],
    evidence: Evidence,
    diagnosis: Diagnosis,
    dictionary: Dictionary | None = None,
    latency: Latency | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Return the page of a batch, as text.

    Args:
        manifest: Of the batch.
        partition: Its partition key, shown as its name.
        tables: `recordings`, `problems`, `error_events`, `error_stats`, `code_pairs` and `drive_stats`; `speed` where
            it is known.
        evidence: What the diagnosis rests on.
        diagnosis: The answer.
        dictionary: What codes mean; the built-in one unless given.
        latency: How long each step took, where it is known.
        notes: What the detectors left out: `faults.detection.Findings.notes`.
    """
    meanings = dictionary or built_in()
    return render_page(
        batch=PageBatch(
            partition_key=partition,
            vehicle_id=manifest.vehicle_id,
            batch_id=manifest.batch_id,
            release=manifest.release,
            platform=manifest.platform,
            recorded_from=manifest.recorded_from,
            recorded_to=manifest.recorded_to,
        ),
        recordings=tables["recordings"],
        problems=tables["problems"],
        events=tables["error_events"],
        stats=tables["error_stats"],
        pairs=tables["code_pairs"],
        totals=tables["drive_stats"],
        speed=tables.get("speed", SPEED.empty()),
        diagnosis=diagnosis,
        evidence=evidence,
        describe=meanings.describe,
        latency=latency,
        notes=notes,
    )
