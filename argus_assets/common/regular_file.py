"""Read a whole file that somebody else made: it may be no file, grow, or state a false size."""

import os
import stat
from pathlib import Path


class NotRegularError(OSError):
    """The path is not a regular file."""


class TooLargeError(OSError):
    """The file has more bytes than may be read."""


def read_regular(path: Path, max_bytes: int, *, follow: bool = True) -> bytes:
    """Return the bytes of a regular file, without ever blocking: a pipe, a device or a folder is refused.

    Args:
        path: The file.
        max_bytes: Largest size that is read.
        follow: Follow a link in the last part of the path.

    Raises:
        NotRegularError: It is not a regular file.
        TooLargeError: It has more bytes. Found by reading: a file may grow, and those of /proc state no size.
        OSError: It cannot be read.
    """
    # Without O_NONBLOCK, opening a pipe would block.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularError(f"{path} is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > max_bytes:
        raise TooLargeError(f"{path} is larger than {max_bytes} bytes")
    return data
