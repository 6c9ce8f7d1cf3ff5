"""Lines as arrays: find the tokens of all lines of a block at once, and decode their digits by table and weights.

A text format may take lines apart this way before its regular expressions do. It takes only lines of which it knows that the
expressions would read the same; all others are left to them. So it is never more than a faster way to the same rows.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from argus_assets.recordings.columns import I64, U8, Flags, as_text, binary_series, rows_at
from argus_assets.recordings.formats.text.lines import MAX_LINE_BYTES, MAX_TIME_NS

_HEX: Final = np.full(256, 0xFF, np.uint8)
"""Value of a hexadecimal digit, 0xFF for any other byte; likewise `_DECIMAL`."""
_HEX[[*b"0123456789"]] = np.arange(10)
_HEX[[*b"ABCDEF"]] = np.arange(10, 16)
_HEX[[*b"abcdef"]] = np.arange(10, 16)
_DECIMAL: Final = np.full(256, 0xFF, np.uint8)
_DECIMAL[[*b"0123456789"]] = np.arange(10)

_BASE64: Final = np.full(256, 0xFF, np.uint8)
"""Value of a digit of base64 (RFC 4648, table 1)."""
_BASE64[[*b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"]] = np.arange(64)

_BLANK: Final = np.zeros(256, bool)
_BLANK[[*b" \t\r\n"]] = True

_PRINTED: Final = np.zeros(256, bool)
_PRINTED[33:127] = True

_DECIMALS: Final = (6, 3, 4, 5, 1, 2, 7, 8, 9)
"""Numbers of decimals, the usual ones first."""

MAX_WHOLE_DIGITS: Final = 10
"""Digits of whole seconds that are read here: until the year 2286."""

I32 = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a block that are not empty.

    Attributes:
        buffer: The block, with `PADDING` bytes behind it.
        line: Number of each line in the block, from 0; shape (n,), as all others.
        starts: Where it starts in `buffer`.
        sizes: Its bytes, without the line end.
        count: Number of all lines of the block, empty ones too.
    """

    buffer: U8
    line: I64
    starts: I64
    sizes: I64
    count: int

    @classmethod
    def of(cls, data: bytes) -> "Lines":
        """Find the lines of a block. Bytes that are not UTF-8 are replaced by U+FFFD."""
        try:
            data.decode()
        except UnicodeDecodeError:
            data = data.decode("utf-8", "replace").encode()
        buffer = np.frombuffer(data + b"\n" * PADDING, np.uint8)
        ends = np.append(np.flatnonzero(buffer[: len(data)] == ord("\n")), len(data))
        starts = np.concatenate([[0], ends[:-1] + 1])
        sizes = ends - starts
        line = np.flatnonzero(sizes)
        return cls(buffer, line, starts[line], sizes[line], len(ends))

    def table(self, wanted: Flags | None = None) -> pl.DataFrame:
        """Return lines as `line` (number), `text` and `size` (bytes). One that is too long is cut to `MAX_LINE_BYTES`."""
        line, starts, sizes = self.line, self.starts, self.sizes
        if wanted is not None:
            line, starts, sizes = line[wanted], starts[wanted], sizes[wanted]
        kept = np.minimum(sizes, MAX_LINE_BYTES)
        long = np.flatnonzero(sizes > MAX_LINE_BYTES)
        for _ in range(3):  # back to the start of a character
            kept[long] -= (self.buffer[starts[long] + kept[long]] & 0xC0) == 0x80
        return pl.DataFrame({"line": line, "text": as_text(binary_series(self.buffer, starts, kept)), "size": sizes})

    def contain(self, word: bytes) -> Flags:
        """Return which lines contain a word of lower-case letters, whatever their case."""
        found = np.zeros(len(self.line), bool)
        text = self.buffer.tobytes().lower()
        at = [match.start() for match in re.finditer(re.escape(word), text)] if word in text else []
        if at:
            found[np.searchsorted(self.starts, at, side="right") - 1] = True
        return found

    def tokens(self, separator: str = "") -> "Tokens":
        """Return the tokens of all lines: what stands between spaces and tabs, or between single separators."""
        if separator:
            blank = self.buffer == ord(separator)
            for byte in b"\r\n":
                blank |= self.buffer == byte
        else:
            blank = self.buffer <= ord(" ")
            controls = np.count_nonzero(self.buffer < ord(" "))
            if controls != sum(np.count_nonzero(self.buffer == byte) for byte in b"\t\r\n"):
                blank = _BLANK[self.buffer]
        edge = np.flatnonzero(blank[1:] != blank[:-1]) + 1
        if not blank[0]:
            edge = np.concatenate([[0], edge])
        # The block ends with blanks: edges are start, end, start, end, …
        starts, ends = edge[0::2], edge[1::2]
        first = np.searchsorted(starts, self.starts)
        return Tokens(self.buffer, starts, ends, first, np.searchsorted(starts, self.starts + self.sizes) - first)


PADDING: Final = 160
"""Bytes behind a block: more than the digits of 64 data bytes, so that what is read past its end is within the buffer."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of lines.

    Attributes:
        buffer: Bytes of the block.
        starts: Where each token starts; `ends` where it ends. Shape (tokens,).
        first: Index of the first token of each line; `count` how many it has. Shape (lines,).
    """

    buffer: U8
    starts: I64
    ends: I64
    first: I64
    count: I64

    def start(self, rows: I64, number: int | I64) -> I64:
        """Return where the token of a number starts in each of the given lines, which must have it; likewise `end`."""
        return self.starts[self.first[rows] + number]

    def end(self, rows: I64, number: int | I64) -> I64:
        """Return where the token of a number ends."""
        return self.ends[self.first[rows] + number]


@dataclass(slots=True)
class Taken:
    """What was read of some lines as arrays; `rows` says of which. All of shape (n,).

    Attributes:
        ok: Lines of which everything is as it should be; the others are left to the expressions.
    """

    lines: Lines
    rows: I64
    ok: Flags = field(init=False)

    def __post_init__(self) -> None:
        self.ok = np.ones(len(self.rows), bool)

    def byte(self, at: I64) -> U8:
        """Return the byte at each position."""
        return self.lines.buffer[at]

    def must(self, flags: Flags) -> None:
        """Leave the lines for which `flags` is false."""
        self.ok &= flags

    def number(self, start: I64, end: I64, *, base: int, max_digits: int) -> I64:
        """Return the values of digits of any number from 1 to `max_digits`; leave lines that have others."""
        table, width = (_HEX if base == 16 else _DECIMAL), end - start
        self.must((width >= 1) & (width <= max_digits))
        widest = int(width.max(initial=1, where=self.ok))
        self.must(end >= widest)
        # The digits of all lines stand right-aligned in one matrix, a row for each place: arrays as long as there are lines.
        places = _turned(table[rows_at(self.lines.buffer, np.maximum(end - widest, 0), widest)])
        value = np.zeros(len(start), np.int64)
        for place, digits in enumerate(places):
            beyond = width < widest - place
            if beyond.any():
                digits[beyond] = 0
            value = value * base + digits
        self.ok &= places.max(axis=0, initial=0) < base
        return value

    def time_ns(self, start: I64, end: I64, *, digits: int = 9, points: bytes = b".") -> I64:
        """Return decimal numbers with a point as nanoseconds; leave lines that have none, or more than nine decimals.

        Args:
            start: Where the number starts.
            end: Where it ends.
            digits: Decimals that are a nanosecond: 9 of seconds, 6 of milliseconds.
            points: What may stand as the decimal point.
        """
        decimals = np.zeros(len(start), np.int64)
        left = np.arange(len(start))
        for places in _DECIMALS:
            at = end[left] - 1 - places
            byte = self.byte(np.maximum(at, 0))
            here = (at > start[left]) & np.logical_or.reduce([byte == point for point in points])
            decimals[left[here]] = places
            left = left[~here]
            if not len(left):
                break
        self.must((decimals > 0) & (decimals <= digits))
        point = np.maximum(end - 1 - decimals, 0)
        whole = self.number(start, point, base=10, max_digits=MAX_WHOLE_DIGITS)
        part = self.number(point + 1, end, base=10, max_digits=max(_DECIMALS))
        self.must(whole < MAX_TIME_NS // 10**digits)
        return whole * 10**digits + part * 10 ** np.maximum(digits - decimals, 0)

    def text(self, start: I64, end: I64, *, max_bytes: int) -> pl.Series:
        """Return printed ASCII characters; leave lines that have others, or more than `max_bytes`."""
        width = end - start
        self.must((width >= 1) & (width <= max_bytes))
        for place in range(int(width.max(initial=0))):
            if place >= max_bytes:
                break
            has = width > place
            self.ok &= ~has | _PRINTED[self.lines.buffer[np.where(has, start + place, 0)]]
        return as_text(binary_series(self.lines.buffer, start, np.minimum(np.maximum(width, 0), max_bytes)))

    def is_word(self, start: I64, end: I64, *words: bytes) -> Flags:
        """Return which tokens are one of some words of equal length."""
        size = len(words[0])
        found = np.zeros(len(start), bool)
        places = [self.lines.buffer[start + place] for place in range(size)]
        for word in words:
            found |= np.logical_and.reduce([places[n] == byte for n, byte in enumerate(word)])
        return (end - start == size) & found

    def base64(self, start: I64, end: I64, *, max_bytes: int) -> tuple[pl.Series, I64]:
        """Return data bytes in base64, and how many; leave lines that have others, or bits that belong to no byte."""
        width = end - start
        self.must((width >= 0) & (width % 4 == 0) & (width <= (max_bytes + 2) // 3 * 4))
        wide = np.where(self.ok, width, 0)
        length, starts = np.zeros(len(start), np.int64), np.zeros(len(start), np.int64)
        parts: list[U8] = []
        at = 0
        for size in np.flatnonzero(np.bincount(wide, minlength=1)):
            if size == 0:
                continue
            rows = np.flatnonzero(wide == size)
            text = _turned(rows_at(self.lines.buffer, start[rows], int(size)))
            pads = (text[-1] == ord("=")).astype(np.int64) + (text[-2:] == ord("=")).all(axis=0)
            value = _BASE64[text]
            value[-1][pads > 0] = 0
            value[-2][pads > 1] = 0
            whole = ~((pads == 1) & (value[-2] & 0b11 != 0)) & ~((pads == 2) & (value[-3] & 0b1111 != 0))
            self.ok[rows] &= whole & (value.max(axis=0) < 64)
            a, b, c, d = value[0::4], value[1::4], value[2::4], value[3::4]
            made = np.empty((int(size) // 4 * 3, len(rows)), np.uint8)
            made[0::3], made[1::3], made[2::3] = a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d
            parts.append(_turned(made).reshape(-1))
            starts[rows] = at + np.arange(len(rows)) * len(made)
            length[rows] = len(made) - pads
            at += len(parts[-1])
        self.must(length <= max_bytes)
        return binary_series(np.concatenate([*parts, np.zeros(PADDING, np.uint8)]), starts, length), length

    def payload(self, start: I64, length: I64, *, step: int, max_bytes: int) -> pl.Series:
        """Return data bytes of two hexadecimal digits each; leave lines that have others, or more than `max_bytes`.

        Args:
            start: Where the first digit stands.
            length: Number of bytes.
            step: From one byte's first digit to that of the next: 2, or 3 with a space between, which must be there.
            max_bytes: Of a line.
        """
        self.must((length >= 0) & (length <= max_bytes))
        wanted = np.where(self.ok, length, 0)
        starts = np.zeros(len(length), np.int64)
        parts: list[U8] = []
        at = 0
        for size in np.flatnonzero(np.bincount(wanted, minlength=1)):
            if size == 0:
                continue
            rows = np.flatnonzero(wanted == size)
            text = _turned(rows_at(self.lines.buffer, start[rows], int(size) * step - (step - 2)))
            high, low = _HEX[text[0::step]], _HEX[text[1::step]]
            good = (high | low).max(axis=0) < 16
            if step == 3 and size > 1:
                good &= (text[2::3] == ord(" ")).all(axis=0)
            self.ok[rows] &= good
            parts.append(_turned((high << 4 | low).astype(np.uint8)).reshape(-1))
            starts[rows] = at + np.arange(len(rows)) * int(size)
            at += len(parts[-1])
        return binary_series(np.concatenate([*parts, np.zeros(PADDING, np.uint8)]), starts, wanted)


def _turned(matrix: U8) -> U8:
    """Return the transpose, in rows that are contiguous."""
    return np.ascontiguousarray(matrix.T)


Fast = Callable[[Lines], tuple[Flags, pl.DataFrame]]
"""(lines) → which of them were read, shape (n,), and their rows: `lines.COLUMNS` and `raw_dlc`."""


def rows_of(
    taken: Taken, *, columns: dict[str, pl.Series | npt.NDArray[np.generic] | bool]
) -> tuple[Flags, pl.DataFrame]:
    """Return which lines were read, and their rows.

    Args:
        taken: What was read.
        columns: `lines.COLUMNS` but `line`, and `raw_dlc`, of `taken.rows`; a truth value holds for all.
    """
    n = len(taken.rows)
    made = pl.DataFrame(
        {
            "line": taken.lines.line[taken.rows],
            **{name: np.full(n, value) if isinstance(value, bool) else value for name, value in columns.items()},
        }
    )
    read = np.zeros(len(taken.lines.line), bool)
    read[taken.rows[taken.ok]] = True
    return read, made if taken.ok.all() else made.filter(pl.Series(taken.ok))
