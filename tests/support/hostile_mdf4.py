"""MDF 4 files that claim more than they hold, or hold little that becomes much: one function for each kind.

Each takes how much of it there is to be, so that a test can have it small and a person can measure it large.
"""

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from tests.support.mdf4_builder import Builder
from tests.support.values import START_NS

HOSTILE: Final[dict[str, Callable[[int], bytes]]] = {}


def hostile(function: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Register a file by the name of its function."""
    HOSTILE[function.__name__] = function
    return function


class Hostile(Builder):
    """Blocks as one likes; `finished` gives the file."""

    first_group = 0

    def name(self, text: str) -> int:
        """A TX block."""
        return self.text(text)

    def cc(self, kind: int, values: Sequence[float] = (), references: Sequence[int] = (), raw: bytes = b"") -> int:
        """A conversion block; `raw` stands for its values instead of them."""
        values_bytes = raw or struct.pack(f"<{len(values)}d", *values)
        head = struct.pack("<BBHHHdd", kind, 0, 0, len(references), len(values_bytes) // 8, 0, 0)
        return self.block(b"##CC", [0, 0, 0, 0, *references], head + values_bytes)

    def cn(
        self, name: int, following: int = 0, *, byte: int = 8, bits: int = 8, data_type: int = 0, cc: int = 0,
        kind: int = 0, sync: int = 0, inner: int = 0, data: int = 0, flags: int = 0, invalid: int = 0,
    ) -> int:  # fmt: skip
        """A channel before another."""
        content = struct.pack("<4B4I2BH6d", kind, sync, data_type, 0, byte, bits, flags, invalid, 0, 0, 0, *([0.0] * 6))
        return self.block(b"##CN", [following, inner, name, 0, cc, data, 0, 0], content)

    def time(self, following: int = 0, *, virtual: bool = False) -> int:
        """A time before other channels: 8 bytes at the start of each record, or its number."""
        kind = 3 if virtual else 2
        return self.cn(self.name("t"), following, byte=0, bits=0 if virtual else 64, data_type=4, kind=kind, sync=1)

    def cg(
        self,
        channels: int,
        size: int,
        *,
        record_id: int = 0,
        cycles: int = 0,
        name: int = 0,
        flags: int = 0,
        following: int = 0,
    ) -> int:
        """A channel group before another."""
        content = struct.pack("<2Q2H3I", record_id, cycles, flags, 46, 0, size, 0)
        return self.block(b"##CG", [following, channels, name, 0, 0, 0], content)

    def dg(self, groups: int, data: int, *, id_bytes: int = 0) -> None:
        """A data group, the first of the file so far."""
        self.first_group = self.block(b"##DG", [self.first_group, groups, data, 0], struct.pack("<B7x", id_bytes))

    def dt(self, data: bytes) -> int:
        """A data block."""
        return self.block(b"##DT", [], data)

    def dz(self, data: bytes, *, size: int = -1, columns: int = 0, of: bytes = b"DT") -> int:
        """A deflated data block; `size` is what it says of itself."""
        stored = zlib.compress(data, 6)
        head = struct.pack("<2sBxIQQ", of, bool(columns), columns, len(data) if size < 0 else size, len(stored))
        return self.block(b"##DZ", [], head + stored)

    def dl(self, blocks: Sequence[int], following: int = 0) -> int:
        """A list of data blocks."""
        content = struct.pack("<B3xI", 0, len(blocks)) + bytes(8 * len(blocks))
        return self.block(b"##DL", [following, *blocks], content)

    def link(self, at: int, number: int, to: int) -> None:
        """Change a link."""
        struct.pack_into("<Q", self.raw, at + 24 + 8 * number, to)

    def finished(self) -> bytes:
        """The file, finalised."""
        struct.pack_into("<8s8s8s4xH30xHH", self.raw, 0, b"MDF     ", b"4.20    ", b"hostile ", 420, 0, 0)
        struct.pack_into("<4s4xQQ6Q", self.raw, 64, b"##HD", 104, 6, self.first_group, 0, 0, 0, 0, 0)
        self.raw[64 + 72 : 64 + 104] = struct.pack("<Qhh4Bdd", START_NS, 0, 0, 0, 0, 0, 0, 0.0, 0.0)
        return bytes(self.raw)


def records(n: int, *, extra: int = 1) -> bytes:
    """Times 10 ms apart, each with bytes behind it that differ."""
    made = np.zeros(n, [("t", "<f8"), ("v", "u1", (extra,))])
    made["t"] = np.arange(n) / 100
    made["v"] = (np.arange(n * extra) * 37 % 251).reshape(n, extra)
    return made.tobytes()


def with_noise(data: bytes) -> bytes:
    """The data with some noise at the start, to be below the ratio of 1,000."""
    noise = np.random.default_rng(0).bytes(len(data) // 600)
    return noise + data[len(noise) :]


def of_conversion(make: Callable[[Hostile], int], *, n: int = 10, bits: int = 8, data_type: int = 0) -> bytes:
    """A file with one signal `v` of a conversion."""
    m = Hostile()
    extra = bits // 8
    m.dg(
        m.cg(m.time(m.cn(m.name("v"), bits=bits, data_type=data_type, cc=make(m))), 8 + extra, cycles=n),
        m.dt(records(n, extra=extra)),
    )
    return m.finished()


# ---------------------------------------------------------------------------------------------- conversions


@hostile
def conversions_that_each_refer_twice_to_the_next(n: int) -> bytes:
    """2^n ways through n blocks."""

    def make(m: Hostile) -> int:
        at = m.cc(1, [0, 2])
        for _ in range(n):
            at = m.cc(7, [1.0, 2.0], [at, at, at])
        return at

    return of_conversion(make)


@hostile
def conversions_split_by_every_bit(n: int) -> bytes:
    """Tables that send each half of the values to another table, which share their own."""

    def make(m: Hostile) -> int:
        left, right = m.cc(1, [0, 2]), m.cc(1, [0, 3])
        for level in range(min(n, 24)):
            edges = np.arange(64) * 2.0**level
            values = np.stack([edges, edges + 2.0**level - 1], axis=1).reshape(-1).tolist()
            both = [left, right] * 32
            left, right = m.cc(8, values, [*both, left]), m.cc(8, values, [*both[::-1], right])
        return left

    return of_conversion(make, n=1000, bits=32)


@hostile
def a_conversion_that_refers_to_itself(n: int) -> bytes:
    """And a circle of two."""

    def make(m: Hostile) -> int:
        first = m.cc(7, [1.0], [0, 0])
        second = m.cc(7, [1.0], [first, first])
        m.link(first, 4, first if n % 2 else second)
        m.link(first, 5, second)
        return first

    return of_conversion(make)


@hostile
def a_long_chain_of_conversions(n: int) -> bytes:
    """Each with the next as its default."""

    def make(m: Hostile) -> int:
        at = m.cc(1, [0, 2])
        for _ in range(n):
            at = m.cc(7, [1.0], [0, at])
        return at

    return of_conversion(make)


@hostile
def a_table_that_claims_entries_it_has_not(n: int) -> bytes:
    """Counts of values, references and links that the block has no room for."""

    def make(m: Hostile) -> int:
        at = m.cc(7, [1.0, 2.0], [0, 0, 0])
        struct.pack_into("<H", m.raw, at + 24 + 8 * 7 + 6, min(n, 65_535))  # values
        struct.pack_into("<H", m.raw, at + 24 + 8 * 7 + 4, 65_535)  # references
        if n % 2:
            struct.pack_into("<Q", m.raw, at + 16, 2**40)
        return at

    return of_conversion(make)


@hostile
def many_tables_of_the_same_long_text(n: int) -> bytes:
    """Each value of many becomes a text of a megabyte."""

    def make(m: Hostile) -> int:
        text = m.name("a" * 1000 * min(n, 1000))
        return m.cc(7, [float(i) for i in range(250)], [text] * 251)

    return of_conversion(make, n=100 * n)


@hostile
def a_bit_field_of_many_masks(n: int) -> bytes:
    """Each of them with a table of its own."""

    def make(m: Hostile) -> int:
        table = m.cc(7, [0.0], [0, m.name("set")])
        return m.cc(11, references=[table] * n, raw=struct.pack(f"<{n}Q", *(1 << i % 64 for i in range(n))))

    return of_conversion(make, n=1000, bits=64)


@hostile
def a_formula_without_end(n: int) -> bytes:
    """Many operations for each of many records."""
    return of_conversion(lambda m: m.cc(3, references=[m.name("+".join(["sin(X)^X"] * min(n, 100)))]), n=100 * n)


@hostile
def texts_to_texts_in_a_channel_of_numbers(n: int) -> bytes:
    """A table of texts for what is none."""

    def make(m: Hostile) -> int:
        texts = [m.name(f"text {i}") for i in range(min(n, 1000))]
        return m.cc(10, references=[*texts, *texts, 0])

    return of_conversion(make)


@hostile
def conversion_blocks_that_overlap(n: int) -> bytes:
    """A channel each, all of them megabytes of the same bytes."""
    m = Hostile()
    following = 0
    starts = [m.cc(7, [1.0] * 4, [0] * 5) for _ in range(n)]
    for start in starts:
        struct.pack_into("<Q", m.raw, start + 8, len(m.raw) - start)
    for i, start in enumerate(starts):
        following = m.cn(m.name(f"v{i}"), following, cc=start)
    m.dg(m.cg(m.time(following), 9, cycles=10), m.dt(records(10)))
    return m.finished()


# ---------------------------------------------------------------------------------------------- structure


@hostile
def structures_inside_each_other(n: int) -> bytes:
    """Channels whose parts have parts, and the last of them the first."""
    m = Hostile()
    innermost = at = m.cn(m.name("v"))
    for i in range(n):
        at = m.cn(m.name(f"s{i}"), inner=at)
    m.link(innermost, 1, at)
    m.dg(m.cg(m.time(at), 9, cycles=10), m.dt(records(10)))
    return m.finished()


@hostile
def many_groups_in_circles(n: int) -> bytes:
    """Data groups whose channels go in a circle, each."""
    m = Hostile()
    shared = m.name("v")
    for _ in range(n):
        channel = m.cn(shared)
        m.link(channel, 0, channel)
        m.dg(m.cg(channel, 9), 0)
    return m.finished()


@hostile
def numbers_that_cannot_be(n: int) -> bytes:
    """Counts, sizes, bits and dimensions at their ends."""
    m = Hostile()
    array = m.block(b"##CA", [0], struct.pack("<BBHIiI", 0, 0, 3, 0, 0, 0) + struct.pack("<3Q", 2**63, 2**63, n))
    endless = m.block(b"##CA", [0], struct.pack("<BBHIiI", 0, 0, 65_535, 0, 0, 0))
    following = 0
    for i, (byte, bits, data_type, kind) in enumerate(
        [(2**32 - 1, 8, 0, 0), (8, 2**32 - 1, 0, 0), (8, 2**32 - 1, 6, 0), (8, 128, 0, 1), (8, 0, 4, 0), (8, 24, 4, 0),
         (8, 8, 255, 0), (8, 8, 0, 255), (0, 64, 4, 6)]
    ):  # fmt: skip
        following = m.cn(m.name(f"v{i}"), following, byte=byte, bits=bits, data_type=data_type, kind=kind)
        following = m.cn(m.name(f"a{i}"), following, byte=byte, bits=bits, data_type=data_type, kind=kind, inner=array)
        following = m.cn(
            m.name(f"e{i}"), following, byte=byte, bits=bits, data_type=data_type, kind=kind, inner=endless
        )
        following = m.cn(m.name(f"i{i}"), following, flags=2, invalid=2**32 - 1 - i)
    for size in (9, 2**32 - 1, 0, 2**31):
        m.dg(m.cg(m.time(following), size, cycles=2**64 - 1), m.dt(records(n)))
    return m.finished()


@hostile
def times_that_are_none(n: int) -> bytes:
    """NaN, infinite, and at the ends of 64 bits, of a start at its end."""
    m = Hostile()
    times = [np.nan, np.inf, -np.inf, 1e300, -1e300, 9.2e9, 2.0**62, 4.6e9] * n
    m.dg(m.cg(m.time(m.cn(m.name("v"), byte=0, bits=64)), 8, cycles=len(times)), m.dt(np.array(times).tobytes()))
    raw = bytearray(m.finished())
    struct.pack_into("<Q", raw, 64 + 72, 2**62 - 1)
    return bytes(raw)


@hostile
def columns_over_the_same_bytes(n: int) -> bytes:
    """Many channels read each byte of records of zeros."""
    m = Hostile()
    following = 0
    name, scale = m.name("v"), m.cc(1, [0, 0.5])
    for _ in range(min(n, 3000)):
        following = m.cn(name, following, byte=0, cc=scale)
    data = m.dl([m.dz(with_noise(bytes(100 * n))) for _ in range(10)])
    m.dg(m.cg(m.time(following, virtual=True), 1, cycles=1000 * n), data)
    return m.finished()


# ---------------------------------------------------------------------------------------------- data


@hostile
def a_list_that_names_one_block_again_and_again(n: int) -> bytes:
    """And itself, and another that names it."""
    m = Hostile()
    data = m.dl([m.dt(records(100)), *[m.dz(records(100))] * n, 0])
    m.link(data, 0, data)
    m.link(data, 5, data)
    m.dg(m.cg(m.time(m.cn(m.name("v"))), 9, cycles=200), data)
    return m.finished()


@hostile
def heads_of_lists_in_a_circle(n: int) -> bytes:
    """HL to DL to HL."""
    m = Hostile()
    head = m.block(b"##HL", [0], bytes(8))
    data = m.dl([m.dt(records(10)), head, *[head] * n], head)
    m.link(head, 0, data)
    m.dg(m.cg(m.time(m.cn(m.name("v"))), 9, cycles=10), head)
    return m.finished()


@hostile
def lists_that_overlap(n: int) -> bytes:
    """Each claims all that follows as its links."""
    m = Hostile()
    starts = [m.block(b"##DL", [0, 0, 0, 0, 0], b"") for _ in range(n)]
    for this, following in zip(starts, [*starts[1:], 0], strict=True):
        m.link(this, 0, following)
        struct.pack_into("<2Q", m.raw, this + 8, len(m.raw) - this, (len(m.raw) - this - 24) // 8)
    m.dg(m.cg(m.time(m.cn(m.name("v"))), 9, cycles=10), starts[0])
    return m.finished()


@hostile
def data_blocks_that_overlap(n: int) -> bytes:
    """Each claims all that follows as its data."""
    m = Hostile()
    starts = [m.dt(bytes(8)) for _ in range(n)]
    for start in starts:
        struct.pack_into("<Q", m.raw, start + 8, len(m.raw) - start)
    m.dg(m.cg(m.time(m.cn(m.name("v"))), 9, cycles=10), m.dl(starts))
    return m.finished()


@hostile
def one_data_block_of_many_groups(n: int) -> bytes:
    """Groups of a bus and of signals that all name the same data."""
    m = Hostile()
    data = m.dt(records(1000))
    time, can, signal = m.name("t"), m.name("CAN_DataFrame.ID"), m.name("v")
    event = m.name("CAN_DataFrame")
    for i in range(n):
        parts = m.cn(can)
        inner = m.cn(event, inner=parts) if i % 2 else m.cn(signal)
        channels = m.cn(time, inner, byte=0, bits=64, data_type=4, kind=2, sync=1)
        m.dg(m.cg(channels, 9, cycles=1000), data)
    return m.finished()


@hostile
def many_groups_of_a_bus(n: int) -> bytes:
    """Each with a frame of its own, to be merged by time."""
    m = Hostile()
    time, can, event = m.name("t"), m.name("CAN_DataFrame.ID"), m.name("CAN_DataFrame")
    for i in range(n):
        whole = m.cn(event, inner=m.cn(can))
        channels = m.cn(time, whole, byte=0, bits=64, data_type=4, kind=2, sync=1)
        m.dg(m.cg(channels, 9, cycles=1), m.dt(struct.pack("<dB", i * 7919 % n, i % 256)))
    return m.finished()


@hostile
def zipped_blocks_that_lie(n: int) -> bytes:
    """Wrong sizes, matrices of absurd widths, methods that are none, and the claim of more than there is memory."""
    m = Hostile()
    data = records(100)
    blocks = [m.dz(data, size=size, columns=columns) for size in (0, 1, 899, 901, 10**6, 2**40, 2**64 - 1)
              for columns in (0, 1, 9, 10**6, 2**32 - 1)]  # fmt: skip
    bad = m.dz(data)
    m.raw[bad + 24 + 2] = 9
    blocks += [bad, m.dz(b""), m.dz(with_noise(bytes(9 * n)))]
    m.dg(m.cg(m.time(m.cn(m.name("v"))), 9, cycles=100), m.dl(blocks))
    return m.finished()


@hostile
def zipped_zeros_in_columns(n: int) -> bytes:
    """A large matrix of zeros."""
    m = Hostile()
    blocks = [m.dz(with_noise(bytes(9 * 1000 * n)), columns=9) for _ in range(3)]
    m.dg(m.cg(m.time(m.cn(m.name("v"))), 9, cycles=3000 * n), m.dl(blocks))
    return m.finished()


@hostile
def tiny_blocks_of_a_huge_record(n: int) -> bytes:
    """A byte each, of records of megabytes."""
    m = Hostile()
    blocks = [m.dz(b"a") if i % 2 else m.dt(b"b") for i in range(n)]
    m.dg(m.cg(m.time(m.cn(m.name("v"))), 10 * 1024**2, cycles=1), m.dl(blocks))
    return m.finished()


@hostile
def tiny_blocks_of_tiny_records(n: int) -> bytes:
    """A record each."""
    m = Hostile()
    blocks = [m.dz(b"a") if i % 2 else m.dt(b"b") for i in range(n)]
    m.dg(m.cg(m.time(m.cn(m.name("v"), byte=0), virtual=True), 1, cycles=n), m.dl(blocks))
    return m.finished()


@hostile
def values_of_claimed_lengths(n: int) -> bytes:
    """Values of variable length of 4 GiB, and offsets that lead nowhere; sorted."""
    m = Hostile()
    values = m.block(b"##SD", [], struct.pack("<I", 3) + b"abc" + struct.pack("<I", 2**32 - 1) + bytes(n))
    offsets = [0, 7, 5, 2**64 - 1, 2**63, 2**40, 4 + n, 0]
    made = b"".join(struct.pack("<dQ", i, offset) for i, offset in enumerate(offsets))
    channel = m.cn(m.name("v"), bits=64, data_type=7, kind=1, data=values)
    m.dg(m.cg(m.time(channel), 16, cycles=len(offsets)), m.dt(made))
    return m.finished()


@hostile
def one_long_value_of_all_records(n: int) -> bytes:
    """Each of many records names the same long value, in each of many channels."""
    m = Hostile()
    values = m.block(b"##SD", [], struct.pack("<I", 1000 * n) + bytes(1000 * n))
    following = 0
    for i in range(20):
        following = m.cn(m.name(f"v{i}"), following, bits=64, data_type=10, kind=1, data=values)
    made = np.zeros(10 * n, [("t", "<f8"), ("o", "<u8")])
    made["t"] = 1
    m.dg(m.cg(m.time(following), 16, cycles=10 * n), m.dt(made.tobytes()))
    return m.finished()


@hostile
def an_unsorted_value_of_many_pieces(n: int) -> bytes:
    """A value of variable length of megabytes, of bytes that could all be records."""
    m = Hostile()
    values = m.cg(0, 0, record_id=2, flags=1)
    channel = m.cn(m.name("v"), bits=64, data_type=10, kind=1, data=values)
    group = m.cg(m.time(channel), 16, record_id=1, cycles=3, following=values)
    size = 1000 * n
    made = b"".join(
        b"\x01" + struct.pack("<dQ", i, i * (4 + size)) + b"\x02" + struct.pack("<I", size) + b"\x02" * size
        for i in range(3)
    )
    m.dg(group, m.dt(made), id_bytes=1)
    return m.finished()


@hostile
def unsorted_records_between_garbage(n: int) -> bytes:
    """Runs of records that are just long enough, and a byte that is none behind each."""
    m = Hostile()
    group = m.cg(m.time(m.cn(m.name("v"), byte=0), virtual=True), 1, record_id=1)
    m.dg(group, m.dz(with_noise((b"\x01\x00" * 17 + b"\xff") * n)), id_bytes=1)
    return m.finished()


@hostile
def many_groups_of_unsorted_records(n: int) -> bytes:
    """A record of each, again and again, in each of some data groups."""
    m = Hostile()
    name, time = m.name("v"), m.name("t")
    for _ in range(3):
        group = 0
        for record_id in range(n):
            channels = m.cn(time, m.cn(name, byte=0), bits=0, kind=3, sync=1)
            group = m.cg(channels, 1, record_id=record_id, following=group)
        m.dg(group, m.dz(b"".join(struct.pack("<HB", i % n, i % 256) for i in range(20 * n))), id_bytes=2)
    return m.finished()
