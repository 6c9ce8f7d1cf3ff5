"""`make bench-faults`: finding the faults of a drive, against parsing it and against a loop over single frames.

The drive is written once and kept in `.bench/`, as is its parsed part. Each job runs in a process of its own, so that its
peak memory is its own. Ratios are of one run. The loop does per frame what the usual libraries are made for (python-can
messages, udsoncan's decoding), on a sample; its time is scaled to the drive.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import track

from benchmarks.machine import describe_machine, table

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = 200_000

PARSE, ALL, LOOP = "parse to Parquet", "all detectors", "loop over python-can messages"


def prepare(folder: Path, frames: int) -> None:
    """Write the drive and parse it, unless both are there."""
    from argus_assets.recordings.parts import SUMMARY, write_part
    from benchmarks.fault_session import make_frames, write_session

    session, part = folder / "session.mcap", folder / "part"
    if not session.exists():
        folder.mkdir(parents=True, exist_ok=True)
        print("writing the drive ...", file=sys.stderr, flush=True)
        partial = folder / "partial.mcap"
        write_session(partial, make_frames(frames))
        partial.rename(session)
        shutil.rmtree(part, ignore_errors=True)
    if not (part / SUMMARY).exists():
        part.mkdir(exist_ok=True)
        with session.open("rb") as source:
            write_part(source, folder=part)


def drive(folder: Path) -> Any:
    from argus_assets.recordings.drive import Drive
    from argus_assets.recordings.parts import scan_part

    return Drive.of([("session.mcap", scan_part(folder / "part"))])


# ------------------------------------------------------------------------------------------------- jobs


def parse(folder: Path) -> Callable[[], int]:
    from argus_assets.recordings.parts import write_part

    def run() -> int:
        with tempfile.TemporaryDirectory(dir=folder) as target, (folder / "session.mcap").open("rb") as source:
            return write_part(source, folder=Path(target)).frames

    return run


def find_all(folder: Path) -> Callable[[], int]:
    from argus_assets.faults.detection import find_events

    made = drive(folder)
    return lambda: find_events(made).events.height


def detectors() -> dict[str, Callable[[Any], int]]:
    """Each detector by its name, as if it were the only one: with the reading that it needs."""
    from dataclasses import replace

    from argus_assets.faults.config import default_config
    from argus_assets.faults.detection import find_events
    from argus_assets.faults.detectors import NAMES

    def alone(name: str) -> Callable[[Any], int]:
        config = replace(default_config(), disabled=frozenset(NAMES) - {name})
        return lambda d: find_events(d, config).events.height

    return {name: alone(name) for name in NAMES}


def loop(folder: Path) -> Callable[[], int]:
    """J1939 DM1 with transport protocol, OBD and UDS over ISO-TP, error frames and silence, frame by frame."""
    import can
    import polars as pl
    from udsoncan import Response
    from udsoncan.services import ReadDTCInformation

    columns = "timestamp", "channel", "arbitration_id", "is_extended_id", "is_error_frame", "payload"
    rows = (
        drive(folder)
        .frames.filter(pl.col("kind") == "can")
        .select(pl.col("timestamp").dt.timestamp("ns"), pl.col("channel").cast(pl.String), *columns[2:])
        .head(SAMPLE)
        .collect()
        .rows()
    )

    def run() -> int:
        found: set[tuple[object, ...]] = set()
        packets: dict[tuple[str, int], tuple[int, int, bytearray]] = {}
        messages: dict[tuple[str, int], tuple[int, bytearray]] = {}
        heard: dict[tuple[str, int], float] = {}

        def trouble_codes(channel: str, source: int, data: bytes) -> None:
            for at in range(2, len(data) - 3, 4):
                spn = data[at] | data[at + 1] << 8 | data[at + 2] >> 5 << 16
                if spn:
                    found.add((channel, source, spn, data[at + 2] & 0x1F))

        def answer(channel: str, can_id: int, data: bytes) -> None:
            if data[:1] == b"\x43":
                found.update((channel, can_id, data[at : at + 2]) for at in range(2, len(data) - 1, 2))
            elif data[:2] == b"\x59\x02":
                response = Response.from_payload(data)
                dtcs = ReadDTCInformation.interpret_response(response, 2).service_data.dtcs
                found.update((channel, can_id, dtc.id) for dtc in dtcs)

        for at, channel, can_id, extended, error, payload in rows:
            m = can.Message(
                timestamp=at / 1e9, channel=channel, arbitration_id=can_id, is_extended_id=extended, is_error_frame=error,
                data=payload, check=False,
            )  # fmt: skip
            if m.is_error_frame:
                found.add((channel, "error", m.arbitration_id, bytes(m.data[2:4])))
                continue
            key = (channel, m.arbitration_id)
            if m.timestamp - heard.get(key, m.timestamp) > 1.0:
                found.add((*key, "silent", m.timestamp))
            heard[key] = m.timestamp
            data = m.data
            if m.is_extended_id:
                pgn, source = m.arbitration_id >> 8 & 0x3FFFF, m.arbitration_id & 0xFF
                if pgn == 0xFECA:
                    trouble_codes(channel, source, bytes(data))
                elif pgn == 0xECFF and data[0] == 0x20 and data[5:8] == b"\xca\xfe\x00":
                    packets[channel, source] = (data[1] | data[2] << 8, 1, bytearray())
                elif pgn == 0xEBFF and (channel, source) in packets:
                    size, number, so_far = packets[channel, source]
                    if data[0] != number:
                        del packets[channel, source]
                        continue
                    so_far += data[1:]
                    packets[channel, source] = (size, number + 1, so_far)
                    if len(so_far) >= size:
                        trouble_codes(channel, source, bytes(so_far[:size]))
                        del packets[channel, source]
            elif 0x7E8 <= m.arbitration_id <= 0x7EF and data:
                kind = data[0] >> 4
                if kind == 0:
                    answer(channel, m.arbitration_id, bytes(data[1 : 1 + data[0]]))
                elif kind == 1:
                    messages[key] = ((data[0] & 15) << 8 | data[1], bytearray(data[2:]))
                elif kind == 2 and key in messages:
                    size, so_far = messages[key]
                    so_far += data[1:]
                    if len(so_far) >= size:
                        answer(channel, m.arbitration_id, bytes(so_far[:size]))
                        del messages[key]
        return len(found)

    return run


# ------------------------------------------------------------------------------------------------- measuring


@contextmanager
def _timed() -> Iterator[dict[str, float]]:
    result: dict[str, float] = {}
    start = time.perf_counter()
    yield result
    result["seconds"] = time.perf_counter() - start
    # Not ru_maxrss: a process inherits that of the one that started it.
    status = Path("/proc/self/status").read_text()
    result["peak_mib"] = int(status.partition("VmHWM:")[2].split()[0]) / 1024


def one(job: str, folder: Path) -> None:
    """Run a job twice and print the second: a worker process finds faults again and again."""
    if job == PARSE:
        run = parse(folder)
    elif job == ALL:
        run = find_all(folder)
    elif job == LOOP:
        run = loop(folder)
    else:
        found, made = detectors()[job], drive(folder)
        run = lambda: found(made)  # noqa: E731
    if job != LOOP:
        run()
    with _timed() as result:
        result["found"] = run()
    print(json.dumps(result))


def measure(job: str, folder: Path) -> dict[str, float]:
    """Run a job in a process of its own; imports are not counted."""
    command = [sys.executable, "-m", "benchmarks.faults", "--one", job, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{job} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def report(frames: int, results: dict[str, dict[str, float]]) -> str:
    parsed, whole = results[PARSE]["seconds"], results[ALL]["seconds"]
    rows: list[list[str]] = []
    for job, result in results.items():
        seconds = result["seconds"] * (frames / SAMPLE if job == LOOP else 1)
        rows.append(
            [
                job,
                f"{seconds:.2f}",
                f"{frames / seconds / 1e6:.2f}",
                f"{result['peak_mib']:.0f}",
                f"{100 * seconds / parsed:.0f} %",
                f"{seconds / whole:.2f}",
                f"{result['found']:.0f}",
            ]
        )
    columns = ["job", "seconds", "M frames/s", "peak MiB", "of parse", "of all detectors", "found"]
    return "\n".join(
        [
            "# Finding faults", "", "`make bench-faults` prints this; one run, one machine.", "", f"Machine: {describe_machine()}.", "",
            (f"A drive of {frames:,} frames on four buses, with a log and diagnostics. Detectors read the parsed part; each is "
            "also measured alone, with the reading it needs. Each job has a process of its own. The loop ran over the first "
            f"{SAMPLE:,} frames; its seconds are scaled to the drive. `found`: events; frames read for parsing, distinct faults "
            "for the loop."), "",
            table(columns, rows), "",
        ]
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=5_000_000)
    parser.add_argument("--one", nargs=2, metavar=("JOB", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.one[0], Path(arguments.one[1]))
        return
    folder = ROOT / ".bench" / f"faults-{arguments.frames}"
    prepare(folder, arguments.frames)
    jobs = [PARSE, ALL, *detectors(), LOOP]
    results = {job: measure(job, folder) for job in track(jobs, description="measuring", transient=True)}
    text = report(int(results[PARSE]["found"]), results)
    (ROOT / "docs" / "benchmarks" / "faults.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
