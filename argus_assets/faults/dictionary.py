"""What codes mean, in our own words: `data/codes.toml` for single codes, `data/fmi.toml` for J1939 failure modes.

Sources of the facts: the public meaning of generic OBD-II codes (SAE J2012 numbering), of SPNs that vehicles report
most, and of the failure modes of SAE J1939-73, appendix A. No text is taken from these documents.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_J1939 = re.compile(r"SPN(\d+)/FMI(\d+)")
_OBD = re.compile(r"([PBCU])([0-3])([0-9A-F]{3})")

_OBD_SYSTEM = {"P": "powertrain", "B": "body", "C": "chassis", "U": "network"}
_P_GROUP = {
    "0": "fuel and air metering", "1": "fuel and air metering", "2": "fuel injection", "3": "ignition and misfire",
    "4": "emission control", "5": "speed and idle control", "6": "control module", "7": "transmission",
    "8": "transmission", "9": "transmission", "A": "hybrid drive", "B": "hybrid drive", "C": "hybrid drive",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CodeText:
    """A code in plain words.

    Attributes:
        text: One phrase.
        system: What part of the vehicle it belongs to.
        known: Whether the dictionary has this very code (else the text follows from the code's structure).
    """

    text: str
    system: str
    known: bool


@cache
def _tables() -> tuple[dict[str, dict[str, str]], dict[int, str]]:
    folder = files("argus_assets.faults") / "data"
    codes = tomllib.loads((folder / "codes.toml").read_text("utf-8"))
    modes = tomllib.loads((folder / "fmi.toml").read_text("utf-8"))
    return codes, {int(number): text for number, text in modes["fmi"].items()}


def describe(code: str) -> CodeText:
    """A code in plain words; a code that is not in the dictionary by its structure."""
    codes, modes = _tables()
    match = _J1939.fullmatch(code)
    if match:
        spn, fmi = int(match[1]), int(match[2])
        mode = modes.get(fmi, "reserved failure mode")
        known = codes["spn"].get(str(spn))
        if known:
            name, _, system = known.partition(" | ")
            return CodeText(f"{name}: {mode}", system or "powertrain", known=True)
        return CodeText(f"Parameter {spn} (SPN): {mode}", "not in the dictionary", known=False)
    for table in ("obd", "software"):
        known = codes[table].get(code)
        if known:
            text, _, system = known.partition(" | ")
            return CodeText(text, system or "powertrain", known=True)
    match = _OBD.fullmatch(code)
    if match:
        system = _OBD_SYSTEM[match[1]]
        if match[2] in "13" and not (match[1] == "P" and match[2] == "3"):
            return CodeText(f"Manufacturer's own {system} code", system, known=False)
        group = _P_GROUP.get(match[3][0], system) if match[1] == "P" else system
        return CodeText(f"{group.capitalize()} fault", system, known=False)
    if code.startswith("DIAG_"):
        return CodeText(f"Component {code[5:].replace('_', ' ').lower()} reports a fault", "software", known=False)
    if code.startswith("LOG_"):
        node = code[4:].rpartition("_")[0].replace("_", " ").lower()
        return CodeText(f"Error logged by {node}", "software", known=False)
    return CodeText("Code of the vehicle's software", "software", known=False)
