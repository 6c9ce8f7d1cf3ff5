"""Does memory follow the file? Parses recordings of many gigabytes to Parquet and prints the peak.

`make bench-large`. The files do not exist: a source repeats the body of the readers' benchmark's files, so that only
the tables need disk space (about half of the size).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.progress import track

from argus_assets.recordings.formats.mdf4.blocks import UNFINISHED_VLSD_OFFSETS
from argus_assets.recordings.model import Limits
from argus_assets.recordings.parts import write_part
from benchmarks.machine import describe_machine, table
from benchmarks.recordings import write_all

ROOT = Path(__file__).resolve().parents[1]
LIMIT_MIB = 1536
SHARES = {"mcap-zstd": 1.0, "mcap-lz4": 0.25, "mdf4-unsorted": 0.25, "blf": 0.25, "candump": 0.25}


class Repeated:
    """A file whose middle part comes again and again; see `recordings.model.Source`."""

    def __init__(self, data: bytes, first: int, last: int, size: int) -> None:
        self._data = memoryview(data)
        self._first, self._body = first, last - first
        self._end_of_bodies = first + max(1, (size - len(data)) // self._body + 1) * self._body
        self._size = self._end_of_bodies + len(data) - last
        self.repeats = (self._end_of_bodies - first) // self._body
        self._at = 0

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        end = self._size if size < 0 else min(self._at + size, self._size)
        out = bytearray()
        while self._at < end:
            if self._at < self._end_of_bodies:
                behind = max(self._at - self._first, 0) // self._body * self._body
                at = self._at - behind
                part = self._data[at : min(self._first + self._body, at + end - self._at)]
            else:
                at = self._at - self._end_of_bodies + self._first + self._body
                part = self._data[at : at + end - self._at]
            out += part
            self._at += len(part)
        return bytes(out)


def body(name: str, data: bytes) -> tuple[int, int]:
    """Where the part that can be repeated starts and ends."""
    if name.startswith("mcap"):
        first = at = 8
        seen = False
        while at < len(data):
            opcode, length = data[at], int.from_bytes(data[at + 1 : at + 9], "little")
            if opcode == 0x06 and not seen:  # chunk
                first, seen = at, True
            if opcode == 0x0F:  # data end
                return first, at
            at += 9 + length
    if name == "blf":
        return int.from_bytes(data[4:8], "little"), len(data)
    if name == "mdf4-unsorted":
        return data.index(b"##DT") + 24, len(data)
    return 0, len(data)


def repeatable(name: str, data: bytes) -> bytes:
    """The file such that its body may come again: offsets into the values of an MDF4 file would not fit."""
    if name != "mdf4-unsorted":
        return data
    flags = int.from_bytes(data[60:62], "little") | UNFINISHED_VLSD_OFFSETS
    return data[:60] + flags.to_bytes(2, "little") + data[62:]


def one(name: str, path: Path, size: int) -> None:
    """Parse one in this process and print what it took."""
    data = repeatable(name, path.read_bytes())
    source = Repeated(data, *body(name, data), size)
    with tempfile.TemporaryDirectory(dir=ROOT / ".bench") as folder:
        start = time.perf_counter()
        limits = Limits(max_total_bytes=2**62)
        summary = write_part(source, folder=Path(folder), limits=limits)
        seconds = time.perf_counter() - start
        written = sum(f.stat().st_size for f in Path(folder).iterdir())
    # Not ru_maxrss: a process inherits that of the one that started it.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    kinds = sorted({p.kind for p in summary.problems})
    print(json.dumps([size, source.repeats, summary.frames, seconds, peak, written, len(data), kinds]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=20.0, help="size of the largest file")
    parser.add_argument("--frames", type=int, default=1_000_000, help="frames of the files that are repeated")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, path, size = arguments.one
        one(name, Path(path), int(size))
        return
    files = write_all(ROOT / ".bench" / f"session-{arguments.frames}", arguments.frames)
    rows: list[list[str]] = []
    for name, share in track(SHARES.items(), description="parsing", transient=True):
        size = str(int(arguments.gb * share * 1e9))
        command = [sys.executable, "-m", "benchmarks.large", "--one", name, str(files[name]), size]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
        read, _, frames, seconds, peak, written, held, kinds = json.loads(done.stdout.splitlines()[-1])
        rows.append(
            [
                name, f"{read / 1e9:.1f}", f"{frames / 1e6:.0f}", f"{seconds:.0f}", f"{frames / seconds / 1e6:.2f}",
                f"{written / 1e9:.1f}", f"{peak:.0f}", f"{held / 2**20:.0f}", ", ".join(kinds),
            ]
        )  # fmt: skip
        print(rows[-1], file=sys.stderr, flush=True)
    columns = ["file", "GB", "M frames", "seconds", "M frames/s", "Parquet GB", "peak MiB", "of it the source", "told"]
    text = "\n".join(
        [
            "# Large recordings", "",
            "`make bench-large` prints this: a recording is parsed to Parquet in a process of its own.", "",
            f"Machine: {describe_machine()}.", "",
            ("The files are made by repeating the body of a file of "
            f'{arguments.frames:,} frames, which the process holds in memory (column "of it the source"). '
            "Its times start anew with each repetition, which is told as `clock_jump`."), "",
            table(columns, rows), "",
        ]
    )  # fmt: skip
    (ROOT / "docs" / "benchmarks" / "large.md").write_text(text)
    print(text)
    worst = max(float(row[6]) for row in rows)
    print(f"peak of {worst:.0f} MiB, limit {LIMIT_MIB} MiB: {'held' if worst <= LIMIT_MIB else 'NOT held'}")


if __name__ == "__main__":
    main()
