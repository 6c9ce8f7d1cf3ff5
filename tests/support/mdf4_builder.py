"""Writes MDF 4 files block by block, for what asammdf's writer does not do: unsorted and unfinalised ones."""

import itertools
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

VLSD_GROUP = 1
CAN_FLAGS = 6


@dataclass
class Cn:
    """A channel of a group; `inside` makes it a structure."""

    name: str
    byte: int
    bits: int
    type: int = 0
    sync: int = 0
    data_type: int = 0
    bit: int = 0
    inside: Sequence["Cn"] = ()
    linear: tuple[float, float] | None = None
    values_in: int | None = None
    """Number of the group with its values."""


@dataclass
class Cg:
    """A group: channels, bytes of a record, and what the file says of it."""

    record_id: int
    size: int
    channels: Sequence[Cn] = ()
    flags: int = CAN_FLAGS
    cycles: int = 0
    name: str = ""


@dataclass
class Builder:
    """A file under construction."""

    raw: bytearray = field(default_factory=lambda: bytearray(64 + 104))

    def block(self, name: bytes, links: Sequence[int], data: bytes) -> int:
        """Append a block; returns its address."""
        self.raw += bytes(-len(self.raw) % 8)
        at = len(self.raw)
        self.raw += struct.pack("<4s4xQQ", name, 24 + 8 * len(links) + len(data), len(links))
        self.raw += struct.pack(f"<{len(links)}Q", *links) + data
        return at

    def text(self, text: str) -> int:
        """A TX block, 0 for no text."""
        return self.block(b"##TX", [], text.encode() + bytes(8 - len(text) % 8)) if text else 0

    def source(self, group: Cg) -> int:
        """Source block of a group of CAN frames: a bus, CAN."""
        if not group.name.startswith("CAN_"):
            return 0
        return self.block(b"##SI", [self.text("CAN"), 0, 0], struct.pack("<3B5x", 2, 2, 0))

    def channels(self, channels: Sequence[Cn], groups: Sequence[int]) -> int:
        """CN blocks, linked; returns the first."""
        following = 0
        for c in reversed(channels):
            inner = self.channels(c.inside, groups) if c.inside else 0
            conversion = 0
            if c.linear:
                conversion = self.block(
                    b"##CC", [0] * 4, struct.pack("<BBHHHdd", 1, 0, 0, 0, 2, 0, 0) + struct.pack("<dd", *c.linear)
                )
            data = struct.pack(
                "<4B4I2BH6d", c.type, c.sync, c.data_type, c.bit, c.byte, c.bits, 0, 0, 0, 0, 0, *([0.0] * 6)
            )
            values = groups[c.values_in] if c.values_in is not None else 0
            following = self.block(b"##CN", [following, inner, self.text(c.name), 0, conversion, values, 0, 0], data)
        return following

    def finish(
        self, groups: Sequence[Cg], data: bytes, *, id_bytes: int, start_ns: int, unfinished: int = 0, stated: int = -1
    ) -> bytes:
        """The file: structure first, then one data block.

        Args:
            groups: Layouts of the records.
            data: The records.
            id_bytes: Of each record's id.
            start_ns: Start of the measurement.
            unfinished: Flags of the identification block; 0 for a finalised file.
            stated: Length that the data block states, -1 for the right one.
        """
        at: list[int] = [0] * len(groups)
        # VLSD groups first: channels link to them.
        order = sorted(range(len(groups)), key=lambda i: not groups[i].flags & VLSD_GROUP)
        for i in order:
            g = groups[i]
            channels = self.channels(g.channels, at)
            content = struct.pack("<2Q2H3I", g.record_id, g.cycles, g.flags, 46, 0, g.size, 0)
            at[i] = self.block(b"##CG", [0, channels, self.text(g.name), self.source(g), 0, 0], content)
        for this, following in itertools.pairwise(at):
            struct.pack_into("<Q", self.raw, this + 24, following)
        dg = self.block(b"##DG", [0, at[0], 0, 0], struct.pack("<B7x", id_bytes))
        self.raw += bytes(-len(self.raw) % 8)
        dt = len(self.raw)
        struct.pack_into("<Q", self.raw, dg + 24 + 16, dt)
        self.raw += struct.pack("<4s4xQQ", b"##DT", 24 + (len(data) if stated < 0 else stated), 0) + data
        name = b"UnFinMF " if unfinished else b"MDF     "
        struct.pack_into("<8s8s8s4xH30xHH", self.raw, 0, name, b"4.11    ", b"argus   ", 411, unfinished, 0)
        header = struct.pack("<Qhh4Bdd", start_ns, 0, 0, 0, 0, 0, 0, 0.0, 0.0)
        struct.pack_into("<4s4xQQ6Q", self.raw, 64, b"##HD", 104, 6, dg, 0, 0, 0, 0, 0)
        self.raw[64 + 72 : 64 + 104] = header
        return bytes(self.raw)


def time_channel() -> Cn:
    """Float64 seconds at the start of each record."""
    return Cn("Timestamp", 0, 64, type=2, sync=1, data_type=4)


def can_group(record_id: int, *, values_in: int | None, width: int = 8, cycles: int = 0) -> Cg:
    """`CAN_DataFrame` laid out as CANedge loggers do; payloads inside the record or in a group of their own."""
    fields = [
        Cn("CAN_DataFrame.BusChannel", 13, 2, bit=2),
        Cn("CAN_DataFrame.ID", 8, 29, bit=3),
        Cn("CAN_DataFrame.IDE", 8, 1),
        Cn("CAN_DataFrame.DLC", 13, 4, bit=4),
        Cn("CAN_DataFrame.DataLength", 12, 7, bit=1),
        Cn("CAN_DataFrame.Dir", 13, 1),
        Cn("CAN_DataFrame.EDL", 12, 1),
        Cn("CAN_DataFrame.DataBytes", 14, 64, type=1, data_type=10, values_in=values_in)
        if values_in is not None
        else Cn("CAN_DataFrame.DataBytes", 14, 8 * width, data_type=10),
    ]
    size = 14 + (8 if values_in is not None else width)
    whole = Cn("CAN_DataFrame", 8, 8 * (size - 8), data_type=10, inside=fields)
    return Cg(record_id, size, [time_channel(), whole], cycles=cycles, name="CAN_DataFrame")


def can_record(
    time_s: float, can_id: int, *, extended: bool, bus: int, dlc: int, length: int, fd: bool, tx: bool
) -> bytes:
    """The fixed bytes of a record of `can_group`."""
    return struct.pack("<dIBB", time_s, can_id << 3 | extended, length << 1 | fd, dlc << 4 | bus << 2 | tx)


def lin_group(record_id: int, cycles: int = 0) -> Cg:
    """`LIN_Frame` as CANedge loggers lay it out."""
    fields = [
        Cn("LIN_Frame.BusChannel", 8, 2),
        Cn("LIN_Frame.ID", 8, 6, bit=2),
        Cn("LIN_Frame.DataLength", 9, 4, bit=4),
        Cn("LIN_Frame.ReceivedDataByteCount", 9, 4),
        Cn("LIN_Frame.Dir", 10, 1),
        Cn("LIN_Frame.DataBytes", 11, 64, data_type=10),
    ]
    return Cg(record_id, 19, [time_channel(), Cn("LIN_Frame", 8, 88, data_type=10, inside=fields)], cycles=cycles)


def lin_record(time_s: float, lin_id: int, *, bus: int, data: bytes) -> bytes:
    """A record of `lin_group`."""
    return struct.pack("<dBBB", time_s, lin_id << 2 | bus, len(data) << 4 | len(data), 0) + data.ljust(8, b"\0")


def error_group(record_id: int, cycles: int = 0) -> Cg:
    """`CAN_ErrorFrame` as CANedge loggers lay it out."""
    fields = [Cn("CAN_ErrorFrame.BusChannel", 8, 2), Cn("CAN_ErrorFrame.ErrorType", 8, 6, bit=2)]
    return Cg(record_id, 9, [time_channel(), Cn("CAN_ErrorFrame", 8, 8, data_type=10, inside=fields)], cycles=cycles)


def signal_group(record_id: int, cycles: int = 0) -> Cg:
    """Two signals: engine speed with a linear conversion, and a signed byte."""
    return Cg(
        record_id, 11,
        [time_channel(), Cn("EngineSpeed", 8, 16, linear=(10.0, 0.125)), Cn("Torque", 10, 8, data_type=2)],
        flags=0, cycles=cycles, name="EEC1",
    )  # fmt: skip
