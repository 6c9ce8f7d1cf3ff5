"""SAE J1939-21 transport protocol: messages of 9 to 1785 bytes put together again, by broadcast and by connection.

A broadcast (BAM) sends its packets once, in order. In a connection (RTS/CTS) the receiver grants packets and may
ask for some again. Sessions of different pairs of addresses run side by side. Whole columns are worked on: a session
is the running count of BAM and RTS of one pair on one channel.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from argus_assets.faults.can import PROVENANCE, byte

_PF_CM: Final = 0xEC
_PF_DT: Final = 0xEB
_RTS, _CTS, _END_OF_MESSAGE, _BAM, _ABORT = 16, 17, 19, 32, 255
_PACKET_BYTES: Final = 7
_MIN_BYTES, _MAX_BYTES = 9, 1785

BAM_TIMEOUT_NS: Final = 750_000_000
"""T1: longest wait for the next packet of a broadcast (J1939-21, 5.10.2.4)."""

CONNECTION_TIMEOUT_NS: Final = 1_250_000_000
"""T2 and T3: longest wait for a packet after a CTS, or for an answer after a packet (J1939-21, 5.10.2.4)."""

_PAIR: Final = ("channel", "source_address", "destination_address")
_SESSION: Final = (*_PAIR, "session")

# A data page or extended data page bit makes another parameter group of the same low bits.
IS_TRANSPORT: Final = (pl.col("arbitration_id") & 0x03FF0000).is_in([_PF_CM << 16, _PF_DT << 16])
"""Filter for the frames of the transport protocol."""


@dataclass(frozen=True, slots=True)
class Transported:
    """What came by the transport protocol.

    Attributes:
        messages: Complete messages: channel, source_address, timestamp (ns, of the announcing frame), payload, and
            recording and frame of the announcing frame.
        sessions: One row for each session: channel, source_address, complete.
    """

    messages: pl.DataFrame
    sessions: pl.DataFrame


def reassemble(rows: pl.DataFrame, *, pgn: int) -> Transported:
    """Put together the messages of one parameter group.

    Packets after a time-out, out of order in a broadcast, or after an abort belong to no session, so a message whose
    announcement was lost is never mixed into the one before it.

    Args:
        rows: `can.data_frames`, in time order; frames that are not of the transport protocol are ignored.
        pgn: The parameter group number wanted.
    """
    steps = _number_sessions(_steps(rows.filter(IS_TRANSPORT)))
    opened = steps.filter("opens", pl.col("pgn") == pgn).select(
        *_SESSION,
        "timestamp",
        *PROVENANCE,
        size=byte(1) + byte(2) * 256,
        packets=byte(3),
        is_broadcast=pl.col("control") == _BAM,
    )
    in_session = steps.join(opened.select(*_SESSION, "size", "packets", "is_broadcast"), on=_SESSION)
    longest = pl.when("is_broadcast").then(BAM_TIMEOUT_NS).otherwise(CONNECTION_TIMEOUT_NS)
    in_time = (pl.col("timestamp").diff().over(_SESSION) <= longest).fill_null(value=True)
    packets = (
        in_session.with_columns(alive=in_time.cum_min().over(_SESSION))
        .filter("alive", pl.col("is_packet"))
        .with_columns(number=byte(0), position=pl.int_range(1, pl.len() + 1).over(_SESSION))
        .with_columns(in_order=(pl.col("number") == pl.col("position")).cum_min().over(_SESSION))
        .filter(pl.col("in_order") | ~pl.col("is_broadcast"), pl.col("number").is_between(1, pl.col("packets")))
        # A connection may send a packet again when the receiver asks for it.
        .unique([*_SESSION, "number"], keep="first", maintain_order=True)
        .sort(*_SESSION, "number")
        .group_by(_SESSION, maintain_order=True)
        .agg(hex=pl.col("payload").bin.slice(1, _PACKET_BYTES).bin.encode("hex").str.join(""))
    )
    sessions = opened.join(packets, on=_SESSION, how="left", maintain_order="left").with_columns(
        # With one packet less the bytes do not reach the size. They are null in a session without any packet.
        complete=(
            (pl.col("packets") == (pl.col("size") + _PACKET_BYTES - 1) // _PACKET_BYTES)
            & pl.col("size").is_between(_MIN_BYTES, _MAX_BYTES)
            & (pl.col("hex").str.len_bytes() >= 2 * pl.col("size"))
        ).fill_null(value=False)
    )
    messages = sessions.filter("complete").select(
        "channel",
        "source_address",
        "timestamp",
        *PROVENANCE,
        payload=pl.col("hex").str.slice(0, 2 * pl.col("size")).str.decode("hex"),
    )
    return Transported(messages, sessions.select("channel", "source_address", "complete"))


def _steps(rows: pl.DataFrame) -> pl.DataFrame:
    """Transport frames with the pair of addresses whose session they belong to."""
    can_id = pl.col("arbitration_id").cast(pl.Int64)
    is_packet = can_id // 2**16 % 2**8 == _PF_DT
    steps = rows.with_row_index("order").with_columns(
        is_packet=is_packet,
        control=pl.when(~is_packet).then(byte(0)),
        pgn=pl.when(~is_packet).then(byte(5) + byte(6) * 2**8 + byte(7) * 2**16),
        opens=(~is_packet & byte(0).is_in([_BAM, _RTS])).fill_null(value=False),
    )
    from_sender = steps.filter(pl.col("control").is_in([_CTS, _END_OF_MESSAGE]).fill_null(value=False).not_()).select(
        pl.all(), source_address=can_id % 2**8, destination_address=can_id // 2**8 % 2**8
    )
    # CTS, end of message and abort also go from the receiver to the sender.
    from_receiver = steps.filter(pl.col("control").is_in([_CTS, _END_OF_MESSAGE, _ABORT])).select(
        pl.all(), source_address=can_id // 2**8 % 2**8, destination_address=can_id % 2**8
    )
    return pl.concat([from_sender, from_receiver]).sort("order", maintain_order=True)


def _number_sessions(steps: pl.DataFrame) -> pl.DataFrame:
    """Number the sessions of each pair. An abort ends a session by starting one that was never announced."""
    starts = pl.col("opens") | (pl.col("control") == _ABORT).fill_null(value=False)
    return steps.with_columns(session=starts.cast(pl.Int64).cum_sum().over(_PAIR))
