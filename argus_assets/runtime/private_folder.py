"""Folders that no other user of the machine can enter: the home, and where sockets are."""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from argus_assets.common.atomic_file import write_file
from argus_assets.errors import BadSetting

MAX_SOCKET_PATH_BYTES: Final = 103
"""Length of `sun_path` on the systems we run on, less its end mark (unix(7): 108, macOS: 104)."""

_MARKS: Final = ("platform.lock", "postgres", "dagster", ".argus-demo")
"""One of these is in every home that Argus has run in."""

_SOCKETS: Final = Path("/tmp")  # noqa: S108 - for folders with random names, made with mode 0700
"""Where socket folders go that have no room in the home: the one place whose name is short everywhere."""


def own_home(home: Path) -> None:
    """Make the home, or close one that is there to other users.

    Raises:
        BadSetting: It is somebody else's, others may write into it, or for root: it is open to others and was no home of
            Argus.
    """
    with suppress(FileExistsError):
        home.mkdir(mode=0o700, parents=True)
        return
    found, named, me = home.stat(), home.lstat(), os.geteuid()
    mode = stat.S_IMODE(found.st_mode)
    give = "Give a folder of your own: --home, or ARGUS_HOME."
    if not stat.S_ISDIR(found.st_mode):
        raise BadSetting(f"{home} is not a folder.", help=give)
    if me != 0 and (found.st_uid != me or named.st_uid not in (me, 0)):
        raise BadSetting(f"{home} belongs to another user (id {found.st_uid}).", help=give)
    if mode & stat.S_IWOTH:
        raise BadSetting(f"Every user may write into {home} (mode {mode:04o}).", help=give)
    if found.st_uid != me or not mode & 0o077:
        return
    if me != 0:
        home.chmod(mode & 0o700)
    elif any((home / mark).exists() for mark in _MARKS) or not any(home.iterdir()):
        home.chmod(mode & 0o710)  # PostgreSQL's own user may pass through as the folder's group
    elif mode & 0o067:  # what is root's may be a folder of the system
        raise BadSetting(
            f"{home} is open to other users (mode {mode:04o}), and has not been a home of Argus before.",
            help=f"Close it with `chmod 700 {home}`, or give an empty folder.",
        )


def is_private(folder: Path, owner: int) -> bool:
    """Return true when a path is a folder, no link, of this user (id) and closed to all others."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == owner and not found.st_mode & 0o077


def fits_socket(path: Path) -> bool:
    """Return true when a socket may have this path."""
    return len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES


def noted_folder(note: Path, owner: int) -> Path | None:
    """Return the socket folder that `make_socket_folder` made and noted; `None` when there is none, or it is not private."""
    try:
        folder = Path(os.fsdecode(note.read_bytes()))
    except OSError:
        return None
    return folder if is_private(folder, owner) else None


def make_socket_folder(note: Path, owner: int) -> Path:
    """Make a private folder for sockets with a random name outside of the home, and note it in a file of the home.

    Args:
        note: The file; it is replaced.
        owner: Id of the user it is for.
    """
    folder = Path(tempfile.mkdtemp(prefix="argus-", dir=_SOCKETS))
    if owner != os.geteuid():
        os.chown(folder, owner, -1)
    write_private(note, os.fsencode(folder))
    return folder


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    write_file(path, content, mode=0o600)
