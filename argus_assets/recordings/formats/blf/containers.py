"""Containers of a BLF file, and inflating them: at once where they are whole, in pieces where not."""

import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final

import deflate

from argus_assets.recordings.formats.blf.layout import NO_COMPRESSION, ZLIB
from argus_assets.recordings.model import Limits, Problem

GROUP_BYTES: Final = 8 * 1024**2
"""Inflated bytes that are worked on at a time; a container that states more is inflated in pieces."""
_PIECE_BYTES: Final = 4 * 1024**2
_STEP_BYTES: Final = 16 * 1024
"""Compressed bytes of a damaged container that are inflated at a time; a multiple of `_SALVAGE_BYTES`."""
_SALVAGE_BYTES: Final = 64
"""Step in which the last bytes before damage are inflated."""


@dataclass(slots=True)
class Container:
    """A container: its place, method, stated size and content.

    Attributes:
        broken: There is nothing to be read, and the stream of objects ends before it.
        data: What it holds, once that was inflated and is whole.
        problem: What was wrong with it although it is whole.
    """

    at: int
    method: int
    size: int
    content: bytes
    broken: bool = False
    data: bytes | None = None
    problem: Problem | None = None


def is_inflated(container: Container) -> bool:
    """Return whether the container has to be inflated: also a plain one whose size is not the stated one."""
    is_plain = container.method == NO_COMPRESSION and len(container.content) == container.size
    return not (container.broken or is_plain)


def inflate_whole(group: list[Container], *, limits: Limits) -> list[Container]:
    """Inflate containers that are whole and not large; the others stay as they are."""
    for container in group:
        content, size = container.content, container.size
        if not is_inflated(container) or not 0 < size <= min(GROUP_BYTES, max_inflated(content, limits)):
            continue
        try:
            data = bytes(deflate.zlib_decompress(content, size))
        except (deflate.DeflateError, ValueError, MemoryError):
            continue
        if len(data) != size:
            continue
        container.data = data
        if container.method != ZLIB:
            container.problem = Problem(
                "bad_record", f"compression {ZLIB}", str(container.method), container.at, None,
                "The content is zlib data, whole and of the stated size, and was read as that.",
            )  # fmt: skip
    return group


def max_inflated(content: bytes, limits: Limits) -> int:
    """Return the bytes that zlib data may inflate to."""
    return int(min(limits.max_chunk_bytes, limits.max_ratio * max(1, len(content))))


def inflate_in_pieces(content: bytes, limit: int) -> Generator[bytes]:
    """Inflate zlib data, at most `limit` bytes of it.

    Raises:
        zlib.error: The data is damaged; what comes out before the damage was handed out.
        EOFError: The data has no end, or goes on beyond the limit.
    """
    stream = zlib.decompressobj()
    total = 0
    for start in range(0, len(content), _STEP_BYTES):
        step = content[start : start + _STEP_BYTES]
        while step and not stream.eof:
            if total >= limit:
                raise EOFError
            max_bytes = min(_PIECE_BYTES, limit - total)
            before = stream.copy()
            try:
                piece = stream.decompress(step, max_bytes)
            except zlib.error:
                yield _inflate_slowly(before.decompress, step, max_bytes)
                raise
            if piece:
                yield piece
            total += len(piece)
            step = stream.unconsumed_tail
    if not stream.eof:
        raise EOFError


def _inflate_slowly(decompress: Callable[[bytes, int], bytes], content: bytes, max_bytes: int) -> bytes:
    """Return what damaged zlib data inflates to before the damage."""
    out = bytearray()
    try:
        for at in range(0, len(content), _SALVAGE_BYTES):
            out += decompress(content[at : at + _SALVAGE_BYTES], max(1, max_bytes - len(out)))
            if len(out) >= max_bytes:
                break
    except zlib.error:
        pass
    return bytes(out)
