"""Courses of a vehicle's quantities: those that the story states, healthy ones for all others."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from evals.drives.traffic import F64
from evals.story import Story

_HEALTHY: Final[dict[str, tuple[float, float, float]]] = {
    # Mean, swing and period of the swing in seconds; temperatures of a warm engine.
    "engine_speed": (1350, 180, 37),
    "vehicle_speed": (68, 9, 41),
    "pedal": (34, 14, 23),
    "load": (46, 18, 29),
    "coolant_temperature": (86, 1.5, 90),
    "oil_temperature": (96, 1.5, 110),
    "oil_pressure": (372, 24, 37),
    "coolant_level": (92, 0.5, 60),
    "battery_voltage": (28.1, 0.15, 19),
    "fuel_supply_pressure": (560, 12, 17),
    "fuel_rail_pressure": (98_000, 14_000, 29),
    "fuel_level": (64, 0.3, 70),
    "boost_pressure": (92, 34, 29),
    "intake_temperature": (41, 2, 80),
    "ambient_temperature": (18, 0.4, 200),
    "def_level": (71, 0.3, 90),
    "exhaust_temperature": (318, 24, 53),
    "soot_load": (38, 0.5, 200),
    "air_pressure": (856, 32, 47),
    "short_fuel_trim_1": (0.8, 2.3, 7),
    "long_fuel_trim_1": (1.6, 0.8, 60),
    "short_fuel_trim_2": (0.4, 2.1, 8),
    "long_fuel_trim_2": (1.2, 0.8, 60),
    "mass_air_flow": (17, 7, 29),
    "hv_battery_voltage": (362, 4, 31),
    "hv_battery_current": (24, 30, 27),
    "state_of_charge": (63, 0.3, 120),
}

_TWELVE_VOLT: Final = (
    "freightliner", "detroit", "kenworth", "peterbilt", "paccar", "international", "navistar", "maxxforce", "mack",
    "cummins", "western star", "blue bird", "thomas", "ford", "gm", "chevrolet", "gmc", "ram", "isuzu", "hino",
    "motorhome", "caterpillar", "school",
)  # fmt: skip
"""Words for heavy vehicles whose on-board supply has 12 V, as in North America."""


@dataclass(frozen=True, slots=True)
class Courses:
    """The courses of a drive.

    Attributes:
        stated: Points by quantity, as the story states them.
        healthy: Mean, swing and period of those that it does not state.
        phase: Shift of the swings, seconds.
    """

    stated: dict[str, tuple[F64, F64]]
    healthy: dict[str, tuple[float, float, float]]
    phase: float = field(default=0.0)

    @classmethod
    def of(cls, story: Story, rng: np.random.Generator) -> "Courses":
        """Return the courses of a story. A vehicle that is being programmed stands still with its engine off."""
        stated = {
            s.name: (np.array([p[0] for p in s.points], np.float64), np.array([p[1] for p in s.points], np.float64))
            for s in story.signal
        }
        healthy = dict(_HEALTHY)
        text = f"{story.vehicle} {story.source}".lower()
        if story.platform != "truck" or any(word in text for word in _TWELVE_VOLT):
            healthy["battery_voltage"] = (14.1, 0.08, 19)
        if story.platform == "car":
            healthy |= {
                "engine_speed": (1900, 420, 37),
                "coolant_temperature": (91, 1.5, 90),
                "boost_pressure": (-55, 12, 29),
                "fuel_rail_pressure": (5200, 700, 29),
                "exhaust_temperature": (480, 40, 53),
            }
        if story.programming:
            still = {"engine_speed": 0.0, "vehicle_speed": 0.0, "pedal": 0.0, "load": 0.0, "oil_pressure": 0.0}
            healthy |= {name: (value, 0, 60) for name, value in still.items()} | {"battery_voltage": (12.7, 0.05, 19)}
        return cls(stated, healthy, float(rng.uniform(0, 60)))

    def at(self, name: str, times: F64) -> F64:
        """Return a quantity at some times, in the units of `evals.story.SignalName`."""
        if name in self.stated:
            return np.interp(times, *self.stated[name])
        mean, swing, period = self.healthy[name]
        return mean + swing * np.sin(2 * np.pi * (times + self.phase) / period)
