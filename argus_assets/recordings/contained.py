"""Have a recording read by a confined process, from outside: the limits of its jobs, and the handling of an ended one.

No foreign byte is decoded here. `jobs` is the other side: what runs inside of the process. When a process had to be killed,
what was read before is kept: the recording is read again, up to the last batch that came through.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from argus_assets.common.tempdirs import remove_folder
from argus_assets.containment.client import MIB, Allowance, Confined, Ended, Reserve, no_reserve
from argus_assets.plugins.workplace import workplace
from argus_assets.recordings.formats.compressed import MARKS
from argus_assets.recordings.jobs import INFLATED, PART
from argus_assets.recordings.model import DEFAULT_LIMITS, Limits, Problem, RecordingSummary, Source
from argus_assets.recordings.parts import Stop, read_summary, stopped, unread_part, write_summary
from argus_assets.recordings.plugins.reader import run_plug_in
from argus_assets.recordings.reading import unknown_format
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
        decoders: The active formats.
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
        if head.startswith(MARKS):
            found = _inflated_plug_in(
                confined, source, size, name=name, limits=limits, decoders=decoders, with_tables=with_tables, reserve=reserve
            )  # fmt: skip
            if found is not None:
                return found
        else:
            plug_in = decoders.detect(head, name)
            if isinstance(plug_in, PlugIn):
                return _read_plug_in(
                    confined, plug_in, source, name=name, limits=limits, with_tables=with_tables, reserve=reserve
                )
    order = {"name": name, "limits": limits, "with_tables": with_tables}
    part = _read(_Work(confined, "read", order, size, limits, source), size_bytes=size, reserve=reserve)
    return _with_plug_ins_named(part, decoders)


def _with_plug_ins_named(part: ReadPart, decoders: Decoders) -> ReadPart:
    """Name the plug-ins that do not know an unknown format either: the process knows nothing of them."""
    if not (decoders.plug_ins or decoders.notes):
        return part
    problems = part.summary.problems
    for at, problem in enumerate(problems):
        if problem.kind == "unknown_format":
            problems[at] = unknown_format(problem.actual, decoders)
            write_summary(part.folder, part.summary)
    return part


@dataclass(frozen=True, slots=True)
class _Work:
    """A job that leaves a part.

    Attributes:
        confined: The process.
        job: Its name.
        order: What it takes, but for `stop`.
        size: Bytes that it reads.
        limits: What the recording may cost.
        source: Where they are, unless they are in files.
    """

    confined: Confined
    job: str
    order: Mapping[str, object]
    size: int
    limits: Limits
    source: Source | None = None


def _read(work: _Work, *, size_bytes: int, reserve: Reserve) -> ReadPart:
    memory = reader_bytes(work.size)
    ended: Ended
    while True:
        is_last_try = memory >= MAX_READER_BYTES
        with reserve(memory):
            found = _attempt(work, None, memory=memory, last=is_last_try)
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
            found = _attempt(work, Stop(batches, problem), memory=MAX_READER_BYTES, last=True)
        if isinstance(found, ReadPart):
            return found
    folder = work.confined.place() / PART
    folder.mkdir()
    return ReadPart(folder, unread_part(folder, size_bytes=size_bytes, problem=problem))


def _attempt(work: _Work, stop: Stop | None, *, memory: int, last: bool) -> ReadPart | Ended:
    place = work.confined.place()
    ended = work.confined.run(
        work.job, {**work.order, "stop": stop}, place=place,
        allowance=allowance(work.size, work.limits, memory_bytes=memory), source=work.source, is_last_try=last,
    )  # fmt: skip
    if ended.kind != "done":
        return ended
    try:
        return ReadPart(place / PART, read_summary(place / PART))
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        return Ended("error", f"it left no whole part: {type(error).__name__}", progress=ended.progress)


def _read_plug_in(
    confined: Confined,
    plug_in: PlugIn,
    source: Source,
    *,
    name: str,
    limits: Limits,
    with_tables: bool,
    reserve: Reserve,
) -> ReadPart:
    """Run a plug-in over a recording, and read what it wrote in the confined process."""
    size_bytes = source.seek(0, 2)
    with workplace(source, name) as place:
        failed = run_plug_in(plug_in, place, limits)
        if not place.has_output():
            remove_folder(place.output)
            place.output.mkdir()
        with confined.given(place.output) as output:
            order = {
                "output": str(output), "collector": plug_in.collector, "size_bytes": size_bytes, "failed": failed,
                "limits": limits, "with_tables": with_tables,
            }  # fmt: skip
            size = 0 if failed is not None else _bytes_below(output)
            return _read(_Work(confined, "collect", order, size, limits), size_bytes=size_bytes, reserve=reserve)


def _bytes_below(folder: Path) -> int:
    return sum(os.lstat(Path(at) / name).st_size for at, _, names in os.walk(folder) for name in names)


def _inflated_plug_in(
    confined: Confined,
    source: Source,
    size: int,
    *,
    name: str,
    limits: Limits,
    decoders: Decoders,
    with_tables: bool,
    reserve: Reserve,
) -> ReadPart | None:
    """Read a compressed recording that a plug-in takes; `None` when none does.

    Data that cannot be inflated belongs to no plug-in: the built-in readers report what is wrong with it.
    """
    for memory in (MIN_READER_BYTES, MAX_READER_BYTES):
        place = confined.place()
        allowed = allowance(size, limits, memory_bytes=memory)
        with reserve(memory):
            ended = confined.run("inflate", {"limits": limits}, place=place, allowance=allowed, source=source)
        if ended.kind != "memory":
            break
    path = place / INFLATED
    if ended.kind != "done" or path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as inflated:
        plug_in = decoders.detect(inflated.read(HEAD_BYTES), inner_name(name))
        if not isinstance(plug_in, PlugIn):
            return None
        found = _read_plug_in(
            confined, plug_in, inflated, name=inner_name(name), limits=limits, with_tables=with_tables, reserve=reserve
        )
    path.unlink()
    summary = found.summary
    summary.size_bytes = size
    summary.decoder += str(ended.result["suffix"])[:16]
    summary.problems[:0] = [Problem(**p) for p in ended.result["problems"]]
    write_summary(found.folder, summary)
    return found
