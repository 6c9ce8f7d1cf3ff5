"""A folder as an object store: regular files below a root, by keys with forward slashes. Does not know batches.

The root may be a link; nothing below it is reached through one. Each part of a key is opened relative to the folder
before it, without following links, so that none leads to another object or out of the folder, whenever it was put there.
Only regular files are opened for reading: a pipe would block, a device never ends.

Files and folders whose names begin with a dot are not objects: programs put unfinished files under such names.
"""

import errno
import logging
import os
import shutil
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from argus_assets.common.atomic_file import file_in, sync_folder
from argus_assets.drop.keys import is_hidden, printable
from argus_assets.errors import AccessDenied, BadFile, BadSetting

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_NO_SUCH_NAME: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
_ONE_ENTRY: Final = frozenset({errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENXIO})
"""Errors of one file or folder. Any other is of the disk, the server or this process."""

_MAX_LOGGED: Final = 1000
"""Skipped entries that a process logs one by one."""

_log: Final = logging.getLogger(__name__)
_logged: Final[set[tuple[str, str]]] = set()


class Folder:
    """Objects below a folder. Keys are relative and checked by the caller.

    Args:
        root: Path of the folder.
    """

    def __init__(self, root: str) -> None:
        self._root = root

    def ensure(self) -> None:
        """Make the folder."""
        Path(self._root).mkdir(parents=True, exist_ok=True)

    # ------------------------------------------------------------------------------------------ listing

    def walk(self, prefix: str, start_after: str) -> Iterator[tuple[str, os.stat_result]]:
        """Yield objects below a prefix, which ends in a slash, in key order, after the key `start_after`.

        Entries that cannot be read are skipped, and logged once: all but the first part of a key, which all vehicles
        share.

        Raises:
            BadSetting: The first part is a link.
            OSError: It cannot be read, or the disk failed.
        """
        pending = [_parts(prefix)]
        keys: list[str] = []
        while pending:
            parts = pending.pop()
            for name, is_folder in self._entries(parts):
                if is_folder:
                    pending.append((*parts, name))
                else:
                    keys.append("/".join((*parts, name)))
        # Key order differs from path order where a name has a character below the slash.
        for key in sorted(keys):
            if key > start_after:
                found = self.stat(key)
                if found is not None:
                    yield key, found

    def names(self, prefix: str) -> list[str]:
        """Return the names of files and folders one level below a prefix; otherwise like `walk`."""
        return [name for name, _ in self._entries(_parts(prefix))]

    def stat(self, key: str) -> os.stat_result | None:
        """Return size, times and inode of an object, `None` when there is none.

        Raises:
            OSError: They cannot be read.
        """
        *folders, name = _parts(key)
        try:
            with self._opened(folders) as number:
                found = os.stat(name, dir_fd=number, follow_symlinks=False)
        except AccessDenied as error:
            self._log_skipped(key, error.what)
            return None
        except OSError as error:
            if error.errno in _NO_SUCH_NAME:
                return None
            raise
        if not stat.S_ISREG(found.st_mode):
            if not stat.S_ISDIR(found.st_mode):
                self._log_skipped(key, _kind(found))
            return None
        return found

    def open(self, key: str) -> BinaryIO:
        """Open an object for reading.

        Raises:
            BadFile: It is not a regular file.
            AccessDenied: A folder on the way is a link.
            OSError: There is none, or it cannot be opened.
        """
        *folders, name = _parts(key)
        try:
            with self._opened(folders) as number:
                file = os.fdopen(os.open(name, _READ, dir_fd=number), "rb")
        except OSError as error:
            if error.errno in _NO_SUCH_NAME:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), key) from error
            if error.errno in {errno.ELOOP, errno.ENXIO}:
                raise _no_file(key) from error
            raise
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise _no_file(key)
        return file

    # ------------------------------------------------------------------------------------------ writing

    @contextmanager
    def create(self, key: str, *, replace: bool = True) -> Generator[BinaryIO]:
        """Open an object for writing; it appears whole when the block succeeds, else nothing appears.

        Args:
            key: Key of the object.
            replace: Replace an existing object.

        Raises:
            FileExistsError: There is one that is not to be replaced.
            AccessDenied: A folder on the way is a link, or a file.
        """
        *folders, name = _parts(key)
        with self._opened(folders, make=True) as number:
            with file_in(number, name, replace=replace) as file:  # hidden until it is whole: listings skip it
                yield file
            sync_folder(number)

    def copy(self, source: str, target: str) -> None:
        """Copy an object."""
        with self.open(source) as old, self.create(target) as new:
            shutil.copyfileobj(old, new, 1024 * 1024)

    def delete(self, key: str) -> None:
        """Delete an object; a missing one is fine."""
        *folders, name = _parts(key)
        with suppress(FileNotFoundError), self._opened(folders) as number:
            os.unlink(name, dir_fd=number)

    # ------------------------------------------------------------------------------------------ inside

    @contextmanager
    def _opened(self, parts: Sequence[str], *, make: bool = False) -> Generator[int]:
        """Open a folder below the root, part by part, for the time of the block.

        Raises:
            BadSetting: The first part is a link.
            AccessDenied: Another part is a link, or a file where a folder is to be made.
            NotADirectoryError: The first part is a file.
        """
        number = os.open(self._root, _FOLDER)
        try:
            for at, part in enumerate(parts):
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=number)
                        sync_folder(number)
                try:
                    inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=number)
                except NotADirectoryError:
                    found = os.stat(part, dir_fd=number, follow_symlinks=False)
                    if not stat.S_ISLNK(found.st_mode) and (at == 0 or not make):
                        raise  # transient, like a store that does not answer: somebody may move it away
                    # All vehicles share the first part: it is never skipped.
                    kind = BadSetting if at == 0 else AccessDenied
                    raise kind(
                        f"{printable('/'.join(parts[: at + 1]))!r} in {self._root} {_kind(found)}, expected a folder.",
                        help="Links inside a folder bucket are not followed: mount what is elsewhere, or move it here.",
                    ) from None
                os.close(number)
                number = inner
            yield number
        finally:
            os.close(number)

    def _entries(self, parts: Sequence[str]) -> list[tuple[str, bool]]:
        """Return the names in a folder, each with whether it is a folder itself; none when the folder does not exist."""
        found: list[tuple[str, bool]] = []
        try:
            with self._opened(parts) as number, os.scandir(number) as entries:
                for entry in entries:
                    if is_hidden(entry.name):
                        continue
                    is_folder = entry.is_dir(follow_symlinks=False)
                    if is_folder or entry.is_file(follow_symlinks=False):
                        found.append((entry.name, is_folder))
                    else:
                        why = _kind(entry.stat(follow_symlinks=False))
                        self._log_skipped("/".join((*parts, entry.name)), why)
        except FileNotFoundError:
            return found
        except AccessDenied as error:
            self._log_skipped("/".join(parts), error.what)
        except OSError as error:
            if len(parts) <= 1 or error.errno not in _ONE_ENTRY:
                raise
            self._log_skipped("/".join(parts), os.strerror(error.errno))
        return found

    def _log_skipped(self, key: str, why: str) -> None:
        """Log an entry that is not an object, once per process."""
        if (self._root, key) in _logged or len(_logged) > _MAX_LOGGED:
            return
        _logged.add((self._root, key))
        if len(_logged) > _MAX_LOGGED:
            _log.warning("Further skipped entries of folder buckets are not logged.")
            return
        _log.warning("Skipping %r in the folder bucket %s: %s", printable(key), self._root, why)


def _parts(key: str) -> tuple[str, ...]:
    return tuple(part for part in key.split("/") if part not in {"", "."})


def _kind(found: os.stat_result) -> str:
    if stat.S_ISLNK(found.st_mode):
        return "is a link"
    return "is a file" if stat.S_ISREG(found.st_mode) else "is not a regular file"


def _no_file(key: str) -> BadFile:
    return BadFile(
        f"{printable(key)!r} is a link, a pipe or a device, expected a file.",
        help="Put the file itself into the bucket: links are not followed.",
    )
