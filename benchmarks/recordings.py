"""`make bench-recordings`: one session in every format, read by us and by the formats' own libraries.

The files are written once by the official writers and kept in `.bench/`. Each reader runs in a process of its own,
so that its peak memory is its own. Ratios are of one run. A peer that is not installed is left out and named.
"""

import argparse
import importlib
import importlib.util
import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from benchmarks.machine import describe_machine
from benchmarks.session import START_NS, Session, make_session

ROOT = Path(__file__).resolve().parents[1]
WORKERS = 2


# ---------------------------------------------------------------------------------------------- writing


def write_mcap(path: Path, s: Session, compression: str) -> None:
    from mcap.writer import CompressionType, Writer

    from argus_assets.simulate import ros

    with path.open("wb") as file:
        writer = Writer(file, chunk_size=1024 * 1024, compression=CompressionType[compression.upper()])
        writer.start(profile="ros2")
        classic = writer.register_schema(
            "can_msgs/msg/Frame", "ros2msg", ros.DEFINITIONS["can_msgs/msg/Frame"].encode()
        )
        fd = writer.register_schema("ros2_socketcan_msgs/msg/FdFrame", "ros2msg", b"")
        topics = [writer.register_channel(f"/can{b}", "cdr", classic) for b in range(4)]
        topics += [writer.register_channel(f"/canfd{b}", "cdr", fd) for b in range(4)]
        for at, bus, can_id, extended, is_fd, data in rows(s):
            if is_fd:
                raw = fd_frame(at, can_id, extended=extended, data=data)
            else:
                raw = ros.can_frame(at, can_id, extended=extended, data=data, length=len(data))
            writer.add_message(topics[bus + 4 * is_fd], at, raw, at)
        writer.finish()


def fd_frame(at: int, can_id: int, *, extended: bool, data: bytes) -> bytes:
    """`ros2_socketcan_msgs/msg/FdFrame` in CDR."""
    from argus_assets.simulate.ros import CdrWriter

    writer = CdrWriter().time(at).text("can0").put("I", can_id).raw(bytes([extended, 0, len(data)]))
    return writer.put("I", len(data)).raw(data).done()


def rows(s: Session) -> Iterator[tuple[int, int, int, bool, bool, bytes]]:
    payload, ends = s.payload().tobytes(), np.cumsum(s.length)
    columns = zip(
        s.time_ns.tolist(), s.bus.tolist(), s.can_id.tolist(), s.extended.tolist(), s.fd.tolist(),
        (ends - s.length).tolist(), ends.tolist(), strict=True,
    )  # fmt: skip
    for at, bus, can_id, extended, fd, start, end in track(
        columns, total=len(s), description="writing", transient=True
    ):
        yield at, bus, can_id, extended, fd, payload[start:end]


def write_python_can(path: Path, s: Session, writer_of: Callable[[str], Any]) -> None:
    import can

    writer = writer_of(str(path))
    for at, bus, can_id, extended, fd, data in rows(s):
        writer.on_message_received(
            can.Message(
                timestamp=at / 1e9,
                arbitration_id=can_id,
                is_extended_id=extended,
                is_fd=fd,
                dlc=len(data),
                data=data,
                channel=bus,
            )
        )
    writer.stop()


def write_mdf4(path: Path, s: Session, compression: int) -> None:
    from datetime import UTC, datetime

    from asammdf import MDF, Signal
    from asammdf.blocks import v4_constants as v4c
    from asammdf.blocks.v4_blocks import SourceInformation

    samples = np.zeros(
        len(s),
        [
            ("CAN_DataFrame.BusChannel", "<u1"), ("CAN_DataFrame.ID", "<u4"), ("CAN_DataFrame.IDE", "<u1"),
            ("CAN_DataFrame.DLC", "<u1"), ("CAN_DataFrame.DataLength", "<u1"), ("CAN_DataFrame.DataBytes", "(64,)u1"),
            ("CAN_DataFrame.Dir", "<u1"), ("CAN_DataFrame.EDL", "<u1"),
        ],
    )  # fmt: skip
    for name, values in (
        ("BusChannel", s.bus + 1), ("ID", s.can_id), ("IDE", s.extended), ("DLC", s.dlc), ("DataLength", s.length),
        ("DataBytes", s.data), ("EDL", s.fd),
    ):  # fmt: skip
        samples[f"CAN_DataFrame.{name}"] = values
    with MDF(version="4.11") as mdf:
        mdf.start_time = datetime.fromtimestamp(START_NS // 10**9, UTC)
        source = SourceInformation(source_type=v4c.SOURCE_BUS, bus_type=v4c.BUS_TYPE_CAN)
        times = (s.time_ns - START_NS) / 1e9
        mdf.append(Signal(samples, times, name="CAN_DataFrame", source=source), acq_source=source, common_timebase=True)
        mdf.save(path, overwrite=True, compression=compression)


def write_mdf4_unsorted(path: Path, s: Session) -> None:
    """As CANedge loggers write: unfinalised, payloads in records of their own."""
    import struct

    from tests.support import mdf4_builder as mdf4

    data = bytearray()
    offset = 0
    for (at, bus, can_id, extended, is_fd, payload), dlc in zip(rows(s), s.dlc.tolist(), strict=True):
        size = len(payload)
        data += b"\x01" + mdf4.can_record(
            (at - START_NS) / 1e9, can_id, extended=extended, bus=bus, dlc=dlc, length=size, fd=is_fd, tx=False
        )
        data += struct.pack("<QBI", offset, 2, size) + payload
        offset += 4 + size
    groups = [mdf4.can_group(1, values_in=1), mdf4.Cg(2, 0, flags=mdf4.VLSD_GROUP)]
    path.write_bytes(
        mdf4.Builder().finish(groups, bytes(data), id_bytes=1, start_ns=START_NS, unfinished=0x25, stated=0)
    )


def write_dpkt(path: Path, s: Session, *, ng: bool) -> None:
    """As the kernel hands out SocketCAN frames: 16 bytes for a classic one, 72 for one of CAN FD."""
    import struct

    import dpkt

    with path.open("wb") as file:
        if ng:
            writer = dpkt.pcapng.Writer(file, idb=dpkt.pcapng.InterfaceDescriptionBlockLE(linktype=227))
        else:
            writer = dpkt.pcap.Writer(file, linktype=227)
        for at, _, can_id, extended, fd, data in rows(s):
            head = struct.pack(">IBBxx", can_id | extended << 31, len(data), 4 * fd)
            writer.writepkt(head + data.ljust(64 if fd else 8, b"\0"), ts=at / 1e9)


def write_candump_output(path: Path, s: Session) -> None:
    """As `candump -ta` prints."""
    with path.open("w") as file:
        for at, bus, can_id, extended, fd, data in rows(s):
            size = f"[{len(data):02}]" if fd else f" [{len(data)}]"
            name = f"{can_id:08X}" if extended else f"     {can_id:03X}"
            file.write(f" ({at / 1e9:.6f})  can{bus}  {name}  {size}  {data.hex(' ').upper()}\n")


def write_busmaster(path: Path, s: Session) -> None:
    """As BUSMASTER logs classic frames; those of CAN FD are cut to eight bytes."""
    with path.open("w") as file:
        file.write(
            "***BUSMASTER Ver 3.2.2***\n***HEX***\n***SYSTEM MODE***\n***START DATE AND TIME 20:11:2026 0:0:0:000***\n"
        )
        for at, bus, can_id, extended, _, data in rows(s):
            tenths, part = divmod(at // 100_000, 10_000)
            clock = f"{tenths // 3600 % 24}:{tenths // 60 % 60:02}:{tenths % 60:02}:{part:04}"
            kind, bytes_of = "x" if extended else "s", data[:8]
            file.write(f"{clock} Rx {bus + 1} 0x{can_id:03X} {kind} {len(bytes_of)} {bytes_of.hex(' ').upper()} \n")


def write_all(folder: Path, frames: int) -> dict[str, Path]:
    import can

    folder.mkdir(parents=True, exist_ok=True)
    writers: dict[str, Callable[[Path, Session], None]] = {
        "mcap-zstd.mcap": lambda p, s: write_mcap(p, s, "zstd"),
        "mcap-lz4.mcap": lambda p, s: write_mcap(p, s, "lz4"),
        "mdf4.mf4": lambda p, s: write_mdf4(p, s, 0),
        "mdf4-dz.mf4": lambda p, s: write_mdf4(p, s, 1),
        "mdf4-unsorted.mf4": write_mdf4_unsorted,
        "blf.blf": lambda p, s: write_python_can(p, s, can.BLFWriter),
        "candump.log": lambda p, s: write_python_can(p, s, can.CanutilsLogWriter),
        "asc.asc": lambda p, s: write_python_can(p, s, can.ASCWriter),
        "candump-output.txt": write_candump_output,
        "busmaster.log": write_busmaster,
        "trc.trc": lambda p, s: write_python_can(p, s, can.TRCWriter),
        "csv.csv": lambda p, s: write_python_can(p, s, can.CSVWriter),
        "pcap.pcap": lambda p, s: write_dpkt(p, s, ng=False),
        "pcapng.pcapng": lambda p, s: write_dpkt(p, s, ng=True),
    }
    session: Session | None = None
    for name, write in writers.items():
        target = folder / name
        if target.exists():
            continue
        session = session or make_session(frames)
        print(f"writing {name} ...", file=sys.stderr, flush=True)
        partial = target.with_name(f"partial-{name}")
        write(partial, session)
        partial.rename(target)
    return {name.partition(".")[0]: folder / name for name in writers}


# ---------------------------------------------------------------------------------------------- reading


def read_ours(path: Path, workers: int) -> int:
    from argus_assets.recordings.model import Limits
    from argus_assets.recordings.reading import open_recording

    with path.open("rb") as source:
        reader = open_recording(source, limits=Limits(workers=workers))
        frames = sum(batch.frames.height for batch in reader)
    assert reader.summary.problems == [], reader.summary.problems
    return frames


def floor_mcap(path: Path, workers: int) -> int:
    """Inflate, checksum and one copy of every chunk: what no reader of checked frames can go below."""
    from argus_assets.recordings.formats.mcap.chunks import CHUNK_HEAD, HEAD, Piece, inflate, inflated_size

    data = path.read_bytes()
    pieces: list[Piece] = []
    at = 8
    while at + HEAD.size < len(data):
        opcode, length = HEAD.unpack_from(data, at)
        if opcode == 0x06:
            pieces.append(Piece(at, data[at + HEAD.size : at + HEAD.size + length], is_chunk=True))
        at += HEAD.size + length

    def work(piece: Piece) -> int:
        name_length = CHUNK_HEAD.unpack_from(piece.content)[4]
        name = piece.content[CHUNK_HEAD.size : CHUNK_HEAD.size + name_length]
        body = memoryview(piece.content)[CHUNK_HEAD.size + name_length + 8 :]
        raw, wrong = inflate(name, body, inflated_size(piece), 1 << 28)
        assert not wrong
        zlib.crc32(raw)
        return len(bytearray(raw))

    with ThreadPoolExecutor(workers) as pool:
        sum(pool.map(work, pieces))
    return 0


def read_mcap(path: Path) -> int:
    from mcap.reader import make_reader

    with path.open("rb") as file:
        return sum(1 for _ in make_reader(file).iter_messages(log_time_order=False))


def read_mcap_ros2(path: Path) -> int:
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    count = 0
    with path.open("rb") as file:
        for schema, _, message in make_reader(file).iter_messages(log_time_order=False):
            if schema is not None and schema.name == "can_msgs/msg/Frame":
                if schema.id not in DECODERS:
                    DECODERS[schema.id] = DecoderFactory().decoder_for("cdr", schema)
                DECODERS[schema.id](message.data)
            count += 1
    return count


DECODERS: dict[int, Any] = {}


def read_rosbags(path: Path) -> int:
    from rosbags.rosbag2.storage_mcap import McapReader

    reader = McapReader(path)
    reader.open()
    count = sum(1 for _ in reader.messages(reader.connections))
    reader.close()
    return count


def read_python_can(path: Path) -> int:
    import can

    return sum(1 for _ in can.LogReader(path))


def read_asammdf(path: Path) -> int:
    from asammdf import MDF

    with MDF(path, process_bus_logging=False) as mdf:
        names = [c.name for c in mdf.groups[0].channels]
        wanted = [n for n in names if n.startswith("CAN_DataFrame.")]
        signals = mdf.select([(n, 0, names.index(n)) for n in wanted], raw=True, copy_master=False)
        return len(signals[0].samples)


def read_mdf_iter(path: Path) -> int:
    import mdf_iter

    with path.open("rb") as file:
        return sum(1 for _ in mdf_iter.MdfFile(file).get_iterator())


def read_dpkt(path: Path) -> int:
    import dpkt

    with path.open("rb") as file:
        reader = dpkt.pcapng.Reader if path.suffix == ".pcapng" else dpkt.pcap.Reader
        return sum(1 for _ in reader(file))


OURS, FLOOR = "argus", "floor"
READERS: dict[str, Callable[[Path], int]] = {
    f"{OURS}, {WORKERS} threads": lambda p: read_ours(p, WORKERS),
    f"{OURS}, 1 thread": lambda p: read_ours(p, 1),
    f"{FLOOR}, {WORKERS} threads": lambda p: floor_mcap(p, WORKERS),
    "mcap, raw bytes": read_mcap,
    "mcap, classic frames decoded": read_mcap_ros2,
    "rosbags, raw bytes": read_rosbags,
    "python-can": read_python_can,
    "asammdf, bulk arrays": read_asammdf,
    "mdf-iter": read_mdf_iter,
    "dpkt, raw bytes": read_dpkt,
}
PEERS = {
    "mcap": [FLOOR, "mcap", "rosbags"],
    "mdf4": ["asammdf", "mdf-iter", "python-can"],
    "blf": ["python-can"],
    "candump": ["python-can"],
    "asc": ["python-can"],
    "trc": ["python-can"],
    "csv": ["python-can"],
    "busmaster": [],
    "pcap": ["dpkt"],
    "pcapng": ["dpkt"],
}
IMPORTS = {
    OURS: ["argus_assets.recordings.reading", "asammdf"],
    FLOOR: ["argus_assets.recordings.reading"],
    "mcap": ["mcap.reader", "mcap_ros2.decoder"],
    "rosbags": ["rosbags.rosbag2.storage_mcap"],
    "python-can": ["can", "asammdf"],
    "asammdf": ["asammdf"],
    "mdf-iter": ["mdf_iter"],
    "dpkt": ["dpkt"],
}
MODULES = {"rosbags": "rosbags", "mdf-iter": "mdf_iter"}


@contextmanager
def _timed() -> Iterator[dict[str, float]]:
    result: dict[str, float] = {}
    start = time.perf_counter()
    yield result
    result["seconds"] = time.perf_counter() - start
    # Not ru_maxrss: a process inherits that of the one that started it.
    status = Path("/proc/self/status").read_text()
    result["peak_mib"] = int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measure(reader: str, path: Path) -> dict[str, float] | str:
    """Run one reader in a process of its own; imports are not counted. The last line of its error where it fails."""
    command = [sys.executable, "-m", "benchmarks.recordings", "--one", reader, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode and reader.startswith(OURS):
        raise SystemExit(f"{reader} failed on {path.name}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1]) if not done.returncode else done.stderr.strip().splitlines()[-1]


def one(reader: str, path: Path) -> None:
    for prefix, modules in IMPORTS.items():  # paid once by a process that reads many files
        if reader.startswith(prefix):
            for module in modules:
                importlib.import_module(module)
    with _timed() as result:
        result["frames"] = READERS[reader](path)
    print(json.dumps(result))


def report(frames: int, found: list[tuple[str, str, Path, dict[str, float]]]) -> str:
    lines = [
        "# Reading recordings", "", "`make bench-recordings` prints this; one run, one machine.", "", f"Machine: {describe_machine()}.", "",
        (f"One session of {frames:,} CAN frames (4 buses, a quarter CAN FD, 14.6 B mean payload), written by the formats' own "
        "libraries. We read to polars columns with every checksum checked; peers read as far as each line says. "
        "The floor inflates, checks and copies every chunk, and reads nothing. Each reader has a process of its own."), "",
        "| file | MB | reader | seconds | M frames/s | MB/s | peak MiB | ours is |", "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    best = {name: r["seconds"] for name, reader, _, r in found if reader.startswith(f"{OURS}, {WORKERS}")}
    for name, reader, path, r in found:
        size = path.stat().st_size / 1e6
        ratio = r["seconds"] / best[name]
        told = (
            ""
            if reader.startswith(OURS)
            else f"{1 / ratio:.2f}x its time"
            if reader.startswith(FLOOR)
            else f"{ratio:.1f}x faster"
        )
        speed = "" if reader.startswith(FLOOR) else f"{frames / r['seconds'] / 1e6:.2f}"
        lines.append(
            f"| {name} | {size:.0f} | {reader} | {r['seconds']:.2f} | {speed} | {size / r['seconds']:.0f} | {r['peak_mib']:.0f} | {told} |"
        )
    return "\n".join(lines) + "\n"


def plot(frames: int, found: list[tuple[str, str, Path, dict[str, float]]], target: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    shown = [(n, r, v) for n, r, _, v in found if not r.startswith(FLOOR)]
    figure, axes = plt.subplots(figsize=(8, 0.28 * len(shown) + 1.2), layout="constrained")
    labels = [f"{name}: {reader}" for name, reader, _ in shown]
    values = [frames / v["seconds"] / 1e6 for _, _, v in shown]
    colors = ["#1f6f8b" if reader.startswith(OURS) else "#b8c4c9" for _, reader, _ in shown]
    bars = axes.barh(labels, values, color=colors)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("million frames a second")
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, format="svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=5_000_000)
    parser.add_argument("--one", nargs=2, metavar=("READER", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.one[0], Path(arguments.one[1]))
        return
    files = write_all(ROOT / ".bench" / f"session-{arguments.frames}", arguments.frames)
    jobs = [
        (name, reader, path)
        for name, path in files.items()
        for reader in READERS
        if reader.startswith((OURS, *PEERS[name.partition("-")[0]]))
    ]
    absent = {peer for peer, module in MODULES.items() if importlib.util.find_spec(module) is None}
    jobs = [job for job in jobs if not job[1].startswith(tuple(absent))] if absent else jobs
    found: list[tuple[str, str, Path, dict[str, float]]] = []
    failed: list[str] = []
    for name, reader, path in track(jobs, description="reading", transient=True):
        result = measure(reader, path)
        if isinstance(result, str):
            failed.append(f"{reader} on {name} ({result})")
        elif not reader.startswith(FLOOR) and result["frames"] != arguments.frames:
            failed.append(f"{reader} on {name} (gave {result['frames']:,} frames)")
        else:
            found.append((name, reader, path, result))
    text = report(arguments.frames, found)
    if absent:
        text += f"\nNot installed, so not measured: {', '.join(sorted(absent))}.\n"
    if failed:
        text += f"\nCould not read the file: {'; '.join(failed)}.\n"
    folder = ROOT / "docs" / "benchmarks"
    plot(arguments.frames, found, folder / "recordings.svg")
    (folder / "recordings.md").write_text(text + "\n![Million frames a second by reader](recordings.svg)\n")
    print(text)


if __name__ == "__main__":
    main()
