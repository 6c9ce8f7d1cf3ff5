"""What it costs to read a recording in a confined process: `python -m benchmarks.containment`.

The same small recordings are read with and without, in turns, in one run: wall time of one after another, and CPU time of
this process, the server that forks, and its children. Then a batch of many small recordings, from files to events.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from argus_assets.assets.ingest import parse_recordings
from argus_assets.assets.open_drive import detect_faults
from argus_assets.containment import client as containment
from argus_assets.containment.client import Server, pool
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.manifest import Manifest
from argus_assets.drop.upload import collect_files, upload_files
from argus_assets.lake.store import Lake
from argus_assets.recordings.contained import read_contained
from argus_assets.recordings.parts import write_part
from argus_assets.simulate.fleet import simulate_drive
from benchmarks.machine import describe_machine

BLOCKS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--files", type=int, default=2000, help="of the batch of many small recordings")
    arguments = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        paths = _recordings(Path(folder))
        print(
            f"\n{'recording':24} {'kB':>6} {'':9} {'wall ms':>8} {'CPU ms':>8} {'more CPU ms':>12} {'more wall ms':>13}"
        )
        for path in paths:
            _compare(path, arguments.rounds)
        _many(Path(folder) / "many", arguments.files)


def _recordings(folder: Path) -> list[Path]:
    made: list[Path] = []
    for scenario in ("truck_oil_pressure", "av_lidar_dropout"):
        drive = simulate_drive(
            folder / scenario, scenario=scenario, seed=1, vehicle_id="v", vin="1M8GDM9AXKP042788", release="2026.10",
            batch_id="b", started_ns=1_795_000_000 * 10**9, seconds=30.0,
        )  # fmt: skip
        made.append(min(f for f in drive.folder.iterdir() if f.is_file()))
    return made


def _cpu_s(server: Server) -> float:
    """CPU seconds of this process, of the server, and of the children that it has reaped."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return own.ru_utime + own.ru_stime + sum(map(int, fields[11:15])) / 100


def _wait_until_reaped(server: Server) -> None:
    """Wait until the server has no child but the one that is forked ahead."""
    while len(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()) > 1:
        time.sleep(0.01)


def _confined(path: Path) -> None:
    with pool() as processes, processes.process() as process, path.open("rb") as source:
        read_contained(process, source, name=path.name)


def _plain(path: Path) -> None:
    with tempfile.TemporaryDirectory() as part, path.open("rb") as source:
        write_part(source, folder=Path(part), name=path.name)


def _compare(path: Path, rounds: int) -> None:
    ways: dict[str, Callable[[Path], None]] = {"without": _plain, "confined": _confined}
    for way in ways.values():
        way(path)
    server = containment.own_server()
    walls: dict[str, list[float]] = {name: [] for name in ways}
    cpu = dict.fromkeys(ways, 0.0)
    for _ in range(BLOCKS):
        for name, way in ways.items():
            before = _cpu_s(server)
            for _ in range(rounds // BLOCKS):
                started = time.perf_counter()
                way(path)
                walls[name].append(time.perf_counter() - started)
            _wait_until_reaped(server)  # what ended its work may not have ended
            cpu[name] += _cpu_s(server) - before
    wall = {name: 1e3 * statistics.median(values) for name, values in walls.items()}
    for name in ways:
        more = (
            f"{1e3 * (cpu[name] - cpu['without']) / rounds:12.1f} {wall[name] - wall['without']:13.1f}"
            if name == "confined"
            else ""
        )
        print(
            f"{path.name:24} {path.stat().st_size / 1e3:6.0f} {name:9} {wall[name]:8.1f} {1e3 * cpu[name] / rounds:8.1f} {more}"
        )


def _many(folder: Path, count: int) -> None:
    (folder / "drive").mkdir(parents=True)
    line = b"(1700000000.000000) can0 18FECA00#04FF640002010000\n"
    for number in range(count):
        (folder / "drive" / f"{number}.log").write_bytes(
            b"(%d.000000) can0 123#00\n" % (1_600_000_000 + number) + line * (number % 97 + 1)
        )
    bucket = Bucket.from_url(str(folder / "bucket"))
    bucket.ensure()
    done = upload_files(bucket, collect_files([folder / "drive"]), vehicle_id="v", batch_id="b")
    start = datetime(2026, 11, 23, 8, tzinfo=UTC)
    manifest = Manifest(
        vehicle_id="v", vin="1M8GDM9AXKP042788", batch_id="b", release="2026.10", platform="car", recorded_from=start,
        recorded_to=start + timedelta(hours=1), files=tuple(f.entry for f in done),
    )  # fmt: skip
    (folder / "lake").mkdir()
    lake = Lake.from_url(str(folder / "lake"))
    started = time.perf_counter()
    parsed = parse_recordings(manifest, bucket=bucket, lake=lake, workers=4)
    read = time.perf_counter()
    events = detect_faults(parsed.recordings, lake=lake).events
    ended = time.perf_counter()
    print(
        f"\n{count:,} small recordings in one batch: {ended - started:.1f} s to {events.height} events "
        f"({read - started:.1f} s read, {1e3 * (read - started) / count:.1f} ms each; {ended - read:.1f} s faults)"
    )


if __name__ == "__main__":
    main()
