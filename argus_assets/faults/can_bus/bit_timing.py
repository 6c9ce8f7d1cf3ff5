"""Time that CAN frames take on the bus, and an estimate of the bit rate that a recording does not state.

Bits of a frame count from its start to the end of the intermission that follows it. How many stuff bits there are
depends on the data. The worst case and the layout of classic frames are those of Davis, Burns, Bril and Lukkien, "Controller
Area Network (CAN) schedulability analysis: Refuted, revisited and revised" (2007), equation 1; CAN FD frames are laid out
as in ISO 11898-1:2015, 10.4. Random data need one stuff bit in 30 bits on average: a run of four more equal bits behind
the one that a stuff bit starts takes 2 + 4 + 8 + 16 bits.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from argus_assets.recordings.columns import FD_LENGTHS

STANDARD_KBPS: Final = (250, 500, 1000)
"""The usual bit rates of vehicles: 250 and 500 on J1939 (SAE J1939-11, -14) and for diagnostics (ISO 15765-4)."""

USUAL_FD_RATIO: Final = 4
"""Data bit rate over nominal bit rate of CAN FD, where nobody states it: 2 Mbit/s with 500 kbit/s."""

_WINDOW: Final = 3
_MIN_WINDOWS: Final = 200
_QUANTILE: Final = 0.995
"""A bit rate shows where frames follow each other without a pause: in the fastest half percent of some hundred windows of a
few frames, which is more than a slip of the clock."""

_TOLERANCE: Final = 0.1
"""Stuff bits that are fewer than estimated, and timestamps that are rounded."""

_MEAN_STUFFING: Final = 1 / 30
_WORST_STUFFING: Final = 1 / 4


@dataclass(frozen=True, slots=True)
class BitRate:
    """Bit rates of a channel, kbit/s.

    Attributes:
        kbps: Nominal.
        data_kbps: Of the data phase of CAN FD; `None` for the usual ratio.
    """

    kbps: float
    data_kbps: float | None = None


@dataclass(frozen=True, slots=True)
class Bits:
    """Bits of a frame, at the nominal and at the data bit rate, by stuffing."""

    nominal: pl.Expr
    data: pl.Expr

    def seconds(self, kbps: pl.Expr, data_kbps: pl.Expr) -> pl.Expr:
        """Return the time on the bus, seconds."""
        return self.nominal / (kbps * 1000) + self.data / (data_kbps * 1000)


def frame_bits(*, worst: bool = False) -> Bits:
    """Return the bits of a frame, as expressions over is_extended_id, is_fd, is_remote_frame and dlc.

    The bit rate switch is not recorded: CAN FD frames are taken to use it.

    Args:
        worst: With as many stuff bits as can be, instead of those of random data.
    """
    stuffing = _WORST_STUFFING if worst else _MEAN_STUFFING
    extended = pl.col("is_extended_id").fill_null(value=False)
    code = pl.min_horizontal(pl.col("dlc").fill_null(0), 15)
    remote = pl.col("is_remote_frame").fill_null(value=False)

    def stuffed(bits: pl.Expr) -> pl.Expr:
        return bits + ((bits - 1) * stuffing).floor() if worst else bits + (bits - 1) * stuffing

    # Start, identifier, control, data and CRC are stuffed; delimiters, acknowledge, end and intermission are not.
    size = 8 * pl.when(remote).then(0).otherwise(pl.min_horizontal(code, 8)).cast(pl.Int64)
    classic = stuffed(pl.when(extended).then(54).otherwise(34) + size) + 13
    lengths = dict(enumerate(FD_LENGTHS.tolist()))
    fd_size = 8 * code.replace_strict(lengths, return_dtype=pl.Int64)
    head = stuffed(pl.when(extended).then(36).otherwise(17).cast(pl.Int64)) + 12
    # Stuff count, CRC of 17 or (above 16 bytes) 21 bits with fixed stuff bits, and the delimiter.
    data = stuffed(5 + fd_size) + pl.when(fd_size > 128).then(33).otherwise(28)
    fd = pl.col("is_fd").fill_null(value=False)
    return Bits(pl.when(fd).then(head).otherwise(classic), pl.when(fd).then(data).otherwise(0.0))


def fastest_frames(frames: pl.DataFrame) -> pl.DataFrame:
    """Measure the bit rate at which the frames of each channel follow each other where they do so most closely.

    Args:
        frames: channel, kind, timestamp (Int64, nanoseconds) and what `frame_bits` takes.

    Returns:
        channel (String), kbps, windows (how many there were).
    """
    classic = ~pl.col("is_fd").fill_null(value=False) & ~pl.col("is_error_frame").fill_null(value=False)
    bits = pl.when(classic).then(frame_bits().nominal)
    ordered = frames.filter(pl.col("kind") == "can").with_columns(pl.col("channel").cast(pl.String), bits=bits)
    span = pl.col("timestamp").diff(_WINDOW).over("channel")
    # Timestamps are those of the ends of frames, so the first one of a window only marks its start.
    kbps = pl.col("bits").rolling_sum(_WINDOW).over("channel") / span * 1e6
    rates = ordered.sort("channel", "timestamp").select("channel", kbps=pl.when(span > 0).then(kbps)).drop_nulls()
    return rates.group_by("channel").agg(pl.col("kbps").quantile(_QUANTILE), windows=pl.len())


def estimated_kbps(fastest: float | None, windows: int, busiest_kbit: float) -> int:
    """Return the standard bit rate that fits a channel.

    It is the smallest that is not slower than frames followed each other. Timestamps of a computer that takes frames in
    bursts reveal no bit rate; then it is the smallest one that the busiest second fits into.

    Args:
        fastest: `kbps` of `fastest_frames`.
        windows: `windows` of `fastest_frames`.
        busiest_kbit: Bits of the busiest second, in thousands.
    """
    shown = fastest or 0.0
    if windows < _MIN_WINDOWS or shown * (1 - _TOLERANCE) > STANDARD_KBPS[-1]:
        shown = 0.0
    minimum = max(shown * (1 - _TOLERANCE), busiest_kbit)
    return next((rate for rate in STANDARD_KBPS if rate > minimum), STANDARD_KBPS[-1])
