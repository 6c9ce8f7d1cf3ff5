"""The closed vocabularies of a diagnosis: what a cause may be about, and of what kind it may be."""

from enum import StrEnum
from typing import Final, Literal


class System(StrEnum):
    """What part of the vehicle a cause is about."""

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
    """What has gone wrong, whatever it has gone wrong with."""

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
"""What may be said of driving, the strictest first."""

UNEXPLAINED: Final = "unexplained_code:"
"""What the identifier of a cause starts with when no known cause explains a code; the code follows."""
