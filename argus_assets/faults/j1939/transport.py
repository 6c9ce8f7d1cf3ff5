"""SAE J1939-21 transport: reassembly of messages of more than 8 bytes, for any number of parameter groups.

Sessions of different pairs of addresses run side by side, and so do the protocol and the extended one of one pair.
Whole columns are worked on: a session is the running count of announcements of one pair on one channel.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import polars as pl

from argus_assets.faults.can_frames import PROVENANCE
from argus_assets.faults.j1939.transport_frames import ANSWER, BROADCAST, END, OPEN, PACKET, PACKET_BYTES, PAIR, steps

_MIN_BYTES, _MAX_BYTES = 9, 1785
_EXTENDED_MAX_BYTES: Final = PACKET_BYTES * (2**24 - 1)

BROADCAST_TIMEOUT_NS: Final = 750_000_000
"""T1: longest wait for the next packet of a broadcast (J1939-21, 5.10.2.4)."""

CONNECTION_TIMEOUT_NS: Final = 1_250_000_000
"""T2 and T3: longest wait for a packet after a CTS, or for an answer after a packet (J1939-21, 5.10.2.4)."""

_WHO: Final = ("channel", "source_address", "destination_address", "pgn")


@dataclass(frozen=True, slots=True)
class Transported:
    """Messages and sessions of the transport protocol.

    Attributes:
        messages: Complete messages: channel, source_address, destination_address, pgn, timestamp (ns, of the
            announcing frame), recording and frame of the announcing frame, payload.
        sessions: One row for each announcement: channel, source_address, destination_address, pgn, complete.
    """

    messages: pl.DataFrame
    sessions: pl.DataFrame


def reassemble(rows: pl.DataFrame, *, pgns: Collection[int]) -> Transported:
    """Put together the messages of these parameter groups.

    Packets after a time-out, after the end or an abort, or out of order in a broadcast belong to no session, so a
    message whose announcement was lost is never mixed into the one before it. For the same reason a packet number
    that came twice with different bytes spoils its session. A packet that came again with the same bytes counts once.

    Args:
        rows: `can.data_frames`, in time order; frames of anything else are ignored.
        pgns: The parameter group numbers wanted.
    """
    numbered = _number_sessions(steps(rows))
    opened = numbered.filter(pl.col("kind") == OPEN, pl.col("pgn").is_in(list(pgns))).select(
        "session",
        "is_extended",
        *_WHO,
        "timestamp",
        *PROVENANCE,
        "size",
        "packets",
        is_broadcast=pl.col("control") == BROADCAST,
    )
    sessions = opened.join(
        _joined_packets(numbered, opened), on="session", how="left", maintain_order="left"
    ).with_columns(
        # All of these are null in a session without any packet.
        complete=(
            (pl.col("packets") == (pl.col("size") + PACKET_BYTES - 1) // PACKET_BYTES)
            # One packet of each number: two of the same number are of two messages.
            & (pl.col("received") == pl.col("packets"))
            & (pl.col("numbers") == pl.col("packets"))
            & pl.when("is_extended")
            .then(pl.col("size").is_between(_MAX_BYTES + 1, _EXTENDED_MAX_BYTES))
            .otherwise(pl.col("size").is_between(_MIN_BYTES, _MAX_BYTES))
            & (pl.col("hex").str.len_bytes() >= 2 * pl.col("size"))
        ).fill_null(value=False)
    )
    messages = sessions.filter("complete").select(
        *_WHO,
        "timestamp",
        *PROVENANCE,
        payload=pl.col("hex").str.slice(0, 2 * pl.col("size")).str.decode("hex"),
    )
    return Transported(messages, sessions.select(*_WHO, "complete"))


def _number_sessions(every_step: pl.DataFrame) -> pl.DataFrame:
    """Number the sessions, each by the step that began it. What follows an end is one that was never announced.

    An announcement that is repeated before any packet only keeps the session waiting.
    """
    # Windows over one whole number are several times as fast as over four columns.
    pairs = every_step.select(PAIR).unique().with_row_index("pair")
    paired = every_step.join(pairs, on=PAIR, maintain_order="left")
    again = (
        (pl.col("kind") == OPEN)
        & (pl.col("kind").shift(1).over("pair") == OPEN)
        & (pl.col("payload") == pl.col("payload").shift(1).over("pair"))
        & (pl.col("timestamp").diff().over("pair") <= BROADCAST_TIMEOUT_NS)
    )
    once = paired.with_columns(kind=pl.when(again).then(pl.lit(ANSWER)).otherwise("kind"))
    opens = pl.col("kind") == OPEN
    announced = pl.when(opens).then("pgn").forward_fill().over("pair")
    ends = (pl.col("kind") == END) & (pl.col("pgn") == announced).fill_null(value=False)
    return once.with_columns(session=pl.when(opens | ends).then(pl.int_range(pl.len()))).with_columns(
        pl.col("session").forward_fill().over("pair")
    )


def _joined_packets(numbered: pl.DataFrame, opened: pl.DataFrame) -> pl.DataFrame:
    """Join each session's packets in order.

    Returns:
        session; received (how many packets) and numbers (how many distinct); hex (their bytes one behind another).
    """
    begins = (pl.col("session").diff() != 0).fill_null(value=True)
    longest = pl.when("is_broadcast").then(BROADCAST_TIMEOUT_NS).otherwise(CONNECTION_TIMEOUT_NS)
    is_late = ~begins & (pl.col("timestamp").diff() > longest)
    # The announcement, with which a session begins, grants nothing.
    granted = pl.when(begins).then(0).otherwise("granted").forward_fill()
    number = pl.col("sequence") + pl.when("is_extended").then(pl.col("offset").forward_fill()).otherwise(0)
    is_granted = ~pl.col("is_extended") | (pl.col("sequence") <= granted)
    is_whole = (pl.col("payload").bin.size() > PACKET_BYTES) | (pl.col("number") == pl.col("packets"))
    is_repeated = ~begins & (pl.col("payload") == pl.col("payload").shift(1))
    is_of_another = pl.col("number") != _so_far(pl.int_range(pl.len()) >= 0, begins)
    return (
        numbered.select("session", "kind", "timestamp", "payload", "sequence", "offset", "granted")
        .join(opened.select("session", "is_extended", "packets", "is_broadcast"), on="session", maintain_order="left")
        # One session behind another: windows over many small groups would be slow.
        .sort("session", maintain_order=True)
        .with_columns(number=number, is_granted=is_granted, late=_so_far(is_late, begins))
        .filter("is_granted", pl.col("kind") == PACKET, pl.col("late") == 0)
        .filter(is_whole)
        # A broadcast is sent once, in order: a logger may write a frame twice, but a number that is not the next one
        # is of another message.
        .filter(~(pl.col("is_broadcast") & is_repeated))
        .with_columns(others=_so_far(is_of_another, begins))
        .filter(~pl.col("is_broadcast") | (pl.col("others") == 0), pl.col("number").is_between(1, pl.col("packets")))
        .with_columns(
            is_first=pl.struct("session", "number").is_first_distinct(),
            part=pl.col("payload").bin.slice(1, PACKET_BYTES),
        )
        # What comes behind the last missing packet is not of this message.
        .filter(_so_far(pl.col("is_first"), begins) - pl.col("is_first") < pl.col("packets"))
        .unique(["session", "number", "part"], keep="first", maintain_order=True)
        .sort("session", "number")
        .group_by("session", maintain_order=True)
        .agg(
            received=pl.len(),
            numbers=pl.col("number").n_unique(),
            hex=pl.col("part").bin.encode("hex").str.join(""),
        )
    )


def _so_far(flag: pl.Expr, begins: pl.Expr) -> pl.Expr:
    """Count how often `flag` was true in a session up to a row; the rows of a session are adjacent."""
    total = flag.cast(pl.Int64).cum_sum()
    return total - pl.when(begins).then(total - flag.cast(pl.Int64)).forward_fill()
