"""Files appear whole or not at all, killed anywhere, and are there after a power cut."""

import errno
import os
from pathlib import Path

import pytest

from argus_assets.common.atomic_file import atomic_file, make_folder, open_folder, sync_folder, write_file
from tests.support.disk_log import disk_log
from tests.support.killed import killed_at_every_step

OLD, NEW = b"old" * 1000, b"new" * 5000


def replace_file(folder: Path) -> None:
    """What is killed at every step."""
    (folder / "file").unlink(missing_ok=True)
    (folder / "file").write_bytes(OLD)
    write_file(folder / "file", NEW)


def inspect(folder: Path) -> dict[str, object]:
    """What a reader finds after it."""
    file = folder / "file"
    content = {OLD: "old", NEW: "new"}.get(file.read_bytes(), "torn") if file.exists() else "none"
    return {"content": content, "shown": sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))}


def test_killed_at_any_step_the_old_file_or_the_new_one_is_there(tmp_path: Path) -> None:
    found = killed_at_every_step("tests.common.test_atomic_file:replace_file", tmp_path)
    contents = [one["content"] for one in found]
    assert "torn" not in contents
    assert contents[-1] == "new"
    assert "old" in contents
    assert all(one["shown"] in ([], ["file"]) for one in found), "what is left behind is hidden"


def test_content_is_synced_before_its_name_and_the_folder_after_it(tmp_path: Path) -> None:
    with disk_log() as log:
        write_file(tmp_path / "file", NEW)
    (first, name, last) = log.steps
    assert name == ("name", first[1], str(tmp_path / "file"))
    assert last == ("sync", str(tmp_path))
    assert first[0] == "sync"
    assert log.lasts_at(2) == set()
    assert log.lasts_at(3) == {str(tmp_path / "file")}


def test_a_new_folder_lasts_before_anything_in_it_does(tmp_path: Path) -> None:
    with disk_log() as log:
        make_folder(tmp_path / "a" / "b")
        make_folder(tmp_path / "a" / "b")
    assert log.steps == [("sync", str(tmp_path)), ("sync", str(tmp_path / "a"))]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "file") as file:
        file.write(NEW)
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == OLD


def test_a_file_that_is_there_stays_where_it_is_not_to_be_replaced(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "file", replace=False, mode=0o600) as file:
        file.write(OLD)
    with pytest.raises(FileExistsError), atomic_file(tmp_path / "file", replace=False) as file:
        file.write(NEW)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == OLD
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_a_file_system_that_cannot_sync_folders_does_without_and_a_failing_disk_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(number: int) -> None:
        raise OSError(number, "no")

    with open_folder(tmp_path) as folder:
        monkeypatch.setattr(os, "fsync", lambda _: fail(errno.EINVAL))
        sync_folder(folder)
        monkeypatch.setattr(os, "fsync", lambda _: fail(errno.EIO))
        with pytest.raises(OSError, match="no"):
            sync_folder(folder)
