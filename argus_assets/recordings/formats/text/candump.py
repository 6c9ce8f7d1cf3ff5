"""candump, the log of Linux' can-utils: `(1795000000.000000) can0 123#0102 R`."""

from typing import Final

import polars as pl

from argus_assets.recordings.formats.text.lines import ID_MASK, groups, hex_bytes, hex_number, ns
from argus_assets.recordings.formats.text.reader import TextDecoder, TextFormat

_ERROR_FLAG: Final = 0x20000000
"""In an identifier: an error frame (linux/can.h)."""
_LINE: Final = (
    r"^\s*(?:\d+\s+)?[^\s\d]?(?P<s>\d+)\.(?P<f>\d+)\S?\s+(?P<channel>\S+)\s+(?P<id>[0-9A-Fa-f]{3,8})#(?P<fd>#[0-9A-Fa-f])?"
    r"(?P<data>[0-9A-Fa-f.]*|[Rr][0-9]?)(?:_(?P<code>[9A-Fa-f]))?(?:\s+(?P<dir>[RrTt]))?\s*$"
)
"""Some put the number of the line in front. `_B` is a DLC above 8 of a classic frame, which has 8 bytes (can-utils)."""


def _parse(lines: pl.DataFrame) -> pl.DataFrame:
    rows = groups(lines, _LINE)
    remote = pl.col("data").str.contains("^[Rr]")
    payload = hex_bytes(
        pl.when(remote).then(pl.lit("")).otherwise(pl.col("data").str.replace_all(".", "", literal=True))
    )
    error = (pl.col("number") & _ERROR_FLAG) != 0
    return rows.with_columns(number=hex_number("id")).select(
        "line",
        timestamp_ns=ns("s", "f"),
        channel=pl.col("channel"),
        id=pl.col("number") & ID_MASK,
        extended=(pl.col("id").str.len_bytes() > 3) & (~error | ((pl.col("number") & 0x1FFFF800) != 0)),
        fd=pl.col("fd").is_not_null(),
        remote=remote,
        error=error,
        rx=pl.col("dir").str.to_lowercase().fill_null("r") == "r",
        length=pl.when(remote)
        .then(pl.col("data").str.slice(1).cast(pl.Int64, strict=False).fill_null(0))
        .otherwise(payload.bin.size().cast(pl.Int64)),
        payload=payload,
        raw_dlc=hex_number("code").fill_null(-1),
    )


def _prepare(_: str) -> TextFormat:
    xl = r"^\s*\(?[\d.]+\)?\s+\S+\s+[0-9A-Fa-f]{3}#(?:[0-9A-Fa-f]{1,2}:){1,2}"
    return TextFormat(r"\S", _parse, status=r"^\s*#", unread=(("CAN XL", xl),))


CANDUMP: Final = TextDecoder(
    "candump", rb"(?:#[^\n]*\n){0,20}\s*(?:\d+\s+)?\(\d+\.\d+\)\s+\S+\s+[0-9A-Fa-f]{3,8}#", _prepare
)
