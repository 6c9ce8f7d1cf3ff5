"""Parse the recordings of a batch into the lake. Free of Dagster: replays, tests and benchmarks use it, too.

What is shared between processes goes through the lake, by content: a part is parsed once, whichever batch has it.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl

from argus_assets.containment.client import Pool, Reserve, no_reserve, pool
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.intake import missing_file, wrong_sha256, wrong_size
from argus_assets.drop.keys import recording_key
from argus_assets.drop.manifest import Manifest, ManifestFile
from argus_assets.drop.quarantine import Reason
from argus_assets.errors import BadFile, Unavailable
from argus_assets.lake import layout
from argus_assets.lake.store import Lake
from argus_assets.recordings.contained import read_contained
from argus_assets.recordings.model import DEFAULT_LIMITS, Limits, RecordingSummary
from argus_assets.recordings.parts import (
    SUMMARY,
    problems_table,
    read_summary_of,
    reader_version,
    recording_row,
    recordings_table,
)
from argus_assets.recordings.registry import BUILT_IN, Decoders

_WORTH_A_PROCESS_BYTES: Final = 4 * 1024**2
_WORTH_A_PROCESS_FILES: Final = 16


class FilesDiffer(BadFile):
    """Dropped files are not what the manifest says.

    Attributes:
        reasons: One for each file.
    """

    def __init__(self, reasons: Sequence[Reason]) -> None:
        self.reasons = tuple(reasons)
        first = self.reasons[0]
        more = f" and {len(self.reasons) - 1} more" if len(self.reasons) > 1 else ""
        super().__init__(
            f"{first.file}{more}: {first.kind}, expected {first.expected}, found {first.actual}.", help=first.help
        )


@dataclass(frozen=True, slots=True)
class ParsedBatch:
    """The result of `parse_recordings`.

    Attributes:
        recordings: `recordings.schema.RECORDINGS`, in manifest order.
        problems: `recordings.schema.PROBLEMS`.
        reused: Recordings that had been parsed before, by content and reader version.
        kept: Local folders of the parts, by their folder in the lake, where one process of the caller wrote them all.
    """

    recordings: pl.DataFrame
    problems: pl.DataFrame
    reused: int
    kept: Mapping[str, Path] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Frames read from all recordings."""
        return int(self.recordings["frames"].sum())


def part_folder(
    content_sha256: str, decoders: Decoders = BUILT_IN, name: str = "", limits: Limits = DEFAULT_LIMITS
) -> str:
    """Return where in the lake the tables of a recording with this content are; its name counts only with plug-ins."""
    return layout.part(reader_version(decoders, name, limits), content_sha256)


def parse_recordings(
    manifest: Manifest,
    *,
    bucket: Bucket,
    lake: Lake,
    workers: int,
    on_parsed: Callable[[dict[str, object]], None] = lambda _: None,
    decoders: Decoders = BUILT_IN,
    limits: Limits = DEFAULT_LIMITS,
    reading: Reserve = no_reserve,
    processes: Pool | None = None,
) -> ParsedBatch:
    """Parse all recordings of a batch side by side, in confined processes; the barrier is the return.

    A recording that was parsed before (same content, same reader version) is reused, so a repetition after a crash
    parses only what is missing; an object that is proven to have its content is not even read again. A recording that is
    damaged, or whose reader has to be killed, becomes rows of the tables and never stops the others.

    Args:
        manifest: Which files, with size and SHA-256.
        bucket: Where they are.
        lake: Where their tables go, under `part_folder`.
        workers: Recordings read at the same time.
        on_parsed: Called with the row of each recording as it is finished, from this thread.
        decoders: The active formats.
        limits: What a recording may cost.
        reading: Entered with the bytes of memory that a recording's reader may take, while it is read: waits until there
            is room for it.
        processes: Where they are read, if the same process is to compute on them (`open_drive`): it keeps the parts of a
            small batch.

    Raises:
        FilesDiffer: A file is missing or its content is not what the manifest says. All files have been checked.
        Unavailable: Storage did not answer.
    """
    side_by_side = _side_by_side(manifest, workers)
    keeps = processes is not None and side_by_side == 1
    with (
        nullcontext(processes) if processes is not None else pool() as readers,
        ThreadPoolExecutor(side_by_side, thread_name_prefix="parse") as threads,
    ):
        parse = partial(
            _parse_one,
            manifest,
            bucket=bucket,
            lake=lake,
            processes=readers,
            decoders=decoders,
            limits=limits,
            reading=reading,
            keeps=keeps,
        )
        futures = [threads.submit(parse, file) for file in manifest.files]
        results: list[_Parsed] = []
        wrong: list[Reason] = []
        for future in futures:
            try:
                parsed = future.result()
            except FilesDiffer as error:
                wrong.extend(error.reasons)
                continue
            results.append(parsed)
            on_parsed(parsed.row)
    if wrong:
        raise FilesDiffer(wrong)
    return ParsedBatch(
        recordings_table([r.row for r in results]),
        problems_table((str(r.row["recording"]), r.summary) for r in results if r.summary.problems),
        reused=sum(r.reused for r in results),
        kept={str(r.row["part"]): r.kept for r in results if r.kept is not None},
    )


def _side_by_side(manifest: Manifest, workers: int) -> int:
    """Return how many recordings are read at a time: to start a process costs as much as to read some small ones."""
    size = sum(file.size for file in manifest.files)
    return max(1, min(workers, size // _WORTH_A_PROCESS_BYTES + len(manifest.files) // _WORTH_A_PROCESS_FILES + 1))


@dataclass(frozen=True, slots=True)
class _Parsed:
    row: dict[str, object]
    summary: RecordingSummary
    reused: bool
    kept: Path | None = None


def _parse_one(
    manifest: Manifest,
    file: ManifestFile,
    *,
    bucket: Bucket,
    lake: Lake,
    processes: Pool,
    decoders: Decoders,
    limits: Limits,
    reading: Reserve,
    keeps: bool,
) -> _Parsed:
    """Parse one recording, unless its content was parsed before; prove that it is the manifest's either way."""
    folder = part_folder(file.sha256, decoders, file.name, limits)
    key = recording_key(manifest.vehicle_id, manifest.batch_id, file.name)
    found = bucket.stat(key)
    if found is None:
        raise FilesDiffer([missing_file(file, key)])
    proof = layout.proof(file.sha256, key=key, etag=found.etag, size=found.size)
    before = _parsed_before(lake, folder)
    if before is not None and lake.exists(proof):
        return _parsed(file, before, folder, seconds=0.0, reused=True)
    if found.size != file.size:
        raise FilesDiffer([wrong_size(file, found.size)])
    started = time.perf_counter()
    with processes.process() as process, bucket.stream(key, size=found.size) as stream:
        part = (
            read_contained(process, stream, name=file.name, limits=limits, decoders=decoders, reserve=reading)
            if before is None
            else None
        )
        seconds = time.perf_counter() - started
        digest, _ = stream.finish()
        if digest != file.sha256:
            raise _differs(bucket, key, file, found.size, digest)
        if part is not None:
            lake.put_folder(part.folder, folder, last=SUMMARY)
            if not keeps:
                shutil.rmtree(part.folder.parent, ignore_errors=True)
    lake.write_bytes(proof, key.encode())
    if part is not None:
        parsed = _parsed(file, part.summary, folder, seconds=seconds, reused=False)
        return replace(parsed, kept=part.folder) if keeps else parsed
    assert before is not None
    return _parsed(file, before, folder, seconds=0.0, reused=True)


def _parsed(file: ManifestFile, summary: RecordingSummary, folder: str, *, seconds: float, reused: bool) -> _Parsed:
    row = recording_row(file.name, summary, sha256=file.sha256, sha256_verified=True, parse_s=seconds, part=folder)
    return _Parsed(row, summary, reused=reused)


def _parsed_before(lake: Lake, folder: str) -> RecordingSummary | None:
    """Return the summary of a part that is whole and would come out the same again."""
    if not lake.exists(f"{folder}/{SUMMARY}"):
        return None
    summary = read_summary_of(lake.read_bytes(f"{folder}/{SUMMARY}"))
    return None if summary.try_again else summary


def _differs(bucket: Bucket, key: str, file: ManifestFile, size: int, digest: str) -> FilesDiffer | Unavailable:
    """Return what to raise for a file whose hash is not its manifest's. A second reading has to confirm the first."""
    with bucket.stream(key, size=size) as stream:
        again, _ = stream.finish()
    if again == digest:
        return FilesDiffer([wrong_sha256(file, digest)])
    return Unavailable(
        f"{key} was read twice with different contents: sha256 {digest}, then {again}; the manifest says {file.sha256}.",
        help="It was replaced while it was read, or damaged on the way from the storage. Run it again.",
    )
