"""SAE J1939 DM1: active diagnostic trouble codes, in single frames and by transport protocol.

Sources: SAE J1939-21 (transport protocol, 5.10), J1939-73 (DM1, 5.7.1; DTC layout, 5.7.1.10).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import polars as pl

from argus_assets.faults.activations import REPORTS
from argus_assets.faults.severity import by_lamps

PGN_DM1: Final = 0xFECA
_PF_TP_CM: Final = 0xEC
_PF_TP_DT: Final = 0xEB
_RTS, _BAM, _ABORT = 16, 32, 255

SILENCE_S: Final = 10.0
"""An ECU with an active code sends DM1 every second; ten missed ones mean that it has stopped."""

_PACKET_TIMEOUT_NS: Final = 1_250_000_000
"""T2 of J1939-21 5.10.2.4, the longest wait for a packet."""

_MAX_EVIDENCE_BYTES: Final = 256
_NO_FAULT: Final = ((0, 0), (0x7FFFF, 31))
"""SPN/FMI pairs that stand for no code: all zeros, and padding with ones."""


class Dtc(NamedTuple):
    """One trouble code of a DM1."""

    spn: int
    fmi: int
    occurrence_count: int
    conversion_method: int

    @property
    def code(self) -> str:
        """`SPN100/FMI1`."""
        return f"SPN{self.spn}/FMI{self.fmi}"


def parse_dm1(payload: bytes) -> tuple[tuple[str, ...], tuple[Dtc, ...]]:
    """Lamps that are on, and the codes. A lamp value of 3 means "not available", so it is not on."""
    status = payload[0]
    shifts = (("malfunction", 6), ("red stop", 4), ("amber warning", 2), ("protect", 0))
    lamps = tuple(name for name, shift in shifts if status >> shift & 3 == 1)
    codes: list[Dtc] = []
    for at in range(2, len(payload) - 3, 4):
        a, b, c, d = payload[at : at + 4]
        dtc = Dtc(a | b << 8 | c >> 5 << 16, c & 0x1F, d & 0x7F, d >> 7)
        if dtc[:2] not in _NO_FAULT and dtc not in codes:
            codes.append(dtc)
    return lamps, tuple(codes)


@dataclass(slots=True)
class _Session:
    """A transport session: packets of one message from one address to another."""

    size: int
    packets: int
    pgn: int
    recording: str
    frame: int
    last_ns: int
    got: dict[int, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class TransportCounts:
    """What became of the transport sessions that carried DM1."""

    complete: int = 0
    incomplete: int = 0


class _Message(NamedTuple):
    channel: str
    source_address: int
    timestamp_ns: int
    recording: str
    frame: int
    payload: bytes


def find_reports(frames: pl.LazyFrame) -> tuple[pl.DataFrame, TransportCounts]:
    """Reports of all DM1 messages.

    Args:
        frames: `recordings.schema.FRAMES` with a column `recording`.

    Returns:
        `REPORTS`, and what became of the transport sessions.
    """
    pf = pl.col("arbitration_id") // 2**16 % 2**8
    low = pl.col("arbitration_id") // 2**8 % 2**16
    rows = (
        frames.filter(
            (pl.col("kind") == "can")
            & pl.col("is_extended_id")
            & ~pl.col("is_error_frame")
            & ~pl.col("is_remote_frame")
            & ((low == PGN_DM1) | pf.is_in([_PF_TP_CM, _PF_TP_DT]))
        )
        .select(
            pl.col("timestamp").dt.timestamp("ns"),
            pl.col("channel").cast(pl.String),
            "arbitration_id",
            "payload",
            "recording",
            "frame",
        )
        .collect()
        .sort("timestamp", maintain_order=True)
    )
    counts = TransportCounts()
    found: list[dict[str, object]] = []
    sequence: dict[tuple[str, int], int] = {}
    for message in _messages(rows, counts):
        reporter = (message.channel, message.source_address)
        seq = sequence[reporter] = sequence.get(reporter, -1) + 1
        lamps, codes = parse_dm1(message.payload)
        severity, rule = by_lamps(lamps)
        for dtc in codes:
            found.append(
                {
                    "source": "j1939_dm1",
                    "channel": message.channel,
                    "ecu": f"SA 0x{message.source_address:02X}",
                    "code": dtc.code,
                    "seq": seq,
                    "timestamp": message.timestamp_ns,
                    "severity": str(severity),
                    "severity_rule": rule,
                    "message": None,
                    "lamp_status": ", ".join(lamps),
                    "occurrence_count": dtc.occurrence_count,
                    "recording": message.recording,
                    "frame": message.frame,
                    "payload_hex": message.payload[:_MAX_EVIDENCE_BYTES].hex(),
                }
            )
    return pl.DataFrame(found, schema={**REPORTS, "timestamp": pl.Int64()}).cast(dict(REPORTS)), counts  # type: ignore[arg-type]


def _messages(rows: pl.DataFrame, counts: TransportCounts) -> Iterator[_Message]:
    """DM1 messages in the order in which they were complete. A loop: only a small remainder of the frames comes here."""
    sessions: dict[tuple[str, int, int], _Session] = {}
    for time_ns, channel, can_id, payload, recording, frame in rows.iter_rows():
        pf, destination, source = can_id >> 16 & 0xFF, can_id >> 8 & 0xFF, can_id & 0xFF
        if pf not in (_PF_TP_CM, _PF_TP_DT):
            if len(payload) >= 6:
                yield _Message(channel, source, time_ns, recording, frame, payload)
            continue
        key = (channel, source, destination)
        if pf == _PF_TP_CM:
            if len(payload) < 8:
                continue
            if payload[0] in (_BAM, _RTS, _ABORT) and sessions.pop(key, None) is not None:
                counts.incomplete += 1
            pgn = payload[5] | payload[6] << 8 | payload[7] << 16
            if payload[0] in (_BAM, _RTS) and pgn == PGN_DM1:
                size = payload[1] | payload[2] << 8
                sessions[key] = _Session(size, payload[3], pgn, recording, frame, time_ns)
            continue
        session = sessions.get(key)
        if session is None or len(payload) < 2:
            continue
        if time_ns - session.last_ns > _PACKET_TIMEOUT_NS:
            del sessions[key]
            counts.incomplete += 1
            continue
        session.last_ns = time_ns
        session.got[payload[0]] = payload[1:8]
        if len(session.got) == session.packets and all(n in session.got for n in range(1, session.packets + 1)):
            del sessions[key]
            whole = b"".join(session.got[n] for n in range(1, session.packets + 1))[: session.size]
            if len(whole) == session.size >= 6:
                counts.complete += 1
                yield _Message(channel, source, time_ns, session.recording, session.frame, whole)
            else:
                counts.incomplete += 1
    counts.incomplete += len(sessions)
