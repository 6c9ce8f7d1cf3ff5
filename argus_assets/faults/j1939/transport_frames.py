"""SAE J1939-21 transport frames: their content in one form for the protocol and its extended variant.

The transport protocol (5.10) carries 9 to 1785 bytes, by broadcast (BAM) or by connection (RTS/CTS). The extended
one (ISO 11783-3, 5.11) carries 1786 bytes and more, by connection only; its packets count from an offset (DPO) that
the sender states before each group of them.
"""

from typing import Final

import polars as pl

from argus_assets.faults.can_frames import PROVENANCE, byte
from argus_assets.faults.j1939.identifier import DESTINATION_ADDRESS, SOURCE_ADDRESS, carries

PACKET_BYTES: Final = 7
"""Bytes of the message in one packet."""

_PGN_CM, _PGN_DT = 0xEC00, 0xEB00
_PGN_EXTENDED_CM, _PGN_EXTENDED_DT = 0xC800, 0xC700

OPEN: Final = "open"
"""A message is announced."""
OFFSET: Final = "offset"
"""The packets that follow count from here."""
PACKET: Final = "packet"
"""A part of the message."""
ANSWER: Final = "answer"
"""The receiver grants packets, asks for some again, or asks for time."""
END: Final = "end"
"""The message is over: the receiver has all of it, or one of the two gives up."""

BROADCAST: Final = 32
"""Control byte of a BAM."""
_ABORT: Final = 255
_CONTROL_BYTES: Final = 8

_CONTROLS: Final = {
    False: {BROADCAST: OPEN, 16: OPEN, 17: ANSWER, 19: END, _ABORT: END},
    True: {20: OPEN, 21: ANSWER, 22: OFFSET, 23: END, _ABORT: END},
}
"""Control byte → kind of step, for the protocol and for the extended one."""

_FROM_RECEIVER: Final = (ANSWER, END)
_FROM_SENDER: Final = (OPEN, OFFSET, PACKET)

PAIR: Final = ("channel", "is_extended", "source_address", "destination_address")
"""Sender and receiver of a message: one pair has one session of a protocol at a time (5.10.3)."""

IS_TRANSPORT: Final = carries(_PGN_CM, _PGN_DT, _PGN_EXTENDED_CM, _PGN_EXTENDED_DT)
"""Filter for the frames of both protocols."""


def steps(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the steps of all sessions.

    Args:
        rows: `can.data_frames` in time order; frames of anything else are ignored.

    Returns:
        In time order: `PAIR`, where source_address is the address that sends the message, also for a step that the
        receiver takes; kind; timestamp, recording, frame, payload; of a packet its sequence number, else null; of the
        others pgn and control; of an announcement size (bytes) and packets; of an offset offset and granted (packets).
    """
    frames = (
        rows.filter(IS_TRANSPORT)
        .with_row_index("order")
        .with_columns(
            is_extended=carries(_PGN_EXTENDED_CM, _PGN_EXTENDED_DT),
            is_packet=carries(_PGN_DT, _PGN_EXTENDED_DT),
        )
        .with_columns(kind=_kind())
        # A control byte that the protocol does not have is no step, and neither is a control message cut short.
        .filter(pl.col("kind").is_not_null(), pl.col("is_packet") | (pl.col("payload").bin.size() >= _CONTROL_BYTES))
        .with_columns(control=pl.when(~pl.col("is_packet")).then(byte(0)))
    )
    # An abort comes from either side, and its PGN shows which of two sessions in opposite directions it means.
    from_sender = frames.filter(pl.col("kind").is_in(_FROM_SENDER) | (pl.col("control") == _ABORT)).with_columns(
        source_address=SOURCE_ADDRESS, destination_address=DESTINATION_ADDRESS
    )
    from_receiver = frames.filter(pl.col("kind").is_in(_FROM_RECEIVER)).with_columns(
        source_address=DESTINATION_ADDRESS, destination_address=SOURCE_ADDRESS
    )
    extended = pl.col("is_extended")
    extended_size = byte(1) + byte(2) * 2**8 + byte(3) * 2**16 + byte(4) * 2**24
    size = pl.when(extended).then(extended_size).otherwise(byte(1) + byte(2) * 2**8)
    return (
        pl.concat([from_sender, from_receiver])
        .sort("order", maintain_order=True)
        .select(
            *PAIR,
            "kind",
            "control",
            "timestamp",
            *PROVENANCE,
            "payload",
            sequence=_of(PACKET, byte(0)),
            pgn=pl.when(~pl.col("is_packet")).then(byte(5) + byte(6) * 2**8 + byte(7) * 2**16),
            size=_of(OPEN, size),
            packets=_of(OPEN, pl.when(extended).then((size + PACKET_BYTES - 1) // PACKET_BYTES).otherwise(byte(3))),
            offset=_of(OFFSET, byte(2) + byte(3) * 2**8 + byte(4) * 2**16),
            granted=_of(OFFSET, byte(1)),
        )
    )


def _kind() -> pl.Expr:
    plain, extended = (
        byte(0).replace_strict(controls, default=None, return_dtype=pl.String) for controls in _CONTROLS.values()
    )
    control = pl.when("is_extended").then(extended).otherwise(plain)
    return pl.when("is_packet").then(pl.lit(PACKET)).otherwise(control)


def _of(kind: str, value: pl.Expr) -> pl.Expr:
    return pl.when(pl.col("kind") == kind).then(value)
