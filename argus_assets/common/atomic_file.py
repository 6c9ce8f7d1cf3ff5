"""Files that appear whole or not at all, and are still there after a power cut.

A file is written under a hidden name in the folder where it belongs, synced, and renamed; then the folder is synced, which
makes the name last. Killed at any step, a reader finds the old file or the new one. What a killed process leaves behind is
hidden and ends in `.part`.
"""

import errno
import os
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_CANNOT_SYNC: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})
"""Errors of file systems that cannot sync a folder, such as CIFS; they order names on their own."""


def write_file(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file into a folder that is there.

    Args:
        path: The file; one that is there is replaced.
        content: What is in it.
        mode: Permissions of the file, less the process's umask.

    Raises:
        OSError: It cannot be written. The old file is untouched.
    """
    with atomic_file(path, mode=mode) as file:
        file.write(content)


@contextmanager
def atomic_file(path: Path, *, replace: bool = True, mode: int = 0o666) -> Generator[BinaryIO]:
    """Open a file for writing in a folder that is there; it appears when the block ends well, else nothing appears.

    Args:
        path: The file.
        replace: Take the place of one that is there.
        mode: Permissions of the file, less the process's umask.

    Raises:
        FileExistsError: There is one, and it is not to be replaced.
        OSError: It cannot be written.
    """
    with open_folder(path.parent) as folder:
        with file_in(folder, path.name, replace=replace, mode=mode) as file:
            yield file
        sync_folder(folder)


@contextmanager
def file_in(folder: int, name: str, *, replace: bool = True, mode: int = 0o666) -> Generator[BinaryIO]:
    """Open a file for writing in an open folder; its name lasts once `sync_folder` was called.

    Args:
        folder: Descriptor of the folder.
        name: Of the file.
        replace: Take the place of one that is there.
        mode: Permissions of the file, less the process's umask.

    Raises:
        FileExistsError: There is one, and it is not to be replaced.
        OSError: It cannot be written.
    """
    temporary = f".{uuid.uuid4().hex}.part"
    file = os.fdopen(os.open(temporary, _CREATE, mode, dir_fd=folder), "wb")
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        else:
            os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)


@contextmanager
def open_folder(path: Path) -> Generator[int]:
    """Open a folder; the descriptor is closed when the block ends.

    Raises:
        OSError: It is not there, or is no folder.
    """
    folder = os.open(path, _FOLDER)
    try:
        yield folder
    finally:
        os.close(folder)


def make_folder(path: Path) -> None:
    """Make a folder that lasts, and those above it; one that is there is fine.

    Raises:
        OSError: It cannot be made.
    """
    if path.is_dir():
        return
    make_folder(path.parent)
    with suppress(FileExistsError):
        path.mkdir()
    with open_folder(path.parent) as above:
        sync_folder(above)


def sync_folder(folder: int) -> None:
    """Make the names in an open folder last, as far as its file system can.

    Raises:
        OSError: The disk failed.
    """
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
