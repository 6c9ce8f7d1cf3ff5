"""Diagnose local recordings without an installation: no lake, no database, no drive memory, no language model.

Nothing is stored.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import file_digest
from pathlib import Path
from typing import Final

import polars as pl

from argus_assets.containment.client import Confined, pool
from argus_assets.diagnosis.citations import Facts
from argus_assets.diagnosis.diagnose import Services, diagnose
from argus_assets.diagnosis.evidence import build_evidence
from argus_assets.diagnosis.model import Diagnosis, Evidence
from argus_assets.diagnosis.vehicle.catalogue import Catalogue, load_catalogue
from argus_assets.diagnosis.vehicle.findings import with_recoveries
from argus_assets.errors import BadRecording
from argus_assets.faults.config import FaultConfig, default_config
from argus_assets.faults.contained import find_contained
from argus_assets.recordings.contained import ReadPart, read_contained
from argus_assets.recordings.model import DEFAULT_LIMITS, Limits, RecordingSummary
from argus_assets.recordings.parts import problems_table, recording_row, recordings_table
from argus_assets.recordings.registry import BUILT_IN, Decoders
from argus_assets.stats.contained import count_contained, measure_contained
from argus_assets.stats.drive import DriveStatistics, aggregate
from argus_assets.stats.recorded import RecordedTime
from argus_assets.stats.vehicle_platform import infer_platform

DRIVE: Final = "drive"
"""Name of a drive without one."""


@dataclass(frozen=True, slots=True)
class LocalDrive:
    """A diagnosed drive.

    Attributes:
        vehicle_platform: As given, or as inferred; empty if it cannot be inferred.
        inferred_from: Sentence that says what it was inferred from; empty if it was given.
        recordings: `recordings.schema.RECORDINGS`.
        problems: `recordings.schema.PROBLEMS`.
        events: `faults.schema.ERROR_EVENTS`.
        statistics: Statistics of the faults.
        evidence: Evidence of the diagnosis.
        diagnosis: The diagnosis.
        notes: Findings that the detectors left out.
        others: Files in folders that are not recordings.
    """

    vehicle_platform: str
    inferred_from: str
    recordings: pl.DataFrame
    problems: pl.DataFrame
    events: pl.DataFrame
    statistics: DriveStatistics
    evidence: Evidence
    diagnosis: Diagnosis
    notes: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadDrive:
    """What was read and found in local recordings, before the question of its cause. Attributes as of `LocalDrive`."""

    vehicle_platform: str
    inferred_from: str
    recordings: pl.DataFrame
    problems: pl.DataFrame
    events: pl.DataFrame
    statistics: DriveStatistics
    notes: tuple[str, ...]
    others: tuple[str, ...]


def diagnose_files(
    files: Sequence[tuple[str, Path, bool]],
    *,
    now: datetime,
    vehicle_platform: str | None = None,
    decoders: Decoders = BUILT_IN,
    limits: Limits = DEFAULT_LIMITS,
    faults: FaultConfig | None = None,
    catalogue: Catalogue | None = None,
    on_read: Callable[[str], None] = lambda _: None,
) -> LocalDrive:
    """Diagnose local recordings as one drive. Their bytes are read in a confined process.

    Args:
        files: Name and path of each, and whether it must be a recording: a file found in a folder is skipped if its
            format is unknown.
        now: Current time.
        vehicle_platform: Vehicle platform; inferred from the traffic by default.
        decoders: The active decoders.
        limits: Limits for each recording.
        faults: Configuration of fault detection; the shipped rules and dictionary by default.
        catalogue: Catalogue of the vehicle model; the shipped one by default.
        on_read: Called with the name of each recording once it has been read.

    Raises:
        BadRecording: A file cannot be opened.
        PermanentError: The drive exceeds the limits of fault detection.
        Unavailable: There is no room for temporary files.
    """
    config = default_config() if faults is None else faults
    drive = read_files(
        files, vehicle_platform=vehicle_platform, decoders=decoders, limits=limits, faults=config, on_read=on_read
    )
    return diagnose_read(drive, now=now, faults=config, catalogue=catalogue)


def read_files(
    files: Sequence[tuple[str, Path, bool]],
    *,
    vehicle_platform: str | None = None,
    decoders: Decoders = BUILT_IN,
    limits: Limits = DEFAULT_LIMITS,
    faults: FaultConfig,
    on_read: Callable[[str], None] = lambda _: None,
) -> ReadDrive:
    """Read local recordings in a confined process, and find the faults. Arguments and errors as of `diagnose_files`."""
    with pool() as processes, processes.process() as process:
        rows: list[dict[str, object]] = []
        summaries: list[tuple[str, RecordingSummary]] = []
        parts: list[tuple[str, Path]] = []
        others: list[str] = []
        for name, path, is_recording in files:
            part, digest = _read(process, name, path, decoders=decoders, limits=limits)
            on_read(name)
            if not is_recording and any(problem.kind == "unknown_format" for problem in part.summary.problems):
                others.append(name)
                continue
            rows.append(recording_row(name, part.summary, sha256=digest, sha256_verified=True, parse_s=0.0, part=""))
            summaries.append((name, part.summary))
            if part.summary.frames:
                parts.append((name, part.folder))
        recordings = recordings_table(rows)
        frames = int(recordings["frames"].sum())
        inferred_from = ""
        if vehicle_platform is None:
            vehicle_platform, inferred_from = infer_platform(count_contained(process, parts, frames=frames))
        findings = find_contained(process, parts, frames=frames, config=faults)
        measured = measure_contained(process, parts, frames=frames)
    made = aggregate(findings.events, recordings, measured=measured, buses=findings.buses)
    return ReadDrive(
        vehicle_platform=vehicle_platform or "",
        inferred_from=inferred_from,
        recordings=recordings,
        problems=problems_table(summaries),
        events=findings.events,
        statistics=made,
        notes=findings.notes,
        others=tuple(others),
    )


def diagnose_read(
    drive: ReadDrive,
    *,
    now: datetime,
    faults: FaultConfig,
    catalogue: Catalogue | None = None,
    services: Services | None = None,
) -> LocalDrive:
    """Diagnose a drive that was read by `read_files`.

    Args:
        drive: The drive.
        now: Current time.
        faults: Configuration of fault detection.
        catalogue: Catalogue of the vehicle model; the shipped one by default.
        services: What the diagnosis may use; the catalogue alone by default.
    """
    evidence = build_evidence(
        drive.statistics.error_stats,
        drive.recordings,
        events=drive.events,
        problems=drive.problems,
        pairs=drive.statistics.pairs,
        measurements=drive.statistics.measurements,
        remarks=drive.statistics.remarks,
        topics=drive.statistics.topics,
        platform=drive.vehicle_platform,
        release="",
        drive_s=RecordedTime.of(drive.recordings).recorded_s,
        describe=lambda code: faults.dictionary.describe(code).text,
    )
    used = services or Services(
        catalogue=load_catalogue() if catalogue is None else catalogue, describe=faults.dictionary.describe
    )
    evidence = with_recoveries(evidence, used.catalogue, used.describe)
    answer = diagnose(
        evidence,
        used,
        facts=Facts.of(drive.events, drive.recordings),
        batch=DRIVE,
        at=now,
        now=now,
    )
    return LocalDrive(
        vehicle_platform=drive.vehicle_platform,
        inferred_from=drive.inferred_from,
        recordings=drive.recordings,
        problems=drive.problems,
        events=drive.events,
        statistics=drive.statistics,
        evidence=evidence,
        diagnosis=answer,
        notes=drive.notes,
        others=drive.others,
    )


def _read(process: Confined, name: str, path: Path, *, decoders: Decoders, limits: Limits) -> tuple[ReadPart, str]:
    """Read a recording. Return its part and the SHA-256 of the file.

    Raises:
        BadRecording: The file cannot be opened.
    """
    try:
        with path.open("rb") as source:
            part = read_contained(process, source, name=name, decoders=decoders, limits=limits)
            source.seek(0)
            return part, file_digest(source, "sha256").hexdigest()
    except OSError as error:
        raise BadRecording(
            f"Could not read {path}: {error.strerror or error}.", help="Check that you may read it."
        ) from error
