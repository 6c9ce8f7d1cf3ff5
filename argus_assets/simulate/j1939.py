"""SAE J1939 messages as control units send them: trouble codes, transport, requests, acknowledgements, names.

Layouts: J1939-73 (diagnostic messages), J1939-21 5.4 and 5.10 (requests, acknowledgement, transport), J1939-81 4.1
(NAME).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from argus_assets.simulate.can import Row

PGN_DM1, PGN_DM2, PGN_DM6, PGN_DM11, PGN_DM12 = 0xFECA, 0xFECB, 0xFECF, 0xFED3, 0xFED4
PGN_ACKNOWLEDGEMENT, PGN_REQUEST, PGN_TRANSFER, PGN_CONNECTION, PGN_ADDRESS_CLAIMED = (
    0xE800,
    0xEA00,
    0xEB00,
    0xEC00,
    0xEE00,
)
GLOBAL: Final = 0xFF

BAM_SPACING_S: Final = 0.05
_ANSWER_S: Final = 0.004
_RTS, _CTS, _END_OF_MESSAGE, _BAM = 16, 17, 19, 32
_PACKET_BYTES: Final = 7


class TroubleCode(NamedTuple):
    """One code in a diagnostic message."""

    spn: int
    fmi: int
    occurrence_count: int

    def encoded(self) -> bytes:
        """Pack into four bytes: SPN in 19 bits, FMI in 5, conversion method 0, occurrence count in 7 (J1939-73 5.7.1)."""
        high_fmi = (self.spn >> 16 & 7) << 5 | self.fmi
        return bytes([self.spn & 0xFF, self.spn >> 8 & 0xFF, high_fmi, min(126, self.occurrence_count)])


def identifier(pgn: int, source: int, *, destination: int = GLOBAL, priority: int = 6) -> int:
    """Return the 29 bits of an identifier; a parameter group below 0xF000 holds its destination."""
    group = pgn | destination if (pgn >> 8 & 0xFF) < 0xF0 else pgn
    return priority << 26 | group << 8 | source


def diagnostic_body(lamps: int, codes: Sequence[TroubleCode]) -> bytes:
    """Pack lamps, flash state "not available", and codes; four zeros say that there is none (5.7.1.1)."""
    return bytes([lamps, 0xFF]) + (b"".join(c.encoded() for c in codes) or bytes(4))


def broadcast(at_s: float, pgn: int, source: int, body: bytes) -> list[Row]:
    """Send a message to all: one frame, or announced by BAM when it does not fit one (J1939-21 5.10.3)."""
    if len(body) <= 8:
        return [(at_s, identifier(pgn, source), body.ljust(8, b"\xff"))]
    control = bytes([_BAM, *len(body).to_bytes(2, "little"), _packets(body), 0xFF, *pgn.to_bytes(3, "little")])
    return [
        (at_s, identifier(PGN_CONNECTION, source, priority=7), control),
        *_transfer(at_s + BAM_SPACING_S, BAM_SPACING_S, source, GLOBAL, body),
    ]


def send_to(at_s: float, pgn: int, source: int, destination: int, body: bytes) -> list[Row]:
    """Send a message to one peer: one frame, or a connection by RTS, CTS and end-of-message (J1939-21 5.10.2)."""
    if len(body) <= 8:
        return [(at_s, identifier(pgn, source, destination=destination), body.ljust(8, b"\xff"))]
    packets, group = _packets(body), pgn.to_bytes(3, "little")
    size = len(body).to_bytes(2, "little")
    there = identifier(PGN_CONNECTION, source, destination=destination, priority=7)
    back = identifier(PGN_CONNECTION, destination, destination=source, priority=7)
    data_s = at_s + 2 * _ANSWER_S
    return [
        (at_s, there, bytes([_RTS, *size, packets, 0xFF, *group])),
        (at_s + _ANSWER_S, back, bytes([_CTS, packets, 1, 0xFF, 0xFF, *group])),
        *_transfer(data_s, _ANSWER_S, source, destination, body),
        (data_s + packets * _ANSWER_S, back, bytes([_END_OF_MESSAGE, *size, packets, 0xFF, *group])),
    ]


def _packets(body: bytes) -> int:
    return -(-len(body) // _PACKET_BYTES)


def _transfer(at_s: float, spacing_s: float, source: int, destination: int, body: bytes) -> list[Row]:
    can_id = identifier(PGN_TRANSFER, source, destination=destination, priority=7)
    return [
        (
            at_s + n * spacing_s,
            can_id,
            bytes([n + 1]) + body[_PACKET_BYTES * n : _PACKET_BYTES * (n + 1)].ljust(7, b"\xff"),
        )
        for n in range(_packets(body))
    ]


def request(at_s: float, pgn: int, source: int, destination: int) -> Row:
    """Request a parameter group of one peer (J1939-21 5.4.2)."""
    return (at_s, identifier(PGN_REQUEST, source, destination=destination), pgn.to_bytes(3, "little"))


def acknowledgement(at_s: float, pgn: int, source: int, asked_by: int, *, positive: bool) -> Row:
    """Acknowledge a request, or reject it as not supported (J1939-21 5.4.4)."""
    data = bytes([0 if positive else 1, 0xFF, 0xFF, 0xFF, asked_by, *pgn.to_bytes(3, "little")])
    return (at_s, identifier(PGN_ACKNOWLEDGEMENT, source), data)


class Name(NamedTuple):
    """The NAME of a control unit (J1939-81 4.1.1)."""

    function: int
    manufacturer: int
    identity: int
    ecu_instance: int = 0
    function_instance: int = 0
    vehicle_system: int = 0
    vehicle_system_instance: int = 0
    industry_group: int = 1  # on-highway equipment
    arbitrary_address: bool = False

    def encoded(self) -> bytes:
        """Pack into eight bytes, least significant first."""
        value = (
            self.identity
            | self.manufacturer << 21
            | self.ecu_instance << 32
            | self.function_instance << 35
            | self.function << 40
            | self.vehicle_system << 49
            | self.vehicle_system_instance << 56
            | self.industry_group << 60
            | self.arbitrary_address << 63
        )
        return value.to_bytes(8, "little")


def address_claimed(at_s: float, source: int, name: Name) -> Row:
    """Claim the address of a control unit, as it does when it starts (J1939-81 4.2)."""
    return (at_s, identifier(PGN_ADDRESS_CLAIMED, source), name.encoded())
