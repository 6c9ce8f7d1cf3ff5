"""Temporary folders that are cleaned up even when their process is killed.

A killed process leaves what it had on disk, and a copy of a recording may be as large as the recording. Each folder is
held by a lock that the kernel drops when its process ends. The next process that needs a folder removes those that
nobody holds.
"""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final
from uuid import uuid4

from argus_assets.errors import Unavailable

_PREFIX: Final = "argus-scratch-"
_LOCK: Final = ".lock"
_INSIDE: Final = "files"
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


@contextmanager
def scratch_folder() -> Generator[Path]:
    """Make an empty folder for the time of the block, in the system's place for temporary files (`TMPDIR`).

    The first call in a process also removes what dead processes left behind.

    Raises:
        Unavailable: No folder can be made there; or in the block, a disk was full or not writable.
    """
    with _system_errors():
        _sweep_for(os.getpid())
        # What cannot be removed at the end is left to the next process.
        made = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
    with made, _system_errors(_NO_ROOM):
        folder = Path(made.name)
        held = -1
        try:
            with _system_errors():
                # Renamed once it is held: other processes do not remove a folder without a lock of this name.
                unnamed = folder / f"{_LOCK}.new"
                held = os.open(unnamed, os.O_CREAT | os.O_RDWR, 0o600)
                fcntl.flock(held, fcntl.LOCK_EX)
                unnamed.rename(folder / _LOCK)
                inside = folder / _INSIDE
                inside.mkdir()
            yield inside
        finally:
            remove_folder(folder / _INSIDE)
            if held >= 0:
                os.close(held)


@contextmanager
def _system_errors(numbers: Collection[int] | None = None) -> Generator[None]:
    """Translate operating-system errors with one of these numbers, by default any, into `Unavailable`.

    The lake and the bucket translate their own errors: what is left is of the temporary folder.
    """
    try:
        yield
    except OSError as error:
        if numbers is not None and error.errno not in numbers:
            raise
        raise Unavailable(
            f"Scratch files cannot be written in {_place()}: {error.strerror or error}.",
            help="Free space and inodes there, make it writable, or name another place for temporary files: TMPDIR.",
        ) from error


def _place() -> str:
    """Return the system's place for temporary files, or where it should be when none is writable."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return os.environ.get("TMPDIR", "the places for temporary files")


def remove_folder(folder: Path) -> None:
    """Remove a folder and everything in it, however deep, as far as it can be removed.

    It may be nested more deeply than recursion or a path can go: each folder in it is moved up before it is emptied.
    """
    if folder.is_symlink() or not folder.is_dir():
        with suppress(OSError):
            folder.unlink(missing_ok=True)
        return
    waiting = [folder]
    while waiting:
        at = waiting.pop()
        with suppress(OSError):
            at.chmod(0o700)  # it may have been made unreadable
        with suppress(OSError), os.scandir(at) as entries:
            for entry in list(entries):
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        moved = folder / f"moved-{uuid4().hex}"
                        os.rename(entry.path, moved)  # noqa: PTH104 - a path of any bytes
                        waiting.append(moved)
                    else:
                        os.unlink(entry.path)  # noqa: PTH108
        with suppress(OSError):
            at.rmdir()
    with suppress(OSError):
        folder.rmdir()


@cache
def _sweep_for(_process: int) -> None:
    """Remove the temporary folders of this user whose process is dead.

    Once per process, including forked ones.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another process was faster, or the folder is not ours
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The lock goes last: killed here, the folder is still recognised by the next process.
                remove_folder(folder / _INSIDE)
                shutil.rmtree(folder)
            finally:
                os.close(lock)
