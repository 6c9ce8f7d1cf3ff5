"""ASC, the text log of Vector's tools: CAN and CAN FD frames, error frames, dates from which times count."""

import re
from datetime import UTC, datetime
from typing import Final

import polars as pl

from argus_assets.recordings.can_errors import ERROR_BYTES, of_vector
from argus_assets.recordings.columns import FD_LENGTHS
from argus_assets.recordings.formats.text.lines import (
    COLUMNS,
    MAX_HEAD_LINE,
    bounded_ns,
    count,
    groups,
    hex_bytes,
    hex_number,
    ns,
)
from argus_assets.recordings.formats.text.reader import TextDecoder, TextFormat

_CLASSIC: Final = (
    r"^\s*(?P<s>\d+)\.(?P<f>\d+)\s+(?P<channel>\d+)\s+(?P<id>[0-9A-Fa-f]+)(?P<x>[xX])?\s+(?P<dir>[RrTt][Xx]\S*)\s+"
    r"[^\s\w]?(?P<kind>[drDR])(?:\s+(?P<dlc>[0-9A-Fa-f]{1,2})\b)?(?P<rest>.*)$"
)
_FD: Final = (
    r"^\s*(?P<s>\d+)\.(?P<f>\d+)\s+CANFD\s+(?P<channel>\d+)\s+(?P<dir>[RrTt][Xx]\S*)\s+(?P<id>[0-9A-Fa-f]+)(?P<x>[xX])?\s+"
    r"(?:[^\s\d]\S*\s+)?(?P<brs>[01])\s+(?P<esi>[01])\s+(?P<dlc>[0-9A-Fa-f])\s+(?P<length>\d+)(?P<rest>.*)$"
)
_ERROR: Final = (
    r"(?i)^\s*(?P<s>\d+)\.(?P<f>\d+)\s+(?P<fd>CANFD\s+)?(?P<channel>\d+)\s+(?:(?P<dir>Rx|Tx)\s+)?errorframe\b"
    r"(?:\s+ECC:\s*(?P<ecc>[01]{8})\b|\s+Flags\s*=\s*0x(?P<flags>[0-9A-F]{1,8})\b(?:.*?\bCode\s*=\s*0x(?P<code>[0-9A-F]{1,2})\b)?)?"
)
_SHOULD_BE: Final = r"(?i)^\s*\d+\.\d+\s+(?:CANFD\s+\d+\s+\S|\d+\s+(?:[0-9A-F]+x?\s+[RT]x|errorframe))"
_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        ("Jan", "Feb", "Mar Mär Mrz", "Apr", "May Mai", "Jun", "Jul", "Aug", "Sep", "Oct Okt", "Nov", "Dec Dez"), 1
    )
    for name in names.split()
}

_DATE: Final = re.compile(
    r"(\w{3,4})\.? +([0-9]{1,2}) +([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:\.([0-9]{1,9})[0-9]*)?(?: +([ap]m))? +([0-9]{4})",
    re.IGNORECASE,
)
"""The number of digits is bounded: Python refuses to convert long ones."""


def date_of(line: str) -> int | None:
    """Parse a `date` or `Begin Triggerblock` line to nanoseconds since 1970; it has no zone and counts as UTC."""
    match = _DATE.search(line[:MAX_HEAD_LINE])
    if match is None or match[1].capitalize() not in _MONTHS:
        return None
    hour = int(match[3])
    if match[7]:
        hour = hour % 12 + (12 if match[7].lower() == "pm" else 0)
    try:
        at = datetime(
            int(match[8]), _MONTHS[match[1].capitalize()], int(match[2]), hour, int(match[4]), int(match[5]), tzinfo=UTC
        )
    except (ValueError, OverflowError):
        return None
    return bounded_ns(int(at.timestamp()) * 10**9 + int((match[6] or "").ljust(9, "0")))


def _parse(lines: pl.DataFrame, *, base: int) -> pl.DataFrame:
    fd = pl.col("text").str.contains(r"^\s*[\d.]+\s+CANFD")
    error = pl.col("text").str.contains(r"(?i)\berrorframe\b")
    parts = [
        _data(groups(lines.filter(~fd & ~error), _CLASSIC), base=base, is_fd=False),
        _data(groups(lines.filter(fd & ~error), _FD), base=base, is_fd=True),
        _errors(groups(lines.filter(error), _ERROR)),
    ]
    return pl.concat([part.cast(COLUMNS) for part in parts]).sort("line")  # type: ignore[arg-type] # dtypes by name


def _errors(rows: pl.DataFrame) -> pl.DataFrame:
    # `ECC` holds the SJA1000's register in binary digits, `Code` the one that `Flags` names.
    registers = rows.select(
        flags=pl.when(pl.col("ecc").is_null() & pl.col("code").is_not_null())
        .then(hex_number("flags"))
        .otherwise(pl.col("ecc").is_not_null().cast(pl.Int64)),
        code=pl.coalesce(pl.col("ecc").str.to_integer(base=2, strict=False, dtype=pl.Int64), hex_number("code")),
    ).fill_null(0)
    classes, details = of_vector(registers["flags"].to_numpy(), registers["code"].cast(pl.UInt8).to_numpy())
    known = pl.col("id") != 0
    return rows.with_columns(
        id=pl.Series(classes, dtype=pl.Int64), details=pl.Series(list(map(bytes, details)), dtype=pl.Binary)
    ).select(
        "line",
        timestamp_ns=ns("s", "f"),
        channel=pl.lit("CAN") + pl.col("channel"),
        id="id",
        extended=pl.lit(value=False),
        fd=pl.col("fd").is_not_null(),
        remote=pl.lit(value=False),
        error=pl.lit(value=True),
        rx=pl.col("dir").fill_null("Rx").str.to_lowercase() == "rx",
        length=pl.when(known).then(ERROR_BYTES).otherwise(0),
        payload=pl.when(known).then("details").otherwise(pl.lit(b"")),
    )


def _data(rows: pl.DataFrame, *, base: int, is_fd: bool) -> pl.DataFrame:
    def number(column: str) -> pl.Expr:
        return pl.col(column).str.to_integer(base=base, strict=False, dtype=pl.Int64)

    code = number("dlc").fill_null(0)
    if is_fd:
        length = count("length")
        remote = (length == 0) & (code > 0)
        stated = code.replace_strict(dict(enumerate(FD_LENGTHS.tolist())), default=0, return_dtype=pl.Int64)
    else:
        remote = pl.col("kind").str.to_lowercase() == "r"
        length = pl.when(remote).then(0).otherwise(pl.min_horizontal(code, 8))
        stated = pl.min_horizontal(code, 8)
    tokens = pl.col("rest").str.strip_chars()
    if base == 16:
        # Bytes are pairs of digits with one space between them; what follows them is something else.
        payload = hex_bytes(
            tokens.str.slice(0, pl.max_horizontal(length * 3 - 1, 0)).str.replace_all(" ", "", literal=True)
        )
    else:
        pieces = tokens.str.split(" ").list.eval(pl.element().filter(pl.element() != "")).list.head(length)
        digits = pieces.list.eval(
            pl.lit("0123456789abcdef").str.slice(pl.element().cast(pl.Int64, strict=False) // 16, 1)
            + pl.lit("0123456789abcdef").str.slice(pl.element().cast(pl.Int64, strict=False) % 16, 1)
        )
        payload = hex_bytes(digits.list.join(""))
    return (
        rows.with_columns(payload=payload, wanted=length, remote=remote, stated=stated)
        .with_columns(pl.when(pl.col("payload").bin.size() == pl.col("wanted")).then("payload").alias("payload"))
        .select(
            "line",
            timestamp_ns=ns("s", "f"),
            channel=pl.lit("CAN") + pl.col("channel"),
            id=number("id"),
            extended=pl.col("x").is_not_null(),
            fd=pl.lit(is_fd),
            remote=pl.col("remote"),
            error=pl.lit(value=False),
            rx=pl.col("dir").str.to_lowercase().str.starts_with("rx"),
            length=pl.when(pl.col("remote")).then("stated").otherwise(pl.col("wanted")),
            payload="payload",
        )
    )


def _prepare(head: str) -> TextFormat:
    lines = head.splitlines()
    base = next((m[1] for line in lines if (m := re.match(r"\s*base\s+(hex|dec)", line, re.IGNORECASE))), "hex")
    relative = any(re.match(r"\s*base\s+\w+\s+timestamps\s+relative", line, re.IGNORECASE) for line in lines)
    date = next((line for line in lines if line.lower().startswith("date ")), "")
    number = 16 if base.lower() == "hex" else 10
    start_ns = date_of(date)
    return TextFormat(
        _SHOULD_BE,
        lambda rows: _parse(rows, base=number),
        dated="Begin Triggerblock",
        date_of=date_of,
        relative=relative,
        start_ns=start_ns or 0,
        bad_start=date[:MAX_HEAD_LINE] if start_ns is None else "",
    )


_HEAD: Final = rb"date \w+ \w+ +\d|base\s+(?:hex|dec)\s+timestamps|begin triggerblock"
"""Each is enough: a head is damaged as easily as a frame. Comments may precede it."""
ASC: Final = TextDecoder("asc", rb"(?i)(?:[^\n]*\n){0,3}\s*(?:" + _HEAD + rb")", _prepare)
