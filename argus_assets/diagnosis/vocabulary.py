"""Define the closed vocabularies of a diagnosis: affected systems, kinds of failure, drivability."""

from enum import StrEnum
from typing import Final, Literal


class System(StrEnum):
    """Part of the vehicle that a cause affects."""

    AIR_INTAKE = "air intake"
    BODY = "body"
    BRAKES = "brakes"
    COMPUTER = "computer"
    CONTROL = "control"
    COOLING = "cooling"
    ELECTRICAL_SUPPLY = "electrical supply"
    ENGINE = "engine"
    EXHAUST = "exhaust"
    EXHAUST_AFTERTREATMENT = "exhaust aftertreatment"
    FUEL = "fuel"
    HIGH_VOLTAGE = "high voltage"
    IGNITION = "ignition"
    LOCALISATION = "localisation"
    LUBRICATION = "lubrication"
    NETWORK = "network"
    PERCEPTION = "perception"
    PLANNING = "planning"
    RESTRAINTS = "restraints"
    STEERING = "steering"
    TRANSMISSION = "transmission"
    UNKNOWN = "unknown"


class CauseKind(StrEnum):
    """Kind of failure, independent of the affected part."""

    SENSOR = "sensor"
    ACTUATOR = "actuator"
    WIRING = "wiring"
    SUPPLY = "supply"
    MECHANICAL = "mechanical"
    FLUID = "fluid"
    CONTROL_UNIT = "control unit"
    SOFTWARE = "software"
    CONFIGURATION = "configuration"
    OVERLOAD = "overload"
    ENVIRONMENT = "environment"
    UNKNOWN = "unknown"


Drivable = Literal["yes", "with_care", "no"]
"""Whether the vehicle may be driven."""

STRICTEST_DRIVABLE_FIRST: Final[tuple[Drivable, ...]] = ("no", "with_care", "yes")
"""Drivability from strict to lenient."""

UNEXPLAINED: Final = "unexplained_code:"
"""Prefix of the identifier of a cause for a code that no known cause explains; the code follows."""
