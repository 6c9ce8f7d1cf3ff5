"""Diagnostic messages over IP (ISO 13400-2): whole already, so that they join those of ISO-TP where requests meet answers.

Logical addresses take the place of CAN identifiers. A reader of Ethernet has put the messages together; they are in the
tables of topics of `doip.DIAGNOSTIC_SCHEMA`, and their bytes among the frames.
"""

from collections import defaultdict
from typing import Final, NamedTuple

import polars as pl

from argus_assets.faults.bounds import Bounds
from argus_assets.faults.can_frames import PROVENANCE, byte
from argus_assets.faults.uds_obd.addressing import Ecu
from argus_assets.recordings.drive import Drive
from argus_assets.recordings.ethernet.doip import ADDRESSES_BYTES, DIAGNOSTIC_SCHEMA

MAX_MESSAGE_BYTES: Final = 64 * 1024
"""Bytes that are read of an answer that holds a list: some ten thousand codes."""
_LISTS: Final = (*range(0x41, 0x4B), 0x58, 0x59, 0x62)
"""Answers that hold lists: OBD modes, codes of KWP2000 and UDS, and data by identifier."""
_HEAD_BYTES: Final = 256
"""Bytes that are read of other messages: of software that is transferred, only the head is looked at."""
_IS_ANSWER: Final = 0x40
_FUNCTIONAL: Final = range(0xE400, 0xF000)
"""Logical addresses of groups of ECUs (ISO 13400-2:2019, table 13)."""


class Messages(NamedTuple):
    """Diagnostic messages over IP, as `request_response.converse` takes them.

    Attributes:
        rows: sender (UInt32), timestamp (ns), payload without addresses, recording, frame.
        ecus: ECU of each sender that answers.
        asked: For each sender that asks, the senders that it asks.
        notes: What was left out.
    """

    rows: pl.DataFrame
    ecus: dict[int, Ecu]
    asked: dict[int, list[int]]
    notes: tuple[str, ...]


_ENDS: Final = ("channel", "source_address", "target_address")


def messages(drive: Drive, bounds: Bounds) -> Messages:
    """Read the diagnostic messages of a drive.

    Args:
        drive: The drive.
        bounds: Of the detector; further messages are left out, and a note says so.
    """
    tables = [
        table.select(*PROVENANCE, pl.lit(topic).alias("channel"), *_ENDS[1:])
        for (topic, schema), table in sorted(drive.topics.items(), key=lambda item: item[0])
        if schema == DIAGNOSTIC_SCHEMA
    ]
    if not tables:
        return Messages(pl.DataFrame(), {}, {}, ())
    limit = bounds.frames
    ends = pl.concat(tables).head(limit + 1).collect()
    notes = (f"Diagnostics over IP: messages beyond {limit:,} were not read.",) * (ends.height > limit)
    ends = ends.head(limit).with_columns(pl.col("source_address", "target_address").cast(pl.Int64))
    channels = ends["channel"].unique().to_list()
    service = byte(ADDRESSES_BYTES)
    size = pl.when(service.is_in(_LISTS)).then(MAX_MESSAGE_BYTES).otherwise(_HEAD_BYTES)
    payloads = (
        drive.frames.filter(pl.col("kind") == "message", pl.col("channel").cast(pl.String).is_in(channels))
        .select(
            *PROVENANCE,
            pl.col("timestamp").dt.timestamp("ns"),
            payload=pl.col("payload").bin.slice(ADDRESSES_BYTES, size),
        )
        .join(ends.select(PROVENANCE).lazy(), on=PROVENANCE, how="semi")
        .collect()
    )
    rows = ends.join(payloads, on=PROVENANCE, how="inner").with_columns(
        is_answer=(byte(0) & _IS_ANSWER) != 0,
        # Recorded apart from each other, both directions are still on one network.
        channel=pl.col("channel").str.strip_suffix("/doip"),
    )
    key = [*_ENDS, "is_answer"]
    distinct = rows.select(key).drop_nulls().unique().sort(key)
    senders = distinct.with_columns(sender=pl.int_range(pl.len(), dtype=pl.UInt32))
    ecus: dict[int, Ecu] = {}
    to_tester: dict[tuple[str, int], list[int]] = defaultdict(list)
    by_ends: dict[tuple[str, int, int], int] = {}
    for channel, source, target, is_answer, sender in senders.iter_rows():
        if is_answer:
            ecus[sender] = Ecu(channel, f"0x{source:04X}", None)
            to_tester[channel, target].append(sender)
            by_ends[channel, source, target] = sender
    asked: dict[int, list[int]] = {}
    for channel, source, target, is_answer, sender in senders.iter_rows():
        if is_answer:
            continue
        if target in _FUNCTIONAL:
            asked[sender] = to_tester[channel, source]
        elif (channel, target, source) in by_ends:
            asked[sender] = [by_ends[channel, target, source]]
    columns = ["sender", "timestamp", *PROVENANCE, "payload"]
    return Messages(rows.join(senders, on=key, how="inner").select(columns), ecus, asked, notes)
