"""Codes of software: stated in a text, or made from the name of the component and the text's template."""

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, Self

import polars as pl
from pydantic import Field, model_validator

from argus_assets.common.config_files import Strict

CODE_PATTERN: Final = r"\b[A-Z]\d{3,5}\b"
"""A code inside a text: `E101`."""

HEX_CODE_PATTERN: Final = (
    r"(?i)\b(?:codes?|errors?|err|faults?|dtc|alarms?|failures?|status)\b(?:\s+(?:no|number|id|is|was|word|code|bits?))*[\s.:=#(\[]*"
    r"\b(0x[0-9A-F]{4,8})\b"
)
"""A hexadecimal code: `fault 0x8004`. A number that no such word announces is an address, a mask or a state."""

VARYING: Final = (
    r"0[xX][0-9A-Fa-f]+"
    r"|\b[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\b"  # UUID
    r"|\b[0-9A-Fa-f]{8,}\b"  # hash or id: no word of eight letters has only these
    r"|\d+(?:[.,:]\d+)*"
)


class CodePattern(Strict):
    """Pattern of a code inside a text.

    Attributes:
        pattern: A regular expression as Rust's crate `regex` has them: no look-around, no back reference.
        group: The group that is the code, 0 for the whole match.
    """

    pattern: str = Field(min_length=1, max_length=1000)
    group: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        try:
            groups = len(pl.select(pl.lit("").str.extract_groups(self.pattern)).to_series().struct.fields)
        except pl.exceptions.PolarsError as error:
            msg = f"pattern is no regular expression: {str(error).splitlines()[-1].removeprefix('error: ')}"
            raise ValueError(msg) from error
        if self.group > groups:
            msg = f"group is {self.group}, but the pattern has {groups}"
            raise ValueError(msg)
        return self


def template(text: pl.Expr) -> pl.Expr:
    """Mask numbers and ids of a text: texts that differ only in these report the same fault."""
    return text.str.replace_all(VARYING, "#")


def log_code(name: str, text_template: str) -> str:
    """Return `LOG_<NODE>_<8 hex of the template's SHA-256>`: the code of a log entry whose text states none."""
    return f"LOG_{_upper_name(name)}_{sha256(text_template.encode()).hexdigest()[:8]}"


def diagnostic_code(name: str) -> str:
    """Return `DIAG_<NAME>`: the code of a diagnostic status that states none."""
    return f"DIAG_{_upper_name(name)}"


def _upper_name(name: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_") or "UNNAMED"


def code_in_text(patterns: Sequence[CodePattern]) -> pl.Expr:
    """Return the code that a text states, null without one: the first pattern that matches decides."""
    message = pl.col("message")
    found = [message.str.extract(p.pattern, p.group) for p in patterns]
    # A group that matched nothing is no code.
    return pl.coalesce(
        *(pl.when(f != "").then(f) for f in found),
        message.str.extract(CODE_PATTERN, 0),
        message.str.extract(HEX_CODE_PATTERN, 1),
    )
