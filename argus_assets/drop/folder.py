"""A folder as a store of objects: regular files below a root, by keys with forward slashes. Knows nothing of batches.

The root may be a link; nothing below it is reached through one. Each part of a key is opened from the folder before it,
without following, so that no link leads to another object or out of the folder, whenever it was put there. What is
neither a file nor a folder is not opened for reading either: a pipe would be waited for, a device never ends.

Files and folders whose names begin with a dot are no objects: programs put unfinished files under such names.
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
"""Errors of one file or folder. Any other speaks of the disk, the server or this process."""

_MAX_TOLD: Final = 1000
"""Entries that are told of one by one, in the life of a process."""

_log: Final = logging.getLogger(__name__)
_told: Final[set[tuple[str, str]]] = set()


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

    # ------------------------------------------------------------------------------------------ looking

    def walk(self, prefix: str, start_after: str) -> Iterator[tuple[str, os.stat_result]]:
        """Objects below a prefix, which ends with a slash, in key order, after the key `start_after`.

        What cannot be looked at is passed over, and told once. That holds for all but the first part of a key, which all
        vehicles share.

        Raises:
            BadSetting: That folder is a link.
            OSError: It cannot be read, or the disk does not answer.
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
        # Key order differs from path order where a name holds a character below the slash.
        for key in sorted(keys):
            if key > start_after:
                found = self.stat(key)
                if found is not None:
                    yield key, found

    def names(self, prefix: str) -> list[str]:
        """Names of files and folders one level below a prefix; else as `walk`."""
        return [name for name, _ in self._entries(_parts(prefix))]

    def stat(self, key: str) -> os.stat_result | None:
        """What is known of an object, `None` when there is none.

        Raises:
            OSError: It cannot be looked at.
        """
        *folders, name = _parts(key)
        try:
            with self._opened(folders) as number:
                found = os.stat(name, dir_fd=number, follow_symlinks=False)
        except AccessDenied as error:
            self._pass_over(key, error.what)
            return None
        except OSError as error:
            if error.errno in _NO_SUCH_NAME:
                return None
            raise
        if not stat.S_ISREG(found.st_mode):
            if not stat.S_ISDIR(found.st_mode):
                self._pass_over(key, _what(found))
            return None
        return found

    def open(self, key: str) -> BinaryIO:
        """Open an object for reading.

        Raises:
            BadFile: What is there is no file.
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
        """Open an object for writing; it appears whole when the block ends well, else nothing appears.

        Args:
            key: Of the object.
            replace: Take the place of one that is there.

        Raises:
            FileExistsError: There is one, and it is not to be replaced.
            AccessDenied: A folder on the way is a link, or a file.
        """
        *folders, name = _parts(key)
        with self._opened(folders, make=True) as number:
            with file_in(number, name, replace=replace) as file:  # under a hidden name, which listings skip
                yield file
            sync_folder(number)

    def copy(self, source: str, target: str) -> None:
        """Copy an object."""
        with self.open(source) as old, self.create(target) as new:
            shutil.copyfileobj(old, new, 1024 * 1024)

    def delete(self, key: str) -> None:
        """Delete an object; one that is gone is fine."""
        *folders, name = _parts(key)
        with suppress(FileNotFoundError), self._opened(folders) as number:
            os.unlink(name, dir_fd=number)

    # ------------------------------------------------------------------------------------------ inside

    @contextmanager
    def _opened(self, parts: Sequence[str], *, make: bool = False) -> Generator[int]:
        """A folder below the root, opened part by part.

        Raises:
            BadSetting: The first part is a link.
            AccessDenied: Another part is, or is a file where a folder is to be made.
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
                        raise  # as when a store does not answer: somebody may move it away
                    # All vehicles share the first part: nothing is passed over there.
                    kind = BadSetting if at == 0 else AccessDenied
                    raise kind(
                        f"{printable('/'.join(parts[: at + 1]))!r} in {self._root} {_what(found)}, expected a folder.",
                        help="Links inside a folder bucket are not followed: mount what is elsewhere, or move it here.",
                    ) from None
                os.close(number)
                number = inner
            yield number
        finally:
            os.close(number)

    def _entries(self, parts: Sequence[str]) -> list[tuple[str, bool]]:
        """Names in a folder, each with whether it is a folder; empty where there is none."""
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
                        why = _what(entry.stat(follow_symlinks=False))
                        self._pass_over("/".join((*parts, entry.name)), why)
        except FileNotFoundError:
            return found
        except AccessDenied as error:
            self._pass_over("/".join(parts), error.what)
        except OSError as error:
            if len(parts) <= 1 or error.errno not in _ONE_ENTRY:
                raise
            self._pass_over("/".join(parts), os.strerror(error.errno))
        return found

    def _pass_over(self, key: str, why: str) -> None:
        """Tell of an entry that is no object, once in the life of a process."""
        if (self._root, key) in _told or len(_told) > _MAX_TOLD:
            return
        _told.add((self._root, key))
        if len(_told) > _MAX_TOLD:
            _log.warning("Further entries of folder buckets that are passed over are not told of.")
            return
        _log.warning("%r in the folder bucket %s is passed over: %s", printable(key), self._root, why)


def _parts(key: str) -> tuple[str, ...]:
    return tuple(part for part in key.split("/") if part not in {"", "."})


def _what(found: os.stat_result) -> str:
    if stat.S_ISLNK(found.st_mode):
        return "is a link"
    return "is a file" if stat.S_ISREG(found.st_mode) else "is no file"


def _no_file(key: str) -> BadFile:
    return BadFile(
        f"{printable(key)!r} is a link, a pipe or a device, expected a file.",
        help="Put the file itself into the bucket: links are not followed.",
    )
