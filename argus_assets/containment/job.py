"""The surroundings of a job inside of a confined process: its source, its folder, and the limit that ends it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

BLOCK_BYTES: Final = 8 * 1024**2
"""Bytes of the source that are asked for at a time."""


class LimitReached(BaseException):
    """The job has used what it may; raised wherever it is. What was done so far may be kept.

    Attributes:
        what: The limit: `12 s of CPU time`.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(what)


class Readable(Protocol):
    """Bytes that are read from any place, as `recordings.model.Source` has them."""

    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


class RemoteSource:
    """A source whose bytes the process outside reads: it fills a block of shared memory when it is asked.

    Args:
        ask: Has the bytes from an offset on written to the start of `shared`; return how many there are.
        shared: Descriptor of the shared memory.
        size: Bytes of the source.
    """

    def __init__(self, ask: Callable[[int, int], int], shared: int, size: int) -> None:
        self._ask = ask
        self._shared = shared
        self._size = size
        self._at = 0
        self._block = b""
        self._block_at = 0

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move; nothing is read."""
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, fewer at the end only."""
        end = self._size if size < 0 else min(self._at + size, self._size)
        parts: list[bytes] = []
        while self._at < end:
            skip = self._at - self._block_at
            if not 0 <= skip < len(self._block):
                self._block_at = self._at - self._at % BLOCK_BYTES
                wanted = min(BLOCK_BYTES, self._size - self._block_at)
                self._block = os.pread(self._shared, self._ask(self._block_at, wanted), 0)
                continue
            part = self._block[skip : skip + end - self._at]
            parts.append(part)
            self._at += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readable(self) -> bool:
        """Return true."""
        return True


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to do inside.

    Attributes:
        folder: Where it may write; empty when it begins.
        source: What it reads, if anything was given.
        progress: Call it now and then, with what is done: a job that is silent for too long is ended.
        is_last_try: What it makes is kept even when its memory does not suffice.
    """

    folder: Path
    source: Readable | None
    progress: Callable[..., None]
    is_last_try: bool


Function = Callable[..., dict[str, Any]]
"""A job: takes a `Job` and the arguments that were sent, returns what JSON can hold."""
