"""SAE J1939-73 DM1 (5.7.1): the trouble codes that an ECU reports as active, each second while there are any."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import polars as pl

from argus_assets.faults.activations import FAULT, activations, as_reports
from argus_assets.faults.can import IS_EXTENDED, PROVENANCE, TIME_ORDER
from argus_assets.faults.detector import Found
from argus_assets.faults.j1939_tp import IS_TRANSPORT, reassemble

PGN_DM1: Final = 0xFECA
_IS_DM1: Final = (pl.col("arbitration_id") & 0x03FFFF00) == PGN_DM1 << 8

WANTED: Final = IS_EXTENDED & (_IS_DM1 | IS_TRANSPORT)
"""Filter for the frames that can carry a DM1."""

LONGEST_GAP_NS: Final = 10_000_000_000 - 1
"""Ten DM1 in a row that did not come mean that the ECU has stopped reporting its codes."""

_LAMPS: Final = (("red stop", 4), ("malfunction", 6), ("amber warning", 2), ("protect", 0))
"""Lamps, worst first, with their place in byte 1: two bits each."""

_LAMP_ON: Final = 1
_LAMP_NOT_AVAILABLE: Final = 3
_MIN_BYTES: Final = 6
"""Two bytes of lamps and one code."""

_NO_CODE: Final = ((0, 0), (0x7FFFF, 31))
"""SPN and FMI that stand for no code: all zeros (5.7.1.1), and the ones that fill unused bytes."""


class Dtc(NamedTuple):
    """One trouble code as DM1 carries it (5.7.1, SPN conversion method version 4).

    Attributes:
        spn: Suspect parameter number, 19 bits.
        fmi: Failure mode identifier, 5 bits.
        occurrence_count: The ECU's counter: 126 is at least 126, 127 is not available.
        conversion_method: 0 for version 4. 1 stands for one of three older layouts of the SPN that cannot be told
            apart, so the SPN may be wrong.
    """

    spn: int
    fmi: int
    occurrence_count: int
    conversion_method: int

    @property
    def code(self) -> str:
        """`SPN100/FMI1`."""
        return f"SPN{self.spn}/FMI{self.fmi}"


class LampStatus(NamedTuple):
    """The lamps of a DM1.

    Attributes:
        on: Lamps that are on, worst first.
        available: Whether the ECU knows the state of any lamp.
    """

    on: tuple[str, ...]
    available: bool

    @property
    def rule(self) -> str:
        """The severity rule that applies (`severity.RULES`)."""
        if self.on:
            return f"lamp: {self.on[0]}"
        return "lamp: none on" if self.available else "lamp: not available"


class Dm1(NamedTuple):
    """A DM1 message. Its lamps belong to the ECU, not to one code."""

    lamps: LampStatus
    dtcs: tuple[Dtc, ...]


def parse_dm1(payload: bytes) -> Dm1 | None:
    """Decode a DM1, `None` when it is too short to be one. Bytes behind the last whole code are filling."""
    if len(payload) < _MIN_BYTES:
        return None
    states = {name: payload[0] >> shift & 0b11 for name, shift in _LAMPS}
    lamps = LampStatus(
        tuple(name for name, state in states.items() if state == _LAMP_ON),
        available=any(state != _LAMP_NOT_AVAILABLE for state in states.values()),
    )
    return Dm1(lamps, tuple(_codes(payload)))


def _codes(payload: bytes) -> Iterator[Dtc]:
    seen = set(_NO_CODE)
    for at in range(2, len(payload) - 3, 4):
        low, middle, high_fmi, count = payload[at : at + 4]
        dtc = Dtc(low | middle << 8 | high_fmi >> 5 << 16, high_fmi & 0x1F, count & 0x7F, count >> 7)
        if dtc[:2] not in seen:
            seen.add(dtc[:2])
            yield dtc


def find(rows: pl.DataFrame) -> Found:
    """Find the faults that ECUs report by DM1.

    Args:
        rows: `can.data_frames` of `WANTED`.
    """
    reports, notes = find_reports(rows)
    return Found(activations(reports, longest_gap_ns=LONGEST_GAP_NS), notes)


def find_reports(rows: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Report every code of every DM1.

    Args:
        rows: `can.data_frames` of `WANTED`.

    Returns:
        `activations.REPORTS`, and notes on what could not be read.
    """
    rows = rows.sort(TIME_ORDER)
    single = rows.filter(_IS_DM1).with_columns(source_address=pl.col("arbitration_id").cast(pl.Int64) % 2**8)
    transported = reassemble(rows, pgn=PGN_DM1)
    columns = ["channel", "source_address", "timestamp", *PROVENANCE, "payload"]
    messages = (
        pl.concat([single.select(columns), transported.messages.select(columns)])
        .sort(TIME_ORDER)
        .join(_parse_distinct(single["payload"].append(transported.messages["payload"])), on="payload", how="left")
    )
    reports = (
        messages.filter(pl.col("rule").is_not_null())
        .sort(TIME_ORDER)
        .with_columns(seq=pl.int_range(pl.len()).over("channel", "source_address"))
        .explode("dtcs", empty_as_null=True)
        .filter(pl.col("dtcs").is_not_null())
        .unnest("dtcs")
        .with_columns(
            pl.col("rule").alias("severity_rule"),
            source=pl.lit("j1939_dm1"),
            status=pl.lit("active"),
            ecu=_ecu(),
        )
    )
    return as_reports(reports), (*_transport_notes(transported.sessions), *_message_notes(messages, reports))


def _parse_distinct(payloads: pl.Series) -> pl.DataFrame:
    """Each distinct payload with its content. A DM1 repeats each second with the same bytes, so they are few."""
    rows: list[dict[str, object]] = []
    for payload in payloads.unique():
        dm1 = parse_dm1(payload)
        if dm1 is not None:
            rows.append(
                {
                    "payload": payload,
                    "rule": dm1.lamps.rule,
                    "lamp_status": ", ".join(dm1.lamps.on) or ("none on" if dm1.lamps.available else "not available"),
                    "dtcs": [
                        {
                            "code": dtc.code,
                            "occurrence_count": dtc.occurrence_count,
                            "message": "SPN in an older layout (conversion method 1): the number may be wrong"
                            if dtc.conversion_method
                            else None,
                        }
                        for dtc in dm1.dtcs
                    ],
                }
            )
    dtc = pl.Struct({"code": pl.String, "occurrence_count": pl.UInt8, "message": pl.String})
    return pl.DataFrame(
        rows, schema={"payload": pl.Binary, "rule": pl.String, "lamp_status": pl.String, "dtcs": pl.List(dtc)}
    )


def _ecu() -> pl.Expr:
    """`SA 0x0B` of a source address."""
    names = {address: f"SA 0x{address:02X}" for address in range(256)}
    return pl.col("source_address").replace_strict(names, return_dtype=pl.String)


def _transport_notes(sessions: pl.DataFrame) -> Iterator[str]:
    counts = sessions.group_by("channel", "source_address").agg(
        incomplete=(~pl.col("complete")).sum(), sessions=pl.len()
    )
    for channel, address, incomplete, total in counts.sort("channel", "source_address").iter_rows():
        if incomplete:
            yield (
                f"{channel} SA 0x{address:02X}: {incomplete} of {total} DM1 messages by transport protocol are "
                "incomplete (lost or late packets) and were left out."
            )


def _message_notes(messages: pl.DataFrame, reports: pl.DataFrame) -> Iterator[str]:
    short = messages.filter(pl.col("rule").is_null())
    for channel, address, count in short.group_by("channel", "source_address").len().sort(pl.all()).iter_rows():
        yield f"{channel} SA 0x{address:02X}: {count} DM1 frames are shorter than {_MIN_BYTES} bytes and were left out."
    old = reports.filter(pl.col("message").is_not_null()).unique(list(FAULT))
    for channel, ecu, codes in old.group_by("channel", "ecu").agg(pl.len()).sort(pl.all()).iter_rows():
        yield f"{channel} {ecu}: {codes} codes use an older SPN layout (conversion method 1); their SPN may be wrong."
