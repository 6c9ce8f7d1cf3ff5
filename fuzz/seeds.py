"""Small recordings of every format, by the formats' own writers where there are some."""

import gzip
import io
import json
import random
import re
import struct
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import can
import zstandard
from mcap.writer import CompressionType, IndexType, Writer

from argus_assets.simulate import ros
from argus_assets.simulate.can import CanLog
from tests.support import cyber_builder as cyber
from tests.support import ethernet_builder as ethernet
from tests.support import mdf4_builder as mdf4
from tests.support import pcap_builder as capture

START_NS: Final = 1_795_000_000 * 10**9
FRAMES: Final = 60


@cache
def seeds() -> dict[str, bytes]:
    """Return recordings by name; the name starts with the format."""
    found: dict[str, bytes] = {}
    for compression in CompressionType:
        found[f"mcap-{compression.name.lower()}"] = _mcap(compression, chunked=True)
    found["mcap-loose"] = _mcap(CompressionType.NONE, chunked=False)
    found["mcap-plain"] = _mcap(CompressionType.ZSTD, chunked=True, index=False)
    for name, writer in (("candump", can.CanutilsLogWriter), ("asc", can.ASCWriter), ("csv", can.CSVWriter)):
        found[name] = _python_can(writer, ".log" if name == "candump" else f".{name}")
    found["trc"] = _python_can(can.TRCWriter, ".trc")
    found["blf"] = _python_can(lambda path: can.BLFWriter(path, max_container_size=600), ".blf")
    found["mdf4-unsorted"] = _mdf4_unsorted()
    found["mdf4-sorted"] = _mdf4_sorted()
    found["mdf4-asammdf"] = _mdf4_asammdf(0)
    found["mdf4-zipped"] = _mdf4_asammdf(2)
    found |= _loggers()
    for name, compress in (("none", 0), ("bz2", 1), ("lz4", 2)):
        chunks = [[("/gps", START_NS + n * 10**9 + k, cyber.gps(k / 2)) for k in range(20)] for n in range(3)]
        found[f"cyber-{name}"] = cyber.record(chunks, compress=compress)
    found |= _captures()
    found["gzip-candump"] = gzip.compress(found["candump"], mtime=0)
    found["zstd-asc"] = zstandard.ZstdCompressor().compress(found["asc"])
    return found


def _captures() -> dict[str, bytes]:
    """Return captures: pcap of either byte order, pcapng of two interfaces in two sections, and DoIP."""
    randomness = random.Random(4)
    frames = [_frame(number, randomness) for number in range(FRAMES)]
    packets = [
        capture.Packet(
            START_NS + number * 10**7,
            capture.socketcan(frame.arbitration_id, bytes(frame.data), fd=frame.is_fd),
            interface=number % 2,
            flags=1 + number % 2,
        )
        for number, frame in enumerate(frames)
    ]
    cooked = [
        capture.Packet(
            packet.time_ns,
            capture.cooked(
                capture.socketcan(frame.arbitration_id, bytes(frame.data), fd=frame.is_fd, order=">"),
                13 if frame.is_fd else 12,
                index=3,
            ),
        )
        for packet, frame in zip(packets, frames, strict=True)
    ]
    connection = ethernet.Connection()
    spoken = list(connection.open())
    for number in range(FRAMES):
        uds = bytes([0x62 if number % 2 else 0x22, 0xF1, number]) + randomness.randbytes(20 * (number % 2))
        ends = (0x1010, 0x0E00) if number % 2 else (0x0E00, 0x1010)
        spoken += connection.split(ethernet.diagnostic(*ends, uds), 24, answer=number % 2 == 1)
    buses = [capture.interface(name=name) for name in ("can0", "can1")]
    quarter = FRAMES // 4
    return {
        "pcap-micro": capture.pcap(packets),
        "pcap-cooked": capture.pcap(cooked, link=capture.COOKED_2, order=">", nanoseconds=True),
        "pcap-doip": capture.pcap(
            [capture.Packet(START_NS + n * 10**6, frame) for n, frame in enumerate(spoken)], link=capture.ETHERNET
        ),
        "pcapng-two": capture.pcapng(packets[:quarter], buses) + capture.pcapng(packets[quarter:], buses),
    }


def _loggers() -> dict[str, bytes]:
    """Return logs of further loggers, of the same frames."""
    randomness = random.Random(2)
    frames = [(n, randomness.randrange(2**11), randomness.randbytes(randomness.randint(1, 8))) for n in range(FRAMES)]

    def log(head: str, line: Callable[[int, int, bytes], str]) -> bytes:
        return (head + "".join(line(*frame) + "\n" for frame in frames)).encode()

    return {
        "candump-output": log(
            "", lambda n, i, d: f" ({1_700_000_000 + n}.250000)  can0  {i:03X}   [{len(d)}]  {d.hex(' ').upper()}"
        ),
        "busmaster": log(
            "***BUSMASTER Ver 3.2.2***\n***PROTOCOL CAN***\n***START DATE AND TIME 27:9:2023 9:30:0:000***\n***HEX***\n",
            lambda n, i, d: f"09:{30 + n // 60}:{n % 60:02}:2500 Rx 1 0x{i:X} s {len(d)} {d.hex(' ').upper()} ",
        ),
        "canhacker": log(
            "Time     ID        DLC       Data                    Comment\n",
            lambda n, i, d: f"{n},250   {i:03X}      {len(d)}           {d.hex(' ').upper()}",
        ),
        "cl2000": log(
            '# Logger type: CANLogger2000\n# Value separator: ";"\nTimestamp;Type;ID;Data\n',
            lambda n, i, d: f"20230927T09{30 + n // 60}{n % 60:02}250;0;{i:x};{d.hex()}",
        ),
        "gvret": log(
            "Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n",
            lambda n, i, d: f"{n}250000,{i:08X},false,Rx,0,{len(d)},{','.join(f'{b:02X}' for b in d)},",
        ),
        "kvaser": log(
            "Counter,Time,Chn,Identifier,Flags,DLC,Data0,Data1\n",
            lambda n, i, d: f"{n + 1},{n}.250000,1,{i:X},,{len(d)},{','.join(f'{b:X}' for b in d)}",
        ),
        "cabana": log("time,addr,bus,data\n", lambda n, i, d: f"{n}.250000,{i},0,{d.hex()}"),
    }


def _frame(number: int, randomness: random.Random) -> can.Message:
    is_fd = number % 5 == 0
    data = randomness.randbytes(randomness.choice((12, 64)) if is_fd else randomness.randint(0, 8))
    return can.Message(
        timestamp=START_NS // 10**9 + number / 100, arbitration_id=randomness.randrange(2**11), is_extended_id=False,
        is_fd=is_fd, dlc=len(data), data=data, channel=number % 2, is_rx=True,
    )  # fmt: skip


def _python_can(writer_of: Callable[[str], Any], suffix: str) -> bytes:
    randomness = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        writer = writer_of(str(path))
        for number in range(FRAMES):
            message = _frame(number, randomness)
            if suffix == ".trc" and message.is_fd:
                continue
            writer.on_message_received(message)
        writer.stop()
        return _at_one_time(path.read_bytes())


def _at_one_time(log: bytes) -> bytes:
    """Return a text log without the time and folder in which python-can wrote it: damage would fall elsewhere each time."""
    log = re.sub(rb"(?m)^(date|Begin Triggerblock) \w{3} \w{3} .*$", rb"\1 Wed Nov 18 10:00:00.000 2026", log)
    log = re.sub(rb"(?m)^;\$STARTTIME=[\d.]+", b";$STARTTIME=46344.4166666667", log)
    log = re.sub(rb"(?m)^;(\s+)\S+/a\.trc", rb";\1/tmp/a.trc", log)
    return re.sub(rb"(?m)^;(\s+)Start time: .*?(\r?)$", rb";\1Start time: 18.11.2026 10:00:00.000.0\2", log)


def _mcap(compression: CompressionType, *, chunked: bool, index: bool = True) -> bytes:
    randomness = random.Random(2)
    file = io.BytesIO()
    writer = Writer(
        file, chunk_size=800, compression=compression, use_chunking=chunked,
        index_types=IndexType.ALL if index else IndexType.NONE,
    )  # fmt: skip
    writer.start(profile="ros2")
    schemas = {
        name: writer.register_schema(name, "ros2msg", ros.DEFINITIONS[name].encode()) for name in ros.DEFINITIONS
    }
    speed = writer.register_schema("Speed", "jsonschema", b'{"type":"object","properties":{"v":{"type":"number"}}}')
    frames = writer.register_channel("/can", "cdr", schemas["can_msgs/msg/Frame"])
    logs = writer.register_channel("/rosout", "cdr", schemas["rcl_interfaces/msg/Log"])
    json_topic = writer.register_channel("/speed", "json", speed)
    for number in range(FRAMES):
        at = START_NS + number * 10**7
        data = randomness.randbytes(randomness.randint(0, 8))
        writer.add_message(
            frames, at, ros.can_frame(at, number, extended=False, data=data, length=len(data)), at, number
        )
        if number % 10 == 0:
            writer.add_message(json_topic, at, json.dumps({"v": number / 2}).encode(), at)
            writer.add_message(logs, at, ros.log(at, 40, "planner", f"E{number} failed", 7), at)
    writer.finish()
    return file.getvalue()


def _mdf4_unsorted() -> bytes:
    randomness = random.Random(3)
    data = bytearray()
    offset = 0
    for number in range(FRAMES):
        payload = randomness.randbytes(randomness.randint(0, 8))
        record = mdf4.can_record(
            number / 100, number, extended=False, bus=1, dlc=len(payload), length=len(payload), fd=False, tx=False
        )
        data += b"\x01" + record + struct.pack("<Q", offset) + b"\x02" + struct.pack("<I", len(payload)) + payload
        offset += 4 + len(payload)
        if number % 7 == 0:
            data += b"\x03" + mdf4.lin_record(number / 100, number, bus=1, data=payload)
            data += b"\x05" + struct.pack("<dHb", number / 100, number, -1)
    groups = [
        mdf4.can_group(1, values_in=1), mdf4.Cg(2, 0, flags=mdf4.VLSD_GROUP), mdf4.lin_group(3), mdf4.signal_group(5),
    ]  # fmt: skip
    return mdf4.Builder().finish(groups, bytes(data), id_bytes=1, start_ns=START_NS, unfinished=0x25, stated=0)


def _mdf4_sorted() -> bytes:
    records = b"".join(
        mdf4.can_record(i / 100, i, extended=True, bus=1, dlc=8, length=8, fd=False, tx=False) + i.to_bytes(8, "little")
        for i in range(1, FRAMES + 1)
    )
    group = mdf4.can_group(0, values_in=None, cycles=FRAMES)
    return mdf4.Builder().finish([group], records, id_bytes=0, start_ns=START_NS)


def _mdf4_asammdf(compression: int) -> bytes:
    import numpy as np
    from asammdf import MDF, Signal

    from argus_assets.simulate.write import write_mdf4

    n = FRAMES
    log = CanLog(
        np.arange(n) / 100, np.arange(n).astype(np.uint32), np.zeros(n, np.bool_), np.ones((n, 8), np.uint8),
        np.full(n, 8, np.uint8),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mf4"
        if not compression:
            write_mdf4(path, can=log, bus=1, started_ns=START_NS)
            return path.read_bytes()
        with MDF(version="4.11") as mdf:
            texts = np.array([f"state {i % 3}" for i in range(n)], dtype="S")
            mdf.append(
                [
                    Signal(np.arange(n).astype("<u2"), np.arange(n) / 10, name="Speed", conversion={"a": 0.5, "b": 1}),
                    Signal(texts, np.arange(n) / 10, name="State", encoding="latin-1"),
                ]
            )
            mdf.save(path, compression=compression)
        return path.read_bytes()
