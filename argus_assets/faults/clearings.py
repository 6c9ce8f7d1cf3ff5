"""What the events of a clearing say in their details, for whoever follows a fault over drives."""

from typing import Final

CLEAR_CODES: Final = ("OBD_CLEAR", "UDS_CLEAR", "J1939_CLEAR")
"""Codes under which clearings are among the faults of a drive."""

SCOPE: Final = "scope"
"""Key of the codes that were to be cleared: `ALL_CODES`, the beginning of the codes, or for J1939 the DM that cleared them."""

ALL_CODES: Final = "all"

CLEARED_ECU: Final = "cleared_ecu"
"""Key of the ECUs that confirmed a clear of J1939. There are 254 addresses: all of them fit into one value."""

REFUSED_ECU: Final = "refused_ecu"
"""Key of the ECUs that said no, or that they were busy."""

ECU_SEPARATOR: Final = ", "
