"""From raw to physical values: conversion blocks (ASAM MDF 4.1, 4.17; 4.2 for bit fields) read and applied.

A conversion may refer to others, so reading is bounded: each block is read once, a circle or deeper nesting is refused,
and so is one that would run more steps than `_MAX_STEPS`. A refusal states its reason; the caller keeps raw values.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from argus_assets.common.texts import clean_name
from argus_assets.recordings.formats.mdf4.blocks import CONVERSION, Blocks
from argus_assets.recordings.formats.mdf4.formula import MAX_CHARS, FormulaError, parse_formula

Values = npt.NDArray[Any]
Physical = Values | pl.Series
"""Numbers as an array of one dimension, texts as a column."""

F64 = npt.NDArray[np.float64]

_OWN_LINKS: Final = 4
"""Links before those that belong to the kind: name, unit, comment and inverse."""
_MAX_STEPS: Final = 1024
_MAX_MASKS: Final = 64
"""Fields of a bit field: there are 64 bits."""
_NUMBER_BYTES: Final = 8


class _Kind(IntEnum):
    """Kind of a conversion block (table 4.17.2)."""

    NONE = 0
    LINEAR = 1
    RATIONAL = 2
    ALGEBRAIC = 3
    INTERPOLATED = 4
    NEAREST = 5
    RANGES = 6
    VALUE_TO_TEXT = 7
    RANGE_TO_TEXT = 8
    TEXT_TO_VALUE = 9
    TEXT_TO_TEXT = 10
    BITS = 11


class NotTaken(Exception):
    """A conversion cannot be applied.

    Attributes:
        reason: Why, for a problem row.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Conversion:
    """A conversion that can be applied.

    Attributes:
        apply: Makes as many physical values as it gets raw ones. Always of the same type, and it raises nothing.
        takes_text: Its raw values are texts.
        is_text: Its physical values are texts.
        steps: How many conversions it is, with those that it refers to.
        row_bytes: Memory that it takes for a value, at most.
    """

    apply: Callable[[Any], Physical]
    takes_text: bool = False
    is_text: bool = False
    steps: int = 1
    row_bytes: int = _NUMBER_BYTES


class Conversions:
    """Reads the conversions of one file, each once.

    Args:
        blocks: Of the file.
        max_depth: How deep conversions may refer to others.
    """

    def __init__(self, blocks: Blocks, *, max_depth: int) -> None:
        self._blocks = blocks
        self._max_depth = max_depth
        self._read: dict[int, Conversion | NotTaken] = {}
        self._open: set[int] = set()

    def at(self, at: int) -> Conversion:
        """Return the conversion of a block.

        Raises:
            NotTaken: It cannot be applied.
        """
        if at in self._open:
            raise NotTaken("a conversion that refers to itself")
        if len(self._open) >= self._max_depth:
            raise NotTaken(f"more than {self._max_depth} conversions that refer to each other")
        if at not in self._read:
            self._open.add(at)
            try:
                self._read[at] = self._conversion(at)
            except NotTaken as refusal:
                self._read[at] = refusal
            finally:
                self._open.discard(at)
        found = self._read[at]
        if isinstance(found, NotTaken):
            raise NotTaken(found.reason)
        if found.steps > _MAX_STEPS:
            raise NotTaken(f"more than {_MAX_STEPS} steps of conversion")
        return found

    def _conversion(self, at: int) -> Conversion:
        block = self._blocks.shared(at)
        if block is None or block.name != b"##CC" or len(block.data) < CONVERSION.size:
            raise NotTaken("not a conversion block")
        kind, _, _, references, count, _, _ = CONVERSION.unpack_from(block.data)
        if len(block.data) < CONVERSION.size + 8 * count or len(block.links) < _OWN_LINKS + references:
            raise NotTaken(
                f"{count} values and {references} references, in a block of {len(block.data)} bytes "
                f"and {len(block.links)} links"
            )
        raw = block.data[CONVERSION.size : CONVERSION.size + 8 * count]
        links = block.links[_OWN_LINKS : _OWN_LINKS + references]
        values = np.frombuffer(raw, "<f8").astype(np.float64)
        match kind:
            case _Kind.NONE:
                return Conversion(_unchanged)
            case _Kind.LINEAR:
                return _linear(_enough(values, 2))
            case _Kind.RATIONAL:
                return _rational(_enough(values, 6))
            case _Kind.ALGEBRAIC:
                return self._algebraic(links)
            case _Kind.INTERPOLATED | _Kind.NEAREST:
                return _lookup(values, interpolate=kind == _Kind.INTERPOLATED)
            case _Kind.RANGES:
                return _ranges(values)
            case _Kind.VALUE_TO_TEXT:
                return self._texts(_exact(_numbers(values)), links, len(values))
            case _Kind.RANGE_TO_TEXT:
                bounds = _numbers(values[: len(values) // 2 * 2]).reshape(-1, 2)
                return self._texts(_within(bounds[:, 0], bounds[:, 1]), links, len(bounds))
            case _Kind.TEXT_TO_VALUE | _Kind.TEXT_TO_TEXT:
                return self._of_text(links, values if kind == _Kind.TEXT_TO_VALUE else None)
            case _Kind.BITS:
                return self._bits(links, np.frombuffer(raw, "<u8").astype(np.uint64))
            case _:
                raise NotTaken(f"conversion {kind}, which is none of 0 to {max(_Kind)}")

    def _algebraic(self, links: Sequence[int]) -> Conversion:
        text = self._blocks.text(links[0], max_chars=MAX_CHARS + 1) if links else ""
        try:
            formula = parse_formula(text)
        except FormulaError as error:
            raise NotTaken(f"the formula {clean_name(text)!r}: {error}") from error
        # A step takes about as long as a number takes memory.
        return Conversion(formula, row_bytes=_NUMBER_BYTES * len(formula.steps))

    def _text(self, at: int) -> str:
        return self._blocks.text(at)

    def _entry(self, at: int) -> "str | Conversion":
        """Return a text, or another conversion that makes the value."""
        return self.at(at) if at and self._blocks.name_at(at) == b"##CC" else self._text(at)

    def _texts(
        self, index_of: Callable[[Values], npt.NDArray[np.int64]], links: Sequence[int], count: int
    ) -> Conversion:
        """Return a table of texts and conversions, followed by the default."""
        if len(links) < count:
            raise NotTaken(f"{count} values and {len(links)} references")
        default = links[count] if len(links) > count else 0
        made: dict[int, str | Conversion] = {}
        texts: list[str] = []
        nested: dict[int, int] = {}  # number of the conversion's own group by the link to it
        groups: list[Conversion] = []
        group_of: list[int] = []
        for link in (*links[:count], default):
            if link not in made:
                made[link] = self._entry(link)
            found = made[link]
            if isinstance(found, str):
                texts.append(found)
                group_of.append(-1)
            else:
                if found.takes_text:
                    raise NotTaken("a table of numbers that refers to a conversion of texts")
                if link not in nested:
                    nested[link] = len(groups)
                    groups.append(found)
                texts.append("")
                group_of.append(nested[link])
        # Without a default and without texts, a value without entry is NaN, not an empty text.
        numeric = all(g >= 0 for g in group_of[: -1 if not default else None]) and not any(g.is_text for g in groups)
        numeric = numeric and bool(groups)
        longest = max(map(len, (t.encode() for t in set(texts))), default=0)
        return Conversion(
            _Table(index_of, count, pl.Series(texts, dtype=pl.String), np.array(group_of), tuple(groups), numeric),
            is_text=not numeric,
            steps=1 + sum(g.steps for g in groups),
            row_bytes=max([_NUMBER_BYTES + longest, *(g.row_bytes for g in groups)]) + _NUMBER_BYTES,
        )

    def _of_text(self, links: Sequence[int], values: F64 | None) -> Conversion:
        """Convert texts to numbers, or to texts if there are no `values`; the last entry is the default."""
        if values is not None:
            keys = [self._text(link) for link in links]
            if len(values) < len(keys):
                raise NotTaken(f"{len(keys)} texts and {len(values)} values")
            results = pl.Series(values[: len(keys)], dtype=pl.Float64)
            default = pl.Series([values[len(keys)] if len(values) > len(keys) else None], dtype=pl.Float64)
        else:
            pairs = len(links) // 2
            keys = [self._text(link) for link in links[: 2 * pairs : 2]]
            results = pl.Series([self._text(link) for link in links[1 : 2 * pairs : 2]], dtype=pl.String)
            default = pl.Series([self._text(links[-1]) if len(links) % 2 else ""], dtype=pl.String)
        number_of: dict[str, int] = {}
        for number, key in enumerate(keys):
            number_of.setdefault(key, number)
        table = pl.concat([results, default])
        place = pl.Series(list(number_of.values()), dtype=pl.UInt32)
        known = pl.Series(list(number_of), dtype=pl.String)

        def apply(raw: pl.Series) -> Physical:
            found = raw.replace_strict(known, place, default=len(table) - 1, return_dtype=pl.UInt32)
            made = table.gather(found.set(raw.is_null(), None))
            return made if values is None else made.to_numpy()

        longest = int(table.str.len_bytes().max() or 0) if values is None else 0  # type: ignore[arg-type] # of numbers
        return Conversion(apply, takes_text=True, is_text=values is None, row_bytes=2 * _NUMBER_BYTES + longest)

    def _bits(self, links: Sequence[int], masks: npt.NDArray[np.uint64]) -> Conversion:
        """Return the fields of a number, each with a table of its own: `name=text|name=text`."""
        if len(masks) > _MAX_MASKS or len(links) < len(masks):
            raise NotTaken(f"{len(masks)} bit masks and {len(links)} references")
        fields: list[tuple[np.uint64, str, str | Conversion]] = []
        for mask, link in zip(masks, links, strict=False):
            entry = self._entry(link)
            if isinstance(entry, Conversion) and entry.takes_text:
                raise NotTaken("a bit field that refers to a conversion of texts")
            fields.append((mask, self._name(link) if isinstance(entry, Conversion) else "", entry))
        nested = [(name, entry) for _, name, entry in fields if isinstance(entry, Conversion)]
        plain = sum(len(entry.encode()) for _, _, entry in fields if isinstance(entry, str))
        return Conversion(
            _Bits(tuple(fields)),
            is_text=True,
            steps=1 + len(fields) + sum(c.steps for _, c in nested),
            row_bytes=_NUMBER_BYTES + plain + sum(len(name.encode()) + 2 + c.row_bytes for name, c in nested),
        )

    def _name(self, at: int) -> str:
        block = self._blocks.shared(at)
        return self._text(block.links[0]) if block is not None and block.links else ""


# ---------------------------------------------------------------------------------------------- numbers


def _unchanged(raw: Values) -> Values:
    return raw


def _enough(values: F64, count: int) -> F64:
    if len(values) < count:
        raise NotTaken(f"{len(values)} values where {count} are needed")
    return values


def _numbers(values: F64) -> F64:
    if np.isnan(values).any():
        raise NotTaken("a table with keys that are not numbers")
    return values


def _linear(p: F64) -> Conversion:
    return Conversion(lambda raw: raw.astype(np.float64) * p[1] + p[0])


def _rational(p: F64) -> Conversion:
    if p[1] == p[5] != 0 and not p[[0, 2, 3, 4]].any():
        return Conversion(_unchanged)

    def apply(raw: Values) -> F64:
        x = raw.astype(np.float64)
        return (p[0] * x * x + p[1] * x + p[2]) / (p[3] * x * x + p[4] * x + p[5])

    return Conversion(apply, row_bytes=4 * _NUMBER_BYTES)


def _lookup(values: F64, *, interpolate: bool) -> Conversion:
    """Return a table of keys and values: interpolated, or the value of the nearest key, the lower one of two."""
    pairs = _enough(values, 2)[: len(values) // 2 * 2].reshape(-1, 2)
    order = np.argsort(_numbers(pairs[:, 0]), kind="stable")
    keys, results = pairs[order, 0], pairs[order, 1]

    def nearest(raw: Values) -> F64:
        x = raw.astype(np.float64)
        above = np.minimum(np.searchsorted(keys, x), len(keys) - 1)
        below = np.maximum(above - 1, 0)
        found = np.where(np.abs(x - keys[above]) >= np.abs(x - keys[below]), results[below], results[above])
        return np.where(np.isnan(x), np.nan, found)

    def between(raw: Values) -> F64:
        return np.interp(raw.astype(np.float64), keys, results)

    return Conversion(between if interpolate else nearest, row_bytes=4 * _NUMBER_BYTES)


def _ranges(values: F64) -> Conversion:
    triples = values[: len(values) // 3 * 3].reshape(-1, 3)
    default = values[-1] if len(values) % 3 == 1 else np.nan
    index_of = _within(_numbers(triples[:, 0]), _numbers(triples[:, 1]))
    results = np.append(triples[:, 2], default)
    return Conversion(lambda raw: results[index_of(raw)], row_bytes=4 * _NUMBER_BYTES)


def _exact(keys: F64) -> Callable[[Values], npt.NDArray[np.int64]]:
    """Find the first entry with the key; the number of entries means none."""
    order = np.argsort(keys, kind="stable")
    ascending = keys[order]
    numbers = np.append(order, len(keys))

    def index_of(raw: Values) -> npt.NDArray[np.int64]:
        x = raw.astype(np.float64)
        place = np.searchsorted(ascending, x)
        known = np.append(ascending, np.nan)[place] == x
        return numbers[np.where(known, place, len(keys))]

    return index_of


def _within(lower: F64, upper: F64) -> Callable[[Values], npt.NDArray[np.int64]]:
    """Find the entry whose range holds a value; the number of entries means none.

    A range ends before its upper bound, and with it where raw values are integers. Of ranges that overlap, the one that
    starts last counts.
    """
    order = np.argsort(lower, kind="stable")
    starts, ends = lower[order], np.append(upper[order], np.nan)
    numbers = np.append(order, len(lower))

    def index_of(raw: Values) -> npt.NDArray[np.int64]:
        x = raw.astype(np.float64)
        place = np.searchsorted(starts, x, "right") - 1  # of none -1: the entry behind the last
        inside = x <= ends[place] if raw.dtype.kind in "iu" else x < ends[place]
        return numbers[np.where(inside, place, len(lower))]

    return index_of


# ---------------------------------------------------------------------------------------------- texts


def _as_text(physical: Physical) -> pl.Series:
    if isinstance(physical, pl.Series):
        return physical
    unique, place = np.unique(physical, return_inverse=True)
    return pl.Series([str(v) for v in unique.tolist()], dtype=pl.String).gather(place.astype(np.uint32))


@dataclass(frozen=True, slots=True)
class _Table:
    """Texts and conversions by entry.

    Attributes:
        index_of: Number of the entry of each value, `count` for the default.
        texts: Of each entry, and of the default.
        group_of: Which of `groups` makes the value of an entry, -1 for its text.
        numeric: All values are made by conversions that give numbers.
    """

    index_of: Callable[[Values], npt.NDArray[np.int64]]
    count: int
    texts: pl.Series
    group_of: npt.NDArray[np.int64]
    groups: tuple[Conversion, ...]
    numeric: bool

    def __call__(self, raw: Values) -> Physical:
        entries = self.index_of(raw)
        if not self.groups:
            return self.texts.gather(entries.astype(np.uint32))
        group = self.group_of[entries]
        order = np.argsort(group, kind="stable")
        present, first = np.unique(group[order], return_index=True)
        numbers = np.full(len(raw), np.nan)
        texts: list[pl.Series] = []
        for number, rows in zip(present, np.split(order, first[1:]), strict=True):
            if number < 0:
                if not self.numeric:
                    texts.append(self.texts.gather(entries[rows].astype(np.uint32)))
                continue
            made = self.groups[number].apply(raw[rows])
            if self.numeric:
                numbers[rows] = made
            else:
                texts.append(_as_text(made))
        if self.numeric:
            return numbers
        back = np.empty(len(raw), np.uint32)
        back[order] = np.arange(len(raw), dtype=np.uint32)
        return pl.concat(texts).gather(back) if texts else pl.Series([], dtype=pl.String)


@dataclass(frozen=True, slots=True)
class _Bits:
    """Bit masks, each with a name and what makes a text of the bits."""

    fields: tuple[tuple[np.uint64, str, str | Conversion], ...]

    def __call__(self, raw: Values) -> pl.Series:
        if raw.dtype.kind == "f":
            whole = np.isfinite(raw) & (raw == np.trunc(raw)) & (np.abs(raw) < 2.0**63)
            bits = np.where(whole, raw, 0).astype(np.int64).astype(np.uint64)
        else:
            whole = np.ones(len(raw), np.bool_)
            bits = raw.astype(np.uint64)
        unique, place = np.unique(bits, return_inverse=True)
        parts: list[pl.Series] = []
        for number, (mask, name, entry) in enumerate(self.fields):
            masked = unique & mask
            if isinstance(entry, str):
                texts = pl.select(pl.when(pl.Series(masked != 0)).then(pl.lit(entry)).otherwise(pl.lit(""))).to_series()
            else:
                texts = _as_text(entry.apply(masked))
                texts = f"{name}=" + texts if name else texts
            parts.append(texts.set(texts == "", None).alias(str(number)))  # nothing is joined for none
        joined = pl.DataFrame(parts).select(pl.concat_str(pl.all(), separator="|", ignore_nulls=True)).to_series()
        made = joined.gather(place.astype(np.uint32))
        return made if whole.all() else made.set(pl.Series(~whole), "")
