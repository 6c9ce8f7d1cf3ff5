"""Diagnose one drive from its tables."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import polars as pl

from argus_assets.diagnosis.citations import Facts
from argus_assets.diagnosis.diagnose import Services, diagnose
from argus_assets.diagnosis.evidence import build_evidence
from argus_assets.diagnosis.history import drive_facts
from argus_assets.diagnosis.model import Diagnosis, Evidence
from argus_assets.diagnosis.ports import DriveMemory
from argus_assets.diagnosis.vehicle.findings import with_recoveries
from argus_assets.drop.manifest import Manifest
from argus_assets.faults.dictionary.lookup import Dictionary, built_in
from argus_assets.stats.recorded import RecordedTime


def diagnose_drive(
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
    """Return the evidence and the diagnosis of a drive, and store the drive in the drive memory.

    Args:
        manifest: Manifest of the batch.
        partition: Partition key of the batch.
        digest: Digest of the manifest.
        tables: `recordings`, `problems`, `error_events`, `error_stats` and `code_pairs`; `measurements`, `remarks` and `topic_stats` where they are known.
        services: Services that the diagnosis may use.
        now: Current time.
        memory: Faults of earlier drives.
        vehicle: Pseudonym of the vehicle.
        dictionary: Meanings of codes; the built-in dictionary by default.
    """
    meanings = dictionary or built_in()
    recordings, events, stats = tables["recordings"], tables["error_events"], tables["error_stats"]
    drive_s = RecordedTime.of(recordings).recorded_s
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
        measurements=tables.get("measurements"),
        remarks=tables.get("remarks"),
        topics=tables.get("topic_stats"),
        platform=manifest.platform,
        release=manifest.release,
        drive_s=drive_s,
        vehicle=vehicle,
        past=past,
        describe=lambda code: meanings.describe(code).text,
    )
    evidence = with_recoveries(evidence, services.catalogue, meanings.describe)
    diagnosis = diagnose(
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
