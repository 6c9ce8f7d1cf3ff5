"""Events as version 0.1 wrote them, each with what is read from it."""

from datetime import UTC, datetime

import dagster as dg

from argus_assets.drop.quarantine import Reason
from argus_assets.event_log.events import EVENT_KEY
from argus_assets.events import (
    AssetMade,
    BatchCreated,
    BatchQuarantined,
    BucketReconciled,
    DiagnosisMade,
    FileParsed,
    OldRemoved,
    StatusChanged,
    UploadStalled,
)

AT, LATER = datetime(2026, 11, 20, 8, 0, 0, 250000, tzinfo=UTC), datetime(2026, 11, 20, 8, 10, tzinfo=UTC)
REASON = Reason(kind="missing_file", file="a.blf", expected="10 bytes", actual="nothing", help="Put it.")
JSON_REASONS = dg.MetadataValue.json([REASON.model_dump(mode="json")])
OF_LAST_VERSION = {
    "created": (
        dg.AssetMaterialization(
            "vehicle_drop",
            partition="2026-11-20_v_b",
            metadata={
                EVENT_KEY: "BatchCreated", "manifest_digest": "d", "vehicle_id": "v", "batch_id": "b",
                "platform": "truck", "release": "1", "recorded_from": dg.MetadataValue.timestamp(AT),
                "recorded_to": dg.MetadataValue.timestamp(LATER), "files": 2, "size_bytes": 10, "estimated_s": 0.5,
                "marker_at": dg.MetadataValue.timestamp(LATER), "taken_at": dg.MetadataValue.timestamp(LATER),
            },
            tags={"dagster/data_version": "d"},
        ),
        BatchCreated(
            manifest_digest="d", vehicle_id="v", batch_id="b", platform="truck", release="1", recorded_from=AT,
            recorded_to=LATER, files=2, size_bytes=10, estimated_s=0.5, marker_at=LATER, taken_at=LATER,
        ),
    ),
    "quarantined": (
        dg.AssetObservation(
            "vehicle_drop",
            metadata={
                EVENT_KEY: "BatchQuarantined", "manifest_digest": "d", "vehicle_id": "v", "batch_id": "b",
                "at": dg.MetadataValue.timestamp(AT), "reasons": JSON_REASONS,
            },
        ),
        BatchQuarantined(manifest_digest="d", vehicle_id="v", batch_id="b", at=AT, reasons=(REASON,)),
    ),
    "parsed": (
        dg.AssetObservation(
            "rec_frames",
            metadata={
                EVENT_KEY: "FileParsed", "manifest_digest": "d", "recording": "a.blf", "state": "parsed",
                "format": "blf", "frames": 3, "frames_lost": 0, "parse_s": 0.25,
            },
        ),
        FileParsed(
            manifest_digest="d", recording="a.blf", state="parsed", format="blf", frames=3, frames_lost=0, parse_s=0.25
        ),
    ),
    "working": (
        dg.AssetObservation(
            "diagnosis", metadata={EVENT_KEY: "StatusChanged", "manifest_digest": "d", "state": "diagnosing"}
        ),
        StatusChanged(asset="diagnosis", manifest_digest="d", state="diagnosing"),
    ),
    "failed": (
        dg.AssetObservation(
            "rec_frames",
            metadata={
                EVENT_KEY: "StatusChanged", "manifest_digest": "d", "state": "failed", "error": "No.",
                "permanent": True, "quarantined": True, "reasons": JSON_REASONS,
            },
        ),
        StatusChanged(
            asset="rec_frames", manifest_digest="d", state="failed", error="No.", permanent=True, quarantined=True,
            reasons=(REASON,),
        ),
    ),
    "crashed": (
        dg.AssetObservation(
            "diagnosis",
            metadata={
                EVENT_KEY: "StatusChanged", "state": "failed", "manifest_digest": "d", "error": "Killed.",
                "permanent": False, "crashed": True, "run_id": "r",
            },
        ),
        StatusChanged(
            asset="diagnosis", manifest_digest="d", state="failed", error="Killed.", permanent=False, crashed=True,
            run_id="r",
        ),
    ),
    "stalled": (
        dg.AssetObservation(
            "vehicle_drop",
            description="In words.",
            metadata={
                EVENT_KEY: "UploadStalled", "vehicle_id": "v", "batch_id": "b", "kind": "no_manifest",
                "missing": dg.MetadataValue.json(["inbox/v/b.json"]), "missing_count": 1,
                "since": dg.MetadataValue.timestamp(AT), "objects": 2, "size_bytes": 3,
            },
        ),
        UploadStalled(
            vehicle_id="v", batch_id="b", kind="no_manifest", missing=("inbox/v/b.json",), missing_count=1, since=AT,
            objects=2, size_bytes=3,
        ),
    ),
    "reconciled": (
        dg.AssetObservation(
            "vehicle_drop",
            description="In words.",
            metadata={
                EVENT_KEY: "BucketReconciled", "finished": False, "vehicles": 2, "batches": 3, "objects": 4,
                "size_bytes": 5, "put_back": 1, "put_back_batches": dg.MetadataValue.json(["v/b"]), "outcomes_told": 0,
                "unnamed_recordings": 1, "unnamed_bytes": 2,
                "unnamed": dg.MetadataValue.json([{"where": "batches/v/x", "newest": None}]),
            },
        ),
        BucketReconciled(
            finished=False, vehicles=2, batches=3, objects=4, size_bytes=5, put_back=1, put_back_batches=("v/b",),
            outcomes_told=0, unnamed_recordings=1, unnamed_bytes=2, unnamed=({"where": "batches/v/x", "newest": None},),
        ),
    ),
    "removed": (
        dg.AssetObservation(
            "vehicle_drop",
            metadata={
                EVENT_KEY: "OldRemoved", "finished": True, "live": 5, "over": 0, "partitions": 3, "old_runs": 2,
                "kept": dg.MetadataValue.json([{"because": "pinned", "count": 1, "batches": []}]),
            },
        ),
        OldRemoved(
            finished=True, live=5, over=0, kept=({"because": "pinned", "count": 1, "batches": []},),
            removed={"partitions": 3, "old_runs": 2},
        ),
    ),
    "diagnosed": (
        dg.AssetMaterialization(
            "diagnosis",
            metadata={
                "manifest_digest": "d", "verdict": "Oil pump.", "severity": "critical", "drivable": "no",
                "cause": "oil_pump", "confidence": 0.5, "mode": "offline", "mode_reason": "No model.", "degraded": "no",
                "platform": "truck", "release": "1", "priority": 3.5,
                "faults": dg.MetadataValue.json([{"code": "SPN100/FMI1", "severity": "critical"}]),
            },
        ),
        DiagnosisMade(
            manifest_digest="d", verdict="Oil pump.", severity="critical", drivable="no", cause="oil_pump",
            confidence=0.5, mode="offline", degraded="no", platform="truck", release="1", priority=3.5,
            faults=[{"code": "SPN100/FMI1", "severity": "critical"}],
        ),
    ),
    "made": (
        dg.AssetMaterialization("batch_report", metadata={"manifest_digest": "d", "size_bytes": 3}),
        AssetMade(asset="batch_report", manifest_digest="d"),
    ),
    "of a later version": (
        dg.AssetObservation("vehicle_drop", metadata={EVENT_KEY: "SomethingNew", "manifest_digest": "d"}),
        None,
    ),
    "of a person": (dg.AssetObservation("rec_frames", metadata={"manifest_digest": "d"}), None),
    "made by hand": (dg.AssetMaterialization("diagnosis"), None),
}  # fmt: skip
