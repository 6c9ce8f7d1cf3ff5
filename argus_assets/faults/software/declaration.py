"""Sources and severities of what software reports."""

from typing import Final

from argus_assets.faults.declaration import Declaration, Severity

SOFTWARE: Final = Declaration(
    name="software",
    module="argus_assets.faults.software.detector",
    sources=("ros_log", "ros_diagnostic"),
    severities={
        # rcl_interfaces/msg/Log.
        "log: FATAL": Severity.CRITICAL,
        "log: ERROR": Severity.ERROR,
        # diagnostic_msgs/msg/DiagnosticStatus. A component that went silent is as bad as one that reports an error.
        "diagnostic: ERROR": Severity.ERROR,
        "diagnostic: STALE": Severity.ERROR,
        "diagnostic: WARN": Severity.WARNING,
        "diagnostic: unknown level": Severity.WARNING,
    },
)
