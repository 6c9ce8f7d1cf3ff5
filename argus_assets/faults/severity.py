"""How bad a fault is: one table of rules for all sources. The rule that decided goes with every event."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from argus_assets.faults.schema import SEVERITY, Severity

BUS_ERROR: Final = "CAN: error frames"
MANY_BUS_ERRORS: Final = "CAN: 100 or more error frames a second"

RULES: Final[Mapping[str, Severity]] = {
    # SAE J1939-73, 5.7.1: red stop asks the driver to stop.
    "lamp: red stop": Severity.CRITICAL,
    # Malfunction is the emission lamp that OBD mode 03 codes light, so it weighs what those weigh.
    "lamp: malfunction": Severity.ERROR,
    # Amber warns without asking to stop; protect is for what is mostly not electronic, such as a hot coolant.
    "lamp: amber warning": Severity.WARNING,
    "lamp: protect": Severity.WARNING,
    # An ECU without lamps says nothing of how bad it is, which is not the same as "harmless".
    "lamp: not available": Severity.WARNING,
    "lamp: none on": Severity.INFO,
    # SAE J1979: mode 03 lists codes that were confirmed, for most of them over two driving cycles.
    "obd: confirmed code (mode 03)": Severity.ERROR,
    # rcl_interfaces/msg/Log.
    "log: FATAL": Severity.CRITICAL,
    "log: ERROR": Severity.ERROR,
    # diagnostic_msgs/msg/DiagnosticStatus. A component that went silent is as bad as one that reports an error.
    "diagnostic: ERROR": Severity.ERROR,
    "diagnostic: STALE": Severity.ERROR,
    "diagnostic: WARN": Severity.WARNING,
    "diagnostic: unknown level": Severity.WARNING,
    # ISO 11898-1, 12.1.4: a controller that is off takes no part in the bus; one that is passive can no longer stop
    # others' bad frames and waits longer before it sends.
    "CAN: bus-off": Severity.CRITICAL,
    "CAN: error passive": Severity.ERROR,
    "CAN: error warning": Severity.WARNING,
    # Frames that are broken are sent again, so that single ones cost nothing but time.
    BUS_ERROR: Severity.WARNING,
    MANY_BUS_ERRORS: Severity.ERROR,
    "CAN: overload": Severity.WARNING,
    "CAN: frames lost by the recorder": Severity.WARNING,
    "CAN: transmit timeout": Severity.WARNING,
    # Wires that are cut or shorted.
    "CAN: transceiver": Severity.ERROR,
    # Arbitration is how CAN works; it is recorded by who looks for delays.
    "CAN: arbitration lost": Severity.INFO,
    "CAN: restarted": Severity.INFO,
    "CAN: a cyclic message stopped and came back": Severity.WARNING,
    "CAN: a cyclic message stopped": Severity.ERROR,
    "CAN: a channel without frames": Severity.ERROR,
}
"""Rule text → severity. Detectors name the rule; nothing else decides how bad a fault is."""


def severity_of(rule: pl.Expr) -> pl.Expr:
    """The severity that a column of rule texts stands for, null for one that is not in `RULES`."""
    return rule.replace_strict({text: str(s) for text, s in RULES.items()}, default=None, return_dtype=SEVERITY)
