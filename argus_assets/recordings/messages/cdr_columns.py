"""Many CDR messages of one type as columns: the fields are walked once, for all messages at the same time.

CDR: OMG DDS-XTypes 1.3 §7.4.3, plain encoding version 1, as ROS 2 writes it. Each message has its own position, held
in an array; a primitive is one gather, a sequence one gather of all its items. Items that differ in size are walked
one after another, which is work that small messages can ask much of: each step is spent before it is done.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl
import pyarrow as pa

from argus_assets.recordings.columns import I64, U8, Flags, as_text, binary_series, gather, rows_at
from argus_assets.recordings.messages.ros_msg import Field, min_bytes

ENCAPSULATION: Final = 4
XCDR2_BIG: Final = 6
XCDR2_LITTLE: Final = 7
"""Second byte of the encapsulation of plain XCDR2 (DDS-XTypes 1.3, table 60); its other forms carry headers of members."""
_XCDR2_ALIGN: Final = 4
_DTYPES: Final[dict[str, pl.DataType]] = {
    "string": pl.String(),
    "wstring": pl.String(),
    "time": pl.Datetime("ns", "UTC"),
    "duration": pl.Duration("ns"),
}
MAX_ITEMS: Final = 1024
"""Sequences with more items are skipped where that is possible; the frame still holds them."""
_STEP_VALUES: Final = 1500
_STEP_PER_FIELD: Final = 300
"""Values of `Limits.max_values` that an item costs, and each of its fields, read for however many messages."""


@dataclass(slots=True)
class _Walk:
    """Positions of all messages.

    Attributes:
        at: Next byte to read.
        origin: Where alignment counts from.
        end: End of the message.
        ok: Still readable.
        whole: Nothing was left out so far, so the next fields can be found.
        spend: Called with values of `Limits.max_values` before they are spent; raises where there are not as many.
        max_align: Largest alignment: 8 in CDR, 4 in XCDR2 (DDS-XTypes 1.3, 7.4.3.2), 1 in ROS 1, which has none.
    """

    buffer: U8
    order: Literal["<", ">"]
    at: I64
    origin: I64
    end: I64
    ok: Flags
    whole: Flags
    spend: Callable[[int], None]
    max_align: int = 8

    @property
    def has_headers(self) -> bool:
        """Return whether collections of what is no number have their size in front, as in XCDR2."""
        return self.max_align == _XCDR2_ALIGN

    def step(self, size: int, align: int) -> tuple[I64, Flags]:
        """Step over `size` bytes of each message; return where they start, and which messages have them."""
        align = min(align, self.max_align)
        at = self.origin + -((self.at - self.origin) // -align) * align
        here = self.whole & self.ok
        self.ok &= ~here | (at + size <= self.end)
        here &= self.ok
        self.at = np.where(here, at + size, self.at)
        return at, here

    def take(self, size: int, align: int) -> np.ndarray:
        """Read `size` bytes of each message, shape (n, size); zeros where there are none."""
        at, here = self.step(size, align)
        if here.all():
            return rows_at(self.buffer, at, size)
        out = np.zeros((len(at), size), np.uint8)
        rows = np.flatnonzero(here)
        out[rows] = rows_at(self.buffer, at[rows], size)
        return out

    def numbers(self, code: str, count: int = 1) -> np.ndarray:
        """Read numbers of each message, shape (n, count)."""
        size = np.dtype(code).itemsize
        return self.take(size * count, size).view(np.dtype(code).newbyteorder(self.order))

    def counts(self, item_bytes: int) -> I64:
        """Read the length of a sequence whose items have at least `item_bytes` bytes; an impossible length makes a row bad."""
        n = self.numbers("u4").reshape(-1).astype(np.int64)
        self.ok &= ~self.whole | (n * item_bytes <= self.end - self.at)
        return np.where(self.ok & self.whole, n, 0)

    def skip(self, lengths: I64) -> I64:
        """Skip so many bytes; return where they start."""
        start = self.at.copy()
        self.ok &= (lengths >= 0) & (self.at + lengths <= self.end)
        self.at = np.where(self.ok & self.whole, self.at + lengths, self.at)
        return np.where(self.ok, start, 0)

    def of(self, rows: np.ndarray) -> "_Walk":
        """Return a walk over some of the messages."""
        return _Walk(
            self.buffer, self.order, self.at[rows], self.origin[rows], self.end[rows], self.ok[rows], self.whole[rows],
            self.spend, self.max_align,
        )  # fmt: skip

    def put_back(self, rows: np.ndarray, part: "_Walk") -> None:
        """Take over where a walk of some of the messages ended."""
        self.at[rows], self.ok[rows], self.whole[rows] = part.at, part.ok, part.whole


def _no_bound(_: int) -> None:
    """Allow any work."""


def decode_columns(
    buffer: U8,
    starts: I64,
    sizes: I64,
    fields: tuple[Field, ...],
    spend: Callable[[int], None] = _no_bound,
    *,
    is_ros1: bool = False,
) -> tuple[pl.DataFrame, Flags]:
    """Decode messages of one type.

    Args:
        buffer: Holds all messages, with `columns.PADDING` bytes behind the last.
        starts: Where each message starts, shape (n,).
        sizes: Bytes of each, shape (n,).
        fields: Of the type.
        spend: Called with values of `Limits.max_values` before items are walked; raises where there are not as many.
        is_ros1: They are of ROS 1: little-endian, without encapsulation and alignment.

    Returns:
        One row for each message, a column for each field (`pose.position.x`), and which rows are readable. Values of
        other rows mean nothing.
    """
    if is_ros1:
        ok = np.ones(len(starts), np.bool_)
        orders: list[tuple[Literal["<", ">"], int, Flags]] = [("<", 1, ok)]
        encapsulation = 0
    else:
        head = rows_at(buffer, np.minimum(starts, len(buffer) - ENCAPSULATION), ENCAPSULATION)
        kind = head[:, 1]
        ok = (sizes >= ENCAPSULATION) & (head[:, 0] == 0) & ((kind <= 1) | (kind == XCDR2_BIG) | (kind == XCDR2_LITTLE))
        big, second = ok & ((kind == 0) | (kind == XCDR2_BIG)), ok & (kind >= XCDR2_BIG)
        orders = [
            (">", 8, big & ~second), ("<", 8, ~big & ~second), (">", _XCDR2_ALIGN, big & second), ("<", _XCDR2_ALIGN, ~big & second)
        ]  # fmt: skip
        encapsulation = ENCAPSULATION
    parts: list[tuple[np.ndarray, pl.DataFrame]] = []
    for order, max_align, mask in orders:
        rows = np.flatnonzero(mask)
        if not len(rows):
            continue
        origin = starts[rows] + encapsulation
        walk = _Walk(
            buffer, order, origin.copy(), origin, starts[rows] + sizes[rows], ok[rows], np.ones(len(rows), np.bool_),
            spend, max_align,
        )  # fmt: skip
        columns: dict[str, pl.Series] = {}
        _read(walk, fields, "", columns)
        ok[rows] = walk.ok
        parts.append((rows, pl.DataFrame(columns)))
    if len(parts) == 1:
        return parts[0][1], ok
    if not parts:
        return pl.DataFrame(schema=_schema(fields, "")), ok
    places = np.concatenate([rows for rows, _ in parts])
    return pl.concat([frame for _, frame in parts])[np.argsort(places)], ok


def _read(walk: _Walk, fields: tuple[Field, ...], prefix: str, columns: dict[str, pl.Series]) -> None:
    for field in fields:
        name = f"{prefix}{field.name}"
        found = walk.whole
        if field.is_sequence:
            _read_sequence(walk, field, name, columns)
            columns[f"{name}.count"] = _known(columns[f"{name}.count"], found)
        elif field.length is not None:
            _read_fixed(walk, field, name, columns)
        elif field.primitive:
            columns[name] = _known(_scalar(walk, field.primitive), found)
        else:
            _read(walk, field.fields, f"{name}.", columns)


def _scalar(walk: _Walk, kind: str) -> pl.Series:
    if kind in ("time", "duration"):
        ns = _nanoseconds(walk)
        return pl.Series(ns).cast(pl.Datetime("ns", "UTC") if kind == "time" else pl.Duration("ns"))
    if kind == "string":
        length = walk.counts(1)
        return _texts(walk.buffer, walk.skip(length), length)
    if kind == "wstring":
        return _wide_texts(walk)
    values = walk.numbers(kind).reshape(-1)
    return _numbers_series(values)


def _wide_texts(walk: _Walk) -> pl.Series:
    """Read wide strings: four bytes a character as rmw_fastrtps writes them, where these are characters, else two.

    No standard binds the vendors: rmw_cyclonedds writes UTF-16, Fast DDS a 32-bit number for each character.
    """
    length = walk.counts(2)
    wide = walk.at + 4 * length <= walk.end
    texts: list[str] = []
    sizes = np.zeros(len(length), np.int64)
    for row, (at, n, may_be_wide) in enumerate(zip(walk.at.tolist(), length.tolist(), wide.tolist(), strict=True)):
        words = walk.buffer[at : at + 4 * n].tobytes() if may_be_wide else b""
        numbers = np.frombuffer(words, f"{walk.order}u4")
        is_wide = bool(len(numbers) == n and ((numbers > 0) & (numbers <= _LAST_CHARACTER)).all())
        raw = words if is_wide else walk.buffer[at : at + 2 * n].tobytes()
        sizes[row] = 4 * n if is_wide else 2 * n
        encoding = ("utf-32-" if is_wide else "utf-16-") + ("le" if walk.order == "<" else "be")
        texts.append(raw.decode(encoding, "replace"))
    walk.skip(sizes)
    return pl.Series(texts, dtype=pl.String)


_LAST_CHARACTER: Final = 0x10FFFF


def _dtype(field: Field) -> pl.DataType:
    """Return the type of one item of a field."""
    if not field.primitive:
        return pl.Struct(_schema(field.fields, ""))
    if field.primitive in _DTYPES:
        return _DTYPES[field.primitive]
    return pl.Series(np.zeros(0, field.primitive)).dtype


def _schema(fields: tuple[Field, ...], prefix: str) -> dict[str, pl.DataType]:
    """Return the columns that `_read` makes of fields."""
    found: dict[str, pl.DataType] = {}
    for field in fields:
        name = f"{prefix}{field.name}"
        if field.is_sequence:
            found[f"{name}.count"] = pl.UInt32()
            found[name] = pl.List(_dtype(field))
        elif field.length is not None:
            if field.primitive in ("", *_DTYPES) or field.length <= MAX_ITEMS:
                found[name] = pl.List(_dtype(field))
        elif field.primitive:
            found[name] = _dtype(field)
        else:
            found |= _schema(field.fields, f"{name}.")
    return found


def _nanoseconds(walk: _Walk) -> I64:
    seconds = walk.numbers("i4").reshape(-1).astype(np.int64)
    return seconds * 10**9 + walk.numbers("u4").reshape(-1).astype(np.int64)


def _texts(buffer: U8, starts: I64, lengths: I64) -> pl.Series:
    """Read strings, whose length counts the zero at their end; what is not UTF-8 is replaced by U+FFFD."""
    last = buffer[np.maximum(starts + lengths - 1, 0)]
    lengths = np.where((lengths > 0) & (last == 0), lengths - 1, lengths)
    return as_text(binary_series(buffer, starts, lengths))


def _numbers_series(values: np.ndarray) -> pl.Series:
    if values.dtype == np.bool_:
        return pl.Series(np.ascontiguousarray(values).view(np.uint8) != 0)
    return pl.Series(np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="))))


def _list_series(values: pl.Series, counts: I64, valid: Flags) -> pl.Series:
    """Return a list column of consecutive values."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    flat = values.to_arrow()
    made = pa.LargeListArray.from_arrays(pa.array(offsets), flat)
    return _known(pl.Series(made), valid)


def _known(series: pl.Series, valid: Flags) -> pl.Series:
    """Return the values of some messages, null in the others."""
    return series if valid.all() else pl.select(pl.when(pl.lit(pl.Series(valid))).then(pl.lit(series))).to_series()


def _read_fixed(walk: _Walk, field: Field, name: str, columns: dict[str, pl.Series]) -> None:
    length = field.length or 0
    if field.primitive in ("", *_DTYPES):
        if walk.has_headers:
            walk.numbers("u4")
        _read_items(walk, field, name, columns, np.full(len(walk.at), length, np.int64))
        return
    size = np.dtype(field.primitive).itemsize
    if length > MAX_ITEMS:
        walk.step(size * length, size)
    else:
        values = walk.numbers(field.primitive, length)
        flat = _numbers_series(values.reshape(-1))
        columns[name] = _list_series(flat, np.full(len(values), length, np.int64), walk.whole)


def _read_sequence(walk: _Walk, field: Field, name: str, columns: dict[str, pl.Series]) -> None:
    if field.primitive in ("", *_DTYPES):
        item = Field("item", field.primitive, field.fields)
        if walk.has_headers:
            walk.numbers("u4")
        counts = walk.counts(min_bytes((item,)))
        columns[f"{name}.count"] = pl.Series(counts.astype(np.uint32))
        _read_items(walk, field, name, columns, counts)
        return
    size = np.dtype(field.primitive).itemsize
    counts = walk.counts(size)
    columns[f"{name}.count"] = pl.Series(counts.astype(np.uint32))
    # An empty sequence has no items to align.
    align = min(size, walk.max_align)
    aligned = walk.origin + -((walk.at - walk.origin) // -align) * align
    walk.at = np.where(counts > 0, aligned, walk.at)
    starts = walk.skip(counts * size)
    kept = np.where(walk.ok & (counts <= MAX_ITEMS), counts, 0)
    values = gather(walk.buffer, starts, kept * size).view(np.dtype(field.primitive).newbyteorder(walk.order))
    columns[name] = _list_series(_numbers_series(values), kept, walk.whole & (counts <= MAX_ITEMS))


def _read_items(walk: _Walk, field: Field, name: str, columns: dict[str, pl.Series], counts: I64) -> None:
    """Read items that may differ in size: the first of all messages, then the second of those that have one, and so on."""
    walk.whole = walk.whole & (counts <= MAX_ITEMS)  # what follows a longer one is not found
    counts = np.where(walk.whole & walk.ok, counts, 0)
    item = (Field("item", field.primitive, field.fields),)
    found: list[pl.DataFrame] = []
    read_of = np.zeros(len(counts), np.int64)
    for i in range(int(counts.max(initial=0))):
        rows = np.flatnonzero((counts > i) & walk.ok & walk.whole)
        if not len(rows):
            break
        walk.spend(_STEP_VALUES + _STEP_PER_FIELD * len(field.fields))
        part = walk.of(rows)
        read: dict[str, pl.Series] = {}
        _read(part, item, "", read)
        walk.put_back(rows, part)
        read_of[rows] = i + 1
        found.append(pl.DataFrame({"": pl.Series(rows), **read}))
    if not found:
        nothing = pl.Series([], dtype=_dtype(item[0]))
        columns[name] = _list_series(nothing, read_of, walk.whole)
        return
    items = pl.concat(found).sort("", maintain_order=True)
    values = items.select(pl.exclude("")).rename(lambda column: column.removeprefix("item."))
    series = values.to_series() if field.primitive else values.to_struct()
    columns[name] = _list_series(series, read_of, walk.whole)
