"""Trouble codes of two and three bytes as people write them (SAE J2012, SAE J1939-73, ISO 14229-1 annex D)."""

from typing import Final

import polars as pl

from argus_assets.faults.can_frames import byte
from argus_assets.faults.uds_obd.request_response import REPORTER, positive

READ_DTC_INFORMATION: Final = 0x19
COUNT_BY_STATUS_MASK: Final = 0x01
"""Sub-function whose answer states the format of the ECU's codes (ISO 14229-1, 11.3)."""

_COUNT_BYTES: Final = 6

SAE_J1939_73: Final = 0x02
ISO_11992_4: Final = 0x03
"""DTC format identifiers (ISO 14229-1, table D.1). All others are laid out as SAE J2012 has it."""


def dtc_text(high: int, low: int) -> str:
    """Format a two-byte code, such as `P0301`: two bits of letter, two of the first digit, twelve in hex."""
    return f"{'PCBU'[high >> 6]}{high >> 4 & 0b11}{high & 0x0F:X}{low:02X}"


def uds_dtc_text(dtc: bytes, dtc_format: int | None) -> str:
    """Format a three-byte code of UDS.

    Args:
        dtc: Three bytes, high byte first.
        dtc_format: DTC format identifier, `None` where the ECU did not say.

    Returns:
        `U0100-87` with the failure-type byte, `SPN100/FMI1` in the format of J1939-73, `DTC_0A1B2C` in that of
        ISO 11992-4, whose codes are numbers of the maker.
    """
    high, middle, low = dtc
    if dtc_format == SAE_J1939_73:
        # The SPN's low byte comes first, as in DM1; the FMI has the last five bits.
        return f"SPN{high | middle << 8 | low >> 5 << 16}/FMI{low & 0x1F}"
    if dtc_format == ISO_11992_4:
        return f"DTC_{dtc.hex().upper()}"
    return f"{dtc_text(high, middle)}-{low:02X}"


def dtc_formats(answers: pl.DataFrame) -> pl.DataFrame:
    """Return the format of each ECU's codes, as far as it was reported. It does not change.

    Args:
        answers: `conversation.ANSWERS`.

    Returns:
        channel, ecu, dtc_format (DTC format identifier, Int64).
    """
    is_count = (byte(1) == COUNT_BY_STATUS_MASK) & (pl.col("payload").bin.size() == _COUNT_BYTES)
    counts = positive(answers, READ_DTC_INFORMATION).filter(is_count)
    return counts.group_by(REPORTER).agg(dtc_format=byte(3).last())
