"""TRC, the text log of PEAK's tools, versions 1.0 to 2.1."""

import re
from decimal import Decimal
from functools import partial
from typing import Final

import numpy as np
import polars as pl

from argus_assets.recordings.columns import FD_LENGTHS, Flags
from argus_assets.recordings.formats.text.dates import date_of
from argus_assets.recordings.formats.text.lines import (
    ID_MASK,
    MAX_HEAD_LINE,
    bounded_ns,
    count,
    groups,
    hex_bytes,
    hex_number,
    ns,
)
from argus_assets.recordings.formats.text.matrix import Lines, Taken, rows_of
from argus_assets.recordings.formats.text.reader import TextDecoder, TextFormat

_EPOCH_DAYS: Final = 25_569
"""Days from 1899-12-30, which TRC counts from, to 1970-01-01."""

_LAYOUTS: Final = {
    "1.0": r"^\s*\d+\)\s+(?P<s>\d+)(?:[.,](?P<f>\d+))?\s+(?P<id>[0-9A-Fa-f]+)\s+(?P<dlc>\d+)\s*(?P<data>.*)$",
    "1.1": r"^\s*\d+\)\s+(?P<s>\d+)(?:[.,](?P<f>\d+))?\s+(?P<type>\S+)\s+(?P<id>[0-9A-Fa-f]+)\s+(?P<dlc>\d+)\s*(?P<data>.*)$",
    "1.2": r"^\s*\d+\)\s+(?P<s>\d+)(?:[.,](?P<f>\d+))?\s+(?P<bus>\d+)\s+(?P<type>\S+)\s+(?P<id>[0-9A-Fa-f]+)\s+(?P<dlc>\d+)\s*(?P<data>.*)$",
    "1.3": r"^\s*\d+\)\s+(?P<s>\d+)(?:[.,](?P<f>\d+))?\s+(?P<bus>\d+)\s+(?P<type>\S+)\s+(?P<id>[0-9A-Fa-f]+)\s+\S+\s+(?P<dlc>\d+)\s*(?P<data>.*)$",
}
_FIELDS: Final = {
    "N": r"[^\s;]\S*", "O": r"(?P<s>\d+)(?:[.,](?P<f>\d+))?", "T": r"(?P<type>\S+)", "B": r"(?P<bus>\d+)", "I": r"(?P<id>[0-9A-Fa-f]+)",
    "d": r"(?P<dir>\S+)", "R": r"\S+", "l": r"(?P<length>\d+)", "L": r"(?P<dlc>\d+)", "D": r"",
}  # fmt: skip
_DEFAULT_COLUMNS: Final = "N,O,T,I,d,l,D"
_EXPLORER_LINE: Final = r"(?m)^\s*\d+\s+[\d.,]+\s+\d+\s+[0-9A-Fa-f]+\s+[RT]x\s+(?:Data|RTR)\s"
_EXPLORER: Final = (
    r"^\s*\d+\s+(?P<s>\d+)(?:[.,](?P<f>\d+))?\s+(?P<bus>\d+)\s+(?P<id>[0-9A-Fa-f]+)\s+(?P<type>[RT]x)\s+(?:Data|RTR)\s+"
    r"(?P<dlc>\d+)\s*(?P<data>.*)$"
)
"""PCAN-Explorer's own log: no parenthesis behind the number, the bus before the identifier, `Rx Data`."""
_STATUS: Final = (
    r"^\s*\d+\)\s+[\d.,]+\s+(?:\d+\s+)?(?:Warng|Error|Event|Status|Overr)\s|^\s*\d+\)\s+[\d.,]+\s+FFFFFFFF\s"
)
"""Rows of versions 1.x about the bus, which hold no frame."""
_NO_START: Final = (
    "a start time from which times count",
    "Times count from 1970-01-01, and are only good relative to each other.",
)
_FD_TYPES: Final = ("FD", "FB", "FE", "BI")


def _prepare(head: str) -> TextFormat:
    version = next((m[1] for m in re.finditer(r"(?m)^;\$FILEVERSION=(\d+\.\d+)", head)), "")
    if not version:
        version = "1.1" if re.search(r"(?m)^\s*\d+\)\s+[\d.,]+\s+(?:Rx|Tx)\s", head) else "1.0"
    start = next((m[1] for m in re.finditer(r"(?m)^;\$STARTTIME=(.*)$", head)), "")[:MAX_HEAD_LINE].strip()
    start_ns = _start(start)
    assumed: tuple[tuple[str, str], ...] = ()
    if start_ns is None and not start:
        # Version 1.0 states it in a comment only.
        comment = next((m[0] for m in re.finditer(r"(?m)^;\s*Start time:.*$", head)), "")
        start_ns = date_of(comment)
        start = comment if start_ns is None else ""
        if start_ns is None and not comment:
            assumed = (_NO_START,)
    columns = next((m[1] for m in re.finditer(r"(?m)^;\$COLUMNS=([\w,]+)", head)), _DEFAULT_COLUMNS)
    is_explorer = re.search(_EXPLORER_LINE, head) is not None
    if is_explorer:
        layout, types, order = _EXPLORER, ["Rx", "Tx"], ""
    elif version in _LAYOUTS:
        layout, order = _LAYOUTS[version], _ORDERS[version]
        types = ["Rx", "Tx"]
    else:
        names = columns.split(",")
        if len(set(names)) < len(names) or not {"O", "I"} < set(names) or not {"l", "L"} & set(names):
            names = _DEFAULT_COLUMNS.split(",")  # the list of columns is damaged
        parts = [_FIELDS[c] for c in names if _FIELDS.get(c)]
        layout = r"^\s*" + r"\s+".join(parts) + r"\s*(?P<data>.*)$"
        types = ["DT", "RR", *_FD_TYPES]
        order = "".join(name for name in names if name in _FIELDS and name != "D")
    should_be = (
        r"^\s*\d+\)?\s" if is_explorer or version in _LAYOUTS else rf"^\s*[^\s;]\S*\s+[\d.]+\s+(?:{'|'.join(types)})\b"
    )
    return TextFormat(
        should_be,
        lambda lines: _parse(lines, layout, types),
        start_ns=start_ns or 0,
        bad_start=start if start_ns is None else "",
        status=_STATUS if version in _LAYOUTS or is_explorer else "",
        assumed=assumed,
        fast=partial(_fast, order=order) if order else None,
    )


_ORDERS: Final = {"1.0": "NOIL", "1.1": "NOTIL", "1.2": "NOBTIL", "1.3": "NOBTIRL"}
"""Fields of the versions that do not state them, by the letters of `_FIELDS`."""


def _fast(lines: Lines, *, order: str) -> tuple[Flags, pl.DataFrame]:
    """Read classic data frames whose bytes stand one space apart.

    Args:
        lines: Lines of a block.
        order: Fields before the data, by the letters of `_FIELDS`.
    """
    tokens = lines.tokens()
    rows = np.flatnonzero(tokens.count >= len(order))
    taken = Taken(lines, rows)
    at = {letter: (tokens.start(rows, n), tokens.end(rows, n)) for n, letter in enumerate(order)}
    first_version = order in _ORDERS.values()
    number_at, number_end = at["N"] if "N" in at else at["O"]
    if first_version:
        taken.must(taken.byte(number_end - 1) == ord(")"))
        taken.number(number_at, number_end - 1, base=10, max_digits=12)
    elif "N" in at:
        taken.must(taken.byte(number_at) != ord(";"))
    time = taken.time_ns(*at["O"], digits=6, points=b".,")
    sent = np.zeros(len(rows), bool)
    if "T" in at and first_version:
        sent = taken.is_word(*at["T"], b"Tx")
        taken.must(sent | taken.is_word(*at["T"], b"Rx"))
    elif "T" in at:
        taken.must(taken.is_word(*at["T"], b"DT"))
    if "d" in at:
        sent = ~taken.is_word(*at["d"], b"Rx")
    channel = pl.repeat("1", len(rows), eager=True)
    if "B" in at:
        channel = taken.text(*at["B"], max_bytes=3)
        taken.number(*at["B"], base=10, max_digits=3)
    width = at["I"][1] - at["I"][0]
    number = taken.number(*at["I"], base=16, max_digits=8)
    taken.must(number <= np.where(width > 4, ID_MASK, 0x7FF))
    length = taken.number(*at["l" if "l" in at else "L"], base=10, max_digits=2)
    taken.must((length <= 8) & (tokens.count[rows] >= len(order) + length))
    data_at = tokens.starts[np.minimum(tokens.first[rows] + len(order), len(tokens.starts) - 1)]
    taken.must((length == 0) | (taken.byte(data_at) != ord("R")))
    taken.must((length > 0) | (tokens.count[rows] == len(order)))
    payload = taken.payload(data_at, length, step=3, max_bytes=8)
    return rows_of(
        taken,
        columns={
            "timestamp_ns": time, "channel": "CAN" + channel, "id": number, "extended": width > 4, "fd": False,
            "remote": False, "error": False, "rx": ~sent, "length": length, "payload": payload,
            "raw_dlc": np.full(len(rows), -1, np.int64),
        },
    )  # fmt: skip


def _start(days: str) -> int | None:
    """Convert days, counted from `_EPOCH_DAYS` before 1970, to nanoseconds since 1970."""
    match = re.match(r"([0-9]{1,6})(?:[.,]([0-9]{0,20})[0-9]*)?(?![\w.,])", days)
    if match is None:
        return None
    return bounded_ns(int((Decimal(f"{match[1]}.{match[2] or 0}") - _EPOCH_DAYS) * 86_400 * 10**9))


def _parse(lines: pl.DataFrame, layout: str, types: list[str]) -> pl.DataFrame:
    rows = groups(lines, layout)

    def column(name: str, default: str) -> pl.Expr:
        return pl.col(name).fill_null(default) if name in rows.columns else pl.lit(default)

    kind = column("type", "Rx")
    rows = rows.filter(kind.is_in(types) & (pl.col("id") != "FFFFFFFF"))
    is_fd = kind.is_in(_FD_TYPES)
    remote = (kind == "RR") | pl.col("data").str.starts_with("RTR")
    lengths = dict(enumerate(FD_LENGTHS.tolist()))
    if "length" in rows.columns:
        stated = count("length")
    else:
        code = count("dlc")
        stated = (
            pl.when(is_fd)
            .then(code.replace_strict(lengths, default=None, return_dtype=pl.Int64))
            .otherwise(pl.min_horizontal(code, 8))
        )
    digits = pl.col("data").str.replace_all(r"\s+", "").str.slice(0, stated * 2)
    payload = hex_bytes(pl.when(remote).then(pl.lit("")).otherwise(digits))
    return (
        rows.with_columns(payload=payload, stated=stated, remote=remote, fd=is_fd, kind=kind)
        .with_columns(
            pl.when(pl.col("remote") | (pl.col("payload").bin.size() == pl.col("stated")))
            .then("payload")
            .alias("payload")
        )
        .select(
            "line",
            timestamp_ns=ns("s", "f", 6),
            channel=pl.lit("CAN") + column("bus", "1"),
            id=hex_number("id"),
            extended=pl.col("id").str.len_bytes() > 4,
            fd="fd",
            remote="remote",
            error=pl.lit(value=False),
            rx=(column("dir", "Rx") == "Rx") & (pl.col("kind") != "Tx"),
            length="stated",
            payload="payload",
        )
    )


TRC: Final = TextDecoder("trc", rb";(?:\$FILEVERSION=\d+\.\d+|\$STARTTIME=\d|#+\s|.*PCAN)", _prepare)
