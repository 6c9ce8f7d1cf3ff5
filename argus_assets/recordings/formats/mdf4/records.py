"""Records of an MDF 4 channel group as arrays: frames of a bus, or signals as typed columns. Pure; runs in any thread.

A bus-logging group has a channel `CAN_DataFrame`, `CAN_ErrorFrame`, `LIN_Frame` … whose parts are the fields of a
frame (ASAM MDF 4, associated standard "Bus Logging"). All other groups are signals.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from argus_assets.common.tables import TIMESTAMP
from argus_assets.recordings.can_errors import ERROR_BYTES, OVERLOAD, PROTOCOL, of_mdf4
from argus_assets.recordings.columns import FD_LENGTHS, I64, PADDING, U8, Flags, FrameArrays, as_text, binary_series
from argus_assets.recordings.formats.mdf4.blocks import (
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
from argus_assets.recordings.formats.mdf4.conversions import Conversion, Physical, Values
from argus_assets.recordings.schema import KINDS

SIGNALS: Final = "mdf4.signals"
"""Schema of the tables of signal groups."""

_UNSIGNED_LE, _UNSIGNED_BE, _SIGNED_LE, _SIGNED_BE, _REAL_LE, _REAL_BE = range(6)
_LATIN_1, _UTF_8, _UTF_16_LE, _UTF_16_BE = 6, 7, 8, 9
_BIG_ENDIAN: Final = (_UNSIGNED_BE, _SIGNED_BE, _REAL_BE)
_ENCODINGS: Final = {_LATIN_1: "latin-1", _UTF_8: "utf-8", _UTF_16_LE: "utf-16-le", _UTF_16_BE: "utf-16-be"}
_MAX_TIME_NS: Final = 2**62
_ROW_BYTES: Final = 64
"""Memory of a frame without its payload, and more than that of a row of signals without any."""

_VALUE_BYTES: Final = 16
"""Memory of a number and of its intermediate results."""

_TEXT_BYTES: Final = 64
"""Of a text or bytes, without their characters: making one takes the time of four numbers."""

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
    """Values of variable length: `buffer[start : start + length]` of each record.

    Attributes:
        missing: Records whose value could not be found, `None` for none.
    """

    buffer: U8
    starts: I64
    lengths: I64
    missing: Flags | None = None

    def part(self, taken: slice | I64 | Flags) -> "Variable":
        """Return the values of some of the records."""
        missing = None if self.missing is None else self.missing[taken]
        return Variable(self.buffer, self.starts[taken], self.lengths[taken], missing)


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a group's records.

    Attributes:
        event: Name of the bus event, `None` for signals.
        fields: Channels by the name of their field, or of their signal.
        variable: Those of them that are of variable length.
        convert: Conversions beyond a linear one, by the same names.
        convert_time: That of the master, if it has one beyond a linear one.
        row_bytes: Memory that the columns take for a record, less what is of variable length.
        steps: Columns and conversions, each of which takes its time for every run of records, however short.
    """

    group: ChannelGroup
    master: Channel | None
    event: str | None
    fields: Mapping[str, Channel]
    variable: tuple[str, ...]
    convert: Mapping[str, Conversion] = field(default_factory=dict)
    convert_time: Conversion | None = None
    row_bytes: int = 0
    steps: int = 0

    @property
    def topic(self) -> str:
        """Name of the group."""
        return self.group.name or self.group.source or f"group {self.group.number}"


def layout_of(
    group: ChannelGroup, convert_of: Callable[[Channel], Conversion | None], take: Callable[[str, int], bool]
) -> tuple[Layout, list[str]]:
    """Return the layout of a group, and the names of its unreadable channels.

    Args:
        group: A group with channels.
        convert_of: Finds the conversion of a channel that has one which is neither none nor linear.
        take: Returns whether a column of this name may follow so many others.
    """
    master = next((c for c in group.channels if c.type in (CHANNEL_MASTER, CHANNEL_VIRTUAL_MASTER)), None)
    names = {c.name for c in group.channels}
    event = next((name for name in _BUS_EVENTS if name in names), None)
    # Frames of a bus have no other master than time, even if damage changed its kind.
    if master is not None and ((master.sync != SYNC_TIME and event is None) or not _is_number(master, group)):
        master = None
    fields: dict[str, Channel] = {}
    convert: dict[str, Conversion] = {}
    unread: list[str] = []
    following: dict[str, int] = {}
    for channel in group.channels:
        if channel is master or channel.is_structure:
            continue
        name = channel.name
        if event is not None:
            prefix, _, name = name.rpartition(".")
            if prefix != event:
                continue
        elif name in ("", "frame", "timestamp") or name in fields:
            base, number = name, following.get(name, 2)
            while (name := f"{base}#{number}") in fields:
                number += 1
            following[base] = number + 1
        if not _fits(channel, group):
            unread.append(channel.name)
            continue
        if event is None and not take(name, len(fields)):
            continue
        fields[name] = channel
        if event is None and (found := convert_of(channel)) is not None:
            convert[name] = found
    variable = tuple(name for name, c in fields.items() if c.type == CHANNEL_VLSD and c.data)
    convert_time = None if master is None else convert_of(master)
    row_bytes, steps = _ROW_BYTES, 1
    if event is None:
        for name, channel in fields.items():
            conversion = convert.get(name)
            row_bytes += _column_bytes(channel) + (conversion.row_bytes * channel.values if conversion else 0)
            steps += 1 + (conversion.steps if conversion else 0)
    return Layout(group, master, event, fields, variable, convert, convert_time, row_bytes, steps), unread


def _column_bytes(channel: Channel) -> int:
    """Return the memory of one value of a channel in a column, or its cost in time where that is more."""
    if not is_text(channel) and not is_bytes(channel):
        return _VALUE_BYTES * channel.values
    size = 0 if channel.type == CHANNEL_VLSD else (1 + channel.bit_count // 8) * channel.items
    return _TEXT_BYTES + size * (1 if channel.data_type == _UTF_8 else 2)  # as UTF-8


def _is_number(channel: Channel, group: ChannelGroup) -> bool:
    """Return whether a channel has one number for each record."""
    return _fits(channel, group) and channel.values == 1 and (channel.data_type <= _REAL_BE or channel.is_virtual)


def _fits(channel: Channel, group: ChannelGroup) -> bool:
    """Return whether a channel's values are inside the record, and of a known size."""
    if channel.is_virtual:
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
    if (channel.data_type <= _SIGNED_BE or channel.type == CHANNEL_VLSD) and bits > 64:
        return False
    if channel.type == CHANNEL_VLSD and channel.items > 1:
        return False
    return channel.byte_offset + (bits + 7) // 8 * channel.items <= group.data_bytes


# ---------------------------------------------------------------------------------------------- values


def raw_values(records: Records, channel: Channel) -> Values:
    """Return the raw numbers of a channel: shape (count,), or (count, items) of an array."""
    n = records.count
    if channel.is_virtual:
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


def _times_ns(records: Records, layout: Layout, start_ns: int) -> tuple[I64, int]:
    """Return nanoseconds since 1970 UTC, and how many times are invalid (they get the start of the file)."""
    master = layout.master
    if master is None:
        return np.full(records.count, start_ns, np.int64), 0
    raw = raw_values(records, master)
    if layout.convert_time is not None:
        raw = np.asarray(layout.convert_time.apply(raw))
    scaling = master.scaling
    factor, offset = (scaling.factor, scaling.offset) if scaling.kind == LINEAR else (1.0, 0.0)
    steps = factor * 1e9
    if raw.dtype.kind in "iu" and offset == 0 and 1 <= steps <= 1e9 and abs(steps - round(steps)) < 1e-6:
        # Whole nanoseconds: no float in between.
        max_raw = _MAX_TIME_NS // round(steps)
        bad = (raw > max_raw) | (raw < -max_raw) if raw.dtype.kind == "i" else raw > max_raw
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
    """

    table: pl.DataFrame
    first_ns: int
    last_ns: int
    bad_times: int
    channels: dict[tuple[str, str], int] = field(default_factory=dict)


def bus_frames(records: Records, layout: Layout, start_ns: int, variable: Mapping[str, Variable]) -> Rows:
    """Return the frames of a bus-logging group. There must be some; they must be less than 2 GiB."""
    assert layout.event is not None
    n = records.count
    kind, is_error, is_remote = _BUS_EVENTS[layout.event]
    fields = layout.fields
    times, bad_times = _times_ns(records, layout, start_ns)

    def numbers(name: str) -> Values | None:
        channel = fields.get(name)
        if channel is None or channel.type == CHANNEL_VLSD or channel.data_type > _SIGNED_BE or channel.items > 1:
            return None
        found = raw_values(records, channel)
        if channel.type == CHANNEL_VIRTUAL and channel.scaling.kind == LINEAR:
            # A virtual channel's raw value is the number of its record; its conversion makes the value of it.
            with np.errstate(all="ignore"):
                value = np.rint(found * channel.scaling.factor + channel.scaling.offset)
            found = np.where(np.abs(value) < _MAX_TIME_NS, value, 0).astype(np.int64)
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
        max_lengths: I64 | int = 0
    elif "DataBytes" in variable:
        value = variable["DataBytes"]
        buffer, starts, max_lengths = value.buffer, value.starts, value.lengths
        room = int(value.lengths.max()) if n else 0
    else:
        max_lengths = room = payload.bit_count * payload.items // 8
        buffer = records.buffer
        first = records.at + payload.byte_offset
        starts = np.arange(first, first + n * records.stride, records.stride, dtype=np.int64)
    if length is None and found_dlc is not None:
        length = FD_LENGTHS[np.clip(found_dlc.astype(np.int64), 0, 15)]
    lengths = np.minimum(np.full(n, room, np.int64) if length is None else length.astype(np.int64), max_lengths)
    lengths = np.maximum(lengths, 0)
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
    """Return the class bits of CAN error frames, and a buffer of their payloads. The identifier is that of the frame they broke."""
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
    """Return the physical values of a signal group: `frame` (null), `timestamp`, and a column for each channel."""
    times, bad_times = _times_ns(records, layout, start_ns)
    columns: dict[str, pl.Series] = {
        "frame": pl.repeat(None, records.count, dtype=pl.UInt64, eager=True),
        "timestamp": pl.Series(times).cast(TIMESTAMP),
    }
    for name, channel in layout.fields.items():
        series = _signal(records, channel, variable.get(name), layout.convert.get(name))
        invalid = _invalid(records, channel, layout.group)
        columns[name] = series if invalid is None else series.set(pl.Series(invalid), None)
    table = pl.DataFrame(columns)
    return Rows(table, int(times.min()), int(times.max()), bad_times)


def is_text(channel: Channel) -> bool:
    """Return whether the raw values of a channel are texts."""
    return channel.data_type in _ENCODINGS and not channel.is_virtual


def is_bytes(channel: Channel) -> bool:
    """Return whether the raw values of a channel are bytes."""
    return (
        (channel.data_type > _REAL_BE or channel.type == CHANNEL_VLSD)
        and not channel.is_virtual
        and not is_text(channel)
    )


def _signal(records: Records, channel: Channel, variable: Variable | None, conversion: Conversion | None) -> pl.Series:
    if is_text(channel) or is_bytes(channel):
        texts = _text(_raw_bytes(records, channel, variable), channel)
        return texts if conversion is None else _series(conversion.apply(texts))
    values = raw_values(records, channel)
    with np.errstate(all="ignore"):
        if channel.scaling.kind == LINEAR:
            if not channel.scaling.is_identity:
                values = values * channel.scaling.factor + channel.scaling.offset
        elif conversion is not None:
            physical = conversion.apply(values.reshape(-1))
            if isinstance(physical, np.ndarray):
                values = physical.reshape(values.shape)
            elif values.ndim == 1:
                return physical
            else:
                return physical.reshape(values.shape).arr.to_list()
    return _series(values)


def _raw_bytes(records: Records, channel: Channel, variable: Variable | None) -> pl.Series:
    if channel.type == CHANNEL_VLSD:
        if variable is None:
            return pl.repeat(None, records.count, dtype=pl.Binary, eager=True)
        series = binary_series(variable.buffer, variable.starts, variable.lengths)
        return series if variable.missing is None else series.set(pl.Series(variable.missing), None)
    size = channel.bit_count // 8 * channel.items
    starts = records.at + channel.byte_offset + np.arange(records.count, dtype=np.int64) * records.stride
    return binary_series(records.buffer, starts, np.full(records.count, size, np.int64))


def _series(values: Physical) -> pl.Series:
    """Return numbers or texts as a column; a matrix becomes lists."""
    if isinstance(values, pl.Series):
        return values
    if values.ndim > 1:
        array = pl.Series(np.ascontiguousarray(values))
        return array.cast(pl.List(array.dtype.inner))  # type: ignore[attr-defined] # an array's
    return pl.Series(values.astype(np.float32) if values.dtype == np.float16 else values)


def _text(raw: pl.Series, channel: Channel) -> pl.Series:
    """Decode bytes as text by the channel's type."""
    encoding = _ENCODINGS.get(channel.data_type)
    if encoding is None:
        return raw
    if encoding == "utf-8":
        return as_text(raw).str.split_exact("\0", 1).struct.field("field_0")
    return pl.Series(
        [None if v is None else v.decode(encoding, "replace").split("\0", 1)[0] for v in raw], dtype=pl.String
    )


def _invalid(records: Records, channel: Channel, group: ChannelGroup) -> npt.NDArray[np.bool_] | None:
    """Return which values the recorder marked as invalid, `None` for none."""
    if channel.flags & ALL_INVALID:
        return np.ones(records.count, np.bool_)
    byte = channel.invalid_bit // 8
    if not channel.flags & HAS_INVALID_BIT or byte >= group.invalid_bytes:
        return None
    at = records.at + group.data_bytes + byte
    marks = np.ndarray((records.count,), np.uint8, records.buffer, at, (records.stride,))
    return (marks >> np.uint8(channel.invalid_bit % 8) & np.uint8(1)).astype(np.bool_)


def concat_in_order(tables: Sequence[pl.DataFrame], positions: Sequence[I64]) -> pl.DataFrame:
    """Return the rows of several tables in the order of their positions."""
    filled = [(t, p) for t, p in zip(tables, positions, strict=True) if t.height]
    if len(filled) <= 1:
        return filled[0][0] if filled else tables[0]
    order = np.argsort(np.concatenate([p for _, p in filled]), kind="stable")
    return pl.concat([t for t, _ in filled])[order]
