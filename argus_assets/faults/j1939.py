"""SAE J1939-73: the trouble codes that ECUs report in diagnostic messages (DM), and the requests to clear them.

All these messages have one layout: two bytes of lamps, then four for each code. DM1 comes each second while there are
codes, the others on request. `j1939_tp` puts long ones together, `j1939_name` knows who is behind an address, and
`j1939_clear` what was cleared.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl

from argus_assets.faults.activations import FAULT, activations, as_reports
from argus_assets.faults.can import IS_EXTENDED, PROVENANCE, TIME_ORDER
from argus_assets.faults.detector import Found
from argus_assets.faults.j1939_clear import IS_CLEARING, Clears, find_clears
from argus_assets.faults.j1939_name import IS_ADDRESS_CLAIM, claims, with_names
from argus_assets.faults.j1939_tp import IS_TRANSPORT, Transported, reassemble
from argus_assets.faults.schema import DETAILS

PGN_DM1: Final = 0xFECA


@dataclass(frozen=True, slots=True)
class DiagnosticMessage:
    """One kind of diagnostic message.

    Attributes:
        name: `DM1`.
        status: What it says of the codes that it lists (`schema.STATUSES`).
        rule: Severity rule of its codes; `None` where the lamps decide. Its lamps are those of the active codes, which
            say nothing of codes that are pending or past.
        clause: In SAE J1939-73.
    """

    name: str
    status: str
    rule: str | None
    clause: str

    @property
    def source(self) -> str:
        """`j1939_dm1`."""
        return f"j1939_{self.name.lower()}"


MESSAGES: Final[Mapping[int, DiagnosticMessage]] = {
    PGN_DM1: DiagnosticMessage("DM1", "active", None, "5.7.1"),
    0xFECB: DiagnosticMessage("DM2", "previously_active", "j1939: previously active", "5.7.2"),
    0xFECF: DiagnosticMessage("DM6", "pending", "j1939: pending", "5.7.6"),
    0xFED4: DiagnosticMessage("DM12", "confirmed", None, "5.7.12"),
    0xFDB5: DiagnosticMessage("DM23", "previously_active", "j1939: previously active", "5.7.23"),
    0xFD82: DiagnosticMessage("DM27", "pending", "j1939: pending", "5.7.27"),
    0xFD80: DiagnosticMessage("DM28", "permanent", "j1939: permanent", "5.7.28"),
}
"""Diagnostic messages by parameter group number."""

_ID_OF_PGN: Final = pl.col("arbitration_id") & 0x03FFFF00
_IS_DM: Final = _ID_OF_PGN.is_in([pgn << 8 for pgn in MESSAGES])

WANTED: Final = IS_EXTENDED & (_IS_DM | IS_TRANSPORT | IS_CLEARING | IS_ADDRESS_CLAIM)
"""Filter for the frames that can carry a diagnostic message, a request to clear, or a NAME."""

LONGEST_GAP_NS: Final = 10_000_000_000 - 1
"""Ten DM1 in a row that did not come mean that the ECU has stopped reporting its codes."""

_LAMPS: Final = (("red stop", 4), ("malfunction", 6), ("amber warning", 2), ("protect", 0))
"""Lamps, worst first, with their place in bytes 1 and 2: two bits each."""

_LAMP_ON: Final = 1
_LAMP_NOT_AVAILABLE: Final = 3
_FLASHES: Final = {0: " (slow flash)", 1: " (fast flash)"}
"""Byte 2: 1 Hz, and 2 Hz or faster. 3 is a steady lamp, or an ECU older than these bits (5.7.1.1)."""

_MIN_BYTES: Final = 6
"""Two bytes of lamps and one code."""

_NO_CODE: Final = ((0, 0), (0x7FFFF, 31))
"""SPN and FMI that stand for no code: all zeros (5.7.1.1), and the ones that fill unused bytes."""


class Dtc(NamedTuple):
    """One trouble code (5.7.1, SPN conversion method version 4).

    Attributes:
        spn: Suspect parameter number, 19 bits.
        fmi: Failure mode identifier, 5 bits.
        occurrence_count: The ECU's counter: 126 is at least 126, 127 is not available.
        conversion_method: 0 for version 4. 1 stands for one of three older layouts of the SPN that cannot be told
            apart, so the SPN may be wrong: it is read as version 3, whose bytes stand as those of version 4.
    """

    spn: int
    fmi: int
    occurrence_count: int
    conversion_method: int

    @property
    def code(self) -> str:
        """`SPN100/FMI1`."""
        return f"SPN{self.spn}/FMI{self.fmi}"

    @property
    def older_readings(self) -> dict[int, int]:
        """The SPN by version of its layout, where the conversion method leaves it open (5.7.1.7)."""
        if not self.conversion_method:
            return {}
        low, middle, high = self.spn & 0xFF, self.spn >> 8 & 0xFF, self.spn >> 16
        return {1: low << 11 | middle << 3 | high, 2: middle << 11 | low << 3 | high, 3: self.spn}


class LampStatus(NamedTuple):
    """The lamps of a diagnostic message.

    Attributes:
        on: Lamps that are on, worst first.
        available: Whether the ECU knows the state of any lamp.
        flashing: How each of `on` flashes: a key of `_FLASHES`, or 3 for not at all.
    """

    on: tuple[str, ...]
    available: bool
    flashing: tuple[int, ...] = ()

    @property
    def rule(self) -> str:
        """The severity rule that applies (`severity.RULES`)."""
        if self.on:
            return f"lamp: {self.on[0]}"
        return "lamp: none on" if self.available else "lamp: not available"

    @property
    def text(self) -> str:
        """`red stop (fast flash), malfunction`."""
        if not self.on:
            return "none on" if self.available else "not available"
        return ", ".join(name + _FLASHES.get(flash, "") for name, flash in zip(self.on, self.flashing, strict=True))


class Dm(NamedTuple):
    """A diagnostic message. Its lamps belong to the ECU, not to one code."""

    lamps: LampStatus
    dtcs: tuple[Dtc, ...]


def parse_dm(payload: bytes) -> Dm | None:
    """Decode a diagnostic message, `None` when it is too short. Bytes behind the last whole code are filling."""
    if len(payload) < _MIN_BYTES:
        return None
    states = {name: (payload[0] >> shift & 0b11, payload[1] >> shift & 0b11) for name, shift in _LAMPS}
    on = {name: flash for name, (state, flash) in states.items() if state == _LAMP_ON}
    available = any(state != _LAMP_NOT_AVAILABLE for state, _ in states.values())
    return Dm(LampStatus(tuple(on), available, tuple(on.values())), tuple(_codes(payload)))


def _codes(payload: bytes) -> Iterator[Dtc]:
    seen = set(_NO_CODE)
    for at in range(2, len(payload) - 3, 4):
        low, middle, high_fmi, count = payload[at : at + 4]
        dtc = Dtc(low | middle << 8 | high_fmi >> 5 << 16, high_fmi & 0x1F, count & 0x7F, count >> 7)
        if dtc[:2] not in seen:
            seen.add(dtc[:2])
            yield dtc


def find(rows: pl.DataFrame) -> Found:
    """Find the faults that ECUs report, and the requests to clear them.

    A code of DM1 is active until a DM1 does not list it, or none comes for `LONGEST_GAP_NS`. The others come when they
    are asked for: their codes last until an answer does not list them. An acknowledged request to clear ends both.

    Args:
        rows: `can.data_frames` of `WANTED`.
    """
    rows = rows.sort(TIME_ORDER)
    transported = reassemble(rows, pgns=MESSAGES)
    messages = _messages(rows, transported)
    clears = find_clears(rows)
    reports = _reports(messages, clears, claims(rows))
    repeated = pl.col("source") == "j1939_dm1"
    events = pl.concat(
        [
            activations(reports.filter(repeated), longest_gap_ns=LONGEST_GAP_NS),
            activations(reports.filter(~repeated), longest_gap_ns=None),
            activations(clears.reports, longest_gap_ns=None),
        ]
    )
    return Found(events, (*_transport_notes(transported.sessions), *_message_notes(messages, reports)))


def _messages(rows: pl.DataFrame, transported: Transported) -> pl.DataFrame:
    """Diagnostic messages in time order, each with what is in it; `rule` is null for those that are too short."""
    columns = ["pgn", "channel", "source_address", "timestamp", *PROVENANCE, "payload"]
    can_id = pl.col("arbitration_id").cast(pl.Int64)
    single = rows.filter(_IS_DM).with_columns(pgn=can_id // 2**8 % 2**18, source_address=can_id % 2**8)
    together = pl.concat([single.select(columns), transported.messages.select(columns)])
    return together.sort(TIME_ORDER).join(
        _parse_distinct(together["payload"]), on="payload", how="left", maintain_order="left"
    )


def _reports(messages: pl.DataFrame, clears: Clears, claimed: pl.DataFrame) -> pl.DataFrame:
    """Report every code of every message."""
    reporter = ["pgn", "channel", "source_address"]
    # What was cleared is like a message without codes.
    cleared = clears.cleared.join(messages.select(reporter).unique(), on=reporter, maintain_order="left")
    named = with_names(
        pl.concat([messages.filter(pl.col("rule").is_not_null()), cleared], how="diagonal").sort(
            "timestamp", maintain_order=True
        ),
        claimed,
    )
    listed = (
        named.with_columns(seq=pl.int_range(pl.len()).over(reporter))
        .explode("dtcs", empty_as_null=True)
        .filter(pl.col("dtcs").is_not_null())
        .unnest("dtcs")
    )
    stated = {pgn: message.rule for pgn, message in MESSAGES.items() if message.rule}
    by_lamps = (
        # The dictionary must not judge an SPN that may be another.
        pl.when(pl.col("details").is_not_null() & (pl.col("rule") == "lamp: not available"))
        .then(pl.lit("lamp: not available, SPN in doubt"))
        .otherwise("rule")
    )
    return as_reports(
        listed.with_columns(
            severity_rule=pl.col("pgn").replace_strict(stated, default=by_lamps, return_dtype=pl.String),
            source=pl.col("pgn").replace_strict({pgn: m.source for pgn, m in MESSAGES.items()}),
            status=pl.col("pgn").replace_strict({pgn: m.status for pgn, m in MESSAGES.items()}),
            ecu=_ecu(),
        )
    )


def _parse_distinct(payloads: pl.Series) -> pl.DataFrame:
    """Each distinct payload with its content. A DM1 repeats each second with the same bytes, so they are few."""
    rows: list[dict[str, object]] = []
    for payload in payloads.unique():
        dm = parse_dm(payload)
        if dm is not None:
            codes = [
                {
                    "code": dtc.code,
                    "occurrence_count": dtc.occurrence_count,
                    "message": "SPN in an older layout (conversion method 1): the number may be wrong"
                    if dtc.conversion_method
                    else None,
                    "details": [
                        {"key": f"SPN in layout version {version}", "value": str(spn)}
                        for version, spn in dtc.older_readings.items()
                    ]
                    or None,
                }
                for dtc in dm.dtcs
            ]
            rows.append({"payload": payload, "rule": dm.lamps.rule, "lamp_status": dm.lamps.text, "dtcs": codes})
    dtc_type = pl.Struct({"code": pl.String, "occurrence_count": pl.UInt8, "message": pl.String, "details": DETAILS})
    return pl.DataFrame(
        rows, schema={"payload": pl.Binary, "rule": pl.String, "lamp_status": pl.String, "dtcs": pl.List(dtc_type)}
    )


def _ecu() -> pl.Expr:
    """`SA 0x0B` of a source address."""
    names = {address: f"SA 0x{address:02X}" for address in range(256)}
    return pl.col("source_address").replace_strict(names, return_dtype=pl.String)


def _transport_notes(sessions: pl.DataFrame) -> Iterator[str]:
    counts = sessions.group_by("pgn", "channel", "source_address").agg(
        incomplete=(~pl.col("complete")).sum(), sessions=pl.len()
    )
    for pgn, channel, address, incomplete, total in counts.sort("pgn", "channel", "source_address").iter_rows():
        if incomplete:
            yield (
                f"{channel} SA 0x{address:02X}: {incomplete} of {total} {MESSAGES[pgn].name} messages by transport "
                "protocol are incomplete (lost or late packets) and were left out."
            )


def _message_notes(messages: pl.DataFrame, reports: pl.DataFrame) -> Iterator[str]:
    short = messages.filter(pl.col("rule").is_null())
    per_reporter = short.group_by("pgn", "channel", "source_address").len().sort(pl.all())
    for pgn, channel, address, count in per_reporter.iter_rows():
        yield (
            f"{channel} SA 0x{address:02X}: {count} {MESSAGES[pgn].name} frames are shorter than {_MIN_BYTES} bytes "
            "and were left out."
        )
    old = reports.filter(pl.col("details").is_not_null()).unique(list(FAULT))
    for channel, ecu, codes in old.group_by("channel", "ecu").agg(pl.len()).sort(pl.all()).iter_rows():
        yield f"{channel} {ecu}: {codes} codes use an older SPN layout (conversion method 1); their SPN may be wrong."
