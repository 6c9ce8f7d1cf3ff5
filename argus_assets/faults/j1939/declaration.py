"""Sources and severities of what ECUs report by SAE J1939-73."""

from typing import Final

from argus_assets.faults.declaration import Declaration, Severity

J1939: Final = Declaration(
    name="j1939",
    module="argus_assets.faults.j1939.detector",
    reads="J1939 diagnostics",
    sources=(
        "j1939_dm1",
        "j1939_dm2",
        "j1939_dm3",
        "j1939_dm6",
        "j1939_dm11",
        "j1939_dm12",
        "j1939_dm23",
        "j1939_dm27",
        "j1939_dm28",
    ),
    severities={
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
        # An ECU without lamps states no severity, which is not the same as "harmless".
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
    },
    left_to_dictionary=frozenset({"lamp: not available"}),
)
