"""Messages of MCAP pieces to the frame table and what stands beside it; a pure function that runs in any thread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from argus_assets.recordings import messages
from argus_assets.recordings.cdr_columns import decode_columns
from argus_assets.recordings.columns import I64, PADDING, U8, Flags, empty_arrays, rows_at
from argus_assets.recordings.mcap_chunks import MESSAGE_FIELDS, OpenedPiece
from argus_assets.recordings.model import Problem, TopicKey
from argus_assets.recordings.ros_msg import parse_message
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, KINDS, LOGS
from argus_assets.recordings.topics import Flattener, flattener
from argus_assets.tables import TIMESTAMP

_MESSAGE_HEAD: Final = np.dtype(
    [("opcode", "u1"), ("length", "<u8"), ("channel", "<u2"), ("sequence", "<u4"), ("log", "<u8"), ("publish", "<u8")]
)
_MAX_TIME_NS: Final = 2**63 - 1

_KIND: Final = {
    messages.CAN_FRAME: "can",
    messages.CAN_FD_FRAME: "can",
    messages.ROS_LOG: "log",
    messages.FOXGLOVE_LOG: "log",
    messages.DIAGNOSTIC_ARRAY: "diagnostic",
}


_LOG_FIELDS: Final = parse_message(
    messages.ROS_LOG,
    "builtin_interfaces/Time stamp\nuint8 level\nstring name\nstring msg\nstring file\nstring function\nuint32 line",
)


def _decode_ros_log(buffer: U8, starts: I64, sizes: I64) -> tuple[pl.DataFrame, Flags]:
    return decode_columns(buffer, starts, sizes, _LOG_FIELDS)


_LOG_FLATTENER: Final[Flattener] = _decode_ros_log


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel with what its schema says."""

    topic: str
    schema: str
    encoding: str
    kind: str
    flatten: Flattener | None = field(default=None, compare=False)


@dataclass(slots=True)
class Decoded:
    """What became of some pieces.

    Attributes:
        frames: `schema.FRAMES`; the other two tables likewise.
        topics: Typed columns of other messages, by topic and schema: `frame`, `timestamp`, and the fields.
        counts: Messages by channel id.
        unknown: Channels without a record, as they were named.
        bad: Messages that are not what their schema says, by topic and schema: how many, and the first one's piece.
    """

    frames: pl.DataFrame = field(default_factory=FRAMES.empty)
    logs: pl.DataFrame = field(default_factory=LOGS.empty)
    diagnostics: pl.DataFrame = field(default_factory=DIAGNOSTICS.empty)
    topics: dict[TopicKey, pl.DataFrame] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    unknown: dict[int, Channel] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    bad: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    first_ns: int | None = None
    last_ns: int | None = None


def channel_of(topic: str, encoding: str, schema: str, schema_encoding: str, definition: bytes) -> Channel:
    """A channel from the fields of its record and of its schema's."""
    kind = _KIND.get(schema, "message")
    if kind == "can" and encoding != "cdr":
        kind = "message"
    flatten: Flattener | None = None
    if kind == "log" and encoding == "cdr":
        flatten = _LOG_FLATTENER
    elif kind == "message" or encoding == "protobuf":
        flatten = flattener(encoding, schema, schema_encoding, definition)
        if kind == "diagnostic" or flatten is None:
            kind = "message"  # as its bytes, or as typed columns
    return Channel(topic, schema, encoding, kind, flatten)


def decode_pieces(pieces: Sequence[OpenedPiece], channels: Mapping[int, Channel], first: int) -> Decoded:
    """Decode all messages of some pieces, in order.

    Args:
        pieces: With their messages found.
        channels: By id.
        first: Number of the first frame.
    """
    bases = np.cumsum([0, *(len(piece.data) for piece in pieces)])
    places = np.concatenate([piece.messages + base for piece, base in zip(pieces, bases, strict=False)])
    decoded = Decoded()
    n = len(places)
    if not n:
        return decoded
    buffer = np.frombuffer(b"".join([*(piece.data for piece in pieces), bytes(PADDING)]), np.uint8)
    for piece in pieces:
        piece.data = b""  # the buffer holds it now
    heads = rows_at(buffer, places, _MESSAGE_HEAD.itemsize).view(_MESSAGE_HEAD).reshape(-1)
    starts = places + _MESSAGE_HEAD.itemsize
    sizes = heads["length"].astype(np.int64) - MESSAGE_FIELDS
    arrays = empty_arrays(n)
    arrays.buffer, arrays.starts, arrays.lengths = buffer, starts.copy(), sizes.copy()
    arrays.timestamp_ns = _times(heads["log"], pieces[0].at, decoded)
    decoded.first_ns, decoded.last_ns = int(arrays.timestamp_ns.min()), int(arrays.timestamp_ns.max())

    ids = heads["channel"].astype(np.int64)
    used = np.flatnonzero(np.bincount(ids))
    number_of = np.zeros(int(used[-1]) + 1, np.uint32)
    number_of[used] = np.arange(len(used))
    arrays.channel = number_of[ids]
    known = [channels.get(int(number)) for number in used]
    if not all(known):
        missing = [int(number) for number, channel in zip(used, known, strict=True) if channel is None]
        decoded.problems.append(
            Problem(
                "unknown_channel",
                "a channel record before its messages",
                f"none for channel {', '.join(map(str, missing[:8]))}",
                pieces[0].at,
                None,
                "The frames are kept as channel `unknown:<id>`, undecoded.",
            )
        )
        decoded.unknown = {number: Channel(f"unknown:{number}", "", "", "message") for number in missing}
    found = [c or decoded.unknown[int(number)] for number, c in zip(used, known, strict=True)]
    arrays.channels = [channel.topic for channel in found]
    decoded.counts = dict(zip(used.tolist(), np.bincount(arrays.channel, minlength=len(used)).tolist(), strict=True))
    arrays.kind = np.array([KINDS.index(channel.kind) for channel in found], np.uint8)[arrays.channel]
    arrays.is_bus = np.zeros(n, np.bool_)

    def bad(rows: np.ndarray) -> None:
        """Count messages that are not what they should be, and keep them undecoded."""
        arrays.kind[rows] = KINDS.index("message")
        for number, count in zip(*np.unique(arrays.channel[rows], return_counts=True), strict=True):
            channel = found[int(number)]
            row = int(rows[arrays.channel[rows] == number][0])
            at = pieces[int(np.searchsorted(bases, places[row], side="right")) - 1].at
            before, place = decoded.bad.get((channel.topic, channel.schema), (0, at))
            decoded.bad[channel.topic, channel.schema] = (before + int(count), place)

    for schema in (messages.CAN_FRAME, messages.CAN_FD_FRAME):
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
    for number, channel in enumerate(found):
        rows = np.flatnonzero(arrays.channel == number) if channel.kind != "can" else np.zeros(0, np.int64)
        if not len(rows):
            continue
        place = pl.DataFrame(
            {
                "frame": (rows + first).astype(np.uint64),
                "timestamp": pl.Series(arrays.timestamp_ns[rows]).cast(TIMESTAMP),
            }
        )
        if channel.flatten is not None:
            columns, ok = channel.flatten(buffer, starts[rows], sizes[rows])
            if not ok.all():
                bad(rows[~ok])
                place, columns = place.filter(ok), columns.filter(ok)
            if channel.kind == "log":
                decoded.logs.extend(_log_rows(place, columns, channel))
            elif columns.width:
                taken = {name: f"{name}_" for name in place.columns if name in columns.columns}
                table = pl.concat([place, columns.rename(taken)], how="horizontal")
                before = decoded.topics.get((channel.topic, channel.schema))
                decoded.topics[channel.topic, channel.schema] = table if before is None else before.vstack(table)
        elif channel.kind in ("log", "diagnostic"):
            bad_rows = _one_by_one(buffer, starts[rows], sizes[rows], place, channel, decoded)
            if len(bad_rows):
                bad(rows[bad_rows])
    for table in (LOGS, DIAGNOSTICS):
        setattr(decoded, table.name, getattr(decoded, table.name).sort("frame", maintain_order=True))
    decoded.frames = arrays.frame(first)
    return decoded


def _times(stated: np.ndarray, at: int, decoded: Decoded) -> np.ndarray:
    """Log times as signed nanoseconds."""
    if int(stated.max()) > _MAX_TIME_NS:
        decoded.problems.append(
            Problem("bad_timestamp", "at most 2^63 - 1 ns", str(int(stated.max())), at, None, "The time was capped.")
        )
        stated = np.minimum(stated, np.uint64(_MAX_TIME_NS))
    return stated.astype(np.int64)


def _log_rows(place: pl.DataFrame, columns: pl.DataFrame, channel: Channel) -> pl.DataFrame:
    """Log entries from the columns of `rcl_interfaces/msg/Log` or `foxglove.Log`."""

    def text(*names: str) -> pl.Expr:
        name = next((n for n in names if n in columns.columns), None)
        return (
            pl.lit("") if name is None else pl.col(name).cast(pl.String).fill_null("").str.slice(0, messages.MAX_TEXT)
        )

    level = pl.col("level") if "level" in columns.columns else pl.lit(0)
    if channel.schema == messages.FOXGLOVE_LOG:
        level = level.replace_strict(messages.FOXGLOVE_LEVELS, default=0)
    line = pl.col("line").cast(pl.UInt32, strict=False).fill_null(0) if "line" in columns.columns else pl.lit(0)
    made = pl.concat([place, columns.select(
        level=level.cast(pl.UInt8, strict=False).fill_null(0), name=text("name"), message=text("msg", "message"),
        file=text("file"), line=line.cast(pl.UInt32),
    )], how="horizontal")  # fmt: skip
    return LOGS.cast(made.with_columns(channel=pl.lit(channel.topic)))


def _one_by_one(  # noqa: PLR0917 - the arrays of one channel
    buffer: U8, starts: I64, sizes: I64, place: pl.DataFrame, channel: Channel, decoded: Decoded
) -> I64:
    """Logs and diagnostics in encodings that come seldom; returns the rows that are not what they should be."""
    entries: list[dict[str, object]] = []
    failed: list[int] = []
    for row, (start, size) in enumerate(zip(starts.tolist(), sizes.tolist(), strict=True)):
        raw = buffer[start : start + size].tobytes()
        try:
            if channel.kind == "log":
                entries.append({"row": row, **messages.decode_log(raw, channel.schema, channel.encoding)})
            else:
                entries.extend({"row": row, **s} for s in messages.decode_diagnostics(raw, channel.encoding))
        except (ValueError, TypeError, OverflowError):
            failed.append(row)
    if entries:
        table = LOGS if channel.kind == "log" else DIAGNOSTICS
        schema = {
            "row": pl.Int64(),
            **{k: v for k, v in table.schema.items() if k not in ("frame", "timestamp", "channel")},
        }
        rows = pl.DataFrame(entries, schema=schema)
        placed = pl.concat([place[rows["row"]], rows.drop("row")], how="horizontal")
        getattr(decoded, table.name).extend(table.cast(placed.with_columns(channel=pl.lit(channel.topic))))
    return np.array(failed, np.int64)
