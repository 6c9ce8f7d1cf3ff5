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
    "lamp: protect": Severity.WARNING,
    # An ECU without lamps says nothing of how bad it is, which is not the same as "harmless".
    "lamp: not available": Severity.WARNING,
    "lamp: none on": Severity.INFO,
    # SAE J1979: mode 03 lists codes that were confirmed, for most of them over two driving cycles.
    "obd: confirmed code (mode 03)": Severity.ERROR,
    # A pending code failed in this or the last driving cycle only. A permanent one waits for proof of its repair; while
    # its lamp is on, mode 03 lists it too.
    "obd: pending code (mode 07)": Severity.WARNING,
    "obd: permanent code (mode 0A)": Severity.WARNING,
    "obd: malfunction lamp on (mode 01)": Severity.ERROR,
    # ISO 14229-1, D.2: status bits of a DTC, worst first.
    "uds: warning indicator requested": Severity.ERROR,
    "uds: test failed now and confirmed": Severity.ERROR,
    "uds: test failed now, not confirmed": Severity.WARNING,
    "uds: confirmed, not failing now": Severity.WARNING,
    "uds: pending, not failing now": Severity.INFO,
    # Somebody worked on the vehicle: no fault, but what came before must be read with it.
    "clear: codes cleared": Severity.INFO,
    # ISO 14229-1, A.1, by kind. A tester that asks for what an ECU does not have says nothing of the vehicle.
    "negative response: not supported": Severity.INFO,
    "negative response: conditions not met": Severity.INFO,
    "negative response: access denied": Severity.WARNING,
    "negative response: not carried out": Severity.WARNING,
    "negative response: not in ISO 14229-1": Severity.INFO,
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
