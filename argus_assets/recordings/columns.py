"""From numpy arrays to the frame table, without copying payloads.

A payload column holds Arrow views (Arrow columnar format, "Variable-size Binary View Layout"): 16 bytes a row, with
short payloads inside the view and long ones left where they are in the decoder's buffer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from argus_assets.recordings.schema import FRAMES, KINDS

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

FD_LENGTHS: Final = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64])
"""Data bytes by DLC on CAN FD (ISO 11898-1:2015, table 5)."""

PADDING: Final = 16
"""Bytes that a payload buffer should have behind its last payload; without them it is copied."""

_INLINE: Final = 12
_BEFORE: Final = 4
"""Bytes of a view before its payload: the length."""

_KEPT: Final = (
    np.array([[*[0] * _BEFORE, *[0xFF] * n, *[0] * (_INLINE - n)] for n in range(_INLINE + 1)], np.uint8)
    .view("<u8")
    .T.copy()
)
"""Masks of the two halves of a view by the length of a short payload: what of it is the payload's own bytes."""

_KINDS: Final = pl.Series(KINDS, dtype=FRAMES.schema["kind"])
_UNKNOWN: Final = pl.Series([None], dtype=pl.Boolean())
_MAX_BUFFER: Final = 2**31 - 1


def rows_at(buffer: U8, positions: I64, size: int) -> U8:
    """Copy `size` bytes from each position: shape (len(positions), size). Positions must fit in the buffer."""
    if len(positions) == 0:
        return np.zeros((0, size), np.uint8)
    window = np.ndarray((len(buffer) - size + 1,), f"V{size}", buffer, strides=(1,))
    return window[positions].view(np.uint8).reshape(len(positions), size)


def gather(buffer: U8, starts: I64, sizes: I64) -> U8:
    """Concatenate `buffer[start : start + size]` of all rows."""
    total = int(sizes.sum())
    if total == 0:
        return np.zeros(0, np.uint8)
    ends = np.cumsum(sizes)
    index = np.arange(total, dtype=np.int64) - np.repeat(ends - sizes - starts, sizes)
    return buffer[index]


def binary_series(buffer: U8, starts: I64, lengths: I64) -> pl.Series:
    """Return a binary column of `buffer[start : start + length]` of each row; the buffer must not change afterwards.

    Args:
        buffer: Less than 2 GiB.
        starts: Shape (n,).
        lengths: Shape (n,).
    """
    n = len(starts)
    if n and max(int(starts.max()), _BEFORE) + _INLINE > len(buffer):
        buffer = np.concatenate([buffer, np.zeros(PADDING, np.uint8)])
    assert len(buffer) <= _MAX_BUFFER, "a view's offset has 31 bits"
    # The bytes before a payload are read with it, so that it lies where the view has it, and then masked away.
    if n and int(starts.min()) < _BEFORE:
        views = rows_at(buffer, np.maximum(starts - _BEFORE, 0), _BEFORE + _INLINE)
        for row in np.flatnonzero(starts < _BEFORE):
            views[row, _BEFORE:] = buffer[starts[row] : starts[row] + _INLINE]
    else:
        views = rows_at(buffer, starts - _BEFORE, _BEFORE + _INLINE)
    halves = views.view("<u8")
    kept = np.minimum(lengths, _INLINE)
    halves[:, 0] &= _KEPT[0][kept]
    halves[:, 1] &= _KEPT[1][kept]
    halves[:, 0] |= lengths.astype(np.uint64)
    long = np.flatnonzero(lengths > _INLINE)
    if len(long):
        halves[long, 1] = starts[long].astype(np.uint64) << np.uint64(32)  # in buffer 0, at this offset
    array = pa.Array.from_buffers(pa.binary_view(), n, [None, pa.py_buffer(views), pa.py_buffer(buffer)])
    return pl.Series(array)


def as_text(raw: pl.Series) -> pl.Series:
    """Return a binary column as text; bytes that are not UTF-8 are replaced by U+FFFD."""
    try:
        return raw.cast(pl.String)
    except pl.exceptions.PolarsError:
        return pl.Series([None if v is None else v.decode("utf-8", "replace") for v in raw], dtype=pl.String)


@dataclass(slots=True)
class FrameArrays:
    """The columns of some frames, each of shape (n,); see `schema.FRAMES` for their meaning.

    Attributes:
        channel: Index into `channels`.
        kind: Index into `schema.KINDS`; of one row where all have the same.
        is_bus: Rows that are frames of a bus; the others get nulls in its columns. `None` for all.
        is_rx: `None` where the format does not say.
        buffer: Holds all payloads, of less than 2 GiB.
        starts: Where each payload starts in `buffer`.
        lengths: Bytes of each payload.
    """

    timestamp_ns: I64
    channel: npt.NDArray[np.integer]
    channels: Sequence[str]
    kind: U8
    arbitration_id: U32
    is_extended_id: Flags
    is_fd: Flags
    is_remote_frame: Flags
    is_error_frame: Flags
    dlc: U8
    buffer: U8
    starts: I64
    lengths: I64
    is_rx: Flags | None = None
    is_bus: Flags | None = None
    flags: tuple[str, ...] = field(
        default=("is_extended_id", "is_fd", "is_remote_frame", "is_error_frame"), init=False, repr=False
    )

    def frame(self, first: int) -> pl.DataFrame:
        """Return the rows as `schema.FRAMES`, numbered from `first`."""
        n = len(self.timestamp_ns)
        all_bus = self.is_bus is None or bool(self.is_bus.all())
        values: dict[str, pl.Series] = {
            "frame": pl.Series(np.arange(first, first + n, dtype=np.uint64)),
            "timestamp": pl.Series(self.timestamp_ns).cast(FRAMES.schema["timestamp"]),
            "channel": pl.Series(self.channels, dtype=pl.Categorical())[pl.Series(self.channel)],
            "kind": _KINDS.new_from_index(int(self.kind[0]), n)
            if len(self.kind) == 1
            else _KINDS[pl.Series(self.kind)],
            "arbitration_id": pl.Series(self.arbitration_id),
            **{name: pl.Series(getattr(self, name)) for name in self.flags},
            "is_rx": _UNKNOWN.new_from_index(0, n) if self.is_rx is None else pl.Series(self.is_rx),
            "dlc": pl.Series(self.dlc),
            "payload": binary_series(self.buffer, self.starts, self.lengths),
        }
        made = pl.DataFrame({name: values[name] for name in FRAMES.schema.names()})
        if all_bus:
            return made
        bus = pl.Series(self.is_bus)
        null_elsewhere = ("arbitration_id", *self.flags, "is_rx", "dlc")
        return made.with_columns(pl.when(bus).then(pl.col(name)).alias(name) for name in null_elsewhere)


def empty_arrays(n: int) -> FrameArrays:
    """Return arrays of `n` rows to be filled: all zero, no payload."""

    def flags() -> Flags:
        return np.zeros(n, np.bool_)

    return FrameArrays(
        timestamp_ns=np.zeros(n, np.int64), channel=np.zeros(n, np.uint32), channels=[], kind=np.zeros(n, np.uint8),
        arbitration_id=np.zeros(n, np.uint32), is_extended_id=flags(), is_fd=flags(), is_remote_frame=flags(),
        is_error_frame=flags(), dlc=np.zeros(n, np.uint8), buffer=np.zeros(PADDING, np.uint8),
        starts=np.zeros(n, np.int64), lengths=np.zeros(n, np.int64),
    )  # fmt: skip
