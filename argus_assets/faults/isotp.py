"""ISO-TP (ISO 15765-2): messages of more than one CAN frame put together again."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl

_SINGLE, _FIRST, _CONSECUTIVE = 0, 1, 2

CONSECUTIVE_TIMEOUT_NS: Final = 1_000_000_000
"""N_Cr: the longest wait for a consecutive frame (ISO 15765-2, table 16)."""


class IsoTpMessage(NamedTuple):
    """One message, with the frame that started it."""

    channel: str
    arbitration_id: int
    timestamp_ns: int
    recording: str
    frame: int
    payload: bytes


@dataclass(slots=True)
class IsoTpCounts:
    """What became of the multi-frame messages."""

    complete: int = 0
    incomplete: int = 0


@dataclass(slots=True)
class _Open:
    size: int
    recording: str
    frame: int
    last_ns: int
    data: bytearray
    expected: int = 1


def reassemble(rows: pl.DataFrame, counts: IsoTpCounts) -> Iterator[IsoTpMessage]:
    """Messages in the order in which they were complete.

    Args:
        rows: timestamp (ns), channel, arbitration_id, payload, recording, frame; ordered by time.
        counts: Filled while iterating; messages with a lost or late frame count as incomplete.
    """
    pending: dict[tuple[str, int], _Open] = {}
    for time_ns, channel, can_id, payload, recording, frame in rows.iter_rows():
        if not payload:
            continue
        key = (channel, can_id)
        kind, low = payload[0] >> 4, payload[0] & 0x0F
        if kind in (_SINGLE, _FIRST) and pending.pop(key, None) is not None:
            counts.incomplete += 1
        if kind == _SINGLE:
            # CAN FD: a length of 0 moves the length to the next byte (8.2.3).
            start, size = (2, payload[1]) if low == 0 and len(payload) > 8 else (1, low)
            if 0 < size <= len(payload) - start:
                yield IsoTpMessage(channel, can_id, time_ns, recording, frame, payload[start : start + size])
        elif kind == _FIRST and len(payload) >= 3:
            size = low << 8 | payload[1]
            if size > 0:
                pending[key] = _Open(size, recording, frame, time_ns, bytearray(payload[2:]))
        elif kind == _CONSECUTIVE and (message := pending.get(key)) is not None:
            if low != message.expected & 0x0F or time_ns - message.last_ns > CONSECUTIVE_TIMEOUT_NS:
                del pending[key]
                counts.incomplete += 1
                continue
            message.data += payload[1:]
            message.expected += 1
            message.last_ns = time_ns
            if len(message.data) >= message.size:
                del pending[key]
                counts.complete += 1
                whole = bytes(message.data[: message.size])
                yield IsoTpMessage(channel, can_id, time_ns, message.recording, message.frame, whole)
    counts.incomplete += len(pending)
