"""Sources and severities of faults of the bus itself."""

from typing import Final

from argus_assets.faults.declaration import Declaration, Severity

BUS_ERROR: Final = "CAN: error frames"
MANY_BUS_ERRORS: Final = "CAN: 100 or more error frames a second"

CAN_ERRORS: Final = Declaration(
    name="can_errors",
    module="argus_assets.faults.can_bus.errors",
    reads="CAN errors",
    sources=("can_error",),
    severities={
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
        # Arbitration is how CAN works; whoever looks for delays records it.
        "CAN: arbitration lost": Severity.INFO,
        "CAN: restarted": Severity.INFO,
    },
)

BUS_HEALTH: Final = Declaration(
    name="bus_health",
    module="argus_assets.faults.can_bus.health",
    sources=("can_silence", "can_gap"),
    severities={
        "CAN: a cyclic message stopped and came back": Severity.WARNING,
        "CAN: a cyclic message stopped": Severity.ERROR,
        "CAN: a channel without frames": Severity.ERROR,
    },
)
