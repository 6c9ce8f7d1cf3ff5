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
import pyarrow as pa

from argus_assets.recordings.columns import gather
from argus_assets.recordings.model import ChannelSummary, FrameBatch, Limits, Problem, Reader, RecordingSummary, Source
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS

_SOURCES: Final = {
    "CAN_DataFrame": "can",
    "CAN_RemoteFrame": "can",
    "CAN_ErrorFrame": "can",
    "LIN_Frame": "lin",
}
_FIELDS: Final = ("ID", "IDE", "BusChannel", "DLC", "DataLength", "DataBytes", "Dir", "EDL")
_ID_MASK: Final = 0x1FFFFFFF
_IDE_BIT: Final = 0x80000000


class Mdf4Decoder:
    """MDF 4.x files, among them unfinalised ones as CANedge loggers upload them."""

    name = "mdf4"
    version = 1

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
        merged = pl.concat(groups).sort("timestamp", maintain_order=True)
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
    """The frames of one group. Each field is read as physical values: virtual channels have no others."""
    wanted = [name for name in (f"{source}.{f}" for f in _FIELDS) if name in names]
    signals = mdf.select(
        [(name, index, names.index(name)) for name in wanted], raw=False, copy_master=False, validate=False
    )
    values = {name.removeprefix(f"{source}."): signal.samples for name, signal in zip(wanted, signals, strict=True)}
    n = len(signals[0].samples)
    if n == 0:
        return FRAMES.empty().drop("frame")
    times = start_ns + np.rint(np.asarray(signals[0].timestamps, np.float64) * 1e9).astype(np.int64)
    # Error frames of some loggers carry no identifier.
    raw_id = _numbers(values.get("ID"), n, 0).astype(np.uint32)
    extended = _flag(values.get("IDE"), n) | ((raw_id & np.uint32(_IDE_BIT)) != 0)
    payload = values.get("DataBytes")
    data = (
        np.zeros((n, 0), np.uint8) if payload is None else np.ascontiguousarray(payload).view(np.uint8).reshape(n, -1)
    )
    lengths = _numbers(values.get("DataLength"), n, data.shape[1])
    lengths = np.clip(lengths, 0, data.shape[1])
    if source not in {"CAN_DataFrame", "LIN_Frame"}:
        lengths = np.zeros(n, np.int64) if payload is None else lengths
    offsets = np.zeros(n + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    flat = gather(data.reshape(-1), np.arange(n, dtype=np.int64) * data.shape[1], lengths)
    binary = pa.LargeBinaryArray.from_buffers(pa.large_binary(), n, [None, pa.py_buffer(offsets), pa.py_buffer(flat)])
    kind = _SOURCES[source]
    bus = _numbers(values.get("BusChannel"), n, 0)
    prefix = "LIN" if kind == "lin" else "CAN"
    frame = pl.DataFrame(
        {
            "timestamp": pl.Series(times).cast(FRAMES.schema["timestamp"]),
            "channel": pl.Series(bus).cast(pl.String),
            "arbitration_id": pl.Series(raw_id & np.uint32(_ID_MASK)),
            "is_extended_id": pl.Series(extended),
            "is_fd": pl.Series(_flag(values.get("EDL"), n)),
            "is_remote_frame": pl.repeat(source == "CAN_RemoteFrame", n, dtype=pl.Boolean, eager=True),
            "is_error_frame": pl.repeat(source == "CAN_ErrorFrame", n, dtype=pl.Boolean, eager=True),
            "is_rx": pl.Series(~_flag(values.get("Dir"), n)),
            "dlc": pl.Series(_numbers(values.get("DLC"), n, 0).astype(np.uint8)),
            "payload": pl.Series(binary),
        }
    )
    frame = frame.with_columns(
        pl.lit(kind, dtype=FRAMES.schema["kind"]).alias("kind"),
        pl.concat_str(pl.lit(prefix), "channel").cast(pl.Categorical()).alias("channel"),
    )
    return frame.select(name for name in FRAMES.schema.names() if name != "frame")


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
