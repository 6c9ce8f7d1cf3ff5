"""Compose causes from what fails, how, and where: the vocabulary in which a language model may say what it knows.

A cause of the catalogue says more, so one that a composition means takes its place. Ids have the form
`<component>.<failure>@<place>`, or `no_repair:<component>`; titles are made from the vocabulary, never from a model's sentence.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from argus_assets.diagnosis.redaction import redact_prose
from argus_assets.diagnosis.vehicle.catalogue import Catalogue, Component
from argus_assets.diagnosis.vocabulary import CauseKind, Drivable

NO_REPAIR: Final = "no_repair:"
"""Prefix of the id of a cause that says that nothing is to be repaired."""

COMPOSED: Final = "composed"
"""What an answer names as its cause when it composes one."""

ComposedFailure = Literal[
    "open", "short", "contact", "lost", "disturbed", "drifted", "implausible", "stuck", "leak", "blocked", "worn",
    "broken", "contaminated", "low", "overheated", "overloaded", "internal", "resets", "crash", "late", "clock",
    "settings", "not_calibrated", "not_coded", "software", "missing", "no_repair",
]  # fmt: skip

FAILURES: Final[Mapping[ComposedFailure, tuple[str, CauseKind]]] = {
    "open": ("open circuit", CauseKind.WIRING),
    "short": ("short circuit", CauseKind.WIRING),
    "contact": ("bad contact (loose, corroded, wet, chafed)", CauseKind.WIRING),
    "lost": ("lost: no power, ground or connection", CauseKind.SUPPLY),
    "disturbed": ("disturbed communication", CauseKind.WIRING),
    "drifted": ("reads wrong (drifted, aged)", CauseKind.SENSOR),
    "implausible": ("erratic signal", CauseKind.SENSOR),
    "stuck": ("sticks", CauseKind.ACTUATOR),
    "leak": ("leaks", CauseKind.MECHANICAL),
    "blocked": ("blocked", CauseKind.MECHANICAL),
    "worn": ("worn", CauseKind.MECHANICAL),
    "broken": ("broken or loose", CauseKind.MECHANICAL),
    "contaminated": ("contaminated or of the wrong kind", CauseKind.FLUID),
    "low": ("too low or empty", CauseKind.FLUID),
    "overheated": ("too hot", CauseKind.OVERLOAD),
    "overloaded": ("overloaded", CauseKind.OVERLOAD),
    "internal": ("faulty in itself", CauseKind.CONTROL_UNIT),
    "resets": ("resets", CauseKind.SUPPLY),
    "crash": ("crashes or hangs", CauseKind.SOFTWARE),
    "late": ("too slow or late", CauseKind.SOFTWARE),
    "clock": ("clock wrong or not synchronised", CauseKind.CONFIGURATION),
    "settings": ("settings do not fit", CauseKind.CONFIGURATION),
    "not_calibrated": ("not calibrated, learned or reset", CauseKind.CONFIGURATION),
    "not_coded": ("not programmed or coded, or wrong version", CauseKind.CONFIGURATION),
    "software": ("software fault, update needed", CauseKind.SOFTWARE),
    "missing": ("not fitted, not connected or switched off", CauseKind.CONFIGURATION),
    "no_repair": ("nothing to repair: expected, passed or already repaired", CauseKind.UNKNOWN),
}
"""Failure mode → its words, and the kind of cause that it is."""

Place = Literal[
    "itself", "connector", "harness", "shared_supply", "shared_return", "fuse_or_relay", "battery_or_charging", "bus",
    "network_device", "host", "software", "environment",
]  # fmt: skip

PLACES: Final[Mapping[Place, str]] = {
    "itself": "",
    "connector": "connector",
    "harness": "harness or wire",
    "shared_supply": "supply or reference that several parts share",
    "shared_return": "return or ground that several parts share",
    "fuse_or_relay": "fuse or relay",
    "battery_or_charging": "battery or charging",
    "bus": "bus or its branch",
    "network_device": "switch, hub, router or gateway",
    "host": "computer or its settings",
    "software": "software",
    "environment": "surroundings",
}
"""Place → its words."""

MAX_COMPONENT: Final = 60
_NOT_WORD: Final = re.compile(r"[^a-z0-9]+")
_FILLING: Final = frozenset({"the", "a", "an", "of", "and", "or", "its", "sensor", "circuit", "unit", "module"})


@dataclass(frozen=True, slots=True)
class Composed:
    """A composed cause.

    Attributes:
        id: `<component>.<failure>@<place>`.
        component: The component of the catalogue that it names, if it is one.
    """

    id: str
    title: str
    kind: CauseKind
    drivable: Drivable
    component: Component | None


def compose(component: str, failure: ComposedFailure, place: Place, catalogue: Catalogue) -> Composed | None:
    """Compose a cause, or return `None` if the name of its component has no word.

    Args:
        component: Id or name of a component; any other name is taken as it is, cleaned and bounded.
        failure: How it fails.
        place: Where.
        catalogue: The catalogue.
    """
    known = component_named(component, catalogue)
    name = known.name if known is not None else _clean(component)
    slug = known.id if known is not None else _NOT_WORD.sub("_", name.lower()).strip("_")
    if not slug:
        return None
    words, kind = FAILURES[failure]
    where = f" ({PLACES[place]})" if PLACES[place] else ""
    if failure == "no_repair":
        title = f"Nothing to repair: {name}, expected, passed or already repaired"
    else:
        title = f"{name[:1].upper()}{name[1:]}: {words}{where}"
    drivable: Drivable = "yes" if failure == "no_repair" else "with_care"
    made = f"{NO_REPAIR}{slug}" if failure == "no_repair" else f"{slug}.{failure}@{place}"
    return Composed(made, title, kind, drivable, known)


def component_named(text: str, catalogue: Catalogue) -> Component | None:
    """Return the component of the catalogue that a text names by its id or its words, whatever their order."""
    wanted = _NOT_WORD.sub("_", text.lower()).strip("_")
    if wanted in catalogue.components:
        return catalogue.components[wanted]
    words = _words(text)
    found = [c for c in catalogue.components.values() if words and words == _words(c.name)]
    return found[0] if len(found) == 1 else None


def _words(text: str) -> frozenset[str]:
    return frozenset(_NOT_WORD.sub(" ", text.lower().partition("(")[0]).split()) - _FILLING


def _clean(text: str) -> str:
    """Return a name without anything but words, numbers and simple marks."""
    plain = re.sub(r"[^\w\s.,/()+°%-]|_", " ", redact_prose(text, MAX_COMPONENT))
    return " ".join(plain.split())[:MAX_COMPONENT]
