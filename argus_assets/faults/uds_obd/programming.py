"""Find programming sessions: a control unit that is programmed is silent, and its peers miss it, without a fault."""

from typing import Final

import polars as pl

from argus_assets.faults.activations import as_reports
from argus_assets.faults.can_frames import byte
from argus_assets.faults.clearings import PROGRAMMING
from argus_assets.faults.uds_obd.request_response import EVIDENCE, positive

SESSION_CONTROL: Final = 0x10
PROGRAMMING_SESSION: Final = 0x02
DOWNLOADS: Final = (0x34, 0x36, 0x37)
"""Services of a download: requested, transferred, ended (ISO 14229-1, 14)."""

LONGEST_GAP_NS: Final = 60_000_000_000
"""Answers of one session are not further apart: erasing a memory takes tens of seconds."""


def find_reports(answers: pl.DataFrame) -> pl.DataFrame:
    """Report the answers of ECUs in a programming session.

    Args:
        answers: `request_response.ANSWERS`.

    Returns:
        `activations.REPORTS`.
    """
    of_session = positive(answers, SESSION_CONTROL).filter(byte(1) == PROGRAMMING_SESSION)
    found = pl.concat([of_session, *(positive(answers, service) for service in DOWNLOADS)]).sort("order")
    return as_reports(
        found.select(EVIDENCE).with_columns(
            source=pl.lit("uds_programming"),
            code=pl.lit(PROGRAMMING),
            status=pl.lit("occurred"),
            severity_rule=pl.lit("programming: control unit is programmed"),
            message=pl.lit("programming session"),
            seq=pl.int_range(pl.len()),
        )
    )
