"""`error_events`: every activation of every fault."""

from typing import Final

from argus_assets import pipeline
from argus_assets.assets.batch_asset import BatchAsset, Made, batch_spec, fingerprint, preview
from argus_assets.assets.batch_context import BatchContext
from argus_assets.assets.open_drive import detect_faults
from argus_assets.faults.schema import BUS_STATS, ERROR_EVENTS


def make(batch: BatchContext) -> Made:
    """Find the faults of the drive; what the detectors left out is kept beside them, for the page."""
    services = batch.services
    findings = detect_faults(
        batch.recordings,
        lake=services.lake,
        config=services.faults,
        drive=batch.drive,
        computing=services.capacity.computing,
    )
    services.store.save_notes(batch.partition, findings.notes)
    return Made(
        data=fingerprint(findings.events, findings.buses),
        metadata={
            "dagster/row_count": findings.events.height,
            "faults_version": services.faults.version,
            "detectors": ", ".join(p.identity for p in services.faults.plug_ins) or "none of other packages",
            "codes": findings.events["code"].n_unique(),
            "notes": "\n".join(str(note) for note in findings.notes),
            "preview": preview(
                findings.events,
                ["first_seen", "code", "ecu", "severity", "active_s", "frame_count", "recording", "frame"],
            ),
        },
        tables=[(ERROR_EVENTS, findings.events), (BUS_STATS, findings.buses)],
    )


ASSET: Final = BatchAsset(
    pipeline.ERROR_EVENTS,
    batch_spec(
        pipeline.ERROR_EVENTS,
        "Every activation of every fault, with the recording, frame and bytes that show it.",
        kinds={"polars", "parquet"},
        code_version="1",
        table=ERROR_EVENTS,
    ),
    [],
    make,
)
