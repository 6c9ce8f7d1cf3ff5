"""Weigh causes by live values: what a cause would make of a quantity, against what was measured.

An abnormal value multiplies the odds of a cause by the chance that it shows this value, over the chance that anything does;
a plausible one by the chance that it does not. Both are bounded: values come from the same sensors that may be at fault.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from argus_assets.diagnosis.model import Observation, ObservedState
from argus_assets.diagnosis.vehicle.catalogue import Effect

LEAK: Final = 0.1
"""Chance that a value is abnormal for a reason that the model does not know."""

MAX_FACTOR: Final = 8.0
PLAUSIBLE_WEIGHT: Final = 0.7
"""Weight of a value that stays within its bounds: the fault may have come between two readings."""

SHOWN_BY: Final[Mapping[ObservedState, frozenset[str]]] = {
    "too_low": frozenset({"value_low", "level_low", "supply_low"}),
    "too_high": frozenset({"value_high", "overheated", "supply_high"}),
    "error": frozenset({"circuit", "circuit_low", "circuit_high", "circuit_open", "no_signal"}),
}
"""State of a value → failure modes that it shows."""

REFUTED_BY: Final[Mapping[ObservedState, frozenset[str]]] = {
    "not_too_low": SHOWN_BY["too_low"],
    "not_too_high": SHOWN_BY["too_high"],
    "plausible": SHOWN_BY["too_low"] | SHOWN_BY["too_high"],
}
"""State of a value → failure modes that speak against it."""


class Expecting(Protocol):
    """A cause with everything that it would show."""

    @property
    def expected(self) -> Sequence[Effect]:
        """Return its effects, seen or not."""
        ...


def factor_of(candidate: Expecting, observations: Iterable[Observation]) -> float:
    """Return the factor on the odds of a cause by the live values of the drive."""
    factor = 1.0
    for observed in strongest(observations):
        if observed.state in SHOWN_BY:
            chance = _chance(candidate, observed.component, SHOWN_BY[observed.state])
            factor *= max(1.0, chance / LEAK)
        elif observed.state in REFUTED_BY:
            factor *= (1.0 - _chance(candidate, observed.component, REFUTED_BY[observed.state])) ** PLAUSIBLE_WEIGHT
    return min(MAX_FACTOR, factor)


def strongest(observations: Iterable[Observation]) -> list[Observation]:
    """Return one observation for each component: an abnormal one, else one within its bounds."""
    kept: dict[str, Observation] = {}
    for observed in observations:
        if observed.state == "unknown":
            continue
        before = kept.get(observed.component)
        if before is None or (before.state in REFUTED_BY and observed.state in SHOWN_BY):
            kept[observed.component] = observed
    return list(kept.values())


def _chance(candidate: Expecting, component: str, failures: frozenset[str]) -> float:
    # An effect that takes hours says nothing of a drive in which it is not seen.
    return max(
        (
            effect.chance
            for effect in candidate.expected
            if effect.delay != "h"
            and effect.selector.failures & failures
            and len(effect.selector.failures) <= _MAX_MODES
            and any(effect.selector.matches(component, failure, "") for failure in failures)
        ),
        default=0.0,
    )


_MAX_MODES: Final = 12
"""An effect of any failure mode says nothing of a value."""
