"""Every event survives Dagster's event log, and the log of the last version is read."""

from datetime import UTC, datetime

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.drop.quarantine import Reason
from argus_assets.event_log.events import EVENT_KEY, digest_of, from_dagster, name_of, to_dagster
from argus_assets.events import (
    NAMED,
    AssetMade,
    BatchCreated,
    BatchQuarantined,
    BucketReconciled,
    DiagnosisMade,
    FileParsed,
    OldRemoved,
    StatusChanged,
    UploadStalled,
    asset_of,
)
from argus_assets.pipeline import BatchState

TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
TEXTS = st.text(max_size=20)
COUNTS = st.integers(0, 2**53)
SECONDS = st.floats(0, 1e9)
REASONS = st.builds(Reason, kind=st.sampled_from(["bad_manifest", "missing_file"]), file=TEXTS, expected=TEXTS, actual=TEXTS, help=TEXTS)  # fmt: skip
DOCUMENTS = st.lists(st.dictionaries(TEXTS, st.integers() | TEXTS, max_size=3), max_size=3).map(tuple)
OF_TYPE = {"reasons": st.lists(REASONS, max_size=3).map(tuple), "unnamed": DOCUMENTS, "kept": DOCUMENTS}
EVENTS = st.one_of(
    *(
        st.builds(
            kind,
            **{
                name: strategy
                for name, strategy in {
                    **OF_TYPE,
                    "state": st.sampled_from(["parsed", BatchState.FAILED]),
                    "asset": st.sampled_from(["rec_frames", "diagnosis"]),
                    "removed": st.dictionaries(st.sampled_from(["old_runs", "partitions"]), COUNTS),
                }.items()
                if name in kind.__dataclass_fields__
            },
        )
        for kind in NAMED.values()
    )
)
st.register_type_strategy(datetime, TIMES)


@given(EVENTS, st.none() | st.just("2026-11-20_v_b1"))
def test_an_event_comes_back_as_it_was_written(event, partition: str | None) -> None:
    recorded = to_dagster(event, partition=partition, description="In words.")
    stored = dg.deserialize_value(dg.serialize_value(recorded), type(recorded))
    assert from_dagster(stored) == event
    assert (name_of(stored), stored.partition, stored.description) == (type(event).__name__, partition, "In words.")
    assert stored.asset_key.path == [asset_of(event)]
    assert digest_of(stored) == getattr(event, "manifest_digest", None)


def test_names_are_those_that_homes_hold() -> None:
    assert set(NAMED) == {
        "BatchCreated", "DuplicateDropped", "BatchQuarantined", "FileParsed", "StatusChanged", "UploadStalled",
        "BucketReconciled", "OldRemoved",
    }  # fmt: skip


# As version 0.1 wrote them, from its own code.
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


@pytest.mark.parametrize("kind", OF_LAST_VERSION)
def test_the_log_of_the_last_version_is_read(kind: str) -> None:
    recorded, event = OF_LAST_VERSION[kind]
    assert from_dagster(recorded) == event


def test_an_event_that_lacks_what_its_kind_has_is_refused() -> None:
    with pytest.raises(ValueError, match="recording"):
        from_dagster(dg.AssetObservation("rec_frames", metadata={EVENT_KEY: "FileParsed", "manifest_digest": "d"}))
