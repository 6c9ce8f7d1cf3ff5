"""How bad a fault is: one table of rules for each source, worst first. The rule that decided goes with the event."""

from typing import Final

from argus_assets.faults.schema import Severity

LAMP_RULES: Final = (
    ("red stop", Severity.CRITICAL),
    ("malfunction", Severity.ERROR),
    ("amber warning", Severity.WARNING),
    ("protect", Severity.WARNING),
)
"""SAE J1939-73 5.7.1: red stop asks to stop the vehicle; malfunction is emission-related; amber and protect warn."""

LOG_RULES: Final = ((50, "FATAL", Severity.CRITICAL), (40, "ERROR", Severity.ERROR))
"""Levels of rcl_interfaces/msg/Log."""

DIAGNOSTIC_RULES: Final = {1: ("WARN", Severity.WARNING), 2: ("ERROR", Severity.ERROR), 3: ("STALE", Severity.ERROR)}
"""Levels of diagnostic_msgs/msg/DiagnosticStatus. STALE: the component has gone silent, as bad as an error."""

OBD_CONFIRMED: Final = (Severity.ERROR, "OBD: confirmed code (mode 03)")
"""Mode 03 lists codes that were confirmed over several driving cycles and light the malfunction lamp."""


def by_lamps(lamps: tuple[str, ...]) -> tuple[Severity, str]:
    """Severity of a J1939 code by the lamps that were on with it."""
    for lamp, severity in LAMP_RULES:
        if lamp in lamps:
            return severity, f"lamp: {lamp}"
    return Severity.INFO, "lamp: none"


def by_log_level(level: int) -> tuple[Severity, str]:
    """Severity of a log entry at ERROR or above."""
    for least, name, severity in LOG_RULES:
        if level >= least:
            return severity, f"log: {name}"
    return Severity.INFO, f"log: level {level}"


def by_diagnostic_level(level: int) -> tuple[Severity, str]:
    """Severity of a diagnostic status above OK."""
    name, severity = DIAGNOSTIC_RULES.get(level, (f"level {level}", Severity.WARNING))
    return severity, f"diagnostic: {name}"
