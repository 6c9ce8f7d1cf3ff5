"""The bytes of a SAE J1939-73 diagnostic message: two bytes of lamps, then four bytes for each trouble code.

DM1, DM2, DM6, DM12, DM23, DM27 and DM28 share this layout (5.7.1).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from argus_assets.faults.schema import Severity
from argus_assets.faults.severity import RULES

MIN_BYTES: Final = 6
"""Two bytes of lamps and one code."""

_MALFUNCTION: Final = "malfunction"
_LAMPS: Final = (("red stop", 4), (_MALFUNCTION, 6), ("amber warning", 2), ("protect", 0))
"""Lamps, worst first, with their place in byte 1 and that of their flashing in byte 2: two bits each."""

_OFF, _ON, _SHORT, _NOT_AVAILABLE = range(4)
"""States of a lamp. Short is the malfunction lamp's alone: a short signal at start-up (world-harmonised OBD)."""

_FLASHING: Final = {0: " (slow flash)", 1: " (fast flash)"}
"""1 Hz, and 2 Hz or more. 3 is steady."""
_CLASS_C: Final = 2
"""In place of the malfunction lamp's flashing: there are codes of class C only (world-harmonised OBD), lit or not."""

_NO_CODE: Final = ((0, 0), (0x7FFFF, 31))
"""SPN and FMI that stand for no code: all zeros (5.7.1.1), and the ones that fill unused bytes."""

_BADNESS: Final = tuple(Severity)


class Dtc(NamedTuple):
    """One trouble code (5.7.1, SPN conversion method version 4).

    Attributes:
        spn: Suspect parameter number, 19 bits.
        fmi: Failure mode identifier, 5 bits.
        occurrence_count: The ECU's counter: 126 is at least 126, 127 is not available.
        conversion_method: 0 for version 4. 1 stands for one of three older layouts of the SPN that cannot be
            distinguished, so the SPN may be wrong: see `older_spns`.
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
    def older_spns(self) -> tuple[int, int, int]:
        """The SPN if its bytes are in the layout of version 1, 2 or 3.

        Versions 1 and 2 put the lowest three bits of the SPN where version 4 has the highest, and the other sixteen
        before it: version 1 with the high byte first, version 2 with the low byte first. Version 3 is laid out as
        version 4.
        """
        first, second, three_bits = self.spn & 0xFF, self.spn >> 8 & 0xFF, self.spn >> 16
        return (first << 8 | second) << 3 | three_bits, (second << 8 | first) << 3 | three_bits, self.spn


class LampStatus(NamedTuple):
    """The lamps of a message. They belong to the ECU, not to one code.

    Attributes:
        on: Lamps that are on, worst first, with how they flash: `red stop (fast flash)`. `malfunction (class C)` and
            `malfunction (short)` may be dark at the moment.
        available: Whether the ECU knows the state of any lamp.
    """

    on: tuple[str, ...]
    available: bool

    @property
    def text(self) -> str:
        """`red stop (fast flash), malfunction`; `none on`; `not available`."""
        return ", ".join(self.on) or ("none on" if self.available else "not available")

    @property
    def rule(self) -> str:
        """The severity rule that applies (`severity.RULES`): that of the worst lamp that is on."""
        if not self.on:
            return f"lamp: {self.text}"
        return max(map(_rule, self.on), key=lambda rule: _BADNESS.index(RULES[rule]))


class DiagnosticMessage(NamedTuple):
    """Content of a diagnostic message."""

    lamps: LampStatus
    dtcs: tuple[Dtc, ...]


def parse(payload: bytes) -> DiagnosticMessage | None:
    """Decode a diagnostic message, `None` when it is too short to be one.

    A code that is listed twice counts once. Bytes behind the last whole code are filling.
    """
    if len(payload) < MIN_BYTES:
        return None
    states = [(name, payload[0] >> shift & 0b11, payload[1] >> shift & 0b11) for name, shift in _LAMPS]
    lamps = LampStatus(
        tuple(filter(None, (_shown(*lamp) for lamp in states))),
        available=any(state != _NOT_AVAILABLE for _, state, _ in states),
    )
    return DiagnosticMessage(lamps, tuple(_codes(payload)))


def _shown(name: str, state: int, flash: int) -> str | None:
    if name == _MALFUNCTION and state == _SHORT:
        return f"{name} (short)"
    if name == _MALFUNCTION and flash == _CLASS_C and state in (_OFF, _ON):
        return f"{name} (class C)"
    return name + _FLASHING.get(flash, "") if state == _ON else None


def _rule(lamp: str) -> str:
    """Return the rule of a lamp as it is shown. Without a rule for its flashing, that of the lamp applies."""
    rule = f"lamp: {lamp}"
    return rule if rule in RULES else rule.partition(" (")[0]


def _codes(payload: bytes) -> Iterator[Dtc]:
    seen = set(_NO_CODE)
    for at in range(2, len(payload) - 3, 4):
        low, middle, high_fmi, count = payload[at : at + 4]
        dtc = Dtc(low | middle << 8 | high_fmi >> 5 << 16, high_fmi & 0x1F, count & 0x7F, count >> 7)
        if dtc[:2] not in seen:
            seen.add(dtc[:2])
            yield dtc
