"""What the lake keeps of a batch, by its partition key."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from argus_assets.drop.manifest import manifest_digest
from argus_assets.errors import PermanentError, Unavailable
from argus_assets.lake import layout
from argus_assets.lake.batches import BatchStore
from argus_assets.lake.store import Lake
from argus_assets.recordings.schema import PROBLEMS, RECORDINGS
from tests.support.values import VIN

PARTITION = "2026-11-18_truck-7_drive-1"
RAW = json.dumps(
    {
        "vehicle_id": "truck-7", "batch_id": "drive-1", "release": "2026.10", "platform": "truck",
        "vin": VIN,
        "recorded_from": "2026-11-18T08:00:00Z", "recorded_to": "2026-11-18T09:00:00Z",
        "files": [{"name": "a.mcap", "size": 1, "sha256": "0" * 64}],
    }
).encode()  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> BatchStore:
    return BatchStore(Lake.from_url(str(tmp_path / "lake")))


def test_a_manifest_is_read_as_it_was_taken(store: BatchStore) -> None:
    digest = manifest_digest(RAW)
    store.save_manifest(PARTITION, digest, RAW)
    assert store.raw_manifest(PARTITION, digest) == RAW
    assert store.manifest(PARTITION, digest).recorded_from == datetime(2026, 11, 18, 8, tzinfo=UTC)


def test_a_manifest_with_another_digest_came_damaged(store: BatchStore) -> None:
    digest = manifest_digest(RAW)
    store.lake.write_bytes(layout.manifest(PARTITION, digest), RAW[:-1] + b" ")
    with pytest.raises(Unavailable, match="came damaged"):
        store.manifest(PARTITION, digest)


def test_what_is_no_batch_has_no_manifest(store: BatchStore) -> None:
    with pytest.raises(PermanentError, match="not a batch"):
        store.manifest("nothing", "0" * 16)


def test_tables_are_found_by_their_declaration(store: BatchStore) -> None:
    assert not store.has_table(PARTITION, PROBLEMS)
    path = store.save_table(PARTITION, PROBLEMS.empty(), PROBLEMS)
    assert path.endswith(f"/batches/{PARTITION}/problems.parquet")
    assert store.has_table(PARTITION, PROBLEMS)
    assert not store.has_table(PARTITION, RECORDINGS)
    assert store.table(PARTITION, PROBLEMS).equals(PROBLEMS.empty())


def test_notes_of_the_detectors_are_kept_and_a_batch_of_an_older_version_has_none(store: BatchStore) -> None:
    assert store.notes(PARTITION) == ()
    store.save_notes(PARTITION, ["a frame was cut short", "3 more like the one before were left out."])
    assert store.notes(PARTITION) == ("a frame was cut short", "3 more like the one before were left out.")


def test_a_page_is_where_its_path_says(store: BatchStore) -> None:
    assert store.save_page(PARTITION, b"<!doctype html>") == store.page_path(PARTITION)
    assert store.page(PARTITION) == b"<!doctype html>"
    assert Path(store.page_path(PARTITION)).read_bytes() == b"<!doctype html>"
