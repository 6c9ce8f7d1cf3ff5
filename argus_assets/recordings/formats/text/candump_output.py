"""What candump prints: `(1727438342.368435)  can0  0C0  [8]  03 F5 …`, with any of its options for time, direction and text.

| option | time | how it is read |
|---|---|---|
| none | none | all frames at 1970-01-01, told |
| `-t a` | seconds since 1970 | as it is |
| `-t A` | date and time | as UTC, told |
| `-t z` | from the first frame | from 1970-01-01, told |
| `-t d` | since the frame before | added up from 1970-01-01, told |

`-x` adds direction and flags, `-a` the bytes as text, which are ignored.
"""

import re
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl

from argus_assets.recordings.columns import Flags
from argus_assets.recordings.formats.text.lines import ID_MASK, MAX_TIME_NS, count, groups, hex_bytes, hex_number, ns
from argus_assets.recordings.formats.text.matrix import Lines, Taken, rows_of
from argus_assets.recordings.formats.text.reader import TextDecoder, TextFormat

_ERROR_FLAG: Final = 0x20000000
_TIME: Final = r"(?:\((?:(?P<date>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)|(?P<s>\d+))\.(?P<f>\d+)\)\s+)?"
_LINE: Final = (
    r"^\s*"
    + _TIME
    + r"(?P<channel>\S+)\s+(?:(?P<dir>[RT]X)\s+(?P<flags>[BE-](?:\s+[BE-])?)\s+)?(?P<id>[0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})"
    r"\s+(?P<open>[\[{])(?P<len>\d{1,2})[\]}]\s*(?P<data>(?:[0-9A-Fa-f]{2}(?:\s|\.|$))*)(?P<rest>.*)$"
)
_SCREEN: Final = (
    rb"\s*(?:\((?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|\d+)\.\d+\)\s+)?[A-Za-z][\w.:-]*\s+(?:[RT]X\s+[BE-](?:\s+[BE-])?\s+)?"
    rb"(?:[0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})\s+[\[{]\d{1,4}[\]}]"
)
_HEAD_LINES: Final = 200
"""Lines of the head that show how times count."""

_RELATIVE: Final = "Times count from 1970-01-01, and are only good relative to each other."


def _parse(lines: pl.DataFrame) -> pl.DataFrame:
    rows = groups(lines, _LINE)
    # candump writes the length of CAN FD with two digits.
    fd = pl.col("len").str.len_bytes() == 2
    remote = pl.col("rest").str.contains("remote request", literal=True)
    length = count("len")
    digits = pl.col("data").str.replace_all(r"[\s.]+", "")
    payload = hex_bytes(pl.when(remote).then(pl.lit("")).otherwise(digits))
    number = hex_number("id")
    error = (number & _ERROR_FLAG) != 0
    date = pl.col("date").str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="ns").dt.timestamp("ns")
    fraction = ns("zero", "f")
    return (
        rows.with_columns(
            zero=pl.lit("0"), number=number, payload=payload, fd=fd, remote=remote, error=error, wanted=length
        )
        .with_columns(
            pl.when(pl.col("remote") | (pl.col("payload").bin.size() == pl.col("wanted")))
            .then("payload")
            .alias("payload")
        )
        .select(
            "line",
            timestamp_ns=pl.when(pl.col("date").is_not_null() & (date.abs() < MAX_TIME_NS))
            .then(date + fraction)
            .when(pl.col("s").is_not_null())
            .then(ns("s", "f"))
            .when(pl.col("date").is_null())
            .then(0),
            channel="channel",
            id=pl.col("number") & ID_MASK,
            extended=pl.when(pl.col("error"))
            .then((pl.col("number") & 0x1FFFF800) != 0)
            .otherwise(pl.col("id").str.len_bytes() == 8),
            fd="fd",
            remote="remote",
            error="error",
            rx=pl.col("dir").fill_null("RX") == "RX",
            length="wanted",
            payload="payload",
        )
    )


def _fast(lines: Lines) -> tuple[Flags, pl.DataFrame]:
    """Read lines such as `(1.5)  can0  123   [2]  01 02`, with or without a time in seconds, and nothing behind the bytes."""
    tokens = lines.tokens()
    rows = np.flatnonzero(tokens.count >= _TOKENS)
    taken = Taken(lines, rows)
    opens, closes = tokens.start(rows, 0), tokens.end(rows, 0)
    timed = taken.byte(opens) == ord("(")
    # Of lines without a time the same is read, and not used.
    time = np.zeros(len(rows), np.int64)
    if timed.any():
        of_it = Taken(lines, rows[timed])
        of_it.must(taken.byte(closes[timed] - 1) == ord(")"))
        time[timed] = of_it.time_ns(opens[timed] + 1, closes[timed] - 1)
        taken.ok[np.flatnonzero(timed)] &= of_it.ok
    first = timed.astype(np.int64)
    taken.must(tokens.count[rows] >= _TOKENS + first)
    at = np.where(taken.ok, first, 0)
    channel = taken.text(tokens.start(rows, at), tokens.end(rows, at), max_bytes=_MAX_CHANNEL)
    number_at, number_end = tokens.start(rows, at + 1), tokens.end(rows, at + 1)
    width = number_end - number_at
    taken.must((width == 3) | (width == 8))
    number = taken.number(number_at, number_end, base=16, max_digits=8)
    taken.must(((number & _ERROR_FLAG) == 0) & ((width == 8) | (number <= 0x7FF)))
    size_at, size_end = tokens.start(rows, at + 2), tokens.end(rows, at + 2)
    taken.must((taken.byte(size_at) == ord("[")) & (taken.byte(size_end - 1) == ord("]")))
    length = taken.number(size_at + 1, size_end - 1, base=10, max_digits=2)
    fd = size_end - size_at == 4
    taken.must((length <= np.where(fd, 64, 8)) & (tokens.count[rows] == _TOKENS + first + length))
    data_at = tokens.starts[np.minimum(tokens.first[rows] + at + _TOKENS, len(tokens.starts) - 1)]
    last = tokens.ends[np.minimum(tokens.first[rows] + at + _TOKENS + length - 1, len(tokens.ends) - 1)]
    taken.must((length == 0) | (last == data_at + 3 * length - 1))
    payload = taken.payload(data_at, length, step=3, max_bytes=64)
    return rows_of(
        taken,
        columns={
            "timestamp_ns": time, "channel": channel, "id": number & ID_MASK, "extended": width == 8, "fd": fd,
            "remote": False, "error": False, "rx": True, "length": length, "payload": payload,
            "raw_dlc": np.full(len(rows), -1, np.int64),
        },
    )  # fmt: skip


_TOKENS: Final = 3
"""Before the data bytes: interface, identifier, length."""
_MAX_CHANNEL: Final = 16
"""Bytes of an interface's name; Linux has names of up to 15 (IFNAMSIZ)."""


def _prepare(head: str) -> TextFormat:
    lines = [
        m
        for line in head.splitlines()[:_HEAD_LINES]
        if (m := re.match(r"\s*(?:\(([^)]*)\)\s+)?", line)) and line.strip()
    ]
    times = [m[1] for m in lines if m[1]]
    relative = False
    assumed: tuple[tuple[str, str], ...] = ()
    if not times:
        assumed = (("the time of each frame", "All frames count as of 1970-01-01; they are in their order."),)
    elif "-" in times[0]:
        assumed = (("the time zone of the dates", "They count as UTC."),)
    elif not re.match(r"\d{9,}\.", times[0]):
        relative = _are_steps([float(t) for t in times if re.fullmatch(r"\d{1,12}\.\d{1,9}", t)])
        assumed = (("a date from which times count", _RELATIVE),)
    return TextFormat(
        r"\S",
        _parse,
        status=r"^\s*#",
        relative=relative,
        unread=(("CAN XL", r"\s\[\d{3,4}\]\s"),),
        assumed=assumed,
        fast=_fast,
    )


def _are_steps(times: list[float]) -> bool:
    """Return whether times count from the frame before: from the first one they would never fall, and rarely stay."""
    if len(times) < 3:
        return False
    falls = any(b < a for a, b in pairwise(times[1:]))
    stays = sum(b == a for a, b in pairwise(times[1:]))
    return falls or stays > len(times) / 2


CANDUMP_OUTPUT: Final = TextDecoder("candump-output", _SCREEN, _prepare)
