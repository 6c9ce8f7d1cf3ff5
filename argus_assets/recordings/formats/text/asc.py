"""ASC, the text log of Vector's tools: CAN and CAN FD frames, error frames, dates from which times count."""

import re
from typing import Final

import numpy as np
import polars as pl

from argus_assets.recordings.can_errors import ERROR_BYTES, of_vector
from argus_assets.recordings.columns import FD_LENGTHS, I64, Flags
from argus_assets.recordings.formats.text.dates import date_of
from argus_assets.recordings.formats.text.lines import (
    COLUMNS,
    ID_MASK,
    MAX_HEAD_LINE,
    count,
    groups,
    hex_bytes,
    hex_number,
    signed_ns,
)
from argus_assets.recordings.formats.text.matrix import Lines, Taken, Tokens, rows_of
from argus_assets.recordings.formats.text.reader import TextDecoder, TextFormat

_TIME: Final = r"^\s*(?P<sign>-)?(?P<s>\d*)(?:\.(?P<f>\d+))?\s+"
_CLASSIC: Final = (
    _TIME + r"(?P<channel>\d+)\s+(?:0[xX])?(?P<id>[0-9A-Fa-f]+)(?P<x>[xX])?\s+(?P<dir>[RrTt][Xx]\S*)\s+"
    r"[^\s\w]?(?P<kind>[drDR])(?:\s+(?P<dlc>[0-9A-Fa-f]{1,2})\b)?(?P<rest>.*)$"
)
_FD: Final = (
    _TIME + r"CANFD\s+(?P<channel>\d+)\s+(?P<dir>[RrTt][Xx]\S*)\s+(?:0[xX])?(?P<id>[0-9A-Fa-f]+)(?P<x>[xX])?\s+"
    r"(?:\S*[A-Za-z_]\S*\s+)?(?P<brs>[01])\s+(?P<esi>[01])\s+(?P<dlc>[0-9A-Fa-f])\s+(?P<length>\d+)(?P<rest>.*)$"
)
_OLD_FD: Final = (
    _TIME + r"CANFD\s+(?P<channel>\d+)\s+(?:0[xX])?(?P<id>[0-9A-Fa-f]+)(?P<x>[xX])?\s+(?P<dir>[RrTt][Xx]\S*)\s+"
    r"(?P<brs>[01])\s+(?P<esi>[01])\s+(?P<kind>[drDR])\s+(?P<dlc>[0-9A-Fa-f])(?:\s+(?P<length>\d+))?(?P<rest>.*)$"
)
"""The layout before version 8.1: identifier before direction, and the kind of frame named."""
_ERROR: Final = (
    r"(?i)" + _TIME + r"(?P<fd>CANFD\s+)?(?P<channel>\d+)\s+(?:(?P<dir>Rx|Tx)\s+)?errorframe\b"
    r"(?:\s+ECC:\s*(?P<ecc>[01]{8})\b|\s+Flags\s*=\s*0x(?P<flags>[0-9A-F]{1,8})\b(?:.*?\bCode\s*=\s*0x(?P<code>[0-9A-F]{1,2})\b)?)?"
)
_STAMP: Final = r"(?i)^\s*-?(?:\d+(?:\.\d+)?|\.\d+)\s+"
_SHOULD_BE: Final = _STAMP + r"(?:CANFD\s+\d+\s+\S|\d+\s+(?:(?:0x)?[0-9A-F]+x?\s+[RT]x|errorframe))"
_UNREAD: Final = (
    ("LIN", _STAMP + r"L(?:i|in|\d+)\b"),
    ("CAN XL", _STAMP + r"CANXL\b"),
    ("FlexRay", _STAMP + r"Fr\b"),
    ("Ethernet", _STAMP + r"(?:ETH|AFDX)\b"),
    ("MOST", _STAMP + r"(?:MOST|MST|M150|M50|M25)\b"),
    ("WLAN", _STAMP + r"WLAN\b"),
    ("K-Line", _STAMP + r"KLN\b|(?i)^\s*[\d.]+\s+K-?Line\b"),
    ("A429", _STAMP + r"A429\b"),
    (
        "CAN frames under a name instead of an identifier",
        _STAMP + r"\d+\s+[A-Z_][^\s]*[G-WYZ_][^\s]*\s+[RT]x(?:Rq)?\s+[dr]\b",
    ),
)
"""What ASC can hold beside CAN: the word that follows the time of such a line. J1939TP lines repeat the CAN frames beside them."""


def _parse(lines: pl.DataFrame, *, base: int) -> pl.DataFrame:
    fd = pl.col("text").str.contains(r"^\s*-?[\d.]+\s+CANFD")
    error = pl.col("text").str.contains(r"(?i)\berrorframe\b")
    newer = groups(lines.filter(fd & ~error), _FD)
    older = groups(
        lines.filter(fd & ~error).join(newer.select("line"), on="line", how="anti", maintain_order="left"), _OLD_FD
    )
    parts = [
        _data(groups(lines.filter(~fd & ~error), _CLASSIC), base=base, is_fd=False),
        _data(newer, base=base, is_fd=True),
        _data(older, base=base, is_fd=True),
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
        timestamp_ns=signed_ns("sign", "s", "f"),
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
        is_remote = pl.col("kind").str.to_lowercase() == "r" if "kind" in rows.columns else pl.lit(value=False)
        length = pl.when(is_remote).then(0).otherwise(count("length"))
        remote = (length == 0) & (code > 0)
        stated = code.replace_strict(dict(enumerate(FD_LENGTHS.tolist())), default=0, return_dtype=pl.Int64)
    else:
        remote = pl.col("kind").str.to_lowercase() == "r"
        length = pl.when(remote).then(0).otherwise(pl.min_horizontal(code, 8))
        stated = pl.min_horizontal(code, 8)
    tokens = pl.col("rest").str.strip_chars()
    # Bytes stand one space apart, but for tools that write tabs or two.
    tokens = (
        pl.when(tokens.str.contains(r"^[0-9A-Fa-f]+(?:\t| \s)"))
        .then(tokens.str.replace_all(r"\s+", " "))
        .otherwise(tokens)
    )
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
            timestamp_ns=signed_ns("sign", "s", "f"),
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


def _fast(lines: Lines) -> tuple[Flags, pl.DataFrame]:
    """Read data frames in hexadecimal, classic and FD."""
    tokens, plain = lines.tokens(), ~lines.contain(b"errorframe")
    is_fd = np.zeros(len(plain), bool)
    several = np.flatnonzero(tokens.count > 1)
    is_fd[several] = lines.buffer[tokens.start(several, 1)] | 0x20 == ord("c")
    read, classic = _fast_classic(lines, tokens, np.flatnonzero(plain & ~is_fd & (tokens.count >= _TOKENS)))
    read_fd, fd = _fast_fd(lines, tokens, np.flatnonzero(plain & is_fd & (tokens.count >= _FD_TOKENS)))
    if fd.is_empty():
        return read, classic
    return read | read_fd, pl.concat([classic, fd]).sort("line")


def _fast_fd(lines: Lines, tokens: Tokens, rows: I64) -> tuple[Flags, pl.DataFrame]:
    """Read lines such as `0.012345 CANFD 1 Rx 123x 1 0 9 12 01 02 …`, without the name of a message."""
    taken = Taken(lines, rows)
    time = taken.time_ns(tokens.start(rows, 0), tokens.end(rows, 0))
    taken.must(taken.is_word(tokens.start(rows, 1), tokens.end(rows, 1), b"CANFD"))
    channel = taken.text(tokens.start(rows, 2), tokens.end(rows, 2), max_bytes=3)
    taken.number(tokens.start(rows, 2), tokens.end(rows, 2), base=10, max_digits=3)
    sent = taken.is_word(tokens.start(rows, 3), tokens.end(rows, 3), b"Tx")
    taken.must(sent | taken.is_word(tokens.start(rows, 3), tokens.end(rows, 3), b"Rx"))
    number_at, ends = tokens.start(rows, 4), tokens.end(rows, 4)
    extended = taken.byte(ends - 1) | 0x20 == ord("x")
    number = taken.number(number_at, ends - extended, base=16, max_digits=8)
    taken.must(number <= np.where(extended, ID_MASK, 0x7FF))
    for flag in (5, 6):
        taken.must(taken.is_word(tokens.start(rows, flag), tokens.end(rows, flag), b"0", b"1"))
    code = taken.number(tokens.start(rows, 7), tokens.end(rows, 7), base=16, max_digits=1)
    length = taken.number(tokens.start(rows, 8), tokens.end(rows, 8), base=10, max_digits=2)
    # No data behind a DLC is a remote frame.
    taken.must((length <= 64) & ((length > 0) | (code == 0)) & (tokens.count[rows] >= _FD_TOKENS + length))
    data_at = tokens.starts[np.minimum(tokens.first[rows] + _FD_TOKENS, len(tokens.starts) - 1)]
    payload = taken.payload(data_at, length, step=3, max_bytes=64)
    return rows_of(
        taken,
        columns={
            "timestamp_ns": time, "channel": "CAN" + channel, "id": number, "extended": extended, "fd": True,
            "remote": False, "error": False, "rx": ~sent, "length": length, "payload": payload,
            "raw_dlc": np.full(len(rows), -1, np.int64),
        },
    )  # fmt: skip


_FD_TOKENS: Final = 9
"""Before the data bytes: time, `CANFD`, channel, direction, identifier, BRS, ESI, DLC, length."""


def _fast_classic(lines: Lines, tokens: Tokens, rows: I64) -> tuple[Flags, pl.DataFrame]:
    """Read lines such as `0.012345 1  123x  Rx   d 8 01 02 03 04 05 06 07 08  Length = …`."""
    taken = Taken(lines, rows)
    time = taken.time_ns(tokens.start(rows, 0), tokens.end(rows, 0))
    channel = taken.text(tokens.start(rows, 1), tokens.end(rows, 1), max_bytes=3)
    taken.number(tokens.start(rows, 1), tokens.end(rows, 1), base=10, max_digits=3)
    number_at, ends = tokens.start(rows, 2), tokens.end(rows, 2)
    extended = taken.byte(ends - 1) | 0x20 == ord("x")
    number = taken.number(number_at, ends - extended, base=16, max_digits=8)
    taken.must(number <= np.where(extended, ID_MASK, 0x7FF))
    direction, kind, code_at = tokens.start(rows, 3), tokens.start(rows, 4), tokens.start(rows, 5)
    sent = taken.byte(direction) | 0x20 == ord("t")
    taken.must((sent | (taken.byte(direction) | 0x20 == ord("r"))) & (taken.byte(direction + 1) | 0x20 == ord("x")))
    taken.must((tokens.end(rows, 3) - direction == 2) & (tokens.end(rows, 4) - kind == 1))
    taken.must(taken.byte(kind) | 0x20 == ord("d"))
    length = np.minimum(taken.number(code_at, tokens.end(rows, 5), base=16, max_digits=1), 8)
    taken.must(tokens.count[rows] >= _TOKENS + length)
    data_at = tokens.starts[np.minimum(tokens.first[rows] + _TOKENS, len(tokens.starts) - 1)]
    payload = taken.payload(data_at, length, step=3, max_bytes=8)
    return rows_of(
        taken,
        columns={
            "timestamp_ns": time, "channel": "CAN" + channel, "id": number, "extended": extended, "fd": False,
            "remote": False, "error": False, "rx": ~sent, "length": length, "payload": payload,
            "raw_dlc": np.full(len(rows), -1, np.int64),
        },
    )  # fmt: skip


_TOKENS: Final = 6
"""Before the data bytes: time, channel, identifier, direction, `d`, DLC."""

_DAY_S: Final = 86_400
_MAX_LATE_S: Final = 3_600
"""A log that counts seconds of the day has its first frame within an hour of its date."""


def _prepare(head: str) -> TextFormat:
    lines = head.splitlines()
    base_line = next((line for line in lines if re.match(r"\s*base\s+(?:hex|dec)", line, re.IGNORECASE)), "")
    base = 10 if re.match(r"\s*base\s+dec", base_line, re.IGNORECASE) else 16
    relative = any(re.match(r"\s*base\s+\w+\s+timestamps\s+relative", line, re.IGNORECASE) for line in lines)
    date = next((line for line in lines if line.lower().startswith("date ")), "")
    start_ns = date_of(date)
    assumed: list[tuple[str, str]] = []
    if start_ns is not None and "timestamps" not in base_line.lower():
        start_ns = _of_day(start_ns, lines)
    if not date and not any(line.lower().startswith("begin triggerblock") and date_of(line) for line in lines):
        assumed.append(
            ("a date from which times count", "Times count from 1970-01-01, and are only good relative to each other.")
        )
    return TextFormat(
        _SHOULD_BE,
        lambda rows: _parse(rows, base=base),
        dated="Begin Trigger",
        date_of=date_of,
        relative=relative,
        start_ns=start_ns or 0,
        bad_start=date[:MAX_HEAD_LINE] if start_ns is None and date else "",
        unread=_UNREAD,
        assumed=tuple(assumed),
        fast=_fast if base == 16 else None,
    )


def _of_day(start_ns: int, lines: list[str]) -> int:
    """Return midnight as the start if times count seconds of the day, as BUSMASTER writes them into its ASC."""
    of_day = start_ns // 10**9 % _DAY_S
    first = next((float(m[1]) for line in lines if (m := re.match(r"\s*([0-9]{1,6}\.[0-9]{1,9})\s", line))), 0.0)
    is_of_day = of_day > 0 and -2 <= first - of_day <= _MAX_LATE_S
    return start_ns - start_ns % (_DAY_S * 10**9) if is_of_day else start_ns


_HEAD: Final = rb"date \S+ \S+ +\d|date \d{4}-\d\d-\d\d|date \d+[. ]|base\s+(?:hex|dec)\s+timestamps|begin triggerblock"
"""Each is enough: a head is damaged as easily as a frame. Comments may precede it."""
ASC: Final = TextDecoder("asc", rb"(?i)(?:[^\n]*\n){0,3}\s*(?:" + _HEAD + rb")", _prepare)
