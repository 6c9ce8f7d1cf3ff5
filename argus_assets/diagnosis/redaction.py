"""Texts from recordings are data of strangers: capped, and stripped of what names a vehicle or a place."""

import re
from typing import Final

MAX_TEXT: Final = 200

_VIN: Final = re.compile(
    r"(?<![A-Za-z0-9])(?=[A-HJ-NPR-Za-hj-npr-z0-9]*\d)[A-HJ-NPR-Za-hj-npr-z0-9]{17}(?![A-Za-z0-9])"
)
_POSITION: Final = re.compile(
    r"[-+]?\d{1,3}\.\d{3,}\s*°?\s*[NSns]?\s*[,;/ ]\s*(?:(?:lon|lng|longitude)\s*[:=]?\s*)?[-+]?\d{1,3}\.\d{3,}\s*°?\s*[EWew]?"
    r"|\b(?:lat|lon|lng|latitude|longitude)\w*\s*[:=]?\s*[-+]?\d{1,3}\.\d+",
    re.IGNORECASE,
)
_EMAIL: Final = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2066-\u2069]+")


def redact(text: str) -> str:
    """`text` without VINs (ISO 3779), positions and mail addresses, on one line, at most `MAX_TEXT` characters."""
    line = _UNPRINTABLE.sub(" ", text)
    line = _POSITION.sub("<position>", _VIN.sub("<vin>", _EMAIL.sub("<mail>", line)))
    return line if len(line) <= MAX_TEXT else f"{line[: MAX_TEXT - 1]}…"
