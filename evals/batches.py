"""Make batches: process a scenario with a seed from simulated recordings to evidence. Cached by content."""

import json
import tempfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

import numpy as np
import polars as pl

import argus_assets
from argus_assets.assets.ingest import parse_recordings
from argus_assets.assets.open_drive import detect_faults
from argus_assets.diagnosis.citations import Facts
from argus_assets.diagnosis.evidence import build_evidence
from argus_assets.diagnosis.model import Evidence
from argus_assets.drop.bucket import Bucket
from argus_assets.lake.store import Lake
from argus_assets.simulate.drop import upload_drive
from argus_assets.simulate.fleet import simulate_drive
from argus_assets.simulate.scenarios import SCENARIOS
from argus_assets.stats.drive import aggregate
from argus_assets.stats.recorded import RecordedTime
from evals.changes import Tables, changed
from evals.scenario import Named

Split = Literal["dev", "test"]
SEEDS: Final[dict[Split, tuple[int, ...]]] = {"dev": (11, 12), "test": (7001, 7013)}
"""Rules and scenarios are developed on `dev` only."""

_UPSTREAM: Final = ("recordings", "faults", "simulate", "drop")
_START_NS: Final = 1_795_000_000 * 10**9


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch with its evidence.

    Attributes:
        plain: Evidence without the injected log texts; `None` if there are none.
    """

    name: str
    seed: int
    evidence: Evidence
    facts: Facts
    plain: Evidence | None


def make_batch(named: Named, seed: int, cache: Path) -> Batch:
    """Simulate a batch, or load it from the cache, and apply the scenario's changes."""
    scenario = named.scenario
    base = _drive(scenario.simulate, seed, scenario.seconds, cache)

    def taken(changes: tuple[dict[str, object], ...]) -> Tables:
        rng = np.random.default_rng([seed, zlib.crc32(named.name.encode())])
        return changed(base, changes, rng=rng, merge=lambda name: _drive(name, seed, scenario.seconds, cache))

    tables = taken(scenario.change)
    silent = tuple(c for c in scenario.change if c["kind"] != "say")
    plain = None if len(silent) == len(scenario.change) else _evidence(taken(silent))
    return Batch(named.name, seed, _evidence(tables), Facts.of(tables.events, tables.recordings), plain)


def make_one(wanted: tuple[Named, int, Path]) -> Batch:
    """Call `make_batch` with one argument, for a pool of processes."""
    return make_batch(*wanted)


def _evidence(tables: Tables) -> Evidence:
    made = aggregate(tables.events, tables.recordings)
    return build_evidence(
        made.error_stats,
        tables.recordings,
        events=tables.events,
        pairs=made.pairs,
        platform=tables.platform,
        release="2026.10",
        drive_s=RecordedTime.of(tables.recordings).recorded_s,
    )


@lru_cache(maxsize=4)
def _drive(scenario: str, seed: int, seconds: float, cache: Path) -> Tables:
    """Return the events and recordings of a simulated drive, made by the real readers and detectors."""
    seconds = max(seconds, SCENARIOS[scenario].shortest_s)
    folder = cache / _source_version() / f"{scenario}-{seed}-{seconds:g}"
    if not (folder / "done").exists():
        with tempfile.TemporaryDirectory(prefix="argus-eval-") as scratch:
            events, recordings = _simulated(Path(scratch), scenario, seed, seconds)
        folder.mkdir(parents=True, exist_ok=True)
        events.write_parquet(folder / "events.parquet")
        recordings.write_parquet(folder / "recordings.parquet")
        (folder / "done").write_text(json.dumps({"scenario": scenario, "seed": seed}))
    return Tables(
        SCENARIOS[scenario].platform,
        pl.read_parquet(folder / "events.parquet"),
        pl.read_parquet(folder / "recordings.parquet"),
    )


def _simulated(scratch: Path, scenario: str, seed: int, seconds: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    drive = simulate_drive(
        scratch / "drive",
        scenario=scenario,
        seed=seed,
        vehicle_id="v",
        vin="1M8GDM9AXKP042788",
        release="2026.10",
        batch_id="b",
        started_ns=_START_NS,
        seconds=seconds,
    )
    bucket = Bucket.from_url(str(scratch / "bucket"))
    bucket.ensure()
    manifest = upload_drive(bucket, drive)
    lake = Lake.from_url(str(scratch / "lake"))
    parsed = parse_recordings(manifest, bucket=bucket, lake=lake, workers=1)
    return detect_faults(parsed.recordings, lake=lake).events, parsed.recordings


@lru_cache(maxsize=1)
def _source_version() -> str:
    """Changes with whatever makes events of recordings."""
    root = Path(argus_assets.__file__).parent
    digest = sha256()
    for package in _UPSTREAM:
        for path in sorted((root / package).rglob("*")):
            if path.suffix in (".py", ".toml", ".csv"):
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
