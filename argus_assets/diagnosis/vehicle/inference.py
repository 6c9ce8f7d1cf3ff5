"""Infer faults from findings: exact posterior over sets of up to three faults in a two-level noisy-OR network.

A variable is a component with exclusive failure modes (or none); a finding is something that was seen, that was tested and
not seen, or that was not tested. With leak λ_j of finding j and link p_kj of mode k to it:

    P(f_j seen | S)     = 1 - (1 - λ_j) · Π_{k∈S} (1 - p_kj)
    P(f_j not seen | S) =     (1 - λ_j) · Π_{k∈S} (1 - p_kj)

Variables without a link to a seen finding are independent of the rest given the evidence: they are summed in closed form.
The others are enumerated in sets of up to `MAX_FAULTS` (D'Ambrosio, "SPI in large BN2O networks"; de Kleer and Williams,
"Diagnosing multiple faults", 1987, argue for small sets). A finding may carry less weight than one that is present now: its
likelihood ratio against the leak is raised to that weight. A link may carry a factor for the time of the finding: the
density of its onset given the mode's, relative to any time of the drive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

MAX_FAULTS: Final = 3
MAX_CANDIDATES: Final = 44
"""Modes enumerated; 13,244 sets of three keep an answer within a few tens of milliseconds."""

MAX_LINK: Final = 1.0 - 1e-9

F64 = npt.NDArray[np.float64]
State = Literal["seen", "not_seen", "not_tested"]


@dataclass(frozen=True, slots=True)
class Link:
    """Chance that a mode shows a finding, and the factor for the time at which it appeared (1: time says nothing)."""

    chance: float
    timing: float = 1.0


@dataclass(frozen=True, slots=True)
class Mode:
    """A failure mode of a variable.

    Attributes:
        name: Unique name.
        variable: Variable that it belongs to; modes of one variable exclude each other.
        prior: Its probability.
        links: Findings that it shows.
    """

    name: str
    variable: str
    prior: float
    links: Mapping[str, Link]


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding.

    Attributes:
        name: Unique name.
        leak: Chance that it is seen without any of the modes.
        state: Whether it was seen, was tested and not seen, or was not tested.
        weight: Weight of its likelihood ratio, 0 to 1.
    """

    name: str
    leak: float
    state: State = "seen"
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Posterior:
    """What the evidence says.

    Attributes:
        evidence: Probability of the evidence.
        modes: Probability of each mode.
        sets: Sets of modes by probability, most likely first.
        unexplained: Probability, for each finding that was seen, that none of the modes shows it.
    """

    evidence: float
    modes: Mapping[str, float]
    sets: tuple[tuple[frozenset[str], float], ...]
    unexplained: Mapping[str, float] = field(default_factory=dict[str, float])


def infer(modes: Sequence[Mode], findings: Sequence[Finding], *, keep: int = 20) -> Posterior:
    """Return the posterior over sets of up to `MAX_FAULTS` modes.

    Args:
        modes: All modes; those of one variable have priors that sum to less than 1.
        findings: All findings.
        keep: Number of sets to return.
    """
    seen = [f for f in findings if f.state == "seen"]
    absent = [f for f in findings if f.state == "not_seen"]
    healthy = {m.variable: 1.0 for m in modes}
    for mode in modes:
        healthy[mode.variable] -= mode.prior
    missed = {m.name: _missed(m, absent) for m in modes}
    touching = {m.variable for m in modes if any(f.name in m.links for f in seen)}
    rest = [m for m in modes if m.variable not in touching]
    sums = {v: p for v, p in healthy.items() if v not in touching}
    for mode in rest:
        sums[mode.variable] += mode.prior * missed[mode.name]
    found = {m.name: m.prior * missed[m.name] / sums[m.variable] for m in rest}
    candidates = _narrowed([m for m in modes if m.variable in touching], seen, missed)

    index = {m.variable: n for n, m in enumerate(candidates)}
    variables = np.array([index[m.variable] for m in candidates], np.int64)
    sets = _sets(len(candidates))
    if candidates:
        sets = sets[_exclusive(sets, variables)]
    odds = np.array([m.prior / healthy[m.variable] * missed[m.name] for m in candidates] + [1.0])
    weight: F64 = odds[sets].prod(axis=1)
    leaked = np.ones((len(sets), len(seen)))
    for n, finding in enumerate(seen):
        chances = np.array([min(MAX_LINK, _link(m, finding).chance) for m in candidates] + [0.0])
        timings = np.array([_link(m, finding).timing for m in candidates] + [1.0])
        chance = chances[sets]
        none = (1.0 - finding.leak) * (1.0 - chance).prod(axis=1)
        shown = 1.0 - none
        parts = finding.leak + chance.sum(axis=1)
        timed = (finding.leak + (chance * timings[sets]).sum(axis=1)) / parts
        weight *= (shown * timed / finding.leak) ** finding.weight
        leaked[:, n] = finding.leak / np.maximum(parts * timed, 1e-300)
    total = float(weight.sum())
    share = weight / total
    for n, mode in enumerate(candidates):
        found[mode.name] = float(share[(sets == n).any(axis=1)].sum())
    for mode in modes:
        found.setdefault(mode.name, 0.0)
    order = np.argsort(-share, kind="stable")[:keep]
    best = tuple(
        (frozenset(candidates[k].name for k in sets[i] if k < len(candidates)), float(share[i])) for i in order
    )
    base = float(np.prod([healthy[v] for v in touching] or [1.0])) * float(np.prod(list(sums.values()) or [1.0]))
    base *= float(np.prod([f.leak**f.weight for f in seen] or [1.0]))
    base *= float(np.prod([1.0 - f.leak for f in absent] or [1.0]))
    unexplained = {f.name: float((share * np.minimum(1.0, leaked[:, n])).sum()) for n, f in enumerate(seen)}
    return Posterior(total * base, found, best, unexplained)


def _link(mode: Mode, finding: Finding) -> Link:
    return mode.links.get(finding.name, _NO_LINK)


_NO_LINK: Final = Link(0.0)


def _missed(mode: Mode, absent: Sequence[Finding]) -> float:
    """Return the factor of the findings that the mode would have shown but that were tested and not seen."""
    factor = 1.0
    for finding in absent:
        if finding.name in mode.links:
            factor *= (1.0 - min(MAX_LINK, mode.links[finding.name].chance)) ** finding.weight
    return factor


def _narrowed(modes: Sequence[Mode], seen: Sequence[Finding], missed: Mapping[str, float]) -> list[Mode]:
    """Return the modes to enumerate: the best explanations of each finding, and the best of all together."""
    if len(modes) <= MAX_CANDIDATES:
        return list(modes)

    def gain(mode: Mode, findings: Sequence[Finding]) -> float:
        score = np.log(max(mode.prior, 1e-12) * max(missed[mode.name], 1e-12))
        for finding in findings:
            link = mode.links.get(finding.name)
            if link is not None:
                ratio = (finding.leak + link.chance * link.timing) / finding.leak
                score += finding.weight * np.log(ratio)
        return float(score)

    chosen: dict[str, Mode] = {}
    each = max(2, MAX_CANDIDATES // (2 * max(1, len(seen))))
    for finding in seen:
        linked = sorted((m for m in modes if finding.name in m.links), key=lambda m: (-gain(m, [finding]), m.name))
        chosen |= {m.name: m for m in linked[:each]}
    for mode in sorted(modes, key=lambda m: (-gain(m, seen), m.name)):
        if len(chosen) >= MAX_CANDIDATES:
            break
        chosen[mode.name] = mode
    return [m for m in modes if m.name in chosen][:MAX_CANDIDATES]


@cache
def _sets(count: int) -> npt.NDArray[np.int64]:
    """Return all sets of up to `MAX_FAULTS` of `count` modes, one per row, padded with `count`."""
    rows: list[tuple[int, ...]] = []
    for size in range(min(MAX_FAULTS, count) + 1):
        padding = (count,) * (MAX_FAULTS - size)
        rows += [(*chosen, *padding) for chosen in combinations(range(count), size)]
    return np.array(rows, np.int64).reshape(-1, MAX_FAULTS)


def _exclusive(sets: npt.NDArray[np.int64], variables: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return which sets hold at most one mode of each variable."""
    count = len(variables)
    of = np.append(variables, -1)[sets]
    fine = np.ones(len(sets), bool)
    for a, b in combinations(range(MAX_FAULTS), 2):
        fine &= (of[:, a] != of[:, b]) | (sets[:, b] == count)
    return fine
