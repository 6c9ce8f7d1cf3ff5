"""KWP2000 ReadDTCsByStatus (0x18) on CAN: codes of two bytes with a status byte (ISO 14230-3, 8.1).

Older vehicles, and newer ones of some makers, answer it beside or instead of UDS. What an ECU lists is taken as it stands at
the last answer; clearing (0x14) is that of UDS.
"""

from collections.abc import Iterator
from typing import Final

import polars as pl

from argus_assets.faults.activations import as_reports
from argus_assets.faults.uds_obd.clearing import cleared_before
from argus_assets.faults.uds_obd.dtc import dtc_text
from argus_assets.faults.uds_obd.request_response import EVIDENCE, REPORTER, positive

READ_BY_STATUS: Final = 0x18

_STORAGE: Final = 0x60
_PRESENT, _MATURING, _STORED = 0x60, 0x40, 0x20
"""Bits 5 and 6 of the status: there now, maturing or intermittent, stored but not there now; 0 is no fault."""
LAMP: Final = 0x80

SYMPTOMS: Final = {1: "above its maximum", 2: "below its minimum", 4: "no signal", 8: "invalid signal"}
"""Bits 0 to 3 of the status: how it fails."""

_STATES: Final = {_PRESENT: "active", _MATURING: "pending", _STORED: "confirmed"}
_RULES: Final = {
    _PRESENT: "kwp: there now",
    _MATURING: "kwp: maturing or intermittent",
    _STORED: "kwp: stored, not there now",
}


def parse_answer(payload: bytes) -> tuple[tuple[str, int], ...] | None:
    """Return the codes and status bytes of an answer, `None` where it is not whole.

    Args:
        payload: A whole message that starts with 0x58.
    """
    if len(payload) < 2 or len(payload) != 2 + 3 * payload[1]:
        return None
    return tuple((dtc_text(payload[at], payload[at + 1]), payload[at + 2]) for at in range(2, len(payload), 3))


def status_text(status: int) -> str:
    """Describe a status byte."""
    stored = {_PRESENT: "there now", _MATURING: "maturing or intermittent", _STORED: "stored, not there now"}
    parts = [stored.get(status & _STORAGE, "no fault"), SYMPTOMS.get(status & 0x0F, "")]
    return ", ".join([part for part in parts if part] + (["warning lamp requested"] if status & LAMP else []))


def find_reports(answers: pl.DataFrame, clears: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Report the codes that answers to ReadDTCsByStatus list.

    Args:
        answers: `request_response.ANSWERS`.
        clears: `clearing.clears`.

    Returns:
        `activations.REPORTS`, and notes on what could not be read.
    """
    of_service = positive(answers, READ_BY_STATUS)
    parsed = {payload: parse_answer(payload) for payload in of_service["payload"].unique()}
    listed = of_service.select(EVIDENCE).with_columns(
        codes=pl.col("payload").replace_strict(
            list(parsed),
            [
                None if codes is None else [{"code": code, "byte": status} for code, status in codes]
                for codes in parsed.values()
            ],
            return_dtype=pl.List(pl.Struct({"code": pl.String, "byte": pl.Int64})),
        )
        if parsed
        else pl.lit(None, dtype=pl.List(pl.Struct({"code": pl.String, "byte": pl.Int64})))
    )
    unread = listed.filter(pl.col("codes").is_null())
    rows = (
        listed.explode("codes", empty_as_null=True)
        .unnest("codes")
        .filter(pl.col("code").is_not_null() & ((pl.col("byte") & _STORAGE) != 0))
        .with_columns(source=pl.lit("kwp_dtc"), stored=pl.col("byte") & _STORAGE)
    )
    reports = rows.with_columns(
        seq=cleared_before(rows, clears),
        status=pl.col("stored").replace_strict(_STATES, return_dtype=pl.String),
        severity_rule=pl.col("stored").replace_strict(_RULES, return_dtype=pl.String),
        message=pl.col("byte").replace_strict(
            {s: status_text(s) for s in rows["byte"].unique()}, return_dtype=pl.String
        ),
    )
    return as_reports(reports), tuple(_notes(unread))


def _notes(unread: pl.DataFrame) -> Iterator[str]:
    for channel, ecu, count in unread.group_by(REPORTER).len().sort(pl.all()).iter_rows():
        yield f"{channel} {ecu}: {count} ReadDTCsByStatus answers (KWP2000) could not be read and were left out."
