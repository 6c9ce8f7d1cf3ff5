"""Read an object forward by parallel ranged reads, without a copy, and hash it on the way."""

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from argus_assets.errors import Unavailable

BLOCK_BYTES: Final = 8 * 1024**2
WINDOW: Final = 6
_READERS: Final = 4
_TRIES: Final = 3
_PAUSE_S: Final = 0.3

Fetch = Callable[[int, int], bytes]
"""(start, end) → the bytes of that range, or fewer at the end of the object. Called from several threads."""


class RangedSource:
    """A `recordings.model.Source` over ranged reads, for one reader that goes forward and rarely jumps.

    Blocks ahead of the reader are fetched in parallel. Every block goes through SHA-256 once, in order; blocks that the
    reader skips are fetched for that, too.

    Args:
        fetch: Reads a range.
        size: Bytes of the object.
        block_bytes: Bytes of one read.
        window: Blocks in memory, at least 2.
    """

    def __init__(self, fetch: Fetch, size: int, *, block_bytes: int = BLOCK_BYTES, window: int = WINDOW) -> None:
        self._fetch = fetch
        self._size = size
        self._block_bytes = block_bytes
        self._window = max(2, window)
        self._blocks = -(-size // block_bytes)
        self._held: dict[int, Future[bytes]] = {}
        self._at = 0
        self._digest = hashlib.sha256()
        self._hashed = 0
        self._length = 0
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(min(_READERS, self._window), thread_name_prefix="ranged")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._held.clear()

    @property
    def blocks_held(self) -> int:
        """Return the number of blocks in memory, those that are being read included."""
        return len(self._held)

    # ------------------------------------------------------------------------------------------ a file

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to an offset; nothing is read."""
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, fewer only at the end.

        Raises:
            Unavailable: A range could not be read, or became shorter while the object was read.
        """
        end = self._size if size < 0 else min(self._at + size, self._size)
        parts: list[bytes] = []
        while self._at < end:
            index, skip = divmod(self._at, self._block_bytes)
            block = self._block(index)
            part = block[skip : skip + end - self._at]
            parts.append(part)
            self._at += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readable(self) -> bool:
        """Return `True`, as a file that can be read does."""
        return True

    # ------------------------------------------------------------------------------------------ the hash

    def finish(self) -> tuple[str, int]:
        """Read the rest, and return SHA-256 (hex) and length of the whole object."""
        while self._hashed < self._blocks:
            self._block(self._hashed)
        return self._digest.hexdigest(), self._length

    # ------------------------------------------------------------------------------------------ blocks

    def _block(self, index: int) -> bytes:
        """Return a block, after those before it where the reader has only just skipped them."""
        is_next = index <= self._hashed + self._window
        if is_next:
            # What was skipped is hashed on the way.
            while self._hashed < index:
                self._take(self._hashed)
        return self._take(index)

    def _take(self, index: int) -> bytes:
        ahead = range(index + 1, min(index + self._window - 1, self._blocks)) if index <= self._hashed else ()
        for wanted in (index, *ahead):
            if wanted not in self._held:
                self._make_room(index)
                if len(self._held) >= self._window and wanted != index:
                    break
                self._held[wanted] = self._pool.submit(self._read_block, wanted)
        block = self._held[index].result()
        if index == self._hashed:
            self._digest.update(block)
            self._length += len(block)
            self._hashed += 1
        return block

    def _make_room(self, index: int) -> None:
        """Drop blocks behind the reader, then those that it jumped to, until one more fits."""
        while len(self._held) >= self._window:
            others = [i for i in self._held if i != index]
            behind = [i for i in others if i < self._hashed]
            if behind:
                self._held.pop(min(behind))
                continue
            jumped = [i for i in others if i >= self._hashed + self._window]
            if not jumped:
                return
            self._held.pop(max(jumped))

    def _read_block(self, index: int) -> bytes:
        start = index * self._block_bytes
        end = min(start + self._block_bytes, self._size)
        came = 0
        for attempt in range(_TRIES):
            try:
                data = self._fetch(start, end)
            except Unavailable:
                if attempt == _TRIES - 1 or self._stop.wait(_PAUSE_S * 4**attempt):
                    raise
                continue
            if len(data) == end - start:
                return data
            came = len(data)
        raise Unavailable(
            f"Bytes {start} to {end} could not be read whole: {came} bytes came.",
            help="The object was replaced while it was read, or the storage cut the answer. Run it again.",
        )
