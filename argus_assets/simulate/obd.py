"""A tester on a car's diagnostic connector, and the answers of the control units, as CAN frames.

Layouts: ISO 15765-2 (segmentation, flow control), ISO 15765-4 (identifiers), SAE J1979 (OBD services), ISO 14229-1
(UDS services), SAE J2012 (codes).
"""

from collections.abc import Sequence
from enum import IntFlag
from typing import Final, NamedTuple

from argus_assets.simulate.can import Row

FILLER: Final = 0xAA
_FLOW_CONTROL_S: Final = 0.002
_SEPARATION_S: Final = 0.01
_ANSWER_S: Final = 0.01
_FIRST_BYTES, _CONSECUTIVE_BYTES, _SINGLE_BYTES = 6, 7, 7

RESPONSE: Final = 0x40
"""Added to a service's number in a positive answer."""

NEGATIVE: Final = 0x7F
SERVICE_NOT_SUPPORTED, REQUEST_OUT_OF_RANGE, RESPONSE_PENDING, CONDITIONS_NOT_CORRECT = 0x11, 0x31, 0x78, 0x22
"""Negative response codes (ISO 14229-1, A.1)."""


class DtcStatus(IntFlag):
    """Status byte of a UDS trouble code (ISO 14229-1, D.2)."""

    TEST_FAILED = 0x01
    TEST_FAILED_THIS_CYCLE = 0x02
    PENDING = 0x04
    CONFIRMED = 0x08
    NOT_COMPLETED_SINCE_CLEAR = 0x10
    FAILED_SINCE_CLEAR = 0x20
    NOT_COMPLETED_THIS_CYCLE = 0x40
    WARNING_INDICATOR = 0x80


class Addresses(NamedTuple):
    """Identifiers of a tester and of the control units, numbered from 0."""

    extended: bool = False

    @property
    def functional(self) -> int:
        """Identifier from the tester to all."""
        return 0x18DB33F1 if self.extended else 0x7DF

    def request(self, unit: int) -> int:
        """Return the identifier from the tester to one unit."""
        return 0x18DA00F1 | self._address(unit) << 8 if self.extended else 0x7E0 + unit

    def response(self, unit: int) -> int:
        """Return the identifier from one unit to the tester."""
        return 0x18DAF100 | self._address(unit) if self.extended else 0x7E8 + unit

    @staticmethod
    def _address(unit: int) -> int:
        return (0x10, 0x18, 0x28, 0x40, 0x60)[unit]


def dtc_bytes(code: str) -> bytes:
    """Return the bytes of a code: two bits of letter, two of the first digit, twelve of the rest (SAE J2012).

    A code with a failure type (`U0100-87`) has it as its third byte (ISO 14229-1, D.2; SAE J2012-DA).
    """
    base, _, failure_type = code.partition("-")
    head = bytes(["PCBU".index(base[0]) << 6 | int(base[1]) << 4 | int(base[2], 16), int(base[3:], 16)])
    return head + bytes.fromhex(failure_type)


def segments(at_s: float, sender: int, receiver: int, message: bytes) -> list[Row]:
    """Return a message as frames, with the receiver's flow control when it takes more than one (ISO 15765-2, 9.6)."""
    size = len(message)
    if size <= _SINGLE_BYTES:
        return [(at_s, sender, _padded(bytes([size]) + message))]
    rows = [
        (at_s, sender, bytes([0x10 | size >> 8, size & 0xFF]) + message[:_FIRST_BYTES]),
        (at_s + _FLOW_CONTROL_S, receiver, _padded(bytes([0x30, 0, int(_SEPARATION_S * 1000)]))),
    ]
    for number, start in enumerate(range(_FIRST_BYTES, size, _CONSECUTIVE_BYTES), 1):
        part = message[start : start + _CONSECUTIVE_BYTES]
        at = at_s + _FLOW_CONTROL_S + number * _SEPARATION_S
        rows.append((at, sender, _padded(bytes([0x20 | number & 0x0F]) + part)))
    return rows


def _padded(data: bytes) -> bytes:
    return data.ljust(8, bytes([FILLER]))


def ask_all(at_s: float, addresses: Addresses, request: bytes, answers: Sequence[tuple[int, bytes]]) -> list[Row]:
    """Return a request to all units, and their answers, one after another as arbitration lets them.

    Args:
        at_s: When it is sent.
        addresses: Identifiers.
        request: The message.
        answers: Unit and message of each answer.
    """
    rows = segments(at_s, addresses.functional, addresses.functional, request)
    for number, (unit, answer) in enumerate(answers, 1):
        rows += segments(
            at_s + number * _ANSWER_S + number * 1e-4, addresses.response(unit), addresses.request(unit), answer
        )
    return rows


def ask(at_s: float, addresses: Addresses, unit: int, request: bytes, *answers: bytes) -> list[Row]:
    """Return a request to one unit, and its answer; a "response pending" comes before the true answer."""
    there, back = addresses.request(unit), addresses.response(unit)
    rows = segments(at_s, there, back, request)
    for number, answer in enumerate(answers, 1):
        rows += segments(at_s + number * _ANSWER_S, back, there, answer)
    return rows


def negative(service: int, code: int) -> bytes:
    """Return a negative answer to a service."""
    return bytes([NEGATIVE, service, code])


def code_list(service: int, codes: Sequence[str]) -> bytes:
    """Return the answer to OBD service 03, 07 or 0A over CAN: the count, then two bytes a code."""
    return bytes([service + RESPONSE, len(codes)]) + b"".join(dtc_bytes(code) for code in codes)


def monitor_status(codes: int) -> bytes:
    """Return the answer to service 01 PID 01: lamp and count of confirmed codes; monitors of a spark engine, all complete."""
    return bytes([0x41, 0x01, (0x80 if codes else 0) | min(codes, 127), 0x07, 0x65, 0x00])


def pid_value(pid: int, value: float) -> bytes:
    """Return the data bytes of a PID of service 01 (SAE J1979-DA)."""
    size, factor, offset = PIDS[pid][1:]
    raw = max(0, min(256**size - 1, round((value - offset) / factor)))
    return raw.to_bytes(size, "big")


PIDS: Final = {
    0x05: ("coolant_c", 1, 1.0, -40.0),
    0x06: ("short_trim_pct", 1, 100 / 128, -100.0),
    0x0C: ("engine_rpm", 2, 0.25, 0.0),
    0x0D: ("speed_kmh", 1, 1.0, 0.0),
    0x10: ("air_g_per_s", 2, 0.01, 0.0),
    0x42: ("volts", 2, 0.001, 0.0),
}
"""PID → signal, bytes, value of one bit, offset."""


def uds_code_list(codes: Sequence[tuple[str, int]]) -> bytes:
    """Return the answer to ReadDTCInformation by status mask (0x19 0x02): code and status byte of each."""
    return bytes([0x59, 0x02, 0xFF]) + b"".join(dtc_bytes(code) + bytes([status]) for code, status in codes)


SNAPSHOT_IDS: Final = {0x0C01: ("speed_kmh", 2, 0.01), 0x0C02: ("volts", 2, 0.001)}
"""Data identifiers of a snapshot: signal, bytes, value of one bit."""


def uds_snapshot(code: str, status: int, values: dict[str, float]) -> bytes:
    """Return the answer to 0x19 0x04: record 1 with the signals of `SNAPSHOT_IDS` as they were when the code was set."""
    parts = [
        did.to_bytes(2, "big") + round(values[name] / factor).to_bytes(size, "big")
        for did, (name, size, factor) in SNAPSHOT_IDS.items()
    ]
    return bytes([0x59, 0x04]) + dtc_bytes(code) + bytes([status, 0x01, len(parts)]) + b"".join(parts)


def uds_extended_data(code: str, status: int, occurrences: int) -> bytes:
    """Return the answer to 0x19 0x06: record 1, one byte that counts occurrences."""
    return bytes([0x59, 0x06]) + dtc_bytes(code) + bytes([status, 0x01, min(occurrences, 255)])
