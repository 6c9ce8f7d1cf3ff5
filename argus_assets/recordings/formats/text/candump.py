"""candump, the log of Linux' can-utils: `(1795000000.000000) can0 123#0102 R`."""

from typing import Final

import numpy as np
import polars as pl

from argus_assets.recordings.columns import Flags
from argus_assets.recordings.formats.text.lines import ID_MASK, groups, hex_bytes, hex_number, ns
from argus_assets.recordings.formats.text.matrix import Lines, Taken, rows_of
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


_MAX_CHANNEL: Final = 16
"""Bytes of an interface's name; Linux has names of up to 15 (IFNAMSIZ)."""


def _fast(lines: Lines) -> tuple[Flags, pl.DataFrame]:
    """Read lines such as `(1795000000.000000) can0 123#0102 R`: data frames, classic and FD."""
    tokens = lines.tokens()
    rows = np.flatnonzero((tokens.count == 3) | (tokens.count == 4))
    taken = Taken(lines, rows)
    opens, closes = tokens.start(rows, 0), tokens.end(rows, 0)
    taken.must((taken.byte(opens) == ord("(")) & (taken.byte(closes - 1) == ord(")")))
    time = taken.time_ns(opens + 1, closes - 1)
    channel = taken.text(tokens.start(rows, 1), tokens.end(rows, 1), max_bytes=_MAX_CHANNEL)
    number_at, ends = tokens.start(rows, 2), tokens.end(rows, 2)
    extended = taken.byte(number_at + 8) == ord("#")
    hashed = number_at + np.where(extended, 8, 3)
    taken.must((taken.byte(hashed) == ord("#")) & (hashed < ends))
    number = taken.number(number_at, hashed, base=16, max_digits=8)
    taken.must(((number & _ERROR_FLAG) == 0) & (extended | (number <= 0x7FF)))
    fd = taken.byte(hashed + 1) == ord("#")
    taken.number(hashed + 2, hashed + 3, base=16, max_digits=1) if fd.all() else taken.must(
        ~fd | np.isin(taken.byte(hashed + 2), np.frombuffer(b"0123456789ABCDEFabcdef", np.uint8))
    )
    data_at = hashed + np.where(fd, 3, 1)
    taken.must((ends >= data_at) & ((ends - data_at) % 2 == 0))
    length = np.maximum(ends - data_at, 0) // 2
    taken.must(fd | (length <= 8))
    payload = taken.payload(data_at, length, step=2, max_bytes=64)
    directed = tokens.count[rows] == 4
    at = np.where(directed, tokens.starts[np.minimum(tokens.first[rows] + 3, len(tokens.starts) - 1)], 0)
    sign = taken.byte(at) | 0x20
    wide = np.where(directed, tokens.ends[np.minimum(tokens.first[rows] + 3, len(tokens.ends) - 1)] - at, 1)
    taken.must(~directed | ((wide == 1) & ((sign == ord("r")) | (sign == ord("t")))))
    return rows_of(
        taken,
        columns={
            "timestamp_ns": time, "channel": channel, "id": number & ID_MASK, "extended": extended, "fd": fd,
            "remote": False, "error": False, "rx": ~directed | (sign == ord("r")), "length": length, "payload": payload,
            "raw_dlc": np.full(len(rows), -1, np.int64),
        },
    )  # fmt: skip


def _prepare(_: str) -> TextFormat:
    xl = r"^\s*\(?[\d.]+\)?\s+\S+\s+[0-9A-Fa-f]{3}#(?:[0-9A-Fa-f]{1,2}:){1,2}"
    return TextFormat(r"\S", _parse, status=r"^\s*#", unread=(("CAN XL", xl),), fast=_fast)


CANDUMP: Final = TextDecoder(
    "candump", rb"(?:#[^\n]*\n){0,20}\s*(?:\d+\s+)?\(\d+\.\d+\)\s+\S+\s+[0-9A-Fa-f]{3,8}#", _prepare
)
