"""Cores and memory, shared by the batches of one run. A stage holds some of each while it works.

A batch that waits for a language model or for storage holds nothing, so others go on.
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
"""Blocks of one recording that were fetched ahead of its reader."""

FRAME_BYTES: Final = 64
"""Memory that rendering the page takes, for each frame of the drive."""

MIN_DRIVE_BYTES: Final = 16 * MIB

MEMORY_SHARE: Final = 0.7
"""Share of the machine's memory that all runs of the platform may take together."""

_CGROUP_LIMITS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class WeightedSemaphore:
    """Weighted semaphore: `hold(n)` blocks until `n` units are free.

    A small request may pass a large one that waits. A request for more than `total` gets everything, alone.

    Args:
        total: Units that there are.
    """

    def __init__(self, total: int) -> None:
        self.total = max(1, total)
        self._held = 0
        self._freed = threading.Condition()

    @contextmanager
    def hold(self, amount: int) -> Generator[None]:
        """Hold some units for the time of the block."""
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
        readers: Recordings that are read at the same time: more than cores, as reading waits for storage.
        cores: Stages that compute at the same time.
        memory: Bytes, by the estimates of this module.
        batches: Batches that are processed at the same time, including those that wait for a model.
    """

    readers: WeightedSemaphore
    cores: WeightedSemaphore
    memory: WeightedSemaphore
    batches: int

    @classmethod
    def of(cls, *, cores: int, memory_bytes: int, model_calls: int = 0) -> "Capacity":
        """Divide a machine.

        Args:
            cores: Cores of the machine.
            memory_bytes: Memory that this run may take.
            model_calls: Concurrent calls to a language model; each may keep a batch waiting.
        """
        return cls(
            WeightedSemaphore(2 * cores),
            WeightedSemaphore(cores),
            WeightedSemaphore(memory_bytes),
            batches=2 * cores + model_calls,
        )

    @contextmanager
    def reading(self, memory_bytes: int) -> Generator[None]:
        """Hold what reading a recording takes, for the time of the block."""
        with self.memory.hold(memory_bytes), self.readers.hold(1):
            yield

    @contextmanager
    def computing(self, memory_bytes: int = 0) -> Generator[None]:
        """Hold what computing on tables takes, for the time of the block."""
        with self.memory.hold(memory_bytes), self.cores.hold(1):
            yield


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def computing_bytes(frames: int) -> int:
    """Return an upper estimate of the memory that computing on the tables of so many frames takes."""
    return max(MIN_DRIVE_BYTES, FRAME_BYTES * frames)


def machine_memory() -> int:
    """Return the bytes of memory that processes of this machine, or of this container, may use."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in _CGROUP_LIMITS:
        try:
            text = Path(name).read_text("ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            return min(physical, int(text))
    return physical
