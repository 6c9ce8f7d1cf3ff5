"""A simulated drive in a bucket is what its vehicle would have dropped."""

from dataclasses import replace
from pathlib import Path

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.intake import check_files
from argus_assets.drop.keys import inbox_key
from argus_assets.drop.manifest import parse_manifest
from argus_assets.simulate.drop import drop_drive, upload_drive
from argus_assets.simulate.fleet import simulate_drive


def test_a_drive_is_dropped_with_a_manifest_that_its_files_meet(tmp_path: Path) -> None:
    drive = simulate_drive(
        tmp_path / "drive", scenario="car_healthy", seed=1, vehicle_id="v", vin="1M8GDM9AXKP042788", release="1",
        batch_id="b", started_ns=1_795_000_000 * 10**9, seconds=5.0,
    )  # fmt: skip
    bucket = Bucket.from_url(str(tmp_path / "bucket"))
    bucket.ensure()
    waiting = upload_drive(bucket, drive)
    assert bucket.list_inbox(limit=1) == [], "the manifest is not dropped yet"
    assert [file.name for file in waiting.files] == [path.name for path in drive.files]

    other = drop_drive(bucket, replace(drive, batch_id="c", release="2"))
    assert (other.batch_id, other.release, other.files) == ("c", "2", waiting.files)
    assert other.recorded_from.timestamp() * 1e9 == drive.recorded_from_ns
    raw = bucket.read(inbox_key("v", "c"), max_bytes=10**6)
    assert parse_manifest(raw, vehicle_id="v", batch_id="c") == other
    listed = {info.key.removeprefix("batches/v/c/"): info for info in bucket.list_prefix("batches/v/c/")}
    assert list(check_files(other, listed)) == []
