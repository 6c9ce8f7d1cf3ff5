"""How bad a fault is: one table of rules for all sources. The rule that decided goes with every event."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from argus_assets.faults.schema import SEVERITY, Severity

RULES: Final[Mapping[str, Severity]] = {
    # SAE J1939-73, 5.7.1: red stop asks the driver to stop.
    "lamp: red stop": Severity.CRITICAL,
    # Malfunction is the emission lamp that OBD mode 03 codes light, so it weighs what those weigh.
    "lamp: malfunction": Severity.ERROR,
    # Amber warns without asking to stop; protect is for what is mostly not electronic, such as a hot coolant.
    "lamp: amber warning": Severity.WARNING,
    # A lamp that an ECU lets flash fast asks for more than a steady one: damage goes on, or a derate is near. Slow
    # flashing decides nothing: it is the value 0, which ECUs that do not know of flashing send too.
    "lamp: malfunction (fast flash)": Severity.CRITICAL,
    "lamp: amber warning (fast flash)": Severity.ERROR,
    # World-harmonised OBD (UN GTR 5): codes of the milder classes light the lamp briefly, or on demand.
    "lamp: malfunction (short)": Severity.WARNING,
    "lamp: malfunction (class C)": Severity.WARNING,
    "lamp: protect": Severity.WARNING,
    # An ECU without lamps says nothing of how bad it is, which is not the same as "harmless".
    "lamp: not available": Severity.WARNING,
    "lamp: none on": Severity.INFO,
    # SAE J1939-73: what the list stands for decides. Its lamps are those of the ECU's active codes.
    "j1939: emission-related, malfunction lamp on (DM12)": Severity.ERROR,
    # An ECU drops a permanent code only after it has seen for itself that the fault is gone.
    "j1939: emission-related, permanent (DM28)": Severity.ERROR,
    "j1939: emission-related, pending (DM6)": Severity.WARNING,
    "j1939: pending (DM27)": Severity.WARNING,
    "j1939: emission-related, previously active (DM23)": Severity.WARNING,
    "j1939: previously active (DM2)": Severity.INFO,
    # A clear is what somebody did, not a fault.
    "j1939: clear of trouble codes": Severity.INFO,
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
}
"""Rule text → severity. Detectors name the rule; nothing else decides how bad a fault is."""


def severity_of(rule: pl.Expr) -> pl.Expr:
    """The severity that a column of rule texts stands for, null for one that is not in `RULES`."""
    return rule.replace_strict({text: str(s) for text, s in RULES.items()}, default=None, return_dtype=SEVERITY)
