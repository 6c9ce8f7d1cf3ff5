"""`batch_report`: the page for the workshop, and the result for whoever dropped the batch."""

import time
from datetime import UTC, datetime
from typing import Final

import dagster as dg
import polars as pl

from argus_assets import pipeline
from argus_assets.assets.batch_asset import BatchAsset, Made, batch_spec, fingerprint
from argus_assets.assets.batch_context import BatchContext
from argus_assets.drop.results import BatchResult, CauseResult, write_result
from argus_assets.faults.schema import ERROR_EVENTS
from argus_assets.recordings.schema import PROBLEMS, RECORDINGS
from argus_assets.report.drive import render_drive
from argus_assets.stats.schema import CODE_PAIRS, DRIVE_STATS, ERROR_STATS, SPEED


def make(batch: BatchContext) -> Made:
    """Render the page and write the result."""
    store = batch.services.store
    started = time.perf_counter()
    tables = batch.tables(RECORDINGS, PROBLEMS, ERROR_EVENTS, ERROR_STATS, CODE_PAIRS, DRIVE_STATS, SPEED)
    evidence, diagnosis, notes = batch.evidence, batch.diagnosis, store.notes(batch.partition)
    with batch.computing():
        page = render_drive(
            batch.manifest,
            batch.partition,
            tables=tables,
            evidence=evidence,
            diagnosis=diagnosis,
            dictionary=batch.services.faults.dictionary,
            latency=batch.latency(),
            notes=notes,
        ).encode()
    path = store.save_page(batch.partition, page)
    latency = batch.latency(report_s=time.perf_counter() - started)
    # Before the last event: a batch that counts as completed is not taken up again, and would never get its result.
    write_result(batch.services.bucket, _completed(batch))
    return Made(
        data=fingerprint(batch.table(ERROR_STATS)) + diagnosis.model_dump_json().encode(),
        metadata={
            "size_bytes": len(page),
            **({"latency": dg.MetadataValue.json(latency.model_dump())} if latency is not None else {}),
            "path": dg.MetadataValue.path(path),
            **({"page": dg.MetadataValue.url(f"file://{path}")} if batch.services.lake.is_local else {}),
        },
    )


def _completed(batch: BatchContext) -> BatchResult:
    diagnosis = batch.diagnosis
    return BatchResult(
        vehicle_id=batch.ref.vehicle_id,
        batch_id=batch.ref.batch_id,
        partition_key=batch.partition,
        manifest_digest=batch.digest,
        state="completed",
        at=datetime.now(UTC),
        run_id=batch.events.run.run_id,
        recordings=batch.recordings.height,
        recordings_damaged=batch.recordings.filter(pl.col("state") != "parsed").height,
        frames=int(batch.recordings["frames"].sum()),
        frames_lost=int(batch.recordings["frames_lost"].sum()),
        verdict=diagnosis.verdict,
        severity=str(diagnosis.severity),
        drivable=diagnosis.drivable,
        diagnosis_mode=diagnosis.mode,
        root_causes=tuple(
            CauseResult(cause=c.cause, title=c.title, confidence=c.confidence) for c in diagnosis.root_causes
        ),
        page=batch.services.store.page_path(batch.partition),
        diagnosis=diagnosis.model_dump(mode="json"),
    )


ASSET: Final = BatchAsset(
    pipeline.BATCH_REPORT,
    batch_spec(
        pipeline.BATCH_REPORT,
        "One self-contained HTML page for the workshop.",
        kinds={"html"},
        code_version="3",
    ),
    [],
    make,
)
