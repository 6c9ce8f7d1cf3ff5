"""ASAM MDF 4: bus logging and signals; finalised or not, sorted or not, compressed or not, cut or damaged.

`mdf4_blocks` follows the structure, this module takes the data apart into records, `mdf4_records` makes columns of
them. A sorted data group has records of one layout, one after another. An unsorted one mixes layouts: each record
starts with an id, and values of variable length stand between the records. Groups that hold frames are merged by
time as they are read; a frame keeps its place among those of its own group.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.columns import I64, PADDING, rows_at
from argus_assets.recordings.mdf4_blocks import (
    GROUP_REMOTE_MASTER,
    GROUP_VLSD,
    UNFINISHED_COUNTERS,
    UNFINISHED_VLSD_OFFSETS,
    Blocks,
    Channel,
    ChannelGroup,
    DataGroup,
    Fragment,
    Structure,
    inflate,
)
from argus_assets.recordings.mdf4_cut import Cutter, Piece, SignalData, SortedCutter, Task, UnsortedCutter
from argus_assets.recordings.mdf4_records import (
    SIGNALS,
    Convert,
    Layout,
    Records,
    Rows,
    Values,
    bus_frames,
    concat_in_order,
    layout_of,
    signal_columns,
)
from argus_assets.recordings.model import (
    ChannelSummary,
    FrameBatch,
    Problem,
    Reader,
    RecordingSummary,
    Source,
    TopicKey,
    concat_topics,
)
from argus_assets.recordings.pipeline import staged
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS

_MAX_RECORD_BYTES: Final = 16 * 1024**2
_MIXED_PIECE_BYTES: Final = 1024**2
"""Of unsorted data at a time: finding records takes many bytes for each of theirs, which should stay in the cache."""
_MAX_STREAMS: Final = 16
"""Data groups that are read side by side with threads of their own; with more, each is read without."""


class Mdf4Decoder:
    """MDF 4.x files, among them unfinalised ones as CANedge loggers upload them."""

    name = "mdf4"
    version = 5
    seeks = True
    """The structure may stand before or behind the data, and groups are merged from different places."""

    def matches(self, head: bytes) -> bool:
        """Whether the file starts with an identification block of version 4."""
        return head[:8] in (b"MDF     ", b"UnFinMF ") and head[8:9] == b"4"

    def open(self, source: Source, budget: Budget) -> Reader:
        """A reader over `source`."""
        return Mdf4Reader(source, budget, decoder=f"{self.name}/{self.version}")


@dataclass(slots=True)
class _Decoded:
    """What became of some records.

    Attributes:
        frames: `schema.FRAMES`, numbered from 0, or `None`.
        rows: Records by number of their group.
        bad: Times that could not be had by number of their group.
        unconverted: (group, channel) whose conversion failed.
        channels: Frames by channel and kind.
    """

    frames: pl.DataFrame | None = None
    topics: dict[TopicKey, pl.DataFrame] = field(default_factory=dict)
    rows: dict[int, int] = field(default_factory=dict)
    bad: dict[int, int] = field(default_factory=dict)
    unconverted: set[tuple[int, str]] = field(default_factory=set)
    channels: dict[tuple[str, str], int] = field(default_factory=dict)
    first_ns: int | None = None
    last_ns: int | None = None

    def add(self, number: int, rows: Rows) -> None:
        """Count the rows of a group."""
        self.rows[number] = rows.table.height
        self.bad[number] = rows.bad_times
        self.unconverted |= {(number, name) for name in rows.unconverted}
        for key, count in rows.channels.items():
            self.channels[key] = self.channels.get(key, 0) + count
        self.first_ns = rows.first_ns if self.first_ns is None else min(self.first_ns, rows.first_ns)
        self.last_ns = rows.last_ns if self.last_ns is None else max(self.last_ns, rows.last_ns)


class Mdf4Reader:
    """One pass over one MDF4 file; see `model.Reader`."""

    def __init__(self, source: Source, budget: Budget, *, decoder: str) -> None:
        self._source = source
        self._budget = budget
        self._limits = budget.limits
        self._blocks = Blocks(source)
        self._start_ns = 0
        self._unfinished = 0
        self._inflated = 0
        self._channels: dict[tuple[str, str], int] = {}
        self._rows: dict[int, int] = {}
        self._bad_times: dict[int, int] = {}
        self._unconverted: set[tuple[int, str]] = set()
        self._topic_of: dict[int, str] = {}
        self.summary = RecordingSummary("mdf4", decoder, self._blocks.size)

    def __iter__(self) -> Iterator[FrameBatch]:
        structure = self._blocks.structure()
        self._start_ns, self._unfinished = structure.start_ns, structure.unfinished
        layouts = self._layouts(structure)
        if not self._blocks.problems and not any(data.groups for data in structure.data_groups):
            self._problem(
                "bad_record", "channel groups", "none that a link leads to", 0,
                "The recording is empty, or its structure is damaged.",
            )  # fmt: skip
        bus: list[DataGroup] = []
        signals: list[DataGroup] = []
        for group in structure.data_groups:
            has_frames = any(g.number in layouts and layouts[g.number].event is not None for g in group.groups)
            (bus if has_frames else signals).append(group)
        workers = self._limits.workers if len(bus) <= _MAX_STREAMS else 1
        merged = _merged([self._stream(group, layouts, workers) for group in bus])
        yield from self._batches(merged)
        for group in signals:
            yield from self._batches(self._stream(group, layouts, self._limits.workers))
        self._close(structure, layouts)

    def _batches(self, stream: Iterator[_Decoded]) -> Generator[FrameBatch]:
        """Numbered batches of what a stream gives."""
        frames: list[pl.DataFrame] = []
        topics: list[Mapping[TopicKey, pl.DataFrame]] = []
        waiting = 0
        for decoded in stream:
            self._count(decoded)
            if decoded.frames is not None and decoded.frames.height:
                frames.append(decoded.frames)
                waiting += decoded.frames.height
            if decoded.topics:
                topics.append(decoded.topics)
                waiting += max(table.height for table in decoded.topics.values())
            if waiting >= self._limits.batch_frames:
                yield self._batch(frames, topics)
                frames, topics, waiting = [], [], 0
        if frames or topics:
            yield self._batch(frames, topics)

    def _batch(self, frames: list[pl.DataFrame], topics: list[Mapping[TopicKey, pl.DataFrame]]) -> FrameBatch:
        table = pl.concat(frames) if frames else FRAMES.empty()
        first = self.summary.frames
        self.summary.frames += table.height
        numbers = pl.Series("frame", np.arange(first, first + table.height, dtype=np.uint64))
        return FrameBatch(table.with_columns(numbers), LOGS.empty(), DIAGNOSTICS.empty(), concat_topics(topics))

    # ------------------------------------------------------------------------------------------ structure

    def _layouts(self, structure: Structure) -> dict[int, Layout]:
        """How to read each group that has records, by its number."""
        layouts: dict[int, Layout] = {}
        names: set[str] = set()
        for group in (g for data in structure.data_groups for g in data.groups):
            if group.flags & GROUP_VLSD or not group.channels:
                continue
            if group.flags & GROUP_REMOTE_MASTER or group.record_bytes > _MAX_RECORD_BYTES:
                self._problem(
                    "unsupported", "records with their time, of at most 16 MiB", f"group {group.number} ({group.name})",
                    group.at, "The group was not read.", group.cycles,
                )  # fmt: skip
                continue
            layout, unread = layout_of(group, self._conversion)
            if layout.event is None and layout.topic in names:
                layout = Layout(
                    _renamed(group, f"{layout.topic}#{group.number}"), layout.master, None, layout.fields,
                    layout.variable, layout.convert,
                )  # fmt: skip
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
            layouts[group.number] = layout
            self._topic_of[group.number] = layout.event or layout.topic
        return layouts

    def _conversion(self, channel: Channel) -> Convert | None:
        """Asammdf's implementation of a conversion that is neither none nor linear."""
        if channel.conversion.kind <= 1:
            return None
        from asammdf.blocks.v4_blocks import ChannelConversion

        try:
            arguments: Any = {"stream": self._source, "mapped": False, "tx_map": {}, "file_limit": self._blocks.size}
            found = ChannelConversion(address=channel.conversion.at, **arguments)
        except Exception:  # noqa: BLE001 - asammdf raises what its parsing happens to hit
            return _fail

        def convert(values: Values) -> Values:
            return np.asarray(found.convert(values, as_object=True))

        return convert

    # ------------------------------------------------------------------------------------------ data

    def _stream(self, group: DataGroup, layouts: Mapping[int, Layout], workers: int) -> Generator[_Decoded]:
        """What the records of a data group become, in their order."""
        readable = [g for g in group.groups if g.number in layouts]
        if not readable or not group.data:
            return
        report = self._report
        cutter: Cutter
        if group.id_bytes:
            ordinal = bool(self._unfinished & UNFINISHED_VLSD_OFFSETS)
            cutter = UnsortedCutter(group, layouts, report, ordinal=ordinal)
        else:
            cutter = SortedCutter(layouts[readable[0].number], self._signal_data, report)
        limits = self._limits

        def opened(item: tuple[Fragment, bytes, bool]) -> Piece:
            fragment, raw, is_last = item
            if fragment.method is None:  # read with what stands behind it
                return Piece(fragment, raw, max(0, len(raw) - fragment.size), None, is_last)
            data, problem = inflate(fragment, raw, limits)
            return Piece(fragment, data, 0, problem, is_last)

        def cut(pool: Executor, piece: Piece) -> "list[Future[_Decoded]]":
            if piece.problem is not None:
                self.summary.problems.append(piece.problem)
            return [pool.submit(_decode, tasks, self._start_ns) for tasks in cutter.cut(piece)]

        yield from staged(self._raw(group), opened, cut, workers=workers)

    def _raw(self, group: DataGroup) -> Generator[tuple[Fragment, bytes, bool]]:
        """Fragments as they are stored, each with whether it is the last."""
        held: tuple[Fragment, bytes] | None = None
        piece_bytes = _MIXED_PIECE_BYTES if group.id_bytes else None
        for fragment in self._blocks.fragments(group.data, unfinished=self._unfinished, piece_bytes=piece_bytes):
            if held is not None:
                yield *held, False
                held = None
            if not self._allowed(fragment):
                return
            behind = PADDING if fragment.method is None else 0
            held = fragment, self._blocks.read(fragment.at, min(fragment.stored, self._limits.max_chunk_bytes) + behind)
        if held is not None:
            yield *held, True

    def _allowed(self, fragment: Fragment) -> bool:
        """Whether a fragment is still within what a file may inflate to."""
        self._inflated += min(fragment.size, self._limits.max_chunk_bytes)
        if self._inflated <= self._limits.max_total_bytes:
            return True
        self._problem(
            "over_limit", f"at most {self._limits.max_total_bytes} bytes inflated", "more", fragment.at,
            "The rest of the recording was not read.",
        )  # fmt: skip
        return False

    def _signal_data(self, at: int) -> SignalData:
        fragments = [f for f in self._blocks.fragments(at) if self._allowed(f)]
        return SignalData(self._blocks, fragments, self._limits, self._report)

    # ------------------------------------------------------------------------------------------ results

    def _count(self, decoded: _Decoded) -> None:
        for own, new in (
            (self._rows, decoded.rows),
            (self._bad_times, decoded.bad),
            (self._channels, decoded.channels),
        ):
            for key, count in new.items():
                own[key] = own.get(key, 0) + count  # type: ignore[index] # each with its own keys
        self._unconverted |= decoded.unconverted
        self.summary.cover(decoded.first_ns, decoded.last_ns)

    def _report(self, problem: Problem) -> None:
        self.summary.problems.append(problem)
        self.summary.frames_lost += problem.frames_lost or 0

    def _problem(  # noqa: PLR0917 - the fields of a problem, in its order
        self, kind: str, expected: str, actual: str, at: int, advice: str = "", lost: int | None = None
    ) -> None:
        self._report(Problem(kind, expected, actual, at, lost, advice))

    def _close(self, structure: Structure, layouts: Mapping[int, Layout]) -> None:
        summary = self.summary
        summary.problems += self._blocks.problems
        for number, count in sorted(self._bad_times.items()):
            if count:
                self._problem(
                    "bad_timestamp", f"times in group {number} ({self._topic_of[number]})", f"{count} that are none",
                    layouts[number].group.at, "These rows have the time at which the recording starts.", 0,
                )  # fmt: skip
        for number, name in sorted(self._unconverted):
            self._problem(
                "unsupported", f"a conversion of {name} in group {number} ({self._topic_of[number]})",
                "one that cannot be applied", layouts[number].group.at, "The column holds raw values.", 0,
            )  # fmt: skip
        if not structure.unfinished & UNFINISHED_COUNTERS:
            known = summary.frames_lost  # told already where it was seen
            for number, layout in layouts.items():
                missing = layout.group.cycles - self._rows.get(number, 0)
                told = min(known, max(missing, 0))
                missing, known = missing - told, known - told
                if missing > 0:
                    self._problem(
                        "truncated" if any(p.kind == "truncated" for p in summary.problems) else "bad_record",
                        f"{layout.group.cycles} records in group {number} ({self._topic_of[number]})",
                        f"{self._rows.get(number, 0)}", layout.group.at,
                        "The recording was cut off or damaged; what is there was read.", missing,
                    )  # fmt: skip
        summary.problems.sort(key=lambda p: p.offset or 0)
        summary.channels = [ChannelSummary(name, kind, n) for (name, kind), n in sorted(self._channels.items())]


def _fail(_: Values) -> Values:
    raise ValueError


def _renamed(group: ChannelGroup, name: str) -> ChannelGroup:
    return ChannelGroup(
        group.at, group.number, group.record_id, group.cycles, group.flags, group.data_bytes, group.invalid_bytes,
        name, group.source, group.channels,
    )  # fmt: skip


def _decode(tasks: Sequence[Task], start_ns: int) -> _Decoded:
    """Columns of records; frames of several groups in the order of the file."""
    decoded = _Decoded()
    frames: list[pl.DataFrame] = []
    positions: list[I64] = []
    for task in tasks:
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
    """Frames of several streams by time, each stream in its own order; one stream as it is.

    A frame counts as late as the latest before it in its stream, so that a clock that jumps back moves no frame.
    """
    if len(streams) <= 1:
        yield from (decoded for stream in streams for decoded in stream)
        return
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
            count = int(np.searchsorted(keys, bound, "right"))
            tables.append(frames.head(count))
            order.append(keys[:count])
            waiting[i] = (frames.slice(count), keys[count:]) if count < len(keys) else None
        yield _Decoded(frames=concat_in_order(tables, order))
