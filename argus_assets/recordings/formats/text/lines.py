"""Take lines apart: the values that the text formats write in the same way, and the rows that their parsers make."""

from collections.abc import Callable
from typing import Final

import polars as pl

COLUMNS: Final = {
    "line": pl.Int64(), "timestamp_ns": pl.Int64(), "channel": pl.String(), "id": pl.Int64(), "extended": pl.Boolean(),
    "fd": pl.Boolean(), "remote": pl.Boolean(), "error": pl.Boolean(), "rx": pl.Boolean(), "length": pl.Int64(),
    "payload": pl.Binary(),
}  # fmt: skip
"""The columns that every parser returns for its lines; a row with a null `payload` could not be read."""

Parser = Callable[[pl.DataFrame], pl.DataFrame]
"""(one column `text` of lines, with their number in `line`) → rows of `COLUMNS`."""

MAX_TIME_NS: Final = 2**62
"""Of a start and of a time that counts from it: their sum has to fit into 64 bits."""
MAX_LINE_BYTES: Final = 4096
"""A line with a frame has fewer than 500; what is longer is read as none."""
MAX_HEAD_LINE: Final = 256
"""Characters of a line of the head that are read."""
ID_MASK: Final = 0x1FFFFFFF
_MAX_LENGTH: Final = 65
"""More data bytes than any frame has; what states more counts as this."""


def ns(seconds: str, fraction: str, digits: int = 9) -> pl.Expr:
    """Return integer nanoseconds of decimal digits; `digits` decimal places are a nanosecond. Null beyond `MAX_TIME_NS`."""
    digits_before = pl.col(seconds)
    whole = pl.when(digits_before == "").then(pl.lit("0")).otherwise(digits_before).cast(pl.Int64, strict=False)
    part = pl.col(fraction).fill_null("").str.slice(0, digits).str.pad_end(digits, "0").cast(pl.Int64, strict=False)
    return pl.when(whole < MAX_TIME_NS // 10**digits).then(whole * 10**digits + part)


def signed_ns(sign: str, seconds: str, fraction: str) -> pl.Expr:
    """Return integer nanoseconds of decimal digits of which the whole ones may be missing, with a sign in front."""
    time = ns(seconds, fraction)
    return pl.when(pl.col(sign).fill_null("") == "-").then(-time).otherwise(time)


def count(column: str) -> pl.Expr:
    """Return a number of data bytes of decimal digits, at most `_MAX_LENGTH`."""
    return pl.col(column).cast(pl.Int64, strict=False).clip(0, _MAX_LENGTH)


def hex_number(column: str) -> pl.Expr:
    """Return the value of hexadecimal digits, null where a text is not hexadecimal."""
    return pl.col(column).str.to_integer(base=16, strict=False, dtype=pl.Int64)


def hex_bytes(digits: pl.Expr) -> pl.Expr:
    """Return the bytes of pairs of hexadecimal digits, null where a text is not hexadecimal."""
    return digits.str.decode("hex", strict=False)


def groups(lines: pl.DataFrame, pattern: str) -> pl.DataFrame:
    """Return the named groups of a pattern as columns, for the lines that match."""
    found = lines.select("line", pl.col("text").str.extract_groups(pattern).alias("")).unnest("")
    return found.filter(pl.any_horizontal(pl.exclude("line").is_not_null()))


def bounded_ns(start_ns: int) -> int | None:
    """Return a start, `None` for one that is too far from 1970."""
    return start_ns if abs(start_ns) < MAX_TIME_NS else None
