"""Proof by the traffic of 11-bit identifiers that carry UDS beside those of OBD; nothing is guessed.

Makers place their ECUs anywhere from 0x600 on. A pair of identifiers is taken as request and response when every frame
of both is well-formed ISO-TP and at least `MIN_EXCHANGES` answers repeat what was asked: the service + 0x40 and its
sub-function or data identifier, within the longest time that a server may take. Only normal addressing is considered.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

from argus_assets.faults.can_frames import TIME_ORDER, byte
from argus_assets.faults.uds_obd.addressing import PROVABLE, Addressing

MIN_EXCHANGES: Final = 2

LONGEST_ANSWER_NS: Final = 5_000_000_000
"""P2* of the default session (ISO 14229-2, 7.2)."""

_SUB_FUNCTION_SERVICES: Final = (0x10, 0x11, 0x19, 0x27, 0x28, 0x31, 0x3E, 0x85)
_IDENTIFIER_SERVICES: Final = (0x22, 0x2E, 0x2F)
"""UDS services whose answer repeats the byte, or the two bytes, behind the service (ISO 14229-1)."""


def prove(rows: pl.DataFrame, known: Sequence[Addressing]) -> tuple[tuple[Addressing, ...], tuple[str, ...]]:
    """Find the pairs of identifiers that exchange UDS.

    Args:
        rows: `can.data_frames`, of which those of `addressing.PROVABLE` are looked at.
        known: Addressings that need no proof.

    Returns:
        The proven ones, and notes on pairs that look like UDS but exchanged too little.
    """
    # A known tester may also ask ECUs that are not known.
    answering = {a.response_id for a in known}
    candidates = rows.filter(PROVABLE, ~pl.col("arbitration_id").is_in(list(answering)))
    if candidates.is_empty():
        return (), ()
    low, length = byte(0) % 16, pl.col("payload").bin.size().cast(pl.Int64)
    well_formed = (
        pl.when(byte(0) < 0x10)
        .then(pl.when(low == 0).then((length > 8) & (byte(1) <= length - 2)).otherwise(low < length))
        .when(byte(0) < 0x20)
        .then(length >= 8)
        .otherwise((byte(0) < 0x30) | byte(0).is_in([0x30, 0x31, 0x32]))
        .fill_null(value=False)
    )
    sender = ["channel", "arbitration_id"]
    isotp = candidates.group_by(sender).agg(well_formed.all().alias("all")).filter("all").drop("all")
    heads = (
        candidates.join(isotp, on=sender, how="semi")
        .filter(byte(0) < 0x20)
        .with_columns(at=pl.when(byte(0) >= 0x10).then(2).when(low == 0).then(2).otherwise(1))
        .with_columns(start=pl.col("payload").bin.slice("at", 3))
        .with_columns(
            service=pl.col("start").bin.get(0, null_on_oob=True).cast(pl.Int64),
            first=pl.col("start").bin.get(1, null_on_oob=True).cast(pl.Int64),
            second=pl.col("start").bin.get(2, null_on_oob=True).cast(pl.Int64),
        )
        .sort(TIME_ORDER)
    )
    exchanged = pl.concat([_pairs(requests, answers) for requests, answers in _sides(heads)] or [_NO_PAIRS])
    # Identifiers are what is proven, on one channel: a gateway repeats an exchange on others.
    counts = exchanged.group_by("request_id", "response_id").agg(pl.col("exchanges").max()).sort(pl.all())
    # An ECU that is asked together with others follows all their requests; its own are answered most often.
    best = counts.filter(pl.col("exchanges") == pl.col("exchanges").max().over("response_id"))
    proven = best.filter(pl.col("exchanges") >= MIN_EXCHANGES)
    answering |= set(proven["response_id"])
    notes = tuple(
        f"0x{request:X} and 0x{response:X} look like UDS ({count} of the {MIN_EXCHANGES} exchanges that prove it) and were "
        "left out: configure this addressing if it is one."
        for request, response, count in best.filter(pl.col("exchanges") < MIN_EXCHANGES).iter_rows()
        if response not in answering and request not in answering
    )
    return (
        tuple(
            Addressing(request_id=q, response_id=r) for q, r in proven.select("request_id", "response_id").iter_rows()
        ),
        notes,
    )


_NO_PAIRS: Final = pl.DataFrame(schema={"request_id": pl.UInt32, "response_id": pl.UInt32, "exchanges": pl.UInt32})


def _sides(heads: pl.DataFrame) -> list[tuple[pl.DataFrame, pl.DataFrame]]:
    """Return the requests of each identifier with all answers that could belong to them. Identifiers are few here."""
    services = [*_SUB_FUNCTION_SERVICES, *_IDENTIFIER_SERVICES]
    first = pl.when(pl.col("service").is_in(_IDENTIFIER_SERVICES)).then("first").otherwise(pl.col("first") % 128)
    second = pl.when(pl.col("service").is_in(_IDENTIFIER_SERVICES)).then("second").otherwise(0)
    columns = ["timestamp", "channel", "arbitration_id", "service", "echo"]

    def side(offset: int) -> pl.DataFrame:
        return (
            heads.with_columns(pl.col("service") - offset)
            .filter(pl.col("service").is_in(services))
            .with_columns(echo=first * 256 + second)
            .drop_nulls("echo")
            .select(columns)
        )

    answers = side(0x40)
    return [(requests, answers) for requests in side(0).partition_by("arbitration_id")]


def _pairs(requests: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """Count the answers of each identifier that repeat what the latest of these requests asked.

    Several answers to one request count once: a message that is sent all the time proves nothing.
    """
    return (
        answers.rename({"arbitration_id": "response_id"})
        .join_asof(
            requests.rename({"arbitration_id": "request_id"}).with_row_index("request"),
            on="timestamp",
            by=["channel", "service", "echo"],
            tolerance=LONGEST_ANSWER_NS,
            check_sortedness=False,
        )
        .filter(pl.col("request_id").is_not_null(), pl.col("request_id") != pl.col("response_id"))
        .group_by("channel", "request_id", "response_id")
        .agg(exchanges=pl.col("request").n_unique())
        .select("request_id", "response_id", "exchanges")
    )
