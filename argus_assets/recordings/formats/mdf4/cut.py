"""The data of an MDF 4 data group cut into records, in the order of the file, with the values of variable length.

Where data is lost or invalid, cutting resumes where records follow each other again.
"""

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np

from argus_assets.recordings.chain import Walker
from argus_assets.recordings.columns import I64, PADDING, U8, Flags, rows_at
from argus_assets.recordings.formats.mdf4.blocks import GROUP_VLSD, Blocks, Data, DataGroup, Fragment, inflate
from argus_assets.recordings.formats.mdf4.records import Layout, Records, Variable, raw_values
from argus_assets.recordings.model import Limits, Problem

_MAX_SIGNAL_BYTES: Final = 256 * 1024**2
_MAX_VALUE_BYTES: Final = 16 * 1024**2
_CACHED_FRAGMENTS: Final = 3
_LENGTH_BYTES: Final = 4
_TAIL_RECORDS: Final = 64
_MAX_SEARCHES: Final = 10_000
"""Searches for records that follow each other, in one data group."""


Report = Callable[[Problem], None]


@dataclass(frozen=True, slots=True)
class Piece:
    """An inflated fragment; of a damaged one what could be inflated.

    Attributes:
        data: The bytes, and `behind` more that belong to nothing.
        is_last: Nothing follows in its data group.
    """

    fragment: Fragment
    data: Data
    behind: int
    problem: Problem | None
    is_last: bool

    @property
    def size(self) -> int:
        """Return the number of bytes present."""
        return len(self.data) - self.behind

    @property
    def is_whole(self) -> bool:
        """Return whether none of its bytes is missing."""
        return self.size == self.fragment.size

    def parts(self, size: int) -> "Generator[Piece]":
        """Yield the piece in parts of at most `size` bytes, so that taking one apart needs less memory."""
        if self.fragment.method is None or self.size <= size:
            yield self
            return
        whole = memoryview(self.data)[: self.size]
        for start in range(0, len(whole), size):
            data = bytes(whole[start : start + size])
            is_last = start + size >= len(whole)
            claimed = self.fragment.size - start if is_last else len(data)
            part = replace(self.fragment, start=self.fragment.start + start, size=claimed)
            yield Piece(part, data, 0, None, self.is_last and is_last)

    def buffer(self, rest: bytes, skip: int = 0) -> U8:
        """Return the rest of the piece before, the bytes from `skip` on, and `PADDING` arbitrary bytes."""
        if not rest and self.behind >= PADDING:
            return np.frombuffer(self.data, np.uint8)[skip : len(self.data) - self.behind + PADDING]
        return padded(rest, memoryview(self.data)[skip : self.size])


@dataclass(frozen=True, slots=True)
class Task:
    """Records of one group to be decoded.

    Attributes:
        positions: Where each record starts in the buffer, behind its id; `None` for records that follow each other.
        variable: Values of the channels of variable length, by their name.
    """

    layout: Layout
    records: Records
    positions: I64 | None
    variable: Mapping[str, Variable]

    def part(self, first: int, count: int) -> "Task":
        """Return up to so many of the records, from number `first` of them on."""
        records = self.records
        if first == 0 and count >= records.count:
            return self
        taken = slice(first, first + count)
        own = replace(
            records, at=records.at + first * records.stride, count=min(count, records.count - first),
            number=records.number + first,
        )  # fmt: skip
        positions = None if self.positions is None else self.positions[taken]
        return Task(self.layout, own, positions, {name: value.part(taken) for name, value in self.variable.items()})


def joined(pieces: Iterable[Piece], size: int) -> Generator[Piece]:
    """Yield the pieces, small neighbours joined to about `size` bytes, the last one marked."""
    held: list[Piece] = []
    held_bytes = 0

    def join(*, is_last: bool) -> Piece:
        first = held[0]
        if len(held) == 1:
            return replace(first, is_last=is_last)
        data = b"".join(memoryview(piece.data)[: piece.size] for piece in held)
        last = held[-1].fragment
        fragment = replace(first.fragment, size=len(data), stored=max(0, last.at + last.stored - first.fragment.at))
        return Piece(fragment, data, 0, None, is_last)

    for piece in pieces:
        if held:
            end = held[-1].fragment.start + held[-1].fragment.size
            if (
                held_bytes + piece.size > size
                or not held[-1].is_whole
                or not piece.is_whole
                or end != piece.fragment.start
            ):
                yield join(is_last=False)
                held, held_bytes = [], 0
        held.append(piece)
        held_bytes += piece.size
    if held:
        yield join(is_last=True)


class Cutter(Protocol):
    """Takes the pieces of one data group in order."""

    def cut(self, piece: Piece) -> list[list[Task]]:
        """Return the records that are whole now; those of one list belong together. A list may be empty: a run without any."""
        ...


def _valueless(name: str, lost: int, at: int | None) -> Problem:
    return Problem(
        "bad_record", f"a value of {name} for each record", f"none for {lost}", at, 0, "These rows have no value of it."
    )


def padded(*data: Data) -> U8:
    """Join bytes, with room behind them so that words can be read at any place."""
    return np.frombuffer(b"".join([*data, bytes(PADDING)]), np.uint8)


# ---------------------------------------------------------------------------------------------- sorted


class SignalData:
    """Values of variable length in blocks of their own: a length of 4 bytes, then the value."""

    def __init__(self, blocks: Blocks, fragments: Sequence[Fragment], limits: Limits, report: Report) -> None:
        self._blocks = blocks
        self._fragments = fragments
        self._limits = limits
        self._report = report
        self._starts = np.array([f.start for f in fragments], np.int64)
        self._size = fragments[-1].start + fragments[-1].size if fragments else 0
        self._cache: OrderedDict[int, Data] = OrderedDict()

    def values(self, offsets: I64) -> tuple[Variable, Flags]:
        """Return the values at these offsets, and which of them exist."""
        inside = (offsets >= 0) & (offsets <= self._size - _LENGTH_BYTES)
        low = int(offsets[inside].min()) if inside.any() else 0
        inside &= offsets < low + _MAX_SIGNAL_BYTES  # damaged offsets may lie far from all others
        high = int(offsets[inside].max()) if inside.any() else 0
        length = int.from_bytes(b"".join(self._bytes(high, high + _LENGTH_BYTES)), "little")
        buffer = padded(*self._bytes(low, high + _LENGTH_BYTES + min(length, _MAX_SIGNAL_BYTES)))
        end = len(buffer) - PADDING
        starts = np.where(inside, offsets - low, 0)
        inside &= starts + _LENGTH_BYTES <= end
        starts[~inside] = 0
        lengths = np.ndarray((len(buffer) - 3,), "<u4", buffer, 0, (1,))[starts].astype(np.int64)
        starts += _LENGTH_BYTES
        inside &= starts + lengths <= end
        return Variable(buffer, np.where(inside, starts, 0), np.where(inside, lengths, 0)), inside

    def _bytes(self, low: int, high: int) -> list[Data]:
        """Return the bytes from `low` to `high` that can be read, in their runs."""
        out: list[Data] = []
        for index in range(max(int(np.searchsorted(self._starts, low, "right")) - 1, 0), len(self._fragments)):
            fragment = self._fragments[index]
            skip = max(0, low - fragment.start)
            wanted = min(high - fragment.start, fragment.size) - skip
            if wanted <= 0:
                break
            if fragment.method is None:
                out.append(self._blocks.read(fragment.at + skip, wanted))
            else:
                out.append(memoryview(self._inflated(index))[skip : skip + wanted])
            if len(out[-1]) < wanted:
                break
        return out

    def _inflated(self, index: int) -> Data:
        if index not in self._cache:
            fragment = self._fragments[index]
            self._cache[index], problem = inflate(
                fragment, self._blocks.read(fragment.at, fragment.stored), self._limits
            )
            if problem is not None:
                self._report(problem)
            if len(self._cache) > _CACHED_FRAGMENTS:
                self._cache.popitem(last=False)
        return self._cache[index]


class SortedCutter:
    """Records of one group, one after another.

    Args:
        layout: Of the group.
        signal_data: Finds the values behind a channel's link.
        report: Takes what is wrong.
    """

    def __init__(self, layout: Layout, signal_data: Callable[[int], SignalData], report: Report) -> None:
        self._layout = layout
        self._report = report
        self._size = layout.group.record_bytes
        self._rest = bytearray()
        self._expected = 0
        self._variable = {name: signal_data(layout.fields[name].data) for name in layout.variable}

    def cut(self, piece: Piece) -> list[list[Task]]:
        """See `Cutter`."""
        start = piece.fragment.start
        if start != self._expected:
            self._rest.clear()
        if self._rest and len(self._rest) + piece.size < self._size and piece.is_whole and not piece.is_last:
            self._rest += memoryview(piece.data)[: piece.size]
            self._expected = start + piece.size
            return []
        skip = 0 if self._rest or not self._size else -start % self._size
        number = (start + skip - len(self._rest)) // max(self._size, 1)
        buffer = piece.buffer(bytes(self._rest), skip)
        end = len(buffer) - PADDING
        whole = end // self._size if self._size else 0
        self._rest = bytearray(buffer[whole * self._size : end] if piece.is_whole else b"")
        self._expected = start + piece.fragment.size
        if piece.is_last and self._rest:
            self._report(
                Problem(
                    "truncated", f"a record of {self._size} bytes", f"{len(self._rest)} bytes of it",
                    piece.fragment.at + piece.fragment.stored, None, "The recording ends inside a record.",
                )
            )  # fmt: skip
        count = self._without_zeros(buffer[: whole * self._size], number, piece.fragment.at)
        if self._layout.group.cycles and piece.is_last and number + count > self._layout.group.cycles:
            count = max(self._layout.group.cycles - number, 0) if number < self._layout.group.cycles else count
        if not count:
            return []
        records = Records(buffer, 0, self._size, count, number)
        variable: dict[str, Variable] = {}
        for name, data in self._variable.items():
            offsets = raw_values(records, self._layout.fields[name]).astype(np.int64)
            variable[name], inside = data.values(offsets)
            lost = int(np.count_nonzero(~inside))
            if lost and self._layout.event is None:
                variable[name] = replace(variable[name], missing=~inside)
                self._report(_valueless(name, lost, piece.fragment.at))
            elif lost:
                self._report(
                    Problem(
                        "bad_record", f"a payload for each frame from number {number} on", f"none for {lost}",
                        piece.fragment.at, None, "Frames whose payload is lost were left out.",
                    )
                )  # fmt: skip
                kept = np.flatnonzero(inside)
                variable[name] = variable[name].part(kept)
                records = Records(buffer, 0, self._size, len(kept), number)
                return [[Task(self._layout, records, kept * self._size, variable)]] if len(kept) else []
        return [[Task(self._layout, records, None, variable)]]

    def _without_zeros(self, data: U8, number: int, at: int) -> int:
        """Return the records before a tail of zeros: space that the recorder allocated and never wrote."""
        count = len(data) // self._size if self._size else 0
        if not count or data[-self._size :].any():
            return count
        written = np.flatnonzero(data)
        kept = -(-(int(written[-1]) + 1) // self._size) if len(written) else min(count, 1 if number == 0 else 0)
        if kept < count:
            self._report(
                Problem(
                    "truncated", "records", f"{count - kept} of zeros from number {number + kept} on", at, None,
                    "Space that was never written; it was left out.",
                )
            )  # fmt: skip
        return kept


# ---------------------------------------------------------------------------------------------- unsorted


class UnsortedCutter:
    """Records of several groups, each behind the id of its group; values of variable length are records too.

    Args:
        group: The data group.
        layouts: Of its groups, by their number; groups without are skipped.
        report: Takes what is wrong.
        ordinal: Offsets of values of variable length were never written: the nth value is that of the nth record.
    """

    def __init__(self, group: DataGroup, layouts: Mapping[int, Layout], report: Report, *, ordinal: bool) -> None:
        self._id_bytes = group.id_bytes
        self._report = report
        self._ordinal = ordinal
        end_of_ids = min(2 ** (8 * group.id_bytes), 2**63)
        groups = [g for g in group.groups if g.record_id < end_of_ids]
        self._layouts = {g.record_id: layouts[g.number] for g in groups if g.number in layouts}
        self._ids = np.array(sorted({g.record_id for g in groups}), np.int64)
        sizes = {g.record_id: g.record_bytes for g in groups}
        self._vlsd = {g.record_id for g in groups if g.flags & GROUP_VLSD}
        self._is_vlsd = np.array([int(i) in self._vlsd for i in self._ids], np.bool_)
        self._sizes = np.array([0 if int(i) in self._vlsd else sizes[int(i)] for i in self._ids], np.int64)
        by_place = {g.at: g.record_id for g in groups if g.record_id in self._vlsd}
        self._value_id = {
            (record_id, name): by_place[layout.fields[name].data]
            for record_id, layout in self._layouts.items()
            for name in layout.variable
            if layout.fields[name].data in by_place
        }
        self._keys_of: dict[int, list[tuple[int, str]]] = {}
        for key, value_id in self._value_id.items():
            for record_id in {key[0], value_id}:
                self._keys_of.setdefault(record_id, []).append(key)
        self._numbers = dict.fromkeys(self._layouts, 0)
        self._totals: dict[int, int | None] = dict.fromkeys(self._vlsd, 0)
        self._rest = bytearray()
        self._needed = 0  # bytes of the record that `_rest` starts with, where they are known to be more than it has
        self._in_step = True
        self._searches = 0

    def cut(self, piece: Piece) -> list[list[Task]]:
        """See `Cutter`."""
        if self._searches > _MAX_SEARCHES:
            return []
        broken = not piece.is_whole
        before = len(self._rest)
        if before + piece.size < self._needed and not piece.is_last and not broken:
            self._rest += memoryview(piece.data)[: piece.size]
            return []
        buffer = piece.buffer(bytes(self._rest))
        end = len(buffer) - PADDING
        low = self._needed if self._needed <= end else 0  # a long record at the start needs no looking for others in it
        self._rest.clear()
        self._needed = 0
        walker = self._walker(buffer[low:], end - low)
        tasks: list[list[Task]] = []
        at = skipped = 0
        while at < end:
            places = np.zeros(0, np.int64)
            if self._in_step:
                places = walker.walk(max(at - low, 0)) + low
                if at < low:
                    places = np.concatenate([np.zeros(1, np.int64), places])
            if len(places):
                last = int(places[-1])
                following = (
                    low + int(walker.following[np.searchsorted(walker.places, last - low)]) if last >= low else low
                )
                waits = self._extent(buffer, following, end) is not None
                kept = self._take(buffer, places, tasks, final=piece.is_last or broken or not waits)
                at = following if kept == len(places) else int(places[kept])
                if kept < len(places):
                    break
                continue
            extent = self._extent(buffer, at, end) if self._in_step and not piece.is_last and not broken else None
            if extent is not None:
                self._needed = extent
                break
            self._searches += 1
            if self._searches > _MAX_SEARCHES:
                break
            found = walker.next_start(max(at + 1 if self._in_step else at, low) - low)
            self._lose_step()
            place = end if found is None else found + low
            skipped += place - at
            at = place
            self._in_step = found is not None
        if self._searches > _MAX_SEARCHES:
            self._report(
                Problem(
                    "over_limit", f"records that follow each other but for {_MAX_SEARCHES:,} places", "more",
                    piece.fragment.at + max(0, at - before), None, "The rest of the data group was not read.",
                )
            )  # fmt: skip
            return tasks
        if skipped:
            self._report(
                Problem(
                    "truncated" if piece.is_last and at >= end else "bad_record",
                    "records that follow each other", f"{skipped} bytes of no record",
                    piece.fragment.at + max(0, at - skipped - before), None, "They were skipped.",
                )
            )  # fmt: skip
        if broken:
            self._lose_step()
            self._in_step = False
        elif at < end:
            self._rest += buffer[at:end].tobytes()
        return tasks

    def _lose_step(self) -> None:
        """Note lost records: the offset that values of variable length count from has to be found again."""
        self._totals = dict.fromkeys(self._totals)

    def _extent(self, buffer: U8, at: int, end: int) -> int | None:
        """Return the size of the record that may start here and go on in the next piece; 0 where the bytes here do not show it."""
        if end - at < self._id_bytes:
            return 0
        index = np.searchsorted(
            self._ids, record_id := int.from_bytes(buffer[at : at + self._id_bytes].tobytes(), "little")
        )
        if index == len(self._ids) or self._ids[index] != record_id:
            return None
        size = self._id_bytes + int(self._sizes[index])
        if self._is_vlsd[index]:
            size += _LENGTH_BYTES
            if at + size > end:
                return 0
            length = int.from_bytes(buffer[at + size - _LENGTH_BYTES : at + size].tobytes(), "little")
            if length > _MAX_VALUE_BYTES:
                return None
            size += length
        return size if at + size > end else None

    def _walker(self, buffer: U8, end: int) -> Walker:
        """Return all places where a whole record may be."""
        n = max(end - self._id_bytes + 1, 0)
        if self._id_bytes == 1:
            index_of = np.full(256, -1, np.int8 if len(self._ids) < 127 else np.int16)
            known = self._ids[self._ids < 256]
            index_of[known] = np.arange(len(known))
            found = index_of[buffer[:n]]
            places = np.flatnonzero(found >= 0)
            index = found[places].astype(np.int64)
        else:
            read = np.ndarray((n,), f"<u{self._id_bytes}", buffer, 0, (1,))
            places = np.flatnonzero(np.isin(read, self._ids.astype(read.dtype)))
            index = np.searchsorted(self._ids, read[places].astype(np.int64))
        following = places + self._id_bytes + self._sizes[index]
        values = np.flatnonzero(self._is_vlsd[index])
        body = places[values] + self._id_bytes
        lengths = np.ndarray((len(buffer) - 3,), "<u4", buffer, 0, (1,))[np.minimum(body, end)]
        following[values] = body + _LENGTH_BYTES + lengths
        whole = (following <= end) & (following > places)
        return Walker(places[whole], following[whole], end)

    # ------------------------------------------------------------------------------------------ one run of records

    def _take(self, buffer: U8, places: I64, tasks: list[list[Task]], *, final: bool) -> int:
        """Make tasks of a run of records; return how many were taken: the last may have to wait for their values."""
        read = np.ndarray((len(buffer) - 7,), f"<u{self._id_bytes}", buffer, 0, (1,))
        ids = read[places].astype(np.int64)
        kept = len(places)
        values: dict[tuple[int, str], Variable] = {}
        order = np.argsort(ids, kind="stable")
        present, first = np.unique(ids[order], return_index=True)
        rows = dict(zip(present.tolist(), np.split(order, first[1:]), strict=True))
        none = np.zeros(0, np.int64)
        for key in dict.fromkeys(key for record_id in rows for key in self._keys_of.get(record_id, ())):
            value_id = self._value_id[key]
            own, theirs = rows.get(key[0], none), rows.get(value_id, none)
            kept = min(kept, self._match(key, value_id, buffer, places, own, theirs, values, final=final))
        if kept < len(places) - _TAIL_RECORDS:
            kept = len(places)  # what has no value here will have none further on
        group: list[Task] = []
        for record_id, own in rows.items():
            layout = self._layouts.get(record_id)
            if layout is None:
                continue
            mask = own < kept
            variable: dict[str, Variable] = {}
            for name in layout.variable:
                value = values.get((record_id, name))
                if layout.event is not None:
                    mask = mask & (value.starts >= 0 if value is not None else np.False_)
            lost = int(np.count_nonzero(own < kept)) - int(np.count_nonzero(mask))
            if lost:
                self._report(
                    Problem(
                        "bad_record", f"a payload for each frame of {layout.event}", f"none for {lost}", None, lost,
                        "Frames whose payload is lost were left out.",
                    )
                )  # fmt: skip
            for name in layout.variable:
                value = values.get((record_id, name))
                if value is not None:
                    missing = value.starts < 0
                    lost = int(np.count_nonzero(missing & mask))
                    if lost:
                        self._report(_valueless(name, lost, None))
                    value = replace(value, starts=np.maximum(value.starts, 0), missing=missing if lost else None)
                    variable[name] = value.part(mask)
            count = int(np.count_nonzero(mask))
            if count:
                records = Records(buffer, 0, 0, count, self._numbers[record_id])
                group.append(Task(layout, records, places[own[mask]] + self._id_bytes, variable))
            self._numbers[record_id] += int(np.count_nonzero(own < kept))
        for value_id in rows.keys() & self._totals.keys():
            total = self._totals[value_id]
            if total is not None:
                taken = rows[value_id][rows[value_id] < kept]
                body = places[taken] + self._id_bytes
                lengths = np.ndarray((len(buffer) - 3,), "<u4", buffer, 0, (1,))[body].astype(np.int64)
                self._totals[value_id] = total + int((lengths + _LENGTH_BYTES).sum())
        tasks.append(group)
        return kept

    def _match(  # noqa: PLR0917 - a step of `_take`
        self, key: tuple[int, str], value_id: int, buffer: U8, places: I64, own: I64, theirs: I64,
        values: dict[tuple[int, str], Variable], *, final: bool,
    ) -> int:  # fmt: skip
        """Find the values of the records `own` among the records `theirs`; return how many records are complete.

        A record without its value gets a start of -1.
        """
        record_id, name = key
        layout = self._layouts[record_id]
        body = places[theirs] + self._id_bytes
        lengths = np.ndarray((len(buffer) - 3,), "<u4", buffer, 0, (1,))[body].astype(np.int64)
        ends = np.cumsum(lengths + _LENGTH_BYTES)
        begins = ends - lengths - _LENGTH_BYTES
        if self._ordinal:
            match = np.arange(len(own))
            found = match < len(theirs)
            match = np.minimum(match, max(len(theirs) - 1, 0))
        else:
            gathered = rows_at(buffer, places[own] + self._id_bytes, layout.group.record_bytes).reshape(-1)
            contiguous = np.concatenate([gathered, np.zeros(PADDING, np.uint8)])
            records = Records(contiguous, 0, layout.group.record_bytes, len(own), 0)
            offsets = raw_values(records, layout.fields[name]).astype(np.int64)
            total = self._totals[value_id]
            if total is None and len(own) and len(theirs):
                total = self._calibrate(offsets, own, theirs, begins)
                self._totals[value_id] = total
            wanted = offsets - (total or 0)
            match = np.minimum(np.searchsorted(begins, wanted), max(len(theirs) - 1, 0))
            found = (begins[match] == wanted) if len(theirs) else np.zeros(len(own), np.bool_)
        if not len(theirs):
            values[key] = Variable(buffer, np.full(len(own), -1, np.int64), np.zeros(len(own), np.int64))
            return len(places) if final or not len(own) else int(own[0])
        starts = np.where(found, body[match] + _LENGTH_BYTES, -1)
        values[key] = Variable(buffer, starts, np.where(found, lengths[match], 0))
        if final:
            return len(places)
        # Records at the end may have their values in the next piece, and values their records.
        used = np.zeros(len(theirs), np.bool_)
        used[match[found]] = True
        last_found = int(own[found][-1]) if found.any() else -1
        open_records = own[(~found) & (own > last_found)]
        last_used = int(theirs[used][-1]) if used.any() else -1
        open_values = theirs[(~used) & (theirs > last_used)]
        return min([len(places), *open_records[:1].tolist(), *open_values[:1].tolist()])

    @staticmethod
    def _calibrate(offsets: I64, own: I64, theirs: I64, begins: I64) -> int:
        """Find the offset that the values of a run count from: each record's value is the one before or behind it."""
        best = 0
        best_count = -1
        for side in ("right", "left"):
            place = np.searchsorted(theirs, own, side) - (side == "left")
            good = (place >= 0) & (place < len(theirs))
            if not good.any():
                continue
            totals, counts = np.unique(offsets[good] - begins[place[good]], return_counts=True)
            if int(counts.max()) > best_count:
                best, best_count = int(totals[counts.argmax()]), int(counts.max())
        return best
