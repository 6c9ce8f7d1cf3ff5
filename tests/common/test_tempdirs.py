"""What a killed process had on disk goes, and nothing that is in use does."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from argus_assets.common.tempdirs import remove_folder, scratch_folder
from argus_assets.errors import Unavailable

USES_ONE = """
import sys
from argus_assets.common.tempdirs import scratch_folder
with scratch_folder() as folder:
    (folder / "recording").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    sys.stdin.read()
"""


@contextmanager
def user_of_a_folder(place: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that uses a scratch folder until its input ends, and that folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", USES_ONE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(place)},
    )
    assert process.stdout is not None
    with process:
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_a_folder_goes_with_its_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder() as folder:
        assert list(folder.iterdir()) == []
        (folder / "file").write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []


def test_whatever_was_put_into_a_folder_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    here = Path.cwd()
    with scratch_folder() as folder:
        try:
            os.chdir(folder)
            (folder / "link").symlink_to(kept)
            (folder / "closed").mkdir()
            (folder / "closed" / "file").write_text("x")
            (folder / "closed").chmod(0)
            for _ in range(3000):
                Path("d" * 100).mkdir()
                Path("file").write_text("x")
                Path("to").symlink_to(kept)
                os.chdir("d" * 100)
        finally:
            os.chdir(here)
    assert list(tmp_path.iterdir()) == [kept]
    assert (kept / "file").read_text() == "x"


def test_a_link_in_place_of_a_folder_is_what_goes(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    (tmp_path / "link").symlink_to(kept)
    remove_folder(tmp_path / "link")
    remove_folder(tmp_path / "nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (kept / "file").exists()


def test_what_a_killed_process_left_is_removed_by_the_next_and_what_is_in_use_stays(tmp_path: Path) -> None:
    with user_of_a_folder(tmp_path) as (_, used):
        with user_of_a_folder(tmp_path) as (process, left):
            process.kill()
        assert (left / "recording").exists(), "nobody has removed it"
        with user_of_a_folder(tmp_path) as (_, next_one):
            assert set(tmp_path.iterdir()) == {used.parent, next_one.parent}
            assert (used / "recording").exists()


def test_a_process_that_was_forked_looks_again(tmp_path: Path) -> None:
    # As the code server does it: its workers are forked from one process.
    program = (
        "import os, sys\nfrom argus_assets.common.tempdirs import scratch_folder\nwith scratch_folder(): pass\n"
        "print('looked', flush=True); sys.stdin.read()\n"
        "child = os.fork()\nif child == 0:\n    with scratch_folder(): pass\n    os._exit(0)\nos.waitpid(child, 0)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "looked\n"
        with user_of_a_folder(tmp_path) as (process, left):
            process.kill()
        assert left.exists()
        parent.communicate(timeout=30)
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_being_made_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "files").mkdir(parents=True)
    (elsewhere / ".lock").touch()
    place = tmp_path / "place"
    place.mkdir()
    (place / "argus-scratch-new").mkdir()
    (place / "argus-scratch-link").symlink_to(elsewhere)
    (place / "argus-scratch-file").touch()
    with user_of_a_folder(place) as (_, used):
        names = {"argus-scratch-new", "argus-scratch-link", "argus-scratch-file", used.parent.name}
        assert {p.name for p in place.iterdir()} == names
    assert (elsewhere / ".lock").exists()


@contextmanager
def small_disk(place: Path, options: str) -> Iterator[None]:
    """A file system of its own at `place` for the time of the block."""
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=False).returncode
    ):
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("options", ["size=1m,nr_inodes=2", "size=1m,nr_inodes=3", "size=1m,nr_inodes=4", "ro"])
def test_no_inodes_or_no_writing_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with (
        small_disk(tmp_path, options),
        pytest.raises(Unavailable, match=str(tmp_path)) as told,
        scratch_folder() as made,
    ):
        (made / "a").touch()
        (made / "b").touch()
    assert "TMPDIR" in told.value.help


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_without_room_is_told_from_within_the_block(number: int) -> None:
    with pytest.raises(Unavailable, match=os.strerror(number)), scratch_folder():
        raise OSError(number, os.strerror(number))


def test_other_errors_pass_through_as_they_are() -> None:
    for error in (FileNotFoundError(errno.ENOENT, "none"), ValueError("x")):
        with pytest.raises(type(error)) as told, scratch_folder():
            raise error
        assert told.value is error
