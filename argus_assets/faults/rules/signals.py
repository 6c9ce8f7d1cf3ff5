"""The samples of the signals that rules name: from CAN frames by a DBC's definitions, or from the fields of topics."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

import numpy as np
import polars as pl

from argus_assets.faults.can_frames import IS_EXTENDED, PROVENANCE, TIME_ORDER
from argus_assets.faults.j1939.transport import reassemble
from argus_assets.faults.j1939.transport_frames import IS_TRANSPORT
from argus_assets.faults.rules.bits import Payloads, decode, raw_bits
from argus_assets.faults.rules.dbc import CanSignal
from argus_assets.faults.rules.rules import SignalName
from argus_assets.recordings.drive import Drive

SAMPLES: Final = pl.Schema(
    {
        "channel": pl.String(),
        "ecu": pl.String(),
        "timestamp": pl.Int64(),
        "value": pl.Float64(),
        "text": pl.String(),
        "unit": pl.String(),
        "recording": pl.String(),
        "frame": pl.UInt64(),
        "payload": pl.Binary(),
    }
)
"""A table of samples.

`timestamp` is in nanoseconds since 1970 UTC. `text` is the value of a text field, whose `value` is null, or the name
that a DBC's value table has for the value. `payload` is null for topics, whose tables do not hold it.
"""

SERIES: Final = ("channel", "ecu")
"""Columns that distinguish the signals of a rule: each is evaluated on its own."""

SignalsOf = Mapping[str, Sequence[CanSignal]]
"""Signals of DBC files by the name that rules use."""

_CLASSIC_BYTES: Final = 8
_WHOLE_BYTES: Final = (8, 16, 24, 32)
_FIRST_ERROR_BYTE: Final = 0xFE
_SHOWN_FIELDS: Final = 12
_CAN_ID: Final = pl.col("arbitration_id")


def wanted(signals_of: SignalsOf) -> pl.Expr:
    """Return a filter for the CAN frames that rules need (see `can_frames.data_frames`)."""
    signals = [signal for found in signals_of.values() for signal in found]
    if not signals:
        return pl.lit(value=False)
    plain = [s for s in signals if not s.is_j1939]
    filters = [
        IS_EXTENDED.eq(extended) & _CAN_ID.is_in(sorted({s.frame_id for s in plain if s.is_extended_id == extended}))
        for extended in {s.is_extended_id for s in plain}
    ]
    filters += [_is_group(pgn) for pgn in sorted({s.pgn for s in signals if s.is_j1939})]
    if any(_is_long(s) for s in signals):
        filters.append(IS_EXTENDED & IS_TRANSPORT)
    return pl.any_horizontal(filters)


def _is_group(pgn: int) -> pl.Expr:
    """Return a filter for a parameter group of J1939, whatever its priority and addresses."""
    mask = 0x03FFFF00 if pgn >> 8 & 0xFF >= 0xF0 else 0x03FF0000
    return IS_EXTENDED & ((_CAN_ID & mask) == pgn << 8)


def _is_long(signal: CanSignal) -> bool:
    return signal.is_j1939 and signal.length_bytes > _CLASSIC_BYTES


def read_samples(
    drive: Drive, rows: pl.DataFrame, signals_of: SignalsOf, named: SignalName
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Read the samples of a signal in a drive.

    Args:
        drive: For topics.
        rows: `can.data_frames` of `wanted`, in time order.
        signals_of: Definitions of signals.
        named: The signal.

    Returns:
        `SAMPLES`, sorted by `SERIES` and time, and notes on what could not be read.
    """
    if named.signal is None:
        tables, notes = _of_topics(drive, named)
    else:
        tables, notes = _of_can(rows, signals_of[named.signal])
    samples = pl.concat([SAMPLES.to_frame(), *tables])
    # NaN, and a value that stands for "not available", are no samples.
    is_value = pl.col("text").is_not_null() | pl.col("value").is_not_nan()
    if named.valid is not None:
        is_value &= pl.col("value").is_between(*named.valid) | pl.col("value").is_null()
    return samples.filter(is_value).sort(*SERIES, *TIME_ORDER, maintain_order=True), notes


# ---------------------------------------------------------------------------------------------- CAN


def _of_can(rows: pl.DataFrame, signals: Sequence[CanSignal]) -> tuple[list[pl.DataFrame], tuple[str, ...]]:
    tables: list[pl.DataFrame] = []
    notes: list[str] = []
    for signal in signals:
        messages = _messages(rows, signal)
        payloads = Payloads(messages["payload"])
        values, present = decode(payloads, signal.definition)
        notes += _too_short(messages, payloads, signal)
        if signal.is_j1939:
            present = present & _is_available(payloads, signal)
        kept = messages.with_columns(value=pl.Series(values)).filter(pl.Series(present))
        names = signal.definition.choices
        text = pl.col("value").replace_strict(names, default=None, return_dtype=pl.String) if names else pl.lit(None)
        tables.append(
            kept.select(
                "channel",
                "ecu",
                "timestamp",
                "value",
                text.cast(pl.String).alias("text"),
                pl.lit(signal.definition.unit, dtype=pl.String).alias("unit"),
                *PROVENANCE,
                "payload",
            )
        )
    return tables, tuple(notes)


def _messages(rows: pl.DataFrame, signal: CanSignal) -> pl.DataFrame:
    """Select the messages that carry a signal, with the ECU that sent them: by the DBC, or by its source address."""
    columns = ["channel", "ecu", "timestamp", *PROVENANCE, "payload"]
    if not signal.is_j1939:
        sender = signal.sender or f"0x{signal.frame_id:X}"
        is_it = IS_EXTENDED.eq(signal.is_extended_id) & (signal.frame_id == _CAN_ID)
        return _on_channels(rows.filter(is_it), signal).with_columns(ecu=pl.lit(sender)).select(columns)
    single = _on_channels(rows.filter(_is_group(signal.pgn)), signal)
    found = [single.with_columns(source_address=_CAN_ID.cast(pl.Int64) % 2**8)]
    if _is_long(signal):
        found.append(_transported(_on_channels(rows.filter(IS_EXTENDED & IS_TRANSPORT), signal), signal.pgn))
    messages = pl.concat([f.select("channel", "source_address", "timestamp", *PROVENANCE, "payload") for f in found])
    addresses = {address: f"SA 0x{address:02X}" for address in range(256)}
    return messages.with_columns(ecu=pl.col("source_address").replace_strict(addresses, return_dtype=pl.String)).select(
        columns
    )


def _on_channels(rows: pl.DataFrame, signal: CanSignal) -> pl.DataFrame:
    """Select those on the channels that the signal's DBC describes."""
    channels = rows["channel"].unique().to_list()
    fitting = [channel for channel in channels if _fits(channel, signal.channels)]
    return rows if len(fitting) == len(channels) else rows.filter(pl.col("channel").is_in(fitting))


def _transported(rows: pl.DataFrame, pgn: int) -> pl.DataFrame:
    """Reassemble the messages of a parameter group that came by the transport protocol."""
    return reassemble(rows, pgns=[pgn]).messages


def _is_available(payloads: Payloads, signal: CanSignal) -> np.ndarray:
    """Return where a J1939 parameter is a value: the highest ones say "error" and "not available" (J1939-71, 5.1.4)."""
    definition = signal.definition
    if definition.is_float or definition.is_signed or definition.length not in _WHOLE_BYTES:
        return np.ones(len(payloads.sizes), np.bool_)
    return raw_bits(payloads, definition) >> np.uint64(definition.length - 8) < _FIRST_ERROR_BYTE


def _too_short(messages: pl.DataFrame, payloads: Payloads, signal: CanSignal) -> Iterator[str]:
    short = messages.filter(pl.Series(payloads.sizes * 8 < signal.definition.end))
    for channel, ecu, count in short.group_by("channel", "ecu").len().sort("channel", "ecu").iter_rows():
        yield (
            f"{channel} {ecu}: {count} messages {signal.message} are too short to hold {signal.definition.name}, and "
            "were left out."
        )


# ---------------------------------------------------------------------------------------------- topics


def _of_topics(drive: Drive, named: SignalName) -> tuple[list[pl.DataFrame], tuple[str, ...]]:
    fields = [
        (topic, table, table.collect_schema())
        for (topic, schema), table in sorted(drive.topics.items(), key=lambda item: item[0])
        if _fits(topic, named.topic or ()) and _fits(schema, named.message_schema)
    ]
    having = [(topic, table, schema) for topic, table, schema in fields if named.field in schema]
    if fields and not having:
        topic, _, schema = fields[0]
        shown = ", ".join(schema.names()[:_SHOWN_FIELDS]) + (", …" if len(schema) > _SHOWN_FIELDS else "")
        return [], (f"{topic}: there is no field {named.field!r}; its fields are {shown}.",)
    tables: list[pl.DataFrame] = []
    notes: list[str] = []
    for topic, table, schema in having:
        dtype = schema[named.field or ""]
        if dtype.is_numeric() or dtype == pl.Boolean():
            tables.append(_of_field(topic, table, named.field or "", is_text=False))
        elif dtype == pl.String() or isinstance(dtype, pl.Categorical | pl.Enum):
            tables.append(_of_field(topic, table, named.field or "", is_text=True))
        else:
            notes.append(f"{topic}: the field {named.field!r} is {dtype}, which no rule can compare.")
    return tables, tuple(notes)


def _of_field(topic: str, table: pl.LazyFrame, name: str, *, is_text: bool) -> pl.DataFrame:
    nothing = pl.lit(None)
    # A measured signal is no frame: its evidence is the number of the sample in its group.
    number = pl.int_range(pl.len(), dtype=pl.UInt64).over("recording")
    return (
        table.select(
            channel=pl.lit(topic, dtype=pl.String),
            ecu=pl.lit(topic, dtype=pl.String),
            timestamp=pl.col("timestamp").dt.timestamp("ns"),
            value=(nothing if is_text else pl.col(name)).cast(pl.Float64),
            text=(pl.col(name) if is_text else nothing).cast(pl.String),
            unit=nothing.cast(pl.String),
            recording=pl.col("recording").cast(pl.String),
            frame=pl.coalesce(pl.col("frame").cast(pl.UInt64), number),
            payload=nothing.cast(pl.Binary),
        )
        .filter(pl.col("value").is_not_null() | pl.col("text").is_not_null())
        .collect()
    )


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
