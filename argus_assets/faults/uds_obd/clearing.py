"""Find codes that a tester cleared by OBD mode 04 or UDS 0x14, and the ECU confirmed it.

A clearing is an event, and it ends the activations of the codes that it covers: a code that is reported again is a
fault that came back.
"""

from typing import Final

import polars as pl

from argus_assets.faults.activations import as_reports
from argus_assets.faults.clearings import ALL_CODES, SCOPE
from argus_assets.faults.uds_obd.dtc import SAE_J1939_73, dtc_formats, uds_dtc_text
from argus_assets.faults.uds_obd.request_response import EVIDENCE, REPORTER, positive

OBD_CLEAR: Final = 0x04
UDS_CLEAR: Final = 0x14

_SYSTEM_GROUPS: Final = {0x000000: "P", 0x400000: "C", 0x800000: "B", 0xC00000: "U"}
"""Groups of a whole system, as manufacturers use them: no code has only zeros after the letter."""

_FUNCTIONAL_GROUPS: Final = 0xFFFF00
"""From here on, a group is all codes (0xFFFFFF), or those of a function such as emissions (0xFFFF33)."""


def clears(answers: pl.DataFrame) -> pl.DataFrame:
    """Return the clearings that ECUs confirmed.

    Args:
        answers: `conversation.ANSWERS`.

    Returns:
        Columns of `conversation.EVIDENCE`, source, message, and scope: empty for all codes, a letter for those of a
        system, or one code. Without its request a clearing counts as one of all codes.
    """
    of_obd = positive(answers, OBD_CLEAR).with_columns(
        source=pl.lit("obd_mode04"), scope=pl.lit(""), message=pl.lit("all emission-related codes cleared")
    )
    of_uds = positive(answers, UDS_CLEAR).join(dtc_formats(answers), on=REPORTER, how="left", maintain_order="left")
    cleared = of_uds.select("request", "dtc_format").unique()
    scopes = pl.DataFrame(
        [(*group, *_scope(*group)) for group in cleared.iter_rows()],
        schema={**cleared.schema, "scope": pl.String, "message": pl.String},
        orient="row",
    )
    of_uds = of_uds.join(scopes, on=cleared.columns, nulls_equal=True).with_columns(source=pl.lit("uds_clear"))
    columns = [*EVIDENCE, "source", "scope", "message"]
    return pl.concat([of_obd.select(columns), of_uds.select(columns)]).sort("order")


def _scope(request: bytes | None, dtc_format: int | None) -> tuple[str, str]:
    if request is None or len(request) < 4:
        return "", "codes cleared; which ones was not recorded"
    group = int.from_bytes(request[1:4], "big")
    if group >= _FUNCTIONAL_GROUPS:
        return "", "all codes cleared" if group == 0xFFFFFF else f"codes of group 0x{group:06X} cleared"
    if group in _SYSTEM_GROUPS and dtc_format != SAE_J1939_73:
        return _SYSTEM_GROUPS[group], f"{_SYSTEM_GROUPS[group]} codes cleared (group 0x{group:06X})"
    code = uds_dtc_text(request[1:4], dtc_format)
    return code, f"{code} cleared"


def find_reports(clears: pl.DataFrame) -> pl.DataFrame:
    """Report every clearing.

    Args:
        clears: Those of `clears`.

    Returns:
        `activations.REPORTS`.
    """
    return as_reports(
        clears.with_columns(
            code=pl.when(pl.col("source") == "uds_clear").then(pl.lit("UDS_CLEAR")).otherwise(pl.lit("OBD_CLEAR")),
            status=pl.lit("occurred"),
            severity_rule=pl.lit("clear: codes cleared"),
            details=pl.concat_list(
                pl.struct(
                    key=pl.lit(SCOPE),
                    value=pl.when(pl.col("scope") == "").then(pl.lit(ALL_CODES)).otherwise("scope"),
                )
            ),
            # Each is an event of its own, also when no other message stands between them.
            seq=2 * pl.int_range(pl.len()),
        )
    )


def cleared_before(reports: pl.DataFrame, clears: pl.DataFrame) -> pl.Series:
    """Count the clearings before each report that covered its code.

    Args:
        reports: order, channel, ecu and code, sorted by order.
        clears: Those of `clears`.
    """
    number = pl.Series("cleared", [0] * reports.height, dtype=pl.Int64)
    codes = reports["code"].str.len_bytes().max()
    # All codes, those of a system, one code: a scope is the beginning of the codes that it covers.
    widths = (0, 1, codes if isinstance(codes, int) else 0)
    for width in dict.fromkeys(widths):
        is_wide = pl.col("scope").str.len_bytes() <= 1
        of_width = clears.filter(pl.col("scope").str.len_bytes() == width if width <= 1 else ~is_wide)
        counted = of_width.select(
            "order",
            *REPORTER,
            scope=pl.col("scope").str.slice(0, width),
            cleared=pl.int_range(1, pl.len() + 1).over(*REPORTER, pl.col("scope").str.slice(0, width)),
        )
        found = reports.select("order", *REPORTER, scope=pl.col("code").str.slice(0, width)).join_asof(
            counted, on="order", by=[*REPORTER, "scope"], check_sortedness=False
        )
        number += found["cleared"].fill_null(0)
    return number
