"""Schemas and channels of one MCAP file: each schema kept and parsed once by its content, all within the file's budget.

Records are taken in file order, in one thread. What a channel's messages become is settled when the first of them
comes: a channel without messages costs no parsing.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.columns import I64, U8, Flags
from argus_assets.recordings.formats.mcap.chunks import CHANNEL, SCHEMA
from argus_assets.recordings.messages import standard as messages
from argus_assets.recordings.messages.cdr_columns import decode_columns
from argus_assets.recordings.messages.inferred import infer_schema, states_nothing
from argus_assets.recordings.messages.ros_msg import (
    BadDefinition,
    DefinitionOverLimit,
    count_columns,
    min_bytes,
    parse_message,
)
from argus_assets.recordings.messages.topics import Flattener, Spend, can_flatten, flattener
from argus_assets.recordings.model import Problem, TopicKey

_KIND: Final = {
    messages.CAN_FRAME: "can",
    messages.CAN_FD_FRAME: "can",
    messages.CAN_FRAME_1: "can",
    **dict.fromkeys(messages.LOG_LEVELS, "log"),
    **dict.fromkeys(messages.DIAGNOSTIC_ARRAYS, "diagnostic"),
}
_LOG_FIELDS: Final = parse_message(
    messages.ROS_LOG,
    "builtin_interfaces/Time stamp\nuint8 level\nstring name\nstring msg\nstring file\nstring function\nuint32 line",
)
_LOG_LIKE: Final = (
    ("rosgraph_msgs/Log", {"level", "name", "msg", "file", "function", "line", "topics"}),
    (messages.ROS_LOG, {"level", "name", "msg", "file", "function", "line"}),
    (messages.FOXGLOVE_LOG, {"timestamp", "level", "message", "name", "file", "line"}),
)
"""Types of log entries that all these fields together show, whatever the type is named; what their levels mean follows."""
_EMPTY: Final = ("std_msgs/msg/Empty", "std_msgs/Empty")
"""Types whose definition is empty: there is nothing to read."""
_MAX_NAME_BYTES: Final = 1024
_MAX_SCHEMAS_BYTES: Final = 4
"""Bytes of all schemas of a file together, in `Limits.max_schema_bytes`."""


def _decode_ros_log(buffer: U8, starts: I64, sizes: I64, spend: Spend) -> tuple[pl.DataFrame, Flags]:
    return decode_columns(buffer, starts, sizes, _LOG_FIELDS, spend)


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel with its schema.

    Attributes:
        like: The type of log entries whose fields its messages have, where their own is not known.
    """

    topic: str
    schema: str
    encoding: str
    kind: str
    flatten: Flattener | None = field(default=None, compare=False)
    like: str = ""


@dataclass(slots=True)
class _Schema:
    """A schema record; `definition` is empty where it was refused.

    Attributes:
        flatteners: By the encoding of the messages, once it was parsed.
    """

    name: str = ""
    encoding: str = ""
    definition: bytes = b""
    flatteners: dict[str, Flattener | None] = field(default_factory=dict)


@dataclass(slots=True)
class _Record:
    """A channel record, not settled yet."""

    topic: str
    encoding: str
    schema: _Schema
    at: int


class ChannelTable:
    """The schemas and channels of one file, by id. What was defined once stays.

    Args:
        budget: Of the file.
        problems: Where problems go.
    """

    def __init__(self, budget: Budget, problems: list[Problem]) -> None:
        self._budget = budget
        self._problems = problems
        self._schemas: dict[int, _Schema] = {0: _Schema()}
        self._by_content: dict[tuple[str, str, bytes], _Schema] = {}
        self._schema_bytes = 0
        self._records: dict[int, _Record] = {}
        self._settled: dict[int, Channel] = {}
        self._refused: set[int] = set()
        self._typed: dict[TopicKey, Flattener | None] = {}
        self._told: set[tuple[str, str]] = set()

    def __contains__(self, number: int) -> bool:
        """Return whether a channel has a record, or was settled as unknown."""
        return number in self._records or number in self._settled or number in self._refused

    def channels(self) -> dict[int, Channel]:
        """Return all channels of the file, with messages or without."""
        found = {number: self._unsettled(record) for number, record in self._records.items()}
        return found | self._settled

    def define(self, opcode: int, content: bytes, at: int) -> None:
        """Take a schema or a channel record."""
        try:
            if opcode == SCHEMA:
                self._define_schema(content, at)
            elif opcode == CHANNEL:
                self._define_channel(content, at)
        except (UnicodeDecodeError, struct.error):
            what = "schema" if opcode == SCHEMA else "channel"
            self._problems.append(
                Problem("bad_record", f"a {what} with UTF-8 names", content[:24].hex() or "no bytes", at)
            )

    def _define_schema(self, content: bytes, at: int) -> None:
        number = int.from_bytes(content[:2], "little")
        if number in self._schemas:
            return
        name, after = _text(content, 2)
        encoding, after = _text(content, after)
        size = int.from_bytes(content[after : after + 4], "little")
        limit = self._budget.limits.max_schema_bytes
        definition = content[after + 4 : after + 4 + min(size, limit)]
        key = (name, encoding, definition)
        known = self._by_content.get(key) if size <= limit else None
        if known is not None:
            self._schemas[number] = known
            return
        if size > limit or self._schema_bytes + len(definition) > _MAX_SCHEMAS_BYTES * limit:
            self._problems.append(
                Problem(
                    "over_limit",
                    f"schemas of at most {limit:,} bytes, and {_MAX_SCHEMAS_BYTES * limit:,} together",
                    f"{size:,} bytes of {name[:80]!r}", at, None,
                    "Its messages are kept as frames, undecoded. If the recording is genuine, raise max_schema_bytes "
                    "(ARGUS_LIMITS).",
                )
            )  # fmt: skip
            self._schemas[number] = _Schema(name, encoding)
            return
        if not self._budget.take("schemas", at=at, name=name):
            self._schemas[number] = _Schema(name, encoding)
            return
        self._schema_bytes += len(definition)
        self._schemas[number] = self._by_content[key] = _Schema(name, encoding, definition)

    def _define_channel(self, content: bytes, at: int) -> None:
        number, schema = struct.unpack_from("<HH", content)
        if number in self:
            return
        topic, after = _text(content, 4)
        encoding, _ = _text(content, after)
        if self._budget.take("channels", at=at, name=topic, frames_lost=0):
            self._records[number] = _Record(topic, encoding, self._schemas.get(schema, self._schemas[0]), at)
        else:
            self._refused.add(number)

    def settle(
        self, numbers: list[int], at: int, samples: Callable[[int], list[bytes]] = lambda _: []
    ) -> dict[int, Channel]:
        """Return the channels of these ids; one that is missing was refused, its frames are lost.

        Args:
            numbers: Ids of messages. Those without a record become `unknown:<id>`.
            at: Offset of the messages in the file.
            samples: Returns the first messages of a channel, for those without a schema.
        """
        missing = [number for number in numbers if number not in self]
        if missing:
            self._problems.append(
                Problem(
                    "unknown_channel",
                    "a channel record before its messages",
                    f"none for channel {', '.join(map(str, missing[:8]))}",
                    at,
                    None,
                    "The frames are kept as channel `unknown:<id>`, undecoded.",
                )
            )
        for number in missing:
            if self._budget.take("channels", at=at, name=f"unknown:{number}", frames_lost=0):
                self._settled[number] = Channel(f"unknown:{number}", "", "", "message")
            else:
                self._refused.add(number)
        found: dict[int, Channel] = {}
        for number in numbers:
            if number in self._refused:
                continue
            if number not in self._settled:
                self._settled[number] = self._settle(self._records[number], lambda number=number: samples(number))
            found[number] = self._settled[number]
        return found

    def _unsettled(self, record: _Record) -> Channel:
        """Return a channel as its records declare it, its schema not parsed."""
        schema, encoding = record.schema.name, record.encoding
        kind = _KIND.get(schema, "message")
        of_can = "ros1" if schema == messages.CAN_FRAME_1 else "cdr"
        if (kind == "can" and encoding != of_can) or (kind == "diagnostic" and encoding not in ("cdr", "json", "ros1")):
            kind = "message"
        if kind == "log" and encoding not in ("cdr", "json", "ros1", "protobuf"):
            kind = "message"
        return Channel(record.topic, schema, encoding, kind)

    def _settle(self, record: _Record, samples: Callable[[], list[bytes]]) -> Channel:
        channel = self._unsettled(record)
        if channel.kind == "log" and channel.encoding == "cdr" and channel.schema == messages.ROS_LOG:
            log = Flattener(
                _decode_ros_log, count_columns(_LOG_FIELDS), 4 + min_bytes(_LOG_FIELDS), self._budget, channel.schema
            )
            return Channel(channel.topic, channel.schema, channel.encoding, "log", log)
        is_log_table = channel.kind == "log" and channel.encoding in ("protobuf", "cdr", "ros1")
        if channel.kind != "message" and not is_log_table:
            return channel
        schema = record.schema
        open_ = (
            record.encoding == "json" and schema.encoding in ("", "jsonschema") and states_nothing(schema.definition)
        )
        flatten = (open_ and self._inferred(record, samples())) or self._flattener(record)
        if channel.kind == "log" and flatten is not None:
            return Channel(channel.topic, channel.schema, channel.encoding, "log", flatten)
        like = self._log_like(record, flatten) if flatten is not None else ""
        if like:
            one_by_one = channel.encoding == "json"
            return Channel(
                channel.topic, channel.schema, channel.encoding, "log", None if one_by_one else flatten, like
            )
        return Channel(channel.topic, channel.schema, channel.encoding, "message", self._table_of(record, flatten))

    def _log_like(self, record: _Record, flatten: Flattener) -> str:
        """Return the type of log entries that messages are by their fields, empty for none.

        Messages that only look like log entries, or are named like diagnostics, are reported: nothing reads them as such.
        """
        columns = flatten.schema_of_columns()
        level, text = columns.get("level"), columns.get("msg", columns.get("message"))
        is_log = level is not None and (level.is_integer() or level == pl.String()) and text == pl.String()
        like = next((name for name, names in _LOG_LIKE if is_log and names <= columns.keys()), "")
        what = "log entries" if is_log else "diagnostics"
        if not like and (is_log or record.schema.name.endswith(("DiagnosticArray", "DiagnosticStatus"))):
            self._problems.append(
                Problem(
                    "unsupported", f"{what} of a type that is known", f"{record.schema.name[:80]!r} on topic {record.topic[:80]!r}",
                    record.at, 0, f"They are columns, but not read as {what}. A rule over the topic can watch them.",
                )
            )  # fmt: skip
        return like

    def _tell(self, record: _Record) -> None:
        """Report messages that are kept as bytes because of their encoding, once for each kind."""
        encoding, of_schema = record.encoding, record.schema.encoding
        kind = (encoding, of_schema if record.schema.definition else "")
        if encoding == "" or kind in self._told or record.schema.name in _EMPTY:
            return
        self._told.add(kind)
        what = f"{encoding[:40]} with {f'a schema of {of_schema[:40]}' if kind[1] else 'no schema'}"
        self._problems.append(
            Problem(
                "unsupported", "cdr, ros1, json or protobuf with their schema", f"{what}, first on topic {record.topic[:80]!r}",
                record.at, 0, "Its messages are kept as frames, without columns.",
            )
        )  # fmt: skip

    def _inferred(self, record: _Record, samples: list[bytes]) -> Flattener | None:
        """Return the function that flattens JSON without a schema, by its first messages; one for each topic."""
        key = (record.topic, record.schema.name)
        if self._typed.get(key) is not None:
            return self._typed[key]
        if not self._budget.take("values", 2 * sum(map(len, samples)), name=record.topic):
            return None
        found = infer_schema(samples, self._budget.limits)
        made = found and flattener("json", record.schema.name, "jsonschema", found[0], budget=self._budget)
        if not found or not made:
            return None
        self._problems.append(
            Problem(
                "assumed", f"a schema for the JSON messages on topic {record.topic[:80]!r}",
                f"none; the columns are those of the first {found[1]:,} messages", record.at, 0,
                "Fields that appear later have no column, and values of another type are null.",
            )
        )  # fmt: skip
        return made

    def _flattener(self, record: _Record) -> Flattener | None:
        """Return the function that flattens a channel's messages, made once for each schema and encoding."""
        schema = record.schema
        if not can_flatten(record.encoding, schema.encoding, schema.definition):
            self._tell(record)
            return None
        if record.encoding not in schema.flatteners:

            def report(error: BadDefinition) -> None:
                over = isinstance(error, DefinitionOverLimit)
                self._problems.append(
                    Problem(
                        "over_limit" if over else "unsupported",
                        f"a {schema.encoding[:40]} schema within the limits" if over else f"a schema of {schema.encoding[:40]}",
                        f"{schema.name[:80]!r}: {error}", record.at, None,
                        "Its messages are kept as frames, undecoded."
                        + (" If the recording is genuine, raise max_columns or max_depth (ARGUS_LIMITS)." if over else ""),
                    )
                )  # fmt: skip

            made = schema.flatteners[record.encoding] = flattener(
                record.encoding, schema.name, schema.encoding, schema.definition, budget=self._budget, report=report
            )
            if made is not None and made.note:
                self._problems.append(
                    Problem(
                        "unsupported", f"columns for all fields of {schema.name[:80]!r}",
                        f"{made.note}, first on topic {record.topic[:80]!r}", record.at, 0, "These fields are JSON texts.",
                    )
                )  # fmt: skip
        return schema.flatteners[record.encoding]

    def _table_of(self, record: _Record, flatten: Flattener | None) -> Flattener | None:
        """Return the flattener if the topic may have a table: one topic has one table of one definition."""
        if flatten is None:
            return None
        key = (record.topic, record.schema.name)
        if key in self._typed:
            if self._typed[key] not in (None, flatten):
                self._problems.append(
                    Problem(
                        "unsupported", f"one definition of {key[1][:80]!r} on topic {key[0][:80]!r}", "another one", record.at,
                        None, "The messages of this channel are kept as frames, undecoded.",
                    )
                )  # fmt: skip
            return flatten if self._typed[key] is flatten else None
        taken = self._budget.take("topics", at=record.at, name=record.topic) and self._budget.take(
            "columns", flatten.columns, at=record.at, name=record.topic
        )
        self._typed[key] = flatten if taken else None
        return self._typed[key]


def _text(content: bytes, at: int) -> tuple[str, int]:
    """Return the string at `at`, cut to a length that no genuine name has, and where it ends."""
    (size,) = struct.unpack_from("<I", content, at)
    raw = content[at + 4 : at + 4 + size]
    if len(raw) <= _MAX_NAME_BYTES:
        return raw.decode(), at + 4 + size
    return raw[:_MAX_NAME_BYTES].decode("utf-8", "ignore") + "…", at + 4 + size
