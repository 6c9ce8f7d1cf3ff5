"""`make bench-bounds`: what each hostile recording costs, from parsing to the page, and whether that is within bounds.

Each attack of `tests.support.hostile_recordings`, at about 5 MB, is taken through the public functions of the stages in a process
of its own. Memory is that of the process and of all that it starts, also of what a server forks on its behalf. One that
takes longer than the limit of time or very much memory is ended and counts as out of bounds. Exits with 1 when one is.

    python -m benchmarks.bounds [--only NAME …] [--size BYTES] [--limit SECONDS] [--write docs]
"""

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.machine import describe_machine, table, watch_memory
from tests.support.hostile_recordings import HOSTILE, LARGE, Hostile

MAX_SECONDS = 20.0
MAX_BYTES = 10**9
KILL_BYTES = 3 * 10**9
STAGES = ("parse", "faults", "stats", "diagnose", "page")
_SAMPLE_S = 0.05
_PR_SET_CHILD_SUBREAPER = 36


@dataclass
class Cost:
    """What one attack took.

    Attributes:
        seconds: By stage, of those that came to their end.
        disk_bytes: The most that stood in the lake and in temporary folders at a time.
        told: The first problem, or how it ended.
    """

    attack: Hostile
    size: int
    seconds: dict[str, float] = field(default_factory=dict)
    peak_bytes: int = 0
    disk_bytes: int = 0
    told: str = ""
    ended: bool = False

    @property
    def total_s(self) -> float:
        return sum(self.seconds.values())

    @property
    def within(self) -> bool:
        return self.ended and self.total_s <= MAX_SECONDS and self.peak_bytes <= MAX_BYTES

    def row(self) -> list[str]:
        return [
            self.attack.name, self.attack.kind, f"{self.size / 1e6:.2f}",
            *(f"{self.seconds[stage]:.1f}" if stage in self.seconds else "-" for stage in STAGES),
            f"{self.peak_bytes / 1e6:.0f}", f"{self.disk_bytes / 1e6:.0f}", self.told.replace("|", "/"), "yes" if self.within else "**no**",
        ]  # fmt: skip


COLUMNS = ("attack", "kind", "MB", *(f"{stage} s" for stage in STAGES), "peak MB", "disk MB", "told first", "within")


def measure(attack: Hostile, size: int, limit_s: float) -> Cost:
    """Take one attack to the page in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="argus-bounds-") as name:
        folder = Path(name)
        path = folder / attack.file
        path.write_bytes(attack.make(size))
        cost = Cost(attack, path.stat().st_size)
        scratch = folder / "work"
        scratch.mkdir()
        command = [sys.executable, "-m", "benchmarks.bounds", "--one", str(path), "--folder", str(scratch)]
        environment = {**os.environ, "TMPDIR": str(scratch)}
        errors = folder / "errors"
        before = set(psutil.Process().children(recursive=True))
        with errors.open("wb") as stderr:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stderr, env=environment, start_new_session=True
            )
            assert process.stdout is not None
            with watch_memory(lambda: list(set(psutil.Process().children()) - before), every_s=_SAMPLE_S) as peak:
                killed: list[str] = []
                done = threading.Event()
                watcher = threading.Thread(
                    target=_watch, args=(cost, peak, scratch, limit_s, killed, done, before), daemon=True
                )
                watcher.start()
                for line in process.stdout:
                    _take(cost, json.loads(line))
                process.wait()
                done.set()
                watcher.join()
        _end(before)
        cost.peak_bytes = max(cost.peak_bytes, peak.bytes)
        if killed:
            cost.told = f"ENDED: {killed[0]}"
        elif not cost.ended:
            said = errors.read_text(errors="replace").strip().splitlines()
            cost.told = f"RAISED ({process.returncode}): {said[-1][:120] if said else 'no word'}"
        return cost


def _take(cost: Cost, told: dict[str, object]) -> None:
    if "stage" in told:
        cost.seconds[str(told["stage"])] = float(str(told["seconds"]))
    if "told" in told:
        cost.told = str(told["told"])
    if "peak" in told:
        cost.peak_bytes = max(cost.peak_bytes, int(str(told["peak"])))
        cost.ended = True


def _watch(
    cost: Cost, peak, scratch: Path, limit_s: float, killed: list[str], done: threading.Event, before: set
) -> None:
    """End what takes too long or too much, and note how much stands on the disk."""
    started = time.monotonic()
    while not done.wait(0.3):
        cost.disk_bytes = max(cost.disk_bytes, _stored(scratch))
        if time.monotonic() - started > limit_s:
            killed.append(f"not done after {limit_s:.0f} s")
        elif peak.bytes > KILL_BYTES:
            killed.append(f"more than {KILL_BYTES / 1e9:.0f} GB of memory after {time.monotonic() - started:.0f} s")
        if killed:
            _end(before)
            return
    cost.disk_bytes = max(cost.disk_bytes, _stored(scratch))


def _end(before: set) -> None:
    """End all processes that this one has got since."""
    for process in set(psutil.Process().children(recursive=True)) - before:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue
    try:  # what its parent left to this process
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _stored(folder: Path) -> int:
    total = 0
    for at, _, names in os.walk(folder):  # skips folders that are gone meanwhile
        for name in names:
            with suppress(OSError):
                total += os.lstat(Path(at) / name).st_blocks * 512
    return total


# ---------------------------------------------------------------------------------------------- the process of one attack


def run_one(path: Path, folder: Path) -> None:
    """Parse, find faults, and so on to the page; a line of JSON for each step."""
    from datetime import UTC, datetime
    from hashlib import sha256

    from argus_assets.assets.ingest import parse_recordings
    from argus_assets.assets.open_drive import aggregate_stats, detect_faults
    from argus_assets.diagnosis.diagnose import Services
    from argus_assets.diagnosis.drive import diagnose_drive
    from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
    from argus_assets.drop.bucket import Bucket
    from argus_assets.drop.manifest import Manifest
    from argus_assets.lake.store import Lake
    from argus_assets.report.drive import render_drive

    def tell(**what: object) -> None:
        print(json.dumps(what), flush=True)

    bucket, lake = Bucket.from_url(str(folder / "bucket")), Lake.from_url(str(folder / "lake"))
    bucket.ensure()
    (folder / "lake").mkdir(exist_ok=True)
    dropped = folder / "bucket" / "batches" / "v" / "b"
    dropped.mkdir(parents=True)
    os.link(path, dropped / path.name)
    raw = path.read_bytes()
    manifest = Manifest.model_validate(
        {
            "vehicle_id": "v", "vin": "1M8GDM9AXKP042788", "batch_id": "b", "release": "1", "platform": "car",
            "recorded_from": "2026-11-23T08:00:00Z", "recorded_to": "2026-11-23T09:00:00Z",
            "files": [{"name": path.name, "size": len(raw), "sha256": sha256(raw).hexdigest()}],
        }
    )  # fmt: skip
    del raw
    services = Services(catalogue=load_catalogue())
    partition = "2026-11-23_v_b"
    at = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal at
        now = time.perf_counter()
        tell(stage=stage, seconds=now - at)
        at = now

    parsed = parse_recordings(manifest, bucket=bucket, lake=lake, workers=2)
    lap("parse")
    first = next(parsed.problems.iter_rows(named=True), None)
    tell(
        told=f"{first['kind']}: {first['expected']}, {first['actual']}"[:100]
        if first
        else f"nothing; {parsed.frames:,} frames"
    )
    found = detect_faults(parsed.recordings, lake=lake)
    lap("faults")
    stats = aggregate_stats(found.events, parsed.recordings, lake=lake, buses=found.buses)
    lap("stats")
    tables = {
        "recordings": parsed.recordings, "problems": parsed.problems, "error_events": found.events, "error_stats": stats.error_stats,
        "code_pairs": stats.pairs, "drive_stats": stats.totals, "speed": stats.speed,
    }  # fmt: skip
    evidence, diagnosis = diagnose_drive(
        manifest, partition, digest="d", tables=tables, services=services, now=datetime.now(UTC)
    )
    lap("diagnose")
    render_drive(manifest, partition, tables=tables, evidence=evidence, diagnosis=diagnosis)
    lap("page")
    tell(peak=_own_peak_bytes())
    sys.stdout.flush()
    os._exit(0)  # not to wait for threads and servers


def _own_peak_bytes() -> int:
    """The most memory of this process. What getrusage says may be that of the process which started it."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


# ---------------------------------------------------------------------------------------------- all of them


def page(costs: list[Cost]) -> str:
    """The document."""
    out = sum(not cost.within for cost in costs)
    return (
        "# Bounds of hostile recordings\n\n"
        f"`make bench-bounds` prints this: {len(costs)} hostile recordings (`tests/support/hostile_recordings.py`), each of about "
        f"{LARGE / 1e6:.0f} MB or what it has, are taken from parsing to the page, each in a process of its own. The bounds are "
        f"{MAX_SECONDS:.0f} s and {MAX_BYTES / 1e9:.0f} GB; {out or 'none'} of them {'is' if out == 1 else 'are'} beyond.\n\n"
        f"Machine: {describe_machine()}.\n\n"
        "Memory is the largest sum over the process and all that it started, pages that they share counted once; about 200 MB of "
        "it are Python and the libraries. Disk is the most that stood in the lake and in temporary folders at a time.\n\n"
        + table(COLUMNS, [cost.row() for cost in costs])
        + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="attacks whose name starts so")
    parser.add_argument("--size", type=int, default=LARGE, help="bytes of each")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds after which one is ended")
    parser.add_argument(
        "--write", type=Path, metavar="DOCS", help="folder of the documents, whose benchmarks/bounds.md is written"
    )
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        run_one(arguments.one, arguments.folder)
        return
    chosen = [a for a in HOSTILE.values() if not arguments.only or a.name.startswith(tuple(arguments.only))]
    if not chosen:
        parser.error(f"no attack is named so; there are {', '.join(HOSTILE)}")
    if sys.platform == "linux":
        # What a server leaves behind, and what it forks for a reader, comes to this process and is counted.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    costs: list[Cost] = []
    for number, attack in enumerate(chosen, 1):
        cost = measure(attack, arguments.size, arguments.limit)
        costs.append(cost)
        verdict = "within" if cost.within else "BEYOND"
        print(
            f"{number:>3}/{len(chosen)} {verdict} {attack.name:<34} {cost.size / 1e6:>6.2f} MB {cost.total_s:>6.1f} s "
            f"{cost.peak_bytes / 1e6:>6.0f} MB, disk {cost.disk_bytes / 1e6:>5.0f} MB  {cost.told}",
            flush=True,
        )  # fmt: skip
    document = page(costs)
    print(f"\n{document}")
    if arguments.write is not None:
        (arguments.write / "benchmarks" / "bounds.md").write_text(document)
    sys.exit(0 if all(cost.within for cost in costs) else 1)


if __name__ == "__main__":
    main()
