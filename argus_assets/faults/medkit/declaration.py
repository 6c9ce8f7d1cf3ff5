"""Source and severities of what a fault manager publishes."""

from typing import Final

from argus_assets.faults.declaration import Declaration, Severity

MEDKIT: Final = Declaration(
    name="medkit",
    module="argus_assets.faults.medkit.detector",
    sources=("ros_fault",),
    severities={
        # SEVERITY_* of ros2_medkit_msgs/msg/Fault.
        "medkit: INFO": Severity.INFO,
        "medkit: WARN": Severity.WARNING,
        "medkit: ERROR": Severity.ERROR,
        "medkit: CRITICAL": Severity.CRITICAL,
        "medkit: unknown severity": Severity.WARNING,
        # It was before, and is not now.
        "medkit: healed": Severity.INFO,
        "medkit: cleared": Severity.INFO,
    },
)
