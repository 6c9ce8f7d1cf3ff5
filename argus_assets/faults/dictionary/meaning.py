"""State what a code is about and how that fails, for the model of the vehicle: its part and its failure mode."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from argus_assets.faults.dictionary.failure import Failure

_BY_GUIDE: Final[Mapping[str, Failure]] = {
    "sensor_circuit": Failure.CIRCUIT,
    "sensor_circuit_low": Failure.CIRCUIT_LOW,
    "sensor_circuit_high": Failure.CIRCUIT_HIGH,
    "sensor_circuit_open": Failure.CIRCUIT_OPEN,
    "sensor_intermittent": Failure.INTERMITTENT,
    "sensor_implausible": Failure.IMPLAUSIBLE,
    "thermistor_low": Failure.CIRCUIT_LOW,
    "thermistor_high": Failure.CIRCUIT_HIGH,
    "short_to_ground": Failure.CIRCUIT_LOW,
    "short_to_battery": Failure.CIRCUIT_HIGH,
    "overcurrent": Failure.CIRCUIT_LOW,
    "actuator_circuit": Failure.CIRCUIT,
    "actuator_stuck": Failure.STUCK,
    "heater_circuit": Failure.HEATER,
    "signal_frequency": Failure.FREQUENCY,
    "signal_rate": Failure.RATE,
    "module_silent": Failure.MISSING_MESSAGE,
    "module_defective": Failure.INTERNAL,
    "module_programming": Failure.NOT_PROGRAMMED,
    "not_calibrated": Failure.NOT_LEARNED,
    "software_incompatible": Failure.INCOMPATIBLE,
    "network_data_invalid": Failure.INVALID_MESSAGE,
    "bus_off": Failure.BUS_OFF,
    "voltage_low": Failure.SUPPLY_LOW,
    "voltage_high": Failure.SUPPLY_HIGH,
    "lidar_packets": Failure.NO_SIGNAL,
    "camera_frames": Failure.NO_SIGNAL,
    "radar_silent": Failure.NO_SIGNAL,
    "gnss_lost": Failure.NO_SIGNAL,
    "imu_implausible": Failure.IMPLAUSIBLE,
    "compute_hot": Failure.OVERHEATED,
    "cam_crank_correlation": Failure.CORRELATION,
    "pressure_correlation": Failure.CORRELATION,
    "cam_timing": Failure.STUCK,
}
"""Failure mode of the codes of a guide, where their text states none."""

_BY_TEXT: Final[Sequence[tuple[re.Pattern[str], Failure]]] = tuple(
    (re.compile(pattern, re.IGNORECASE), failure)
    for pattern, failure in (
        (r"no communication|communication lost|lost communication", Failure.MISSING_MESSAGE),
        (r"sends? invalid|invalid data", Failure.INVALID_MESSAGE),
        (r"do(es)? not fit (each other|together)$|incompatible", Failure.INCOMPATIBLE),
        (r"(shaft|timing).*(fit)", Failure.CORRELATION),
        (r"bus off|both wires|(positive|negative) wire", Failure.BUS_OFF),
        (r"misfire", Failure.MISFIRE),
        (r"differ too much", Failure.IMBALANCE),
        (r"asks for", Failure.REQUEST),
        (r"out of balance|contribution", Failure.CONTRIBUTION),
        (r"too lean|too rich|mixture", Failure.MIXTURE),
        (r"works below|below its threshold|efficien", Failure.EFFICIENCY),
        (r"wrong ratio|ratio is wrong|slips", Failure.SLIP),
        (r"isolat", Failure.ISOLATION),
        (r"interlock", Failure.INTERLOCK),
        (r"heater (control|circuit)|heater", Failure.HEATER),
        (r"(signal|circuit|line|wire) (too )?low", Failure.CIRCUIT_LOW),
        (r"(signal|circuit|line|wire) (too )?high", Failure.CIRCUIT_HIGH),
        (r"(supply|reference|voltage).*(too low|low)$", Failure.SUPPLY_LOW),
        (r"(supply|reference|voltage).*(too high|high)$", Failure.SUPPLY_HIGH),
        (r"(supply|reference).*(open)", Failure.SUPPLY_OPEN),
        (r"control line open|wire open|circuit open", Failure.CIRCUIT_OPEN),
        (r"voltage stays low", Failure.CIRCUIT_LOW),
        (r"voltage stays high", Failure.CIRCUIT_HIGH),
        (r"drops out|at times", Failure.INTERMITTENT),
        (r"no signal|does not react", Failure.NO_SIGNAL),
        (r"reacts too slowly|too slow", Failure.RATE),
        (r"do not (fit|agree)|disagree|correlation", Failure.CORRELATION),
        (r"implausible|shorted to its heater", Failure.IMPLAUSIBLE),
        (r"stuck open|stays on", Failure.STUCK_OPEN),
        (r"stuck closed|does not act", Failure.STUCK_CLOSED),
        (r"stuck|not follow|advanced|retarded|does not hold|does not work", Failure.STUCK),
        (r"leak", Failure.LEAK),
        (r"forced to|limited|derate|reduced power", Failure.LIMIT),
        (r"not programmed|not coded", Failure.NOT_PROGRAMMED),
        (r"insufficient|flow|purge", Failure.FLOW),
        (r"too hot|overheat", Failure.OVERHEATED),
        (r"level (is )?(too )?low", Failure.LEVEL_LOW),
        (r"too high|too much|beyond", Failure.VALUE_HIGH),
        (r"too low|too little|too cold", Failure.VALUE_LOW),
        (r"circuit|electrical fault", Failure.CIRCUIT),
    )
)

_MODE_WORDS: Final = re.compile(
    r"(:.*$|\b(circuit|control line|primary|secondary|signal|input)\b|\b(too|stuck|does not|do not|works?|stays|is|drops|reacts|sends|delivers|has|turns|draws)\b.*$)",
    re.IGNORECASE,
)

_BY_FAILURE_TYPE: Final[Mapping[str, Failure]] = {
    "01": Failure.CIRCUIT, "02": Failure.IMPLAUSIBLE, "03": Failure.FREQUENCY, "04": Failure.INTERNAL,
    "05": Failure.NOT_PROGRAMMED, "06": Failure.IMPLAUSIBLE, "07": Failure.STUCK, "08": Failure.INVALID_MESSAGE,
    "09": Failure.UNKNOWN,
    "11": Failure.CIRCUIT_LOW, "12": Failure.CIRCUIT_HIGH, "13": Failure.CIRCUIT_OPEN, "14": Failure.CIRCUIT_LOW,
    "15": Failure.CIRCUIT_HIGH, "16": Failure.CIRCUIT_LOW, "17": Failure.CIRCUIT_HIGH, "18": Failure.CIRCUIT_OPEN,
    "19": Failure.CIRCUIT_LOW, "1A": Failure.CIRCUIT_LOW, "1B": Failure.CIRCUIT_OPEN, "1C": Failure.CIRCUIT,
    "1D": Failure.CIRCUIT, "1E": Failure.CIRCUIT, "1F": Failure.INTERMITTENT,
    "21": Failure.CIRCUIT_LOW, "22": Failure.CIRCUIT_HIGH, "23": Failure.CIRCUIT_LOW, "24": Failure.CIRCUIT_HIGH,
    "25": Failure.IMPLAUSIBLE, "26": Failure.RATE, "27": Failure.RATE, "28": Failure.DRIFTED,
    "29": Failure.IMPLAUSIBLE, "2A": Failure.STUCK, "2B": Failure.IMPLAUSIBLE, "2C": Failure.IMPLAUSIBLE,
    "2F": Failure.IMPLAUSIBLE,
    "31": Failure.NO_SIGNAL, "36": Failure.FREQUENCY, "37": Failure.FREQUENCY, "38": Failure.FREQUENCY,
    "39": Failure.NO_SIGNAL, "3A": Failure.FREQUENCY,
    "4A": Failure.INCOMPATIBLE, "4B": Failure.OVERHEATED,
    "51": Failure.NOT_PROGRAMMED, "52": Failure.NOT_PROGRAMMED, "53": Failure.NOT_PROGRAMMED,
    "54": Failure.NOT_LEARNED, "55": Failure.NOT_PROGRAMMED, "56": Failure.NOT_PROGRAMMED, "57": Failure.INCOMPATIBLE,
    "61": Failure.IMPLAUSIBLE, "62": Failure.CORRELATION, "63": Failure.IMPLAUSIBLE, "64": Failure.IMPLAUSIBLE,
    "65": Failure.FREQUENCY, "66": Failure.FREQUENCY, "67": Failure.IMPLAUSIBLE, "68": Failure.CONDITION,
    "71": Failure.STUCK, "72": Failure.STUCK_OPEN, "73": Failure.STUCK_CLOSED, "74": Failure.SLIP,
    "75": Failure.STUCK, "76": Failure.STUCK, "77": Failure.STUCK, "78": Failure.NOT_LEARNED, "79": Failure.STUCK,
    "7A": Failure.LEAK, "7B": Failure.LEVEL_LOW, "7C": Failure.RATE,
    "81": Failure.INVALID_MESSAGE, "82": Failure.INVALID_MESSAGE, "83": Failure.INVALID_MESSAGE,
    "84": Failure.VALUE_LOW, "85": Failure.VALUE_HIGH, "86": Failure.INVALID_MESSAGE,
    "87": Failure.MISSING_MESSAGE, "88": Failure.BUS_OFF, "8F": Failure.INVALID_MESSAGE,
    "91": Failure.IMPLAUSIBLE, "92": Failure.STUCK, "93": Failure.STUCK, "94": Failure.STUCK, "95": Failure.UNKNOWN,
    "96": Failure.INTERNAL, "97": Failure.STUCK, "98": Failure.OVERHEATED, "99": Failure.NOT_LEARNED,
    "9A": Failure.CONDITION, "9E": Failure.STUCK_OPEN, "9F": Failure.STUCK_CLOSED,
}  # fmt: skip
"""Failure mode of a failure-type byte (SAE J2012-DA, ISO 15031-6)."""

_INTERNAL_TYPES: Final = frozenset(f"4{digit}" for digit in "123456789")

GM_SYMPTOMS: Final[Mapping[str, Failure]] = {
    "02": Failure.CIRCUIT_LOW, "05": Failure.CIRCUIT_HIGH, "0F": Failure.IMPLAUSIBLE, "18": Failure.IMPLAUSIBLE,
    "5A": Failure.IMPLAUSIBLE, "71": Failure.INVALID_MESSAGE,
}  # fmt: skip
"""Failure mode of a symptom byte of General Motors, which is no failure type of SAE J2012-DA."""


def failure_of_type(code: str, byte: str, base: Failure) -> Failure:
    """Return the failure mode of a code with a failure-type byte.

    A network code stays what its number says: makers put other meanings into its byte, and none of them is mechanical.

    Args:
        code: Code without its byte.
        byte: Failure-type byte, two hex digits.
        base: Failure mode that the code states itself.
    """
    # Categories 0, 6 and 9 say how it was noticed: a gear that slips is found by a plausibility check.
    if byte == "00" or (byte[0] in "069" and base not in (Failure.UNKNOWN, Failure.CIRCUIT)):
        return base
    if code[0] == "U":
        number = int(code[1:], 16)
        if 0x0400 <= number < 0x0600 or (byte == "71" and number < 0x0400):
            return Failure.INVALID_MESSAGE
        return base
    if byte in ("0F", "5A") or (code[0] == "C" and byte in GM_SYMPTOMS and byte in ("18", "71")):
        return GM_SYMPTOMS[byte]
    if byte in _INTERNAL_TYPES:
        return Failure.INTERNAL
    found = _BY_FAILURE_TYPE.get(byte, Failure.UNKNOWN)
    return base if found is Failure.UNKNOWN else found


@lru_cache(maxsize=8192)
def of_text(text: str, guide: str) -> tuple[str, Failure]:
    """Return part and failure mode of a listed code by its text, else by its guide."""
    failure = next((f for pattern, f in _BY_TEXT if pattern.search(text)), None)
    if failure is None or (failure is Failure.CIRCUIT and guide in _BY_GUIDE):
        failure = _BY_GUIDE.get(guide, failure or Failure.UNKNOWN)
    place = text.partition(",")[2] if "bank" in text.partition(",")[2] else ""
    part = _MODE_WORDS.sub(" ", text.partition(",")[0])
    part = " ".join(part.split()).strip(" :,")
    for opening in ("No communication: ", "No communication with ", "Invalid data from "):
        part = part.removeprefix(opening)
    if text.lower().startswith("no communication"):
        part = text.partition(":")[2].strip() or text.lower().removeprefix("no communication with ").strip()
    part += f",{place.partition(':')[0]}" if place else ""
    return part[:1].lower() + part[1:] if part[1:2].islower() else part, failure


_LEVEL: Final = re.compile(r"\blevel\b", re.IGNORECASE)
_QUALITY: Final = re.compile(r"quality|concentration|property", re.IGNORECASE)
_SUPPLY: Final = re.compile(
    r"sensor supply|supply voltage|battery (potential|voltage)|power supply|alternator", re.IGNORECASE
)
_NETWORK: Final = re.compile(r"data link|network|\bbus\b", re.IGNORECASE)
_SPEED: Final = re.compile(r"speed|switch|message|command", re.IGNORECASE)

_BY_FMI: Final[Mapping[int, Failure]] = {
    0: Failure.VALUE_HIGH, 15: Failure.VALUE_HIGH, 16: Failure.VALUE_HIGH, 1: Failure.VALUE_LOW, 17: Failure.VALUE_LOW,
    18: Failure.VALUE_LOW, 2: Failure.IMPLAUSIBLE, 3: Failure.CIRCUIT_HIGH, 4: Failure.CIRCUIT_LOW,
    5: Failure.CIRCUIT_OPEN, 6: Failure.CIRCUIT_LOW, 7: Failure.STUCK, 8: Failure.FREQUENCY,
    9: Failure.MISSING_MESSAGE, 10: Failure.RATE, 11: Failure.UNKNOWN, 12: Failure.INTERNAL, 13: Failure.NOT_LEARNED,
    14: Failure.UNKNOWN, 19: Failure.INVALID_MESSAGE, 20: Failure.DRIFTED, 21: Failure.DRIFTED, 31: Failure.CONDITION,
}  # fmt: skip
"""Failure mode of an FMI (SAE J1939-73, appendix A); 22 to 30 are reserved."""


def of_fmi(part: str, fmi: int) -> Failure:
    """Return the failure mode of an FMI for a parameter, by what the parameter is."""
    failure = _BY_FMI.get(fmi, Failure.UNKNOWN)
    if _SUPPLY.search(part):
        if fmi in (1, 4, 17, 18):
            return Failure.SUPPLY_LOW
        if fmi in (0, 3, 15, 16):
            return Failure.SUPPLY_HIGH
        if fmi in (5, 6):
            return Failure.SUPPLY_OPEN
    if _NETWORK.search(part) and fmi in (2, 3, 4, 5, 6, 11, 12, 14, 31):
        return Failure.BUS_OFF
    if failure is Failure.VALUE_LOW and _LEVEL.search(part):
        return Failure.LEVEL_LOW
    if failure in (Failure.VALUE_LOW, Failure.VALUE_HIGH) and _QUALITY.search(part):
        return Failure.QUALITY
    # FMI 13 of a signal that comes over the bus means that it is not available there.
    if fmi == 13 and _SPEED.search(part):
        return Failure.INVALID_MESSAGE
    return failure
