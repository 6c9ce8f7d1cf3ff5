"""A synthetic drive with faults in every source: four buses of cyclic messages, a log and diagnostics, in one MCAP file.

Buses 0 and 1 are J1939 with DM1, one of them by transport protocol; bus 2 answers OBD and UDS requests over ISO-TP;
bus 3 has bursts of error frames and a message that stops.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from argus_assets.simulate import ros
from argus_assets.simulate.mcap_writer import McapBatchWriter

START_NS = 1_795_000_000 * 10**9
BUSES = 4
PERIODS_S = [0.01] * 10 + [0.02] * 10 + [0.05] * 15 + [0.1] * 15 + [1.0] * 10
"""Of the 60 cyclic messages of each bus: 1,960 frames a second."""

_STEP_S = 10.0
_CAN_FRAME = np.dtype(
    [
        ("encapsulation", "u1", 4), ("sec", "<i4"), ("nanosec", "<u4"), ("text_bytes", "<u4"), ("frame_id", "S8"), ("id", "<u4"),
        ("is_rtr", "u1"), ("is_extended", "u1"), ("is_error", "u1"), ("dlc", "u1"), ("data", "u1", 8),
    ]
)  # fmt: skip
"""can_msgs/msg/Frame in CDR with a frame_id of four letters."""


@dataclass(frozen=True)
class Frames:
    """Frames in time order, one row each.

    Attributes:
        time_ns: Nanoseconds since 1970 UTC.
        bus: From 0.
        data: Shape (n, 8), zeros behind `dlc`.
    """

    time_ns: npt.NDArray[np.int64]
    bus: npt.NDArray[np.uint8]
    can_id: npt.NDArray[np.uint32]
    extended: npt.NDArray[np.bool_]
    error: npt.NDArray[np.bool_]
    dlc: npt.NDArray[np.uint8]
    data: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.time_ns)

    def __getitem__(self, rows: npt.NDArray[np.int64] | slice) -> "Frames":
        return Frames(*(getattr(self, column.name)[rows] for column in fields(self)))

    @staticmethod
    def merged(parts: "list[Frames]") -> "Frames":
        """All frames in time order."""
        joined = Frames(*(np.concatenate([getattr(p, column.name) for p in parts]) for column in fields(Frames)))
        return joined[np.argsort(joined.time_ns, kind="stable")]


def message(
    times_s: npt.NDArray[np.float64], bus: int, can_id: int, data: bytes | npt.NDArray[np.uint8], *, error: bool = False
) -> Frames:
    """Frames of one identifier, with the same data or a row of data each."""
    n = len(times_s)
    rows = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
    padded = np.zeros((n, 8), np.uint8)
    padded[:, : rows.shape[-1]] = rows
    return Frames(
        START_NS + np.rint(times_s * 1e6).astype(np.int64) * 1000,
        np.full(n, bus, np.uint8),
        np.full(n, can_id, np.uint32),
        np.full(n, can_id > 0x7FF),
        np.full(n, error),
        np.full(n, rows.shape[-1], np.uint8),
        padded,
    )


def transfer(times_s: npt.NDArray[np.float64], bus: int, *frames: tuple[int, bytes]) -> list[Frames]:
    """A message of several frames, a millisecond apart, at each time."""
    return [message(times_s + 0.001 * i, bus, can_id, data) for i, (can_id, data) in enumerate(frames)]


def isotp(payload: bytes) -> list[bytes]:
    """First and consecutive frames (ISO 15765-2) of a message of more than seven bytes."""
    frames = [bytes([0x10 | len(payload) >> 8, len(payload) & 0xFF]) + payload[:6]]
    for number, at in enumerate(range(6, len(payload), 7), 1):
        frames.append(bytes([0x20 | number % 16]) + payload[at : at + 7].ljust(7, b"\xaa"))
    return frames


def bam(source: int, payload: bytes) -> list[tuple[int, bytes]]:
    """A DM1 announced to all and its packets (SAE J1939-21, 5.10)."""
    packets = [payload[at : at + 7].ljust(7, b"\xff") for at in range(0, len(payload), 7)]
    head = bytes([0x20, len(payload) & 0xFF, len(payload) >> 8, len(packets), 0xFF, 0xCA, 0xFE, 0x00])
    data = [(0x1CEBFF00 | source, bytes([i]) + packet) for i, packet in enumerate(packets, 1)]
    return [(0x1CECFF00 | source, head), *data]


def make_frames(count: int, *, seed: int = 1) -> Frames:
    """About so many frames; the same seed gives the same ones."""
    random = np.random.default_rng(seed)
    seconds = count / (BUSES * sum(1 / p for p in PERIODS_S) * 1.011)
    parts: list[Frames] = []
    for bus in range(BUSES):
        for number, period in enumerate(PERIODS_S):
            times = np.arange(random.uniform(0, period), seconds, period)
            times += random.normal(0, 0.01 * period, len(times))
            if bus == 3 and number == 0:
                times = times[np.abs(times - 0.5 * seconds) > 0.01 * seconds]  # it stops for a while
            can_id = 0x18FF0000 | number << 8 | number % 8 if bus < 2 else 0x100 + 8 * number
            data = random.integers(0, 256, 8, np.uint8) * np.ones((len(times), 1), np.uint8)
            data[:, 0] = np.arange(len(times)) % 256
            parts.append(message(np.sort(np.maximum(times, 0)), bus, can_id, data))
    each_second = np.arange(0.3, seconds - 1, 1.0)
    healthy, faulty = bytes([0, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF]), bytes([0x04, 0xFF, 110, 0, 0, 5, 0xFF, 0xFF])
    for bus in range(2):
        for source in range(1, 8):
            on = (each_second // 60 + source) % 3 == 0
            parts.append(message(each_second[on], bus, 0x18FECA00 | source, faulty))
            parts.append(message(each_second[~on], bus, 0x18FECA00 | source, healthy))
        several = bytes([0x10, 0xFF]) + b"".join(bytes([100 + i, 0, i, 3]) for i in range(5))
        parts += transfer(each_second, bus, *bam(0, several))
    asked = np.arange(0.1, seconds - 1, 0.1)
    parts += transfer(
        asked, 2, (0x7DF, b"\x02\x01\x0c\xaa\xaa\xaa\xaa\xaa"), (0x7E8, b"\x04\x41\x0c\x1a\xf8\xaa\xaa\xaa")
    )
    each_five = np.arange(2.05, seconds - 1, 5.0)
    confirmed = b"\x43\x04" + bytes.fromhex("0301 0302 0171 C100")
    stored = b"\x59\x02\xff" + b"".join(bytes([0x03, i, 0x11, 0x2F]) for i in range(10))
    parts += transfer(each_five, 2, (0x7DF, b"\x01\x03".ljust(8, b"\xaa")), *((0x7E8, f) for f in isotp(confirmed)))
    parts += transfer(
        each_five + 1, 2, (0x7E1, b"\x03\x19\x02\xff".ljust(8, b"\xaa")), *((0x7E9, f) for f in isotp(stored))
    )
    errors = np.sort(np.concatenate([t + 0.005 * np.arange(100) for t in np.arange(5, seconds - 1, 30.0)]))
    parts.append(message(errors, 3, 0x88, bytes([0, 0, 0x04, 0x0A, 0, 0, 0, 0]), error=True))
    parts.append(message(errors[::100] + 0.6, 3, 0x40, bytes(8), error=True))
    return Frames.merged(parts)


def write_session(path: Path, frames: Frames) -> None:
    """Write the frames, a log and diagnostics as one MCAP file."""
    end_s = float(frames.time_ns[-1] - START_NS) / 1e9
    with path.open("wb") as file, McapBatchWriter(file, profile="ros2", library="argus-bench") as writer:
        schemas = {name: writer.add_schema(name, "ros2msg", text.encode()) for name, text in ros.DEFINITIONS.items()}
        for bus in range(BUSES):
            writer.add_channel(f"/can{bus}", "cdr", schemas["can_msgs/msg/Frame"])
        topics = [
            writer.add_channel(topic, "cdr", schemas[schema])
            for topic, schema in (
                ("/rosout", "rcl_interfaces/msg/Log"),
                ("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray"),
            )
        ]
        for start_s in np.arange(0.0, end_s, _STEP_S):
            low, high = np.searchsorted(frames.time_ns, START_NS + np.array([start_s, start_s + _STEP_S]) * 1e9)
            rows = frames[slice(int(low), int(high))]
            sizes = np.full(len(rows), _CAN_FRAME.itemsize)
            writer.write(rows.bus, rows.time_ns, as_cdr(rows), sizes)
            software = [row for row in (*_log(start_s), *_diagnostics(start_s)) if row[0] <= frames.time_ns[-1]]
            payload = np.frombuffer(b"".join(m for _, _, m in software), np.uint8)
            writer.write(
                np.array([topics[t] for _, t, _ in software]),
                np.array([at for at, _, _ in software]),
                payload,
                np.array([len(m) for _, _, m in software]),
            )


def as_cdr(rows: Frames) -> npt.NDArray[np.uint8]:
    """The frames as can_msgs/msg/Frame, one behind another."""
    out = np.zeros(len(rows), _CAN_FRAME)
    out["encapsulation"] = 0, 1, 0, 0
    out["sec"], out["nanosec"] = rows.time_ns // 10**9, rows.time_ns % 10**9
    out["text_bytes"], out["frame_id"] = 5, b"can0"
    out["id"], out["is_extended"], out["is_error"] = rows.can_id, rows.extended, rows.error
    out["dlc"], out["data"] = rows.dlc, rows.data
    return out.view(np.uint8)


def _log(start_s: float) -> list[tuple[int, int, bytes]]:
    rows = []
    for i in range(int(20 * _STEP_S)):
        at = START_NS + round((start_s + i / 20) * 1e9)
        if i % 50 == 7:
            rows.append((at, 0, ros.log(at, 40, "lidar_driver", f"E101: {i} packets lost", 42)))
        else:
            rows.append((at, 0, ros.log(at, 20, "planner", f"cycle {i} took {i % 7} ms", 7)))
    return rows


def _diagnostics(start_s: float) -> list[tuple[int, int, bytes]]:
    rows = []
    for i in range(int(10 * _STEP_S)):
        at = START_NS + round((start_s + i / 10) * 1e9)
        level = 2 if i in range(20, 40) else 0
        statuses = [
            (level if n == 0 else 0, f"node_{n}", "late" if level else "ok", "", {"cpu": str(i)}) for n in range(5)
        ]
        rows.append((at, 1, ros.diagnostic_array(at, statuses)))
    return rows
