"""The lake: whole files or none, the same on a folder and on S3."""

import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from argus_assets.errors import BadTable, PermanentError, Unavailable
from argus_assets.lake.store import Lake
from argus_assets.recordings.schema import PROBLEMS
from argus_assets.runtime.embedded.s3 import S3Server
from argus_assets.stats.schema import ERROR_STATS
from tests.support.disk_log import disk_log
from tests.support.killed import killed_at_every_step


@pytest.fixture(params=["folder", "moto"])
def lake(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    if request.param == "folder":
        return Lake.from_url(str(tmp_path / "lake"))
    server: S3Server = request.getfixturevalue("moto_server")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return Lake.from_url(f"{server.url}/lake-{os.urandom(6).hex()}")


def test_what_is_written_is_read_back(lake: Lake) -> None:
    assert not lake.exists("a/b.bin")
    lake.write_bytes("a/b.bin", b"one")
    lake.write_bytes("a/b.bin", b"two")
    assert lake.exists("a/b.bin")
    assert lake.read_bytes("a/b.bin") == b"two"
    lake.delete("a/b.bin")
    assert not lake.exists("a/b.bin")


def test_tables_are_checked_on_both_ways(lake: Lake) -> None:
    lake.write_table("t.parquet", PROBLEMS.empty(), PROBLEMS)
    assert lake.read_table("t.parquet", PROBLEMS).equals(PROBLEMS.empty())
    with pytest.raises(BadTable):
        lake.read_table("t.parquet", ERROR_STATS)
    with pytest.raises(BadTable):
        lake.write_table("u.parquet", pl.DataFrame({"x": [1]}), PROBLEMS)
    assert not lake.exists("u.parquet")


def test_what_is_not_there_is_permanent_and_says_what_to_do(lake: Lake) -> None:
    with pytest.raises(PermanentError, match="not there") as caught:
        lake.read_bytes("nothing")
    assert caught.value.help


def test_a_folder_arrives_whole(lake: Lake, tmp_path: Path) -> None:
    local = tmp_path / "part"
    local.mkdir()
    for name in ("frames.parquet", "zzz.parquet", "summary.json"):
        (local / name).write_text(name)
    lake.put_folder(local, "parts/x", last="summary.json")
    with lake.local_folder("parts/x") as folder:
        assert {f.name: f.read_text() for f in folder.iterdir()} == {
            name: name for name in ("frames.parquet", "zzz.parquet", "summary.json")
        }


def test_the_marker_of_a_folder_comes_last(tmp_path: Path) -> None:
    lake = Lake.from_url(str(tmp_path / "lake"))
    local = tmp_path / "part"
    (local / "z").mkdir(parents=True)  # cannot be copied as a file
    for name in ("a", "summary.json"):
        (local / name).write_text(name)
    with pytest.raises(Unavailable):
        lake.put_folder(local, "parts/x", last="summary.json")
    assert lake.exists("parts/x/a")
    assert not lake.exists("parts/x/summary.json")


PART = {"frames.parquet": "f" * 5000, "logs.parquet": "l" * 5000, "summary.json": "s" * 5000}


def put_part(folder: Path) -> None:
    """What is killed at every step."""
    for name, content in PART.items():
        (folder / name).write_text(content)
    shutil.rmtree(folder.parent / "lake", ignore_errors=True)
    Lake.from_url(str(folder.parent / "lake")).put_folder(folder, "parts/x", last="summary.json")


def inspect(folder: Path) -> dict[str, str]:
    """The part in the lake after it."""
    part = folder.parent / "lake" / "parts" / "x"
    return {f.name: f.read_text() for f in part.iterdir() if not f.name.startswith(".")} if part.exists() else {}


def test_killed_at_any_step_a_part_with_its_summary_is_whole(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    found = killed_at_every_step("tests.lake.test_store:put_part", tmp_path / "part")
    assert found[-1] == PART
    assert all(one.items() <= PART.items() for one in found), "no file is torn"
    assert all(one == PART for one in found if "summary.json" in one)
    assert any(one and one != PART for one in found)


def test_after_a_power_cut_a_part_with_its_summary_is_whole(tmp_path: Path) -> None:
    local, part = tmp_path / "part", tmp_path / "lake" / "parts" / "x"
    local.mkdir()
    for name, content in PART.items():
        (local / name).write_text(content)
    with disk_log() as log:
        Lake.from_url(str(tmp_path / "lake")).put_folder(local, "parts/x", last="summary.json")
    # From the moment that the summary has its name, it may be on the disk.
    assert log.lasts_at(log.step_of("summary.json")) == {str(part / name) for name in PART if name != "summary.json"}
    assert log.lasts_at(len(log.steps)) == {str(part / name) for name in PART}


def test_a_failed_write_leaves_the_old_content_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake.from_url(str(tmp_path / "lake"))
    lake.write_bytes("a.bin", b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        lake.write_bytes("a.bin", b"new")
    assert [f.name for f in (tmp_path / "lake").iterdir()] == ["a.bin"]
    assert lake.read_bytes("a.bin") == b"old"


def test_a_server_that_does_not_answer_is_a_transient_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Unavailable):
        Lake.from_url("s3://nowhere/lake").read_bytes("a")
