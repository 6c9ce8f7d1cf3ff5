"""The SAE J1939-73 diagnostic messages (DM) that list trouble codes, and those that clear them."""

from collections.abc import Mapping
from typing import Final, NamedTuple

DM1_LONGEST_GAP_NS: Final = 10_000_000_000 - 1
"""Ten DM1 in a row that did not come mean that the ECU has stopped reporting its codes."""


class Clear(NamedTuple):
    """A message that is never sent itself: it is requested, and the ECU acknowledges that it has cleared its codes.

    Attributes:
        name: `DM11`.
        source: `schema.SOURCES`.
        what: The codes that it clears.
    """

    name: str
    source: str
    what: str


PGN_DM3: Final = 0xFECC
PGN_DM11: Final = 0xFED3

CLEARS: Final[Mapping[int, Clear]] = {
    # 5.7.3 and 5.7.11.
    PGN_DM3: Clear("DM3", "j1939_dm3", "previously active codes"),
    PGN_DM11: Clear("DM11", "j1939_dm11", "active codes"),
}
"""Clearing messages by PGN."""


class Dm(NamedTuple):
    """A message that lists trouble codes.

    Attributes:
        name: `DM1`.
        source: `schema.SOURCES`.
        status: `schema.STATUSES`: that of a code in this list.
        rule: The severity rule (`severity.RULES`), `None` where the lamps decide.
        longest_gap_ns: Longest time between two reports of one activation, nanoseconds; `None` for any time.
        cleared_by: PGNs of the messages that clear this list.
    """

    name: str
    source: str
    status: str
    rule: str | None
    longest_gap_ns: int | None
    cleared_by: tuple[int, ...]


LISTS: Final[Mapping[int, Dm]] = {
    # 5.7.1: each second while there are codes. Its lamps are those of the codes that it lists.
    0xFECA: Dm("DM1", "j1939_dm1", "active", None, DM1_LONGEST_GAP_NS, (PGN_DM11,)),
    # All others are sent when they are asked for, which may be once in a drive. What they list is stored in the ECU
    # and stays so until an answer leaves it out or somebody clears it: time alone ends nothing.
    # 5.7.2.
    0xFECB: Dm("DM2", "j1939_dm2", "previously_active", "j1939: previously active (DM2)", None, (PGN_DM3,)),
    # 5.7.6: found in this driving cycle or the last one, not confirmed yet.
    0xFECF: Dm("DM6", "j1939_dm6", "pending", "j1939: emission-related, pending (DM6)", None, (PGN_DM11,)),
    # 5.7.12: confirmed, and the reason that the malfunction lamp is on.
    0xFED4: Dm(
        "DM12",
        "j1939_dm12",
        "confirmed",
        "j1939: emission-related, malfunction lamp on (DM12)",
        None,
        (PGN_DM11,),
    ),
    # 5.7.23: once confirmed, not active any more. SAE J1939-84 expects that a DM11 empties it too.
    0xFDB5: Dm(
        "DM23",
        "j1939_dm23",
        "previously_active",
        "j1939: emission-related, previously active (DM23)",
        None,
        (PGN_DM3, PGN_DM11),
    ),
    # 5.7.27: as DM6, but of all codes.
    0xFD82: Dm("DM27", "j1939_dm27", "pending", "j1939: pending (DM27)", None, (PGN_DM11,)),
    # 5.7.28: no tool can clear these.
    0xFD80: Dm("DM28", "j1939_dm28", "permanent", "j1939: emission-related, permanent (DM28)", None, ()),
}
"""Listing messages by PGN."""
