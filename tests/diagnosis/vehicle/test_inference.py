"""Inference against worked examples (computed by full enumeration elsewhere), and against brute force."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.vehicle.inference import Finding, Link, Mode, State, infer

SHARED_RETURN = [
    Mode("R", "R", 0.002, {"F1": Link(0.95), "F2": Link(0.95), "F3": Link(0.95)}),
    Mode("S1", "S1", 0.010, {"F1": Link(0.90), "F4": Link(0.05)}),
    Mode("S2", "S2", 0.010, {"F2": Link(0.90)}),
]
LEAKS = {"F1": 0.001, "F2": 0.001, "F3": 0.001, "F4": 0.002}


def _findings(states: str) -> list[Finding]:
    words: dict[str, State] = {"+": "seen", "-": "not_seen", "?": "not_tested"}
    return [Finding(name, LEAKS[name], words[state]) for name, state in zip(LEAKS, states, strict=True)]


@pytest.mark.parametrize(
    ("states", "evidence", "expected"),
    [
        ("+---", 0.00940316222, (0.000499, 0.895795, 0.001009)),
        ("+++-", 0.00171240913, (0.999945, 0.009999, 0.010518)),
        ("++--", 0.000184874715, (0.486962, 0.464649, 0.467299)),
        ("++?-", 0.00189728385, (0.949959, 0.054301, 0.055027)),
        ("+???", 0.0118720171, (0.160124, 0.758329, 0.010000)),
        ("+--+", 0.000463064254, (0.000026, 0.995759, 0.001009)),
        ("----", 0.975176108, (0.000000, 0.000959, 0.001009)),
    ],
)
def test_a_shared_return_and_two_sensors(states: str, evidence: float, expected: tuple[float, ...]) -> None:
    found = infer(SHARED_RETURN, _findings(states))
    assert found.evidence == pytest.approx(evidence, rel=1e-6)
    assert [found.modes[name] for name in ("R", "S1", "S2")] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (("ect_hi",), {"high": 0.718337, "erratic": 0.060773, "R": 0.033962}),
        (("ect_hi", "ect_lo"), {"erratic": 0.895140, "low": 0.049747, "high": 0.042153, "R": 0.010413}),
        (("ect_hi", "fuel_hi"), {"R": 0.996850, "high": 0.006766}),
    ],
)
def test_modes_of_a_component_exclude_each_other(seen: tuple[str, ...], expected: dict[str, float]) -> None:
    modes = [
        Mode("high", "sensor", 0.004, {"ect_hi": Link(0.95)}),
        Mode("low", "sensor", 0.004, {"ect_lo": Link(0.95)}),
        Mode("erratic", "sensor", 0.002, {"ect_hi": Link(0.2), "ect_lo": Link(0.2)}),
        Mode("R", "R", 0.002, {"ect_hi": Link(0.9), "fuel_hi": Link(0.9)}),
    ]
    names = ("ect_hi", "ect_lo", "fuel_hi")
    found = infer(modes, [Finding(n, 0.001, "seen" if n in seen else "not_seen") for n in names])
    for name, probability in expected.items():
        assert found.modes[name] == pytest.approx(probability, abs=1e-6)


@pytest.mark.parametrize(("ratio", "expected"), [(20, 0.512821), (5, 0.208333), (2, 0.095238), (1, 0.05)])
def test_a_finding_weighs_as_much_as_its_likelihood_ratio(ratio: float, expected: float) -> None:
    leak = 1 / 40
    chance = 1 - (1 - ratio * leak) / (1 - leak)
    found = infer([Mode("x", "x", 0.05, {"f": Link(chance)})], [Finding("f", leak)])
    assert found.modes["x"] == pytest.approx(expected, abs=1e-6)


def test_a_shared_intermediate_is_kept_as_a_mode() -> None:
    """A root that acts through an intermediate (on in 60%) and rivals, after exactly one of three findings."""
    links = {name: Link(0.95) for name in ("a", "b", "c")}
    split = [Mode("V on", "V", 0.006, links), Mode("V off", "V", 0.004, {})]
    flat = [Mode("V on", "V", 0.01, {name: Link(0.57) for name in links})]
    rivals = [Mode(f"rival {name}", f"rival {name}", 0.003, {name: Link(0.95)}) for name in links]
    findings = [Finding("a", 0.001), Finding("b", 0.001, "not_seen"), Finding("c", 0.001, "not_seen")]
    exact = infer([*split, *rivals], findings).modes
    assert exact["V on"] + exact["V off"] == pytest.approx(0.007723, abs=2e-6)
    assert infer([*flat, *rivals], findings).modes["V on"] == pytest.approx(0.217234, abs=2e-6)


@st.composite
def _networks(draw: st.DrawFn) -> tuple[list[Mode], list[Finding]]:
    names = ["f1", "f2", "f3", "f4"]
    findings = [
        Finding(n, draw(st.sampled_from([0.001, 0.01, 0.2])), draw(st.sampled_from(["seen", "not_seen", "not_tested"])))
        for n in names
    ]
    modes: list[Mode] = []
    for variable in range(draw(st.integers(1, 3))):
        for mode in range(draw(st.integers(1, 2))):
            links = draw(st.dictionaries(st.sampled_from(names), st.sampled_from([0.05, 0.5, 0.95]), max_size=4))
            prior = draw(st.sampled_from([0.001, 0.05, 0.3]))
            modes.append(Mode(f"{variable}.{mode}", str(variable), prior, {k: Link(v) for k, v in links.items()}))
    return modes, findings


@given(_networks())
def test_it_equals_full_enumeration(network: tuple[list[Mode], list[Finding]]) -> None:
    modes, findings = network
    variables = sorted({m.variable for m in modes})
    choices = [[None, *(m for m in modes if m.variable == v)] for v in variables]
    total, by_mode = 0.0, dict.fromkeys((m.name for m in modes), 0.0)
    for world in product(*choices):
        chance = 1.0
        for variable, chosen in zip(variables, world, strict=True):
            priors = sum(m.prior for m in modes if m.variable == variable)
            chance *= chosen.prior if chosen is not None else 1 - priors
        for finding in findings:
            unseen = 1 - finding.leak
            for chosen in world:
                if chosen is not None and finding.name in chosen.links:
                    unseen *= 1 - chosen.links[finding.name].chance
            chance *= {"seen": 1 - unseen, "not_seen": unseen, "not_tested": 1.0}[finding.state]
        total += chance
        for chosen in world:
            if chosen is not None:
                by_mode[chosen.name] += chance
    found = infer(modes, findings)
    assert found.evidence == pytest.approx(total, rel=1e-6)
    assert dict(found.modes) == pytest.approx({k: v / total for k, v in by_mode.items()}, rel=1e-6, abs=1e-12)
