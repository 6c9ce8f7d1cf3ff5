"""Build the recordings of a story, and keep them by what they were made from."""

import shutil
import tempfile
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np

from evals.drives import bus, files, stack
from evals.drives.signals import Courses
from evals.story import Story

_STARTED: Final = 1_795_000_000
_SPAN_S: Final = 200 * 86_400
"""Drives start within so long after `_STARTED`, at a second that their name gives."""


def build_drive(name: str, story: Story, folder: Path) -> list[Path]:
    """Write the recordings of a story to a folder, the same whenever its name and content are. Return them.

    A stack's are an MCAP, and a file of its vehicle's bus if it has one; all others a file of the bus. Its format follows
    from the name, but for a bus that goes off, of which only candump tells.
    """
    seed = int.from_bytes(sha256(name.encode()).digest()[:8], "big")
    rng = np.random.default_rng(seed)
    started = _STARTED + int(rng.integers(_SPAN_S))
    written: list[Path] = []
    if bus.has_bus(story):
        suffix = "log" if any(e.bus_off for e in story.bus_errors) else files.FORMATS[seed % len(files.FORMATS)]
        path = folder / f"can.{suffix}"
        files.write(bus.frames_of(story, rng), path, started)
        written.append(path)
    if story.platform == "av":
        path = folder / "stack.mcap"
        stack.write(path, story, Courses.of(story, rng), rng, started * 10**9)
        written.append(path)
    return written


def drive_key(name: str, story: Story) -> str:
    """Return a key that changes with whatever the recordings of a story are made from; the answer is no part of it."""
    answer = {"source", "source_key", "grade", "kind", "title", "cause", "accept", "partial", "wrong", "root", "all_of"}
    told = story.model_dump_json(exclude=answer | {"severity", "drivable", "note"})
    # Voltage follows from the words of the source.
    return sha256(f"{_generator_version()}\n{name}\n{story.source}\n{told}".encode()).hexdigest()[:20]


def cached_drive(name: str, story: Story, cache: Path) -> list[Path]:
    """Return the recordings of a story in a cache, and build them first if they are missing."""
    folder = cache / "drives" / drive_key(name, story)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as scratch:
            built = Path(scratch) / "drive"
            built.mkdir()
            build_drive(name, story, built)
            try:
                built.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
                shutil.rmtree(built)  # somebody else was quicker
    return sorted(folder.iterdir())


@lru_cache(maxsize=1)
def _generator_version() -> str:
    digest = sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
