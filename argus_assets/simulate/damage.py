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
    """Flip `count` different bits at random places; returns the byte offset of each, in order."""
    data = bytearray(path.read_bytes())
    bits = sorted(np.random.default_rng(seed).choice(len(data) * 8, count, replace=False).tolist())
    for bit in bits:
        data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    return [bit // 8 for bit in bits]
