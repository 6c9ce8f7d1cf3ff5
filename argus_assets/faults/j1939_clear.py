"""Requests to clear trouble codes, SAE J1939-73: DM3 for previously active codes (5.7.3), DM11 for active ones (5.7.11).

Both are parameter groups without data that somebody asks for (request, PGN 59904). The ECU that was asked answers with
an acknowledgement (PGN 59392). A request to all ECUs is not answered (J1939-21, 5.4.4): each ECU may have followed it.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from argus_assets.faults.activations import REPORTS, as_reports
from argus_assets.faults.can import PROVENANCE, byte

_PF_REQUEST, _PF_ACKNOWLEDGE = 0xEA, 0xE8
_GLOBAL: Final = 0xFF

_DM3, _DM11 = 0xFECC, 0xFED3
_NAMES: Final = {_DM3: "DM3", _DM11: "DM11"}
_DM2, _DM23 = 0xFECB, 0xFDB5
_CLEARS: Final = {
    _DM3: (_DM2, _DM23),
    # Permanent codes (DM28) stay until the ECU itself has seen the fault gone.
    _DM11: (0xFECA, 0xFECF, 0xFED4, 0xFD82, _DM2, _DM23),
}
"""Diagnostic messages whose codes each of them clears."""

ANSWER_TIMEOUT_NS: Final = 1_250_000_000
"""Longest wait for an acknowledgement (J1939-21, 5.12.3)."""

IS_CLEARING: Final = (pl.col("arbitration_id") & 0x03FF0000).is_in([_PF_REQUEST << 16, _PF_ACKNOWLEDGE << 16])
"""Filter for requests and acknowledgements, of whatever parameter group."""

_ANSWERS: Final = {0: "acknowledged", 1: "refused", 2: "access denied", 3: "cannot respond now"}
"""Control byte of an acknowledgement (J1939-21, 5.4.4)."""


@dataclass(frozen=True, slots=True)
class Clears:
    """What was asked to be cleared.

    Attributes:
        reports: `activations.REPORTS`: a moment for each request, of the ECU that was asked.
        cleared: pgn, channel, source_address and timestamp (ns) of each diagnostic message without its codes.
    """

    reports: pl.DataFrame
    cleared: pl.DataFrame


def find_clears(rows: pl.DataFrame) -> Clears:
    """Find the requests to clear, with their answers.

    Args:
        rows: `can.data_frames`, in time order.
    """
    can_id = pl.col("arbitration_id").cast(pl.Int64)
    addressed = rows.filter(IS_CLEARING).with_columns(
        is_request=can_id // 2**16 % 2**8 == _PF_REQUEST, sender=can_id % 2**8, receiver=can_id // 2**8 % 2**8
    )
    requests = (
        addressed.filter("is_request")
        .with_columns(pgn=byte(0) + byte(1) * 2**8 + byte(2) * 2**16)
        .filter(pl.col("pgn").is_in(list(_CLEARS)))
    )
    if requests.is_empty():
        nothing = {"pgn": pl.Int64, "channel": pl.String, "source_address": pl.Int64, "timestamp": pl.Int64}
        return Clears(pl.DataFrame(schema=REPORTS), pl.DataFrame(schema=nothing))
    answers = (
        # An acknowledgement goes to all; byte 5 names who had asked, 255 in older ones.
        addressed.filter(~pl.col("is_request"))
        .with_columns(pgn=byte(5) + byte(6) * 2**8 + byte(7) * 2**16)
        .select("channel", "pgn", "timestamp", receiver="sender", control=byte(0), answered_ns="timestamp")
    )
    asked = requests.join_asof(
        answers.sort("timestamp", maintain_order=True),
        on="timestamp",
        by=["channel", "pgn", "receiver"],
        strategy="forward",
        tolerance=ANSWER_TIMEOUT_NS,
        check_sortedness=False,
    ).with_columns(
        is_global=pl.col("receiver") == _GLOBAL,
        answer=pl.col("control").replace_strict(_ANSWERS, default="answered with an unknown code"),
    )
    named = asked.with_columns(
        dm=pl.col("pgn").replace_strict(_NAMES),
        answer=pl.when(pl.col("control").is_not_null())
        .then("answer")
        .when("is_global")
        .then(pl.lit("asked of all, which nobody answers"))
        .otherwise(pl.lit("no answer")),
    )
    reports = named.select(
        "channel",
        "timestamp",
        "payload",
        *PROVENANCE,
        source=pl.concat_str(pl.lit("j1939_"), pl.col("dm").str.to_lowercase()),
        code=pl.lit("J1939_CLEAR"),
        ecu=pl.when("is_global").then(pl.lit("all")).otherwise(_address("receiver")),
        status=pl.lit("occurred"),
        severity_rule=pl.lit("j1939: codes cleared"),
        message=pl.format("{} asked by {}: {}", "dm", _address("sender"), "answer"),
        # Each request is a moment of its own.
        seq=2 * pl.int_range(pl.len()),
    )
    followed = asked.filter((pl.col("control") == 0) | (pl.col("is_global") & pl.col("control").is_null()))
    return Clears(as_reports(reports), _cleared(followed, rows))


def _cleared(followed: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """A row for each diagnostic message that a request emptied; a request to all emptied those of every ECU."""
    owners = rows.select("channel", source_address=pl.col("arbitration_id").cast(pl.Int64) % 2**8).unique()
    emptied = followed.select(
        "channel",
        "receiver",
        "is_global",
        timestamp=pl.coalesce("answered_ns", "timestamp"),
        pgn=pl.col("pgn").replace_strict(
            {pgn: list(emptied) for pgn, emptied in _CLEARS.items()}, return_dtype=pl.List(pl.Int64)
        ),
    ).explode("pgn")
    single = emptied.filter(~pl.col("is_global")).with_columns(source_address="receiver")
    every = emptied.filter("is_global").join(owners, on="channel", maintain_order="left")
    columns = ["pgn", "channel", "source_address", "timestamp"]
    return pl.concat([single.select(columns), every.select(columns)])


def _address(column: str) -> pl.Expr:
    names = {address: f"SA 0x{address:02X}" for address in range(256)}
    return pl.col(column).replace_strict(names, return_dtype=pl.String)
