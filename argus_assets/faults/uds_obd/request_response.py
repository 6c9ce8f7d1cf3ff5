"""Answers of ECUs, each with the request that it answers where that was recorded.

Services of requests have bit 6 clear, those of answers have it set (ISO 14229-1, 8.2; SAE J1979 alike).
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import polars as pl

from argus_assets.faults.can_frames import PROVENANCE, TIME_ORDER, byte
from argus_assets.faults.uds_obd.addressing import Ecu

NEGATIVE: Final = 0x7F

REPORTER: Final = ("channel", "ecu")
"""What makes two answers answers of the same ECU."""

LONGEST_WAIT_NS: Final = 30_000_000_000
"""An ECU may ask for time again and again (`responsePending`); six times 5 s is taken as the longest."""

ANSWERS: Final = pl.Schema(
    {
        "order": pl.Int64(),
        "channel": pl.String(),
        "ecu": pl.String(),
        "ecu_name": pl.String(),
        "timestamp": pl.Int64(),
        "recording": pl.String(),
        "frame": pl.UInt64(),
        "service": pl.Int64(),
        "is_negative": pl.Boolean(),
        "payload": pl.Binary(),
        "request": pl.Binary(),
    }
)
"""What ECUs answered, in time order.

`order` numbers all answers of the drive. `service` is that of the request, also for negative answers. `request` is
the whole request, null where none was recorded.
"""


class Senders(Protocol):
    """The ends of a network, whatever its transport.

    Attributes:
        ecus: ECU of each sender that can answer.
        asked: For each sender that can ask, the senders that it asks.
    """

    @property
    def ecus(self) -> Mapping[int, Ecu]: ...
    @property
    def asked(self) -> Mapping[int, Sequence[int]]: ...


def in_order(answers: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the answers of several networks as one `ANSWERS`."""
    if len(answers) == 1:
        return answers[0]
    return pl.concat(answers).sort(TIME_ORDER).with_columns(order=pl.int_range(pl.len(), dtype=pl.Int64))


def converse(sent: Senders, messages: pl.DataFrame) -> pl.DataFrame:
    """Give every answer of an ECU its request.

    Args:
        sent: The senders of the messages.
        messages: `isotp.Reassembled.messages` or `doip.Messages.rows`, in any order.

    Returns:
        `ANSWERS`. An answer belongs to the latest request of its service to that ECU.
    """
    messages = messages.sort(TIME_ORDER).with_columns(first=byte(0))
    is_answer = (pl.col("first") & 0x40) != 0
    ecus = pl.DataFrame(
        [(sender, *ecu) for sender, ecu in sent.ecus.items()],
        schema={"sender": pl.UInt32, "channel": pl.String, "ecu": pl.String, "ecu_name": pl.String},
        orient="row",
    )
    asked = pl.DataFrame(
        [(asking, ecu) for asking, asked in sent.asked.items() for ecu in asked],
        schema={"asking": pl.UInt32, "sender": pl.UInt32},
        orient="row",
    )
    requests = (
        messages.filter(~is_answer)
        .rename({"sender": "asking", "first": "service", "payload": "request"})
        .join(asked, on="asking", maintain_order="left")
        .select("sender", "service", "timestamp", "request")
    )
    is_negative = pl.col("first") == NEGATIVE
    return (
        messages.filter(is_answer)
        .join(ecus, on="sender", maintain_order="left")
        .with_columns(
            is_negative=is_negative,
            service=pl.when(is_negative).then(byte(1)).otherwise(pl.col("first") - 0x40),
        )
        .join_asof(
            requests, on="timestamp", by=["sender", "service"], tolerance=LONGEST_WAIT_NS, check_sortedness=False
        )
        .with_columns(order=pl.int_range(pl.len(), dtype=pl.Int64))
        .select(pl.col(name).cast(dtype) for name, dtype in ANSWERS.items())
    )


def positive(answers: pl.DataFrame, service: int) -> pl.DataFrame:
    """Select the positive answers to a service."""
    return answers.filter(pl.col("service") == service, ~pl.col("is_negative"))


EVIDENCE: Final = ("order", *REPORTER, "ecu_name", "timestamp", *PROVENANCE, "payload")
"""Columns of an answer that go into its reports."""
