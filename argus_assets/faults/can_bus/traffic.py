"""One pass over all frames of a drive: when each identifier was heard, how far apart, and how much each channel carried.

Memory follows the number of identifiers and the length of the drive, not the number of frames: frames come in batches
without their payloads, and recordings may come in any order and overlap.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from argus_assets.faults.can_bus.bit_timing import fastest_frames
from argus_assets.faults.can_frames import PROVENANCE
from argus_assets.recordings.drive import Drive
from argus_assets.recordings.schema import FRAMES

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

PAUSE_NS: Final = 1_000_000_000
"""Shorter pauses count as presence."""

BATCH_FRAMES: Final = 500_000
_SAMPLE_FRAMES: Final = 5_000
"""Of each batch, for the bit rate."""

_SECOND_NS: Final = 1_000_000_000

IDENTIFIER: Final = (
    "channel",
    "kind",
    "is_error_frame",
    "is_remote_frame",
    "is_rx",
    "is_extended_id",
    "arbitration_id",
)
"""Columns that distinguish frames: all but data and time. A topic that is no bus has nulls in them."""

_SHAPE: Final = ("is_fd", "dlc")

_CLASS_SHIFT: Final = 19
"""Bits of a float32 that are dropped for its size class, so that each octave has 16 classes."""
_SMALLEST_NS: Final = 1 << 10
_MAX_COUNTED_GROUPS: Final = 4096
"""Identifiers up to which each size class of each has a counter of its own."""
_FIRST_CLASS: Final = int(np.float32(_SMALLEST_NS).view(np.int32) >> _CLASS_SHIFT)
CLASSES: Final = (64 - 10) * 16
"""Number of size classes of time: logarithmic, each 4 to 6 % wide, the first up to about a microsecond."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Traffic of a drive. Times are in nanoseconds since 1970 UTC.

    Attributes:
        presence: Stretches without a pause of more than `PAUSE_NS`: `IDENTIFIER`, start, end, frames, and recording and
            frame of the last one.
        spacing: Times between frames of one identifier by size class: `IDENTIFIER`, size_class, count, total_ns.
        seconds: Frames of one shape in each second: channel, kind, is_error_frame, is_remote_frame, is_extended_id,
            is_fd, dlc, second (since 1970), frames.
        fastest: Bit rates at which frames followed each other, of a sample: channel, kbps, windows.
    """

    presence: pl.DataFrame
    spacing: pl.DataFrame
    seconds: pl.DataFrame
    fastest: pl.DataFrame


def read_traffic(drive: Drive) -> Traffic:
    """Read the frames of a drive once."""
    narrow = drive.frames.select(
        "recording", "channel", "frame", pl.col("timestamp").to_physical(), *IDENTIFIER[1:], *_SHAPE, packed=_packed()
    )
    return summarise(narrow.collect_batches(chunk_size=BATCH_FRAMES, maintain_order=True))


def _packed() -> pl.Expr:
    """Return all that distinguishes frames, but for the channel, as one number: grouping by it is fast."""
    shift = 29
    packed = pl.col("arbitration_id").fill_null(0).cast(pl.UInt64)
    for name, bits in (*((n, 2) for n in (*IDENTIFIER[2:6], "is_fd")), ("kind", 8), ("dlc", 8)):
        packed += (pl.col(name).to_physical().cast(pl.UInt64) + 1).fill_null(0) * 2**shift
        shift += bits
    return packed


def summarise(batches: Iterable[pl.DataFrame]) -> Traffic:
    """Summarise frames that come in batches.

    Args:
        batches: `recordings.schema.FRAMES` without payload, with `recording` and `packed`; timestamp as Int64.
    """
    parts = [_summary(pl.DataFrame(schema=_BATCH)), *(part for batch in batches for part in _summaries(batch))]
    stretches = pl.concat([p.presence for p in parts])
    between = (
        stretches.sort(*IDENTIFIER, "start", "end")
        .with_columns(
            total_ns=pl.col("start") - pl.col("end").cum_max().shift(1).over(IDENTIFIER), count=pl.lit(1, pl.Int64)
        )
        .filter(pl.col("total_ns") > 0)
    )
    within = [p.spacing for p in parts]
    across = between.with_columns(size_class=pl.Series(size_class(between["total_ns"].to_numpy()), dtype=pl.Int64))
    spacing = (
        pl.concat([*within, across.select(within[0].columns)]).group_by(*IDENTIFIER, "size_class").agg(pl.all().sum())
    )
    seconds = pl.concat([p.seconds for p in parts])
    seconds = seconds.group_by(pl.exclude("frames")).agg(pl.all().sum())
    return Traffic(join_presence(stretches, IDENTIFIER), spacing, seconds, pl.concat([p.fastest for p in parts]))


def join_presence(stretches: pl.DataFrame, of: Iterable[str]) -> pl.DataFrame:
    """Join stretches of the same `of` whose pause is not longer than `PAUSE_NS`; overlaps are joined too.

    A pause that no stretch interrupts is a pause of all of them, so joined stretches of several identifiers or
    recordings are those of their union.

    Args:
        stretches: Columns `of`, start, end, frames, recording, frame.
        of: What is joined.

    Returns:
        The same columns, ordered by `of` and start.
    """
    keys = list(of)
    return (
        stretches.sort(*keys, "start", "end", nulls_last=True)
        .with_columns(before=pl.col("end").cum_max().shift(1).over(keys))
        .with_columns(number=((pl.col("start") - pl.col("before")) > PAUSE_NS).fill_null(value=True).cum_sum())
        # The last frame is that of the stretch that ends last.
        .sort("number", "end", maintain_order=True)
        .group_by("number", maintain_order=True)
        .agg(
            pl.col(keys).first(),
            pl.col("start").min(),
            pl.col("end").last(),
            pl.col("frames").sum(),
            pl.col(PROVENANCE).last(),
        )
        .drop("number")
    )


def size_class(spans_ns: I64) -> npt.NDArray[np.int32]:
    """Return the size class of times in nanoseconds, 0 to `CLASSES` - 1."""
    classes = spans_ns.astype(np.float32).view(np.int32) >> _CLASS_SHIFT
    return np.clip(classes - _FIRST_CLASS, 0, CLASSES - 1)


_BATCH: Final = pl.Schema(
    {
        "recording": pl.String(),
        **{name: FRAMES.schema[name] for name in ("channel", "frame", *IDENTIFIER[1:], *_SHAPE)},
        "timestamp": pl.Int64(),
        "packed": pl.UInt64(),
    }
)


def _summaries(batch: pl.DataFrame) -> Iterator[Traffic]:
    """Summarise each recording in a batch."""
    if batch.height and batch["recording"][0] == batch["recording"][-1]:
        yield _summary(batch)  # recordings follow one another
    else:
        yield from map(_summary, batch.partition_by("recording"))


def _summary(batch: pl.DataFrame) -> Traffic:
    rows_of = batch.select("channel", "packed").with_row_index().group_by("channel", "packed").agg("index")["index"]
    lengths = rows_of.list.len().to_numpy().astype(np.int64)
    rows = rows_of.explode(empty_as_null=False).to_numpy()
    times = batch["timestamp"].to_numpy()[rows]
    steps = np.diff(times)
    same = np.ones(len(steps), np.bool_)
    same[np.cumsum(lengths)[:-1] - 1] = False
    if np.any(steps[same] < 0):
        return _summary(batch.sort("timestamp"))
    group = np.repeat(np.arange(len(lengths)), lengths)
    first = rows[np.cumsum(lengths) - lengths]
    groups = batch[first].with_columns(pl.col("channel", "kind").cast(pl.String))
    near = same & (steps <= PAUSE_NS)
    return Traffic(
        _presence(times, near, groups.drop("frame"), group, batch["frame"].to_numpy()[rows]),
        count_spacing(steps[near], group[1:][near], groups),
        _seconds(times, same, groups, group),
        fastest_frames(batch.head(_SAMPLE_FRAMES)),
    )


def _presence(times: I64, near: Flags, groups: pl.DataFrame, group: I64, numbers: U64) -> pl.DataFrame:
    ends = np.append(np.flatnonzero(~near), len(times) - 1) if len(times) else np.zeros(0, np.int64)
    starts = np.append(0, ends[:-1] + 1)[: len(ends)]
    return groups[group[ends]].select(
        *IDENTIFIER,
        start=pl.Series(times[starts]),
        end=pl.Series(times[ends]),
        frames=pl.Series(ends - starts + 1),
        recording="recording",
        frame=pl.Series(numbers[ends]),
    )


def count_spacing(
    steps: I64, group: I64, groups: pl.DataFrame, *, max_counted_groups: int = _MAX_COUNTED_GROUPS
) -> pl.DataFrame:
    """Count the times between frames by identifier and size class.

    Args:
        steps: Times, nanoseconds.
        group: Row in `groups` of each.
        groups: The identifiers.
        max_counted_groups: Identifiers up to which each size class of each has a counter of its own.

    Returns:
        `Traffic.spacing`.
    """
    slots = group * CLASSES + size_class(steps)
    used: I64 | None = None
    if groups.height > max_counted_groups:  # one counter for each class of each would be more than there are frames
        used, slots = np.unique(slots, return_inverse=True)
    counts = np.bincount(slots, minlength=1)
    total_ns = np.bincount(slots, weights=steps, minlength=1).astype(np.int64)
    counted = np.flatnonzero(counts)
    filled = counted if used is None else used
    return groups[filled // CLASSES].select(
        *IDENTIFIER,
        size_class=pl.Series(filled % CLASSES),
        count=pl.Series(counts[counted]),
        total_ns=pl.Series(total_ns[counted]),
    )


def _seconds(times: I64, same: Flags, groups: pl.DataFrame, group: I64) -> pl.DataFrame:
    origin = int(times[0]) // _SECOND_NS if len(times) else 0
    # Floats divide faster than integers; what they lose, up to nanoseconds, moves no frame that counts.
    second = np.floor((times - origin * _SECOND_NS) * 1e-9).astype(np.int64)
    changes = np.flatnonzero(~same | (second[1:] != second[:-1]))
    lasts = np.append(changes, len(times) - 1) if len(times) else changes
    shape = [name for name in (*IDENTIFIER, *_SHAPE) if name not in ("arbitration_id", "is_rx")]
    return (
        groups[group[lasts]]
        .select(*shape, second=pl.Series(second[lasts] + origin), frames=pl.Series(np.diff(lasts, prepend=-1)))
        .group_by(*shape, "second")
        .agg(pl.all().sum())
    )
