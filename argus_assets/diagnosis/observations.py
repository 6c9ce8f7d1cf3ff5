"""Judge live values: what a drive measured beside its fault codes, and whether it is plausible.

A value beyond its bounds supports causes that make it so, and one that stays within speaks against them. A single reading
may be a glitch: abnormal are the 5th and 95th percentile while the engine runs, plausible are all readings within. Between
the two nothing is said.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from argus_assets.diagnosis.model import Observation, ObservedState, ReadOut, UnitSeen
from argus_assets.stats.measurements import MESSAGES, READ_OUT

MAX_OBSERVATIONS: Final = 24
MAX_UNITS: Final = 32
MIN_READINGS: Final = 3
MIN_ERROR_SHARE: Final = 0.5
"""Share of readings by which a unit says that its sensor failed, from which it counts."""

TWENTY_FOUR_VOLTS: Final = 18.0
"""Above, the vehicle has 24 V: a 12 V system never reaches it, one of 24 V never falls so low while it runs."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of a quantity while the engine runs.

    Attributes:
        component: Component of the catalogue that it is about.
        low: A value below is too low; `None` if none is.
        high: A value above is too high.
        fine_low: From here a low fault is refuted; `low` by default.
        fine_high: Up to here a high fault is refuted; `high` by default.
        only_running: Whether it means nothing without a running engine.
    """

    component: str
    low: float | None = None
    high: float | None = None
    fine_low: float | None = None
    fine_high: float | None = None
    only_running: bool = True


_OIL: Final = Bounds("oil_pressure", low=70, fine_low=140)
"""Makers warn below 0.3 to 0.7 bar at idle, and expect 1.4 bar and more on the road."""

BOUNDS: Final[Mapping[str, Bounds]] = {
    "oil_pressure": _OIL,
    # Protection of common engines begins between 104 and 112 °C.
    "coolant_temperature": Bounds("coolant_temperature", high=110, fine_high=100),
    "oil_temperature": Bounds("oil_temperature", high=130, fine_high=120),
    "transmission_oil_temperature": Bounds("transmission_oil_temperature", high=125, fine_high=110),
    "charge_air_temperature": Bounds("charge_air_temperature", high=90, fine_high=75),
    # Low-pressure systems of common-rail engines work from 2 to 7 bar.
    "fuel_supply_pressure": Bounds("fuel_supply_pressure", low=120, fine_low=250),
    "coolant_level": Bounds("coolant_level", low=20, fine_low=60, only_running=False),
    "fuel_level": Bounds("fuel_level", low=4, fine_low=12, only_running=False),
    "exhaust_fluid_level": Bounds("exhaust_fluid_level", low=5, fine_low=15, only_running=False),
    "particulate_filter_soot": Bounds("particulate_filter_soot", high=100, fine_high=80, only_running=False),
    "particulate_filter_ash": Bounds("particulate_filter_ash", high=100, fine_high=80, only_running=False),
    # Warnings come at 4.1 to 5.2 bar (FMVSS 121: 60 psi).
    "air_supply_pressure": Bounds("air_supply_pressure", low=450, fine_low=600),
    "air_circuit_1_pressure": Bounds("air_supply_pressure", low=450, fine_low=600),
    "air_circuit_2_pressure": Bounds("air_supply_pressure", low=450, fine_low=600),
    "crankcase_pressure": Bounds("crankcase_pressure", high=8, fine_high=4),
    "air_filter_pressure_drop": Bounds("air_filter", high=6.2, fine_high=4),
}
"""Quantity → its bounds, in its unit. They are wide: makers differ, and a wrong alarm costs more than a missed hint."""

VOLTAGES: Final = ("battery_voltage", "supply_voltage", "charging_voltage")
RUNNING_LOW_V: Final = 12.2
"""A 12 V system that charges, also one that spares fuel, stays above while the engine runs."""
RUNNING_FINE_V: Final = 13.0
DIP_V: Final = 11.0
RUNNING_HIGH_V: Final = 15.5
FINE_HIGH_V: Final = 15.0
REST_LOW_V: Final = 11.8
"""A lead battery is empty below."""

TRIM_PCT: Final = 10.0
"""A fuel trim beyond is on its way to a code; makers set theirs from 15 to 25%."""
FINE_TRIM_PCT: Final = 6.0


def observations(measurements: pl.DataFrame) -> tuple[Observation, ...]:
    """Judge the live values of a drive, those first that are not plausible.

    Args:
        measurements: `stats.schema.MEASUREMENTS`.
    """
    found = [o for row in measurements.iter_rows(named=True) for o in _judged(row)]
    order: Mapping[ObservedState, int] = {"too_low": 0, "too_high": 0, "error": 1, "unknown": 3}
    found.sort(key=lambda o: (order.get(o.state, 2), o.quantity, o.ecu))
    return tuple(o.model_copy(update={"id": f"O{n}"}) for n, o in enumerate(found[:MAX_OBSERVATIONS], 1))


def units_seen(measurements: pl.DataFrame, starts_ns: int) -> tuple[UnitSeen, ...]:
    """Return which J1939 units sent anything, and from when until when.

    Args:
        measurements: `stats.schema.MEASUREMENTS`.
        starts_ns: Time of the drive's first frame, nanoseconds since 1970 UTC.
    """
    rows = (
        measurements.filter(quantity=MESSAGES)
        .group_by("ecu")
        .agg(
            pl.col("readings").sum(),
            pl.col("first_seen").min().dt.timestamp("ns"),
            pl.col("last_seen").max().dt.timestamp("ns"),
        )
        .sort("ecu")
        .head(MAX_UNITS)
    )
    return tuple(
        UnitSeen(
            ecu=ecu,
            messages=readings,
            first_s=round((first - starts_ns) / 1e9, 1),
            last_s=round((last - starts_ns) / 1e9, 1),
        )
        for ecu, readings, first, last in rows.iter_rows()
    )


def read_outs(measurements: pl.DataFrame) -> tuple[ReadOut, ...]:
    """Return which control units answered a request for codes, and how often; also those that had none.

    Args:
        measurements: `stats.schema.MEASUREMENTS`.
    """
    rows = measurements.filter(pl.col("quantity").str.starts_with(READ_OUT)).sort("ecu", "quantity").head(MAX_UNITS)
    return tuple(
        ReadOut(ecu=ecu, service=quantity.removeprefix(READ_OUT), answers=answers)
        for ecu, quantity, answers in rows.select("ecu", "quantity", "readings").iter_rows()
    )


def _judged(row: Mapping[str, Any]) -> Iterable[Observation]:
    quantity = row["quantity"]
    every = row["readings"] + row["errors"]
    if quantity == MESSAGES or quantity.startswith(READ_OUT) or every < MIN_READINGS:
        return
    component = BOUNDS[quantity].component if quantity in BOUNDS else quantity
    if row["errors"] >= MIN_ERROR_SHARE * every:
        yield _observation(row, component, "error", "its unit sends that the sensor failed")
    elif quantity in VOLTAGES:
        yield _voltage(row)
    elif quantity.startswith("long_fuel_trim"):
        yield from _trims(row)
    elif quantity in BOUNDS:
        yield _bounded(row, BOUNDS[quantity])
    else:
        yield _observation(row, component, "unknown", "")


def _bounded(row: Mapping[str, Any], bounds: Bounds) -> Observation:
    running = (row["running_readings"] or 0) >= MIN_READINGS
    if bounds.only_running and not running:
        return _observation(row, bounds.component, "unknown", "the engine did not run")
    kind = "running_" if running and bounds.only_running else ""
    low = row["running_low"] if kind else row["median"]
    high = row["running_high"] if kind else row["median"]
    least, most = (row[f"{kind}minimum"], row[f"{kind}maximum"])
    if bounds.low is not None and low < bounds.low:
        return _observation(row, bounds.component, "too_low", f"expected at least {bounds.low:g} {row['unit']}")
    if bounds.high is not None and high > bounds.high:
        return _observation(row, bounds.component, "too_high", f"expected at most {bounds.high:g} {row['unit']}")
    fine = (bounds.low is None or least >= (bounds.fine_low or bounds.low)) and (
        bounds.high is None or most <= (bounds.fine_high or bounds.high)
    )
    if not fine:
        return _observation(row, bounds.component, "unknown", "")
    sides: ObservedState = (
        "not_too_low" if bounds.high is None else "not_too_high" if bounds.low is None else "plausible"
    )
    return _observation(row, bounds.component, sides, "")


def _voltage(row: Mapping[str, Any]) -> Observation:
    scale = 2.0 if row["median"] > TWENTY_FOUR_VOLTS else 1.0
    if (row["running_readings"] or 0) < MIN_READINGS:
        low = row["median"] < REST_LOW_V * scale
        return _observation(
            row,
            "battery_voltage",
            "too_low" if low else "unknown",
            f"expected at least {REST_LOW_V * scale:g} V at rest" if low else "",
        )
    if row["running_median"] < RUNNING_LOW_V * scale or row["running_low"] < DIP_V * scale:
        expected = f"expected at least {RUNNING_LOW_V * scale:g} V with the engine running"
        return _observation(row, "battery_voltage", "too_low", expected)
    if row["running_high"] > RUNNING_HIGH_V * scale:
        expected = f"expected at most {RUNNING_HIGH_V * scale:g} V"
        return _observation(row, "battery_voltage", "too_high", expected)
    fine = row["running_minimum"] >= RUNNING_FINE_V * scale and row["running_maximum"] <= FINE_HIGH_V * scale
    return _observation(row, "battery_voltage", "plausible" if fine else "unknown", "")


def _trims(row: Mapping[str, Any]) -> Iterable[Observation]:
    for part, name in (("idle", "fuel_trim_idle"), ("load", "fuel_trim_load")):
        value = row[f"{part}_median"]
        if value is None:
            continue
        state: ObservedState = "unknown"
        if abs(value) >= TRIM_PCT:
            state = "too_high" if value > 0 else "too_low"
        elif abs(value) <= FINE_TRIM_PCT:
            state = "plausible"
        where = "at idle" if part == "idle" else "under load"
        made = _observation(row, name, state, f"{value:+.0f}% {where}")
        yield made.model_copy(update={"quantity": f"{row['quantity']}_{part}", "typical": round(value, 2)})


def _observation(row: Mapping[str, Any], component: str, state: ObservedState, why: str) -> Observation:
    running = (row["running_readings"] or 0) >= MIN_READINGS
    kind = "running_" if running else ""

    def number(name: str) -> float | None:
        value = row[name]
        return None if value is None else float(f"{value:.5g}")

    return Observation(
        id="O0",
        quantity=row["quantity"],
        component=component,
        unit=row["unit"],
        ecu=row["ecu"],
        source=row["source"],
        state=state,
        why=why,
        running=running,
        low=number(f"{kind}minimum"),
        typical=number(f"{kind}median"),
        high=number(f"{kind}maximum"),
        last=number("last"),
        readings=row["readings"],
    )
