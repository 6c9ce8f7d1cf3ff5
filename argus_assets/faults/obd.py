"""OBD-II mode 03: confirmed emission-related trouble codes.

Services: ISO 15031-5 / SAE J1979. Identifiers on CAN: ISO 15765-4. Two-byte codes: SAE J2012.
"""

from collections.abc import Iterator
from typing import Final

import polars as pl

from argus_assets.faults.activations import activations, as_reports
from argus_assets.faults.can import IS_EXTENDED, TIME_ORDER
from argus_assets.faults.detector import Found
from argus_assets.faults.isotp import reassemble

MODE_03_ANSWER: Final = 0x43
_CAN_ID: Final = pl.col("arbitration_id")

WANTED: Final = (~IS_EXTENDED & _CAN_ID.is_between(0x7E8, 0x7EF)) | (IS_EXTENDED & ((_CAN_ID & ~0xFF) == 0x18DAF100))
"""Filter for the answers of ECUs to the tester: 11-bit 0x7E8 to 0x7EF, 29-bit 0x18DAF1xx (ISO 15765-4, 10.5)."""


def dtc_text(high: int, low: int) -> str:
    """A two-byte code as people write it: two bits of letter, two of the first digit, twelve in hex (SAE J2012)."""
    return f"{'PCBU'[high >> 6]}{high >> 4 & 0b11}{high & 0x0F:X}{low:02X}"


def parse_mode_03(payload: bytes) -> tuple[str, ...] | None:
    """The codes of a mode 03 answer, in its order, `None` when it is shorter than the count it states.

    Over CAN the number of codes stands behind the service byte. The pair 0x0000 is filling.

    Args:
        payload: A whole message that starts with 0x43.
    """
    if len(payload) < 2 or len(payload) < 2 + 2 * payload[1]:
        return None
    pairs = [payload[at : at + 2] for at in range(2, 2 + 2 * payload[1], 2)]
    return tuple(dict.fromkeys(dtc_text(*pair) for pair in pairs if any(pair)))


def find(rows: pl.DataFrame) -> Found:
    """Find the codes that ECUs answer to mode 03.

    Args:
        rows: `can.data_frames` of `WANTED`.
    """
    reports, notes = find_reports(rows)
    return Found(activations(reports, longest_gap_ns=None), notes)


def find_reports(rows: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Report every code of every mode 03 answer.

    Args:
        rows: `can.data_frames` of `WANTED`.

    Returns:
        `activations.REPORTS`, and notes on what could not be read.
    """
    reassembled = reassemble(rows.sort(TIME_ORDER))
    is_answer = pl.col("payload").bin.starts_with(bytes([MODE_03_ANSWER]))
    answers = reassembled.messages.filter(is_answer)
    answers = answers.join(_parse_distinct(answers["payload"]), on="payload", how="left")
    reports = (
        answers.filter(pl.col("codes").is_not_null())
        .sort(TIME_ORDER)
        .with_columns(seq=pl.int_range(pl.len()).over("channel", "arbitration_id"))
        .explode("codes", empty_as_null=True)
        .filter(pl.col("codes").is_not_null())
        .with_columns(
            code="codes",
            source=pl.lit("obd_mode03"),
            status=pl.lit("confirmed"),
            ecu=_ecu(reports_of=answers),
            severity_rule=pl.lit("obd: confirmed code (mode 03)"),
        )
    )
    return as_reports(reports), (*_transport_notes(reassembled.multi_frame), *_answer_notes(answers))


def _parse_distinct(payloads: pl.Series) -> pl.DataFrame:
    """Each distinct answer with its codes; answers repeat as often as the tester asks."""
    distinct = payloads.unique()
    codes = [parse_mode_03(payload) for payload in distinct]
    return pl.DataFrame(
        {"payload": distinct, "codes": [None if found is None else list(found) for found in codes]},
        schema={"payload": pl.Binary, "codes": pl.List(pl.String)},
    )


def _ecu(*, reports_of: pl.DataFrame) -> pl.Expr:
    """`0x7E8` of an identifier."""
    names = {can_id: f"0x{can_id:X}" for can_id in reports_of["arbitration_id"].unique()}
    return pl.col("arbitration_id").replace_strict(names, return_dtype=pl.String)


def _transport_notes(multi_frame: pl.DataFrame) -> Iterator[str]:
    counts = multi_frame.group_by("channel", "arbitration_id").agg(
        incomplete=(~pl.col("complete")).sum(), messages=pl.len()
    )
    for channel, can_id, incomplete, total in counts.sort("channel", "arbitration_id").iter_rows():
        if incomplete:
            yield (
                f"{channel} 0x{can_id:X}: {incomplete} of {total} answers of several frames (ISO-TP) are incomplete "
                "(lost or late frames) and were left out."
            )


def _answer_notes(answers: pl.DataFrame) -> Iterator[str]:
    short = answers.filter(pl.col("codes").is_null()).group_by("channel", "arbitration_id").len()
    for channel, can_id, count in short.sort(pl.all()).iter_rows():
        yield f"{channel} 0x{can_id:X}: {count} mode 03 answers hold fewer codes than they state and were left out."
