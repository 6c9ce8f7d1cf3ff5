"""ASAM MDF 4 bus logging, finalised or not, sorted or not: `asammdf` finds the structure, arrays carry the frames.

A bus-logging group has a channel `CAN_DataFrame`, `CAN_ErrorFrame`, `CAN_RemoteFrame` or `LIN_Frame` whose parts
are the fields of a frame (ASAM MDF 4, associated standard "Bus Logging"). Frames of all groups are merged by time:
the format keeps no order between groups.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from argus_assets.recordings.columns import PADDING, FrameArrays
from argus_assets.recordings.model import ChannelSummary, FrameBatch, Limits, Problem, Reader, RecordingSummary, Source
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, KINDS, LOGS

_SOURCES: Final = {
    "CAN_DataFrame": "can",
    "CAN_RemoteFrame": "can",
    "CAN_ErrorFrame": "can",
    "LIN_Frame": "lin",
}
_FIELDS: Final = ("ID", "IDE", "BusChannel", "DLC", "DataLength", "DataBytes", "Dir", "EDL")
_MAX_BUFFER_BYTES: Final = 2**30
_ID_MASK: Final = 0x1FFFFFFF
_IDE_BIT: Final = 0x80000000


class Mdf4Decoder:
    """MDF 4.x files, among them unfinalised ones as CANedge loggers upload them."""

    name = "mdf4"
    version = 2

    def matches(self, head: bytes) -> bool:
        """Whether the file starts with an identification block of version 4."""
        return head[:8] in (b"MDF     ", b"UnFinMF ") and head[8:9] == b"4"

    def open(self, source: Source, limits: Limits) -> Reader:
        """A reader over `source`."""
        return Mdf4Reader(source, limits, decoder=f"{self.name}/{self.version}")


class Mdf4Reader:
    """One pass over one MDF4 file; see `model.Reader`.

    asammdf seeks all over the file and needs it by name: a source that is no local file is copied to one first.
    """

    def __init__(self, source: Source, limits: Limits, *, decoder: str) -> None:
        self._source = source
        self._limits = limits
        self.summary = RecordingSummary("mdf4", decoder, source.seek(0, 2))

    def __iter__(self) -> Iterator[FrameBatch]:
        with ExitStack() as stack:
            path = self._local(stack)
            groups = self._read(path)
        if not groups:
            return
        merged = pl.concat(groups)
        if not merged["timestamp"].is_sorted():
            merged = merged.sort("timestamp", maintain_order=True)
        frames = merged.with_columns(frame=pl.int_range(pl.len(), dtype=pl.UInt64)).select(FRAMES.schema.names())
        self._summarise(frames)
        for part in frames.iter_slices(self._limits.batch_frames):
            yield FrameBatch(part, LOGS.empty(), DIAGNOSTICS.empty())

    def _local(self, stack: ExitStack) -> Path:
        name = getattr(self._source, "name", None)
        if isinstance(name, str) and Path(name).is_file() and Path(name).suffix.lower() == ".mf4":
            return Path(name)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="argus-mdf4-")))
        path = folder / "recording.mf4"
        if isinstance(name, str) and Path(name).is_file():
            path.symlink_to(Path(name).absolute())
            return path
        self._source.seek(0)
        with path.open("wb") as copy:
            shutil.copyfileobj(self._source, copy, 1024 * 1024)  # type: ignore[arg-type]
        return path

    def _read(self, path: Path) -> list[pl.DataFrame]:
        """Frames of each bus-logging group. Whatever asammdf raises on damage becomes a problem."""
        from asammdf import MDF

        frames: list[pl.DataFrame] = []
        try:
            with MDF(path, process_bus_logging=False) as mdf:  # type: ignore[call-arg] # passed on to the version's class
                start_ns = _start_ns(mdf)
                for index, group in enumerate(mdf.groups):
                    names = [channel.name for channel in group.channels]
                    source = next((s for s in _SOURCES if s in names), None)
                    if source is None:
                        self._note_unread(index, group)
                        continue
                    try:
                        found = _group_frames(mdf, index, names, source, start_ns)
                    except Exception as error:  # noqa: BLE001 - asammdf raises what its parsing happens to hit
                        self._failed(f"group {index} ({source})", error, int(group.channel_group.cycles_nr))
                        continue
                    claimed = int(group.channel_group.cycles_nr)
                    if found.height < claimed:
                        self.summary.problems.append(
                            Problem(
                                "truncated",
                                f"{claimed} frames in group {index} ({source})",
                                f"{found.height}",
                                None,
                                claimed - found.height,
                                "The recording was cut off; what is there was read.",
                            )
                        )
                        self.summary.frames_lost += claimed - found.height
                    if found.height:
                        frames.append(found)
        except Exception as error:  # noqa: BLE001 - asammdf raises what its parsing happens to hit
            self._failed("the file's structure", error, None)
        return frames

    def _failed(self, what: str, error: Exception, lost: int | None) -> None:
        self.summary.problems.append(
            Problem(
                "decoder_failed",
                f"{what}, readable by asammdf",
                f"{type(error).__name__}: {error}"[:500],
                None,
                lost,
                "The file is damaged or cut off. A finalised MDF4 file that was cut cannot be read; record unfinalised.",
            )
        )
        self.summary.frames_lost += lost or 0

    def _note_unread(self, index: int, group: Any) -> None:  # noqa: ANN401 - asammdf's own type
        if group.channel_group.cycles_nr and len(group.channels) > 1:
            self.summary.problems.append(
                Problem(
                    "unsupported",
                    "a bus-logging group",
                    f"signal group {index} with {len(group.channels)} channels",
                    None,
                    0,
                    "Signals are not read; the frames of the bus are.",
                )
            )

    def _summarise(self, frames: pl.DataFrame) -> None:
        summary = self.summary
        summary.frames = frames.height
        times = frames["timestamp"].dt.timestamp("ns")
        summary.first_timestamp_ns, summary.last_timestamp_ns = int(times[0]), int(times[-1])
        counts = frames.group_by("channel", "kind").len().sort(pl.col("channel").cast(pl.String))
        summary.channels = [ChannelSummary(str(c), str(k), int(n)) for c, k, n in counts.iter_rows()]


def _start_ns(mdf: Any) -> int:  # noqa: ANN401 - asammdf's own type
    """Start of the measurement, nanoseconds since 1970 UTC; a local start time has its offset taken off."""
    header = mdf.header
    local = int(header.time_flags) & 0x1
    return int(header.abs_time) - (int(header.tz_offset) + int(header.daylight_save_time)) * 60 * 10**9 * local


def _group_frames(mdf: Any, index: int, names: Sequence[str], source: str, start_ns: int) -> pl.DataFrame:  # noqa: ANN401 - asammdf's own type
    """The frames of one group, without their number."""
    from asammdf.blocks.v4_constants import CHANNEL_TYPE_VIRTUAL

    wanted = [name for name in (f"{source}.{f}" for f in _FIELDS) if name in names]
    channels = mdf.groups[index].channels
    virtual = {n for n in wanted if channels[names.index(n)].channel_type == CHANNEL_TYPE_VIRTUAL}
    values: dict[str, Any] = {}
    timestamps = np.zeros(0)
    # Raw values need no conversion. Virtual channels have none: their raw value is the number of the record.
    for raw, some in ((True, [n for n in wanted if n not in virtual]), (False, [n for n in wanted if n in virtual])):
        if not some:
            continue
        signals = mdf.select([(n, index, names.index(n)) for n in some], raw=raw, copy_master=False, validate=False)
        values |= {n.removeprefix(f"{source}."): signal.samples for n, signal in zip(some, signals, strict=True)}
        timestamps = np.asarray(signals[0].timestamps, np.float64)
    n = len(timestamps)
    if n == 0:
        return FRAMES.empty().drop("frame")
    # Error frames of some loggers carry no identifier.
    raw_id = _numbers(values.get("ID"), n, 0).astype(np.uint32)
    payload = values.get("DataBytes")
    data = (
        np.zeros((n, 0), np.uint8) if payload is None else np.ascontiguousarray(payload).view(np.uint8).reshape(n, -1)
    )
    width = data.shape[1]
    lengths = np.clip(_numbers(values.get("DataLength"), n, width), 0, width)
    kind = _SOURCES[source]
    numbers, channel = np.unique(_numbers(values.get("BusChannel"), n, 0), return_inverse=True)
    prefix = "LIN" if kind == "lin" else "CAN"
    times = start_ns + np.rint(timestamps * 1e9).astype(np.int64)
    extended = _flag(values.get("IDE"), n) | ((raw_id & np.uint32(_IDE_BIT)) != 0)
    fd, rx = _flag(values.get("EDL"), n), ~_flag(values.get("Dir"), n)
    dlc = _numbers(values.get("DLC"), n, 0).astype(np.uint8)
    step = max(1, _MAX_BUFFER_BYTES // max(1, width))
    parts: list[pl.DataFrame] = []
    for first in range(0, n, step):
        rows = slice(first, first + step)
        count = len(times[rows])
        arrays = FrameArrays(
            timestamp_ns=times[rows],
            channel=channel[rows].astype(np.uint32),
            channels=[f"{prefix}{number}" for number in numbers.tolist()],
            kind=np.full(count, KINDS.index(kind), np.uint8),
            arbitration_id=raw_id[rows] & np.uint32(_ID_MASK),
            is_extended_id=extended[rows],
            is_fd=fd[rows],
            is_remote_frame=np.full(count, source == "CAN_RemoteFrame"),
            is_error_frame=np.full(count, source == "CAN_ErrorFrame"),
            dlc=dlc[rows],
            buffer=np.concatenate([data[rows].reshape(-1), np.zeros(PADDING, np.uint8)]),
            starts=np.arange(count, dtype=np.int64) * width,
            lengths=lengths[rows],
            is_rx=rx[rows],
        )
        parts.append(arrays.frame(0).drop("frame"))
    return pl.concat(parts)


def _numbers(samples: Any, n: int, default: int) -> np.ndarray:  # noqa: ANN401 - asammdf's arrays of many dtypes
    """Samples as int64; texts that a conversion made of them (`CAN 1`) by their digits."""
    if samples is None:
        return np.full(n, default, np.int64)
    if samples.dtype.kind in "SO":
        text = pl.Series([s.decode("latin-1", "replace") if isinstance(s, bytes) else str(s) for s in samples])
        return text.str.extract(r"(\d+)").cast(pl.Int64).fill_null(default).to_numpy()
    return samples.astype(np.int64)


def _flag(samples: Any, n: int) -> np.ndarray:  # noqa: ANN401 - asammdf's arrays of many dtypes
    """Samples as booleans; `Tx` counts as true in Dir, as do all texts but `0`, `Rx` and the empty one."""
    if samples is None:
        return np.zeros(n, np.bool_)
    if samples.dtype.kind in "SO":
        return np.array(
            [
                bytes(s) not in (b"0", b"Rx", b"") if isinstance(s, bytes) else str(s) not in ("0", "Rx", "")
                for s in samples
            ]
        )
    return samples.astype(np.int64) != 0
