"""Records of an MDF 4 channel group as arrays: frames of a bus, or signals as typed columns. Pure; runs in any thread.

A bus-logging group has a channel `CAN_DataFrame`, `CAN_ErrorFrame`, `LIN_Frame` … whose parts are the fields of a
frame (ASAM MDF 4, associated standard "Bus Logging"). All other groups are signals.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from argus_assets.recordings.can_errors import ERROR_BYTES, OVERLOAD, PROTOCOL, of_mdf4
from argus_assets.recordings.columns import FD_LENGTHS, I64, PADDING, U8, FrameArrays, as_text, binary_series
from argus_assets.recordings.mdf4_blocks import (
    ALL_INVALID,
    CHANNEL_MASTER,
    CHANNEL_VIRTUAL,
    CHANNEL_VIRTUAL_MASTER,
    CHANNEL_VLSD,
    HAS_INVALID_BIT,
    LINEAR,
    SYNC_TIME,
    Channel,
    ChannelGroup,
)
from argus_assets.recordings.schema import KINDS
from argus_assets.tables import TIMESTAMP

Values = npt.NDArray[Any]
Convert = Callable[[Values], Values]
"""Raw to physical values of shape (n,)."""

SIGNALS: Final = "mdf4.signals"
"""Schema of the tables of signal groups."""

_UNSIGNED_LE, _UNSIGNED_BE, _SIGNED_LE, _SIGNED_BE, _REAL_LE, _REAL_BE = range(6)
_LATIN_1, _UTF_8, _UTF_16_LE, _UTF_16_BE = 6, 7, 8, 9
_BIG_ENDIAN: Final = (_UNSIGNED_BE, _SIGNED_BE, _REAL_BE)
_ENCODINGS: Final = {_LATIN_1: "latin-1", _UTF_8: "utf-8", _UTF_16_LE: "utf-16-le", _UTF_16_BE: "utf-16-be"}
_MAX_TIME_NS: Final = 2**62
_ID_MASK: Final = 0x1FFFFFFF
_IDE_BIT: Final = 0x80000000
_BUS_EVENTS: Final = {
    # channel: kind, is_error_frame, is_remote_frame
    "CAN_DataFrame": ("can", False, False),
    "CAN_RemoteFrame": ("can", False, True),
    "CAN_ErrorFrame": ("can", True, False),
    "CAN_OverloadFrame": ("can", True, False),
    "LIN_Frame": ("lin", False, False),
    "LIN_ChecksumError": ("lin", True, False),
    "LIN_ReceiveError": ("lin", True, False),
    "LIN_SyncError": ("lin", True, False),
    "LIN_TransmissionError": ("lin", True, False),
}


@dataclass(frozen=True, slots=True)
class Records:
    """Records of one group.

    Attributes:
        buffer: Holds them, and `PADDING` bytes behind the last one.
        at: Where the first one starts, behind its id.
        stride: Bytes from one to the next.
        count: How many.
        number: Number of the first one in its group.
    """

    buffer: U8
    at: int
    stride: int
    count: int
    number: int


@dataclass(frozen=True, slots=True)
class Variable:
    """Values of variable length: `buffer[start : start + length]` of each record."""

    buffer: U8
    starts: I64
    lengths: I64


@dataclass(frozen=True, slots=True)
class Layout:
    """How the records of a group are read.

    Attributes:
        event: Name of the bus event, `None` for signals.
        fields: Channels by the name of their field, or of their signal.
        variable: Those of them that are of variable length.
        convert: Conversions beyond a linear one, by the same names.
    """

    group: ChannelGroup
    master: Channel | None
    event: str | None
    fields: Mapping[str, Channel]
    variable: tuple[str, ...]
    convert: Mapping[str, Convert] = field(default_factory=dict)

    @property
    def topic(self) -> str:
        """Name of the group."""
        return self.group.name or self.group.source or f"group {self.group.number}"


def layout_of(group: ChannelGroup, convert_of: Callable[[Channel], Convert | None]) -> tuple[Layout, list[str]]:
    """How to read a group, and the names of channels that cannot be read.

    Args:
        group: A group with channels.
        convert_of: Finds the conversion of a channel that has one which is neither none nor linear.
    """
    master = next((c for c in group.channels if c.type in (CHANNEL_MASTER, CHANNEL_VIRTUAL_MASTER)), None)
    names = {c.name for c in group.channels}
    event = next((name for name in _BUS_EVENTS if name in names), None)
    # Frames of a bus have no other master than time, whatever damage made of its kind.
    if master is not None and ((master.sync != SYNC_TIME and event is None) or not _fits(master, group)):
        master = None
    fields: dict[str, Channel] = {}
    convert: dict[str, Convert] = {}
    unread: list[str] = []
    for channel in group.channels:
        if channel is master or channel.is_structure:
            continue
        name = channel.name
        if event is not None:
            prefix, _, name = name.rpartition(".")
            if prefix != event:
                continue
        elif name in ("", "frame", "timestamp") or name in fields:
            number = 2
            while f"{name}#{number}" in fields:
                number += 1
            name = f"{name}#{number}"
        if not _fits(channel, group):
            unread.append(channel.name)
            continue
        fields[name] = channel
        if event is None and (found := convert_of(channel)) is not None:
            convert[name] = found
    variable = tuple(name for name, c in fields.items() if c.type == CHANNEL_VLSD and c.data)
    return Layout(group, master, event, fields, variable, convert), unread


def _fits(channel: Channel, group: ChannelGroup) -> bool:
    """Whether a channel's values are inside a record, and of a size that can be had."""
    if channel.type in (CHANNEL_VIRTUAL, CHANNEL_VIRTUAL_MASTER):
        return True
    if channel.items < 1 or channel.bit_count < 1 or channel.bit_offset > 7:
        return False
    bits = channel.bit_offset + channel.bit_count
    if channel.data_type <= _SIGNED_BE and channel.bit_count > 64:
        return False
    if channel.data_type in (_REAL_LE, _REAL_BE) and (channel.bit_count not in (16, 32, 64) or channel.bit_offset):
        return False
    if channel.items > 1 and (channel.bit_offset or channel.bit_count not in (8, 16, 32, 64)):
        return False
    if channel.data_type <= _SIGNED_BE and bits > 64:
        return False
    return channel.byte_offset + (bits + 7) // 8 * channel.items <= group.data_bytes


# ---------------------------------------------------------------------------------------------- values


def raw_values(records: Records, channel: Channel) -> Values:
    """Raw numbers of a channel: shape (count,), or (count, items) of an array."""
    n = records.count
    if channel.type in (CHANNEL_VIRTUAL, CHANNEL_VIRTUAL_MASTER):
        return np.arange(records.number, records.number + n, dtype=np.int64)
    at = records.at + channel.byte_offset
    size = (channel.bit_offset + channel.bit_count + 7) // 8
    order = ">" if channel.data_type in _BIG_ENDIAN else "<"
    if channel.data_type in (_REAL_LE, _REAL_BE) or channel.items > 1:
        kind = "f" if channel.data_type in (_REAL_LE, _REAL_BE) else "i" if _is_signed(channel) else "u"
        shape = (n, channel.items) if channel.items > 1 else (n,)
        strides = (records.stride, size) if channel.items > 1 else (records.stride,)
        found = np.ndarray(shape, f"{order}{kind}{size}", records.buffer, at, strides)
        return found.astype(found.dtype.newbyteorder("="))
    word = next(w for w in (1, 2, 4, 8) if w >= size)
    values = np.ndarray((n,), f"{order}u{word}", records.buffer, at, (records.stride,)).astype(f"u{word}")
    shift = channel.bit_offset + (8 * (word - size) if order == ">" else 0)
    if shift:
        values >>= values.dtype.type(shift)
    if channel.bit_count < 8 * word:
        values &= values.dtype.type((1 << channel.bit_count) - 1)
    if not _is_signed(channel):
        return values
    signed = values.astype(np.int64)
    if channel.bit_count < 64:
        signed = np.where(signed >> (channel.bit_count - 1) & 1, signed - (1 << channel.bit_count), signed)
    return signed.astype(f"i{word}")


def _is_signed(channel: Channel) -> bool:
    return channel.data_type in (_SIGNED_LE, _SIGNED_BE)


def _times_ns(records: Records, master: Channel | None, start_ns: int) -> tuple[I64, int]:
    """Nanoseconds since 1970 UTC, and how many could not be had (they get the start of the file)."""
    if master is None:
        return np.full(records.count, start_ns, np.int64), 0
    raw = raw_values(records, master)
    conversion = master.conversion
    factor, offset = (conversion.factor, conversion.offset) if conversion.kind == LINEAR else (1.0, 0.0)
    steps = factor * 1e9
    if raw.dtype.kind in "iu" and offset == 0 and 1 <= steps <= 1e9 and abs(steps - round(steps)) < 1e-6:
        # Whole nanoseconds: no float in between.
        most = _MAX_TIME_NS // round(steps)
        bad = (raw > most) | (raw < -most) if raw.dtype.kind == "i" else raw > most
        times = np.where(bad, 0, raw).astype(np.int64) * round(steps)
    else:
        with np.errstate(all="ignore"):
            exact = raw.astype(np.float64) * factor + offset if (factor, offset) != (1.0, 0.0) else raw
            exact = np.rint(np.asarray(exact, np.float64) * 1e9)
            all_good = records.count > 0 and exact.min() >= -_MAX_TIME_NS and exact.max() <= _MAX_TIME_NS
            bad = np.zeros(0, np.bool_) if all_good else ~(np.abs(exact) <= _MAX_TIME_NS)
            times = exact.astype(np.int64) if all_good else np.where(bad, 0, exact).astype(np.int64)
    times += start_ns
    return times, int(np.count_nonzero(bad))


# ---------------------------------------------------------------------------------------------- frames


@dataclass(slots=True)
class Rows:
    """Columns of records.

    Attributes:
        table: `schema.FRAMES` numbered from 0, or signals.
        first_ns: Earliest time; there is at least one.
        last_ns: Latest time.
        bad_times: Times that could not be had.
        channels: Frames by channel and kind.
        unconverted: Signals whose conversion failed: they hold raw values.
    """

    table: pl.DataFrame
    first_ns: int
    last_ns: int
    bad_times: int
    channels: dict[tuple[str, str], int] = field(default_factory=dict)
    unconverted: tuple[str, ...] = ()


def bus_frames(records: Records, layout: Layout, start_ns: int, variable: Mapping[str, Variable]) -> Rows:
    """Frames of a bus-logging group. There must be some; they must be less than 2 GiB."""
    assert layout.event is not None
    n = records.count
    kind, is_error, is_remote = _BUS_EVENTS[layout.event]
    fields = layout.fields
    times, bad_times = _times_ns(records, layout.master, start_ns)

    def numbers(name: str) -> Values | None:
        channel = fields.get(name)
        if channel is None or channel.type == CHANNEL_VLSD or channel.data_type > _SIGNED_BE or channel.items > 1:
            return None
        found = raw_values(records, channel)
        if channel.type == CHANNEL_VIRTUAL and channel.conversion.kind == LINEAR:
            # A virtual channel's raw value is the number of its record; its conversion makes the value of it.
            found = np.rint(found * channel.conversion.factor + channel.conversion.offset).astype(np.int64)
        return found

    def flags(name: str) -> npt.NDArray[np.bool_]:
        found = numbers(name)
        return np.zeros(n, np.bool_) if found is None else found != 0

    found_id = numbers("ID")
    raw_id = np.zeros(n, np.uint32) if found_id is None else found_id.astype(np.uint32, copy=False)
    fd = flags("EDL")
    found_dlc, length = numbers("DLC"), numbers("DataLength")
    payload = fields.get("DataBytes")
    if payload is None or (payload.data_type < _LATIN_1 and payload.items == 1):
        buffer, starts, room = np.zeros(PADDING, np.uint8), np.zeros(n, np.int64), 0
        most: I64 | int = 0
    elif "DataBytes" in variable:
        value = variable["DataBytes"]
        buffer, starts, most = value.buffer, value.starts, value.lengths
        room = int(value.lengths.max()) if n else 0
    else:
        most = room = payload.bit_count * payload.items // 8
        buffer = records.buffer
        first = records.at + payload.byte_offset
        starts = np.arange(first, first + n * records.stride, records.stride, dtype=np.int64)
    if length is None and found_dlc is not None:
        length = FD_LENGTHS[np.minimum(found_dlc.astype(np.int64), 15)]
    lengths = np.minimum(np.full(n, room, np.int64) if length is None else length.astype(np.int64), most)
    if found_dlc is None:
        found_dlc = np.searchsorted(FD_LENGTHS, np.minimum(lengths, 64))
    is_extended_id = flags("IDE") | ((raw_id & np.uint32(_IDE_BIT)) != 0)
    if is_error and kind == "can":
        is_extended_id = np.zeros(n, np.bool_)
        raw_id, buffer = _errors(layout.event, numbers("ErrorType"), flags("Dir"))
        lengths = found_dlc = np.where(raw_id != 0, ERROR_BYTES, 0)
        starts = np.arange(n, dtype=np.int64) * ERROR_BYTES
    bus = numbers("BusChannel")
    if bus is None:
        digits = re.search(r"\d+", layout.group.source)
        bus = np.full(n, min(int(digits[0]), 255) if digits else 0, np.uint8)
    bus = bus.astype(np.uint8, copy=False)
    counts = np.bincount(bus, minlength=256)
    present = np.flatnonzero(counts)
    index = np.zeros(256, np.uint32)
    index[present] = np.arange(len(present))
    prefix = "LIN" if kind == "lin" else "CAN"
    arrays = FrameArrays(
        timestamp_ns=times,
        channel=index[bus],
        channels=[f"{prefix}{number}" for number in present.tolist()],
        kind=np.array([KINDS.index(kind)], np.uint8),
        arbitration_id=raw_id & np.uint32(_ID_MASK),
        is_extended_id=is_extended_id,
        is_fd=fd,
        is_remote_frame=np.full(n, is_remote),
        is_error_frame=np.full(n, is_error),
        dlc=found_dlc.astype(np.uint8, copy=False),
        buffer=buffer,
        starts=starts,
        lengths=lengths,
        is_rx=~flags("Dir"),
    )
    channels = {(name, kind): int(counts[number]) for name, number in zip(arrays.channels, present, strict=True)}
    return Rows(arrays.frame(0), int(times.min()), int(times.max()), bad_times, channels)


def _errors(event: str, error_type: Values | None, sent: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.uint32], U8]:
    """Class bits of CAN error frames, and a buffer of their payloads. The identifier is that of the frame they broke."""
    n = len(sent)
    if event == "CAN_OverloadFrame":
        details = np.zeros((n, ERROR_BYTES), np.uint8)
        details[:, 2] = OVERLOAD
        classes = np.full(n, PROTOCOL, np.uint32)
    else:
        classes, details = of_mdf4(np.zeros(n, np.uint8) if error_type is None else error_type, sent)
    return classes, np.concatenate([details.reshape(-1), np.zeros(PADDING, np.uint8)])


# ---------------------------------------------------------------------------------------------- signals


def signal_columns(records: Records, layout: Layout, start_ns: int, variable: Mapping[str, Variable]) -> Rows:
    """Physical values of a signal group: `frame` (null), `timestamp`, and a column for each channel."""
    times, bad_times = _times_ns(records, layout.master, start_ns)
    columns: dict[str, pl.Series] = {
        "frame": pl.repeat(None, records.count, dtype=pl.UInt64, eager=True),
        "timestamp": pl.Series(times).cast(TIMESTAMP),
    }
    failed: list[str] = []
    for name, channel in layout.fields.items():
        series, ok = _signal(records, channel, variable.get(name), layout.convert.get(name))
        if not ok:
            failed.append(name)
        invalid = _invalid(records, channel, layout.group)
        columns[name] = series if invalid is None else series.set(pl.Series(invalid), None)
    table = pl.DataFrame(columns)
    return Rows(table, int(times.min()), int(times.max()), bad_times, unconverted=tuple(failed))


def _signal(
    records: Records, channel: Channel, variable: Variable | None, convert: Convert | None
) -> tuple[pl.Series, bool]:
    if channel.type == CHANNEL_VLSD and variable is None:
        return pl.repeat(None, records.count, dtype=pl.Binary, eager=True), True
    if variable is not None:
        return _text(binary_series(variable.buffer, variable.starts, variable.lengths), channel), True
    if channel.data_type > _REAL_BE:
        size = channel.bit_count // 8 * channel.items
        starts = records.at + channel.byte_offset + np.arange(records.count, dtype=np.int64) * records.stride
        raw = binary_series(records.buffer, starts, np.full(records.count, size, np.int64))
        return _text(raw, channel), True
    values = raw_values(records, channel)
    if channel.conversion.kind == LINEAR:
        if (channel.conversion.factor, channel.conversion.offset) != (1.0, 0.0):
            values = values * channel.conversion.factor + channel.conversion.offset
    elif convert is not None:
        try:
            values = convert(values)
        except Exception:  # noqa: BLE001 - asammdf raises what its parsing happens to hit
            return _series(values), False
    return _series(values), True


def _series(values: Values) -> pl.Series:
    """Numbers or texts as a column; a matrix becomes lists."""
    if values.ndim > 1:
        array = pl.Series(np.ascontiguousarray(values))
        return array.cast(pl.List(array.dtype.inner))  # type: ignore[attr-defined] # an array's
    if values.dtype.kind == "S":
        return as_text(pl.Series(values.tolist(), dtype=pl.Binary))
    if values.dtype.kind in "OU":
        texts = [
            v.decode("utf-8", "replace") if isinstance(v, bytes) else None if v is None else str(v) for v in values
        ]
        return pl.Series(texts, dtype=pl.String)
    return pl.Series(values.astype(np.float32) if values.dtype == np.float16 else values)


def _text(raw: pl.Series, channel: Channel) -> pl.Series:
    """Bytes as text where the channel's type says that they are."""
    encoding = _ENCODINGS.get(channel.data_type)
    if encoding is None:
        return raw
    if encoding == "utf-8":
        return as_text(raw).str.split_exact("\0", 1).struct.field("field_0")
    return pl.Series([v.decode(encoding, "replace").split("\0", 1)[0] for v in raw], dtype=pl.String)


def _invalid(records: Records, channel: Channel, group: ChannelGroup) -> npt.NDArray[np.bool_] | None:
    """Which values the recorder marked as invalid, `None` for none."""
    if channel.flags & ALL_INVALID:
        return np.ones(records.count, np.bool_)
    byte = channel.invalid_bit // 8
    if not channel.flags & HAS_INVALID_BIT or byte >= group.invalid_bytes:
        return None
    at = records.at + group.data_bytes + byte
    marks = np.ndarray((records.count,), np.uint8, records.buffer, at, (records.stride,))
    return (marks >> np.uint8(channel.invalid_bit % 8) & np.uint8(1)).astype(np.bool_)


def concat_in_order(tables: Sequence[pl.DataFrame], positions: Sequence[I64]) -> pl.DataFrame:
    """Rows of several tables in the order of their positions."""
    filled = [(t, p) for t, p in zip(tables, positions, strict=True) if t.height]
    if len(filled) <= 1:
        return filled[0][0] if filled else tables[0]
    order = np.argsort(np.concatenate([p for _, p in filled]), kind="stable")
    return pl.concat([t for t, _ in filled])[order]
