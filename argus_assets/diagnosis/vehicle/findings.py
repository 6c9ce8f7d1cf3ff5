"""Turn evidence into findings: which component each fault is about, and how it fails."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from argus_assets.diagnosis.model import Evidence, EvidenceItem, Remark, TopicSeen
from argus_assets.diagnosis.remarks import stopped_at
from argus_assets.diagnosis.states import NOW, WEIGHTS
from argus_assets.diagnosis.vehicle.catalogue import Catalogue, Component, ComponentKind, TextPattern
from argus_assets.diagnosis.vocabulary import System
from argus_assets.faults.dictionary.failure import Failure
from argus_assets.faults.dictionary.lookup import Entry
from argus_assets.faults.schema import Severity

LEAK: Final = 0.002
"""Chance that a code of a known component is there for a reason that the model does not know."""

LEAKS: Final = {
    "limit": 0.5,
    "request": 0.7,
    "condition": 0.4,
    "unknown": 0.05,
    "emergency": 0.5,
    "starting": 0.5,
    "starved": 0.3,
}
"""The same for consequences, states and codes of unknown meaning: they need no cause of their own."""

TEXT_LEAK: Final = 0.02
"""The same for a text of software: many are written without a fault."""

HEARSAY_LEAK: Final = 0.1
"""The same for what a process says of its input."""

REMARK_LEAK: Final = 0.25
"""The same for a warning of the log: stacks warn all the time."""

START_LEAK: Final = 0.5
"""The same for one of the start-up, when much is not there yet."""

START_UP_S: Final = 15.0
"""Nodes of a stack find each other within this time."""

CONSEQUENCES: Final = frozenset({"limit", "request", "condition", "emergency", "starting", "starved"})

_ADDRESS: Final = re.compile(r"^SA 0x([0-9A-F]{2})$")
_SOURCE_ADDRESS_SPN: Final = re.compile(r"^SPN(2[01]\d\d|22[0-4]\d|225[0-5])/")
_SPN: Final = re.compile(r"^SPN(\d+)/FMI(\d+)$")
_NOT_WORD: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Sign:
    """A finding of the drive.

    Attributes:
        item: The evidence that it is made from.
        component: Component that it is about; made from the code where the catalogue has none.
        failure: Failure mode.
        address: J1939 source address of the reporter, if it is one.
        onset: Seconds into the drive at which it began, or `None` if only its reading was seen.
        leak: Chance that it is seen without any cause of the model.
        weight: Weight of its likelihood ratio.
        remark: The remark of the log that it is; then it supports a cause, but needs none, and cannot be cited.
    """

    item: EvidenceItem
    component: Component
    failure: str
    address: int | None
    onset: float | None
    leak: float
    weight: float
    remark: Remark | None = None

    @property
    def is_now(self) -> bool:
        """Return whether it belongs to this drive."""
        return self.item.state in NOW

    @property
    def is_consequence(self) -> bool:
        """Return whether it only says that something else is wrong, or may say nothing."""
        if self.remark is not None:
            return True
        if self.failure == "condition":
            return self.component.kind == "condition"
        return self.failure in CONSEQUENCES or self.component.kind == "condition"


def signs(evidence: Evidence, catalogue: Catalogue, describe: Callable[[str], Entry]) -> list[Sign]:
    """Return the findings of the drive; remarks of severity info are none.

    Args:
        evidence: Evidence of the drive.
        catalogue: The catalogue.
        describe: Look up the meaning of a code.
    """
    found = [_sign(item, catalogue, describe) for item in evidence.items if item.severity is not Severity.INFO]
    return [*found, *_remarked(evidence, catalogue), *_stopped_topics(evidence, catalogue)]


def _remarked(evidence: Evidence, catalogue: Catalogue) -> list[Sign]:
    """Return what the remarks of the log say of known components, one finding for each component and failure mode."""
    stopped = stopped_at(evidence.remarks)
    found: dict[tuple[str, str], Sign] = {}
    for remark in evidence.remarks:
        if stopped is not None and remark.first_s >= stopped:
            continue
        item = EvidenceItem(
            id=remark.id, code=REMARK, source="ros_log", ecu=remark.node, status="occurred", severity=Severity.INFO,
            state="moment", occurrences=1, frame_count=1, active_s=0.0, active_share_pct=0.0,
            seconds_into_drive=remark.first_s, message=remark.message, recording="", frame=0,
        )  # fmt: skip
        component, failure, leak = _of_text(item, catalogue)
        if component.id not in catalogue.components or component.kind == "condition" or failure in _SAYS_NOTHING:
            continue
        if failure in _DATA_GONE and _flows(component.id, remark.first_s, evidence, catalogue):
            continue
        least = START_LEAK if remark.last_s < START_UP_S else REMARK_LEAK
        sign = Sign(item, component, failure, None, remark.first_s, max(leak, least), 1.0, remark)
        found.setdefault((component.id, failure), sign)
    return list(found.values())


def _stopped_topics(evidence: Evidence, catalogue: Catalogue) -> list[Sign]:
    """Return the topics of known components that ended long before the drive did."""
    ends = max((topic.last_s for topic in evidence.topics), default=0.0)
    stopped = stopped_at(evidence.remarks)
    ends = ends if stopped is None else min(ends, stopped)
    found: dict[str, Sign] = {}
    for n, topic in enumerate(evidence.topics, 1):
        period = topic.period_s
        if period is None or topic.messages < MIN_MESSAGES or period > MAX_PERIOD_S:
            continue
        if ends - topic.last_s < max(SILENT_S, SILENT_PERIODS * period):
            continue
        known = _named((topic.topic.lower(),), catalogue)
        if known is None or catalogue.components[known].kind == "condition":
            continue
        said = Remark(
            id=f"T{n}", level="warning", node=topic.topic, entries=1, first_s=topic.last_s, last_s=topic.last_s,
            message=f"last message; one every {period:.3g} s before, and none in the {ends - topic.last_s:.0f} s that follow",
        )  # fmt: skip
        item = EvidenceItem(
            id=said.id, code=REMARK, source="ros_log", ecu=topic.topic, status="occurred", severity=Severity.INFO,
            state="moment", occurrences=1, frame_count=1, active_s=0.0, active_share_pct=0.0,
            seconds_into_drive=topic.last_s, message=said.message, recording="", frame=0,
        )  # fmt: skip
        found.setdefault(
            known,
            Sign(item, catalogue.components[known], "no_signal", None, topic.last_s, TOPIC_LEAK, 1.0, said),
        )
    return list(found.values())


TOPIC_LEAK: Final = 0.1
"""Chance that a regular topic ends before the drive for another reason: it was switched off, or recorded no longer."""

MIN_MESSAGES: Final = 20
MAX_PERIOD_S: Final = 2.0
"""A topic is regular if it had so many messages at such a period."""

SILENT_S: Final = 5.0
SILENT_PERIODS: Final = 20.0
"""It has ended if nothing came for so long, and for so many of its periods."""


REMARK: Final = "REMARK"
"""Stands for the code of a remark, which has none."""

_SAYS_NOTHING: Final = frozenset({"condition", "unknown", "starting", "starved", "request"})


def _sign(item: EvidenceItem, catalogue: Catalogue, describe: Callable[[str], Entry]) -> Sign:
    match = _ADDRESS.match(item.ecu)
    address = int(match[1], 16) if match else None
    component, failure, leak = _meaning(item, address, catalogue, describe)
    if component.kind == "condition" and failure not in CONSEQUENCES:
        leak = max(leak, LEAKS["condition"])
    return Sign(
        item, component, failure, address, item.seconds_into_drive if item.onset_seen else None, leak,
        WEIGHTS[item.state],
    )  # fmt: skip


def _meaning(
    item: EvidenceItem, address: int | None, catalogue: Catalogue, describe: Callable[[str], Entry]
) -> tuple[Component, str, float]:
    code = item.code
    entry = describe(code)
    failure = str(entry.failure)
    if spn := _SOURCE_ADDRESS_SPN.match(code):
        unit = _unit(int(spn[1]) - 2000, catalogue)
        return unit, "missing_message", LEAK
    if item.source in ("can_silence", "can_gap") and address is not None:
        return _unit(address, catalogue), "no_signal", LEAK
    known = catalogue.component_of(code)
    if known is not None:
        component = catalogue.components[known]
        if failure == Failure.UNKNOWN and item.source.startswith("ros_") and (text := _pattern(item, catalogue)):
            return component, text.failure, LEAK
        if failure == Failure.UNKNOWN:
            failure = _FAILURE_OF_KIND.get(component.kind, failure)
        follows = failure in CONSEQUENCES and not (failure == "condition" and component.kind != "condition")
        return component, failure, _LEAKS_OF.get(known) or (LEAKS[failure] if follows else LEAK)
    if item.source.startswith("ros_") or item.source in ("rule", "plug_in"):
        return _of_text(item, catalogue)
    if failure in ("missing_message", "invalid_message") and _SPN.match(code):
        # A parameter that does not arrive is no unit: what sends it, or the bus, is at fault.
        system = _system(entry.system)
        return _made(entry.part or code, "symptom", system, catalogue.sender_of.get(system, "")), failure, LEAK
    if not entry.part and failure in _SETUP:
        return _made(f"part that {code} names", "part", _system(entry.system)), failure, LEAK
    if not entry.part:
        return _made(code, "symptom", _system(entry.system)), failure, LEAKS["unknown"]
    return _made(entry.part, _kind(entry.part, failure), _system(entry.system)), failure, LEAKS.get(failure, LEAK)


_SETUP: Final = frozenset({Failure.NOT_LEARNED, Failure.NOT_PROGRAMMED, Failure.INCOMPATIBLE})
"""Failure modes that say what to do whatever the part is."""

_STARVED: Final = frozenset({"no_signal"})

_OF_DEVICES: Final = frozenset({"disconnected", "hardware_error", "circuit", "supply_low", "internal"})
"""Failure modes that only a device has; a node of an unknown name then drives one."""


def _of_text(item: EvidenceItem, catalogue: Catalogue) -> tuple[Component, str, float]:
    """Return what a text of software is about.

    A process that itself logs that data is missing is alive: the data's source is suspect, or nobody named.
    """
    name, _, message = _text(item).partition(" | ")
    text = _pattern(item, catalogue)
    reporter = _named((name,), catalogue)
    known = text.component if text and text.component else reporter or _named((message,), catalogue)
    kind: ComponentKind = "device" if text is not None and text.failure in _OF_DEVICES else "process"
    component = catalogue.components[known] if known else _made(name or item.code, kind, System.UNKNOWN)
    if text is None:
        return component, "unknown", LEAKS["unknown"]
    if item.source == "ros_log" and component.kind == "process" and text.failure in _STARVED:
        source = _named((message,), catalogue)
        if source is None or catalogue.components[source].kind == "process":
            return component, "starved", LEAKS["starved"]
        component, leak = catalogue.components[source], HEARSAY_LEAK
    else:
        leak = LEAKS.get(text.failure, TEXT_LEAK)
    if text.failure in _STARVED and component.kind == "device" and item.seconds_into_drive < START_UP_S:
        return component, "absent", leak
    if text.failure == "transform" and (clock := _clock_of(message)):
        return catalogue.components[clock], "time_offset", leak
    return component, text.failure, leak


_EXTRAPOLATED: Final = re.compile(r"requested time (\d+\.\d+) but the (?:latest|earliest) data is at time (\d+\.\d+)")

OTHER_CLOCK_S: Final = 86_400.0
"""Stamps a day apart are of two kinds of clock, such as simulated and wall time."""

OFFSET_S: Final = 1.0
"""Nodes that are only late miss by tens or hundreds of milliseconds; buffers of transforms hold ten seconds."""


def _clock_of(message: str) -> str | None:
    """Return the clock that is wrong, if a transform was asked for a time far from those that there are."""
    found = _EXTRAPOLATED.search(message)
    if found is None:
        return None
    apart = abs(float(found[1]) - float(found[2]))
    return "clock" if apart > OTHER_CLOCK_S else "clock_sync" if apart > OFFSET_S else None


_FAILURE_OF_KIND: Final = {
    "sensor": "implausible", "encoder": "no_signal", "actuator": "stuck", "unit": "internal", "device": "hardware_error", "process": "late",
    "computer": "overload", "clock": "time_offset", "network": "bus_off", "supply": "supply_low", "fluid": "quality",
    "mechanical": "stuck", "symptom": "unknown", "condition": "condition",
}  # fmt: skip
"""Failure mode of a code of a catalogued component that says no more."""


_LEAKS_OF: Final = {"cyclic_message": 0.1}
"""Leak of single components: a cyclic message also stops because nobody needs it any more."""


def with_recoveries(evidence: Evidence, catalogue: Catalogue, describe: Callable[[str], Entry]) -> Evidence:
    """Return the evidence in which a loss of data is over where a topic of the same component shows its data again.

    A complaint is over if it lies in the longest pause of such a topic, or before its first message, and the topic then goes
    on to the end.
    """
    if not evidence.topics:
        return evidence
    ends = max(topic.last_s for topic in evidence.topics)
    topics = [
        (known, topic)
        for topic in evidence.topics
        if topic.messages >= MIN_MESSAGES
        and ends - topic.last_s < max(SILENT_S, SILENT_PERIODS * (topic.period_s or 0.0))
        and (known := _named((topic.topic.lower(),), catalogue)) is not None
    ]
    items: list[EvidenceItem] = []
    for item in evidence.items:
        over = False
        if item.source == "ros_log" and item.state in NOW:
            component, failure, _ = _meaning(item, None, catalogue, describe)
            until = item.seconds_into_drive + item.active_s
            over = failure in _DATA_GONE and any(
                known == component.id and _comes_back(topic, item.seconds_into_drive, until) for known, topic in topics
            )
        items.append(item.model_copy(update={"state": "ended"}) if over else item)
    return evidence.model_copy(update={"items": tuple(items)})


def _flows(component: str, at: float, evidence: Evidence, catalogue: Catalogue) -> bool:
    """Return whether topics of a component carry data at a time, and have no pause of a second around it."""
    of_it = [
        t for t in evidence.topics if t.messages >= MIN_MESSAGES and _named((t.topic.lower(),), catalogue) == component
    ]
    return bool(of_it) and all(
        topic.first_s <= at <= topic.last_s
        and not (
            topic.pause_s is not None
            and topic.pause_from_s is not None
            and topic.pause_s > max(1.0, 3 * (topic.period_s or 0.0))
            and topic.pause_from_s <= at <= topic.pause_from_s + topic.pause_s + _BEFORE_S
        )
        for topic in of_it
    )


_DATA_GONE: Final = frozenset({"no_signal", "absent", "disconnected", "lost_data", "missing_message"})

_BEFORE_S: Final = 5.0
"""A loss is logged up to so long after the last message: time-outs of drivers."""


def _comes_back(topic: TopicSeen, since: float, until: float) -> bool:
    """Return whether a topic begins, or goes on after its longest pause, once a complaint is over."""
    if since <= START_UP_S and until <= topic.first_s:
        return True
    if topic.pause_s is None or topic.pause_from_s is None or topic.pause_s < 1.0:
        return False
    return topic.pause_from_s - 1.0 <= since <= until <= topic.pause_from_s + topic.pause_s + _BEFORE_S


def _unit(address: int, catalogue: Catalogue) -> Component:
    known = catalogue.unit_of_address.get(address)
    if known is not None:
        return catalogue.components[known]
    return Component(
        id=f"unit_{address:02x}", name=f"control unit at source address {address} (0x{address:02X})", kind="unit",
        system=System.NETWORK,
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _made(part: str, kind: ComponentKind, system: System, sent_by: str = "") -> Component:
    slug = _NOT_WORD.sub("_", part.lower()).strip("_")[:60] or "part"
    return Component(
        id=slug if slug[0].isalpha() else f"x_{slug}", name=part, kind=kind, system=system, sent_by=sent_by
    )


_SYSTEMS: Final = {str(system): system for system in System}


def _system(text: str) -> System:
    return _SYSTEMS.get(text, System.UNKNOWN)


_WORDS_OF_KIND: Final[tuple[tuple[re.Pattern[str], ComponentKind], ...]] = (
    (re.compile(r"\b(control (unit|module)|module|computer|controller)\b"), "unit"),
    (re.compile(r"\b(supply|reference|system voltage|battery voltage|ignition feed|power relay)\b"), "supply"),
    (re.compile(r"\b(bus|data link|network)\b"), "network"),
    (re.compile(r"\b(sensor|switch|temperature|pressure|position|speed|signal|transducer|probe|flow)\b"), "sensor"),
    (
        re.compile(
            r"\b(valve|solenoid|relay|motor|pump|injector|coil|heater|actuator|fan|lamp|clutch|regulator|throttle|glow plug|igniter|contactor)s?\b"
        ),
        "actuator",
    ),
    (re.compile(r"\b(coolant|oil|fluid|fuel|refrigerant|reagent)\b"), "fluid"),
)
_KIND_OF_FAILURE: Final[dict[str, ComponentKind]] = {
    "limit": "condition", "request": "condition", "condition": "condition", "misfire": "mechanical",
    "mixture": "mechanical", "efficiency": "mechanical", "leak": "mechanical", "flow": "mechanical",
    "slip": "mechanical", "contribution": "mechanical", "correlation": "mechanical", "isolation": "mechanical",
    "imbalance": "mechanical", "missing_message": "unit", "invalid_message": "unit", "incompatible": "unit",
    "bus_off": "network", "interlock": "sensor",
}  # fmt: skip


def _kind(part: str, failure: str) -> ComponentKind:
    """Return the kind of a component that the catalogue lacks, by its name and by how it fails."""
    if failure in ("limit", "request", "condition", "missing_message", "bus_off"):
        return _KIND_OF_FAILURE[failure]
    if failure == "internal" and not _WORDS_OF_KIND[3][0].search(part.lower()):
        return "unit"
    for pattern, kind in _WORDS_OF_KIND:
        if pattern.search(part.lower()):
            return kind
    return _KIND_OF_FAILURE.get(failure, "sensor")


def _text(item: EvidenceItem) -> str:
    name = item.ecu or ""
    if item.code.startswith(("DIAG_", "RULE_")):
        name = f"{name} {item.code.partition('_')[2].replace('_', ' ')}"
    message = item.message or ""
    if " " not in message:
        # A status in one word, such as `NotReceived`.
        message = _CAMEL.sub(" ", message)
    if ended := _ENDED.search(message):
        # A launcher tells of another: by the node's name, or by that of its program.
        node = _NODE.search(message)
        name = node[1].rsplit("/")[-1] if node else ended[1]
    return f"{name} | {message}".lower()


_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ENDED: Final = re.compile(r"\[([A-Za-z_][\w.]*?)(?:-\d+)?\]:? process (?:has died|has finished|started|exited)")
_NODE: Final = re.compile(r"__node:=([\w/]+)")


def _pattern(item: EvidenceItem, catalogue: Catalogue) -> TextPattern | None:
    """Return the first pattern that the text of an item matches."""
    text = _text(item)
    return next((p for p in catalogue.texts if _compiled(p.match).search(text)), None)


def _named(texts: Sequence[str], catalogue: Catalogue) -> str | None:
    """Return the component that the first of the texts names, in the catalogue's order."""
    for part in texts:
        # A word inside of a longer name (`oak_container`) names its component only if no other is named outright.
        for text in dict.fromkeys((part, part.replace("_", " "))):
            for component in catalogue.components.values():
                if any(_compiled(word).search(text) for word in component.words):
                    return component.id
    return None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)
