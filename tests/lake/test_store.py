"""The lake: whole files or none, the same on a folder and on S3."""

import os
from pathlib import Path

import polars as pl
import pytest

from argus_assets.errors import BadTable, PermanentError, Unavailable
from argus_assets.lake.store import Lake
from argus_assets.recordings.schema import PROBLEMS
from argus_assets.runtime.embedded.s3 import S3Server
from argus_assets.stats.schema import ERROR_STATS


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


def test_the_marker_of_a_folder_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake.from_url(str(tmp_path / "lake"))
    local = tmp_path / "part"
    local.mkdir()
    for name in ("a", "summary.json", "z"):
        (local / name).write_text(name)
    put = type(lake._fs).put_file

    def fail_at_z(fs, source: str, target: str, **options) -> None:
        if source.endswith("/z"):
            raise OSError("disk full")
        put(fs, source, target, **options)

    monkeypatch.setattr(type(lake._fs), "put_file", fail_at_z)
    with pytest.raises(Unavailable, match="disk full"):
        lake.put_folder(local, "parts/x", last="summary.json")
    assert lake.exists("parts/x/a")
    assert not lake.exists("parts/x/summary.json")


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
