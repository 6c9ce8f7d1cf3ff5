"""SocketCAN frames of captures: link type CAN_SOCKETCAN, and Linux' cooked captures of the protocols of CAN."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from argus_assets.recordings.columns import FD_LENGTHS, I64, U8, empty_arrays, rows_at
from argus_assets.recordings.formats.pcap import layout
from argus_assets.recordings.formats.pcap.layout import Order
from argus_assets.recordings.schema import FRAMES, KINDS


@dataclass(frozen=True, slots=True)
class CanPackets:
    """Packets that hold SocketCAN frames.

    Attributes:
        buffer: Bytes of the file.
        starts: Where each frame starts in them. Shape (n,), as all arrays here.
        sizes: Captured bytes of it.
        times_ns: Nanoseconds since 1970.
        channel: Index into `channels`.
        channels: Names.
        directions: 0 where it is not known, else `layout.INBOUND` or `OUTBOUND`.
        protocols: Of a cooked capture, 0 for others.
        orders: Byte order of each identifier: 1 for little-endian.
        packet: Number of the packet in its part of the file.
    """

    buffer: U8
    starts: I64
    sizes: I64
    times_ns: I64
    channel: I64
    channels: list[str]
    directions: I64
    protocols: I64
    little: np.ndarray
    packet: I64


@dataclass(frozen=True, slots=True)
class CanFrames:
    """Frames of some packets.

    Attributes:
        frames: `schema.FRAMES`, not numbered.
        packet: Number of the packet of each.
        xl: Frames of CAN XL, which are not read.
        short: Packets without a whole header.
        cut: Frames with fewer data bytes than they state.
    """

    frames: pl.DataFrame
    packet: I64
    xl: int
    short: int
    cut: int


def order_is_little(order: Order) -> bool:
    """Return whether a byte order is little-endian."""
    return order == "<"


def decode_can(packets: CanPackets) -> CanFrames:
    """Decode packets into frames."""
    whole = packets.sizes >= layout.CAN_HEAD_BYTES
    heads = rows_at(packets.buffer, packets.starts[whole], layout.CAN_HEAD_BYTES)
    is_xl = ((heads[:, 4] & layout.CAN_XLF) != 0) | (packets.protocols[whole] == layout.PROTOCOL_CAN_XL)
    rows = np.flatnonzero(whole)[~is_xl]
    heads = heads[~is_xl]
    n = len(rows)
    words = np.ascontiguousarray(heads[:, :4])
    raw = np.where(packets.little[rows], words.view("<u4").reshape(-1), words.view(">u4").reshape(-1)).astype(np.uint32)
    stated, flags = heads[:, 4].astype(np.int64), heads[:, 5]
    sizes, protocols = packets.sizes[rows], packets.protocols[rows]
    error = (raw & layout.CAN_ERROR) != 0
    # The protocol of a cooked capture, the flag, and the size that only CAN FD has.
    is_fd = (
        (protocols == layout.PROTOCOL_CAN_FD)
        | ((flags & layout.CAN_FDF) != 0)
        | ((protocols == 0) & (sizes == layout.CAN_FD_PACKET))
        | (stated > 8)
    ) & ~error
    remote = ((raw & layout.CAN_REMOTE) != 0) & ~is_fd & ~error
    extended = ((raw & layout.CAN_EXTENDED) != 0) & ~error
    wanted = np.where(remote, 0, np.minimum(stated, np.where(is_fd, 64, 8)))
    lengths = np.minimum(wanted, sizes - layout.CAN_HEAD_BYTES)
    # A DLC above 8 of a classic frame stands in the last byte of the header (`len8_dlc`, linux/can.h).
    long_code = ~is_fd & (stated == 8) & (heads[:, 7] > 8) & (heads[:, 7] <= 15)
    code = np.where(is_fd, np.searchsorted(FD_LENGTHS, np.minimum(stated, 64)), np.minimum(stated, 8))
    arrays = empty_arrays(n)
    arrays.kind = np.full(1, KINDS.index("can"), np.uint8)
    arrays.timestamp_ns = packets.times_ns[rows]
    arrays.channel, arrays.channels = packets.channel[rows], packets.channels
    arrays.arbitration_id = raw & np.where(extended | error, layout.CAN_ID, layout.CAN_STANDARD_ID).astype(np.uint32)
    arrays.is_extended_id, arrays.is_fd, arrays.is_remote_frame, arrays.is_error_frame = extended, is_fd, remote, error
    arrays.dlc = np.where(long_code, heads[:, 7], code).astype(np.uint8)
    arrays.buffer = packets.buffer
    arrays.starts, arrays.lengths = packets.starts[rows] + layout.CAN_HEAD_BYTES, lengths
    directions = packets.directions[rows]
    known = directions != 0
    if known.any():
        arrays.is_rx = directions != layout.OUTBOUND
    frames = arrays.frame(0) if n else FRAMES.empty()
    if known.any() and not known.all():
        frames = frames.with_columns(is_rx=pl.when(pl.Series(known)).then("is_rx"))
    return CanFrames(frames, packets.packet[rows], int(is_xl.sum()), int((~whole).sum()), int((lengths < wanted).sum()))
