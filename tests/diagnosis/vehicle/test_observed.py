"""Live values weigh causes: what a cause would show against what was measured, bounded on both sides."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.model import Observation
from argus_assets.diagnosis.vehicle.catalogue import Effect
from argus_assets.diagnosis.vehicle.observed import MAX_FACTOR, factor_of, strongest


@dataclass
class Cause:
    expected: tuple[Effect, ...]


def cause(*effects: str) -> Cause:
    return Cause(tuple(Effect.parse(text) for text in effects))


def seen(component: str, state: str) -> Observation:
    return Observation(
        id="O1",
        quantity=component,
        component=component,
        unit="",
        ecu="x",
        source="obd",
        state=state,
        readings=9,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("effect", "state", "factor"),
    [
        ("oil_pressure:value_low A", "too_low", 8.0),
        ("oil_pressure:value_low S", "too_low", 3.5),
        ("oil_pressure:value_low A", "too_high", 1.0),
        ("oil_pressure:value_low A", "not_too_low", 0.05**0.7),
        ("oil_pressure:value_low A", "not_too_high", 1.0),
        ("oil_pressure:value_low A", "plausible", 0.05**0.7),
        ("oil_pressure:value_low A h", "plausible", 1.0),
        ("oil_pressure:any A", "too_low", 1.0),
        ("oil_pressure:circuit A", "error", 8.0),
        ("coolant_temperature:value_low A", "too_low", 1.0),
    ],
)
def test_factors(effect: str, state: str, factor: float) -> None:
    assert factor_of(cause(effect), [seen("oil_pressure", state)]) == pytest.approx(factor)


states = st.sampled_from(["plausible", "not_too_low", "not_too_high", "too_low", "too_high", "error", "unknown"])


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), states), max_size=9), st.permutations(range(9)))
def test_no_value_decides_alone_and_order_does_not_matter(values, order) -> None:
    observed = [seen(component, state) for component, state in values]
    candidate = cause("a:value_low A", "b:value_high M", "c:circuit S")
    factor = factor_of(candidate, observed)
    assert 0 < factor <= MAX_FACTOR
    shuffled = [observed[n] for n in order if n < len(observed)]
    kinds = {(o.component, o.state in ("too_low", "too_high", "error")) for o in strongest(observed)}
    assert kinds == {(o.component, o.state in ("too_low", "too_high", "error")) for o in strongest(shuffled)}
