"""A simulated drive taken through the stages in this process: no Dagster, no server."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import polars as pl

from argus_assets.assets.ingest import parse_recordings
from argus_assets.assets.open_drive import aggregate_stats, detect_faults
from argus_assets.diagnosis.diagnose import Services
from argus_assets.diagnosis.drive import diagnose_drive
from argus_assets.diagnosis.model import Diagnosis, Evidence
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.manifest import Manifest, ManifestFile
from argus_assets.lake.store import Lake
from argus_assets.report.drive import render_drive
from argus_assets.simulate.drop import upload_drive
from argus_assets.simulate.fleet import simulate_drive


@dataclass
class MadeDrive:
    """Tables and documents of a drive."""

    manifest: Manifest
    recordings: pl.DataFrame
    problems: pl.DataFrame
    events: pl.DataFrame
    stats: pl.DataFrame
    pairs: pl.DataFrame
    totals: pl.DataFrame
    speed: pl.DataFrame
    evidence: Evidence
    diagnosis: Diagnosis

    def page(self) -> str:
        tables = {
            "recordings": self.recordings, "problems": self.problems,
            "error_events": self.events, "error_stats": self.stats,
            "code_pairs": self.pairs, "drive_stats": self.totals, "speed": self.speed,
        }  # fmt: skip
        return render_drive(
            self.manifest, "20261118T110640Z_v_b", tables=tables, evidence=self.evidence, diagnosis=self.diagnosis
        )


def made_drive(
    folder: Path, scenario: str, *, seconds: float = 30.0, seed: int = 7, junk: dict[str, bytes] | None = None
) -> MadeDrive:
    """Simulate, drop into a folder bucket, and make everything up to the diagnosis."""
    drive = simulate_drive(
        folder / "drive", scenario=scenario, seed=seed, vehicle_id="v", vin="1M8GDM9AXKP042788", release="2026.10",
        batch_id="b", started_ns=1_795_000_000 * 10**9, seconds=seconds,
    )  # fmt: skip
    for name, content in (junk or {}).items():
        (drive.folder / name).write_bytes(content)
    bucket = Bucket.from_url(str(folder / "bucket"))
    bucket.ensure()
    manifest = upload_drive(bucket, drive)
    lake = Lake.from_url(str(folder / "lake"))
    parsed = parse_recordings(manifest, bucket=bucket, lake=lake, workers=2)
    findings = detect_faults(parsed.recordings, lake=lake)
    events = findings.events
    made = aggregate_stats(events, parsed.recordings, lake=lake, buses=findings.buses)
    evidence, diagnosis = diagnose_drive(
        manifest, "20261118T110640Z_v_b", digest="d", services=Services(catalogue=load_catalogue()),
        now=manifest.recorded_to,
        tables={
            "recordings": parsed.recordings, "problems": parsed.problems, "error_events": events,
            "error_stats": made.error_stats, "code_pairs": made.pairs,
        },
    )  # fmt: skip
    return MadeDrive(
        manifest, parsed.recordings, parsed.problems, events, made.error_stats, made.pairs, made.totals, made.speed,
        evidence, diagnosis,
    )  # fmt: skip


def manifest_of(folder: Path) -> Manifest:
    """The manifest of the recordings in a folder of a bucket."""
    files = [
        ManifestFile(name=f.name, size=f.stat().st_size, sha256=sha256(f.read_bytes()).hexdigest())
        for f in sorted(folder.iterdir())
    ]
    start = datetime(2026, 11, 23, 8, tzinfo=UTC)
    return Manifest(
        vehicle_id="v", vin="1M8GDM9AXKP042788", batch_id="b", release="2026.10", platform="car", recorded_from=start,
        recorded_to=start + timedelta(hours=1), files=tuple(files),
    )  # fmt: skip
