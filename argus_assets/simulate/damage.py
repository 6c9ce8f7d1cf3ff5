"""Damage to recordings on their way, done on purpose."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np


@dataclass(frozen=True, slots=True)
class Damage:
    """Damage to the recordings of a drive before they are uploaded.

    Attributes:
        kind: `truncated`: the last file is cut, as when the logger loses its supply; `flipped`: bits change near the
            beginning of the first file, as in bad flash; `missing_tail`: the last file never comes.
        share: Share of the file that is kept (`truncated`), or in which bits are flipped (`flipped`).
    """

    kind: Literal["truncated", "flipped", "missing_tail"]
    share: float = 0.6

    def apply(self, files: Sequence[Path], seed: int) -> tuple[Path, ...]:
        """Damage a drive's files; return those that are left."""
        match self.kind:
            case "truncated":
                truncate(files[-1], self.share)
            case "flipped":
                flip_bits(files[0], 3, seed, share=self.share)
            case "missing_tail":
                files[-1].unlink()
                return tuple(files[:-1])
        return tuple(files)


def truncate(path: Path, share: float) -> int:
    """Cut a file to a share of its size; return the bytes cut off."""
    size = path.stat().st_size
    kept = int(size * share)
    with path.open("r+b") as file:
        file.truncate(kept)
    return size - kept


def flip_bits(path: Path, count: int, seed: int, *, share: float = 1.0) -> list[int]:
    """Flip `count` different bits at random places; return the byte offset of each, in order.

    Args:
        path: The file.
        count: How many.
        seed: The same seed chooses the same bits.
        share: Only this share of the file, from its beginning.
    """
    data = bytearray(path.read_bytes())
    bits = sorted(np.random.default_rng(seed).choice(int(len(data) * share) * 8, count, replace=False).tolist())
    for bit in bits:
        data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    return [bit // 8 for bit in bits]
