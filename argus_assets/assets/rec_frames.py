"""`rec_frames`: every recording of the drive, parsed."""

import time
from typing import Final

import dagster as dg
import polars as pl

from argus_assets import pipeline
from argus_assets.assets.batch_asset import BatchAsset, Check, Made, batch_spec, fingerprint, preview
from argus_assets.assets.batch_context import BatchContext
from argus_assets.assets.ingest import parse_recordings
from argus_assets.common.capacity import READ_AHEAD_BYTES
from argus_assets.recordings.parts import READER_VERSION
from argus_assets.recordings.schema import PROBLEMS, RECORDINGS

DAMAGED_SHARE_LIMIT_PCT: Final = 5.0


def make(batch: BatchContext) -> Made:
    """Parse the recordings side by side; the process of a small batch keeps the parts for the stages that follow."""
    services = batch.services
    started = time.perf_counter()
    parsed = parse_recordings(
        batch.manifest,
        bucket=services.bucket,
        lake=services.lake,
        workers=services.capacity.readers.total,
        on_parsed=batch.events.file_parsed,
        decoders=services.decoders,
        limits=services.limits,
        reading=lambda memory: services.capacity.reading(READ_AHEAD_BYTES + memory),
        processes=batch.processes,
    )
    batch.kept_parts = parsed.kept
    lost = int(parsed.recordings["frames_lost"].sum())
    failed = parsed.recordings.filter(pl.col("state") == "failed").height
    lost_pct = 100 * lost / max(1, parsed.frames + lost)
    return Made(
        data=fingerprint(parsed.recordings.drop("parse_s"), parsed.problems),
        metadata={
            "dagster/row_count": parsed.frames,
            "recordings": parsed.recordings.height,
            "recordings_failed": failed,
            "recordings_reused": parsed.reused,
            "readers_stopped": _of_kind(parsed.problems, "reader_stopped"),
            "readers_failed": _of_kind(parsed.problems, "reader_failed"),
            "plug_ins": ", ".join(f"{d.name}/{d.version}" for d in services.decoders.plug_ins) or "none",
            "frames_lost": lost,
            "problems": parsed.problems.height,
            "size_bytes": int(parsed.recordings["size_bytes"].sum()),
            "seconds": time.perf_counter() - started,
            "preview": preview(
                parsed.recordings, ["recording", "format", "state", "frames", "frames_lost", "channels", "problems"]
            ),
        },
        tables=[(RECORDINGS, parsed.recordings), (PROBLEMS, parsed.problems)],
        checks=[
            Check(
                "files_match_manifest",
                passed=bool(parsed.recordings["sha256_verified"].all()),
                severity=dg.AssetCheckSeverity.ERROR,
                metadata={"recordings": parsed.recordings.height},
            ),
            Check(
                "damaged_share",
                passed=failed == 0 and lost_pct <= DAMAGED_SHARE_LIMIT_PCT,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={
                    "frames_lost_pct": lost_pct,
                    "recordings_failed": failed,
                    "problems": preview(
                        parsed.problems, ["recording", "kind", "offset", "expected", "actual", "frames_lost"]
                    ),
                },
            ),
        ],
    )


def _of_kind(problems: pl.DataFrame, kind: str) -> int:
    return problems.filter(pl.col("kind") == kind)["recording"].n_unique()


ASSET: Final = BatchAsset(
    pipeline.REC_FRAMES,
    batch_spec(
        pipeline.REC_FRAMES,
        "Every recording of the drive, parsed: a frame table for each, and one row for each file that says what was "
        "read, what was damaged, and that its SHA-256 is the manifest's.",
        kinds={"polars", "parquet"},
        code_version=READER_VERSION,
        table=RECORDINGS,
    ),
    [
        dg.AssetCheckSpec(
            "files_match_manifest",
            asset=pipeline.REC_FRAMES.name,
            description="Every file has the manifest's SHA-256.",
        ),
        dg.AssetCheckSpec(
            "damaged_share",
            asset=pipeline.REC_FRAMES.name,
            description=f"At most {DAMAGED_SHARE_LIMIT_PCT:g}% of the frames were lost to damage, and every file was read.",
        ),
    ],
    make,
)
