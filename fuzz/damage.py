"""Damaged recordings by script: `python -m fuzz.damage FOLDER` writes the corpus; the same each time."""

import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from fuzz.seeds import seeds


def damaged(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield damaged variants of a recording, each with what was done to it."""
    randomness = random.Random(name)
    size = len(data)
    for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
        yield f"cut-{share}", data[: int(size * share)]
    yield "cut-1-byte", data[:-1]
    for number in range(40):
        at = randomness.randrange(size)
        yield f"flip-{number}", data[:at] + bytes([data[at] ^ 1 << randomness.randrange(8)]) + data[at + 1 :]
    for number in range(10):
        at = randomness.randrange(size)
        yield f"byte-{number}", data[:at] + randomness.randbytes(1) + data[at + 1 :]
    for share in (0.2, 0.6, 0.95):
        kept = int(size * share)
        yield f"zero-tail-{share}", data[:kept] + bytes(size - kept)
    yield "zeros-behind", data + bytes(5000)
    yield "garbage-behind", data + randomness.randbytes(5000)
    for number in range(4):
        at, length = randomness.randrange(size), randomness.randrange(1, 300)
        yield f"insert-{number}", data[:at] + randomness.randbytes(length) + data[at:]
        yield f"remove-{number}", data[:at] + data[at + length :]
        yield f"twice-{number}", data[: at + length] + data[at : at + length] + data[at + length :]
        yield f"zero-hole-{number}", data[:at] + bytes(min(length, size - at)) + data[at + length :]
    # Lengths that lie: the largest values at places that hold small ones.
    for number in range(12):
        at = randomness.randrange(max(size - 8, 1))
        lie = randomness.choice((2**64 - 1, 2**63, 2**32 - 1, 2**31, 2**28))
        yield f"lie-{number}", data[:at] + struct.pack("<Q", lie)[: size - at] + data[at + 8 :]


def corpus() -> Iterator[tuple[str, str, bytes]]:
    """Yield (seed, damage, bytes) of the whole corpus."""
    for name, data in seeds().items():
        for what, changed in damaged(name, data):
            yield name, what, changed


def main() -> None:
    """Write the corpus."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m fuzz.damage FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for count, (name, what, changed) in enumerate(corpus(), 1):  # noqa: B007 - told at the end
        (folder / f"{name}-{what}.bin").write_bytes(changed)


if __name__ == "__main__":
    main()
