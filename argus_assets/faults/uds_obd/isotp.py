"""ISO 15765-2 (ISO-TP): reassembly of messages of more than one CAN or CAN FD frame.

The senders of frames are decided elsewhere (`addressing.py`). Whole columns are worked on: a message is the running count of
single and first frames of one sender. Clauses are those of ISO 15765-2:2016.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from argus_assets.faults.can_frames import PROVENANCE, byte

_SINGLE, _FIRST, _CONSECUTIVE, _FLOW_CONTROL = 0, 1, 2, 3
_CLASSIC_BYTES: Final = 8
_OVERFLOW: Final = 2
"""Flow status with which a receiver refuses a message that is too long for it (9.6.5.1)."""

TIMEOUT_NS: Final = 1_000_000_000
"""N_Cr and N_Bs: longest wait for the next consecutive frame or flow control (9.8.2)."""

_MESSAGE: Final = ("sender", "number")


@dataclass(frozen=True, slots=True)
class Reassembled:
    """Messages and counts of ISO-TP.

    Attributes:
        messages: Complete messages: sender, timestamp (ns, of the frame that started it), payload, and recording and
            frame of that frame.
        multi_frame: One row for each message of more than one frame: sender, complete, refused (the receiver had no
            room for it).
        orphans: Consecutive frames that belong to no message, because its first frame is missing or timed out: sender,
            frames.
    """

    messages: pl.DataFrame
    multi_frame: pl.DataFrame
    orphans: pl.DataFrame


def reassemble(rows: pl.DataFrame) -> Reassembled:
    """Put together the messages of all senders.

    A single or first frame ends the message before it of the same sender where that is not complete (9.8.3), and so
    do a wrong sequence number, a time-out and the receiver's overflow. Its wait and its grants start the time anew.

    Args:
        rows: `addressing.BySender.frames`, in time order.
    """
    steps = rows.with_columns(
        type=byte(0) // 16, low=byte(0) % 16, length=pl.col("payload").bin.size().cast(pl.Int64)
    ).filter(pl.col("type") <= _FLOW_CONTROL)
    # A flow control takes part in the message of the other end.
    is_flow_control = pl.col("type") == _FLOW_CONTROL
    steps = (
        steps.with_columns(sender=pl.when(is_flow_control).then("peer").otherwise("sender"))
        .filter(pl.col("sender").is_not_null())
        .with_columns(number=pl.col("type").is_in([_SINGLE, _FIRST]).cast(pl.Int64).cum_sum().over("sender"))
    )
    columns = ["sender", "timestamp", *PROVENANCE, "payload"]
    multi, used = _multi_frame(steps)
    messages = pl.concat([_single_frame(steps).select(columns), multi.filter("complete").select(columns)])
    consecutive = steps.filter(pl.col("type") == _CONSECUTIVE).group_by("sender").agg(frames=pl.len())
    orphans = (
        consecutive.join(used, on="sender", how="left")
        .select("sender", frames=pl.col("frames") - pl.col("used").fill_null(0))
        .filter(pl.col("frames") > 0)
    )
    return Reassembled(messages, multi.select("sender", "complete", "refused"), orphans)


def _single_frame(steps: pl.DataFrame) -> pl.DataFrame:
    # A length of 0 in a frame of more than 8 bytes (CAN FD) means that the length is in the next byte (9.6.2).
    is_long = (pl.col("low") == 0) & (pl.col("length") > _CLASSIC_BYTES)
    return (
        steps.filter(pl.col("type") == _SINGLE)
        .with_columns(start=pl.when(is_long).then(2).otherwise(1), size=pl.when(is_long).then(byte(1)).otherwise("low"))
        .filter(pl.col("size") >= 1, pl.col("size") <= pl.col("length") - pl.col("start"))
        .with_columns(payload=pl.col("payload").bin.slice("start", "size"))
    )


def _multi_frame(steps: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Reassemble the messages that a first frame announced, with `complete`; the payload only where they are.

    The second table has for each sender the number of consecutive frames that belong to one of them.
    """
    short_size = pl.col("low") * 256 + byte(1)
    # A length of 0 means that four bytes of length follow (9.6.3.1).
    long_size = byte(2) * 2**24 + byte(3) * 2**16 + byte(4) * 2**8 + byte(5)
    first = (
        steps.filter(pl.col("type") == _FIRST)
        .with_columns(start=pl.when(short_size == 0).then(6).otherwise(2))
        .with_columns(
            size=pl.when(short_size == 0).then(long_size).otherwise(short_size),
            head=pl.col("payload").bin.slice("start", pl.col("length")).bin.encode("hex"),
        )
    )
    is_consecutive = pl.col("type") == _CONSECUTIVE
    overflow = (pl.col("type") == _FLOW_CONTROL) & (pl.col("low") == _OVERFLOW)
    inside = (
        steps.join(first.select(*_MESSAGE, "size", has=pl.col("head").str.len_bytes() // 2), on=_MESSAGE)
        .with_columns(
            in_time=(pl.col("timestamp").diff().over(_MESSAGE) <= TIMEOUT_NS).fill_null(value=True),
            # The first frame has sequence number 0, which is not sent.
            position=is_consecutive.cast(pl.Int64).cum_sum().over(_MESSAGE),
            data=pl.when(is_consecutive).then(pl.col("length") - 1).otherwise(0),
        )
        .with_columns(before=pl.col("has") + pl.col("data").cum_sum().over(_MESSAGE) - pl.col("data"))
        # What comes behind the last byte or after a time-out is not of this message.
        .filter(pl.col("before") < pl.col("size"), pl.col("in_time").cum_min().over(_MESSAGE))
        .with_columns(
            good=(~overflow & (~is_consecutive | (pl.col("low") == pl.col("position") % 16))).cum_min().over(_MESSAGE)
        )
    )
    refused = inside.filter(overflow).select(_MESSAGE).unique().with_columns(refused=True)
    tail = (
        inside.filter(is_consecutive, "good")
        .group_by(_MESSAGE, maintain_order=True)
        .agg(tail=pl.col("payload").bin.slice(1).bin.encode("hex").str.join(""))
    )
    size = 2 * pl.col("size")
    messages = (
        first.join(tail, on=_MESSAGE, how="left", maintain_order="left")
        .join(refused, on=_MESSAGE, how="left", maintain_order="left")
        .with_columns(
            hex=pl.col("head") + pl.col("tail").fill_null(""), refused=pl.col("refused").fill_null(value=False)
        )
        # What fits into the first frame alone must not be sent as one (9.6.3.1), so it was not meant as ISO-TP.
        .with_columns(
            complete=((pl.col("hex").str.len_bytes() >= size) & (pl.col("head").str.len_bytes() < size)).fill_null(
                value=False
            )
        )
        .with_columns(payload=pl.when("complete").then(pl.col("hex").str.slice(0, size)).str.decode("hex"))
    )
    used = inside.filter(is_consecutive).group_by("sender").agg(used=pl.len())
    return messages, used
