"""Paths of the lake are a contract: a lake of an earlier version is read on, and people and scripts know them."""

from argus_assets.faults.schema import BUS_STATS, ERROR_EVENTS
from argus_assets.lake import layout
from argus_assets.recordings.schema import PROBLEMS, RECORDINGS
from argus_assets.stats.schema import CODE_PAIRS, DRIVE_STATS, ERROR_STATS, SPEED

PARTITION = "2026-11-18_truck-7_drive-1"


def test_the_tables_and_documents_of_a_batch_are_where_they_always_were() -> None:
    tables = (RECORDINGS, PROBLEMS, ERROR_EVENTS, BUS_STATS, ERROR_STATS, CODE_PAIRS, DRIVE_STATS, SPEED)
    names = [
        "recordings", "problems", "error_events", "bus_stats", "error_stats", "code_pairs", "drive_stats", "speed",
    ]  # fmt: skip
    assert [layout.table(PARTITION, t) for t in tables] == [f"batches/{PARTITION}/{name}.parquet" for name in names]
    documents = (layout.EVIDENCE, layout.DIAGNOSIS, layout.PAGE)
    assert [layout.document(PARTITION, name) for name in documents] == [
        f"batches/{PARTITION}/{name}" for name in ("evidence.json", "diagnosis.json", "report.html")
    ]


def test_everything_else_is_where_it_always_was() -> None:
    assert layout.manifest(PARTITION, "0123456789abcdef") == f"manifests/{PARTITION}/0123456789abcdef.json"
    assert layout.part("4.mcap1", "abcd") == "parts/4.mcap1/ab/abcd"
    proof = layout.proof("abcd", key="batches/v/b/a.mcap", etag="e", size=3)
    assert proof == "verified/abcd/7474ee8e31863f97d95c7066d1ea93f8"
    assert layout.golden(PARTITION) == f"golden/{PARTITION}.json"
    assert layout.rerun_waiting("r1") == "upkeep/reruns/waiting/r1.json"
    assert layout.rerun_done("r1") == "upkeep/reruns/done/r1.json"
    assert (layout.RECONCILE_REPORT, layout.RETENTION_REPORT, layout.STALE_UPLOADS_REPORT) == (
        "upkeep/reconcile.json", "upkeep/retain.json", "upkeep/stale_uploads.json",
    )  # fmt: skip
