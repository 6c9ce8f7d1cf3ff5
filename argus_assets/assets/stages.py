"""The stages of one batch: manifest → parsed recordings → events → stats → diagnosis → page.

Each takes what it needs and returns tables or documents. None knows partitions, runs or Dagster; what is shared
between processes goes through the lake.
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import polars as pl

from argus_assets.diagnosis import flow
from argus_assets.diagnosis.citations import Facts
from argus_assets.diagnosis.evidence import build_evidence
from argus_assets.diagnosis.flow import Services
from argus_assets.diagnosis.history import drive_facts
from argus_assets.diagnosis.model import Diagnosis, Evidence
from argus_assets.diagnosis.ports import DriveMemory
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.intake import missing_file, wrong_sha256, wrong_size
from argus_assets.drop.keys import recording_key
from argus_assets.drop.manifest import Manifest, ManifestFile
from argus_assets.drop.quarantine import Reason
from argus_assets.drop.stream import RangedSource
from argus_assets.errors import BadFile, Unavailable
from argus_assets.faults.config import FaultConfig
from argus_assets.faults.dictionary import Dictionary, built_in
from argus_assets.faults.finding import Findings, find_events
from argus_assets.recordings.drive import Drive
from argus_assets.recordings.model import RecordingSummary, Source
from argus_assets.recordings.parts import (
    SUMMARY,
    problem_rows,
    read_summary,
    reader_version,
    recording_row,
    scan_part,
    write_part,
)
from argus_assets.recordings.registry import BUILT_IN, HEAD_BYTES, Decoders
from argus_assets.recordings.schema import PROBLEMS, RECORDINGS
from argus_assets.report.page import PageBatch, render_page
from argus_assets.resources.lake import Lake
from argus_assets.scratch import scratch_folder
from argus_assets.stats.distance import Distance, measure
from argus_assets.stats.drive import DriveStatistics, aggregate
from argus_assets.stats.readings import motion_frames
from argus_assets.stats.recorded import RecordedTime
from argus_assets.stats.schema import SPEED
from argus_assets.stats.speed import speed_series
from argus_assets.watching.latency import Latency

_COPY_BYTES = 8 * 1024 * 1024


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
    """

    recordings: pl.DataFrame
    problems: pl.DataFrame
    reused: int

    @property
    def frames(self) -> int:
        """Frames read from all recordings."""
        return int(self.recordings["frames"].sum())


def part_folder(content_sha256: str, decoders: Decoders = BUILT_IN, name: str = "") -> str:
    """Where in the lake the tables of a recording with this content are; its name counts only with plug-ins."""
    return f"parts/{reader_version(decoders, name)}/{content_sha256[:2]}/{content_sha256}"


def parse_recordings(
    manifest: Manifest,
    *,
    bucket: Bucket,
    lake: Lake,
    workers: int,
    on_parsed: Callable[[dict[str, object]], None] = lambda _: None,
    decoders: Decoders = BUILT_IN,
    reading: Callable[[int], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> ParsedBatch:
    """Parse all recordings of a batch side by side; the barrier is the return.

    A recording that was parsed before (same content, same reader version) is reused, so a repetition after a crash
    parses only what is missing; an object that was proven to have its content is not even read again. A damaged recording becomes rows of the tables and never stops the others.

    Args:
        manifest: Which files, with size and SHA-256.
        bucket: Where they are.
        lake: Where their tables go, under `part_folder`.
        workers: Recordings read at the same time.
        on_parsed: Called with the row of each recording as it is finished, from this thread.
        decoders: The formats in force.
        reading: Entered with its size while a recording is read: waits until there is room for it.

    Raises:
        FilesDiffer: A file is missing or its content is not what the manifest says. All files have been looked at.
        Unavailable: Storage did not answer.
    """
    with ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="parse") as pool:
        futures = [
            pool.submit(_parse_one, manifest, file, bucket, lake, decoders=decoders, reading=reading)
            for file in manifest.files
        ]
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
    problems = [PROBLEMS.cast(problem_rows(str(r.row["recording"]), r.summary)) for r in results]
    return ParsedBatch(
        recordings,
        pl.concat(problems) if problems else PROBLEMS.empty(),
        reused=sum(r.reused for r in results),
    )


@dataclass(frozen=True, slots=True)
class _Parsed:
    row: dict[str, object]
    summary: RecordingSummary
    reused: bool


def _parse_one(
    manifest: Manifest,
    file: ManifestFile,
    bucket: Bucket,
    lake: Lake,
    *,
    decoders: Decoders,
    reading: Callable[[int], AbstractContextManager[None]],
) -> _Parsed:
    """Parse one recording, unless its content was parsed before; prove that it is the manifest's either way."""
    folder = part_folder(file.sha256, decoders, file.name)
    key = recording_key(manifest.vehicle_id, manifest.batch_id, file.name)
    found = bucket.stat(key)
    if found is None:
        raise FilesDiffer([missing_file(file, key)])
    proof = f"verified/{file.sha256}/{sha256(f'{key}|{found.etag}|{found.size}'.encode()).hexdigest()[:32]}"
    parsed_before = lake.exists(f"{folder}/{SUMMARY}") and not _is_to_be_tried_again(lake, folder, decoders)
    seconds = 0.0
    if not (parsed_before and lake.exists(proof)):
        if found.size != file.size:
            raise FilesDiffer([wrong_size(file, found.size)])
        with (
            reading(file.size),
            scratch_folder() as scratch,
            bucket.stream(key, size=found.size) as stream,
            _readable(stream, scratch, decoders, file.name) as source,
        ):
            out = scratch / "part"
            if not parsed_before:
                started = time.perf_counter()
                out.mkdir()
                write_part(source, folder=out, decoders=decoders, name=file.name)
                seconds = time.perf_counter() - started
            digest, _ = stream.finish()
            if digest != file.sha256:
                raise _differs(bucket, key, file, found.size, digest)
            if not parsed_before:
                lake.put_folder(out, folder, last=SUMMARY)
        lake.write_bytes(proof, key.encode())
    with lake.local_folder(folder) as local:
        summary = read_summary(local)
    row = recording_row(file.name, summary, sha256=file.sha256, sha256_verified=True, parse_s=seconds, part=folder)
    return _Parsed(row, summary, reused=parsed_before)


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


def _is_to_be_tried_again(lake: Lake, folder: str, decoders: Decoders) -> bool:
    """Whether a plug-in failed on it. Our own decoders fail the same way each time."""
    if not decoders.plug_ins:
        return False
    with lake.local_folder(folder) as local:
        return read_summary(local).try_again


@contextmanager
def _readable(stream: RangedSource, scratch: Path, decoders: Decoders, name: str) -> Generator[Source]:
    """A recording as its decoder wants it: the stream, or a local copy for one that reads here and there."""
    decoder = decoders.detect(stream.read(HEAD_BYTES), name)
    stream.seek(0)
    if decoder is None or not decoder.seeks:
        yield stream
        return
    copy = scratch / "recording"
    with copy.open("wb") as target:
        while block := stream.read(_COPY_BYTES):
            target.write(block)
    with copy.open("rb") as source:
        yield source


def detect_faults(recordings: pl.DataFrame, *, lake: Lake, config: FaultConfig | None = None) -> Findings:
    """Find the error events of a drive in the parsed parts of all its recordings.

    Args:
        recordings: `recordings.schema.RECORDINGS`.
        lake: Where the parts are.
        config: How faults are looked for; see `find_events`.
    """
    with _open_drive(recordings, lake) as drive:
        return find_events(drive, config)


def measure_motion(recordings: pl.DataFrame, *, lake: Lake) -> tuple[Distance | None, pl.DataFrame]:
    """How far and how fast a drive went, by the parsed parts of all its recordings.

    Args:
        recordings: `recordings.schema.RECORDINGS`.
        lake: Where the parts are.

    Returns:
        The distance, `None` when nothing tells it, and `stats.schema.SPEED`.
    """
    with _open_drive(recordings, lake) as drive:
        frames = motion_frames(drive)
        return measure(drive, frames), speed_series(drive, frames)


@contextmanager
def _open_drive(recordings: pl.DataFrame, lake: Lake) -> Generator[Drive]:
    """The tables of a drive, for the time of the block."""
    parsed = recordings.filter(pl.col("part").is_not_null() & (pl.col("frames") > 0))
    with ExitStack() as stack:
        parts = [
            (name, scan_part(stack.enter_context(lake.local_folder(part))))
            for name, part in parsed.select("recording", "part").iter_rows()
        ]
        yield Drive.of(parts)


def drive_seconds(recordings: pl.DataFrame) -> float:
    """Seconds of a drive that were recorded: gaps between recordings are left out, overlaps count once."""
    return RecordedTime.of(recordings).recorded_s


def aggregate_stats(
    events: pl.DataFrame, recordings: pl.DataFrame, *, lake: Lake, buses: pl.DataFrame | None = None
) -> DriveStatistics:
    """Statistics of a drive: each fault, pairs of them, totals, and the speed.

    Args:
        events: `faults.schema.ERROR_EVENTS`.
        recordings: `recordings.schema.RECORDINGS`.
        lake: Where the parts are, which tell how far and how fast the drive went.
        buses: A row for each CAN channel: channel, load_mean_pct, load_peak_pct.
    """
    distance, speed = measure_motion(recordings, lake=lake)
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
