"""Codes of clearing events, and the keys of their details, which the lifecycle of faults reads."""

from typing import Final

CLEAR_CODES: Final = ("OBD_CLEAR", "UDS_CLEAR", "J1939_CLEAR")
"""Codes of the events of a clearing."""

PROGRAMMING: Final = "UDS_PROGRAMMING"
"""Code of the events of a programming session."""

SCOPE: Final = "scope"
"""Key of what was to be cleared: `ALL_CODES`, the letter of a system, a code, or for J1939 the DM (`DM3`, `DM11`)."""

ALL_CODES: Final = "all"

CLEARED_ECU: Final = "cleared_ecu"
"""Key of the ECUs that confirmed a clear of J1939. There are 254 addresses, and all fit into one value."""

REFUSED_ECU: Final = "refused_ecu"
"""Key of the ECUs that refused, or were busy."""

ECU_SEPARATOR: Final = ", "
