"""All scenarios, with their ground truth. They are declared in a module for each vehicle platform."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from argus_assets.simulate.av_scenarios import AV_SCENARIOS
from argus_assets.simulate.car_scenarios import CAR_SCENARIOS
from argus_assets.simulate.scenario import Scenario
from argus_assets.simulate.truck_scenarios import TRUCK_SCENARIOS

SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType(
    {s.name: s for s in (*TRUCK_SCENARIOS, *CAR_SCENARIOS, *AV_SCENARIOS)}
)
"""All scenarios by name."""

DEMO: Final = (
    "truck_healthy",
    "car_healthy",
    "av_healthy",
    "truck_oil_pressure",
    "truck_charging",
    "car_misfire_coil",
    "car_bus_loss",
    "car_air_flow",
    "av_lidar_dropout",
    "av_compute_overheat",
)
"""A few that show every vehicle platform, healthy and not: cascades, and causes quieter than their consequences."""
