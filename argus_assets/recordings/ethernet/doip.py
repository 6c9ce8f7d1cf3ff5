"""Diagnostics over IP (ISO 13400-2:2019): messages out of TCP streams and UDP datagrams, and the tables they become."""

import struct
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

import polars as pl

from argus_assets.common.tables import TIMESTAMP
from argus_assets.recordings.budget import Budget
from argus_assets.recordings.ethernet.segments import Segment
from argus_assets.recordings.ethernet.streams import Piece, Streams
from argus_assets.recordings.model import Problem, TopicKey
from argus_assets.recordings.schema import FRAMES


class PayloadType(IntEnum):
    """Payload types (table 17)."""

    HEADER_NACK = 0x0000
    IDENTIFICATION_REQUEST = 0x0001
    IDENTIFICATION_REQUEST_EID = 0x0002
    IDENTIFICATION_REQUEST_VIN = 0x0003
    IDENTIFICATION = 0x0004
    ROUTING_ACTIVATION_REQUEST = 0x0005
    ROUTING_ACTIVATION_RESPONSE = 0x0006
    ALIVE_CHECK_REQUEST = 0x0007
    ALIVE_CHECK_RESPONSE = 0x0008
    ENTITY_STATUS_REQUEST = 0x4001
    ENTITY_STATUS_RESPONSE = 0x4002
    POWER_MODE_REQUEST = 0x4003
    POWER_MODE_RESPONSE = 0x4004
    DIAGNOSTIC = 0x8001
    DIAGNOSTIC_ACK = 0x8002
    DIAGNOSTIC_NACK = 0x8003


DIAGNOSTIC_SCHEMA: Final = "doip/DiagnosticMessage"
IDENTIFICATION_SCHEMA: Final = "doip/VehicleIdentification"
ROUTING_SCHEMA: Final = "doip/RoutingActivation"
NACK_SCHEMA: Final = "doip/NegativeAcknowledge"
ADDRESSES_BYTES: Final = 4
"""Source and target address, before the diagnostic data of a diagnostic message (table 21)."""

HEAD: Final = struct.Struct(">BBHI")
"""Version, its complement, payload type, bytes of the payload (table 16)."""
_VERSIONS: Final = frozenset({0x01, 0x02, 0x03, 0x04, 0xFF})
"""Editions of the standard, and what vehicle identification may state (table 16)."""
_TYPES: Final = frozenset(PayloadType)
_MAX_PAYLOAD_BYTES: Final = 16 * 1024**2
"""Largest message that is put together: entities state a maximum (`MDS`, table 11) of some KiB to MiB."""
_MAX_BUFFERED_BYTES: Final = 64 * 1024**2
"""Bytes of incomplete messages, of all streams together."""


class Message(NamedTuple):
    """A message: packet and time with which it was complete, its type and its payload."""

    channel: int
    packet: int
    time_ns: int
    kind: int
    payload: bytes


class _Table(NamedTuple):
    """How messages of some types become rows: where, of which types, columns, and their values."""

    suffix: str
    schema: str
    min_bytes: int
    columns: Mapping[str, pl.DataType]
    values: Callable[[int, bytes], tuple[object, ...]]


def _address(payload: bytes, at: int) -> int:
    return int.from_bytes(payload[at : at + 2], "big")


def _diagnostic(_: int, payload: bytes) -> tuple[object, ...]:
    return _address(payload, 0), _address(payload, 2), payload[ADDRESSES_BYTES]


def _identification(_: int, payload: bytes) -> tuple[object, ...]:
    # VIN, logical address, EID, GID, further action, and at times a status of synchronisation (table 5).
    vin = payload[:17].decode("ascii", "replace").rstrip("\0\ufffd")
    return vin, _address(payload, 17), payload[19:25].hex(), payload[25:31].hex(), payload[31]


def _routing(kind: int, payload: bytes) -> tuple[object, ...]:
    if kind == PayloadType.ROUTING_ACTIVATION_REQUEST:
        return _address(payload, 0), None, payload[2], None
    return _address(payload, 0), _address(payload, 2), None, payload[4]


def _nack(kind: int, payload: bytes) -> tuple[object, ...]:
    if kind == PayloadType.HEADER_NACK:
        return None, None, payload[0]
    return _address(payload, 0), _address(payload, 2), payload[4]


_U8, _U16 = pl.UInt8(), pl.UInt16()
_ENDS: Final = {"source_address": _U16, "target_address": _U16}
_DIAGNOSTIC: Final = _Table("doip", DIAGNOSTIC_SCHEMA, 5, {**_ENDS, "service": _U8}, _diagnostic)
_IDENTIFICATION: Final = _Table(
    "doip/vehicle_identification",
    IDENTIFICATION_SCHEMA,
    32,
    {"vin": pl.String(), "logical_address": _U16, "eid": pl.String(), "gid": pl.String(), "further_action": _U8},
    _identification,
)
_ROUTING_COLUMNS: Final = {"tester_address": _U16, "entity_address": _U16, "activation_type": _U8, "response_code": _U8}
_ROUTING: Final = _Table("doip/routing_activation", ROUTING_SCHEMA, 7, _ROUTING_COLUMNS, _routing)
_NACK_COLUMNS: Final = {**_ENDS, "code": _U8}
_NACK: Final = _Table("doip/negative_acknowledge", NACK_SCHEMA, 5, _NACK_COLUMNS, _nack)
_HEADER_NACK: Final = _NACK._replace(min_bytes=1)
_TABLES: Final = {
    PayloadType.DIAGNOSTIC: _DIAGNOSTIC,
    PayloadType.IDENTIFICATION: _IDENTIFICATION,
    PayloadType.ROUTING_ACTIVATION_REQUEST: _ROUTING,
    PayloadType.ROUTING_ACTIVATION_RESPONSE: _ROUTING,
    PayloadType.DIAGNOSTIC_NACK: _NACK,
    PayloadType.HEADER_NACK: _HEADER_NACK,
}
"""Messages that become frames and rows; the others are counted."""


@dataclass(slots=True)
class _Buffer:
    """Bytes of a stream that are no whole message yet.

    Attributes:
        data: The bytes.
        skip: Bytes to come of a message that is too long.
        is_lost: No message is known to start at the start of the data.
        quiet_bytes: Skipped since a gap, which is reported itself; `None` where there was none.
    """

    data: bytearray = field(default_factory=bytearray)
    skip: int = 0
    is_lost: bool = False
    quiet_bytes: int | None = None

    @property
    def is_open(self) -> bool:
        """Return whether a message was begun."""
        return bool(self.data and not self.is_lost) or self.skip > 0


@dataclass(slots=True)
class DoipReader:
    """Puts the messages of one recording together.

    Attributes:
        others: Messages of types that are counted only.
        malformed: Messages that are shorter than their type.
        skipped_bytes: Bytes of streams and datagrams that are no message.
        over_limit: Messages that are too long.
        lost: Messages that were begun and never completed.
    """

    others: int = 0
    malformed: int = 0
    skipped_bytes: int = 0
    over_limit: int = 0
    lost: int = 0
    _streams: Streams = field(default_factory=Streams)
    _buffers: dict[int, _Buffer] = field(default_factory=dict)
    _buffered: int = 0
    _now: tuple[int, int] = (0, 0)

    def add(self, segments: Iterable[Segment]) -> Generator[Message]:
        """Take recorded segments in their order; yield the messages that are complete with them."""
        for segment in segments:
            self._now = segment.packet, segment.time_ns
            if not segment.is_tcp:
                yield from self._datagram(segment)
                continue
            for piece in self._streams.add(segment):
                yield from self._stream(piece)
            for number in self._streams.closed:
                self._close(number)
            self._streams.closed.clear()

    def flush(self) -> Generator[Message]:
        """Yield what is left at the end of the recording."""
        for piece in self._streams.flush():
            yield from self._stream(piece)
        for number in list(self._buffers):
            self._close(number)

    def _close(self, number: int) -> None:
        buffer = self._buffers.pop(number, None)
        if buffer is not None:
            self.lost += buffer.is_open
            self._buffered -= len(buffer.data)
            self.skipped_bytes += buffer.quiet_bytes or 0  # no message followed

    def _datagram(self, segment: Segment) -> Generator[Message]:
        at, data = 0, segment.data
        while at < len(data):
            found = _head(data, at)
            if found is None or at + HEAD.size + found[1] > len(data):
                self.skipped_bytes += len(data) - at
                return
            kind, size = found
            start = at + HEAD.size
            yield from self._message(segment.channel, kind, data[start : start + size])
            at = start + size

    def _stream(self, piece: Piece) -> Generator[Message]:
        buffer = self._buffers.setdefault(piece.stream, _Buffer())
        if piece.is_after_gap or piece.is_first:
            self.lost += buffer.is_open
            self._buffered -= len(buffer.data)
            buffer.data.clear()
            buffer.skip, buffer.is_lost = 0, piece.is_after_gap
            buffer.quiet_bytes = 0 if piece.is_after_gap else None
        skipped = min(buffer.skip, len(piece.data))
        buffer.skip -= skipped
        buffer.data += piece.data[skipped:]
        self._buffered += len(piece.data) - skipped
        data, at = buffer.data, 0
        while len(data) - at >= HEAD.size:
            found = _head(data, at)
            if found is None:
                following = _next_head(data, at + 1)
                # The last bytes may be the start of a header.
                end = len(data) - HEAD.size + 1 if following is None else following
                if buffer.quiet_bytes is None:
                    self.skipped_bytes += end - at
                else:
                    buffer.quiet_bytes += end - at
                buffer.is_lost, at = following is None, end
                continue
            buffer.is_lost, buffer.quiet_bytes = False, None
            kind, size = found
            end = at + HEAD.size + size
            if size > _MAX_PAYLOAD_BYTES:
                self.over_limit += 1
                buffer.skip = max(0, end - len(data))
                at = min(end, len(data))
                continue
            if end > len(data):
                break
            yield from self._message(piece.channel, kind, bytes(data[at + HEAD.size : end]))
            at = end
        if at:
            del data[:at]
            self._buffered -= at
        if self._buffered > _MAX_BUFFERED_BYTES:
            self.over_limit += 1
            self._buffered -= len(data)
            data.clear()
            buffer.is_lost, buffer.quiet_bytes = True, 0

    def _message(self, channel: int, kind: int, payload: bytes) -> Generator[Message]:
        table = _TABLES.get(PayloadType(kind)) if kind in _TYPES else None
        if table is None:
            self.others += 1
        elif len(payload) < table.min_bytes:
            self.malformed += 1
        else:
            yield Message(channel, *self._now, kind, payload)

    def problems(self) -> list[Problem]:
        """Return what was not read."""
        streams = self._streams
        rows: list[Problem] = []
        if streams.gaps:
            rows.append(
                Problem(
                    "bad_record", "whole TCP streams of DoIP",
                    f"{streams.gaps:,} gaps, {streams.missing_bytes:,} bytes", None, self.lost or None,
                    "The recorder missed segments, or cut them (snap length): messages in them are lost.",
                )
            )  # fmt: skip
        elif self.lost:
            rows.append(
                Problem(
                    "truncated", "whole messages of DoIP", f"{self.lost:,} that have no end", None, self.lost,
                    "The recording, or a connection, ended inside of them.",
                )
            )  # fmt: skip
        if self.skipped_bytes:
            rows.append(
                Problem(
                    "bad_message", "messages of DoIP that follow each other", f"{self.skipped_bytes:,} bytes that are none",
                    None, None, "They were skipped, to the next header of a message (ISO 13400-2).",
                )
            )  # fmt: skip
        if self.malformed:
            rows.append(
                Problem(
                    "bad_message", "messages of DoIP as long as their type", f"{self.malformed:,} shorter ones", None,
                    self.malformed, "They were not read.",
                )
            )  # fmt: skip
        if self.over_limit:
            rows.append(
                Problem(
                    "over_limit", f"messages of DoIP of at most {_MAX_PAYLOAD_BYTES:,} bytes", f"{self.over_limit:,} longer",
                    None, self.over_limit, "They were not read.",
                )
            )  # fmt: skip
        if self.others:
            rows.append(
                Problem(
                    "unsupported", "diagnostic messages, identification and routing activation of DoIP",
                    f"{self.others:,} other messages (acknowledgements, alive checks, status)", None, 0,
                    "They are not read.",
                )
            )  # fmt: skip
        return rows


def _head(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """Return payload type and size of the message that starts at `at`, `None` where none does."""
    if at + HEAD.size > len(data):
        return None
    version, complement, kind, size = HEAD.unpack_from(data, at)
    return (kind, size) if version ^ complement == 0xFF and version in _VERSIONS else None


def _next_head(data: bytearray, at: int) -> int | None:
    """Return where the next message of a known type may start."""
    for place in range(at, len(data) - HEAD.size + 1):
        if data[place] ^ data[place + 1] == 0xFF:
            found = _head(data, place)
            if found is not None and found[0] in _TYPES and found[1] <= _MAX_PAYLOAD_BYTES:
                return place
    return None


@dataclass(slots=True)
class DoipTables:
    """Turns messages into frames and typed columns; topics and columns are taken from the budget of the file.

    Args:
        budget: Of the file.
    """

    budget: Budget
    schemas: dict[str, str] = field(default_factory=dict)
    _refused: set[str] = field(default_factory=set)

    def frames(self, messages: list[Message], channels: list[str]) -> tuple[pl.DataFrame, dict[TopicKey, pl.DataFrame]]:
        """Return the messages as `schema.FRAMES` in their order, and their typed columns.

        Args:
            messages: Not numbered yet: `frame` is their position among these.
            channels: Names of the channels.
        """
        rows: dict[TopicKey, list[tuple[object, ...]]] = {}
        names: list[str] = []
        tables: dict[TopicKey, _Table] = {}
        for number, message in enumerate(messages):
            table = _TABLES[PayloadType(message.kind)]
            name = f"{channels[message.channel]}/{table.suffix}"
            names.append(name)
            tables[name, table.schema] = table
            values = table.values(message.kind, message.payload)
            rows.setdefault((name, table.schema), []).append((number, message.time_ns, *values))
        typed = {
            key: pl.DataFrame(
                of_topic,
                schema={"frame": pl.UInt64(), "timestamp": pl.Int64(), **tables[key].columns},
                orient="row",
            ).with_columns(pl.col("timestamp").cast(TIMESTAMP))
            for key, of_topic in rows.items()
            if self._may_have_columns(*key, count=len(tables[key].columns))
        }
        frames = pl.DataFrame(
            {
                "frame": range(len(messages)),
                "timestamp": [m.time_ns for m in messages],
                "channel": names,
                "kind": ["message"] * len(messages),
                "payload": [m.payload for m in messages],
            },
            schema={
                "frame": pl.UInt64,
                "timestamp": pl.Int64,
                "channel": pl.String,
                "kind": pl.String,
                "payload": pl.Binary,
            },
        )
        missing = [name for name in FRAMES.schema.names() if name not in frames.columns]
        return frames.with_columns(pl.lit(None).alias(name) for name in missing).select(
            pl.col(name).cast(dtype) for name, dtype in FRAMES.schema.items()
        ), typed

    def _may_have_columns(self, topic: str, schema: str, *, count: int) -> bool:
        if topic in self.schemas:
            return topic not in self._refused
        self.schemas[topic] = schema
        if not (self.budget.take("topics", name=topic) and self.budget.take("columns", count, name=topic)):
            self._refused.add(topic)
        return topic not in self._refused
