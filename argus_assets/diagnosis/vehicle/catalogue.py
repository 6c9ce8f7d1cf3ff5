"""Load the catalogue: what vehicles are made of, what fails, and what follows from it.

The data files are in `diagnosis/catalogue/`; its README states their form. A selector names findings: `component:failures`
by component and failure mode, or a glob of codes. An effect is a selector with a strength and a delay, such as
`coolant_temperature:high M min`.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache, cached_property
from hashlib import sha256
from importlib.resources import files
from typing import Annotated, Any, Final, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from argus_assets.diagnosis.vocabulary import CauseKind, Drivable, System
from argus_assets.errors import BadSetting
from argus_assets.faults.dictionary.failure import Failure

ComponentKind = Literal[
    "sensor", "encoder", "actuator", "unit", "supply", "network", "fluid", "mechanical", "device", "process", "computer",
    "clock", "part", "symptom", "condition",
]  # fmt: skip
"""What a component is; templates generate its causes by kind. A `part` is what a maker's code names and nobody else knows. A
`symptom` has no causes of its own: those of the catalogue explain it. Nor has a `condition`, which only says that something
else is wrong, and needs no cause."""

MEASURED: Final[frozenset[ComponentKind]] = frozenset({"sensor", "encoder", "fluid"})
"""Components whose values a unit sends to others."""

Prior = Literal["common", "usual", "uncommon", "rare"]
PRIORS: Final[Mapping[Prior, float]] = {"common": 0.02, "usual": 0.008, "uncommon": 0.003, "rare": 0.0008}
"""Chance per drive with a complaint; no single repair exceeds 6% of them (CarMD 2016 to 2021)."""

Strength = Literal["A", "M", "S", "R"]
STRENGTHS: Final[Mapping[str, float]] = {"A": 0.95, "M": 0.75, "S": 0.35, "R": 0.1}
"""Always, mostly, sometimes, rarely."""

Delay = Literal["now", "s", "min", "h", "any"]
DELAYS: Final[Mapping[str, Delay]] = {delay: delay for delay in get_args(Delay)}
"""Typical time after the cause's onset: same reporting period, within a minute, minutes, hours; `any`: no order."""


class SoftwareFailure(StrEnum):
    """Failure modes of software, computers and their devices, beside those of `Failure`."""

    DEAD = "dead"
    """A process ended or restarts."""
    LATE = "late"
    """Deadlines or rates missed, data too old."""
    LOST_DATA = "lost_data"
    """Packets, frames or messages dropped."""
    DISCONNECTED = "disconnected"
    """Device or peer gone, link down, connection refused."""
    OVERLOAD = "overload"
    """Processor, graphics processor or queue at its limit."""
    OUT_OF_MEMORY = "out_of_memory"
    FULL = "full"
    """Disk, cache or buffer full."""
    SLOW_IO = "slow_io"
    THROTTLED = "throttled"
    """Clock reduced by heat or current."""
    TIME_OFFSET = "time_offset"
    """Clocks disagree, stamps off or jumping."""
    TRANSFORM = "transform"
    """Coordinate transforms missing, too old, or contradictory."""
    MISMATCH = "mismatch"
    """Settings of two sides do not fit: QoS, type, MTU, version, configuration."""
    DEGRADED = "degraded"
    """Quality low: score, covariance, fix type, number of points."""
    DENIED = "denied"
    """No permission, locked by another."""
    HARDWARE_ERROR = "hardware_error"
    """Device reports an internal fault: Xid, ECC, PCIe AER, self-test."""
    ABSENT = "absent"
    """A device gave no data from the start of the drive on: it may never have worked with these settings."""
    STARVED = "starved"
    """Waits for input that does not come: a consequence."""
    STARTING = "starting"
    """Start-up or initialisation that is not finished."""
    EMERGENCY = "emergency"
    """Safe stop, emergency hold, takeover: a consequence."""


FAILURES: Final = frozenset({*(f.value for f in Failure), *(f.value for f in SoftwareFailure)})
"""All failure modes that a finding may have."""

_SHORT: Final[Mapping[str, frozenset[str]]] = {
    "circuit": frozenset({"circuit", "circuit_low", "circuit_high", "circuit_open", "intermittent"}),
    "high": frozenset({"value_high", "overheated"}),
    "low": frozenset({"value_low", "level_low"}),
    "lost": frozenset({"missing_message", "no_signal", "disconnected", "absent"}),
    "supply": frozenset({"supply_low", "supply_high", "supply_open"}),
    "limit": frozenset({"limit", "condition", "request"}),
    "any": FAILURES,
}
"""Short forms of several failure modes in a selector."""


class Entry(BaseModel):
    """Base of the entries of the data files."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_E = TypeVar("_E", bound=Entry)


class Component(Entry):
    """What codes speak of.

    Attributes:
        id: Identifier, in snake case.
        name: Name as an engineer says it, in lower case: `coolant temperature sensor`.
        codes: Codes about it: `SPN110`, `SPN651-SPN656`, `P0115-P0119`, `C0035`, globs such as `U010*`.
        words: Regular expressions that name it in a text of software (node, status name, message).
        addresses: J1939 source addresses of a unit.
        sent_by: Unit whose messages carry its value; by default the one that `sends` the values of its system.
        sends: Systems of which a unit reads the sensors and sends the values.
        unit: Unit that reads or drives it.
        reference: Supply group that feeds it, a component of kind `supply`.
        prior: How often its own circuit fails.
        templates: Suffixes of the templates that apply; all of its kind by default. A cause of the catalogue that says more
            takes the place of the others.
        cause: Identifier of its circuit's cause, where it differs from `<id>.circuit`.
        disturbs: Effects of a wrong or missing signal, or of an actuator that does not act.
    """

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    name: str
    kind: ComponentKind
    system: System
    codes: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    addresses: tuple[int, ...] = ()
    sent_by: str = ""
    sends: tuple[System, ...] = ()
    unit: str = ""
    reference: str = ""
    prior: Prior = "usual"
    templates: tuple[str, ...] | None = None
    cause: str = ""
    disturbs: tuple[str, ...] = ()


class TextPattern(Entry):
    """A family of texts: what a log line or a diagnostic status says of which component.

    Attributes:
        match: Regular expression, any case, searched in `<node or status name> | <message>`.
        component: Component that it is about; empty for the one whose `words` the text names.
        failure: Failure mode that it states.
        warn: Whether it counts already at level WARN.
    """

    match: str
    component: str = ""
    failure: str
    warn: bool = True


class Check(Entry):
    """A check: minutes that it takes, what to do, and what each result means."""

    minutes: Annotated[float, Field(gt=0)]
    text: str


class Cause(Entry):
    """A root cause that is more than one component's own circuit or mechanism.

    Attributes:
        effects: Findings that it shows, each with strength and delay.
        safety: What must be done at once; comes before all checks.
        checks: `<minutes> | <what to do, and what each result means>`, in order.
        repairs: What is done once it is confirmed.
        needs: Selectors of which at least one must be seen for the cause to be considered.
        min_components: Number of components that the findings it needs must be about.
    """

    id: str
    title: str
    explanation: str
    system: System
    kind: CauseKind
    prior: Prior = "usual"
    drivable: Drivable = "with_care"
    effects: Annotated[tuple[str, ...], Field(min_length=1)]
    needs: tuple[str, ...] = ()
    min_components: int = 1
    safety: str = ""
    checks: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()
    range: tuple[int, int] | None = None


_FIRST_SUFFIX: Final = {
    "sensor": "circuit", "encoder": "circuit", "actuator": "circuit", "unit": "lost", "supply": "fault", "network": "fault", "fluid": "low",
    "mechanical": "failed", "device": "connection", "process": "died", "computer": "overload", "clock": "offset",
}  # fmt: skip
"""The template of a kind whose cause takes the identifier that the component names."""


class Template(Entry):
    """Causes of each component of some kinds.

    `{component}`, `{name}` and `{Name}` in its texts stand for the component; selectors without a component (`:circuit`)
    mean the component itself.

    Attributes:
        kinds: Kinds of component.
        suffix: Last part of the identifier: `<component>.<suffix>`.
        disturbs: Whether the component's `disturbs` follow.
    """

    kinds: tuple[ComponentKind, ...]
    suffix: str
    title: str
    explanation: str
    kind: CauseKind
    factor: float = 1.0
    drivable: Drivable = "with_care"
    effects: tuple[str, ...]
    disturbs: bool = False
    checks: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()

    def applies_to(self, component: Component) -> bool:
        """Return whether it generates a cause of a component."""
        return component.kind in self.kinds and (component.templates is None or self.suffix in component.templates)

    def cause_of(self, component: Component) -> str:
        """Return the identifier of its cause for a component."""
        if component.cause and self.suffix == _FIRST_SUFFIX.get(component.kind):
            return component.cause
        return f"{component.id}.{self.suffix}"

    def filled(self, text: str, component: Component) -> str:
        """Return a text with the component's names."""
        name = component.name
        words = {"{component}": component.id, "{name}": name, "{Name}": name[:1].upper() + name[1:]}
        for key, value in words.items():
            text = text.replace(key, value)
        return text


_WHOLE_CODE: Final = 4
"""Characters before the first wildcard that name a code: `P132*` is one, `P0*` none."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Findings by component and failure modes, or by a glob of codes."""

    component: str = ""
    failures: frozenset[str] = frozenset()
    code: str = ""

    @classmethod
    def parse(cls, text: str, own: str = "") -> Self:
        """Parse a selector; `own` is the component that an empty one means.

        Raises:
            ValueError: A failure mode is not in the vocabulary.
        """
        component, colon, modes = text.partition(":")
        if not colon:
            return cls(code=text)
        chosen: set[str] = set()
        for mode in modes.split(","):
            if mode not in _SHORT and mode not in FAILURES:
                raise ValueError(f"{text!r}: {mode!r} is no failure mode")
            chosen |= _SHORT.get(mode, {mode})
        return cls(component or own, frozenset(chosen))

    @property
    def names_a_code(self) -> bool:
        """Return whether it names single codes, and not a whole block of numbers."""
        return len(self.code.partition("*")[0].partition("[")[0]) >= _WHOLE_CODE

    def matches(self, component: str, failure: str, code: str) -> bool:
        """Return whether it names a finding."""
        if self.code:
            return fnmatchcase(code, self.code) or fnmatchcase(code.partition("-")[0], self.code)
        return failure in self.failures and fnmatchcase(component, self.component)


@dataclass(frozen=True, slots=True)
class Effect:
    """A selector with the strength and the delay of what follows."""

    selector: Selector
    chance: float
    delay: Delay

    @classmethod
    def parse(cls, text: str, own: str = "") -> Self:
        """Parse `selector [strength [delay]]`.

        Raises:
            ValueError: A word is not of its vocabulary.
        """
        words = text.split()
        strength = words[1] if len(words) > 1 else "M"
        delay = words[2] if len(words) > 2 else "now"
        if strength not in STRENGTHS or delay not in DELAYS or len(words) > 3:
            raise ValueError(f"{text!r}: expected `selector [{'|'.join(STRENGTHS)} [{'|'.join(DELAYS)}]]`")
        return cls(Selector.parse(words[0], own), STRENGTHS[strength], DELAYS[delay])


@dataclass(frozen=True)
class Catalogue:
    """All entries, with a version that changes with their text."""

    components: Mapping[str, Component]
    texts: tuple[TextPattern, ...]
    causes: tuple[Cause, ...]
    templates: tuple[Template, ...]
    version: str

    @cached_property
    def _codes(self) -> Mapping[str, str]:
        return {code: c.id for c in self.components.values() for text in c.codes for code in _expanded(text)}

    @cached_property
    def _globs(self) -> tuple[tuple[str, str], ...]:
        return tuple((text, c.id) for c in self.components.values() for text in c.codes if "*" in text)

    def component_of(self, code: str) -> str | None:
        """Return the component that a code is about, by the code alone, or `None`."""
        for key in (code, code.partition("/")[0], code.partition("-")[0]):
            if key in self._codes:
                return self._codes[key]
        return next((component for glob, component in self._globs if fnmatchcase(code, glob)), None)

    def titles(self) -> dict[str, str]:
        """Return the titles of all causes that the catalogue names, by identifier."""
        made = {cause.id: cause.title for cause in self.causes}
        for component in self.components.values():
            for template in self.templates:
                if template.applies_to(component):
                    made[template.cause_of(component)] = template.filled(template.title, component)
        return made

    @cached_property
    def sender_of(self) -> Mapping[System, str]:
        """Return the unit that sends the values of a system."""
        return {system: unit.id for unit in self.components.values() for system in unit.sends}

    @cached_property
    def unit_of_address(self) -> Mapping[int, str]:
        """Map a J1939 source address to the unit that usually has it."""
        return {address: c.id for c in self.components.values() for address in c.addresses}


def _expanded(text: str) -> Iterable[str]:
    """Return the codes of `P0115-P0119` (hexadecimal), `SPN651-SPN656`, or of a single code."""
    first, dash, last = text.partition("-")
    if "*" in text:
        return
    if not dash or len(last) == 2:
        yield text
    elif first.startswith("SPN"):
        for n in range(int(first[3:]), int(last.removeprefix("SPN")) + 1):
            yield f"SPN{n}"
    else:
        for n in range(int(first[1:], 16), int(last[1:], 16) + 1):
            yield f"{first[0]}{n:04X}"


@cache
def load_catalogue() -> Catalogue:
    """Load the catalogue that ships with Argus."""
    folder = files("argus_assets.diagnosis") / "catalogue"
    texts = {entry.name: entry.read_text("utf-8") for entry in folder.iterdir() if entry.name.endswith(".toml")}
    return parse_catalogue(texts)


def parse_catalogue(texts: Mapping[str, str]) -> Catalogue:
    """Parse data files by name.

    Raises:
        BadSetting: An entry is invalid, refers to nothing, or exists twice.
    """
    components: dict[str, Component] = {}
    patterns: list[TextPattern] = []
    causes: list[Cause] = []
    templates: list[Template] = []
    for name, text in sorted(texts.items()):
        data = tomllib.loads(text)
        for n, entry in enumerate(_entries(data, "component", Component, name)):
            if entry.id in components:
                raise BadSetting(f"{name}: component {entry.id!r} ({n + 1}) exists more than once.")
            components[entry.id] = entry
        patterns += _entries(data, "text", TextPattern, name)
        for entry in _entries(data, "cause", Cause, name):
            causes += _series(entry)
        templates += _entries(data, "template", Template, name)
    sender = {system: unit.id for unit in components.values() for system in unit.sends}
    components = {
        key: c.model_copy(update={"sent_by": sender.get(c.system, "")}) if c.kind in MEASURED and not c.sent_by else c
        for key, c in components.items()
    }
    made = Catalogue(
        components, tuple(patterns), tuple(causes), tuple(templates),
        sha256("".join(texts[n] for n in sorted(texts)).encode()).hexdigest()[:12],
    )  # fmt: skip
    problems = list(_problems(made))
    if problems:
        raise BadSetting(f"The catalogue is invalid: {'; '.join(problems[:5])}.")
    return made


def _entries(data: Mapping[str, Any], key: str, kind: type[_E], where: str) -> list[_E]:
    made: list[_E] = []
    for entry in data.get(key, ()):
        try:
            made.append(kind.model_validate(entry))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"]))
            named = entry.get("id") or entry.get("match") or "?"
            raise BadSetting(f"{where}: {key} {named!r}, {field}: {first['msg']}.") from error
    return made


def _series(cause: Cause) -> list[Cause]:
    """Return one cause for each number of its range: `{n}` in its texts is the number."""
    if cause.range is None:
        return [cause]
    first, last = cause.range
    return [Cause.model_validate({**_filled(cause.model_dump(), n), "range": None}) for n in range(first, last + 1)]


def _filled(value: Any, n: int) -> Any:  # noqa: ANN401 - TOML data
    if isinstance(value, str):
        return value.replace("{n:X}", f"{n:X}").replace("{n}", str(n))
    if isinstance(value, (list, tuple)):
        return [_filled(v, n) for v in value]
    if isinstance(value, dict):
        return {k: _filled(v, n) for k, v in value.items()}
    return value


def _problems(catalogue: Catalogue) -> Iterable[str]:
    known = set(catalogue.components)

    def unknown(effects: Sequence[str], where: str) -> Iterable[str]:
        for text in effects:
            try:
                selector = Effect.parse(text, "own").selector
            except ValueError as error:
                yield f"{where}: {error}"
                continue
            names = selector.component
            # Components that are made from codes have no entry: globs may name them.
            if names and names != "own" and "*" not in names and names not in known:
                yield f"{where}: {text!r}: there is no component {names!r}"

    ids: set[str] = set()
    for cause in catalogue.causes:
        if cause.id in ids:
            yield f"cause {cause.id!r} exists more than once"
        ids.add(cause.id)
        yield from unknown((*cause.effects, *cause.needs), f"cause {cause.id}")
        yield from (f"cause {cause.id}: {e}" for text in cause.checks if (e := _bad_check(text)))
    for component in catalogue.components.values():
        yield from unknown(component.disturbs, f"component {component.id}")
        for other in (component.sent_by, component.unit, component.reference):
            if other and other not in known:
                yield f"component {component.id}: there is no component {other!r}"
        yield from (f"component {component.id}: {e}" for text in component.words if (e := _bad_pattern(text)))
    for template in catalogue.templates:
        yield from unknown(template.effects, f"template {template.suffix}")
        yield from (f"template {template.suffix}: {e}" for text in template.checks if (e := _bad_check(text)))
    for pattern in catalogue.texts:
        if pattern.component and pattern.component not in known:
            yield f"text {pattern.match!r}: there is no component {pattern.component!r}"
        if pattern.failure not in FAILURES:
            yield f"text {pattern.match!r}: {pattern.failure!r} is no failure mode"
        if error := _bad_pattern(pattern.match):
            yield f"text {error}"


def _bad_pattern(text: str) -> str:
    try:
        re.compile(text, re.IGNORECASE)
    except re.error as error:
        return f"{text!r}: {error}"
    return ""


def _bad_check(text: str) -> str:
    try:
        parse_check(text)
    except ValueError:
        return f"{text!r}: expected `minutes | what to do`"
    return ""


def parse_check(text: str) -> Check:
    """Parse `<minutes> | <what to do>`.

    Raises:
        ValueError: It has another form.
    """
    minutes, bar, rest = text.partition("|")
    if not bar:
        raise ValueError(text)
    return Check(minutes=float(minutes), text=rest.strip())
