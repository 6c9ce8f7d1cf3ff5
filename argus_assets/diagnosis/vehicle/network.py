"""Build the network of one drive: the candidate causes that touch its findings, with their links.

Candidates come from three places: causes of the catalogue, templates of the components that findings are about (and of the
units, references and supplies that these hang on), and what findings of one moment may share (a return, a feed, a
branch), which no catalogue can list for every vehicle.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from argus_assets.diagnosis.model import Observation, UnitSeen
from argus_assets.diagnosis.vehicle.catalogue import (
    PRIORS,
    STRENGTHS,
    Catalogue,
    Cause,
    Component,
    Delay,
    Effect,
    Template,
)
from argus_assets.diagnosis.vehicle.findings import LEAK, Sign
from argus_assets.diagnosis.vehicle.inference import Finding, Link, Mode
from argus_assets.diagnosis.vehicle.observed import factor_of
from argus_assets.diagnosis.vocabulary import CauseKind, Drivable, System

SAME_MOMENT_S: Final = 5.0
"""Two reports this close have no order: units report once a second, a lost message is missed after up to 5 s."""

STILL_HEARD_S: Final = 10.0
"""A unit that sent something so shortly before the end lives; control units that switch off do so seconds apart."""

NOT_SEEN_WEIGHT: Final = 0.25
"""Weight of an effect that a cause always has and that was not reported: most vehicles do not monitor it."""

SHARED_PRIOR: Final = 0.0015
"""Chance of a shared return, feed, reference or branch per drive with a complaint."""

ONLY_HISTORY: Final = 0.15
"""Factor on the prior of a cause whose own signs are all of the past."""

TOO_EARLY: Final = 0.1
"""Density of an effect that was seen before its cause, relative to any time."""

MIN_TIMING: Final = 0.4
MAX_TIMING: Final = 15.0
"""Bounds of the factor of time: a delay is known too roughly for more."""

_DELAYS: Final[Mapping[Delay, tuple[float, float]]] = {"s": (15.0, 1.2), "min": (120.0, 1.6), "h": (1800.0, 1.8)}
"""Median, seconds, and spread of a lognormal delay."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cause that may explain findings of the drive.

    Attributes:
        id: Identifier of the cause.
        variable: What it excludes: modes of one component exclude each other.
        component: Component that it is about; empty for causes of the catalogue.
        signs: Number of the finding → its effect that matches.
        expected: All of its effects, matched or not.
        missing: Effects that it always has and that no finding matches.
        checks: `<minutes> | <what to do>`.
    """

    id: str
    variable: str
    prior: float
    title: str
    explanation: str
    system: System
    kind: CauseKind
    drivable: Drivable
    signs: Mapping[int, Effect]
    component: str = ""
    missing: tuple[Effect, ...] = ()
    expected: tuple[Effect, ...] = ()
    safety: str = ""
    checks: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Network:
    """Candidates, and the network that they form with the findings."""

    candidates: tuple[Candidate, ...]
    modes: tuple[Mode, ...]
    findings: tuple[Finding, ...]


def build_network(
    signs: Sequence[Sign],
    catalogue: Catalogue,
    *,
    drive_s: float,
    boost: Callable[[str], float] = lambda _: 1.0,
    observations: Sequence[Observation] = (),
    units: Sequence[UnitSeen] = (),
) -> Network:
    """Build the network of a drive.

    Args:
        signs: Findings of the drive.
        catalogue: The catalogue.
        drive_s: Duration of the drive, seconds.
        boost: Factor on the prior odds of a cause, such as from confirmed cases.
        observations: Live values of the drive.
        units: J1939 units that sent anything.
    """
    living = frozenset(
        int(unit.ecu.removeprefix("SA 0x"), 16) for unit in units if unit.last_s >= drive_s - STILL_HEARD_S
    )
    candidates = {
        c.id: c for c in _candidates(signs, catalogue, living) if any(not signs[n].is_consequence for n in c.signs)
    }
    absent: dict[str, Finding] = {}
    modes: list[Mode] = []
    for candidate in candidates.values():
        starts = _start(candidate, signs)
        first = _first_of_component(candidate, signs)
        reference = _reference(candidate, signs, starts)
        links = {
            signs[n].item.id: Link(
                effect.chance,
                _timing(effect.delay, starts, signs[n].onset, drive_s) if n in first and n != reference else 1.0,
            )
            for n, effect in candidate.signs.items()
        }
        for effect in candidate.missing:
            name = f"{sorted(effect.selector.failures)} of {effect.selector.component}"
            absent[name] = Finding(name, 0.001, "not_seen", NOT_SEEN_WEIGHT)
            links[name] = Link(effect.chance)
        odds = boost(candidate.id) * factor_of(candidate, observations) * candidate.prior / (1 - candidate.prior)
        modes.append(Mode(candidate.id, candidate.variable, min(0.3, odds / (1 + odds)), links))
    named = {n for c in candidates.values() for n, effect in c.signs.items() if effect.selector.names_a_code}
    findings = [
        Finding(s.item.id, min(s.leak, LEAK) if n in named and not s.is_consequence else s.leak, "seen", s.weight)
        for n, s in enumerate(signs)
    ]
    return Network(tuple(candidates.values()), tuple(modes), (*findings, *absent.values()))


def _first_of_component(candidate: Candidate, signs: Sequence[Sign]) -> set[int]:
    """Return the earliest finding of each component: what several units say of one thing is one moment, not several."""
    first: dict[str, int] = {}
    for n in sorted(candidate.signs, key=lambda n: signs[n].item.seconds_into_drive):
        first.setdefault(signs[n].component.id, n)
    return set(first.values())


def _start(candidate: Candidate, signs: Sequence[Sign]) -> float | None:
    """Return when a cause began: with the first finding that it shows at once, seconds into the drive."""
    at_once = [signs[n].onset for n, effect in candidate.signs.items() if effect.delay == "now"]
    known = [onset for onset in at_once if onset is not None]
    if known:
        return min(known)
    # Something that it shows at once was there from the start, or was only read: its onset lies before the drive.
    return 0.0 if at_once and any(signs[n].onset is not None for n in candidate.signs) else None


def _reference(candidate: Candidate, signs: Sequence[Sign], starts: float | None) -> int | None:
    """Return the finding that says when a cause began: its own time tells nothing of the cause."""
    at = [n for n, effect in candidate.signs.items() if effect.delay == "now" and signs[n].onset == starts]
    return min(at, default=None) if starts is not None else None


def _timing(delay: Delay, starts: float | None, onset: float | None, drive_s: float) -> float:
    """Return the density of an onset given the cause's, relative to any time of the drive."""
    if delay == "any" or starts is None or onset is None:
        return 1.0
    after = onset - starts
    uniform = 1.0 / max(drive_s, 60.0)
    if after < -SAME_MOMENT_S:
        return TOO_EARLY
    if delay == "now":
        factor = 0.5 / SAME_MOMENT_S / uniform if abs(after) <= SAME_MOMENT_S else MIN_TIMING * 2
    else:
        median, spread = _DELAYS[delay]
        after = max(after, 0.5)
        density = math.exp(-(math.log(after / median) ** 2) / (2 * spread**2)) / (
            after * spread * math.sqrt(2 * math.pi)
        )
        factor = density / uniform
        # Within the reporting period no order can be told.
        factor = max(factor, 1.0) if abs(onset - starts) <= SAME_MOMENT_S and delay != "h" else factor
    return min(MAX_TIMING, max(MIN_TIMING, factor))


# -------------------------------------------------------------------------------------------------- candidates


def _candidates(signs: Sequence[Sign], catalogue: Catalogue, living: frozenset[int]) -> Iterable[Candidate]:
    for cause in catalogue.causes:
        made = _of_cause(cause, signs)
        if made is not None:
            yield made
    for component in _components(signs, catalogue):
        for template in catalogue.templates:
            if template.applies_to(component):
                made = _of_template(template, component, signs, catalogue, living)
                if made is not None:
                    yield made
    yield from _shared(signs)


def _of_cause(cause: Cause, signs: Sequence[Sign]) -> Candidate | None:
    effects = _parsed(cause.effects, "")
    matched = _matched(effects, signs)
    needed = _matched(_parsed(cause.needs, ""), signs) if cause.needs else matched
    # What was once counts for a cause, but does not make one.
    needed_now = {signs[n].component.id for n in needed if signs[n].is_now}
    if not matched or (cause.min_components > 1 and len(needed_now) < cause.min_components) or not needed:
        return None
    prior = PRIORS[cause.prior] * (1.0 if needed_now or not cause.needs else ONLY_HISTORY)
    return Candidate(
        cause.id, cause.id, prior, cause.title, cause.explanation, cause.system, cause.kind,
        cause.drivable, matched, "", _missing(effects, signs), effects, cause.safety, cause.checks, cause.repairs,
    )  # fmt: skip


def _of_template(
    template: Template, component: Component, signs: Sequence[Sign], catalogue: Catalogue, living: frozenset[int]
) -> Candidate | None:
    effects = list(_parsed(template.effects, component.id))
    if template.disturbs:
        effects += _parsed(component.disturbs, component.id)
    if template.suffix in ("lost", "fault"):
        effects += _of_dependants(component, catalogue)
    matched = _matched(effects, signs)
    if template.suffix == "lost":
        matched |= {
            n: _OF_SENDER
            for n, sign in enumerate(signs)
            if sign.component.sent_by == component.id and sign.failure in _NOT_HEARD
        }
    own = [n for n in matched if signs[n].component.id == component.id]
    if own and template.suffix in _OWN_FAULTS:
        matched |= {n: _ECHO for n in _echoes(own, signs) if n not in matched}
    if not matched or not (own or template.suffix in ("lost", "fault")):
        return None
    return Candidate(
        id=template.cause_of(component),
        variable=component.id,
        prior=PRIORS[component.prior]
        * template.factor
        * (ALIVE if _is_alive(template, component, signs, living) else 1.0),
        title=template.filled(template.title, component),
        explanation=template.filled(template.explanation, component),
        system=component.system,
        kind=template.kind,
        drivable=template.drivable,
        signs=matched,
        component=component.id,
        expected=tuple(effects),
        checks=tuple(template.filled(text, component) for text in template.checks),
        repairs=tuple(template.filled(text, component) for text in template.repairs),
    )


_OWN_FAULTS: Final = frozenset({"circuit", "signal", "stuck", "value", "internal", "fault"})
_ECHO: Final = Effect.parse("x:any M s")
_OF_SENDER: Final = Effect.parse("x:any A s")
_NOT_HEARD: Final = frozenset({"missing_message", "invalid_message"})

ALIVE: Final = 0.05
"""Factor on the prior of a lost unit that itself reports faults: a unit that speaks is not silent."""

_UNIT_OF_LETTER: Final[Mapping[str, re.Pattern[str]]] = {
    "C": re.compile("brak|abs|traction|stability|dynamics|steering|suspension|chassis"),
    "B": re.compile("body|restraint|airbag|climate|door|seat|instrument"),
    "P": re.compile("engine|powertrain|transmission|fuel|hybrid|battery|motor|inverter"),
}
"""Names of the units that report codes of a letter."""


def _echoes(own: Sequence[int], signs: Sequence[Sign]) -> list[int]:
    """Return the findings that only repeat a unit's own fault: peers that call its data invalid."""
    letters = {signs[n].item.code[0] for n in own if re.match(r"[PCB][0-3]", signs[n].item.code)}
    names = [_UNIT_OF_LETTER[letter] for letter in letters]
    return [
        n
        for n, sign in enumerate(signs)
        if sign.failure == "invalid_message" and any(name.search(sign.component.name.lower()) for name in names)
    ]


def _is_alive(template: Template, component: Component, signs: Sequence[Sign], living: frozenset[int]) -> bool:
    """Return whether a unit that would be lost is heard to the end, or reports faults itself."""
    if component.kind != "unit" or template.suffix != "lost":
        return False
    silent = any(sign.component.id == component.id and sign.failure == "no_signal" for sign in signs)
    if not silent and living & set(component.addresses):
        return True
    if any(sign.address is not None and sign.address in component.addresses for sign in signs if sign.is_now):
        return True
    return any(
        re.match(r"[CB][0-3]", sign.item.code) and _UNIT_OF_LETTER[sign.item.code[0]].search(component.name.lower())
        for sign in signs
        if sign.is_now
    )


def _of_dependants(component: Component, catalogue: Catalogue) -> list[Effect]:
    """Return the effects of a failed supply on what hangs on it."""
    effects: list[Effect] = []
    for other in catalogue.components.values():
        if component.kind == "supply" and other.reference == component.id:
            effects.append(Effect.parse(f"{other.id}:circuit,implausible,no_signal,frequency A"))
            effects.append(Effect.parse(f"{other.id}:high,low S"))
    return effects


def _parsed(texts: Sequence[str], own: str) -> tuple[Effect, ...]:
    return tuple(Effect.parse(text, own) for text in texts)


def _matched(effects: Sequence[Effect], signs: Sequence[Sign]) -> dict[int, Effect]:
    """Return the strongest effect that matches each finding."""
    found: dict[int, Effect] = {}
    for n, sign in enumerate(signs):
        for effect in effects:
            if effect.selector.matches(sign.component.id, sign.failure, sign.item.code) and (
                n not in found or effect.chance > found[n].chance
            ):
                found[n] = effect
    return found


def _missing(effects: Sequence[Effect], signs: Sequence[Sign]) -> tuple[Effect, ...]:
    """Return the defining sign of a cause, the first that it lists, if it always shows at once and was not reported."""
    first = effects[0]
    expected = first.chance >= STRENGTHS["A"] and first.delay == "now" and "*" not in first.selector.component
    if not expected or not first.selector.component:
        return ()
    if any(first.selector.matches(s.component.id, s.failure, s.item.code) for s in signs):
        return ()
    return (first,)


def _components(signs: Sequence[Sign], catalogue: Catalogue) -> list[Component]:
    """Return the components that findings are about, and the units and supplies that these hang on."""
    found: dict[str, Component] = {}
    for sign in signs:
        found[sign.component.id] = sign.component
        for other in (sign.component.sent_by, sign.component.reference):
            if other:
                found[other] = catalogue.components[other]
    return list(found.values())


# -------------------------------------------------------------------------------------------------- what findings share

_CIRCUIT: Final = frozenset({"circuit", "circuit_low", "circuit_high", "circuit_open", "intermittent", "no_signal"})
_LOST: Final = frozenset({"missing_message", "no_signal", "disconnected"})


def _together(signs: Sequence[Sign], numbers: Sequence[int]) -> list[tuple[int, ...]]:
    """Split findings into those whose onsets lie in one moment; those only read belong to all."""
    read = [n for n in numbers if signs[n].onset is None]
    timed = sorted((n for n in numbers if signs[n].onset is not None), key=lambda n: signs[n].onset or 0.0)
    groups: list[list[int]] = []
    for n in timed:
        if groups and (signs[n].onset or 0.0) - (signs[groups[-1][-1]].onset or 0.0) <= SAME_MOMENT_S:
            groups[-1].append(n)
        else:
            groups.append([n])
    made = [tuple(sorted([*group, *read])) for group in groups] or [tuple(read)]
    return [group for group in made if len({signs[n].component.id for n in group}) > 1]


def _shared(signs: Sequence[Sign]) -> Iterable[Candidate]:
    """Return the shared returns, references, feeds, connectors and branches that findings of one moment suggest."""
    yield from _unit_supply(signs)
    by_unit: dict[str, list[int]] = {}
    for n, sign in enumerate(signs):
        if sign.failure in _CIRCUIT and sign.component.kind in ("sensor", "encoder", "actuator") and sign.is_now:
            by_unit.setdefault(sign.item.ecu, []).append(n)
    for ecu, numbers in by_unit.items():
        sensors = [n for n in numbers if signs[n].component.kind in ("sensor", "encoder")]
        actuators = [n for n in numbers if signs[n].component.kind == "actuator"]
        high = [n for n in sensors if signs[n].failure in ("circuit_high", "circuit", "circuit_open")]
        low = [n for n in sensors if signs[n].failure in ("circuit_low", "circuit", "circuit_open", "no_signal")]
        for members in _together(signs, high):
            yield _shared_cause("shared_return", members, signs, ecu)
        for members in _together(signs, low):
            yield _shared_cause("shared_supply", members, signs, ecu)
        for members in _together(signs, actuators):
            yield _shared_cause("shared_feed", members, signs, ecu)
        for members in _together(signs, numbers):
            yield _shared_cause("shared_connector", members, signs, ecu)
    lost = [
        n for n, s in enumerate(signs)
        if s.failure in _LOST and s.is_now and s.component.kind in ("unit", "sensor", "encoder", "actuator", "device")
        and (s.failure == "no_signal" or not (s.component.id.endswith("_module") or s.component.sent_by))
    ]  # fmt: skip
    for members in _together(signs, lost):
        yield _shared_cause("shared_branch", members, signs, "")
    yield from _links(signs)


def _links(signs: Sequence[Sign]) -> Iterable[Candidate]:
    """Return the network links of units that alone miss what others hear: the senders live."""
    missed: dict[str, list[int]] = {}
    for n, sign in enumerate(signs):
        if sign.failure in _NOT_HEARD and sign.is_now and _sender(sign):
            missed.setdefault(sign.item.ecu, []).append(n)
    silent = {sign.component.id for sign in signs if sign.failure == "no_signal" and sign.component.kind == "unit"}
    for ecu, numbers in missed.items():
        by_others = {_sender(signs[n]) for other, theirs in missed.items() if other != ecu for n in theirs}
        alone = [n for n in numbers if _sender(signs[n]) not in by_others | silent]
        if len({signs[n].component.id for n in alone}) < _LINK_FINDINGS:
            continue
        for members in _together(signs, alone):
            made = _shared_cause("link", members, signs, ecu)
            effects = {n: Effect.parse("x:any A") for n in members}
            for n, sign in enumerate(signs):
                if (
                    n not in effects
                    and sign.item.ecu == ecu
                    and (sign.component.kind == "network" or sign.failure == "not_learned")
                ):
                    effects[n] = Effect.parse("x:any M s")
            yield replace(
                made, title=f"Network link of {_unit_name(ecu)}: wire, plug or gateway of its branch", signs=effects
            )


_LINK_FINDINGS: Final = 2
"""A link that fails loses more than one message."""


def _sender(sign: Sign) -> str:
    """Return the unit that a finding says is not heard."""
    return sign.component.sent_by or (sign.component.id if sign.component.kind == "unit" else "")


_SUPPLY_OF_UNIT: Final = frozenset({"battery_voltage", "ecu_power_relay"})
_ENGINES: Final = frozenset({"SA 0x00", "SA 0x01", "0x7E8"})
"""Engine control units: what they say of the voltage holds for the vehicle."""


def _unit_supply(signs: Sequence[Sign]) -> Iterable[Candidate]:
    """Return the supply of one unit, if only that unit finds its voltage wrong: the battery's would be missed by all."""
    own = [n for n, sign in enumerate(signs) if sign.component.id in _SUPPLY_OF_UNIT and sign.is_now]
    reporters = {signs[n].item.ecu for n in own}
    if len(reporters) != 1 or reporters & _ENGINES:
        return
    ecu = reporters.pop()
    mine = {n: Effect.parse("x:any A") for n in own}
    for n, sign in enumerate(signs):
        if n not in mine and sign.item.ecu == ecu and sign.failure in _CIRCUIT:
            mine[n] = Effect.parse("x:any S")
    made = _shared_cause("unit_supply", tuple(mine), signs, ecu)
    yield replace(made, title=f"Supply of {_unit_name(ecu)}: plug, fuse, wire or ground", signs=mine)


def _unit_name(ecu: str) -> str:
    return f"the control unit {ecu}" if ecu else "one control unit"


_SHARED: Final[Mapping[str, tuple[str, str, CauseKind, float, tuple[str, ...]]]] = {
    "shared_return": (
        "Shared sensor return (ground) wire of {parts}: open",
        ("Several sensor circuits of one control unit went to the same side in one moment, which one sensor cannot do: "
        "they share a return."),
        CauseKind.WIRING,
        1.0,
        (
            ("5 | Measure from the return pin at a sensor's plug to battery ground: no continuity means that the shared "
            "return is open, a good one leads to the single sensors."),
            "10 | Follow the return to its splice and to the control unit's pin; move the harness meanwhile.",
        ),
    ),
    "shared_supply": (
        "Shared 5 V sensor supply (reference) of {parts}: shorted or open",
        "Several sensor circuits of one control unit went low in one moment: they share a supply.",
        CauseKind.SUPPLY,
        1.0,
        (
            "5 | Measure the sensors' supply at one of the plugs: below 4.8 V the shared supply is at fault.",
            "10 | Unplug the sensors one by one: the voltage that returns names the one that pulls it down.",
        ),
    ),
    "unit_supply": (
        "Supply of one control unit: plug, fuse, wire or ground",
        "Only this control unit finds its voltage wrong; the battery's would be found wrong by the others too.",
        CauseKind.SUPPLY,
        10.0,
        (
            (
                "5 | Measure supply and ground at the plug of the unit under load and while cranking: a drop against the "
                "battery confirms it, none leads to the battery."
            ),
            "5 | Look at plug, fuse and ground point of the unit: corrosion or heat is the fault.",
        ),
    ),
    "link": (
        "Network link of one control unit: wire, plug or gateway of its branch",
        "Only this control unit misses what others hear, so the senders live: its own link or the gateway between is at fault.",
        CauseKind.WIRING,
        2.0,
        (
            "3 | Ask both sides with a tester: answers from both mean that they live and the link between is at fault.",
            "10 | Measure the wires of the link at the unit's plug, and at its partner's: an open or shorted one is the fault.",
        ),
    ),
    "shared_feed": (
        "Common power feed (fuse or relay) of {parts}",
        "Several outputs of one control unit failed in one moment: they share a feed.",
        CauseKind.SUPPLY,
        1.0,
        (
            "3 | Check the fuse and the relay that feed them: a blown fuse explains all of them.",
            "5 | Measure the feed at one of the plugs: missing at all of them means the feed.",
        ),
    ),
    "shared_connector": (
        "Connector or harness branch shared by {parts}",
        "Several circuits of one control unit failed in one moment: they share a plug, a splice or a piece of harness.",
        CauseKind.WIRING,
        0.4,
        (
            "5 | Open the connector that they share: water, green or pushed-back pins are the fault.",
            "10 | Follow the harness where they run together: look for chafing and heat.",
        ),
    ),
    "shared_branch": (
        "Common power feed (fuse) or network branch of {parts}",
        "Several devices fell silent in one moment, which single failures would not do.",
        CauseKind.SUPPLY,
        1.3,
        (
            "3 | Check the fuse that feeds them: a blown one explains all of them.",
            "5 | Measure supply and ground at one of them under load.",
            "10 | Follow their branch of the bus to the trunk: a loose plug there silences all of them.",
        ),
    ),
}  # fmt: skip


def shared_checks() -> tuple[str, ...]:
    """Return the checks of causes that findings of one moment share: `<minutes> | <what to do>`."""
    return tuple(check for _, _, _, _, checks in _SHARED.values() for check in checks)


def _shared_cause(kind: str, members: Sequence[int], signs: Sequence[Sign], ecu: str) -> Candidate:
    title, explanation, cause_kind, factor, checks = _SHARED[kind]
    names = list(dict.fromkeys(signs[n].component.name for n in members))
    parts = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    systems = {signs[n].component.system for n in members}
    at = f"{kind}.{(ecu or 'bus').lower().replace(' ', '_')}"
    onsets = [onset for n in members if (onset := signs[n].onset) is not None]
    first = min(onsets, default=None)
    if first is not None:
        at += f"_at_{first:.0f}_s"
    return Candidate(
        id=at,
        variable=at,
        prior=SHARED_PRIOR * factor,
        title=title.replace("{parts}", parts),
        explanation=explanation,
        system=System.ELECTRICAL_SUPPLY if len(systems) > 1 else next(iter(systems)),
        kind=cause_kind,
        drivable="with_care",
        signs={n: Effect.parse("x:any A") for n in members},
        checks=checks,
    )
