"""ISO 15765-2 (ISO-TP): messages of more than one CAN or CAN FD frame put together again, normal addressing.

Whole columns are worked on: a message is the running count of single and first frames of one identifier on one
channel.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from argus_assets.faults.can import PROVENANCE, byte

_SINGLE, _FIRST, _CONSECUTIVE = 0, 1, 2
_CLASSIC_BYTES: Final = 8

CONSECUTIVE_TIMEOUT_NS: Final = 1_000_000_000
"""N_Cr: longest wait for the next consecutive frame (ISO 15765-2, 9.8.2)."""

_SENDER: Final = ("channel", "arbitration_id")
_MESSAGE: Final = (*_SENDER, "number")


@dataclass(frozen=True, slots=True)
class Reassembled:
    """What came over ISO-TP.

    Attributes:
        messages: Complete messages: channel, arbitration_id, timestamp (ns, of the frame that started it), payload,
            and recording and frame of that frame.
        multi_frame: One row for each message of more than one frame: channel, arbitration_id, complete.
    """

    messages: pl.DataFrame
    multi_frame: pl.DataFrame


def reassemble(rows: pl.DataFrame) -> Reassembled:
    """Put together the messages of all identifiers in `rows`.

    A new single or first frame of the same identifier ends a message that is not complete (ISO 15765-2, 9.8.3), and
    so do a wrong sequence number and a time-out.

    Args:
        rows: `can.data_frames`, in time order.
    """
    steps = (
        rows.with_columns(type=byte(0) // 16, low=byte(0) % 16, length=pl.col("payload").bin.size().cast(pl.Int64))
        # Flow control answers the other direction's messages.
        .filter(pl.col("type").is_in([_SINGLE, _FIRST, _CONSECUTIVE]))
        .with_columns(number=(pl.col("type") != _CONSECUTIVE).cast(pl.Int64).cum_sum().over(_SENDER))
    )
    columns = [*_SENDER, "timestamp", *PROVENANCE, "payload"]
    multi = _multi_frame(steps)
    messages = pl.concat([_single_frame(steps).select(columns), multi.filter("complete").select(columns)])
    return Reassembled(messages, multi.select(*_SENDER, "complete"))


def _single_frame(steps: pl.DataFrame) -> pl.DataFrame:
    # A length of 0 in a frame of more than 8 bytes (CAN FD) means that the length is in the next byte (9.6.2).
    is_long = (pl.col("low") == 0) & (pl.col("length") > _CLASSIC_BYTES)
    return (
        steps.filter(pl.col("type") == _SINGLE)
        .with_columns(start=pl.when(is_long).then(2).otherwise(1), size=pl.when(is_long).then(byte(1)).otherwise("low"))
        .filter(pl.col("size") >= 1, pl.col("size") <= pl.col("length") - pl.col("start"))
        .with_columns(payload=pl.col("payload").bin.slice("start", "size"))
    )


def _multi_frame(steps: pl.DataFrame) -> pl.DataFrame:
    """Messages that a first frame announced, with `complete`; the payload only where they are."""
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
    tail = (
        steps.join(first.select(*_MESSAGE, "size", has=pl.col("head").str.len_bytes() // 2), on=_MESSAGE)
        .with_columns(
            in_time=(pl.col("timestamp").diff().over(_MESSAGE) <= CONSECUTIVE_TIMEOUT_NS).fill_null(value=True),
            # The first frame stands at position 0, whose sequence number is not sent.
            position=pl.int_range(pl.len()).over(_MESSAGE),
        )
        .filter(pl.col("type") == _CONSECUTIVE)
        .with_columns(
            good=(pl.col("in_time") & (pl.col("low") == pl.col("position") % 16)).cum_min().over(_MESSAGE),
            before=pl.col("has") + (pl.col("length") - 1).cum_sum().over(_MESSAGE) - (pl.col("length") - 1),
        )
        .filter("good", pl.col("before") < pl.col("size"))
        .group_by(_MESSAGE, maintain_order=True)
        .agg(tail=pl.col("payload").bin.slice(1).bin.encode("hex").str.join(""))
    )
    size = 2 * pl.col("size")
    return (
        first.join(tail, on=_MESSAGE, how="left", maintain_order="left")
        .with_columns(hex=pl.col("head") + pl.col("tail").fill_null(""))
        # What fits into the first frame alone must not be sent as one (9.6.3.1), so it was not meant as ISO-TP.
        .with_columns(
            complete=((pl.col("hex").str.len_bytes() >= size) & (pl.col("head").str.len_bytes() < size)).fill_null(
                value=False
            )
        )
        .with_columns(payload=pl.when("complete").then(pl.col("hex").str.slice(0, size)).str.decode("hex"))
    )
