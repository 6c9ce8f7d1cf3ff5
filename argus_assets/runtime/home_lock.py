"""The lock of a home: one supervisor at a time."""

import fcntl
import os
from pathlib import Path
from typing import Final

from argus_assets.errors import BadSetting
from argus_assets.runtime.private_folder import own_home

_FILE: Final = "platform.lock"


class HomeLock:
    """Lock that a supervisor holds on its home. It is the kernel's: a killed process leaves none behind.

    Args:
        home: The folder.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Make the home, close it to other users, and take its lock.

        Raises:
            BadSetting: Another process holds it, or the folder is not ours.
        """
        own_home(self._home)
        descriptor = os.open(self._home / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise home_is_taken(self._home) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the home; harmless when repeated."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def owner_of(home: Path) -> str | None:
    """Return the id of the process that runs Argus in this home, `None` without one."""
    lock = home / _FILE
    if not lock.exists():
        return None
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read().strip() or "?"
    return None


def home_is_taken(home: Path) -> BadSetting:
    """Return the error to raise where Argus runs already."""
    return BadSetting(
        f"Argus already runs in {home} (process {owner_of(home)}).",
        help="Stop it first, or give another --home.",
    )
