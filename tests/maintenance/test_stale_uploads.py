"""Uploads that never completed are reported once, with what is missing; nothing else is."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import BatchRef, accepted_key, inbox_key, recording_key
from argus_assets.drop.quarantine import Reason, quarantine
from argus_assets.drop.results import BatchResult, write_result
from argus_assets.lake.reports import STALE_UPLOADS
from argus_assets.lake.store import Lake
from argus_assets.maintenance.stale_uploads import StaleUploads, find_stale
from argus_assets.sensors.stale_uploads import EVERY, StaleCursor, report_stale_uploads
from tests.support.buckets import place_of

QUIET = timedelta(hours=6)


def after(bucket: Bucket, by: timedelta = QUIET * 2) -> StaleUploads:
    return find_stale(bucket, StaleUploads(started_at=bucket.now() + by), quiet=QUIET)


def test_recordings_without_a_manifest_are_stale_when_they_are_quiet(bucket: Bucket) -> None:
    for batch in ("stalled", "taken", "waiting", "has-outcome", "stalled.2"):
        for name in ("a", "sub/b"):
            bucket.put(recording_key("v", batch, name), b"123")
    bucket.put(accepted_key("v", "taken", "0" * 16), b"{}")
    bucket.put(accepted_key("v", "stalled.2", "0" * 16), b"{}")
    bucket.put(inbox_key("v", "waiting"), b"{}")
    write_result(
        bucket,
        BatchResult(vehicle_id="v", batch_id="has-outcome", manifest_digest="0" * 16, state="completed", at=bucket.now()),
    )  # fmt: skip
    found = after(bucket)
    (upload,) = found.uploads
    assert (upload.batch_id, upload.kind, upload.missing) == ("stalled", "no_manifest", ("inbox/v/stalled.json",))
    assert (upload.objects, upload.size_bytes, found.count, found.size_bytes) == (2, 6, 1, 6)
    assert "inbox/v/stalled.json" in upload.text()
    assert found.ended_at is not None
    assert after(bucket, QUIET / 2).count == 0, "it may go on"


def test_a_quarantined_batch_is_stale_while_its_files_are_missing(bucket: Bucket) -> None:
    now = bucket.now()
    reasons = [Reason(kind="missing_file", file=n, expected="1", actual="0", help="h") for n in ("a", "b", *"cdefgh")]
    quarantine(bucket, BatchRef("v", "b1"), raw_manifest=b"{}", digest="0" * 16, reasons=reasons, at=now)
    bucket.put(recording_key("v", "b1", "a"), b"1")
    (upload,) = after(bucket).uploads
    assert (upload.kind, upload.missing_count) == ("missing_files", 7)
    assert upload.missing[0] == "batches/v/b1/b"
    assert "and 2 more" in upload.text()
    for name in "bcdefgh":
        bucket.put(recording_key("v", "b1", name), b"1")
    assert after(bucket).count == 0


@pytest.mark.parametrize("bucket", ["moto"], indirect=True)
def test_a_file_that_was_sent_in_parts_and_not_completed_is_named(bucket: Bucket) -> None:
    name, lead = place_of(bucket)
    for key in ("batches/v/b1/big.mcap", "batches/v/b1/big.mcap", "batches/v/b1/other", "batches/loose"):
        bucket.fs.call_s3("create_multipart_upload", Bucket=name, Key=f"{lead}{key}")
    (upload,) = after(bucket).uploads
    assert (upload.vehicle_id, upload.batch_id, upload.kind) == ("v", "b1", "unfinished_file")
    assert upload.missing == ("batches/v/b1/big.mcap", "batches/v/b1/other")


@pytest.mark.parametrize("bucket", ["moto"], indirect=True)
def test_a_store_that_does_not_list_parts_still_has_the_rest_reported(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put(recording_key("v", "b", "x"), b"1")
    call = bucket.fs.call_s3

    def refusing(method: str, **arguments):
        if method == "list_multipart_uploads":
            raise OSError("NotImplemented")
        return call(method, **arguments)

    monkeypatch.setattr(bucket.fs, "call_s3", refusing)
    found = after(bucket)
    assert (found.count, "NotImplemented" in str(found.parts_not_listed)) == (1, True)


def test_a_pass_in_pieces_finds_the_same_once(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket.from_url(str(tmp_path / "bucket"))
    bucket.ensure()
    lake = Lake.from_url(str(tmp_path / "lake"))
    for vehicle in range(5):
        bucket.put(recording_key(f"v{vehicle}", "b", "x"), b"1")
    now = bucket.now() + QUIET * 2
    monkeypatch.setattr(Bucket, "now", lambda _: now)
    monkeypatch.setattr("argus_assets.sensors.stale_uploads.TICK_SECONDS", 0)
    at = datetime.now(UTC)
    cursor, looks, told, lines = None, 0, [], []
    while looks == 0 or StaleCursor.load(cursor).current is not None:
        result = report_stale_uploads(cursor, bucket, lake, quiet=QUIET, at=at, log=lines.append)
        cursor = result.cursor
        told += result.asset_events
        looks += 1
    assert looks == 5, "a vehicle at a time, when there is no time"
    assert [e.metadata["vehicle_id"].value for e in told] == [f"v{n}" for n in range(5)]
    assert len(lines) == 5
    kept = STALE_UPLOADS.load(lake)
    assert kept is not None
    assert kept.count == 5

    assert not report_stale_uploads(cursor, bucket, lake, quiet=QUIET, at=at + EVERY / 2).asset_events
    bucket.put(recording_key("v9", "b", "x"), b"1")
    monkeypatch.setattr("argus_assets.sensors.stale_uploads.TICK_SECONDS", 60)
    result = report_stale_uploads(cursor, bucket, lake, quiet=QUIET, at=at + EVERY)
    assert [e.metadata["vehicle_id"].value for e in result.asset_events] == ["v9"], "the others were told before"
    assert STALE_UPLOADS.load(lake).count == 6


def test_a_cursor_that_cannot_be_read_begins_a_pass() -> None:
    assert StaleCursor.load("{") == StaleCursor.load(None) == StaleCursor()


def test_stopping_never_keeps_a_pass_from_getting_on(tmp_path) -> None:
    bucket = Bucket.from_url(str(tmp_path))
    for vehicle in range(3):
        bucket.put(recording_key(f"v{vehicle}", "b", "x"), b"1")
    found = StaleUploads(started_at=bucket.now())
    calls = count(1)
    while found.ended_at is None:
        assert next(calls) <= 3
        find_stale(bucket, found, quiet=QUIET, stop=lambda: True)
