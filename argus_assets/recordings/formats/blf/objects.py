"""Objects of a BLF stream as arrays: where they are, which follow each other, and the frames that they hold."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from argus_assets.recordings.can_errors import ERROR_BYTES, of_vector
from argus_assets.recordings.columns import (
    FD_LENGTHS,
    I64,
    PADDING,
    U8,
    Flags,
    FrameArrays,
    empty_arrays,
    rows_at,
)
from argus_assets.recordings.ethernet.segments import ETHERNET_HEADER, Found, Frames, find_segments
from argus_assets.recordings.formats.blf import layout
from argus_assets.recordings.formats.blf.layout import BASE, ObjectType
from argus_assets.recordings.schema import FRAMES, KINDS

MAX_OBJECT_BYTES: Final = 16 * 1024**2
PADDING_SEARCH: Final = 8
"""Padding depends on the object's type and on who wrote it: the next object starts within so many bytes."""

MAX_TIME_NS: Final = 2**62
_SOCKETCAN_BYTES: Final = layout.CAN_ERROR_EXT_DATA_AT + ERROR_BYTES
"""Of the body of a CAN_ERROR_EXT with data bytes."""


@dataclass(frozen=True, slots=True)
class Objects:
    """Every place that could be an object; one that is damaged may seem to hold others.

    Attributes:
        places: Offset of each, ascending.
        ends: Where each ends, beyond the buffer for one that is not complete.
        kinds: Object type of each.
        size: Bytes of the buffer.
    """

    places: I64
    ends: I64
    kinds: np.ndarray
    size: int

    def walk(self, *, is_lost: bool) -> I64 | slice:
        """Return the indices of the complete objects that follow each other.

        Where no object follows, the next complete one is taken. One that is not complete is the end.

        Args:
            is_lost: No object is known to start at the start of the buffer.
        """
        n = len(self.places)
        complete = np.flatnonzero(self.ends <= self.size)
        if not len(complete):
            return slice(0)
        is_start = not is_lost and self.places[0] < PADDING_SEARCH
        start = 0 if is_start else int(complete[0])
        if (self.ends[start:-1] <= self.places[start + 1 :]).all():
            # None is inside of another.
            return slice(start, n if self.ends[-1] <= self.size else n - 1)
        following = np.searchsorted(self.places, self.ends)
        gaps = np.append(self.places, self.size + PADDING_SEARCH + 1)[following] - self.ends
        resumed = np.append(complete, n)[np.searchsorted(complete, following)]
        steps = np.where(gaps < PADDING_SEARCH, following, resumed).tolist()
        taken: list[int] = []
        at = start
        while at < n:
            taken.append(at)
            at = steps[at]
        walked = np.array(taken, np.int64)
        return walked[:-1] if self.ends[walked[-1]] > self.size else walked

    def rest(self, at: int) -> int:
        """Return where the first incomplete object may start, behind the objects that end at `at`."""
        first = int(np.searchsorted(self.places, at))
        incomplete = np.flatnonzero(self.ends[first:] > self.size)
        candidate = int(self.places[first + incomplete[0]]) if len(incomplete) else self.size
        return min(candidate, max(at, self.size - BASE.size + 1))


def find_objects(buffer: U8, breaks: I64) -> Objects:
    """Find every offset that could be an object; none of them reaches over a break."""
    places = np.flatnonzero(buffer[: max(0, len(buffer) - BASE.size + 1)] == ord("L"))
    places = places[buffer[places + 3] == ord("J")]
    heads = rows_at(buffer, places, BASE.size).view("<u4").reshape(-1, 4)
    sizes = heads[:, 2].astype(np.int64)
    fits = (heads[:, 0] == layout.OBJECT_SIGNATURE) & (sizes >= BASE.size) & (sizes <= MAX_OBJECT_BYTES)
    ends = places + sizes
    if len(breaks):
        next_break = np.append(breaks, np.iinfo(np.int64).max)[np.searchsorted(breaks, places, side="right")]
        fits &= ends <= next_break
    return Objects(places[fits], ends[fits], heads[fits, 3], len(buffer))


@dataclass(frozen=True, slots=True)
class Located:
    """Frames to be decoded.

    Attributes:
        data: Bytes that hold them.
        places: Of the objects in these, in their order.
        heads: Of the objects.
        start_ns: Time from which theirs count.
        first: Number of the first frame.
        at: Where in the file they are.
    """

    data: bytes
    places: I64
    heads: np.ndarray
    start_ns: int
    first: int
    at: int


@dataclass(slots=True)
class DecodedObjects:
    """Frames of some objects.

    Attributes:
        frames: `schema.FRAMES`.
        channels: Frames by channel and kind.
        disagreeing: Frames whose number of data bytes contradicts their DLC.
        bad_times: Frames with an invalid time.
        at: Where in the file they are.
        held_bytes: Memory that their payloads keep.
        objects: Number of the object of each frame.
        ethernet: What objects of Ethernet frames hold.
        names: Channels of these.
    """

    frames: pl.DataFrame
    channels: dict[tuple[str, str], int]
    disagreeing: int
    bad_times: int
    at: int
    held_bytes: int
    objects: I64
    ethernet: Found = field(default_factory=Found)
    names: list[str] = field(default_factory=list)


def decode_objects(located: Located) -> DecodedObjects:
    """Decode located objects into frames; those of Ethernet into segments."""
    buffer = np.frombuffer(located.data + bytes(PADDING + layout.MAX_BODY_BYTES), np.uint8)
    is_ethernet = np.isin(located.heads["type"], layout.ETHERNET_TYPES)
    if not is_ethernet.any():
        return _decode_frames(located, buffer, np.arange(len(located.places)))
    others = np.flatnonzero(~is_ethernet)
    decoded = _decode_frames(located, buffer, others)
    decoded.ethernet, decoded.names = _find_ethernet(located, buffer, np.flatnonzero(is_ethernet))
    return decoded


def _times_ns(heads: np.ndarray, start_ns: int) -> tuple[I64, Flags]:
    """Return the times of objects, and which of them are none."""
    stamps = heads["timestamp"]
    unit = np.where(heads["flags"] == layout.TIME_TEN_MICS, np.uint64(10_000), np.uint64(1))
    bad = stamps > np.uint64(MAX_TIME_NS) // unit
    return start_ns + np.where(bad, 0, stamps * unit).astype(np.int64), bad


def _bodies(places: I64, heads: np.ndarray) -> I64:
    """Return where the bodies of objects start, behind both headers."""
    return places + np.where(heads["header_version"] == 2, layout.HEADER_BYTES[2], layout.HEADER_BYTES[1])


def _find_ethernet(located: Located, buffer: U8, rows: I64) -> tuple[Found, list[str]]:
    """Find the segments in objects of Ethernet frames."""
    heads = located.heads[rows]
    bodies, ends = _bodies(located.places[rows], heads), located.places[rows] + heads["size"]
    starts = np.minimum(bodies + layout.ETHERNET_FRAME.itemsize, ends)
    raw = rows_at(buffer, bodies, layout.ETHERNET_FRAME.itemsize)
    is_old = heads["type"] == ObjectType.ETHERNET_FRAME
    old, new = (raw.view(t).reshape(-1) for t in (layout.ETHERNET_FRAME, layout.ETHERNET_FRAME_EX))
    lengths = np.where(is_old, old["length"], new["length"]).astype(np.int64)
    numbers, channel = np.unique(np.where(is_old, old["channel"], new["channel"]), return_inverse=True)
    protocols = np.where(is_old, old["type"].astype(np.int64), ETHERNET_HEADER)
    times, _ = _times_ns(heads, located.start_ns)
    frames = Frames(
        buffer, starts, np.minimum(lengths, ends - starts), protocols, times, channel.reshape(-1).astype(np.int64), rows
    )
    return find_segments(frames), [f"ETH{number}" for number in numbers.tolist()]


def _decode_frames(located: Located, buffer: U8, rows: I64) -> DecodedObjects:
    places, heads = located.places[rows], located.heads[rows]
    n = len(places)
    if not n:
        return DecodedObjects(FRAMES.empty(), {}, 0, 0, located.at, 0, rows)
    arrays = empty_arrays(n)
    arrays.buffer = buffer
    arrays.timestamp_ns, bad_times = _times_ns(heads, located.start_ns)
    arrays.is_rx = np.ones(n, np.bool_)
    channel = np.zeros(n, np.int64)
    body_at = _bodies(places, heads)
    ends = places + heads["size"]
    types = heads["type"]
    disagreeing = 0
    arrays.kind[:] = KINDS.index("can")
    for kind in np.unique(types).tolist():
        of_type = np.flatnonzero(types == kind)
        disagreeing += _decode_type(kind, of_type, body_at[of_type], ends[of_type], arrays, channel)
    lin = arrays.kind == KINDS.index("lin")
    numbers = np.unique(channel * 2 + lin)
    lookup = np.searchsorted(numbers, channel * 2 + lin)
    names = [f"{'LIN' if number % 2 else 'CAN'}{number // 2}" for number in numbers.tolist()]
    arrays.channel, arrays.channels = lookup, names
    counts = np.bincount(lookup, minlength=len(names)).tolist()
    by_channel = {(name, name[:3].lower()): count for name, count in zip(names, counts, strict=True)}
    frames = arrays.frame(located.first)
    return DecodedObjects(frames, by_channel, disagreeing, int(bad_times.sum()), located.at, len(arrays.buffer), rows)


def _decode_type(  # noqa: PLR0917 - runs in a pool
    kind: int, rows: I64, bodies: I64, ends: I64, arrays: FrameArrays, channel: I64
) -> int:
    """Fill in the objects of one type; return how many have a number of data bytes that contradicts their DLC."""

    def body(dtype: np.dtype) -> np.ndarray:
        return rows_at(arrays.buffer, bodies, dtype.itemsize).view(dtype).reshape(-1)

    def put(values: np.ndarray, is_rx: Flags, starts: I64, wanted: I64) -> int:
        """Store channel, direction, DLC and data bytes, which never reach past the object."""
        channel[rows] = values["channel"]
        assert arrays.is_rx is not None
        arrays.is_rx[rows] = is_rx
        arrays.dlc[rows] = values["dlc"]
        lengths = np.clip(np.minimum(wanted, ends - starts), 0, None)
        arrays.starts[rows], arrays.lengths[rows] = np.where(lengths > 0, starts, 0), lengths
        return int((lengths != wanted).sum())

    def identify(values: np.ndarray) -> None:
        arrays.arbitration_id[rows] = values["id"] & layout.ID_MASK
        arrays.is_extended_id[rows] = (values["id"] & layout.EXTENDED_ID) != 0

    if kind in (ObjectType.CAN_MESSAGE, ObjectType.CAN_MESSAGE2):
        values = body(layout.CAN_MESSAGE)
        identify(values)
        remote = (values["flags"] & layout.REMOTE) != 0
        arrays.is_remote_frame[rows] = remote
        wanted = np.where(remote, 0, np.minimum(values["dlc"], 8)).astype(np.int64)
        return put(
            values, (values["flags"] & layout.DIRECTION) == layout.RX, bodies + layout.CAN_MESSAGE.itemsize, wanted
        )
    if kind in (ObjectType.CAN_FD_MESSAGE, ObjectType.CAN_FD_MESSAGE_64):
        is_64 = kind == ObjectType.CAN_FD_MESSAGE_64
        dtype = layout.CAN_FD_MESSAGE_64 if is_64 else layout.CAN_FD_MESSAGE
        values = body(dtype)
        identify(values)
        is_fd = (values["flags"] & layout.EDL_64 if is_64 else values["fd_flags"] & layout.EDL) != 0
        remote = (values["flags"] & (layout.REMOTE_64 if is_64 else layout.REMOTE)) != 0
        is_rx = values["dir"] == layout.RX if is_64 else (values["flags"] & layout.DIRECTION) == layout.RX
        arrays.is_fd[rows] = is_fd
        arrays.is_remote_frame[rows] = remote
        valid = np.where(remote, 0, np.minimum(values["valid"], 64)).astype(np.int64)
        return put(values, is_rx, bodies + dtype.itemsize, valid) + _disagreeing(values, is_fd, remote)
    if kind in (ObjectType.LIN_MESSAGE, ObjectType.LIN_MESSAGE2):
        dtype = layout.LIN_MESSAGE if kind == ObjectType.LIN_MESSAGE else layout.LIN_MESSAGE2
        values = body(dtype)
        arrays.kind[rows] = KINDS.index("lin")
        arrays.arbitration_id[rows] = values["id"]
        assert dtype.fields is not None
        wanted = np.minimum(values["dlc"], 8).astype(np.int64)
        return put(values, values["dir"] == layout.RX, bodies + dtype.fields["data"][1], wanted)
    # Error frames: CAN_ERROR has a channel only, the others the controller's error code.
    arrays.is_error_frame[rows] = True
    if kind == ObjectType.CAN_ERROR:
        channel[rows] = body(layout.CAN_ERROR)["channel"]
        return 0
    values = body(layout.CAN_ERROR_EXT if kind == ObjectType.CAN_ERROR_EXT else layout.CAN_FD_ERROR_64)
    channel[rows] = values["channel"]
    arrays.is_fd[rows] = kind == ObjectType.CAN_FD_ERROR_64
    classes, details = of_vector(values["flags"], values["ecc"])
    if kind == ObjectType.CAN_ERROR_EXT:
        # python-can logs SocketCAN's error frames as they are; Vector's tools always state a code.
        as_is = (values["flags"] == 0) & (values["dlc"] == ERROR_BYTES) & (ends - bodies >= _SOCKETCAN_BYTES)
        classes[as_is] = values["id"][as_is] & layout.ID_MASK
        at = bodies[as_is] + _SOCKETCAN_BYTES - ERROR_BYTES
        details[as_is] = rows_at(arrays.buffer, at, ERROR_BYTES)
    known = np.flatnonzero(classes)
    arrays.arbitration_id[rows] = classes
    arrays.dlc[rows[known]] = arrays.lengths[rows[known]] = ERROR_BYTES
    arrays.starts[rows[known]] = len(arrays.buffer) + ERROR_BYTES * np.arange(len(known))
    arrays.buffer = np.concatenate([arrays.buffer, details[known].reshape(-1)])
    return 0


def _disagreeing(values: np.ndarray, is_fd: Flags, remote: Flags) -> int:
    """Return the number of frames whose stated number of data bytes contradicts their DLC."""
    by_dlc = np.where(is_fd, FD_LENGTHS[np.minimum(values["dlc"], 15)], np.minimum(values["dlc"], 8))
    return int(((values["valid"] != by_dlc) & ~remote).sum())
