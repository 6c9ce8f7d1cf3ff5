"""The machine a benchmark ran on, the memory of a process tree, and Markdown tables."""

import os
import platform
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil


def describe_machine() -> str:
    """Processor, cores, memory, Python and the packages that decide the figures, in a line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = ", ".join(f"{name} {version(name)}" for name in ("dagster", "polars", "numpy"))
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{model}, {cores} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}, {packages}"
    )


@dataclass
class Peak:
    """The most memory that a process tree held, bytes."""

    bytes: int = 0


@contextmanager
def watch_memory(processes: Callable[[], Sequence[psutil.Process]], *, every_s: float = 0.1) -> Generator[Peak]:
    """Sample the memory of processes and all they start.

    Pages that processes share count once (proportional set size), where the system tells.
    """
    peak = Peak()
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(every_s):
            peak.bytes = max(peak.bytes, sum(map(_memory, _tree(processes()))))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def _tree(roots: Sequence[psutil.Process]) -> set[psutil.Process]:
    found = set(roots)
    for root in roots:
        try:
            found.update(root.children(recursive=True))
        except psutil.Error:
            continue
    return found


def _memory(process: psutil.Process) -> int:
    try:
        info = process.memory_full_info()
    except psutil.Error:
        return 0
    return getattr(info, "pss", 0) or info.rss


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, aligned so that it reads well in a terminal too."""
    widths = [max(len(str(row[i])) for row in [columns, *rows]) for i in range(len(columns))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in [columns, *rows]]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])
