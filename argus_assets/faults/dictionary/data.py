"""The dictionary's data files, read and cross-referenced: those of `data/dictionary/`, and nothing that a user adds.

Numbers and their meanings are public facts, checked against public lists; the sentences are composed of a component and a
failure mode in our own words.

| file | holds | numbers from |
|---|---|---|
| `powertrain.csv`, `chassis.csv`, `body.csv`, `network.csv` | single trouble codes | SAE J2012, ISO 15031-6 |
| `families.csv`, `shapes.csv` | codes that follow each other, by the shape of their family | SAE J2012, ISO 15031-6 |
| `network_partners.csv` | U codes that name another control module | SAE J2012, ISO 15031-6 |
| `failure_types.csv` | failure-type bytes of three-byte codes | SAE J2012, ISO 15031-6 |
| `spn.csv`, `fmi.csv` | J1939 parameters and failure modes | SAE J1939-71, SAE J1939-73 |
| `uds_services.csv`, `uds_responses.csv` | services and negative response codes | ISO 14229-1 |
| `bus.csv` | CAN's own errors | ISO 11898-1, linux/can/error.h |
| `services.csv` | findings of diagnostic services besides codes | SAE J1979, SAE J1939-73, ISO 14229-1 |
| `software.csv` | the autonomous stack's codes and the shipped rules | Argus |
| `guides.toml` | severity, causes, checks and warnings by kind of fault | Argus |
"""

import csv
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final, Literal

from argus_assets.faults.schema import Severity

_DTC_SOURCE: Final = "SAE J2012"
_CODE_FILES: Final = {
    "powertrain.csv": _DTC_SOURCE,
    "chassis.csv": _DTC_SOURCE,
    "body.csv": _DTC_SOURCE,
    "network.csv": _DTC_SOURCE,
    "bus.csv": "ISO 11898-1",
    "services.csv": "diagnostic services",
    "software.csv": "autonomous stack",
}

_PARTNER_KINDS: Final = (
    ("lost", "module_silent", "No communication: {partner}"),
    ("incompatible", "software_incompatible", "Software does not fit: {partner}"),
    ("invalid", "network_data_invalid", "Invalid data from {partner}"),
)
"""Statements of a U code about another control module: column, guide, text."""

_NUMBERED: Final = re.compile(r"([PBCU])([0-3][0-9A-F]{3})")


@dataclass(frozen=True, slots=True)
class Guide:
    """Guide to a kind of fault.

    Attributes:
        severity: How bad it usually is.
        causes: Usual causes, the most likely first.
        checks: First checks, in order.
        must_not: What must not be done.
    """

    name: str
    severity: Severity
    causes: tuple[str, ...]
    checks: tuple[str, ...]
    must_not: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListedCode:
    """A code that a data file lists. `severity` is the guide's where the file does not state another."""

    text: str
    system: str
    severity: Severity
    guide: Guide
    source: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A J1939 parameter (SPN), with the guides for too high, for too low, and for a fault that has no direction."""

    text: str
    system: str
    high: Guide | None = None
    low: Guide | None = None
    fault: Guide | None = None


@dataclass(frozen=True, slots=True)
class FailureMode:
    """A J1939 failure mode (FMI).

    Attributes:
        takes: Which of the parameter's guides applies, `None` when the mode is enough: a shorted wire.
        guide: Applies where the parameter has no such guide.
        at_most: The worst that this mode can mean: a value a little too high is not critical.
    """

    text: str
    takes: Literal["high", "low", "fault"] | None
    guide: Guide
    at_most: Severity


@dataclass(frozen=True, slots=True)
class Qualifier:
    """Meaning of a part of a code: a failure-type byte or a negative response code. `guide` may be absent."""

    text: str
    guide: Guide | None


@dataclass(frozen=True, slots=True)
class Tables:
    """All data files. Keys of bytes are two hex digits, as in codes."""

    codes: Mapping[str, ListedCode]
    parameters: Mapping[int, Parameter]
    failure_modes: Mapping[int, FailureMode]
    failure_types: Mapping[str, Qualifier]
    uds_services: Mapping[str, str]
    uds_responses: Mapping[str, Qualifier]
    guides: Mapping[str, Guide]
    version: str


@cache
def load_tables() -> Tables:
    """Read the data files that come with Argus."""
    folder = files("argus_assets.faults") / "data" / "dictionary"
    texts = {entry.name: entry.read_text("utf-8") for entry in folder.iterdir()}
    rows = {name: list(csv.DictReader(text.splitlines())) for name, text in texts.items() if name.endswith(".csv")}
    guides = {
        name: Guide(
            name,
            Severity(entry["severity"]),
            tuple(entry["causes"]),
            tuple(entry["checks"]),
            tuple(entry["must_not"]),
        )
        for name, entry in tomllib.loads(texts["guides.toml"]).items()
    }

    def named(name: str) -> Guide | None:
        return guides[name] if name else None

    def qualifiers(file: str, key: str) -> dict[str, Qualifier]:
        return {row[key]: Qualifier(row["text"], named(row["guide"])) for row in rows[file]}

    codes = _distinct((*_single_codes(rows, guides), *_families(rows, guides), *_partners(rows, guides)))
    digest = sha256("\0".join(f"{name}\0{texts[name]}" for name in sorted(texts)).encode()).hexdigest()
    return Tables(
        codes=codes,
        parameters={
            int(row["spn"]) + step: Parameter(
                row["text"].format(n=step + 1),
                row["system"],
                named(row["high"]),
                named(row["low"]),
                named(row["fault"]),
            )
            for row in rows["spn.csv"]
            for step in range(int(row["repeat"]))
        },
        failure_modes={int(row["fmi"]): _failure_mode(row, guides) for row in rows["fmi.csv"]},
        failure_types=qualifiers("failure_types.csv", "byte"),
        uds_services={row["service"]: row["text"] for row in rows["uds_services.csv"]},
        uds_responses=qualifiers("uds_responses.csv", "response"),
        guides=guides,
        version=digest[:12],
    )


_Rows = Mapping[str, list[dict[str, str]]]
_Named = Iterator[tuple[str, ListedCode]]


def _distinct(found: tuple[tuple[str, ListedCode], ...]) -> dict[str, ListedCode]:
    codes = dict(found)
    assert len(codes) == len(found), "a code is listed twice"
    return codes


def _single_codes(rows: _Rows, guides: Mapping[str, Guide]) -> _Named:
    for file, source in _CODE_FILES.items():
        for row in rows[file]:
            guide = guides[row["guide"]]
            severity = Severity(row["severity"]) if row["severity"] else guide.severity
            yield row["code"], ListedCode(row["text"], row["system"], severity, guide, source)


def _families(rows: _Rows, guides: Mapping[str, Guide]) -> _Named:
    """Return codes that follow each other, counted as J2012 numbers them: in decimal, newer blocks (`P0A`) in hexadecimal.

    A shape's guide with `*` in front gives way to the family's own. `repeat` runs the shape again for the next
    cylinder (`{n}`, from 1) or the next letter (`{letter}`, from A).
    """
    shapes: dict[str, list[dict[str, str]]] = {}
    for row in rows["shapes.csv"]:
        shapes.setdefault(row["shape"], []).append(row)
    for family in rows["families.csv"]:
        match = _NUMBERED.fullmatch(family["first"])
        assert match is not None, f"{family['first']} cannot be counted up"
        steps = shapes[family["shape"]]
        for copy in range(int(family["repeat"])):
            part = family["part"].format(n=copy + 1, letter=chr(ord("A") + copy))
            for step in steps:
                code = f"{match[1]}{_counted(match[2], copy * len(steps) + int(step['step']))}"
                name = step["guide"].removeprefix("*")
                guide = guides[(family["guide"] or name) if step["guide"].startswith("*") else name]
                text = step["text"].format(part=part)
                yield code, ListedCode(text, family["system"], guide.severity, guide, _DTC_SOURCE)


def _counted(first: str, step: int) -> str:
    """Return the four digits that follow after some steps; a letter in the first ones means that they count in hexadecimal."""
    return f"{int(first) + step:04d}" if first.isdigit() else f"{int(first, 16) + step:04X}"


def _partners(rows: _Rows, guides: Mapping[str, Guide]) -> _Named:
    for row in rows["network_partners.csv"]:
        for column, guide_name, text in _PARTNER_KINDS:
            if row[column]:
                guide = guides[guide_name]
                filled = text.format(partner=row["partner"])
                yield row[column], ListedCode(filled, "network", guide.severity, guide, _DTC_SOURCE)


_TAKES: Final[Mapping[str, Literal["high", "low", "fault"] | None]] = {
    "high": "high",
    "low": "low",
    "fault": "fault",
    "": None,
}


def _failure_mode(row: dict[str, str], guides: Mapping[str, Guide]) -> FailureMode:
    return FailureMode(row["text"], _TAKES[row["takes"]], guides[row["guide"]], Severity(row["at_most"]))
