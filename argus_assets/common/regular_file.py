"""Reading a file whole that somebody else made: it may be no file, grow, or state a size that is not its own."""

import os
import stat
from pathlib import Path


class NotRegularError(OSError):
    """There is something, but no regular file."""


class TooLargeError(OSError):
    """There is more in the file than may be read."""


def read_regular(path: Path, max_bytes: int, *, follow: bool = True) -> bytes:
    """Return the bytes of a regular file. Nothing is waited for: a pipe, a device or a folder is refused.

    Args:
        path: The file.
        max_bytes: How many there may be.
        follow: Follow a link in the last part of the path.

    Raises:
        NotRegularError: It is something else.
        TooLargeError: There are more bytes; found by reading, as a file may grow, and those of /proc state no size.
        OSError: It cannot be read.
    """
    # Without O_NONBLOCK a pipe would be waited for.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularError(f"{path} is no regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > max_bytes:
        raise TooLargeError(f"{path} is larger than {max_bytes} bytes")
    return data
