"""Read a recording, inside of the confined process: the jobs that `containment.worker` runs by name.

Foreign bytes are decoded here, so nothing of the platform is within reach. `contained` is the other side: it orders these
jobs from outside, and handles a recording whose job was ended.
"""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from argus_assets.containment.job import Job
from argus_assets.recordings.budget import Budget
from argus_assets.recordings.formats.compressed import CompressedReader
from argus_assets.recordings.model import Limits, Problem, Reader, RecordingSummary, Source
from argus_assets.recordings.parts import Stop, write_part, write_read
from argus_assets.recordings.plugins.reader import fail
from argus_assets.recordings.reading import GuardedReader, UnreadableReader
from argus_assets.recordings.registry import BUILT_IN, HEAD_BYTES, Collector

PART: Final = "part"
"""Folder that `read` leaves in its own: see `parts`."""
INFLATED: Final = "inflated"
"""File that `inflate` leaves in its folder."""
_SMALL_BYTES: Final = 2 * 1024**2
_COPY_BYTES: Final = 1024 * 1024


def read(job: Job, *, name: str, limits: Limits, stop: Stop | None, with_tables: bool = True) -> dict[str, Any]:
    """Parse the source into `part`, as `parts.write_part` does."""
    assert job.source is not None
    folder = job.folder / PART
    folder.mkdir()
    if job.source.seek(0, 2) <= _SMALL_BYTES:
        limits = replace(limits, workers=1)  # threads cost more than they bring
    job.source.seek(0)
    decoder = BUILT_IN.detect(job.source.read(HEAD_BYTES))
    job.source.seek(0)
    if decoder is None or not decoder.seeks:
        _write(job, job.source, name=name, limits=limits, stop=stop, with_tables=with_tables)
        return {}
    copy = job.folder / "recording"
    with copy.open("w+b") as local:
        shutil.copyfileobj(job.source, local, _COPY_BYTES)  # type: ignore[misc] # read() is all it needs
        job.progress()
        _write(job, local, name=name, limits=limits, stop=stop, with_tables=with_tables)
    copy.unlink()
    return {}


def _write(job: Job, source: Source, *, name: str, limits: Limits, stop: Stop | None, with_tables: bool) -> None:
    write_part(
        source, folder=job.folder / PART, limits=limits, name=name, progress=job.progress, stop=stop,
        keep_on_memory_error=job.is_last_try, with_tables=with_tables,
    )  # fmt: skip


def collect(
    job: Job,
    *,
    output: str,
    collector: Collector,
    size_bytes: int,
    failed: Problem | None,
    limits: Limits,
    stop: Stop | None,
    with_tables: bool = True,
) -> dict[str, Any]:
    """Write what the program of a plug-in wrote into `part`, as `read` does with a recording.

    Args:
        job: Where to write.
        output: Folder of what it wrote.
        collector: Reads it.
        size_bytes: Size of the recording.
        failed: Why the program failed: then nothing of its output is read.
        limits: What the recording may cost.
        stop: Where to stop before the end.
        with_tables: Write the tables, and not the summary alone.
    """
    folder = job.folder / PART
    folder.mkdir()
    reader = collector.open(Path(output), size_bytes=size_bytes, limits=limits)
    if failed is not None:
        fail(reader.summary, failed)
        reader = UnreadableReader(reader.summary)
    write_read(
        GuardedReader(reader, Budget(limits, size_bytes)), folder=folder, progress=job.progress, stop=stop,
        keep_on_memory_error=job.is_last_try, with_tables=with_tables,
    )  # fmt: skip
    return {}


def inflate(job: Job, *, limits: Limits) -> dict[str, Any]:
    """Inflate the source into the file `inflated`; return `problems`, and what the decoder's name gets."""
    source = job.source
    assert source is not None

    def keep(inflated: Source, _: Budget) -> Reader:
        inflated.seek(0)
        with (job.folder / INFLATED).open("wb") as target:
            shutil.copyfileobj(inflated, target, _COPY_BYTES)  # type: ignore[misc] # read() is all it needs
        return UnreadableReader(RecordingSummary("unknown", "", 0))

    budget = Budget(limits, source.seek(0, 2))
    reader = CompressedReader(source, budget, keep)
    for _ in reader:
        job.progress()
    budget.settle(reader.summary)
    return {"problems": [asdict(p) for p in reader.summary.problems], "suffix": reader.summary.decoder}
