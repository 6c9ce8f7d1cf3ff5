"""Text logs of further loggers and tools. Each is a pattern of its lines, and what its columns mean.

| format | written by | time |
|---|---|---|
| `busmaster` | BUSMASTER `.log` | time of the day, 0.1 ms, behind the date of its head |
| `canhacker` | CANHacker, CANable `.trc` | seconds from the start |
| `cl2000` | CSS CL1000 and CL2000 `.csv` | date and time, or seconds |
| `gvret` | SavvyCAN's GVRET `.csv` | microseconds |
| `kvaser` | Kvaser memorators and CanKing `.csv` | seconds from the start |
| `cabana` | openpilot's cabana `.csv` | seconds from the start |
"""

import re
from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl

from argus_assets.recordings.columns import Flags
from argus_assets.recordings.formats.text.dates import date_of
from argus_assets.recordings.formats.text.lines import (
    ID_MASK,
    MAX_HEAD_LINE,
    MAX_TIME_NS,
    count,
    groups,
    hex_bytes,
    hex_number,
    ns,
)
from argus_assets.recordings.formats.text.matrix import Lines, Taken, rows_of
from argus_assets.recordings.formats.text.reader import TextDecoder, TextFormat

_NO_START: Final = (
    "a date from which times count",
    "Times count from 1970-01-01, and are only good relative to each other.",
)
_DAY_NS: Final = 86_400 * 10**9


def _rows(
    rows: pl.DataFrame,
    *,
    time: pl.Expr,
    channel: pl.Expr,
    number: pl.Expr,
    extended: pl.Expr,
    length: pl.Expr,
    digits: pl.Expr,
    remote: pl.Expr | None = None,
    error: pl.Expr | None = None,
    fd: pl.Expr | None = None,
    rx: pl.Expr | None = None,
) -> pl.DataFrame:
    """Return rows of `lines.COLUMNS`; one whose bytes are not as many as stated has no payload."""
    no, yes = pl.lit(value=False), pl.lit(value=True)
    is_remote = no if remote is None else remote
    payload = hex_bytes(pl.when(is_remote).then(pl.lit("")).otherwise(digits))
    made = rows.select(
        "line",
        timestamp_ns=time,
        channel=channel,
        id=number,
        extended=extended,
        fd=(length > 8) if fd is None else fd,
        remote=is_remote,
        error=no if error is None else error,
        rx=yes if rx is None else rx,
        length=length,
        payload=payload,
    )
    whole = pl.col("remote") | (pl.col("payload").bin.size() == pl.col("length"))
    return made.with_columns(pl.when(whole).then("payload").alias("payload"))


def _plain(digits: pl.Expr) -> pl.Expr:
    return digits.str.replace_all(r"[\s,;]+", "")


# ------------------------------------------------------------------------------------------------- BUSMASTER

_BUSMASTER: Final = (
    r"^\s*(?P<h>\d{1,2}):(?P<m>\d{2}):(?P<sec>\d{2}):(?P<f>\d{1,6})\s+(?P<dir>[RT]x)\s+(?P<bus>\d+)\s+(?:0x)?(?P<id>[0-9A-Fa-f]+)\s+"
    r"(?P<type>[a-z]{1,3})\s+(?P<len>\d+)\s*(?P<data>[0-9A-Fa-f\s]*)$"
)


def _busmaster(head: str) -> TextFormat:
    start = next((m[1] for m in re.finditer(r"(?m)^\*\*\*START DATE AND TIME ([^*\n]*)", head)), "")[:MAX_HEAD_LINE]
    start_ns = date_of(start.strip())
    base = 10 if re.search(r"(?m)^\*\*\*DEC\*\*\*", head) else 16
    midnight = (start_ns or 0) - (start_ns or 0) % _DAY_NS
    begins = (start_ns or 0) % _DAY_NS

    def parse(lines: pl.DataFrame) -> pl.DataFrame:
        rows = groups(lines, _BUSMASTER)
        whole = [pl.col(name).cast(pl.Int64, strict=False) for name in ("h", "m", "sec")]
        seconds = whole[0] * 3600 + whole[1] * 60 + whole[2]
        of_day = seconds * 10**9 + ns("zero", "f")
        # After midnight the time of the day is smaller than that of the start.
        time = of_day + pl.when(of_day < begins - _DAY_NS // 2).then(_DAY_NS).otherwise(0)
        number = pl.col("id").str.to_integer(base=base, strict=False, dtype=pl.Int64)
        return _rows(
            rows.with_columns(zero=pl.lit("0")),
            time=time,
            channel=pl.lit("CAN") + pl.col("bus"),
            number=number,
            extended=pl.col("type").str.contains("x"),
            length=count("len"),
            digits=_plain(pl.col("data")),
            remote=pl.col("type").str.contains("r"),
            rx=pl.col("dir") == "Rx",
        )

    def fast(lines: Lines) -> tuple[Flags, pl.DataFrame]:
        return _busmaster_fast(lines, begins=begins)

    return TextFormat(
        r"^\s*\d{1,2}:\d{2}:\d{2}:\d+\s",
        parse,
        start_ns=midnight,
        bad_start=start if start and start_ns is None else "",
        assumed=() if start else (_NO_START,),
        fast=fast if base == 16 else None,
        unread=(("LIN or J1939 protocol sessions", r"^\*\*\*PROTOCOL (?:LIN|J1939)"),),
    )


def _busmaster_fast(lines: Lines, *, begins: int) -> tuple[Flags, pl.DataFrame]:
    """Read data frames such as `17:55:04:5950 Rx 1 0x123 s 2 01 02`."""
    tokens = lines.tokens()
    rows = np.flatnonzero(tokens.count >= _BUSMASTER_TOKENS)
    taken = Taken(lines, rows)
    start, end = tokens.start(rows, 0), tokens.end(rows, 0)
    colon = start + np.where(taken.byte(start + 1) == ord(":"), 1, 2)
    taken.must(end - colon >= 8)
    taken.must(
        (taken.byte(colon) == ord(":")) & (taken.byte(colon + 3) == ord(":")) & (taken.byte(colon + 6) == ord(":"))
    )
    hours = taken.number(start, colon, base=10, max_digits=2)
    minutes = taken.number(colon + 1, colon + 3, base=10, max_digits=2)
    seconds = taken.number(colon + 4, colon + 6, base=10, max_digits=2)
    part = taken.number(colon + 7, end, base=10, max_digits=6)
    decimals = np.clip(end - colon - 7, 1, 6)
    of_day = (hours * 3600 + minutes * 60 + seconds) * 10**9 + part * 10 ** (9 - decimals)
    sent = taken.is_word(tokens.start(rows, 1), tokens.end(rows, 1), b"Tx")
    taken.must(sent | taken.is_word(tokens.start(rows, 1), tokens.end(rows, 1), b"Rx"))
    channel = taken.text(tokens.start(rows, 2), tokens.end(rows, 2), max_bytes=3)
    taken.number(tokens.start(rows, 2), tokens.end(rows, 2), base=10, max_digits=3)
    number_at, number_end = tokens.start(rows, 3), tokens.end(rows, 3)
    number_at = number_at + 2 * taken.is_word(number_at, number_at + 2, b"0x")
    number = taken.number(number_at, number_end, base=16, max_digits=8)
    extended = taken.is_word(tokens.start(rows, 4), tokens.end(rows, 4), b"x")
    taken.must(extended | taken.is_word(tokens.start(rows, 4), tokens.end(rows, 4), b"s"))
    taken.must(number <= np.where(extended, ID_MASK, 0x7FF))
    length = taken.number(tokens.start(rows, 5), tokens.end(rows, 5), base=10, max_digits=2)
    taken.must((length <= 8) & (tokens.count[rows] == _BUSMASTER_TOKENS + length))
    data_at = tokens.starts[np.minimum(tokens.first[rows] + _BUSMASTER_TOKENS, len(tokens.starts) - 1)]
    last = tokens.ends[np.minimum(tokens.first[rows] + _BUSMASTER_TOKENS + length - 1, len(tokens.ends) - 1)]
    taken.must((length == 0) | (last == data_at + 3 * length - 1))
    payload = taken.payload(data_at, length, step=3, max_bytes=8)
    return rows_of(
        taken,
        columns={
            "timestamp_ns": of_day + np.where(of_day < begins - _DAY_NS // 2, _DAY_NS, 0), "channel": "CAN" + channel,
            "id": number, "extended": extended, "fd": False, "remote": False, "error": False, "rx": ~sent,
            "length": length, "payload": payload, "raw_dlc": np.full(len(rows), -1, np.int64),
        },
    )  # fmt: skip


_BUSMASTER_TOKENS: Final = 6
"""Before the data bytes: time, direction, channel, identifier, type, DLC."""

BUSMASTER: Final = TextDecoder("busmaster", rb"\*\*\*BUSMASTER", _busmaster)

# ------------------------------------------------------------------------------------------------- CANHacker

_CANHACKER: Final = r"^\s*(?P<s>\d+)[.,](?P<f>\d+)\s+(?P<id>[0-9A-Fa-f]{1,8})\s+(?P<len>\d)\s*(?P<data>(?:[0-9A-Fa-f]{2}(?:\s|$))*)(?P<rest>.*)$"


def _canhacker(_: str) -> TextFormat:
    def parse(lines: pl.DataFrame) -> pl.DataFrame:
        rows = groups(lines, _CANHACKER)
        length = count("len")
        return _rows(
            rows,
            time=ns("s", "f"),
            channel=pl.lit("CAN"),
            number=hex_number("id"),
            extended=pl.col("id").str.len_bytes() > 3,
            length=length,
            digits=_plain(pl.col("data")).str.slice(0, length * 2),
            remote=pl.col("rest").str.contains("(?i)rtr"),
        )

    return TextFormat(r"^\s*\d+[.,]\d+\s", parse, assumed=(_NO_START,))


CANHACKER: Final = TextDecoder("canhacker", rb"(?i)\s*time\s+id\s+dlc\s+data\b", _canhacker)

# ------------------------------------------------------------------------------------------------- CL1000, CL2000


def _cl2000(head: str) -> TextFormat:
    separator = next((m[1] for m in re.finditer(r'(?m)^# Value separator: "(.)"', head)), ";")
    names = next((line for line in head.splitlines() if line.startswith("Timestamp")), "").split(separator)
    if not {"Timestamp", "ID"} <= {name.strip() for name in names}:
        # The line of names is lost: what a CL2000 writes unless it is told otherwise.
        names = ["Timestamp", "Type", "ID", "Data"]
    number = r"(?:0x)?(?P<id>[0-9A-Fa-f]+)"
    columns = {"Timestamp": r"(?P<time>[^%s]*)", "Type": r"(?P<type>\d+)", "ID": number, "Length": r"(?P<len>\d+)",
               "Data": r"(?P<data>[0-9A-Fa-f]*)"}  # fmt: skip
    sep = re.escape(separator)
    parts = [columns.get(name.strip(), r"[^%s]*").replace("%s", sep) for name in names]
    line = "^" + sep.join(parts) + r"\s*$"
    dated = re.compile(r"\d{8}T?\d{6,9}")
    first = next((text.split(separator)[0] for text in head.splitlines() if text[:1].isdigit()), "")
    is_dated = dated.fullmatch(re.sub(r"[^\dT]", "", first)) is not None

    def parse(lines: pl.DataFrame) -> pl.DataFrame:
        rows = groups(lines, line)
        kind = pl.col("type") if "type" in rows.columns else pl.lit("0")
        if is_dated:
            digits = pl.col("time").str.replace_all(r"\D", "").str.pad_end(17, "0").str.slice(0, 17)
            whole = (
                digits.str.slice(0, 14).str.to_datetime("%Y%m%d%H%M%S", strict=False, time_unit="ns").dt.timestamp("ns")
            )
            part = digits.str.slice(14, 3).cast(pl.Int64, strict=False) * 10**6
            time = pl.when(whole.abs() < MAX_TIME_NS).then(whole + part)
        else:
            seconds = pl.col("time").str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
            time = pl.when(seconds.abs() < MAX_TIME_NS / 1e10).then(seconds * 1e9).round().cast(pl.Int64, strict=False)
        data = pl.col("data") if "data" in rows.columns else pl.lit("")
        return _rows(
            rows,
            time=time,
            channel=pl.lit("CAN"),
            number=hex_number("id"),
            extended=kind.is_in(["1", "9"]),
            length=(data.str.len_bytes() // 2).cast(pl.Int64),
            digits=data,
            # Types 8 and 9 are what the logger sent itself.
            rx=~kind.is_in(["8", "9"]),
        )

    return TextFormat(r"^\d", parse, assumed=(("the time zone", "Times count as UTC."),) if is_dated else (_NO_START,))


CL2000: Final = TextDecoder("cl2000", rb"# Logger type: |# Logger ID: ", _cl2000)

# ------------------------------------------------------------------------------------------------- comma-separated


def _csv(
    name: str, header: bytes, line: str, parse: Callable[[pl.DataFrame], pl.DataFrame], *, should_be: str = r"^\s*\d"
) -> TextDecoder:
    def prepare(head: str) -> TextFormat:
        del head
        return TextFormat(should_be, lambda lines: parse(groups(lines, line)), assumed=(_NO_START,))

    return TextDecoder(name, header, prepare)


def _gvret(rows: pl.DataFrame) -> pl.DataFrame:
    return _rows(
        rows,
        time=ns("s", "f", 3),
        channel=pl.lit("CAN") + pl.col("bus"),
        number=hex_number("id"),
        extended=pl.col("ext").str.to_lowercase() == "true",
        length=count("len"),
        digits=_plain(pl.col("data")).str.slice(0, count("len") * 2),
        rx=pl.col("dir").str.to_lowercase() != "tx",
    )


GVRET: Final = _csv(
    "gvret",
    rb"(?i)time stamp,id,extended,(?:dir,)?bus,len",
    r"(?i)^(?P<s>\d+)(?P<f>\d{0})(?:\.\d+)?,(?P<id>[0-9A-F]+),(?P<ext>true|false|[01]),(?:(?P<dir>[a-z]*),)?(?P<bus>\d+),(?P<len>\d+),?"
    r"(?P<data>[0-9A-F,\s]*)$",
    _gvret,
)


def _kvaser(rows: pl.DataFrame) -> pl.DataFrame:
    return _rows(
        rows,
        time=ns("s", "f"),
        channel=pl.lit("CAN") + pl.col("bus"),
        number=hex_number("id"),
        extended=pl.col("flags").str.contains("(?i)x") | (hex_number("id") > 0x7FF),
        length=count("len"),
        digits=pl.col("data")
        .str.split(",")
        .list.eval(pl.element().str.strip_chars().str.pad_start(2, "0"))
        .list.head(count("len"))
        .list.join(""),
        remote=pl.col("flags").str.contains("(?i)r"),
        error=pl.col("flags").str.contains("(?i)e"),
        rx=~pl.col("flags").str.contains("(?i)t"),
    )


KVASER: Final = _csv(
    "kvaser",
    rb"(?i)(?:[^\n]*\n){0,20}counter,time,(?:chn|channel),identifier,flags,dlc",
    r"^(?P<n>\d+),(?P<s>\d+)(?:\.(?P<f>\d+))?,(?P<bus>\d+),(?:0x)?(?P<id>[0-9A-Fa-f]+),(?P<flags>[^,]*),(?P<len>\d+),?(?P<data>[0-9A-Fa-f,\s]*)$",
    _kvaser,
)


def _cabana(rows: pl.DataFrame) -> pl.DataFrame:
    digits = pl.col("data").str.strip_prefix("0x")
    return _rows(
        rows,
        time=ns("s", "f"),
        channel=pl.lit("CAN") + pl.col("bus"),
        number=pl.when(pl.col("id").str.starts_with("0x"))
        .then(pl.col("id").str.strip_prefix("0x").str.to_integer(base=16, strict=False, dtype=pl.Int64))
        .otherwise(pl.col("id").cast(pl.Int64, strict=False)),
        extended=pl.when(pl.col("id").str.starts_with("0x"))
        .then(pl.col("id").str.strip_prefix("0x").str.to_integer(base=16, strict=False, dtype=pl.Int64) > 0x7FF)
        .otherwise(pl.col("id").cast(pl.Int64, strict=False) > 0x7FF),
        length=(digits.str.len_bytes() // 2).cast(pl.Int64),
        digits=digits,
    )


CABANA: Final = _csv(
    "cabana",
    rb"(?i)time,addr(?:ess)?,bus,data",
    r"^(?P<s>\d+)(?:\.(?P<f>\d+))?,(?P<id>0x[0-9A-Fa-f]+|\d+),(?P<bus>\d+),(?P<data>(?:0x)?[0-9A-Fa-f]*)\s*$",
    _cabana,
)

LOGGERS: Final = (BUSMASTER, CANHACKER, CL2000, GVRET, KVASER, CABANA)
