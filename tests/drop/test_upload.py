"""Uploading: manifest last, resumable, memory bounded, nothing half done."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.upload import collect_files, upload_files
from argus_assets.errors import BadFile
from argus_assets.runtime.embedded.s3 import S3Server

START = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    folder = tmp_path / "drive"
    (folder / "cam").mkdir(parents=True)
    (folder / "a.mcap").write_bytes(os.urandom(300_000))
    (folder / "cam" / "b.mcap").write_bytes(os.urandom(9 * 1024**2))
    (folder / "empty.mcap").write_bytes(b"")
    (folder / ".hidden").write_bytes(b"not dropped")
    return folder


def test_files_arrive_with_their_names_and_hashes(bucket: Bucket, drive: Path) -> None:
    files = collect_files([drive])
    done = upload_files(bucket, files, vehicle_id="v", batch_id="b")
    assert [f.entry.name for f in done] == ["a.mcap", "cam/b.mcap", "empty.mcap"]
    for f in done:
        raw = (drive / f.entry.name).read_bytes()
        assert f.entry.sha256 == sha256(raw).hexdigest()
        with bucket.open(f"batches/v/b/{f.entry.name}") as there:
            assert there.read() == raw
    assert bucket.list_inbox(limit=1) == [], "no manifest before drop_manifest"


def test_what_is_there_is_not_sent_again(bucket: Bucket, drive: Path) -> None:
    upload_files(bucket, collect_files([drive]), vehicle_id="v", batch_id="b")
    bucket.delete("batches/v/b/a.mcap")
    (drive / "cam" / "b.mcap").write_bytes(os.urandom(9 * 1024**2))  # same size, other content
    again = upload_files(bucket, collect_files([drive]), vehicle_id="v", batch_id="b")
    assert {f.entry.name for f in again if f.sent} == {"a.mcap", "cam/b.mcap"}


def test_progress_counts_every_byte_twice(bucket: Bucket, drive: Path) -> None:
    files = collect_files([drive])
    for _ in range(2):  # sent, then found to be there
        counted: list[int] = []
        upload_files(bucket, files, vehicle_id="v", batch_id="b", on_bytes=counted.append)
        assert sum(counted) == 2 * sum(f.size for f in files)


def test_a_file_that_changes_on_the_way_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    path = tmp_path / "growing.mcap"
    path.write_bytes(b"x" * 3 * 1024**2)
    changed = False

    def touch(_: int) -> None:
        nonlocal changed
        if not changed:
            changed = True
            path.write_bytes(b"y" * 3 * 1024**2)

    with pytest.raises(BadFile, match=r"changed|grew"):
        upload_files(bucket, collect_files([path]), vehicle_id="v", batch_id="b", on_bytes=touch)
    assert not bucket.exists("batches/v/b/growing.mcap")


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
        "1M8GDM9AXKP042788",
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
