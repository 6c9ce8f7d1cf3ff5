"""Many batches through the platform, against plain Dagster on the same stages: batches a minute, CPU, latency, memory.

Runs PostgreSQL, code server and daemon for real, on a folder bucket, so that the figures hold no S3 server's work.
CPU seconds are those of all processes of the platform and of PostgreSQL, ended ones included. Usage:

    python -m benchmarks.throughput [--batches 200] [--plain 10] [--lone 20] [--to FILE]
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import numpy as np
import psutil

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import BatchRef
from argus_assets.drop.manifest import Manifest
from argus_assets.drop.results import read_result
from argus_assets.drop.upload import collect_files, drop_manifest, upload_files
from argus_assets.runtime.child import Child
from argus_assets.runtime.embedded.postgres import EmbeddedPostgres
from argus_assets.runtime.supervisor import Supervisor
from argus_assets.settings import Settings
from argus_assets.simulate.fleet import simulate_drive
from argus_assets.simulate.scenarios import DEMO, SCENARIOS
from benchmarks.machine import describe_machine, table, watch_memory
from benchmarks.recordings import write_mdf4
from benchmarks.session import make_session

WAIT_SECONDS = 3600.0
VIN = "1M8GDM9AXKP042788"
MIB = 2**20
SENSOR_S = 5
SECONDS = 30.0
LARGE_FRAMES = 6_000_000
MIX_RUN_S = 10.0
PLAIN_YAML = """\
telemetry: {enabled: false}
storage: {postgres: {postgres_url: {env: ARGUS_DATABASE_URL}}}
"""


@dataclass
class Figures:
    """What one load cost.

    Attributes:
        batches: How many.
        wall_s: From the first manifest's put to the last result.
        cpu_s: Of all processes.
        latency_s: Of each batch, from its manifest's put to its result.
        peak_bytes: Of all processes together.
    """

    batches: int
    wall_s: float
    cpu_s: float
    latency_s: list[float]
    peak_bytes: int

    def row(self, name: str, plain: "Figures") -> list[str]:
        per_cpu = self.batches / self.cpu_s
        return [
            name,
            str(self.batches),
            f"{60 * self.batches / self.wall_s:.1f}",
            f"{self.cpu_s / self.batches:.2f}",
            f"{per_cpu / (plain.batches / plain.cpu_s):.1f}",
            f"{np.percentile(self.latency_s, 50):.1f}",
            f"{np.percentile(self.latency_s, 95):.1f}",
            f"{self.peak_bytes / MIB:.0f}",
        ]


def main() -> None:
    """Measure and print."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="argus-bench-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        text = f"Machine: {describe_machine()}.\n\n{_measure(home, options)}"
    print("\n" + text)
    if options.to:
        options.to.parent.mkdir(parents=True, exist_ok=True)
        options.to.write_text(f"# Throughput\n\n`make bench-throughput` prints this; one run, one machine.\n\n{text}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--plain", type=int, default=10, help="batches through plain Dagster: each costs the same")
    parser.add_argument("--lone", type=int, default=20, help="batches dropped one by one")
    parser.add_argument("--to", type=Path, help="write the result there, too")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _measure(home: Path, options: argparse.Namespace) -> str:
    _say("simulating drives")
    templates = [_drive(home / "fleet", scenario) for scenario in DEMO]
    large = home / "fleet" / "large"
    large.mkdir()
    _say(f"writing two recordings of {LARGE_FRAMES:,} frames")
    for seed in (1, 2):
        (large / str(seed)).mkdir()
        write_mdf4(large / str(seed) / "drive.mf4", make_session(LARGE_FRAMES, seed=seed), 0)
    large_mb = (large / "1" / "drive.mf4").stat().st_size / 1e6

    plain = _plain(home / "plain", templates, options.plain)
    settings = Settings(
        home=home / "argus",
        bucket_url=str(home / "argus-bucket"),
        lake_url=str(home / "argus-lake"),
        sensor_interval_s=SENSOR_S,
        run_seconds=60.0,
        port=0,
    )
    lone, many = _argus(settings, templates, options)
    mix_settings = settings.model_copy(
        update={"home": home / "mix", "bucket_url": str(home / "mix-bucket"), "lake_url": str(home / "mix-lake"),
                "run_seconds": MIX_RUN_S}
    )  # fmt: skip
    mix, large_s = _mix(mix_settings, templates, large, options.batches // 4)
    rows = [
        plain.row("plain Dagster, dropped at once", plain),
        lone.row("Argus, one by one", plain),
        many.row("Argus, dropped at once", plain),
        mix.row("Argus, small ones of a mix", plain),
    ]
    columns = [
        "load", "batches", "batches/min", "CPU s/batch", "batches per CPU s, ratio", "p50 s", "p95 s", "peak MiB",
    ]  # fmt: skip
    return (
        f"Small batches are simulated drives of {SECONDS:g} s (two recordings). Plain Dagster runs the same stages as five "
        f"assets, one run for each batch, with its default executor and launcher. Both look into the inbox every "
        f"{SENSOR_S} s. p50 and p95 are drop to diagnosis: from the manifest's put to the result. The mix drops "
        f"{mix.batches} small batches together with two of {LARGE_FRAMES:,} frames ({large_mb:.0f} MB) each, which "
        f"were done after {large_s[0]:.0f} and {large_s[1]:.0f} s; its runs hold {MIX_RUN_S:g} s of work, and its CPU "
        f"seconds are those of small and large ones together. Plain Dagster's wall time grows with the number of "
        f"batches, its CPU seconds for each do not; it ran {plain.batches}.\n\n" + table(columns, rows)
    )


def _drive(folder: Path, scenario: str) -> Path:
    drive = simulate_drive(
        folder / scenario, scenario=scenario, seed=7, vehicle_id=scenario.replace("_", "-"), vin=VIN, release="1.0",
        batch_id="b", started_ns=(time.time_ns() // 10**9 - 3600) * 10**9, seconds=SECONDS, files=2,
    )  # fmt: skip
    return drive.folder


def _manifest(bucket: Bucket, folder: Path, number: int) -> Manifest:
    """Upload a drive as a batch of its own. Its content is that of others: parts would be reused, so one byte differs."""
    vehicle = f"v-{number:04d}"
    platform = next((s.platform for name, s in SCENARIOS.items() if name in folder.parts), "truck")
    done = upload_files(bucket, collect_files([folder]), vehicle_id=vehicle, batch_id=f"b{number:04d}")
    now = datetime.now(UTC)
    return Manifest(
        vehicle_id=vehicle, vin=VIN, batch_id=f"b{number:04d}", release="1.0", platform=platform,
        recorded_from=now, recorded_to=now, files=tuple(f.entry for f in done),
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------- the loads


def _argus(settings: Settings, templates: Sequence[Path], options: argparse.Namespace) -> tuple[Figures, Figures]:
    bucket = Bucket.from_url(settings.bucket_url)
    bucket.ensure()
    drives = _fresh(settings.home.parent / "drives", templates, options.batches + options.lone + 1)
    with _platform(settings) as (platform, processes):
        _load(bucket, [_manifest(bucket, drives[0], 0)], processes, platform.watch)  # warms file caches
        _say(f"Argus: {options.lone} batches one by one")
        random = Random(1)
        single: list[Figures] = []
        for number in range(1, options.lone + 1):
            manifest = _manifest(bucket, drives[number], number)
            time.sleep(random.uniform(0, SENSOR_S))  # at any moment between two looks
            single.append(_load(bucket, [manifest], processes, platform.watch))
        lone = Figures(
            len(single),
            sum(f.wall_s for f in single),
            sum(f.cpu_s for f in single),
            [f.latency_s[0] for f in single],
            max(f.peak_bytes for f in single),
        )
        _say(f"Argus: {options.batches} batches at once")
        manifests = [_manifest(bucket, d, options.lone + 1 + n) for n, d in enumerate(drives[options.lone + 1 :])]
        many = _load(bucket, manifests, processes, platform.watch)
    return lone, many


def _mix(settings: Settings, templates: Sequence[Path], large: Path, count: int) -> tuple[Figures, list[float]]:
    bucket = Bucket.from_url(settings.bucket_url)
    bucket.ensure()
    drives = _fresh(settings.home.parent / "mix-drives", templates, count)
    manifests = [_manifest(bucket, large / str(n), n) for n in (1, 2)]
    manifests += [_manifest(bucket, d, 10 + n) for n, d in enumerate(drives)]
    with _platform(settings) as (platform, processes):
        _say(f"Argus: {count} small batches and 2 large ones")
        all_of_them = _load(bucket, manifests, processes, platform.watch)
    small = all_of_them.latency_s[2:]
    return (
        Figures(count, max(small), all_of_them.cpu_s, small, all_of_them.peak_bytes),
        sorted(all_of_them.latency_s[:2]),
    )


def _plain(home: Path, templates: Sequence[Path], count: int) -> Figures:
    dagster_home = home / "dagster"
    dagster_home.mkdir(parents=True)
    (dagster_home / "dagster.yaml").write_text(PLAIN_YAML)
    workspace = dagster_home / "workspace.yaml"
    workspace.write_text("load_from:\n  - python_module: {module_name: benchmarks.plain}\n")
    bucket = Bucket.from_url(str(home / "bucket"))
    bucket.ensure()
    manifests = [_manifest(bucket, d, n) for n, d in enumerate(_fresh(home.parent / "plain-drives", templates, count))]
    with EmbeddedPostgres(home / "postgres") as url:
        environment = {
            **os.environ, "DAGSTER_HOME": str(dagster_home), "ARGUS_DATABASE_URL": url,
            "ARGUS_BUCKET_URL": bucket.url, "ARGUS_LAKE_URL": str(home / "lake"),
        }  # fmt: skip
        daemon = Child(
            "daemon",
            [str(Path(sys.executable).parent / "dagster-daemon"), "run", "-w", str(workspace)],
            "",
            home / "daemon.log",
        )
        daemon.start({**environment, "PYTHONPATH": str(Path(__file__).resolve().parents[1])})
        try:
            assert daemon.process is not None
            processes = [psutil.Process(daemon.process.pid), _postmaster(home / "postgres")]
            time.sleep(20)  # the daemon has started its code server
            _say(f"plain Dagster: {count} batches at once")
            return _load(bucket, manifests, processes, lambda: None)
        finally:
            daemon.stop()


# ---------------------------------------------------------------------------------------------- measuring


class _platform:  # noqa: N801 - reads as the block it opens
    """A running platform and its processes."""

    def __init__(self, settings: Settings) -> None:
        self._platform = Supervisor(settings, webserver=False)
        self._home = settings.home

    def __enter__(self) -> tuple[Supervisor, list[psutil.Process]]:
        self._platform.start()
        processes = [psutil.Process(c.process.pid) for c in self._platform.children if c.process]
        return self._platform, [*processes, _postmaster(self._home / "postgres")]

    def __exit__(self, *_: object) -> None:
        self._platform.stop()


def _postmaster(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "data" / "postmaster.pid").read_text().split()[0]))


def _fresh(folder: Path, templates: Sequence[Path], count: int) -> list[Path]:
    """Copies of the drives whose content no other has: each recording is packed with its own comment.

    A part is kept under its content's hash, so the same content would be parsed once for all.
    """
    import zstandard

    made: list[Path] = []
    for number in range(count):
        source = templates[number % len(templates)]
        target = folder / f"{number:04d}" / source.name
        target.mkdir(parents=True)
        mark = b"\x50\x2a\x4d\x18" + (8).to_bytes(4, "little") + number.to_bytes(8, "little")  # a skippable frame
        for file in sorted(source.iterdir()):
            packed = zstandard.compress(file.read_bytes(), 1)
            (target / f"{file.name}.zst").write_bytes(packed + mark)
        made.append(target)
    return made


def _load(
    bucket: Bucket, manifests: Sequence[Manifest], processes: Sequence[psutil.Process], look: Callable[[], None]
) -> Figures:
    """Drop manifests and wait for all results."""
    cpu = _cpu_seconds(processes)
    put: dict[BatchRef, float] = {}
    latency: dict[BatchRef, float] = {}
    with watch_memory(lambda: processes, every_s=0.5) as peak:
        started = time.perf_counter()
        for manifest in manifests:
            drop_manifest(bucket, manifest)
            put[BatchRef(manifest.vehicle_id, manifest.batch_id)] = time.perf_counter()
        while len(latency) < len(put):
            for ref in put.keys() - latency.keys():
                # A result appears whole, by a rename.
                if not Path(bucket.path(f"results/{ref.vehicle_id}/{ref.batch_id}.json")).exists():
                    continue
                result = read_result(bucket, ref)
                if result is None or result.state != "completed":
                    raise SystemExit(
                        f"{ref}: {result.state if result else 'nothing'}: {result.error if result else ''}"
                    )
                latency[ref] = time.perf_counter() - put[ref]
            look()
            if time.perf_counter() - started > WAIT_SECONDS:
                raise SystemExit(f"{len(put) - len(latency)} batches had no result after {WAIT_SECONDS:.0f} s")
            time.sleep(0.1)
        wall = time.perf_counter() - started
    time.sleep(2)  # the last run ends
    return Figures(len(put), wall, _cpu_seconds(processes) - cpu, [latency[ref] for ref in put], peak.bytes)


def _cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """Of processes and all that they started: what has ended is in the times of whoever waited for it."""
    total = 0.0
    for root in processes:
        for process in [root, *root.children(recursive=True)]:
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system + times.children_user + times.children_system
    return total


if __name__ == "__main__":
    main()
