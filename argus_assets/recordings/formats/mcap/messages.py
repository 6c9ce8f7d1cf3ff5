"""Decode the messages of MCAP pieces to the frame table and the tables beside it: a pure function for any thread."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final

import numpy as np
import polars as pl

from argus_assets.common.tables import TIMESTAMP
from argus_assets.recordings.budget import Budget
from argus_assets.recordings.columns import I64, PADDING, U8, empty_arrays, rows_at
from argus_assets.recordings.formats.mcap.channels import Channel
from argus_assets.recordings.formats.mcap.chunks import HEAD, MESSAGE_FIELDS, OpenedPiece
from argus_assets.recordings.messages import standard as messages
from argus_assets.recordings.messages.topics import OverBudget
from argus_assets.recordings.model import Problem, TopicKey
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, KINDS, LOGS

_MESSAGE_HEAD: Final = np.dtype(
    [("opcode", "u1"), ("length", "<u8"), ("channel", "<u2"), ("sequence", "<u4"), ("log", "<u8"), ("publish", "<u8")]
)
_MAX_TIME_NS: Final = 2**63 - 1

MAX_MESSAGES: Final = 500_000
MAX_BYTES: Final = 16 * 1024**2
MAX_VALUES: Final = 8 * 1024**2
"""Messages, their bytes and their values in columns that are decoded at a time."""
_CALL_VALUES: Final = 2_500
"""Values of `Limits.max_values` that a topic's rows in one window cost, beside what they hold."""
_ONE_VALUES: Final = 100
_ONE_PER_BYTE: Final = 2
"""The same of a log entry or a diagnostic that is read by itself, and of each of its bytes."""
_STATUS_VALUES: Final = 100
"""The same of each status of a diagnostic."""


@dataclass(slots=True)
class Decoded:
    """Some messages, decoded.

    Attributes:
        frames: `schema.FRAMES`; the other two tables likewise.
        topics: Typed columns of other messages, by topic and schema: `frame`, `timestamp`, and the fields.
        counts: Messages by channel id.
        size: Bytes that all this takes, about.
        bad: Messages that contradict their schema, by topic and schema: how many, and the first one's piece.
    """

    frames: pl.DataFrame = field(default_factory=FRAMES.empty)
    logs: pl.DataFrame = field(default_factory=LOGS.empty)
    diagnostics: pl.DataFrame = field(default_factory=DIAGNOSTICS.empty)
    topics: dict[TopicKey, pl.DataFrame] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    size: int = 0
    problems: list[Problem] = field(default_factory=list)
    bad: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    first_ns: int | None = None
    last_ns: int | None = None


@dataclass(slots=True)
class Window:
    """Some messages in one buffer.

    Attributes:
        buffer: With `columns.PADDING` bytes behind the last message, but where it holds one large message.
        places: Offset of each message record in `buffer`.
        ats: Offset in the file that is reported for messages from this place on.
    """

    buffer: U8
    places: I64
    ats: list[tuple[int, int]]


def decode_pieces(
    pieces: Sequence[OpenedPiece], channels: Mapping[int, Channel], first: int, budget: Budget
) -> Iterator[Decoded]:
    """Decode all messages of some pieces, in order; the first of them now, what is too much at a time when asked for.

    Args:
        pieces: With their messages found. Their data are given up.
        channels: By id. Messages of others are left out.
        first: Number of the first frame.
        budget: Of the file.
    """
    rest = _decode_windows(pieces, channels, first, budget)
    return chain(list(islice(rest, 1)), rest)


def _decode_windows(
    pieces: Sequence[OpenedPiece], channels: Mapping[int, Channel], first: int, budget: Budget
) -> Iterator[Decoded]:
    for window in _windows(pieces, channels):
        decoded = _decode_window(window, channels, first, budget)
        if decoded is not None:
            first += decoded.frames.height
            yield decoded


def _windows(pieces: Sequence[OpenedPiece], channels: Mapping[int, Channel]) -> Iterator[Window]:
    widths = np.ones(max((max(piece.counts, default=0) for piece in pieces), default=0) + 1, np.int64)
    for number, channel in channels.items():
        widths[number] += channel.flatten.columns if channel.flatten is not None else 0
    waiting: list[OpenedPiece] = []
    messages = size = values = 0
    for piece in pieces:
        more = len(piece.messages), len(piece.data), sum(int(widths[number]) * n for number, n in piece.counts.items())
        if waiting and (
            messages + more[0] > MAX_MESSAGES or size + more[1] > MAX_BYTES or values + more[2] > MAX_VALUES
        ):
            yield _joined(waiting)
            waiting, messages, size, values = [], 0, 0, 0
        if more[0] > MAX_MESSAGES or more[1] > MAX_BYTES or more[2] > MAX_VALUES:
            yield from _slices(piece, widths)
        elif more[0]:
            waiting.append(piece)
            messages, size, values = messages + more[0], size + more[1], values + more[2]
    if waiting:
        yield _joined(waiting)


def _joined(pieces: Sequence[OpenedPiece]) -> Window:
    bases = np.cumsum([0, *(len(piece.data) for piece in pieces)])
    places = np.concatenate([piece.messages + base for piece, base in zip(pieces, bases, strict=False)])
    buffer = np.frombuffer(b"".join([*(piece.data for piece in pieces), bytes(PADDING)]), np.uint8)
    for piece in pieces:
        piece.data = b""  # the buffer holds it now
    return Window(buffer, places, [(int(base), piece.at) for piece, base in zip(pieces, bases, strict=False)])


def _slices(piece: OpenedPiece, widths: I64) -> Iterator[Window]:
    """Yield the messages of a large piece, as many at a time as arrays may hold."""
    data, places = np.frombuffer(piece.data, np.uint8), piece.messages
    ends = np.append(places[1:], len(data))
    low = 0
    while low < len(places):
        start = int(places[low])
        high = max(low + 1, min(low + MAX_MESSAGES, int(np.searchsorted(ends, start + MAX_BYTES, side="right"))))
        ids = rows_at(data, places[low:high] + HEAD.size, 2).view("<u2").reshape(-1)
        high = low + max(1, int(np.searchsorted(np.cumsum(widths[ids]), MAX_VALUES, side="right")))
        end = int(ends[high - 1])
        if end - start > max(MAX_BYTES, len(data) // 2):  # one message, and not worth a copy
            yield Window(data, places[low:high], [(0, piece.at)])
        else:
            buffer = np.concatenate([data[start:end], np.zeros(PADDING, np.uint8)])
            yield Window(buffer, places[low:high] - start, [(0, piece.at)])
        low = high


def _decode_window(window: Window, channels: Mapping[int, Channel], first: int, budget: Budget) -> Decoded | None:
    decoded = Decoded(size=len(window.buffer))
    buffer, places = window.buffer, window.places
    heads = rows_at(buffer, places, _MESSAGE_HEAD.itemsize).view(_MESSAGE_HEAD).reshape(-1)
    used = np.flatnonzero(np.bincount(heads["channel"])).tolist()
    if not all(number in channels for number in used):
        kept = np.isin(heads["channel"], [number for number in used if number in channels])
        places, heads = places[kept], heads[kept]
        used = [number for number in used if number in channels]
    n = len(places)
    if not n:
        return None
    starts = places + _MESSAGE_HEAD.itemsize
    sizes = heads["length"].astype(np.int64) - MESSAGE_FIELDS
    arrays = empty_arrays(n)
    arrays.buffer, arrays.starts, arrays.lengths = buffer, starts.copy(), sizes.copy()
    arrays.timestamp_ns = _times(heads["log"], window.ats[0][1], decoded)
    decoded.first_ns, decoded.last_ns = int(arrays.timestamp_ns.min()), int(arrays.timestamp_ns.max())

    number_of = np.zeros(used[-1] + 1, np.uint32)
    number_of[used] = np.arange(len(used))
    arrays.channel = number_of[heads["channel"]]
    found = [channels[number] for number in used]
    arrays.channels = [channel.topic for channel in found]
    decoded.counts = dict(zip(used, np.bincount(arrays.channel, minlength=len(used)).tolist(), strict=True))
    arrays.kind = np.array([KINDS.index(channel.kind) for channel in found], np.uint8)[arrays.channel]
    arrays.is_bus = np.zeros(n, np.bool_)

    def bad(rows: np.ndarray) -> None:
        """Count messages that are not what they should be, and keep them undecoded."""
        arrays.kind[rows] = KINDS.index("message")
        for number, row, count in zip(
            *np.unique(arrays.channel[rows], return_index=True, return_counts=True), strict=True
        ):
            channel = found[int(number)]
            base = bisect_right(window.ats, (int(places[rows[row]]), _MAX_TIME_NS)) - 1
            before, place = decoded.bad.get((channel.topic, channel.schema), (0, window.ats[base][1]))
            decoded.bad[channel.topic, channel.schema] = (before + int(count), place)

    for schema in (messages.CAN_FRAME, messages.CAN_FD_FRAME, messages.CAN_FRAME_1):
        of_schema = np.array([channel.kind == "can" and channel.schema == schema for channel in found])
        if not of_schema.any():
            continue
        rows = np.arange(n) if of_schema.all() else np.flatnonzero(of_schema[arrays.channel])
        can = messages.decode_can(buffer, starts[rows], sizes[rows], schema)
        if not can.ok.all():
            bad(rows[~can.ok])
            rows, can = rows[can.ok], can.only_ok()
        arrays.is_bus[rows] = True
        arrays.arbitration_id[rows] = can.arbitration_id
        arrays.is_extended_id[rows] = can.is_extended_id
        arrays.is_fd[rows] = can.is_fd
        arrays.is_remote_frame[rows] = can.is_remote_frame
        arrays.is_error_frame[rows] = can.is_error_frame
        arrays.dlc[rows] = can.dlc
        arrays.starts[rows] = can.starts
        arrays.lengths[rows] = can.lengths
    others = [channel.kind != "can" and (channel.flatten is not None or channel.kind != "message") for channel in found]
    order = np.argsort(arrays.channel, kind="stable") if any(others) else np.zeros(0, np.int64)
    bounds = np.cumsum([0, *np.bincount(arrays.channel, minlength=len(found))])
    tables: dict[TopicKey, list[pl.DataFrame]] = {}
    logs, diagnostics = [LOGS.empty()], [DIAGNOSTICS.empty()]
    for number in np.flatnonzero(others).tolist():
        channel, rows = found[number], order[bounds[number] : bounds[number + 1]]
        if channel.flatten is not None:
            short = sizes[rows] < channel.flatten.min_bytes
            if short.any():
                bad(rows[short])
                rows = rows[~short]
            if not len(rows):
                continue
            try:
                channel.flatten.spend(_CALL_VALUES)
                columns, ok = channel.flatten(buffer, starts[rows], sizes[rows])
            except OverBudget:
                arrays.kind[rows] = KINDS.index("message")
                continue
            place = _place(arrays.timestamp_ns, rows, first)
            if not ok.all():
                bad(rows[~ok])
                place, columns = place.filter(ok), columns.filter(ok)
            if channel.kind == "log":
                logs.append(_log_rows(place, columns, channel))
            else:
                tables.setdefault((channel.topic, channel.schema), []).append(_with_place(place, columns))
            decoded.size += 8 * columns.height * channel.flatten.columns
        elif channel.encoding in ("cdr", "json", "ros1"):
            cost = _ONE_VALUES * len(rows) + _ONE_PER_BYTE * int(sizes[rows].sum())
            if not budget.take("values", cost, name=channel.schema):
                arrays.kind[rows] = KINDS.index("message")
                continue
            place = _place(arrays.timestamp_ns, rows, first)
            try:
                entries, bad_rows = _one_by_one(buffer, starts[rows], sizes[rows], place, channel, budget)
            except OverBudget:
                arrays.kind[rows] = KINDS.index("message")
                continue
            (logs if channel.kind == "log" else diagnostics).append(entries)
            if len(bad_rows):
                bad(rows[bad_rows])
    decoded.topics = {key: pl.concat(parts) for key, parts in tables.items()}
    decoded.logs = pl.concat(logs).sort("frame", maintain_order=True)
    decoded.diagnostics = pl.concat(diagnostics).sort("frame", maintain_order=True)
    decoded.frames = arrays.frame(first)
    return decoded


def _place(timestamp_ns: I64, rows: I64, first: int) -> pl.DataFrame:
    """Number and time of some frames."""
    return pl.DataFrame(
        {
            "frame": (rows + first).astype(np.uint64),
            "timestamp": pl.Series(timestamp_ns[rows]).cast(TIMESTAMP),
        }
    )


def _with_place(place: pl.DataFrame, columns: pl.DataFrame) -> pl.DataFrame:
    """Put frame number and time before typed columns; a column of the same name gets the suffix `_`."""
    taken = set(columns.columns)
    renamed: dict[str, str] = {}
    for name in place.columns:
        if name in taken:
            free = f"{name}_"
            while free in taken:
                free += "_"
            renamed[name] = free
            taken.add(free)
    return pl.concat([place, columns.rename(renamed)], how="horizontal")


def _times(stated: np.ndarray, at: int, decoded: Decoded) -> np.ndarray:
    """Log times as signed nanoseconds."""
    if int(stated.max()) > _MAX_TIME_NS:
        decoded.problems.append(
            Problem("bad_timestamp", "at most 2^63 - 1 ns", str(int(stated.max())), at, None, "The time was capped.")
        )
        stated = np.minimum(stated, np.uint64(_MAX_TIME_NS))
    return stated.astype(np.int64)


def _log_rows(place: pl.DataFrame, columns: pl.DataFrame, channel: Channel) -> pl.DataFrame:
    """Return log entries from the columns of a type of `LOG_LEVELS`; columns of other types are left out."""
    types = columns.schema

    def text(*names: str) -> pl.Series:
        name = next((n for n in names if types.get(n) == pl.String()), None)
        if name is None:
            return pl.Series([""]).new_from_index(0, place.height)
        return columns[name].fill_null("").str.slice(0, messages.MAX_TEXT)

    def number(name: str) -> pl.Series:
        found = types.get(name)
        if found is None or not found.is_integer():
            return pl.Series([0]).new_from_index(0, place.height)
        return columns[name]

    level = number("level")
    levels = messages.LOG_LEVELS.get(channel.like or channel.schema)
    if levels is not None:
        level = level.replace_strict(levels, default=0)
    made = place.with_columns(
        level=level.cast(pl.UInt8, strict=False).fill_null(0), name=text("name"), message=text("msg", "message"),
        file=text("file"), line=number("line").cast(pl.UInt32, strict=False).fill_null(0), channel=pl.lit(channel.topic),
    )  # fmt: skip
    return LOGS.cast(made)


def _one_by_one(  # noqa: PLR0917 - the arrays of one channel
    buffer: U8, starts: I64, sizes: I64, place: pl.DataFrame, channel: Channel, budget: Budget
) -> tuple[pl.DataFrame, I64]:
    """Decode logs and diagnostics in rare encodings one by one; return the invalid rows, too.

    Raises:
        OverBudget: They would cost more than the file has left.
    """
    entries: list[dict[str, object]] = []
    failed: list[int] = []
    for row, (start, size) in enumerate(zip(starts.tolist(), sizes.tolist(), strict=True)):
        raw = buffer[start : start + size].tobytes()
        try:
            if channel.kind == "log":
                entries.append(
                    {"row": row, **messages.decode_log(raw, channel.like or channel.schema, channel.encoding)}
                )
            else:
                statuses = messages.decode_diagnostics(raw, channel.encoding)
                if not budget.take("values", _STATUS_VALUES * len(statuses), name=channel.schema):
                    raise OverBudget
                entries.extend({"row": row, **status} for status in statuses)
        except (ValueError, TypeError, OverflowError, RecursionError):
            failed.append(row)
    table = LOGS if channel.kind == "log" else DIAGNOSTICS
    if not entries:
        return table.empty(), np.array(failed, np.int64)
    schema = {
        "row": pl.Int64(),
        **{k: v for k, v in table.schema.items() if k not in ("frame", "timestamp", "channel")},
    }
    rows = pl.DataFrame(entries, schema=schema)
    placed = pl.concat([place[rows["row"]], rows.drop("row")], how="horizontal")
    return table.cast(placed.with_columns(channel=pl.lit(channel.topic))), np.array(failed, np.int64)
