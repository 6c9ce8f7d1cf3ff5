"""Text logs of CAN buses: candump, Vector ASC, PEAK TRC and python-can's CSV, parsed by polars string operations.

A file is read in blocks of whole lines; each block is one column of lines, taken apart by one regular expression for
each kind of line. Times stay decimal digits until they are integers of nanoseconds.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import numpy as np
import polars as pl

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.can_errors import ERROR_BYTES, of_vector
from argus_assets.recordings.channels import ChannelCounts
from argus_assets.recordings.columns import FD_LENGTHS, I64, as_text, binary_series
from argus_assets.recordings.model import FrameBatch, Problem, Reader, RecordingSummary, Source
from argus_assets.recordings.parallel import pass_on, staged
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS

_BLOCK_BYTES: Final = 2 * 1024**2
_MAX_LINE_BYTES: Final = 4096
"""A line with a frame has fewer than 500; what is longer is read as none."""
_PARSED_RATIO: Final = 16
"""Memory that a block takes while it is parsed, at most about, to its size."""
_MAX_TIME_NS: Final = 2**62
"""Of a start and of a time that counts from it: their sum has to fit into 64 bits."""
_MAX_NAME_BYTES: Final = 128
"""Of a channel's name."""
_MAX_LENGTH: Final = 65
"""More data bytes than any frame has; what states more counts as this."""
_MAX_HEAD_LINE: Final = 256
"""Characters of a line of the head that are looked at."""
_ERROR_FLAG: Final = 0x20000000
_ID_MASK: Final = 0x1FFFFFFF

_COLUMNS: Final = {
    "line": pl.Int64(), "timestamp_ns": pl.Int64(), "channel": pl.String(), "id": pl.Int64(), "extended": pl.Boolean(),
    "fd": pl.Boolean(), "remote": pl.Boolean(), "error": pl.Boolean(), "rx": pl.Boolean(), "length": pl.Int64(),
    "payload": pl.Binary(),
}  # fmt: skip
"""What every parser makes of its lines; a row with a null `payload` could not be read."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Whole lines of a file.

    Attributes:
        at: Offset of the first.
        data: The lines.
        is_last: Nothing follows; the last line may have been cut off.
    """

    at: int
    data: bytes
    is_last: bool


@dataclass(frozen=True, slots=True)
class _Parsed:
    """Frames of a block, numbered later.

    Attributes:
        frames: `schema.FRAMES` without `frame`; times count from the start that is in force.
        undated: How many of them come before the first date in the block.
        start_ns: The last date in the block.
        bad: How many lines should be frames and are none.
        example: The first of them.
        cut: The last line, where it should be a frame and is none, and nothing follows.
        bad_dates: How many dates could not be read.
        bad_date: The first of them.
    """

    at: int
    frames: pl.DataFrame
    undated: int = 0
    start_ns: int | None = None
    bad: int = 0
    example: str = ""
    cut: str | None = None
    bad_dates: int = 0
    bad_date: str = ""


Parser = Callable[[pl.DataFrame], pl.DataFrame]
"""(one column `text` of lines, with their number in `line`) → rows of `_COLUMNS`."""


@dataclass(frozen=True, slots=True)
class _Format:
    """How a text format is read.

    Attributes:
        should_be: Lines that match hold a frame; one that then cannot be read is damage.
        parse: See `Parser`.
        dated: Start of lines with a date from which the times that follow count.
        relative: Times count from the line before.
        start_ns: Nanoseconds since 1970 that the first times count from.
        bad_start: What stands where that is stated, and is no date.
    """

    should_be: str
    parse: Parser
    dated: str = ""
    relative: bool = False
    start_ns: int = 0
    bad_start: str = ""


class TextDecoder:
    """A text format.

    Args:
        name: Of the format.
        looks_like: Matches the start of such a file.
        prepare: What a file's head says of how to read it.
    """

    version = 5
    seeks = False

    def __init__(self, name: str, looks_like: bytes, prepare: Callable[[str], _Format]) -> None:
        self.name = name
        self._looks_like = re.compile(looks_like)
        self._prepare = prepare

    def matches(self, head: bytes) -> bool:
        """Whether the file starts like this format."""
        return self._looks_like.match(head) is not None

    def open(self, source: Source, budget: Budget) -> Reader:
        """A reader over `source`."""
        return TextReader(source, budget, self._prepare, name=self.name, version=self.version)


class TextReader:
    """One pass over one text file; see `model.Reader`."""

    def __init__(
        self, source: Source, budget: Budget, prepare: Callable[[str], _Format], *, name: str, version: int
    ) -> None:
        self._source = source
        self._budget = budget
        self._limits = budget.limits
        size = source.seek(0, 2)
        source.seek(0)
        self._format = prepare(source.read(64 * 1024).decode("utf-8", "replace"))
        self.summary = RecordingSummary(name, f"{name}/{version}", size)
        self._channels = ChannelCounts(budget)
        self._start_ns = self._format.start_ns
        self._bad: tuple[int, int, str] | None = None
        self._bad_dates: tuple[int, int, str] | None = None
        self._beyond: tuple[int, int] | None = None
        if self._format.bad_start:
            self._bad_dates = (1, 0, self._format.bad_start)

    def __iter__(self) -> Iterator[FrameBatch]:
        ready: list[pl.DataFrame] = []
        waiting = 0
        for parsed in staged(
            self._blocks(),
            self._parse,
            pass_on,
            workers=self._limits.workers,
            weight=lambda block: _PARSED_RATIO * len(block.data),
            max_weight=self._limits.max_in_flight_bytes,
        ):
            frames = self._take(parsed)
            if frames.height:
                ready.append(frames)
                waiting += frames.height
            if waiting >= self._limits.batch_frames:
                yield FrameBatch(pl.concat(ready), LOGS.empty(), DIAGNOSTICS.empty())
                ready, waiting = [], 0
        if ready:
            yield FrameBatch(pl.concat(ready), LOGS.empty(), DIAGNOSTICS.empty())
        self._close()

    def _blocks(self) -> Generator[_Block]:
        """The file in blocks of whole lines."""
        self._source.seek(0)
        at = 0
        rest = b""
        while True:
            data = self._source.read(_BLOCK_BYTES)
            block = rest + data
            cut = len(block) if not data else block.rfind(b"\n") + 1
            if data and not cut and len(block) > _MAX_LINE_BYTES:
                cut = len(block)  # no text: taken as one line that is none
            rest = block[cut:]
            yield _Block(at, block[:cut], not data)
            at += cut
            if not data:
                return

    def _parse(self, block: _Block) -> _Parsed:
        every, count = _lines(block.data)
        lines = every.filter(pl.col("text").str.contains(self._format.should_be))
        rows = self._format.parse(lines.filter(pl.col("size") <= _MAX_LINE_BYTES).drop("size"))
        good = rows.filter(_readable(rows))
        bad = lines.join(good.select("line"), on="line", how="anti", maintain_order="left")
        cut = None
        if bad.height and block.is_last and bad["line"][-1] == count - 1:
            cut = str(bad["text"][-1])[:120]
            bad = bad[:-1]
        frames = _frames(good)
        undated, start_ns, bad_dates = frames.height, None, list[str]()
        if self._format.dated and not self._format.relative:
            dates, bad_dates = _dates(every.filter(pl.col("text").str.starts_with(self._format.dated)))
            if dates.height:
                starts = dates["start_ns"].to_numpy()
                which = np.searchsorted(dates["line"].to_numpy(), good["line"].to_numpy())
                undated, start_ns = int((which == 0).sum()), int(starts[-1])
                frames = _later(frames, np.append(0, starts)[which])
        return _Parsed(
            block.at, frames, undated, start_ns, bad.height, str(bad["text"][0])[:120] if bad.height else "", cut,
            len(bad_dates), bad_dates[0] if bad_dates else "",
        )  # fmt: skip

    def _take(self, parsed: _Parsed) -> pl.DataFrame:
        frames = parsed.frames
        summary = self.summary
        if self._format.relative:
            frames = self._add_up(frames, parsed.at)
        elif parsed.undated and self._start_ns:
            frames = _later(frames, np.where(np.arange(frames.height) < parsed.undated, self._start_ns, 0))
        if parsed.start_ns is not None:
            self._start_ns = parsed.start_ns
        if parsed.cut is not None:
            summary.problems.append(
                Problem(
                    "truncated", "a whole last line", parsed.cut, summary.size_bytes, 1, "The recording was cut off."
                )
            )
            summary.frames_lost += 1
        if parsed.bad:
            count, at, example = self._bad or (0, parsed.at, parsed.example)
            self._bad = (count + parsed.bad, at, example)
        if parsed.bad_dates:
            count, at, example = self._bad_dates or (0, parsed.at, parsed.bad_date)
            self._bad_dates = (count + parsed.bad_dates, at, example)
        if frames.height:
            counts = frames.group_by(pl.col("channel").cast(pl.String), maintain_order=True).len()
            frames = self._channels.admit(frames, {(name, "can"): n for name, n in counts.iter_rows()}, at=parsed.at)
        if frames.height:
            times = frames["timestamp"].dt.timestamp("ns")
            summary.cover(int(times.min()), int(times.max()))  # type: ignore[arg-type] # not empty
        first = summary.frames
        summary.frames += frames.height
        numbers = pl.int_range(first, first + pl.len(), dtype=pl.UInt64)
        return frames.with_columns(frame=numbers).select(FRAMES.schema.names())

    def _add_up(self, frames: pl.DataFrame, at: int) -> pl.DataFrame:
        """Count each time from the one before; those that leave 64 bits are lost."""
        steps = frames["timestamp"].to_physical()
        about = steps.cast(pl.Float64).cum_sum() + float(self._start_ns)
        fitting = int((about.cum_max() < _MAX_TIME_NS).sum())
        if fitting < frames.height:
            lost, first = self._beyond or (0, at)
            self._beyond = (lost + frames.height - fitting, first)
            frames, steps = frames[:fitting], steps[:fitting]
        times = steps.cum_sum() + self._start_ns
        if frames.height:
            self._start_ns = int(times[-1])
        return frames.with_columns(timestamp=times.cast(FRAMES.schema["timestamp"]))

    def _close(self) -> None:
        summary = self.summary
        if self._bad is not None:
            count, at, example = self._bad
            summary.problems.append(
                Problem(
                    "bad_record",
                    "lines that are frames",
                    f"{count} that are not, first: {example!r}",
                    at,
                    count,
                    "They were skipped.",
                )
            )
            summary.frames_lost += count
        if self._beyond is not None:
            lost, at = self._beyond
            summary.problems.append(
                Problem(
                    "bad_timestamp",
                    "times within 64 bits of nanoseconds",
                    f"{lost} frames beyond",
                    at,
                    lost,
                    "Each time counts from the one before, so these frames have none.",
                )
            )
            summary.frames_lost += lost
        if self._bad_dates is not None:
            count, at, example = self._bad_dates
            summary.problems.append(
                Problem(
                    "bad_timestamp",
                    "dates from which times count",
                    f"{count} that are none, first: {example!r}",
                    at,
                    0,
                    "Times count from the date before, or from 1970-01-01.",
                )
            )
        if not summary.frames and not summary.problems:
            summary.problems.append(
                Problem("truncated", "frames", "none", summary.size_bytes, None, "The log is empty.")
            )
        summary.channels = self._channels.summaries()


def _lines(data: bytes) -> tuple[pl.DataFrame, int]:
    """Lines that are not empty: `line` (their number), `text`, `size` (bytes), and how many there are with the empty ones.

    Of a line that is too long only the start is there.
    """
    try:
        data.decode()
    except UnicodeDecodeError:
        data = data.decode("utf-8", "replace").encode()
    buffer = np.frombuffer(data, np.uint8)
    ends = np.append(np.flatnonzero(buffer == ord("\n")), len(data))
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts
    line = np.flatnonzero(sizes)
    starts, sizes = starts[line], sizes[line]
    kept = np.minimum(sizes, _MAX_LINE_BYTES)
    long = np.flatnonzero(sizes > _MAX_LINE_BYTES)
    for _ in range(3):  # back to the start of a character
        kept[long] -= (buffer[starts[long] + kept[long]] & 0xC0) == 0x80
    return pl.DataFrame({"line": line, "text": as_text(binary_series(buffer, starts, kept)), "size": sizes}), len(ends)


def _dates(lines: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Of lines that may state a date: `line` and `start_ns` of those that do, and the text of those that state none."""
    stated = lines.select("line", pl.col("text").str.head(_MAX_HEAD_LINE)).filter(pl.col("text").str.contains(r"\d"))
    texts = stated["text"].unique(maintain_order=True)
    dates = pl.Series("start_ns", [_asc_date(text) for text in texts], dtype=pl.Int64)
    stated = stated.join(pl.DataFrame([texts, dates]), on="text", maintain_order="left")
    bad = stated.filter(pl.col("start_ns").is_null())["text"]
    return stated.drop_nulls("start_ns").select("line", "start_ns"), bad.to_list()


def _later(frames: pl.DataFrame, by_ns: I64) -> pl.DataFrame:
    """Add nanoseconds to the times of frames."""
    times = frames["timestamp"].to_physical() + pl.Series(by_ns)
    return frames.with_columns(timestamp=times.cast(FRAMES.schema["timestamp"]))


def _readable(rows: pl.DataFrame) -> pl.Series:
    """Rows whose values are all there and within their ranges."""
    limit = pl.when(pl.col("extended")).then(_ID_MASK).otherwise(0x7FF)
    most = pl.when(pl.col("fd")).then(64).otherwise(8)
    whole = pl.all_horizontal(pl.all().is_not_null()) & pl.col("id").is_between(0, limit)
    whole &= (pl.col("payload").bin.size() <= most) & (pl.col("channel").str.len_bytes() <= _MAX_NAME_BYTES)
    return rows.select(whole.fill_null(value=False)).to_series()


def _frames(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of `_COLUMNS` as `schema.FRAMES` without `frame`."""
    dlc_of = dict(zip(FD_LENGTHS.tolist(), range(16), strict=True))
    return rows.select(
        timestamp=pl.col("timestamp_ns").cast(FRAMES.schema["timestamp"]),
        channel=pl.col("channel").cast(pl.Categorical()),
        kind=pl.lit("can", dtype=FRAMES.schema["kind"]),
        arbitration_id=pl.col("id").cast(pl.UInt32),
        is_extended_id=pl.col("extended"),
        is_fd=pl.col("fd"),
        is_remote_frame=pl.col("remote"),
        is_error_frame=pl.col("error"),
        is_rx=pl.col("rx"),
        dlc=pl.col("length").replace_strict(dlc_of, default=15, return_dtype=pl.UInt8),
        payload=pl.col("payload"),
    )


def _ns(seconds: str, fraction: str, digits: int = 9) -> pl.Expr:
    """Integer nanoseconds of decimal digits; `digits` decimal places are a nanosecond. Null beyond `_MAX_TIME_NS`."""
    whole = pl.col(seconds).cast(pl.Int64, strict=False)
    part = pl.col(fraction).fill_null("").str.slice(0, digits).str.pad_end(digits, "0").cast(pl.Int64, strict=False)
    return pl.when(whole < _MAX_TIME_NS // 10**digits).then(whole * 10**digits + part)


def _count(column: str) -> pl.Expr:
    """A number of data bytes of decimal digits, at most `_MAX_LENGTH`."""
    return pl.col(column).cast(pl.Int64, strict=False).clip(0, _MAX_LENGTH)


def _hex(column: str) -> pl.Expr:
    return pl.col(column).str.to_integer(base=16, strict=False, dtype=pl.Int64)


def _hex_bytes(digits: pl.Expr) -> pl.Expr:
    return digits.str.decode("hex", strict=False)


def _groups(lines: pl.DataFrame, pattern: str) -> pl.DataFrame:
    """Named groups of a pattern as columns, for the lines that match."""
    found = lines.select("line", pl.col("text").str.extract_groups(pattern).alias("")).unnest("")
    return found.filter(pl.any_horizontal(pl.exclude("line").is_not_null()))


# ---------------------------------------------------------------------------------------------- candump

_CANDUMP: Final = (
    r"^\s*[^\s\d]?(?P<s>\d+)\.(?P<f>\d+)\S?\s+(?P<channel>\S+)\s+(?P<id>[0-9A-Fa-f]{3,8})#(?P<fd>#[0-9A-Fa-f])?"
    r"(?P<data>[0-9A-Fa-f]*|[Rr][0-9]?)(?:\s+(?P<dir>[RrTt]))?\s*$"
)


def _candump(lines: pl.DataFrame) -> pl.DataFrame:
    rows = _groups(lines, _CANDUMP)
    remote = pl.col("data").str.contains("^[Rr]")
    payload = _hex_bytes(pl.when(remote).then(pl.lit("")).otherwise(pl.col("data")))
    error = (pl.col("number") & _ERROR_FLAG) != 0
    return rows.with_columns(number=_hex("id")).select(
        "line",
        timestamp_ns=_ns("s", "f"),
        channel=pl.col("channel"),
        id=pl.col("number") & _ID_MASK,
        extended=(pl.col("id").str.len_bytes() > 3) & (~error | ((pl.col("number") & 0x1FFFF800) != 0)),
        fd=pl.col("fd").is_not_null(),
        remote=remote,
        error=error,
        rx=pl.col("dir").str.to_lowercase().fill_null("r") == "r",
        length=pl.when(remote)
        .then(pl.col("data").str.slice(1).cast(pl.Int64, strict=False).fill_null(0))
        .otherwise(payload.bin.size().cast(pl.Int64)),
        payload=payload,
    )


def _prepare_candump(_: str) -> _Format:
    return _Format(r"\S", _candump)


# ---------------------------------------------------------------------------------------------- ASC

_ASC_CLASSIC: Final = (
    r"^\s*(?P<s>\d+)\.(?P<f>\d+)\s+(?P<channel>\d+)\s+(?P<id>[0-9A-Fa-f]+)(?P<x>[xX])?\s+(?P<dir>[RrTt][Xx]\S*)\s+"
    r"[^\s\w]?(?P<kind>[drDR])(?:\s+(?P<dlc>[0-9A-Fa-f]{1,2})\b)?(?P<rest>.*)$"
)
_ASC_FD: Final = (
    r"^\s*(?P<s>\d+)\.(?P<f>\d+)\s+CANFD\s+(?P<channel>\d+)\s+(?P<dir>[RrTt][Xx]\S*)\s+(?P<id>[0-9A-Fa-f]+)(?P<x>[xX])?\s+"
    r"(?:[^\s\d]\S*\s+)?(?P<brs>[01])\s+(?P<esi>[01])\s+(?P<dlc>[0-9A-Fa-f])\s+(?P<length>\d+)(?P<rest>.*)$"
)
_ASC_ERROR: Final = (
    r"(?i)^\s*(?P<s>\d+)\.(?P<f>\d+)\s+(?P<fd>CANFD\s+)?(?P<channel>\d+)\s+(?:(?P<dir>Rx|Tx)\s+)?errorframe\b"
    r"(?:\s+ECC:\s*(?P<ecc>[01]{8})\b|\s+Flags\s*=\s*0x(?P<flags>[0-9A-F]{1,8})\b(?:.*?\bCode\s*=\s*0x(?P<code>[0-9A-F]{1,2})\b)?)?"
)
_ASC_SHOULD_BE: Final = r"(?i)^\s*\d+\.\d+\s+(?:CANFD\s+\d+\s+\S|\d+\s+(?:[0-9A-F]+x?\s+[RT]x|errorframe))"
_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        ("Jan", "Feb", "Mar Mär Mrz", "Apr", "May Mai", "Jun", "Jul", "Aug", "Sep", "Oct Okt", "Nov", "Dec Dez"), 1
    )
    for name in names.split()
}

_ASC_DATE: Final = re.compile(
    r"(\w{3,4})\.? +([0-9]{1,2}) +([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:\.([0-9]{1,9})[0-9]*)?(?: +([ap]m))? +([0-9]{4})",
    re.IGNORECASE,
)
"""The number of digits is bounded: Python refuses to convert long ones."""


def _asc_date(line: str) -> int | None:
    """Date of a `date` or `Begin Triggerblock` line as nanoseconds since 1970; it has no zone and counts as UTC."""
    match = _ASC_DATE.search(line[:_MAX_HEAD_LINE])
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
    return _bounded(int(at.timestamp()) * 10**9 + int((match[6] or "").ljust(9, "0")))


def _bounded(start_ns: int) -> int | None:
    return start_ns if abs(start_ns) < _MAX_TIME_NS else None


def _asc(lines: pl.DataFrame, *, base: int) -> pl.DataFrame:
    fd = pl.col("text").str.contains(r"^\s*[\d.]+\s+CANFD")
    error = pl.col("text").str.contains(r"(?i)\berrorframe\b")
    parts = [
        _asc_data(_groups(lines.filter(~fd & ~error), _ASC_CLASSIC), base=base, is_fd=False),
        _asc_data(_groups(lines.filter(fd & ~error), _ASC_FD), base=base, is_fd=True),
        _asc_errors(_groups(lines.filter(error), _ASC_ERROR)),
    ]
    return pl.concat([part.cast(_COLUMNS) for part in parts]).sort("line")  # type: ignore[arg-type] # dtypes by name


def _asc_errors(rows: pl.DataFrame) -> pl.DataFrame:
    # `ECC` holds the SJA1000's register in binary digits, `Code` the one that `Flags` names.
    registers = rows.select(
        flags=pl.when(pl.col("ecc").is_null() & pl.col("code").is_not_null())
        .then(_hex("flags"))
        .otherwise(pl.col("ecc").is_not_null().cast(pl.Int64)),
        code=pl.coalesce(pl.col("ecc").str.to_integer(base=2, strict=False, dtype=pl.Int64), _hex("code")),
    ).fill_null(0)
    classes, details = of_vector(registers["flags"].to_numpy(), registers["code"].cast(pl.UInt8).to_numpy())
    known = pl.col("id") != 0
    return rows.with_columns(
        id=pl.Series(classes, dtype=pl.Int64), details=pl.Series(list(map(bytes, details)), dtype=pl.Binary)
    ).select(
        "line",
        timestamp_ns=_ns("s", "f"),
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


def _asc_data(rows: pl.DataFrame, *, base: int, is_fd: bool) -> pl.DataFrame:
    def number(column: str) -> pl.Expr:
        return pl.col(column).str.to_integer(base=base, strict=False, dtype=pl.Int64)

    code = number("dlc").fill_null(0)
    if is_fd:
        length = _count("length")
        remote = (length == 0) & (code > 0)
        stated = code.replace_strict(dict(enumerate(FD_LENGTHS.tolist())), default=0, return_dtype=pl.Int64)
    else:
        remote = pl.col("kind").str.to_lowercase() == "r"
        length = pl.when(remote).then(0).otherwise(pl.min_horizontal(code, 8))
        stated = pl.min_horizontal(code, 8)
    tokens = pl.col("rest").str.strip_chars()
    if base == 16:
        # Bytes are pairs of digits with one space between them; what follows them is something else.
        payload = _hex_bytes(
            tokens.str.slice(0, pl.max_horizontal(length * 3 - 1, 0)).str.replace_all(" ", "", literal=True)
        )
    else:
        pieces = tokens.str.split(" ").list.eval(pl.element().filter(pl.element() != "")).list.head(length)
        digits = pieces.list.eval(
            pl.lit("0123456789abcdef").str.slice(pl.element().cast(pl.Int64, strict=False) // 16, 1)
            + pl.lit("0123456789abcdef").str.slice(pl.element().cast(pl.Int64, strict=False) % 16, 1)
        )
        payload = _hex_bytes(digits.list.join(""))
    return (
        rows.with_columns(payload=payload, wanted=length, remote=remote, stated=stated)
        .with_columns(pl.when(pl.col("payload").bin.size() == pl.col("wanted")).then("payload").alias("payload"))
        .select(
            "line",
            timestamp_ns=_ns("s", "f"),
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


def _prepare_asc(head: str) -> _Format:
    lines = head.splitlines()
    base = next((m[1] for line in lines if (m := re.match(r"\s*base\s+(hex|dec)", line, re.IGNORECASE))), "hex")
    relative = any(re.match(r"\s*base\s+\w+\s+timestamps\s+relative", line, re.IGNORECASE) for line in lines)
    date = next((line for line in lines if line.lower().startswith("date ")), "")
    number = 16 if base.lower() == "hex" else 10
    start_ns = _asc_date(date)
    return _Format(
        _ASC_SHOULD_BE,
        lambda rows: _asc(rows, base=number),
        "Begin Triggerblock",
        relative,
        start_ns or 0,
        date[:_MAX_HEAD_LINE] if start_ns is None else "",
    )


# ---------------------------------------------------------------------------------------------- TRC

_TRC_EPOCH_DAYS: Final = 25_569
"""Days from 1899-12-30, which TRC counts from, to 1970-01-01."""

_TRC_LAYOUTS: Final = {
    "1.0": r"^\s*\d+\)\s+(?P<s>\d+)(?:\.(?P<f>\d+))?\s+(?P<id>[0-9A-Fa-f]+)\s+(?P<dlc>\d+)\s*(?P<data>.*)$",
    "1.1": r"^\s*\d+\)\s+(?P<s>\d+)(?:\.(?P<f>\d+))?\s+(?P<type>\S+)\s+(?P<id>[0-9A-Fa-f]+)\s+(?P<dlc>\d+)\s*(?P<data>.*)$",
    "1.2": r"^\s*\d+\)\s+(?P<s>\d+)(?:\.(?P<f>\d+))?\s+(?P<bus>\d+)\s+(?P<type>\S+)\s+(?P<id>[0-9A-Fa-f]+)\s+(?P<dlc>\d+)\s*(?P<data>.*)$",
    "1.3": r"^\s*\d+\)\s+(?P<s>\d+)(?:\.(?P<f>\d+))?\s+(?P<bus>\d+)\s+(?P<type>\S+)\s+(?P<id>[0-9A-Fa-f]+)\s+\S+\s+(?P<dlc>\d+)\s*(?P<data>.*)$",
}
_TRC_COLUMNS: Final = {
    "N": r"[^\s;]\S*", "O": r"(?P<s>\d+)(?:\.(?P<f>\d+))?", "T": r"(?P<type>\S+)", "B": r"(?P<bus>\d+)", "I": r"(?P<id>[0-9A-Fa-f]+)",
    "d": r"(?P<dir>\S+)", "R": r"\S+", "l": r"(?P<length>\d+)", "L": r"(?P<dlc>\d+)", "D": r"",
}  # fmt: skip
_TRC_DEFAULT: Final = "N,O,T,I,d,l,D"
_TRC_FD: Final = ("FD", "FB", "FE", "BI")


def _prepare_trc(head: str) -> _Format:
    version = next((m[1] for m in re.finditer(r"(?m)^;\$FILEVERSION=(\d+\.\d+)", head)), "1.0")
    start = next((m[1] for m in re.finditer(r"(?m)^;\$STARTTIME=(.*)$", head)), "")[:_MAX_HEAD_LINE].strip()
    start_ns = _trc_start(start)
    columns = next((m[1] for m in re.finditer(r"(?m)^;\$COLUMNS=([\w,]+)", head)), _TRC_DEFAULT)
    if version in _TRC_LAYOUTS:
        layout = _TRC_LAYOUTS[version]
        types = ["Rx", "Tx"]
    else:
        names = columns.split(",")
        if len(set(names)) < len(names) or not {"O", "I"} < set(names) or not {"l", "L"} & set(names):
            names = _TRC_DEFAULT.split(",")  # the list of columns is damaged
        parts = [_TRC_COLUMNS[c] for c in names if _TRC_COLUMNS.get(c)]
        layout = r"^\s*" + r"\s+".join(parts) + r"\s*(?P<data>.*)$"
        types = ["DT", "RR", *_TRC_FD]
    should_be = r"^\s*\d+\)?\s" if version in _TRC_LAYOUTS else rf"^\s*[^\s;]\S*\s+[\d.]+\s+(?:{'|'.join(types)})\b"
    return _Format(
        should_be,
        lambda lines: _trc(lines, layout, types),
        start_ns=start_ns or 0,
        bad_start=start if start_ns is None else "",
    )


def _trc_start(days: str) -> int | None:
    """Days since `_TRC_EPOCH_DAYS` before 1970 as nanoseconds since 1970."""
    match = re.match(r"([0-9]{1,6})(?:\.([0-9]{0,20})[0-9]*)?(?![\w.])", days)
    if match is None:
        return None
    return _bounded(int((Decimal(f"{match[1]}.{match[2] or 0}") - _TRC_EPOCH_DAYS) * 86_400 * 10**9))


def _trc(lines: pl.DataFrame, layout: str, types: list[str]) -> pl.DataFrame:
    rows = _groups(lines, layout)

    def column(name: str, default: str) -> pl.Expr:
        return pl.col(name).fill_null(default) if name in rows.columns else pl.lit(default)

    kind = column("type", "Rx")
    rows = rows.filter(kind.is_in(types) & (pl.col("id") != "FFFFFFFF"))
    is_fd = kind.is_in(_TRC_FD)
    remote = (kind == "RR") | pl.col("data").str.starts_with("RTR")
    lengths = dict(enumerate(FD_LENGTHS.tolist()))
    if "length" in rows.columns:
        stated = _count("length")
    else:
        code = _count("dlc")
        stated = (
            pl.when(is_fd)
            .then(code.replace_strict(lengths, default=None, return_dtype=pl.Int64))
            .otherwise(pl.min_horizontal(code, 8))
        )
    digits = pl.col("data").str.replace_all(r"\s+", "").str.slice(0, stated * 2)
    payload = _hex_bytes(pl.when(remote).then(pl.lit("")).otherwise(digits))
    return (
        rows.with_columns(payload=payload, stated=stated, remote=remote, fd=is_fd, kind=kind)
        .with_columns(
            pl.when(pl.col("remote") | (pl.col("payload").bin.size() == pl.col("stated")))
            .then("payload")
            .alias("payload")
        )
        .select(
            "line",
            timestamp_ns=_ns("s", "f", 6),
            channel=pl.lit("CAN") + column("bus", "1"),
            id=_hex("id"),
            extended=pl.col("id").str.len_bytes() > 4,
            fd="fd",
            remote="remote",
            error=pl.lit(value=False),
            rx=(column("dir", "Rx") == "Rx") & (pl.col("kind") != "Tx"),
            length="stated",
            payload="payload",
        )
    )


# ---------------------------------------------------------------------------------------------- CSV

_CSV_HEAD: Final = b"timestamp,arbitration_id,extended,remote,error,dlc,data"
_CSV_FIRST: Final = rb"\d+(?:\.\d+)?,0x[0-9A-Fa-f]+,[01],[01],[01],\d+,"
_CSV: Final = (
    r"^(?P<s>\d+)(?:\.(?P<f>\d+))?,0x(?P<id>[0-9A-Fa-f]+),(?P<extended>[^,]),(?P<remote>[^,]),(?P<error>[^,]),"
    r"(?P<dlc>\d+),(?P<data>[A-Za-z0-9+/=]*)\s*$"
)


def _csv(lines: pl.DataFrame) -> pl.DataFrame:
    rows = _groups(lines, _CSV).with_columns(pl.col("data").map_batches(_whole_base64))
    length = _count("dlc")
    payload = pl.col("data").str.decode("base64", strict=False)
    return rows.select(
        "line",
        timestamp_ns=_ns("s", "f"),
        channel=pl.lit("CAN"),
        id=_hex("id"),
        extended=pl.col("extended") == "1",
        fd=length > 8,
        remote=pl.col("remote") == "1",
        error=pl.col("error") == "1",
        rx=pl.lit(value=True),
        length=length,
        payload=payload,
    )


def _whole_base64(texts: pl.Series) -> pl.Series:
    """Clears the bits of a last digit that belong to no byte, where damage set them: the bytes are whole."""
    bad = texts.str.decode("base64", strict=False).is_null() & texts.is_not_null()
    if not bad.any():
        return texts

    def mended(text: str) -> str:
        try:
            return b64encode(b64decode(text)).decode()
        except ValueError:
            return text

    at = bad.arg_true()
    return texts.clone().scatter(at, pl.Series([mended(text) for text in texts[at]], dtype=pl.String))


def _prepare_csv(_: str) -> _Format:
    return _Format(r"^[^t\s]", _csv)


CANDUMP: Final = TextDecoder("candump", rb"\s*\(\d+\.\d+\)\s+\S+\s+[0-9A-Fa-f]{3,8}#", _prepare_candump)
_ASC_HEAD: Final = rb"date \w+ \w+ +\d|base\s+(?:hex|dec)\s+timestamps|begin triggerblock"
"""Each is enough: a head is damaged as easily as a frame. Comments may stand before it."""
ASC: Final = TextDecoder("asc", rb"(?i)(?:[^\n]*\n){0,3}\s*(?:" + _ASC_HEAD + rb")", _prepare_asc)
TRC: Final = TextDecoder("trc", rb";(?:\$FILEVERSION=\d+\.\d+|#+\s|.*PCAN)", _prepare_trc)
CSV: Final = TextDecoder("csv", re.escape(_CSV_HEAD) + rb"|[^\n]*\n" + _CSV_FIRST, _prepare_csv)
