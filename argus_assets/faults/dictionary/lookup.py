"""Meanings of codes: text, severity, usual causes, first checks, and what must not be done.

A code is looked up in what the user added, then in Argus' own tables (`dictionary_data.py`). A code that nobody
lists is described by its structure: any text gets an entry.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from typing import Final, Self

from argus_assets.faults.dictionary.additions import Addition, Additions
from argus_assets.faults.dictionary.data import FailureMode, Guide, Parameter, Qualifier, load_tables
from argus_assets.faults.dictionary.failure import Failure
from argus_assets.faults.dictionary.meaning import failure_of_type, of_fmi, of_text
from argus_assets.faults.schema import Severity

_J1939: Final = re.compile(r"SPN([0-9]{1,6})/FMI([0-9]{1,2})")
_OBD: Final = re.compile(r"([PBCU])([0-3])([0-9A-F])[0-9A-F]{2}")
_WITH_FAILURE_TYPE: Final = re.compile(r"([PBCU][0-3][0-9A-F]{3})-([0-9A-F]{2})")
_UDS_RESPONSE: Final = re.compile(r"UDS_NRC_([0-9A-F]{2})_([0-9A-F]{2})")
_LOG: Final = re.compile(r"LOG_(.+)_[0-9a-f]{8}")
_DIAGNOSTIC: Final = re.compile(r"DIAG_(.+)")
_RULE: Final = re.compile(r"RULE_(.+)")

_OBD_SYSTEMS: Final = {"P": "powertrain", "B": "body", "C": "chassis", "U": "network"}

_POWERTRAIN_FAMILIES: Final = {
    "P0": {
        "0": "fuel, air and emission control",
        "1": "fuel and air metering",
        "2": "fuel and air metering",
        "3": "ignition and misfire",
        "4": "emission control",
        "5": "speed, idle and auxiliary inputs",
        "6": "control module and its outputs",
        **dict.fromkeys("789", "transmission"),
        **dict.fromkeys("ABC", "hybrid drive"),
    },
    "P2": {
        **dict.fromkeys("012", "fuel, air and emission control"),
        "3": "ignition and misfire",
        "4": "emission control",
        "5": "auxiliary inputs",
        "6": "control module and its outputs",
        "7": "transmission",
    },
}
"""Meanings of the third character of a generic powertrain code (SAE J2012, by area)."""

_MANUFACTURER_DIGITS: Final = {"P": "1", "B": "12", "C": "12", "U": "12"}
"""Second characters that leave the meaning to the manufacturer (SAE J2012). P3000 to P33FF are theirs too."""

_MANUFACTURER_SPNS: Final = range(516_096, 524_288)
"""SPNs that leave the meaning to the manufacturer (SAE J1939)."""

_MANUFACTURER_FAILURE_TYPES: Final = "F"
"""First digit of the failure-type bytes that are the manufacturer's (SAE J2012)."""

_NO_FAILURE_TYPE: Final = "00"

_NETWORK_FAILURE_TYPES: Final = "0458"
"""First digits of the failure types that a network code can have; makers put other meanings into the rest."""

_OF_NETWORK: Final = {Failure.INVALID_MESSAGE: "its data is called invalid"}

_BY_STRUCTURE: Final = "structure of the code"
_BADNESS: Final = tuple(Severity)


@dataclass(frozen=True, slots=True)
class Entry:
    """A code in plain words.

    Attributes:
        code: The code as asked for.
        text: One phrase.
        system: The part of the vehicle that it belongs to.
        severity: How bad it usually is; `None` where its structure does not tell.
        causes: Usual causes, the most likely first.
        checks: First checks, in order.
        must_not: What must not be done.
        part: Component that the code is about, in lower case; empty if the code does not state it.
        failure: How that component fails.
        known: Whether somebody lists it; else all follows from the code's structure.
        source: Where it comes from: a standard's numbers, or the user's file and place.
    """

    code: str
    text: str
    system: str
    severity: Severity | None = None
    causes: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()
    part: str = ""
    failure: Failure = Failure.UNKNOWN
    known: bool = False
    source: str = _BY_STRUCTURE


@dataclass(frozen=True, slots=True)
class Dictionary:
    """Argus' own tables under what a user added.

    Attributes:
        additions: By code.
        version: Changes with any text in it.
    """

    additions: Mapping[str, Addition]
    version: str

    @classmethod
    def of(cls, additions: Iterable[Additions] = ()) -> Self:
        """Return the built-in dictionary with a user's additions; of two for one code, the later wins."""
        groups = tuple(additions)
        version = load_tables().version
        if groups:
            version = sha256("\0".join([version, *(group.digest for group in groups)]).encode()).hexdigest()[:12]
        return cls({code: entry for group in groups for code, entry in group.entries.items()}, version)

    def describe(self, code: str) -> Entry:
        """Describe a fault code of any source in plain words."""
        addition = self.additions.get(code)
        entry = self._listed(code) or self._composed(code) or _by_name(code)
        return entry if addition is None else _overlaid(entry, addition)

    def _listed(self, code: str) -> Entry | None:
        listed = load_tables().codes.get(code)
        if listed is None:
            return None
        part, failure = of_text(listed.text, listed.guide.name)
        made = Entry(code, listed.text, listed.system, part=part, failure=failure, known=True, source=listed.source)
        entry = _guided(made, listed.guide)
        return replace(entry, severity=listed.severity)

    def _composed(self, code: str) -> Entry | None:
        """Describe a code by the meaning of its parts."""
        if match := _J1939.fullmatch(code):
            return self._j1939(code, int(match[1]), int(match[2]))
        if match := _WITH_FAILURE_TYPE.fullmatch(code):
            entry = _qualified(code, self.describe(match[1]), match[2])
            addition = self.additions.get(match[1])
            return entry if addition is None else _overlaid(entry, replace(addition, text=""))
        if match := _UDS_RESPONSE.fullmatch(code):
            return _uds_response(code, match[1], match[2])
        if match := _OBD.fullmatch(code):
            return _obd_by_structure(code, *match.groups())
        return None

    def _j1939(self, code: str, spn: int, fmi: int) -> Entry:
        tables = load_tables()
        mode = tables.failure_modes.get(fmi)
        parameter = tables.parameters.get(spn)
        addition = self.additions.get(f"SPN{spn}")
        if addition is None:
            return _j1939(code, spn, fmi, parameter, mode)
        text = addition.text or (parameter.text if parameter else f"SPN {spn}")
        system = addition.system or (parameter.system if parameter else "unknown")
        parameter = replace(parameter or Parameter(text, system), text=text, system=system)
        entry = _j1939(code, spn, fmi, parameter, mode)
        return _overlaid(entry, replace(addition, text="", system=""))


@cache
def built_in() -> Dictionary:
    """Return the dictionary that comes with Argus."""
    return Dictionary.of()


def describe(code: str) -> Entry:
    """Describe a fault code of any source in plain words, by the dictionary that comes with Argus."""
    return built_in().describe(code)


def _guided(entry: Entry, guide: Guide | None) -> Entry:
    """Return the entry with the words of a guide."""
    if guide is None:
        return entry
    return replace(entry, severity=guide.severity, causes=guide.causes, checks=guide.checks, must_not=guide.must_not)


def _overlaid(entry: Entry, addition: Addition) -> Entry:
    """Return the entry with the user's words where there are any."""
    return replace(
        entry,
        text=addition.text or entry.text,
        system=addition.system or entry.system,
        severity=addition.severity or entry.severity,
        causes=addition.causes or entry.causes,
        checks=addition.checks or entry.checks,
        must_not=addition.must_not or entry.must_not,
        known=True,
        source=addition.source,
    )


def _j1939(code: str, spn: int, fmi: int, parameter: Parameter | None, mode: FailureMode | None) -> Entry:
    mode_text = mode.text if mode else f"failure mode {fmi}, which J1939 does not have"
    if parameter is None:
        name = f"Manufacturer's own SPN {spn}" if spn in _MANUFACTURER_SPNS else f"SPN {spn}"
        entry = _guided(Entry(code, f"{name}: {mode_text}", "unknown"), mode.guide if mode else None)
        part = "" if spn in _MANUFACTURER_SPNS else f"SPN {spn}"
        return replace(entry, severity=None, part=part, failure=of_fmi("", fmi))
    entry = Entry(
        code, f"{parameter.text}: {mode_text}", parameter.system, part=_lowered(parameter.text),
        failure=of_fmi(parameter.text, fmi), known=True, source="SAE J1939",
    )  # fmt: skip
    if mode is None:
        return entry
    own = {"high": parameter.high, "low": parameter.low, "fault": parameter.fault, None: None}[mode.takes]
    guide = own or mode.guide
    severity = min(guide.severity, mode.at_most, key=_BADNESS.index)
    # The worst step of a value is a danger only where the value is.
    text = entry.text.replace("far too", "dangerously") if severity is Severity.CRITICAL else entry.text
    return replace(_guided(entry, guide), text=text, severity=severity)


def _qualified(code: str, base: Entry, failure_type: str) -> Entry:
    """Describe a three-byte code: the component by its first two bytes, the failure by the third.

    The failure type knows the kind of fault better than the component does, so its causes and checks go before.
    """
    failure = failure_of_type(code.partition("-")[0], failure_type, base.failure)
    base = replace(base, code=code, failure=failure)
    if failure_type == _NO_FAILURE_TYPE:
        return base
    qualifier = load_tables().failure_types.get(failure_type)
    if code[0] == "U" and failure_type[0] not in _NETWORK_FAILURE_TYPES:
        if failure is Failure.INVALID_MESSAGE and describe(code.partition("-")[0]).failure is failure:
            return base
        qualifier = Qualifier(_OF_NETWORK.get(failure, f"failure type {failure_type} of the manufacturer"), None)
    if qualifier is None:
        whose = "manufacturer's failure type" if failure_type[0] in _MANUFACTURER_FAILURE_TYPES else "failure type"
        qualifier = Qualifier(f"{whose} {failure_type}", None)
    entry = replace(base, text=f"{base.text} ({qualifier.text})")
    if qualifier.guide is None:
        return entry
    return replace(
        entry,
        causes=qualifier.guide.causes,
        checks=qualifier.guide.checks,
        must_not=_distinct(base.must_not + qualifier.guide.must_not),
    )


def _lowered(text: str) -> str:
    """Return a text with a small first letter, unless it begins with an abbreviation."""
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _distinct(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _uds_response(code: str, service: str, response: str) -> Entry:
    tables = load_tables()
    asked = tables.uds_services.get(service)
    reason = tables.uds_responses.get(response)
    what = f"{asked} (service {service})" if asked else f"service {service}"
    said = reason.text if reason else f"reason {response}"
    entry = Entry(
        code,
        f"Negative response, {what}: {said}",
        "diagnostics",
        known=asked is not None and reason is not None,
        source="ISO 14229-1",
    )
    return _guided(entry, reason.guide if reason else None)


def _obd_by_structure(code: str, letter: str, digit: str, family: str) -> Entry:
    system = _OBD_SYSTEMS[letter]
    guides = load_tables().guides
    if digit in _MANUFACTURER_DIGITS[letter] or (letter == "P" and digit == "3" and family in "0123"):
        entry = _guided(Entry(code, f"Manufacturer's own {system} code", system), guides["special_instructions"])
    else:
        area = _POWERTRAIN_FAMILIES.get(letter + digit, {}).get(family, system)
        text = f"Generic code of {area}, not in the dictionary"
        entry = _guided(Entry(code, text, system), guides["cause_unknown"])
    # Two letters and a digit do not tell how bad it is.
    return replace(entry, severity=None)


def _by_name(code: str) -> Entry:
    """Describe a code that software made: its name is all there is."""
    text = "Code of the vehicle's software, not in the dictionary"
    if match := _DIAGNOSTIC.fullmatch(code):
        text = f"Component {_spoken(match[1])} reports a fault"
    elif match := _LOG.fullmatch(code):
        text = f"Error logged by {_spoken(match[1])}"
    elif match := _RULE.fullmatch(code):
        text = f"Rule {_spoken(match[1])} was broken"
    entry = _guided(Entry(code, text, "software"), load_tables().guides["software_fault"])
    return replace(entry, severity=None)


def _spoken(name: str) -> str:
    return name.replace("_", " ").lower()
