"""Replay a batch from its recordings, and keep the golden set that replays are compared with.

A replay runs beside the platform: nothing is stored, recorded, sent or learnt.
"""

import os
from dataclasses import replace
from datetime import UTC, datetime

from argus_assets.assets.ingest import parse_recordings
from argus_assets.assets.open_drive import aggregate_stats, detect_faults
from argus_assets.common.tempdirs import scratch_folder
from argus_assets.diagnosis.drive import diagnose_drive
from argus_assets.diagnosis.ports import DriveFacts, DriveMemory, Past
from argus_assets.drop.bucket import Bucket
from argus_assets.faults.config import FaultConfig
from argus_assets.lake import layout
from argus_assets.lake.batches import BatchStore
from argus_assets.lake.store import Lake
from argus_assets.maintenance.replays import BatchOutcome, Pin
from argus_assets.recordings.registry import Decoders
from argus_assets.recordings.schema import RECORDINGS
from argus_assets.resources.diagnosis import DiagnosisResource
from argus_assets.stats.schema import ERROR_STATS


class _ReadOnlyMemory:
    """Memory of drives that learns nothing from a replay."""

    def __init__(self, memory: DriveMemory) -> None:
        self._memory = memory

    def remember(self, drive: DriveFacts) -> None:
        """Do nothing."""

    def past(self, drive: DriveFacts, *, window_days: int = 90) -> Past:
        """Return what was known before this drive."""
        return self._memory.past(drive, window_days=window_days)


def recorded_outcome(lake: Lake, partition: str) -> BatchOutcome:
    """Return the outcome that is recorded of a batch.

    Raises:
        PermanentError: The batch was not processed to its end.
    """
    store = BatchStore(lake)
    return BatchOutcome.of(
        store.table(partition, RECORDINGS), store.table(partition, ERROR_STATS), store.diagnosis(partition)
    )


def replay(
    partition: str,
    digest: str,
    *,
    bucket: Bucket,
    lake: Lake,
    decoders: Decoders,
    faults: FaultConfig,
    diagnostician: DiagnosisResource,
) -> BatchOutcome:
    """Return what would come out of a batch with other decoders, rules, prompt or model.

    Recordings are parsed anew, whatever was parsed before, and saved answers of the language model are not used.

    Args:
        partition: Key of the batch.
        digest: Of its manifest.
        bucket: Where its recordings are.
        lake: Where its manifest is. Nothing is written.
        decoders: The formats.
        faults: How faults are looked for.
        diagnostician: Model, budget and cases. Tokens count against the day's budget.

    Raises:
        FilesDiffer: Recordings are no longer there.
        Unavailable: Storage or the database did not answer.
    """
    manifest = BatchStore(lake).manifest(partition, digest)
    with scratch_folder() as folder:
        scratch = Lake.from_url(str(folder))
        parsed = parse_recordings(manifest, bucket=bucket, lake=scratch, workers=os.cpu_count() or 1, decoders=decoders)
        findings = detect_faults(parsed.recordings, lake=scratch, config=faults)
        made = aggregate_stats(findings.events, parsed.recordings, lake=scratch, buses=findings.buses)
    _, diagnosis = diagnose_drive(
        manifest,
        partition,
        digest=digest,
        tables={
            "recordings": parsed.recordings,
            "problems": parsed.problems,
            "error_events": findings.events,
            "error_stats": made.error_stats,
            "code_pairs": made.pairs,
            "measurements": made.measurements,
            "remarks": made.remarks,
            "topic_stats": made.topics,
        },
        services=replace(diagnostician.services(), answers=None),
        now=datetime.now(UTC),
        memory=_ReadOnlyMemory(diagnostician.memory()),
        vehicle=diagnostician.pseudonym(manifest.vehicle_id),
        dictionary=faults.dictionary,
    )
    return BatchOutcome.of(parsed.recordings, made.error_stats, diagnosis)


# ---------------------------------------------------------------------------------------------- the golden set


def pins(lake: Lake) -> list[Pin]:
    """Return the golden set, by partition."""
    return [Pin.model_validate_json(lake.read_bytes(f"{layout.GOLDEN}/{name}")) for name in lake.names(layout.GOLDEN)]


def pinned(lake: Lake) -> set[str]:
    """Return the partitions of the golden set; their recordings are to be kept."""
    return {name.removesuffix(".json") for name in lake.names(layout.GOLDEN)}


def save_pin(lake: Lake, pin: Pin) -> None:
    """Put a batch into the golden set, or replace its expected outcome."""
    lake.write_bytes(layout.golden(pin.partition), pin.model_dump_json(indent=2).encode())


def remove_pin(lake: Lake, partition: str) -> bool:
    """Remove a batch from the golden set; return whether it was in it."""
    if not lake.exists(layout.golden(partition)):
        return False
    lake.delete(layout.golden(partition))
    return True
