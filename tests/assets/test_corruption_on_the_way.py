"""Bytes that flip between the storage and a reader: a good file is not condemned, a bad one is."""

from pathlib import Path

import pytest

from argus_assets.assets.ingest import FilesDiffer, parse_recordings
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.manifest import Manifest, ManifestFile
from argus_assets.drop.upload import collect_files, upload_files
from argus_assets.errors import Unavailable
from argus_assets.lake.store import Lake
from argus_assets.runtime.embedded.s3 import S3Server
from tests.support.buckets import fresh_bucket
from tests.support.fault_proxy import FaultProxy, Rule

pytestmark = pytest.mark.wiring


def test_a_file_is_condemned_by_two_readings_that_agree(moto_server: S3Server, drives, tmp_path: Path) -> None:
    drive = drives["truck_oil_pressure"]
    direct = fresh_bucket(moto_server, "corruption")
    files = upload_files(direct, collect_files([drive.folder]), vehicle_id="v", batch_id="b")
    manifest = Manifest(
        vehicle_id="v",
        vin=drive.vin,
        batch_id="b",
        release="1",
        platform="truck",
        recorded_from="2026-11-18T00:00:00Z",  # type: ignore[arg-type]
        recorded_to="2026-11-18T00:00:12Z",  # type: ignore[arg-type]
        files=tuple(f.entry for f in files),
    )
    lake = Lake.from_url(str(tmp_path / "lake"))
    with FaultProxy(moto_server.endpoint) as proxy:
        options = {**moto_server.storage_options(), "endpoint_url": proxy.url}
        bucket = Bucket.from_url(direct.url, storage_options=options)
        mine = lambda r: r.method == "GET" and r.path.endswith(".mf4")
        proxy.breaks(Rule("flip answer", times=1, checksums=False, matches=mine))
        with pytest.raises(Unavailable, match="different contents"):
            parse_recordings(manifest, bucket=bucket, lake=lake, workers=2)
        assert proxy.broken == {"flip answer": 1}
        parsed = parse_recordings(manifest, bucket=bucket, lake=lake, workers=2)
        assert parsed.frames == drive.frames
        assert parsed.recordings["sha256_verified"].all()
        other = ManifestFile(name=files[0].entry.name, size=files[0].entry.size, sha256="0" * 64)
        with pytest.raises(FilesDiffer):
            parse_recordings(manifest.model_copy(update={"files": (other,)}), bucket=bucket, lake=lake, workers=2)
