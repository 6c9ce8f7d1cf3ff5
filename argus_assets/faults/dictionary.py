"""What codes mean, in our own words; a code that is not listed is described by its structure.

`data/codes.csv` holds OBD-II codes and the autonomous stack's codes, `data/spn.csv` J1939 parameters and
`data/fmi.csv` J1939 failure modes. The numbers and what they stand for are public facts (SAE J2012, SAE J1939-73,
appendix A); the sentences are ours, and none is taken from these documents or from other programs.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

_J1939: Final = re.compile(r"SPN(\d+)/FMI(\d+)")
_OBD: Final = re.compile(r"([PBCU])([0-3])([0-9A-F])[0-9A-F]{2}")
_LOG: Final = re.compile(r"LOG_(.+)_[0-9a-f]{8}")
_DIAGNOSTIC: Final = re.compile(r"DIAG_(.+)")

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
"""What the third character of a generic powertrain code stands for (SAE J2012, by area)."""

_MANUFACTURER_DIGITS: Final = {"P": "1", "B": "12", "C": "12", "U": "12"}
"""Second characters that leave the meaning to the manufacturer (SAE J2012). P3000 to P33FF are theirs too."""


@dataclass(frozen=True, slots=True)
class CodeText:
    """A code in plain words.

    Attributes:
        text: One phrase.
        system: The part of the vehicle that it belongs to.
        known: Whether the dictionary lists it; else the text follows from the code's structure.
    """

    text: str
    system: str
    known: bool


def describe(code: str) -> CodeText:
    """A fault code of any source in plain words."""
    entry = _entries("codes.csv").get(code)
    if entry is not None:
        return entry
    if match := _J1939.fullmatch(code):
        return _describe_j1939(match[1], match[2])
    if match := _OBD.fullmatch(code):
        return _describe_obd(*match.groups())
    if match := _DIAGNOSTIC.fullmatch(code):
        return CodeText(f"Component {_spoken(match[1])} reports a fault", "software", known=False)
    if match := _LOG.fullmatch(code):
        return CodeText(f"Error logged by {_spoken(match[1])}", "software", known=False)
    return CodeText("Code of the vehicle's software, not in the dictionary", "software", known=False)


def _describe_j1939(spn: str, fmi: str) -> CodeText:
    mode = _entries("fmi.csv").get(fmi)
    mode_text = mode.text if mode else f"failure mode {fmi}, which J1939 does not have"
    parameter = _entries("spn.csv").get(spn)
    if parameter is None:
        return CodeText(f"SPN {spn}: {mode_text}", "unknown", known=False)
    return CodeText(f"{parameter.text}: {mode_text}", parameter.system, known=True)


def _describe_obd(letter: str, digit: str, family: str) -> CodeText:
    system = _OBD_SYSTEMS[letter]
    if digit in _MANUFACTURER_DIGITS[letter] or (letter == "P" and digit == "3" and family in "0123"):
        return CodeText(f"Manufacturer's own {system} code", system, known=False)
    area = _POWERTRAIN_FAMILIES.get(letter + digit, {}).get(family, system)
    return CodeText(f"Generic code of {area}, not in the dictionary", system, known=False)


def _spoken(name: str) -> str:
    return name.replace("_", " ").lower()


@cache
def _entries(file: str) -> Mapping[str, CodeText]:
    """A data file by its first column."""
    text = (files("argus_assets.faults") / "data" / file).read_text("utf-8")
    rows = csv.reader(text.splitlines()[1:])
    return {code: CodeText(description, system, known=True) for code, system, description in rows}
