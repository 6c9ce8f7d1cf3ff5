"""ASAM MDF 4: bus logging and signals; finalised or not, sorted or not, compressed or not, cut or damaged.

`blocks` follows the structure, this module takes the data apart into records, `records` makes columns of them. A sorted data group has records of one layout, one after another. An unsorted one mixes layouts: each record
starts with an id, and values of variable length are between the records. Groups that hold frames are merged by
time as they are read; a frame keeps its place among those of its own group.

What a file may cost is asked of its budget before it is spent: the bytes of each block, and the memory of the columns
that records become, since channels may overlap and a block of zeros is many records.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import polars as pl

from argus_assets.common.texts import clean_name
from argus_assets.recordings.budget import Budget
from argus_assets.recordings.columns import I64, PADDING, rows_at
from argus_assets.recordings.formats.forward import ForwardDecoder, ForwardReader
from argus_assets.recordings.formats.mdf4.blocks import (
    CHANNEL_MASTER,
    CHANNEL_VIRTUAL_MASTER,
    GROUP_REMOTE_MASTER,
    GROUP_VLSD,
    LINEAR,
    UNFINISHED_COUNTERS,
    UNFINISHED_VLSD_OFFSETS,
    Blocks,
    Channel,
    ChannelGroup,
    DataGroup,
    Fragment,
    Structure,
    inflate,
    inflated_bytes,
)
from argus_assets.recordings.formats.mdf4.conversions import Conversion, Conversions, NotTaken
from argus_assets.recordings.formats.mdf4.cut import (
    Cutter,
    Piece,
    SignalData,
    SortedCutter,
    Task,
    UnsortedCutter,
    joined,
)
from argus_assets.recordings.formats.mdf4.records import (
    SIGNALS,
    Layout,
    Records,
    Rows,
    bus_frames,
    concat_in_order,
    is_bytes,
    is_text,
    layout_of,
    signal_columns,
)
from argus_assets.recordings.model import ChannelSummary, FrameBatch, Limits, Source, TopicKey
from argus_assets.recordings.parallel import pass_on, staged
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS

_MAX_RECORD_BYTES: Final = 16 * 1024**2
MIXED_PIECE_BYTES: Final = 1024**2
"""Of unsorted data at a time: finding records takes many bytes for each of theirs, which should stay in the cache."""
PIECE_BYTES: Final = 8 * 1024**2
"""Of sorted data at a time."""

JOINED_BYTES: Final = 64 * 1024
"""Blocks that are smaller than this together are read as one."""

_JOINED_BLOCKS: Final = 256
TASK_BYTES: Final = 32 * 1024**2
"""Memory of the columns that are made at a time."""

_BATCH_BYTES: Final = 128 * 1024**2
"""Memory of the columns that are handed out at a time."""

_STEP_BYTES: Final = 1024
"""Cost of a column for each run of records, however short: making it takes as long as so many bytes of a long one."""

_RUN_BYTES: Final = 32 * 1024
"""Cost of a run of records, however short, for the same reason."""

_MAX_STREAMS: Final = 16
"""Data groups that are read side by side with threads of their own; with more, each is read without."""


@dataclass(slots=True)
class _Decoded:
    """Some records, decoded.

    Attributes:
        frames: `schema.FRAMES`, numbered from 0, or `None`.
        rows: Records by number of their group.
        bad: Times that could not be had by number of their group.
        channels: Frames by channel and kind.
        size: Bytes of the columns, with what they were made of.
    """

    frames: pl.DataFrame | None = None
    topics: dict[TopicKey, pl.DataFrame] = field(default_factory=dict)
    rows: dict[int, int] = field(default_factory=dict)
    bad: dict[int, int] = field(default_factory=dict)
    channels: dict[tuple[str, str], int] = field(default_factory=dict)
    size: int = 0
    first_ns: int | None = None
    last_ns: int | None = None

    def add(self, number: int, rows: Rows) -> None:
        """Count the rows of a group."""
        self.rows[number] = rows.table.height
        self.bad[number] = rows.bad_times
        for key, count in rows.channels.items():
            self.channels[key] = self.channels.get(key, 0) + count
        self.first_ns = rows.first_ns if self.first_ns is None else min(self.first_ns, rows.first_ns)
        self.last_ns = rows.last_ns if self.last_ns is None else max(self.last_ns, rows.last_ns)


@dataclass(slots=True)
class _Asked:
    """Requests of a group's layout to budget and conversions.

    Attributes:
        has_data: Whether its columns count in the budget.
        over: Names of columns beyond those that one group may have.
        refused: Names of channels whose conversions cannot be applied, each with the reason.
    """

    budget: Budget
    conversions: Conversions
    group: ChannelGroup
    has_data: bool
    over: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)

    def column(self, name: str, others: int) -> bool:
        """Return whether a column of this name may be added to so many others."""
        if others >= self.budget.limits.max_columns:
            self.over.append(name)
            return False
        return not self.has_data or self.budget.take("columns", at=self.group.at, name=name)

    def conversion(self, channel: Channel) -> Conversion | None:
        """Return the conversion of a channel, if it can be applied and is more than a linear one of numbers."""
        scaling = channel.scaling
        of_numbers = not is_text(channel) and not is_bytes(channel)
        if scaling.is_identity or (scaling.kind == LINEAR and of_numbers):
            return None
        try:
            found = self.conversions.at(scaling.at)
        except NotTaken as refusal:
            self.refused.append((channel.name, refusal.reason))
            return None
        if is_bytes(channel) or found.takes_text == of_numbers:
            reason = f"one of {'texts' if found.takes_text else 'numbers'}, which the channel does not have"
        elif found.is_text and channel.type in (CHANNEL_MASTER, CHANNEL_VIRTUAL_MASTER):
            reason = "one that gives texts, of a time"
        else:
            return found
        self.refused.append((channel.name, reason))
        return None


_Stored = tuple[Fragment, bytes]
"""A fragment and its bytes as they are stored, of one that is not compressed with what follows it."""


@dataclass(frozen=True, slots=True)
class _Work:
    """Records to be decoded together.

    Attributes:
        cost: What they count in the budget: memory of the columns, and time where that is more.
        size: Memory while they wait.
    """

    tasks: Sequence[Task]
    cost: int
    size: int


class Mdf4Reader(ForwardReader[_Decoded]):
    """One pass over one MDF4 file."""

    max_batch_bytes = _BATCH_BYTES

    def __init__(self, source: Source, budget: Budget, *, name: str, version: int) -> None:
        super().__init__(source, budget, name=name, version=version)
        self._blocks = Blocks(source, budget, self._report)
        self._conversions = Conversions(self._blocks, max_depth=budget.limits.max_depth)
        self._signal_data: dict[int, SignalData] = {}
        self._start_ns = 0
        self._unfinished = 0
        self._layouts: dict[int, Layout] = {}
        self._channels: dict[tuple[str, str], int] = {}
        self._rows: dict[int, int] = {}
        self._bad_times: dict[int, int] = {}
        self._topic_of: dict[int, str] = {}

    def _streams(self) -> Generator[Iterator[_Decoded]]:
        structure = self._blocks.structure()
        self._start_ns, self._unfinished = structure.start_ns, structure.unfinished
        self._lay_out(structure)
        if not self.summary.problems and not any(data.groups for data in structure.data_groups):
            self._problem(
                "bad_record", "channel groups", "none that is linked", 0,
                "The recording is empty, or its structure is damaged.",
            )  # fmt: skip
        bus: list[DataGroup] = []
        signals: list[DataGroup] = []
        for group in structure.data_groups:
            layouts = [self._layouts[g.number] for g in group.groups if g.number in self._layouts]
            (bus if any(layout.event is not None for layout in layouts) else signals).append(group)
        yield _merged([self._stream(group, streams=len(bus)) for group in bus])
        for group in signals:
            yield self._stream(group, streams=1)

    # ------------------------------------------------------------------------------------------ structure

    def _lay_out(self, structure: Structure) -> None:
        """Find out how to read each group that has records."""
        names: set[str] = set()
        for data, group in ((d, g) for d in structure.data_groups for g in d.groups):
            if group.flags & GROUP_VLSD or not group.channels:
                continue
            if group.flags & GROUP_REMOTE_MASTER or group.record_bytes > _MAX_RECORD_BYTES:
                self._problem(
                    "unsupported", "records with their time, of at most 16 MiB", f"group {group.number} ({group.name})",
                    group.at, "The group was not read.", group.cycles,
                )  # fmt: skip
                continue
            asked = _Asked(self._budget, self._conversions, group, has_data=data.data != 0)
            layout, unread = layout_of(group, asked.conversion, asked.column)
            if asked.has_data and not self._budget.take(
                "topics" if layout.event is None else "channels", at=group.at, name=layout.event or layout.topic,
                frames_lost=group.cycles,
            ):  # fmt: skip
                continue
            if layout.event is None and layout.topic in names:
                topic = layout.topic
                while topic in names:
                    topic = f"{topic}#{group.number}"
                layout = replace(layout, group=replace(group, name=topic))
            names.add(layout.topic)
            if unread:
                self._problem(
                    "unsupported", "channels inside their records, of sizes that are known",
                    f"group {group.number}: {', '.join(unread)[:200]}", group.at, "These channels were not read.", 0,
                )  # fmt: skip
            if layout.event is not None and layout.master is None:
                self._problem(
                    "bad_timestamp", f"a time for each frame of group {group.number} ({layout.event})", "none", group.at,
                    "These frames have the time at which the recording starts.", 0,
                )  # fmt: skip
            if layout.event is None and (layout.master is None or not layout.fields):
                if group.cycles and layout.fields:
                    self._problem(
                        "unsupported", "signals over time", f"group {group.number} ({layout.topic})", group.at,
                        "The group has no time and was not read.", 0,
                    )  # fmt: skip
                continue
            self._layouts[group.number] = layout
            self._topic_of[group.number] = layout.event or layout.topic
            if asked.over:
                self._problem(
                    "over_limit", f"at most {self._limits.max_columns:,} columns in group {group.number} ({layout.topic})",
                    f"{len(asked.over):,} more, the first of them {clean_name(asked.over[0])!r}", group.at,
                    "They were not read. If the recording is genuine, raise max_columns (ARGUS_LIMITS).", 0,
                )  # fmt: skip
            for name, reason in asked.refused:
                self._problem(
                    "unsupported",
                    f"a conversion of {name} in group {group.number} ({self._topic_of[group.number]}) that can be applied",
                    reason, group.at, "The column holds raw values.", 0,
                )  # fmt: skip

    # ------------------------------------------------------------------------------------------ data

    def _stream(self, group: DataGroup, *, streams: int) -> Generator[_Decoded]:
        """Yield the decoded records of a data group in order, beside so many other streams."""
        layouts = self._layouts
        readable = [g for g in group.groups if g.number in layouts]
        if not readable or not group.data:
            return
        cutter: Cutter
        if group.id_bytes:
            ordinal = bool(self._unfinished & UNFINISHED_VLSD_OFFSETS)
            cutter = UnsortedCutter(group, layouts, self._report, ordinal=ordinal)
            variable = max(len(layouts[g.number].variable) for g in readable)
            # The values of all records of a piece are looked for together, of each channel of variable length.
            piece_bytes = max(min(JOINED_BYTES, MIXED_PIECE_BYTES), MIXED_PIECE_BYTES // (1 + variable // 16))
        else:
            cutter = SortedCutter(layouts[readable[0].number], self._signal_data_at, self._report)
            piece_bytes = PIECE_BYTES
        limits, start_ns = self._limits, self._start_ns
        workers = limits.workers if streams <= _MAX_STREAMS else 1
        share = min(streams, _MAX_STREAMS)

        def opened(stored: Sequence[_Stored]) -> list[Piece]:
            return [_open(fragment, raw, limits) for fragment, raw in stored]

        def decoded(work: _Work) -> _Decoded:
            return _decode(work, start_ns)

        pieces = staged(
            self._stored(group, piece_bytes), opened, pass_on, workers=workers,
            weight=lambda stored: sum(inflated_bytes(fragment, limits) for fragment, _ in stored),
            max_weight=limits.max_in_flight_bytes // share,
        )  # fmt: skip
        yield from staged(
            self._work(cutter, pieces, piece_bytes, TASK_BYTES // share), decoded, pass_on, workers=workers,
            weight=lambda work: work.size, max_weight=_BATCH_BYTES // share,
        )  # fmt: skip

    def _stored(self, group: DataGroup, piece_bytes: int) -> Generator[list[_Stored]]:
        """Yield fragments as they are stored, small ones together, as far as the budget allows."""
        held: list[_Stored] = []
        held_bytes = 0
        for fragment in self._blocks.fragments(group.data, unfinished=self._unfinished, piece_bytes=piece_bytes):
            size = inflated_bytes(fragment, self._limits)
            if held and (held_bytes + size > JOINED_BYTES or len(held) >= _JOINED_BLOCKS):
                yield held
                held, held_bytes = [], 0
            if not self._budget.inflate(size, at=fragment.at):
                break
            behind = PADDING if fragment.method is None else 0
            stored = min(fragment.stored, self._limits.max_chunk_bytes)
            held.append((fragment, self._blocks.read(fragment.at, stored + behind)))
            held_bytes += size
        if held:
            yield held

    def _work(
        self, cutter: Cutter, opened: Iterable[Sequence[Piece]], piece_bytes: int, max_bytes: int
    ) -> Generator[_Work]:
        """Yield records to be decoded, as far as the budget allows."""
        for piece in joined(self._sound(opened), JOINED_BYTES):
            for part in piece.parts(piece_bytes):
                for tasks in cutter.cut(part):
                    if not self._budget.inflate(_RUN_BYTES, at=part.fragment.at):
                        return
                    for work in _works(tasks, max_bytes):
                        if not self._budget.inflate(work.cost, at=part.fragment.at):
                            return
                        yield work

    def _sound(self, opened: Iterable[Sequence[Piece]]) -> Generator[Piece]:
        for pieces in opened:
            for piece in pieces:
                if piece.problem is not None:
                    self._report(piece.problem)
                yield piece

    def _signal_data_at(self, at: int) -> SignalData:
        if at not in self._signal_data:
            fragments = [
                f for f in self._blocks.fragments(at) if self._budget.inflate(inflated_bytes(f, self._limits), at=f.at)
            ]
            self._signal_data[at] = SignalData(self._blocks, fragments, self._limits, self._report)
        return self._signal_data[at]

    # ------------------------------------------------------------------------------------------ results

    def _take(self, decoded: _Decoded) -> tuple[FrameBatch, int]:
        for own, new in (
            (self._rows, decoded.rows),
            (self._bad_times, decoded.bad),
            (self._channels, decoded.channels),
        ):
            for key, count in new.items():
                own[key] = own.get(key, 0) + count  # type: ignore[index] # each with its own keys
        summary = self.summary
        summary.cover(decoded.first_ns, decoded.last_ns)
        frames = FRAMES.empty() if decoded.frames is None else decoded.frames
        first = summary.frames
        summary.frames += frames.height
        numbers = pl.Series("frame", np.arange(first, summary.frames, dtype=np.uint64))
        frames.replace_column(frames.get_column_index("frame"), numbers)
        return FrameBatch(frames, LOGS.empty(), DIAGNOSTICS.empty(), decoded.topics), decoded.size

    def _finish(self) -> None:
        summary = self.summary
        self._blocks.report_again()
        for number, count in sorted(self._bad_times.items()):
            if count:
                self._problem(
                    "bad_timestamp", f"times in group {number} ({self._topic_of[number]})", f"{count} invalid",
                    self._layouts[number].group.at, "These rows have the time at which the recording starts.", 0,
                )  # fmt: skip
        if not self._unfinished & UNFINISHED_COUNTERS:
            known = summary.frames_lost  # reported already where it was seen
            for number, layout in self._layouts.items():
                missing = layout.group.cycles - self._rows.get(number, 0)
                reported = min(known, max(missing, 0))
                missing, known = missing - reported, known - reported
                if missing > 0:
                    self._problem(
                        "truncated" if any(p.kind == "truncated" for p in summary.problems) else "bad_record",
                        f"{layout.group.cycles} records in group {number} ({self._topic_of[number]})",
                        f"{self._rows.get(number, 0)}", layout.group.at,
                        "The recording was cut off or damaged; what is there was read.", missing,
                    )  # fmt: skip
        summary.problems.sort(key=lambda p: p.offset or 0)
        summary.channels = [ChannelSummary(name, kind, n) for (name, kind), n in sorted(self._channels.items())]


def _open(fragment: Fragment, raw: bytes, limits: Limits) -> Piece:
    if fragment.method is None:
        return Piece(fragment, raw, max(0, len(raw) - fragment.size), None, is_last=False)
    data, problem = inflate(fragment, raw, limits)
    return Piece(fragment, data, 0, problem, is_last=False)


def _works(tasks: Sequence[Task], max_bytes: int) -> Generator[_Work]:
    """Yield tasks that belong together, in runs of records whose columns take about `max_bytes`."""
    frames = [task for task in tasks if task.layout.event is not None]
    if len(frames) > 1:  # in the order of the file, whatever their groups
        works = [_work_of(task) for task in frames]
        yield _Work(frames, sum(w.cost for w in works), sum(w.cost for w in works) + len(frames[0].records.buffer))
        frames = []
    for task in (*frames, *(task for task in tasks if task.layout.event is None)):
        rows = max(1, max_bytes // task.layout.row_bytes)
        for first in range(0, task.records.count, rows):
            yield _work_of(task.part(first, rows))


def _work_of(task: Task) -> _Work:
    layout = task.layout
    cost = layout.row_bytes * task.records.count + _STEP_BYTES * layout.steps
    for value in task.variable.values():
        cost += int(value.lengths.sum())
        if value.buffer is not task.records.buffer:
            cost += len(value.buffer)
    held = len(task.records.buffer) if layout.event is not None else 0
    return _Work((task,), cost, cost + held)


def _decode(work: _Work, start_ns: int) -> _Decoded:
    """Decode records into columns; frames of several groups in file order."""
    decoded = _Decoded(size=work.size)
    frames: list[pl.DataFrame] = []
    positions: list[I64] = []
    for task in work.tasks:
        layout, records, number = task.layout, task.records, task.layout.group.number
        if task.positions is not None:
            size = layout.group.record_bytes
            gathered = np.concatenate(
                [rows_at(records.buffer, task.positions, size).reshape(-1), np.zeros(PADDING, np.uint8)]
            )
            records = Records(gathered, 0, size, records.count, records.number)
        rows = (bus_frames if layout.event is not None else signal_columns)(records, layout, start_ns, task.variable)
        decoded.add(number, rows)
        if layout.event is not None:
            frames.append(rows.table)
            positions.append(np.zeros(0, np.int64) if task.positions is None else task.positions)
        else:
            decoded.topics[layout.topic, SIGNALS] = rows.table
    if frames:
        decoded.frames = frames[0] if len(frames) == 1 else concat_in_order(frames, positions)
    return decoded


# ---------------------------------------------------------------------------------------------- merging


def _merged(streams: Sequence[Iterator[_Decoded]]) -> Iterator[_Decoded]:
    """Merge the frames of several streams by time, each stream in its own order; one stream passes unchanged.

    A frame counts as late as the latest before it in its stream, so that a clock that jumps back moves no frame.
    """
    if len(streams) <= 1:
        yield from (decoded for stream in streams for decoded in stream)
        return
    if len(streams) > _MAX_STREAMS:  # by parts, as each step looks at every stream
        size = -(-len(streams) // _MAX_STREAMS)
        streams = [_merged(streams[first : first + size]) for first in range(0, len(streams), size)]
    waiting: list[tuple[pl.DataFrame, I64] | None] = [None] * len(streams)
    latest = [-(2**63)] * len(streams)
    live = set(range(len(streams)))
    while live or any(w is not None for w in waiting):
        for i in sorted(live):
            while waiting[i] is None and i in live:
                decoded = next(streams[i], None)
                if decoded is None:
                    live.discard(i)
                    break
                frames, decoded.frames = decoded.frames, None
                yield decoded
                if frames is not None and frames.height:
                    times = frames["timestamp"].to_physical().to_numpy()
                    keys = np.maximum(np.maximum.accumulate(times), latest[i])
                    latest[i] = int(keys[-1])
                    waiting[i] = frames, keys
        heads = [(i, w) for i, w in enumerate(waiting) if w is not None]
        if not heads:
            continue
        bound = min((int(keys[-1]) for i, (_, keys) in heads if i in live), default=2**63 - 1)
        tables: list[pl.DataFrame] = []
        order: list[I64] = []
        for i, (frames, keys) in heads:
            if keys[0] > bound:
                continue
            count = int(np.searchsorted(keys, bound, "right"))
            tables.append(frames.head(count))
            order.append(keys[:count])
            waiting[i] = (frames.slice(count), keys[count:]) if count < len(keys) else None
        yield _Decoded(frames=concat_in_order(tables, order))


class Mdf4Decoder(ForwardDecoder):
    """MDF 4.x files, among them unfinalised ones as CANedge loggers upload them."""

    name = "mdf4"
    version = 6
    seeks = True
    """The structure may be before or behind the data, and groups are merged from different places."""
    reader = Mdf4Reader

    def matches(self, head: bytes) -> bool:
        """Return whether the file starts with an identification block of version 4."""
        return head[:8] in (b"MDF     ", b"UnFinMF ") and head[8:9] == b"4"
