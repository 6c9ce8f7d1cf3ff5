"""Broken on purpose: what goes wrong with recordings on their way."""

from pathlib import Path

import numpy as np


def truncate(path: Path, share: float) -> int:
    """Cut a file to a share of its size; returns the bytes cut off."""
    size = path.stat().st_size
    kept = int(size * share)
    with path.open("r+b") as file:
        file.truncate(kept)
    return size - kept


def flip_bits(path: Path, count: int, seed: int) -> list[int]:
    """Flip `count` bits at random places; returns their byte offsets."""
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    offsets = sorted(rng.integers(0, len(data), count).tolist())
    for offset in offsets:
        data[offset] ^= 1 << int(rng.integers(0, 8))
    path.write_bytes(data)
    return offsets
