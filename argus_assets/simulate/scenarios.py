"""What is simulated, with its ground truth."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Platform = Literal["truck", "car", "av"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of drive.

    Attributes:
        name: Its name.
        platform: Which vehicle drives it.
        root_cause: The planted cause, `None` for a healthy drive.
        codes: Codes that have to be found.
        codes_absent: Codes that must not be found.
        description: What happens, in a sentence.
        shortest_s: In a drive this long all codes appear, whenever its fault begins; a shorter one is refused.
    """

    name: str
    platform: Platform
    root_cause: str | None
    codes: tuple[str, ...]
    codes_absent: tuple[str, ...]
    description: str
    shortest_s: float = 5.0


_ALL: Final = (
    Scenario("truck_healthy", "truck", None, (), ("SPN0/FMI0", "SPN100/FMI1"), "A truck without faults."),
    Scenario("car_healthy", "car", None, (), ("P0000", "P0301"), "A car without faults."),
    Scenario("av_healthy", "av", None, (), ("E101", "E201"), "An autonomous vehicle that only logs at INFO and WARN."),
    Scenario(
        "truck_oil_pressure",
        "truck",
        "engine_oil_pressure_low",
        ("SPN100/FMI1", "SPN1569/FMI31"),
        ("SPN100/FMI3",),
        "Oil pressure falls; the engine's protection comes and goes, louder than the cause.",
        shortest_s=10.0,
    ),
    Scenario(
        "truck_charging",
        "truck",
        "charging_system_failure",
        ("SPN167/FMI1", "SPN168/FMI18"),
        ("SPN639/FMI9",),
        "The alternator fails; one control unit after another reports a low battery.",
        shortest_s=15.0,
    ),
    Scenario(
        "car_misfire_coil",
        "car",
        "ignition_coil_cylinder_1",
        ("P0301", "P0351", "P0300"),
        ("P0302", "P0352"),
        "A coil fails; its cylinder misfires.",
        shortest_s=25.0,
    ),
    Scenario(
        "car_bus_loss",
        "car",
        "can_bus_communication_loss",
        ("U0100", "U0121", "U0140"),
        ("U0155",),
        "The bus breaks; the engine falls silent and two units miss their peers at once.",
        shortest_s=15.0,
    ),
    Scenario(
        "car_air_flow",
        "car",
        "mass_air_flow_sensor",
        ("P0101", "P0171"),
        ("P0102",),
        "The air flow sensor reads too little; the mixture becomes lean.",
        shortest_s=25.0,
    ),
    Scenario(
        "av_lidar_dropout",
        "av",
        "lidar_sensor_connection",
        ("E101", "E301"),
        ("E201",),
        "Lidar packets are lost; localisation complains much louder.",
    ),
    Scenario(
        "av_compute_overheat",
        "av",
        "compute_overheating",
        ("E201", "E302"),
        ("E101",),
        "The computer overheats and throttles; the planner misses its deadlines, louder.",
        shortest_s=10.0,
    ),
)

SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType({s.name: s for s in _ALL})
"""All scenarios by name."""
