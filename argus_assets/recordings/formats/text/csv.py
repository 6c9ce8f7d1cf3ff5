"""CSV as python-can writes it: `timestamp,arbitration_id,extended,remote,error,dlc,data`, data in base64."""

import re
from base64 import b64decode, b64encode
from typing import Final

import numpy as np
import polars as pl

from argus_assets.recordings.columns import Flags
from argus_assets.recordings.formats.text.lines import ID_MASK, MAX_TIME_NS, count, groups, hex_number, ns
from argus_assets.recordings.formats.text.matrix import Lines, Taken, rows_of
from argus_assets.recordings.formats.text.reader import TextDecoder, TextFormat

_HEAD: Final = b"timestamp,arbitration_id,extended,remote,error,dlc,data"
_FIRST: Final = rb"\d+(?:\.\d+)?(?:e[+-]?\d+)?,0x[0-9A-Fa-f]+,[01],[01],[01],\d+,"
_LINE: Final = (
    r"^(?P<s>\d+)(?:\.(?P<f>\d+))?(?:[eE](?P<power>[+-]?\d{1,2}))?,0x(?P<id>[0-9A-Fa-f]+),(?P<extended>[^,]),(?P<remote>[^,]),(?P<error>[^,]),"
    r"(?P<dlc>\d+),(?P<data>[A-Za-z0-9+/=]*)\s*$"
)


def _parse(lines: pl.DataFrame) -> pl.DataFrame:
    rows = groups(lines, _LINE).with_columns(pl.col("data").map_batches(_whole_base64))
    length = count("dlc")
    payload = pl.col("data").str.decode("base64", strict=False)
    return rows.select(
        "line",
        timestamp_ns=pl.when(pl.col("power").is_null()).then(ns("s", "f")).otherwise(_with_power()),
        channel=pl.lit("CAN"),
        id=hex_number("id"),
        extended=pl.col("extended") == "1",
        fd=length > 8,
        remote=pl.col("remote") == "1",
        error=pl.col("error") == "1",
        rx=pl.lit(value=True),
        length=length,
        payload=payload,
    )


def _with_power() -> pl.Expr:
    """Return nanoseconds of a time with an exponent, as Python writes small ones: `1e-05`."""
    number = pl.concat_str(
        pl.col("s"), pl.lit("."), pl.col("f").fill_null("0"), pl.lit("e"), pl.col("power").fill_null("0")
    )
    nanoseconds = number.cast(pl.Float64, strict=False) * 1e9
    return pl.when(nanoseconds < MAX_TIME_NS / 10).then(nanoseconds).round().cast(pl.Int64, strict=False)


def _whole_base64(texts: pl.Series) -> pl.Series:
    """Clear the bits of a last digit that belong to no byte, where damage set them: the bytes are whole."""
    bad = texts.str.decode("base64", strict=False).is_null() & texts.is_not_null()
    if not bad.any():
        return texts

    def repaired(text: str) -> str:
        try:
            return b64encode(b64decode(text)).decode()
        except ValueError:
            return text

    at = bad.arg_true()
    return texts.clone().scatter(at, pl.Series([repaired(text) for text in texts[at]], dtype=pl.String))


def _fast(lines: Lines) -> tuple[Flags, pl.DataFrame]:
    """Read data frames whose time has a point and no exponent, and whose bytes are as many as the DLC says."""
    tokens = lines.tokens(",")
    rows = np.flatnonzero((tokens.count == _FIELDS) | (tokens.count == _FIELDS - 1))
    taken = Taken(lines, rows)
    taken.must(lines.starts[rows] == tokens.start(rows, 0))
    time = taken.time_ns(tokens.start(rows, 0), tokens.end(rows, 0))
    number_at, number_end = tokens.start(rows, 1), tokens.end(rows, 1)
    taken.must(taken.is_word(number_at, number_at + 2, b"0x"))
    number = taken.number(number_at + 2, number_end, base=16, max_digits=8)
    extended = taken.is_word(tokens.start(rows, 2), tokens.end(rows, 2), b"1")
    taken.must(extended | taken.is_word(tokens.start(rows, 2), tokens.end(rows, 2), b"0"))
    taken.must(number <= np.where(extended, ID_MASK, 0x7FF))
    for flag in (3, 4):
        taken.must(taken.is_word(tokens.start(rows, flag), tokens.end(rows, flag), b"0"))
    length = taken.number(tokens.start(rows, 5), tokens.end(rows, 5), base=10, max_digits=2)
    # Six commas, one after each field but the last, which is empty where there are no data.
    ends = lines.starts[rows] + lines.sizes[rows]
    data_at = tokens.end(rows, 5) + 1
    last = np.where(
        tokens.count[rows] == _FIELDS, tokens.ends[np.minimum(tokens.first[rows] + 6, len(tokens.ends) - 1)], data_at
    )
    ends = ends - (taken.byte(ends - 1) == ord("\r"))
    taken.must((taken.byte(data_at - 1) == ord(",")) & (last == ends))
    gaps = sum((tokens.start(rows, n + 1) - tokens.end(rows, n) for n in range(5)), np.zeros(len(rows), np.int64))
    taken.must(gaps == 5)
    payload, found = taken.base64(np.minimum(data_at, last), last, max_bytes=64)
    taken.must(found == length)
    return rows_of(
        taken,
        columns={
            "timestamp_ns": time, "channel": pl.repeat("CAN", len(rows), eager=True), "id": number, "extended": extended,
            "fd": length > 8, "remote": False, "error": False, "rx": True, "length": length, "payload": payload,
            "raw_dlc": np.full(len(rows), -1, np.int64),
        },
    )  # fmt: skip


_FIELDS: Final = 7


def _prepare(_: str) -> TextFormat:
    return TextFormat(r"^[^t\s]", _parse, fast=_fast)


CSV: Final = TextDecoder("csv", re.escape(_HEAD) + rb"|[^\n]*\n" + _FIRST, _prepare)
