"""Have the faults of a drive found by a confined process, from outside: the limits of its job, and what it left.

`jobs` is the other side: what runs inside of the process.
"""

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Final

import polars as pl

from argus_assets.containment.client import MIB, Allowance, Confined, Ended, Reserve, no_reserve
from argus_assets.errors import BadTable, PermanentError
from argus_assets.faults.config import FaultConfig, default_config
from argus_assets.faults.detection import Findings, with_plug_ins
from argus_assets.faults.detector import Collector, Found
from argus_assets.faults.dictionary.lookup import built_in
from argus_assets.faults.jobs import BUSES, EVENTS
from argus_assets.faults.schema import BUS_STATS, ERROR_EVENTS
from argus_assets.plugins.workplace import workplace
from argus_assets.recordings.drive import Drive

MIN_FINDER_BYTES: Final = 512 * MIB
FRAME_BYTES: Final = 160
"""Of the detectors, for each frame: 60 measured (docs/benchmarks/faults.md), and what an allocator keeps beside it."""
RETRY_FACTOR: Final = 4
_MIN_CPU_S: Final = 60
_FRAMES_A_CPU_S: Final = 50_000
_MAX_NOTES: Final = 10_000


def finder_allowance(frames: int) -> Allowance:
    """Return what computing over so many frames may use."""
    cpu_s = _MIN_CPU_S + frames // _FRAMES_A_CPU_S
    return Allowance(
        memory_bytes=MIN_FINDER_BYTES + FRAME_BYTES * frames, cpu_s=cpu_s, wall_s=600.0 + 20.0 * cpu_s,
        silent_s=600.0 + 20.0 * cpu_s, output_bytes=4096 * MIB,
    )  # fmt: skip


def compute_contained(
    confined: Confined, job: str, arguments: dict[str, object], *, frames: int, what: str, reserve: Reserve
) -> tuple[Ended, Path]:
    """Do a job that computes over the tables of a drive; with more memory where it does not suffice.

    Args:
        confined: The process; it reads the parts.
        job: Its name.
        arguments: What it takes.
        frames: Of the drive.
        what: What it does, for the error: `Finding faults`.
        reserve: Entered with the bytes of memory that it may take, while it runs.

    Returns:
        How it ended, which is well, and the folder with its files.

    Raises:
        PermanentError: It needs more than it may use.
        Unavailable: No process could be started.
    """
    allowed = finder_allowance(frames)
    ended = Ended("memory")
    for memory in (allowed.memory_bytes, RETRY_FACTOR * allowed.memory_bytes):
        place = confined.place()
        with reserve(memory):
            ended = confined.run(job, arguments, place=place, allowance=replace(allowed, memory_bytes=memory))
        if ended.kind == "done":
            return ended, place
        if ended.kind != "memory":
            break
    raise PermanentError(
        f"{what} in the {frames:,} frames of this drive was ended: {ended.text}.",
        help="The other batches are not touched. Look at its recordings with `argus rec info`, and report it.",
    )


def find_contained(
    confined: Confined,
    parts: Sequence[tuple[str, Path]],
    *,
    frames: int,
    config: FaultConfig | None = None,
    reserve: Reserve = no_reserve,
) -> Findings:
    """Find the error events of a drive. Detectors of other packages run in processes of their own.

    Args:
        confined: The process; it reads the parts.
        parts: Each recording with the local folder of its part.
        frames: Of the drive.
        config: Configuration of fault detection; the shipped rules and dictionary unless given.
        reserve: Entered with the bytes of memory that it may take, while it runs.

    Raises:
        PermanentError: It needs more than it may use.
        Unavailable: No process could be started.
    """
    config = default_config() if config is None else config
    # The dictionary and the plug-ins are asked here.
    sent = None if config is default_config() else replace(config, plug_ins=(), dictionary=built_in())
    ended, place = compute_contained(
        confined, "find", {"parts": [(name, str(folder)) for name, folder in parts], "config": sent}, frames=frames,
        what="Finding faults", reserve=reserve,
    )  # fmt: skip
    notes = _notes(ended)
    try:
        events = ERROR_EVENTS.cast(pl.read_parquet(place / EVENTS))
        buses = BUS_STATS.cast(pl.read_parquet(place / BUSES))
    except (BadTable, pl.exceptions.PolarsError, OSError) as error:
        raise PermanentError(f"Finding faults gave tables that are none: {error}"[:500], help="Report it.") from error
    plugged = _find_plugged(confined, parts, config, reserve) if config.plug_ins else []
    return with_plug_ins(Found(events, notes, buses), plugged, config)


def _find_plugged(
    confined: Confined, parts: Sequence[tuple[str, Path]], config: FaultConfig, reserve: Reserve
) -> list[Found]:
    """Run the detectors of other packages, and read what they wrote in the confined process."""
    drive = Drive.of_parts(parts)
    found: list[Found] = []
    for plug_in in config.plug_ins:
        with workplace(BytesIO(), "") as place:
            failed = plug_in.run(drive, place)
            if failed is not None:
                found.append(plug_in.collector.failed(failed))
                continue
            with confined.given(place.output) as output:
                found.append(_collected(confined, plug_in.collector, output, reserve))
    return found


def _collected(confined: Confined, collector: Collector, output: Path, reserve: Reserve) -> Found:
    place = confined.place()
    with reserve(MIN_FINDER_BYTES):
        ended = confined.run(
            "collect_events",
            {"output": str(output), "collector": collector},
            place=place,
            allowance=finder_allowance(0),
        )
    if ended.kind != "done":
        return collector.failed(f"reading what it wrote was ended: {ended.text}")
    try:
        return Found(ERROR_EVENTS.cast(pl.read_parquet(place / EVENTS)), _notes(ended))
    except (BadTable, PermanentError, pl.exceptions.PolarsError, OSError) as error:
        return collector.failed(f"reading what it wrote gave no table: {error}"[:500])


def _notes(ended: Ended) -> tuple[str, ...]:
    notes = ended.result.get("notes")
    if not isinstance(notes, list) or len(notes) > _MAX_NOTES:
        raise PermanentError(f"Finding faults gave {type(notes).__name__} as notes.", help="Report it.")
    return tuple(str(note) for note in notes)
