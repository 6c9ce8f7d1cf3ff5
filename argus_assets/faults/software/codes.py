"""Codes of software: stated in a text, or made from the name of the component and the text's template."""

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import polars as pl

from argus_assets.faults.config import CodePattern

CODE_PATTERN: Final = r"\b[A-Z]\d{3,5}\b|\b0x[0-9A-Fa-f]{4,8}\b"
"""A code inside a text: `E101`, `0x8004`."""

VARYING: Final = (
    r"0[xX][0-9A-Fa-f]+"
    r"|\b[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\b"  # UUID
    r"|\b[0-9A-Fa-f]{8,}\b"  # hash or id: no word of eight letters has only these
    r"|\d+(?:[.,:]\d+)*"
)


def template(text: pl.Expr) -> pl.Expr:
    """A text with its numbers and ids masked: texts that differ only in these tell of the same fault."""
    return text.str.replace_all(VARYING, "#")


def log_code(name: str, text_template: str) -> str:
    """`LOG_<NODE>_<8 hex of the template's SHA-256>`: the code of a log entry whose text states none."""
    return f"LOG_{_upper_name(name)}_{sha256(text_template.encode()).hexdigest()[:8]}"


def diagnostic_code(name: str) -> str:
    """`DIAG_<NAME>`: the code of a diagnostic status that states none."""
    return f"DIAG_{_upper_name(name)}"


def _upper_name(name: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_") or "UNNAMED"


def code_in_text(patterns: Sequence[CodePattern]) -> pl.Expr:
    """The code that a text states, null without one: the first pattern that matches decides."""
    message = pl.col("message")
    found = [message.str.extract(p.pattern, p.group) for p in patterns]
    # A group that matched nothing is no code.
    return pl.coalesce(*(pl.when(f != "").then(f) for f in found), message.str.extract(CODE_PATTERN, 0))
