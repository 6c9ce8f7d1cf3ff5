"""From drop to diagnosis: seconds and peak memory for one batch and for fifty, and the memory of an upload.

Runs the real platform (PostgreSQL, code server, daemon) against an S3 server on loopback. Usage:

    python -m benchmarks.spine [--batches 50] [--seconds 60] [--upload-mb 2048] [--to FILE]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from argus_assets.assets.ingest import parse_recordings
from argus_assets.assets.open_drive import aggregate_stats, detect_faults
from argus_assets.diagnosis.diagnose import Services
from argus_assets.diagnosis.drive import diagnose_drive
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import BatchRef
from argus_assets.drop.results import read_result
from argus_assets.drop.upload import drop_manifest
from argus_assets.lake.store import Lake
from argus_assets.report.drive import render_drive
from argus_assets.runtime.embedded.s3 import S3Server, s3_server
from argus_assets.runtime.supervisor import Supervisor
from argus_assets.settings import Settings
from argus_assets.simulate.drop import upload_drive
from argus_assets.simulate.fleet import Drive, simulate_drive
from argus_assets.simulate.scenarios import DEMO, SCENARIOS
from benchmarks.machine import Peak, describe_machine, table, watch_memory

WAIT_SECONDS = 900.0
VIN = "1M8GDM9AXKP042788"
MIB = 2**20


def main() -> None:
    """Measure and print."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="argus-bench-") as folder:
        home = Path(folder)
        with s3_server(home / "s3.log", dict(os.environ)) as server:
            os.environ.update(server.environment())
            text = "\n\n".join(
                [
                    f"Machine: {describe_machine()}.",
                    _drop_to_diagnosis(home, server, options.batches, options.seconds),
                    _upload(home, server, options.upload_mb),
                ]
            )
    print("\n" + text)
    if options.to:
        options.to.parent.mkdir(parents=True, exist_ok=True)
        options.to.write_text(f"# Drop to diagnosis\n\n`make bench` prints this; one run, one machine.\n\n{text}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each simulated drive")
    parser.add_argument("--upload-mb", type=int, default=2048)
    parser.add_argument("--to", type=Path, help="write the result there, too")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# ---------------------------------------------------------------------------------------------- drop to diagnosis


def _drop_to_diagnosis(home: Path, server: S3Server, count: int, seconds: float) -> str:
    bucket = Bucket.from_url(server.url)
    _say(f"simulating {count + 2} drives of {seconds:g} s")
    drives = [_simulate(home / "fleet", number, seconds) for number in range(count + 2)]
    settings = Settings(
        home=home / "argus", bucket_url=server.url, lake_url=str(home / "lake"), sensor_interval_s=1, port=0
    )
    started = time.perf_counter()
    platform = Supervisor(settings, webserver=False)
    platform.start()
    try:
        ready_s = time.perf_counter() - started
        processes = [psutil.Process(child.process.pid) for child in platform.children if child.process]
        with watch_memory(lambda: processes) as idle:
            time.sleep(3)
        _process(platform, bucket, drives[:1])  # the first one pays for imports and file caches
        one = _measure(platform, bucket, drives[1:2], processes)
        many = _measure(platform, bucket, drives[2:], processes)
    finally:
        platform.stop()
    direct_s = _direct(bucket, drives[1], home / "direct")
    frames = sum(d.frames for d in drives[2:])
    size = sum(f.stat().st_size for d in drives[2:] for f in d.files)
    rows = [
        ["1 batch", f"{one[0]:.1f}", "1.0", f"{one[1].bytes / MIB:.0f}"],
        [
            f"{count} batches",
            f"{many[0]:.1f}",
            f"{many[0] / one[0]:.1f} ({many[0] / one[0] / count:.2f} a batch)",
            f"{many[1].bytes / MIB:.0f}",
        ],
        ["the stages alone, no platform, 1 batch", f"{direct_s:.2f}", f"{direct_s / one[0]:.2f}", ""],
        ["idle platform", "", "", f"{idle.bytes / MIB:.0f}"],
    ]
    return (
        f"Each batch is a simulated drive of {seconds:g} s; the {count} have {frames:,} frames in {size / 1e6:.1f} MB. "
        f"Seconds count from the manifest's put to the result object in the bucket (of the last batch); the sensor "
        f"looks every second. Memory is of code server, daemon and run workers. The platform was ready after "
        f"{ready_s:.0f} s.\n\n" + table(["drop to diagnosis", "seconds", "ratio to 1 batch", "peak MiB"], rows)
    )


def _simulate(folder: Path, number: int, seconds: float) -> Drive:
    scenario = DEMO[number % len(DEMO)]
    vehicle = f"{SCENARIOS[scenario].platform}-{number:03d}"
    return simulate_drive(
        folder / vehicle, scenario=scenario, seed=number, vehicle_id=vehicle, vin=VIN, release="1.0",
        batch_id=f"drive-{number:04d}", started_ns=(time.time_ns() // 10**9 - 3600) * 10**9, seconds=seconds,
    )  # fmt: skip


def _measure(
    platform: Supervisor, bucket: Bucket, drives: Sequence[Drive], processes: Sequence[psutil.Process]
) -> tuple[float, Peak]:
    _say(f"{len(drives)} batches: drop to diagnosis")
    with watch_memory(lambda: processes) as peak:
        seconds = _process(platform, bucket, drives)
    return seconds, peak


def _process(platform: Supervisor, bucket: Bucket, drives: Sequence[Drive]) -> float:
    """Seconds from the first manifest's put to the last result; the diagnoses have to be right."""
    manifests = [upload_drive(bucket, drive) for drive in drives]
    started = time.perf_counter()
    for manifest in manifests:
        drop_manifest(bucket, manifest)
    waiting = {BatchRef(d.vehicle_id, d.batch_id): d for d in drives}
    while waiting:
        for ref in list(waiting):
            result = read_result(bucket, ref)
            if result is None:
                break
            drive = waiting.pop(ref)
            found = result.root_causes[0].cause if result.root_causes else None
            if result.state != "completed" or found != drive.root_cause:
                raise SystemExit(f"{ref}: {result.state}, {found}, planted {drive.root_cause}")
        platform.watch()
        if time.perf_counter() - started > WAIT_SECONDS:
            raise SystemExit(f"{len(waiting)} batches had no result after {WAIT_SECONDS:.0f} s")
        time.sleep(0.05)
    return time.perf_counter() - started


def _direct(bucket: Bucket, drive: Drive, folder: Path) -> float:
    """Seconds of the stages in this process, without Dagster; the second of two, each into an empty lake."""
    manifest = upload_drive(bucket, drive)
    seconds = 0.0
    for attempt in range(2):
        lake = Lake.from_url(str(folder / str(attempt)))
        started = time.perf_counter()
        parsed = parse_recordings(manifest, bucket=bucket, lake=lake, workers=os.cpu_count() or 1)
        findings = detect_faults(parsed.recordings, lake=lake)
        events = findings.events
        made = aggregate_stats(events, parsed.recordings, lake=lake, buses=findings.buses)
        tables = {
            "recordings": parsed.recordings, "problems": parsed.problems, "error_events": events,
            "error_stats": made.error_stats, "code_pairs": made.pairs, "drive_stats": made.totals,
        }  # fmt: skip
        evidence, diagnosis = diagnose_drive(
            manifest,
            "p",
            digest="d",
            tables=tables,
            services=Services(catalogue=load_catalogue()),
            now=manifest.recorded_to,
        )
        render_drive(manifest, "p", tables=tables, evidence=evidence, diagnosis=diagnosis)
        seconds = time.perf_counter() - started
    return seconds


# ---------------------------------------------------------------------------------------------- upload


def _upload(home: Path, server: S3Server, size_mb: int) -> str:
    """Peak memory of `argus drop` for a small file and for a large one."""
    found: list[tuple[int, float, int]] = []
    for mb in (8, size_mb):
        _say(f"uploading a file of {mb} MB")
        file = home / f"upload-{mb}" / "drive.mcap"
        file.parent.mkdir()
        with file.open("wb") as out:
            block = os.urandom(MIB)
            for _ in range(mb):
                out.write(block)
        command = [
            sys.executable, "-m", "argus_assets", "drop", str(file), "--vehicle", "bench-1", "--vin", VIN,
            "--release", "1", "--batch", f"upload-{mb}", "--platform", "car", "--to", f"{server.url}/upload",
            "--from", "2026-01-01T00:00:00+00:00", "--until", "2026-01-01T00:01:00+00:00",
        ]  # fmt: skip
        started = time.perf_counter()
        process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        peak = 0
        while process.poll() is None:
            try:
                peak = max(peak, process.memory_info().rss)
            except psutil.Error:
                break
            time.sleep(0.02)
        if process.wait() != 0:
            raise SystemExit(process.stderr.read().decode())
        found.append((mb, time.perf_counter() - started, peak))
        file.unlink()
    small = found[0]
    rows = [
        [f"{mb} MB", f"{seconds:.1f}", f"{mb / seconds:.0f}", f"{peak / MIB:.0f}", f"{peak / small[2]:.2f}"]
        for mb, seconds, peak in found
    ]
    return "One file, through the S3 protocol to loopback, hash included.\n\n" + table(
        ["argus drop", "seconds", "MB/s", "peak MiB", "memory ratio"], rows
    )


if __name__ == "__main__":
    main()
