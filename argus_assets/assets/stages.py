"""The stages of one batch: manifest → parsed recordings → events → stats → diagnosis → page.

Each takes what it needs and returns tables or documents. None knows partitions, runs or Dagster; what is shared
between processes goes through the lake.
"""

import shutil
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

import polars as pl

from argus_assets.containment.client import Confined, Pool, Reserve, no_reserve, pool
from argus_assets.diagnosis import diagnose as flow
from argus_assets.diagnosis.citations import Facts
from argus_assets.diagnosis.diagnose import Services
from argus_assets.diagnosis.evidence import build_evidence
from argus_assets.diagnosis.history import drive_facts
from argus_assets.diagnosis.model import Diagnosis, Evidence
from argus_assets.diagnosis.ports import DriveMemory
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.intake import missing_file, wrong_sha256, wrong_size
from argus_assets.drop.keys import recording_key
from argus_assets.drop.manifest import Manifest, ManifestFile
from argus_assets.drop.quarantine import Reason
from argus_assets.errors import BadFile, Unavailable
from argus_assets.faults.config import FaultConfig
from argus_assets.faults.contained import find_contained
from argus_assets.faults.detection import Findings
from argus_assets.faults.dictionary.lookup import Dictionary, built_in
from argus_assets.lake.store import Lake
from argus_assets.monitoring.latency import Latency
from argus_assets.recordings.contained import read_contained
from argus_assets.recordings.model import DEFAULT_LIMITS, Limits, RecordingSummary
from argus_assets.recordings.parts import SUMMARY, problem_rows, read_summary_of, reader_version, recording_row
from argus_assets.recordings.registry import BUILT_IN, Decoders
from argus_assets.recordings.schema import PROBLEMS, RECORDINGS
from argus_assets.report.page import PageBatch, render_page
from argus_assets.stats.contained import measure_contained
from argus_assets.stats.distance import Distance
from argus_assets.stats.drive import DriveStatistics, aggregate
from argus_assets.stats.recorded import RecordedTime
from argus_assets.stats.schema import SPEED

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
    """What `parse_recordings` made.

    Attributes:
        recordings: `recordings.schema.RECORDINGS`, in manifest order.
        problems: `recordings.schema.PROBLEMS`.
        reused: Recordings that had been parsed before, by content and reader version.
        kept: Local folders of the parts, by their folder in the lake, where one process of the caller's wrote them all.
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
    """Where in the lake the tables of a recording with this content are; its name counts only with plug-ins."""
    return f"parts/{reader_version(decoders, name, limits)}/{content_sha256[:2]}/{content_sha256}"


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
    parses only what is missing; an object that was proven to have its content is not even read again. A recording that is
    damaged, or whose reader has to be killed, becomes rows of the tables and never stops the others.

    Args:
        manifest: Which files, with size and SHA-256.
        bucket: Where they are.
        lake: Where their tables go, under `part_folder`.
        workers: Recordings read at the same time.
        on_parsed: Called with the row of each recording as it is finished, from this thread.
        decoders: The formats in force.
        limits: What a recording may cost.
        reading: Entered with the bytes of memory that a recording's reader may take, while it is read: waits until there
            is room for it.
        processes: Where they are read, if the same process is to compute on them (`open_drive`): it keeps the parts of a
            small batch.

    Raises:
        FilesDiffer: A file is missing or its content is not what the manifest says. All files have been looked at.
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
    times = {"first_timestamp": pl.Int64(), "last_timestamp": pl.Int64()}
    recordings = RECORDINGS.cast(pl.DataFrame([r.row for r in results], schema={**RECORDINGS.schema, **times}))
    problems = [problem_rows(str(r.row["recording"]), r.summary) for r in results if r.summary.problems]
    return ParsedBatch(
        recordings,
        PROBLEMS.cast(pl.concat(problems)) if problems else PROBLEMS.empty(),
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
    proof = f"verified/{file.sha256}/{sha256(f'{key}|{found.etag}|{found.size}'.encode()).hexdigest()[:32]}"
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
    """What to raise for a file that was read with another hash than its manifest's: it is condemned by two readings."""
    with bucket.stream(key, size=size) as stream:
        again, _ = stream.finish()
    if again == digest:
        return FilesDiffer([wrong_sha256(file, digest)])
    return Unavailable(
        f"{key} was read twice with different contents: sha256 {digest}, then {again}; the manifest says {file.sha256}.",
        help="It was replaced while it was read, or damaged on the way from the storage. Run it again.",
    )


@dataclass(frozen=True, slots=True)
class OpenDrive:
    """The parts of a drive's recordings in local folders, and a confined process that computes on them.

    Attributes:
        parts: Each recording with the folder of its part.
        frames: Of all of them.
        process: It may read these parts, and no others.
    """

    parts: list[tuple[str, Path]]
    frames: int
    process: Confined


@contextmanager
def open_drive(
    recordings: pl.DataFrame, *, lake: Lake, processes: Pool | None = None, kept: Mapping[str, Path] | None = None
) -> Generator[OpenDrive]:
    """Have a drive at hand for the time of the block.

    Args:
        recordings: `recordings.schema.RECORDINGS`.
        lake: Where the parts are.
        processes: Where the recordings were parsed: the process that still has all parts computes on them.
        kept: Its folders of them; see `ParsedBatch`.

    Raises:
        Unavailable: Storage did not answer.
    """
    parsed = recordings.filter(pl.col("part").is_not_null() & (pl.col("frames") > 0))
    frames = int(recordings["frames"].sum())
    named = list(parsed.select("recording", "part").iter_rows())
    if processes is not None and kept and all(part in kept for _, part in named):
        with processes.process() as process:
            yield OpenDrive([(name, kept[part]) for name, part in named], frames, process)
        return
    with ExitStack() as stack:
        parts = [(name, stack.enter_context(lake.local_folder(part))) for name, part in named]
        processes = stack.enter_context(pool([folder for _, folder in parts]))
        process = stack.enter_context(processes.process())
        yield OpenDrive(parts, frames, process)


def detect_faults(
    recordings: pl.DataFrame,
    *,
    lake: Lake,
    config: FaultConfig | None = None,
    drive: OpenDrive | None = None,
    computing: Reserve = no_reserve,
) -> Findings:
    """Find the error events of a drive in the parsed parts of all its recordings, in a confined process.

    Args:
        recordings: `recordings.schema.RECORDINGS`.
        lake: Where the parts are.
        config: How faults are looked for; see `find_events`.
        drive: The parts, where they are open already.
        computing: Entered with the bytes of memory that this may take, while it does.

    Raises:
        PermanentError: The drive needs more than finding faults may use.
        Unavailable: Storage did not answer.
    """
    if drive is None:
        with open_drive(recordings, lake=lake) as opened:
            return detect_faults(recordings, lake=lake, config=config, drive=opened, computing=computing)
    return find_contained(drive.process, drive.parts, frames=drive.frames, config=config, reserve=computing)


def measure_motion(
    recordings: pl.DataFrame, *, lake: Lake, drive: OpenDrive | None = None, computing: Reserve = no_reserve
) -> tuple[Distance | None, pl.DataFrame]:
    """Measure how far and how fast a drive went, by the parsed parts of all its recordings, in a confined process.

    Args:
        recordings: `recordings.schema.RECORDINGS`.
        lake: Where the parts are.
        drive: The parts, where they are open already.
        computing: Entered with the bytes of memory that this may take, while it does.

    Returns:
        The distance, `None` when nothing tells it, and `stats.schema.SPEED`.

    Raises:
        PermanentError: The drive needs more than this may use.
        Unavailable: Storage did not answer.
    """
    if drive is None:
        with open_drive(recordings, lake=lake) as opened:
            return measure_motion(recordings, lake=lake, drive=opened, computing=computing)
    return measure_contained(drive.process, drive.parts, frames=drive.frames, reserve=computing)


def drive_seconds(recordings: pl.DataFrame) -> float:
    """Seconds of a drive that were recorded: gaps between recordings are left out, overlaps count once."""
    return RecordedTime.of(recordings).recorded_s


def aggregate_stats(
    events: pl.DataFrame,
    recordings: pl.DataFrame,
    *,
    lake: Lake,
    buses: pl.DataFrame | None = None,
    drive: OpenDrive | None = None,
    computing: Reserve = no_reserve,
) -> DriveStatistics:
    """Statistics of a drive: each fault, pairs of them, totals, and the speed.

    Args:
        events: `faults.schema.ERROR_EVENTS`.
        recordings: `recordings.schema.RECORDINGS`.
        lake: Where the parts are, which tell how far and how fast the drive went.
        buses: A row for each CAN channel: channel, load_mean_pct, load_peak_pct.
        drive: The parts, where they are open already.
        computing: Entered with the bytes of memory that this may take, while it does.
    """
    distance, speed = measure_motion(recordings, lake=lake, drive=drive, computing=computing)
    return aggregate(events, recordings, distance=distance, speed=speed, buses=buses)


def diagnose(
    manifest: Manifest,
    partition: str,
    *,
    digest: str,
    tables: Mapping[str, pl.DataFrame],
    services: Services,
    now: datetime,
    memory: DriveMemory | None = None,
    vehicle: str = "",
    dictionary: Dictionary | None = None,
) -> tuple[Evidence, Diagnosis]:
    """Evidence of a drive and its diagnosis. The drive is kept in the memory of drives.

    Args:
        manifest: Of the batch.
        partition: Its partition key.
        digest: Of its manifest.
        tables: `recordings`, `problems`, `error_events`, `error_stats` and `code_pairs`.
        services: What the diagnosis may use.
        now: The time.
        memory: The faults of earlier drives.
        vehicle: Pseudonym of the vehicle.
        dictionary: What codes mean; the built-in one unless given.
    """
    meanings = dictionary or built_in()
    recordings, events, stats = tables["recordings"], tables["error_events"], tables["error_stats"]
    drive_s = drive_seconds(recordings)
    facts = drive_facts(
        partition,
        vehicle_id=manifest.vehicle_id,
        platform=manifest.platform,
        release=manifest.release,
        recorded_from=manifest.recorded_from,
        recorded_h=drive_s / 3600,
        manifest_digest=digest,
        stats=stats,
    )
    past = memory.past(facts) if memory is not None else None
    evidence = build_evidence(
        stats,
        recordings,
        events=events,
        problems=tables["problems"],
        pairs=tables["code_pairs"],
        platform=manifest.platform,
        release=manifest.release,
        drive_s=drive_s,
        vehicle=vehicle,
        past=past,
        describe=lambda code: meanings.describe(code).text,
    )
    diagnosis = flow.diagnose(
        evidence,
        replace(services, describe=meanings.describe),
        facts=Facts.of(events, recordings),
        batch=partition,
        at=now,
        now=now,
    )
    if memory is not None:
        memory.remember(facts)
    return evidence, diagnosis


def render(
    manifest: Manifest,
    partition: str,
    *,
    tables: Mapping[str, pl.DataFrame],
    evidence: Evidence,
    diagnosis: Diagnosis,
    dictionary: Dictionary | None = None,
    latency: Latency | None = None,
) -> str:
    """The batch's page.

    Args:
        manifest: Of the batch.
        partition: Its partition key, shown as its name.
        tables: `recordings`, `problems`, `error_events`, `error_stats`, `code_pairs` and `drive_stats`; `speed` where
            it is known.
        evidence: What the diagnosis rests on.
        diagnosis: The answer.
        dictionary: What codes mean; the built-in one unless given.
        latency: How long each step took, where it is known.
    """
    meanings = dictionary or built_in()
    return render_page(
        batch=PageBatch(
            partition_key=partition,
            vehicle_id=manifest.vehicle_id,
            batch_id=manifest.batch_id,
            release=manifest.release,
            platform=manifest.platform,
            recorded_from=manifest.recorded_from,
            recorded_to=manifest.recorded_to,
        ),
        recordings=tables["recordings"],
        problems=tables["problems"],
        events=tables["error_events"],
        stats=tables["error_stats"],
        pairs=tables["code_pairs"],
        totals=tables["drive_stats"],
        speed=tables.get("speed", SPEED.empty()),
        diagnosis=diagnosis,
        evidence=evidence,
        describe=meanings.describe,
        latency=latency,
    )
