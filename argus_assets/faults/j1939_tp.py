"""SAE J1939-21 transport: messages of more than 8 bytes put together again, by broadcast and by connection.

The transport protocol carries 9 to 1785 bytes (5.10), the extended one more (5.11). A broadcast (BAM) sends its
packets once, in order. In a connection (RTS/CTS) the receiver grants packets and may ask for some again. Sessions of
different pairs of addresses run side by side, and so do those of the two protocols. Whole columns are worked on: a
session is the running count of what opens one, for one pair on one channel.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import polars as pl

from argus_assets.faults.can import PROVENANCE, byte

_PF_CM, _PF_DT = 0xEC, 0xEB
_PF_EXTENDED_CM, _PF_EXTENDED_DT = 0xC8, 0xC7
_RTS, _CTS, _END_OF_MESSAGE, _BAM, _ABORT = 16, 17, 19, 32, 255
_EXTENDED_RTS, _EXTENDED_CTS, _OFFSET, _EXTENDED_END_OF_MESSAGE = 20, 21, 22, 23
_PACKET_BYTES: Final = 7
_MIN_BYTES, _MAX_BYTES, _MAX_EXTENDED_BYTES = 9, 1785, 117_440_505

BAM_TIMEOUT_NS: Final = 750_000_000
"""T1: longest wait for the next packet of a broadcast (J1939-21, 5.10.2.4)."""

CONNECTION_TIMEOUT_NS: Final = 1_250_000_000
"""T2 and T3: longest wait for a packet after a CTS, or for an answer after a packet (J1939-21, 5.10.2.4)."""

_PAIR: Final = ("channel", "source_address", "destination_address", "extended")
_SESSION: Final = (*_PAIR, "session")

# A data page or extended data page bit makes another parameter group of the same low bits.
IS_TRANSPORT: Final = (pl.col("arbitration_id") & 0x03FF0000).is_in(
    [pf << 16 for pf in (_PF_CM, _PF_DT, _PF_EXTENDED_CM, _PF_EXTENDED_DT)]
)
"""Filter for the frames of both transport protocols."""


@dataclass(frozen=True, slots=True)
class Transported:
    """What came by the transport protocols.

    Attributes:
        messages: Complete messages: pgn, channel, source_address, destination_address, timestamp (ns, of the
            announcing frame), payload, and recording and frame of the announcing frame.
        sessions: One row for each session: pgn, channel, source_address, complete.
    """

    messages: pl.DataFrame
    sessions: pl.DataFrame


def reassemble(rows: pl.DataFrame, *, pgns: Collection[int]) -> Transported:
    """Put together the messages of some parameter groups.

    Packets after a time-out, out of order in a broadcast, or after an abort belong to no session, so a message whose
    announcement was lost is never mixed into the one before it.

    Args:
        rows: `can.data_frames`, in time order; frames that are not of the transport protocols are ignored.
        pgns: The parameter group numbers wanted.
    """
    steps = _number_sessions(_steps(rows.filter(IS_TRANSPORT)))
    is_extended = pl.col("extended")
    opened = (
        steps.filter("opens", pl.col("pgn").is_in(list(pgns)))
        .select(
            *_SESSION,
            "timestamp",
            "pgn",
            *PROVENANCE,
            size=byte(1) + byte(2) * 2**8 + pl.when(is_extended).then(byte(3) * 2**16 + byte(4) * 2**24).otherwise(0),
            stated=pl.when(~is_extended).then(byte(3)),
            is_broadcast=pl.col("control") == _BAM,
        )
        .with_columns(needed=(pl.col("size") + _PACKET_BYTES - 1) // _PACKET_BYTES)
    )
    in_session = steps.join(opened.select(*_SESSION, "needed", "is_broadcast"), on=_SESSION, maintain_order="left")
    longest = pl.when("is_broadcast").then(BAM_TIMEOUT_NS).otherwise(CONNECTION_TIMEOUT_NS)
    in_time = (pl.col("timestamp").diff().over(_SESSION) <= longest).fill_null(value=True)
    packets = (
        in_session.with_columns(
            alive=in_time.cum_min().over(_SESSION),
            # The extended protocol counts packets from an offset that the sender states before them.
            number=byte(0) + pl.col("offset").forward_fill().over(_SESSION).fill_null(0),
        )
        .filter("alive", pl.col("is_packet"))
        .with_columns(position=pl.int_range(1, pl.len() + 1).over(_SESSION))
        .with_columns(in_order=(pl.col("number") == pl.col("position")).cum_min().over(_SESSION))
        .filter(pl.col("in_order") | ~pl.col("is_broadcast"), pl.col("number").is_between(1, pl.col("needed")))
        # A connection may send a packet again when the receiver asks for it.
        .unique([*_SESSION, "number"], keep="first", maintain_order=True)
        .sort(*_SESSION, "number")
        .group_by(_SESSION, maintain_order=True)
        .agg(hex=pl.col("payload").bin.slice(1, _PACKET_BYTES).bin.encode("hex").str.join(""))
    )
    most = pl.when(is_extended).then(_MAX_EXTENDED_BYTES).otherwise(_MAX_BYTES)
    least = pl.when(is_extended).then(_MAX_BYTES + 1).otherwise(_MIN_BYTES)
    sessions = opened.join(packets, on=_SESSION, how="left", maintain_order="left").with_columns(
        # With one packet less the bytes do not reach the size. They are null in a session without any packet.
        complete=(
            (pl.col("stated").fill_null(pl.col("needed")) == pl.col("needed"))
            & pl.col("size").is_between(least, most)
            & (pl.col("hex").str.len_bytes() >= 2 * pl.col("size"))
        ).fill_null(value=False)
    )
    messages = sessions.filter("complete").select(
        "pgn",
        "channel",
        "source_address",
        "destination_address",
        "timestamp",
        *PROVENANCE,
        payload=pl.col("hex").str.slice(0, 2 * pl.col("size")).str.decode("hex"),
    )
    return Transported(messages, sessions.select("pgn", "channel", "source_address", "complete"))


def _steps(rows: pl.DataFrame) -> pl.DataFrame:
    """Transport frames with the pair of addresses whose session they belong to."""
    can_id = pl.col("arbitration_id").cast(pl.Int64)
    pf = can_id // 2**16 % 2**8
    is_packet = pf.is_in([_PF_DT, _PF_EXTENDED_DT])
    control = pl.when(~is_packet).then(byte(0))
    extended = pf.is_in([_PF_EXTENDED_CM, _PF_EXTENDED_DT])
    opening = pl.when(extended).then(control == _EXTENDED_RTS).otherwise(control.is_in([_BAM, _RTS]))
    steps = rows.with_row_index("order").with_columns(
        is_packet=is_packet,
        extended=extended,
        control=control,
        pgn=pl.when(~is_packet).then(byte(5) + byte(6) * 2**8 + byte(7) * 2**16),
        opens=opening.fill_null(value=False),
        offset=pl.when(extended & (control == _OFFSET)).then(byte(2) + byte(3) * 2**8 + byte(4) * 2**16),
    )
    answers = (
        pl.when("extended")
        .then(pl.col("control").is_in([_EXTENDED_CTS, _EXTENDED_END_OF_MESSAGE]))
        .otherwise(pl.col("control").is_in([_CTS, _END_OF_MESSAGE]))
        .fill_null(value=False)
    )
    from_sender = steps.filter(~answers).select(
        pl.all(), source_address=can_id % 2**8, destination_address=can_id // 2**8 % 2**8
    )
    # CTS, end of message and abort also go from the receiver to the sender.
    from_receiver = steps.filter(answers | (pl.col("control") == _ABORT).fill_null(value=False)).select(
        pl.all(), source_address=can_id // 2**8 % 2**8, destination_address=can_id % 2**8
    )
    return pl.concat([from_sender, from_receiver]).sort("order", maintain_order=True)


def _number_sessions(steps: pl.DataFrame) -> pl.DataFrame:
    """Number the sessions of each pair. An abort ends a session by starting one that was never announced."""
    starts = pl.col("opens") | (pl.col("control") == _ABORT).fill_null(value=False)
    return steps.with_columns(session=starts.cast(pl.Int64).cum_sum().over(_PAIR))
