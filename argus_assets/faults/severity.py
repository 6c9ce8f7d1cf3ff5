"""How bad a fault is: one table of rules for all sources. The rule that decided goes with every event.

A report's own word (a lamp, a status bit, a level) decides. Where it says nothing of how bad the fault is, the
dictionary's default for the code decides, and where the dictionary does not list the code, the rule's severity stays.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from argus_assets.faults.dictionary.lookup import Dictionary
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
    "lamp: not available, SPN in doubt": Severity.WARNING,
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

SAYS_NOTHING: Final = frozenset(
    {"lamp: not available", "obd: confirmed code (mode 03)", "uds: test failed now and confirmed"}
)
"""Rules of reports that say that there is a fault, and nothing of how bad it is."""

_NOT_PRESENT: Final = ("pending", "previously_active")
"""Statuses of faults that are not confirmed yet, or over: the code's usual severity would say too much of them."""


def severity_of(rule: pl.Expr) -> pl.Expr:
    """The severity that a column of rule texts stands for, null for one that is not in `RULES`."""
    return rule.replace_strict({text: str(s) for text, s in RULES.items()}, default=None, return_dtype=SEVERITY)


def with_dictionary_severity(events: pl.DataFrame, dictionary: Dictionary) -> pl.DataFrame:
    """Let the dictionary decide the severity of events whose report says nothing of it.

    Args:
        events: `schema.ERROR_EVENTS`.
        dictionary: Its entries are asked once for each distinct code.

    Returns:
        The events, with `dictionary: P0217 Engine overheats` as the rule where the dictionary decided.
    """
    undecided = pl.col("severity_rule").is_in(sorted(SAYS_NOTHING)) & ~pl.col("status").is_in(_NOT_PRESENT)
    entries = [dictionary.describe(code) for code in events.filter(undecided)["code"].unique()]
    decided = pl.DataFrame(
        [(e.code, e.severity, f"dictionary: {e.code} {e.text}") for e in entries if e.severity is not None],
        schema={"code": pl.String, "by_dictionary": SEVERITY, "its_rule": pl.String},
        orient="row",
    )
    return (
        events.join(decided, on="code", how="left", maintain_order="left")
        .with_columns(
            severity=pl.when(undecided).then(pl.coalesce("by_dictionary", "severity")).otherwise("severity"),
            severity_rule=pl.when(undecided).then(pl.coalesce("its_rule", "severity_rule")).otherwise("severity_rule"),
        )
        .select(events.columns)
    )
