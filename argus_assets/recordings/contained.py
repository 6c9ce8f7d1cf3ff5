"""Reading a recording in a confined process, and what becomes of it when that process has to be killed.

What was read before is kept: the recording is read again, up to the last batch that came through.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from argus_assets.containment.confined import MIB, Allowance, Confined, Ended, Reserve, no_reserve
from argus_assets.recordings.compressed import GZIP, ZSTD
from argus_assets.recordings.confined import INFLATED, PART
from argus_assets.recordings.model import DEFAULT_LIMITS, Limits, Problem, RecordingSummary, Source
from argus_assets.recordings.parts import Stop, read_summary, stopped, unread_part, write_part, write_summary
from argus_assets.recordings.registry import BUILT_IN, HEAD_BYTES, Decoders, PlugIn, inner_name

MIN_READER_BYTES: Final = 192 * MIB
"""Of a reader of a small recording: windows of inflated blocks, and the columns made of them."""
READER_FACTOR: Final = 4
MAX_READER_BYTES: Final = 1024 * MIB
"""Readers work in windows: a recording of 20 GB took 624 MiB (docs/benchmarks/recordings.md)."""

_SILENT_S: Final = 180.0
_MIN_OUTPUT_BYTES: Final = 1024 * MIB
_OUTPUT_FACTOR: Final = 16
_WALL_FACTOR: Final = 20.0
"""Seconds of a clock for a second of CPU: a machine may be that busy, and storage that slow."""
_MIN_WALL_S: Final = 600.0


def reader_bytes(size: int) -> int:
    """Return the memory that the reader of a recording of `size` bytes may take at first."""
    return min(MIN_READER_BYTES + READER_FACTOR * size, MAX_READER_BYTES)


def allowance(size: int, limits: Limits, *, memory_bytes: int) -> Allowance:
    """Return what reading a recording of `size` bytes may use."""
    cpu_s = math.ceil(limits.min_cpu_s + limits.cpu_s_per_mb * size / 1e6)
    return Allowance(
        memory_bytes=memory_bytes,
        cpu_s=cpu_s,
        wall_s=max(_MIN_WALL_S, _WALL_FACTOR * cpu_s),
        silent_s=_SILENT_S,
        output_bytes=_MIN_OUTPUT_BYTES + _OUTPUT_FACTOR * size,
    )


@dataclass(frozen=True, slots=True)
class ReadPart:
    """A part that a confined process wrote.

    Attributes:
        folder: Where it is, until the process ends.
        summary: Its summary.
    """

    folder: Path
    summary: RecordingSummary


def read_contained(
    confined: Confined,
    source: Source,
    *,
    name: str = "",
    limits: Limits = DEFAULT_LIMITS,
    decoders: Decoders = BUILT_IN,
    with_tables: bool = True,
    reserve: Reserve = no_reserve,
) -> ReadPart:
    """Parse a recording in a confined process.

    The programs and decoders of plug-ins have a process of their own (`isolation`).

    Args:
        confined: The process.
        source: The recording; it is read here, and handed to the process.
        name: Of its file; see `reading.open_recording`.
        limits: What it may cost.
        decoders: The formats in force.
        with_tables: Write the tables, and not the summary alone.
        reserve: Entered with the bytes of memory that the process may take, while it reads.

    Raises:
        Unavailable: No process could be started, or there is no room for its files.
        ArgusError: The source cannot be read.
    """
    size = source.seek(0, 2)
    if decoders.plug_ins:
        source.seek(0)
        head = source.read(HEAD_BYTES)
        if head.startswith((GZIP, ZSTD)):
            with reserve(reader_bytes(size)):
                found = _inflated_plug_in(confined, source, size, name=name, limits=limits, decoders=decoders)
            if found is not None:
                return found
        elif isinstance(decoders.detect(head, name), PlugIn):
            with reserve(reader_bytes(size)):
                folder = confined.place() / PART
                folder.mkdir()
                summary = write_part(
                    source, folder=folder, limits=limits, decoders=decoders, name=name, with_tables=with_tables
                )
                return ReadPart(folder, summary)
    order = {"name": name, "limits": limits, "with_tables": with_tables}
    return _read(confined, source, size, order, limits=limits, reserve=reserve)


def _read(
    confined: Confined, source: Source, size: int, order: Mapping[str, object], *, limits: Limits, reserve: Reserve
) -> ReadPart:
    memory = reader_bytes(size)
    ended: Ended
    while True:
        is_last_try = memory >= MAX_READER_BYTES
        with reserve(memory):
            found = _attempt(
                confined, source, size, {**order, "stop": None}, limits=limits, memory=memory, last=is_last_try
            )
        if isinstance(found, ReadPart):
            return found
        ended = found
        if ended.kind != "memory" or is_last_try:
            break
        memory = MAX_READER_BYTES
    problem = stopped(ended.text)
    batches = ended.progress.get("batches", 0)
    if isinstance(batches, int) and batches > 0:
        with reserve(MAX_READER_BYTES):
            again = {**order, "stop": Stop(batches, problem)}
            found = _attempt(confined, source, size, again, limits=limits, memory=MAX_READER_BYTES, last=True)
        if isinstance(found, ReadPart):
            return found
    folder = confined.place() / PART
    folder.mkdir()
    return ReadPart(folder, unread_part(folder, size_bytes=size, problem=problem))


def _attempt(
    confined: Confined,
    source: Source,
    size: int,
    order: Mapping[str, object],
    *,
    limits: Limits,
    memory: int,
    last: bool,
) -> ReadPart | Ended:
    place = confined.place()
    ended = confined.run(
        "read", order, place=place, allowance=allowance(size, limits, memory_bytes=memory), source=source, is_last_try=last,
    )  # fmt: skip
    if ended.kind != "done":
        return ended
    try:
        return ReadPart(place / PART, read_summary(place / PART))
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        return Ended("error", f"it left no whole part: {type(error).__name__}", progress=ended.progress)


def _inflated_plug_in(
    confined: Confined, source: Source, size: int, *, name: str, limits: Limits, decoders: Decoders
) -> ReadPart | None:
    """Read a compressed recording that a plug-in takes; `None` when none does, or nothing could be inflated."""
    place = confined.place()
    allowed = allowance(size, limits, memory_bytes=MIN_READER_BYTES)
    ended = confined.run("inflate", {"limits": limits}, place=place, allowance=allowed, source=source)
    path = place / INFLATED
    if ended.kind != "done" or path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as inflated:
        if not isinstance(decoders.detect(inflated.read(HEAD_BYTES), inner_name(name)), PlugIn):
            return None
        folder = place / PART
        folder.mkdir()
        summary = write_part(inflated, folder=folder, limits=limits, decoders=decoders, name=inner_name(name))
    summary.size_bytes = size
    summary.decoder += str(ended.result["suffix"])[:16]
    summary.problems[:0] = [Problem(**p) for p in ended.result["problems"]]
    write_summary(folder, summary)
    return ReadPart(folder, summary)
