"""What the batches of one run share: cores and memory. Stages hold a share of each while they work.

A batch that waits for a language model or for storage to answer holds nothing, so others go on.
"""

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MIB: Final = 1024**2

READ_AHEAD_BYTES: Final = 64 * MIB
"""Blocks of one recording that were fetched and wait for its reader."""

FRAME_BYTES: Final = 64
"""Of the page, for each frame of the drive."""

DRIVE_LEAST_BYTES: Final = 16 * MIB

MEMORY_SHARE: Final = 0.7
"""Of the machine's memory that the runs of the platform may take together."""

_CGROUP_LIMITS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Share:
    """So much of something; who asks waits until there is as much as it wants.

    A small request may pass a large one that waits. A request for more than there is gets everything, alone.

    Args:
        total: How much there is.
    """

    def __init__(self, total: int) -> None:
        self.total = max(1, total)
        self._held = 0
        self._freed = threading.Condition()

    @contextmanager
    def hold(self, amount: int) -> Generator[None]:
        """Hold an amount for the time of the block."""
        wanted = min(amount, self.total)
        with self._freed:
            self._freed.wait_for(lambda: self._held + wanted <= self.total)
            self._held += wanted
        try:
            yield
        finally:
            with self._freed:
                self._held -= wanted
                self._freed.notify_all()


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one run may use.

    Attributes:
        readers: Recordings that are read at the same time: more than cores, for reading waits for storage.
        cores: Stages that compute at the same time.
        memory: Bytes, by the estimates of this module.
        batches: Batches on their way at the same time, those that wait for a model among them.
    """

    readers: Share
    cores: Share
    memory: Share
    batches: int

    @classmethod
    def of(cls, *, cores: int, memory_bytes: int, model_calls: int = 0) -> "Capacity":
        """A run's capacity.

        Args:
            cores: Cores of the machine.
            memory_bytes: That this run may take.
            model_calls: Calls to a language model at the same time; each may keep a batch waiting.
        """
        return cls(Share(2 * cores), Share(cores), Share(memory_bytes), batches=2 * cores + model_calls)

    @contextmanager
    def reading(self, memory_bytes: int) -> Generator[None]:
        """Read a recording."""
        with self.memory.hold(memory_bytes), self.readers.hold(1):
            yield

    @contextmanager
    def computing(self, memory_bytes: int = 0) -> Generator[None]:
        """Compute on tables."""
        with self.memory.hold(memory_bytes), self.cores.hold(1):
            yield


def unlimited() -> Capacity:
    """For one batch alone."""
    return Capacity.of(cores=usable_cores(), memory_bytes=2**62)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def computing_bytes(frames: int) -> int:
    """Memory for computing on the tables of so many frames, an estimate from above."""
    return max(DRIVE_LEAST_BYTES, FRAME_BYTES * frames)


def machine_memory() -> int:
    """Bytes that processes of this machine, or of this container, may use."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in _CGROUP_LIMITS:
        try:
            text = Path(name).read_text("ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            return min(physical, int(text))
    return physical
