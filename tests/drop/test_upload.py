"""Uploading: manifest last, resumable, memory bounded, nothing half done."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.upload import collect_files
from argus_assets.errors import BadFile
from argus_assets.runtime.embedded.s3 import S3Server
from tests.support.bucket_contract import UploadContract, recorded_drive
from tests.support.values import VIN


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    return recorded_drive(tmp_path)


class TestUpload(UploadContract):
    """On a folder and on moto."""


@pytest.mark.parametrize("make", [lambda p: [p / "none"], lambda p: [p]])
def test_nothing_to_upload_is_an_error(tmp_path: Path, make) -> None:
    with pytest.raises(BadFile):
        collect_files(make(tmp_path))


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for n in "12":
        (tmp_path / n).mkdir()
        (tmp_path / n / "a.mcap").write_bytes(b"")
    with pytest.raises(BadFile, match=r"would both be 'a\.mcap'"):
        collect_files([tmp_path / "1" / "a.mcap", tmp_path / "2" / "a.mcap"])


PEAK = """
import resource, sys
from pathlib import Path
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.upload import collect_files, upload_files
bucket = Bucket.from_url(sys.argv[2])
upload_files(bucket, collect_files([Path(sys.argv[1])]), vehicle_id="v", batch_id=sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_memory_does_not_follow_the_size_of_a_file(moto_server: S3Server, tmp_path: Path) -> None:
    """200 MB more to send may cost no more than a few parts of 8 MB."""
    peaks = []
    for megabytes in (40, 240):
        path = tmp_path / f"{megabytes}.mcap"
        with path.open("wb") as file:
            file.truncate(megabytes * 1024**2)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, path, moto_server.url, f"b{megabytes}"],
            env={**os.environ, **moto_server.environment()},
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 48, f"peak MB for 40 and 240 MB: {peaks}"


def test_the_command_drops_a_batch(moto_server: S3Server, drive: Path, tmp_path: Path) -> None:
    from argus_assets.drop.keys import parse_inbox_key
    from argus_assets.drop.manifest import parse_manifest

    url = f"{moto_server.url}/{tmp_path.name}"
    command = [
        sys.executable,
        "-m",
        "argus_assets",
        "drop",
        drive,
        "--vehicle",
        "truck-1",
        "--vin",
        VIN,
    ]
    command += ["--release", "2026.10", "--platform", "truck", "--to", url]
    command += ["--from", "2026-11-23T08:00:00Z", "--until", "2026-11-23T09:00:00Z"]
    environment = {**os.environ, **moto_server.environment()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "3 sent" in done.stdout
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "0 sent, 3 were already there" in again.stdout
    bucket = Bucket.from_url(url, storage_options=moto_server.storage_options())
    (marker,) = bucket.list_inbox(limit=5)
    ref = parse_inbox_key(marker.key)
    assert ref is not None
    manifest = parse_manifest(bucket.read(marker.key, max_bytes=10_000), vehicle_id="truck-1", batch_id=drive.name)
    assert [f.name for f in manifest.files] == ["a.mcap", "cam/b.mcap", "empty.mcap"]
    wrong = subprocess.run([*command[:-1], "yesterday"], env=environment, capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert "not a time" in wrong.stderr
    assert "Traceback" not in wrong.stderr
