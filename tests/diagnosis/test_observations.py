"""Live values are judged by wide bounds: abnormal, within them all the time, or neither."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.observations import BOUNDS, MAX_OBSERVATIONS, observations, read_outs, units_seen
from argus_assets.stats.schema import MEASUREMENTS


def measured(quantity: str, *, running: tuple[float, float, float] | None = None, rest: float = 0.0, **more) -> dict:
    low, middle, high = running or (None, None, None)
    values = {"minimum": rest, "median": rest, "maximum": rest, "first": rest, "last": rest} if running is None else {
        "minimum": low, "median": middle, "maximum": high, "first": middle, "last": middle,
    }  # fmt: skip
    return {
        "quantity": quantity, "unit": "x", "source": "j1939", "ecu": "SA 0x00", "channel": "c", "readings": 100, "errors": 0,
        "not_available": 0, "first_seen": 0, "last_seen": 1, **values, "running_readings": 0 if running is None else 100,
        "running_minimum": low, "running_low": low, "running_median": middle, "running_high": high, "running_maximum": high,
        "idle_median": None, "load_median": None, **more,
    }  # fmt: skip


def table(*rows: dict) -> pl.DataFrame:
    return MEASUREMENTS.cast(pl.DataFrame(list(rows), infer_schema_length=None))


def state(*rows: dict) -> list[str]:
    return [o.state for o in observations(table(*rows))]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (measured("battery_voltage", running=(11.2, 11.6, 11.8)), "too_low"),
        (measured("battery_voltage", running=(13.4, 14.1, 14.3)), "plausible"),
        (measured("battery_voltage", running=(12.3, 12.8, 14.3)), "unknown"),
        (measured("battery_voltage", running=(15.0, 15.9, 16.4)), "too_high"),
        (measured("battery_voltage", running=(23.0, 24.0, 24.2)), "too_low"),
        (measured("battery_voltage", running=(27.5, 28.1, 28.4)), "plausible"),
        (measured("battery_voltage", rest=11.2), "too_low"),
        (measured("oil_pressure", running=(40, 60, 90)), "too_low"),
        (measured("oil_pressure", running=(180, 300, 400)), "not_too_low"),
        (measured("oil_pressure", rest=0.0), "unknown"),
        (measured("oil_pressure", running=(180, 300, 400), readings=5, errors=20), "error"),
        (measured("coolant_temperature", running=(80, 90, 116)), "too_high"),
        (measured("coolant_temperature", running=(20, 60, 66)), "not_too_high"),
        (measured("exhaust_fluid_level", rest=2.0), "too_low"),
    ],
)
def test_states(row: dict, expected: str) -> None:
    assert state(row) == [expected]


def test_trims_are_told_apart_at_idle_and_under_load() -> None:
    row = measured("long_fuel_trim_1", running=(0, 5, 20), idle_median=1.5, load_median=18.0)
    assert [(o.component, o.state) for o in observations(table(row))] == [
        ("fuel_trim_load", "too_high"),
        ("fuel_trim_idle", "plausible"),
    ]


numbers = st.floats(-1e6, 1e6)


@given(
    st.lists(st.tuples(st.sampled_from([*BOUNDS, "battery_voltage", "x"]), st.lists(numbers, min_size=3, max_size=3)))
)
def test_whatever_was_measured_is_judged_bounded_and_in_order(rows) -> None:
    made = [measured(q, running=tuple(sorted(v)), ecu=f"SA 0x{n % 256:02X}") for n, (q, v) in enumerate(rows)]  # type: ignore[arg-type]
    found = observations(table(*made)) if made else ()
    assert len(found) <= MAX_OBSERVATIONS
    assert [o.id for o in found] == [f"O{n}" for n in range(1, len(found) + 1)]
    abnormal = [o.state in ("too_low", "too_high") for o in found]
    assert abnormal == sorted(abnormal, reverse=True), "those that are not plausible come first"
    for observed in found:
        bounds = BOUNDS.get(observed.quantity)
        if bounds is not None and observed.state == "too_low":
            assert bounds.low is not None
            assert observed.low is not None
            assert observed.low < bounds.low


def test_units_and_read_outs() -> None:
    rows = table(
        measured("messages", readings=7, first_seen=2_000_000_000, last_seen=9_000_000_000),
        measured("read_out_03", ecu="0x7E8", source="obd", readings=2),
    )
    (unit,) = units_seen(rows, 1_000_000_000)
    assert (unit.ecu, unit.messages, unit.first_s, unit.last_s) == ("SA 0x00", 7, 1.0, 8.0)
    (read,) = read_outs(rows)
    assert (read.ecu, read.service, read.answers) == ("0x7E8", "03", 2)
    assert observations(rows) == ()
