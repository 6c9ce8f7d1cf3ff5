"""CSV as python-can writes it: `timestamp,arbitration_id,extended,remote,error,dlc,data`, data in base64."""

import re
from base64 import b64decode, b64encode
from typing import Final

import polars as pl

from argus_assets.recordings.formats.text.lines import MAX_TIME_NS, count, groups, hex_number, ns
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


def _prepare(_: str) -> TextFormat:
    return TextFormat(r"^[^t\s]", _parse)


CSV: Final = TextDecoder("csv", re.escape(_HEAD) + rb"|[^\n]*\n" + _FIRST, _prepare)
