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

import polars as pl

from argus_assets.recordings.formats.text.lines import ID_MASK, MAX_TIME_NS, count, groups, hex_bytes, hex_number, ns
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
    )


def _are_steps(times: list[float]) -> bool:
    """Return whether times count from the frame before: from the first one they would never fall, and rarely stay."""
    if len(times) < 3:
        return False
    falls = any(b < a for a, b in pairwise(times[1:]))
    stays = sum(b == a for a, b in pairwise(times[1:]))
    return falls or stays > len(times) / 2


CANDUMP_OUTPUT: Final = TextDecoder("candump-output", _SCREEN, _prepare)
