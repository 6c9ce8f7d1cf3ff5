"""Text logs of CAN buses, parsed by polars string operations: what the formats beside this module share.

A file is read in blocks of whole lines; each block is one column of lines, taken apart by one regular expression for
each kind of line. Times stay decimal digits until they are integers of nanoseconds.
"""

import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl

from argus_assets.recordings.budget import Budget
from argus_assets.recordings.channels import ChannelCounts
from argus_assets.recordings.columns import FD_LENGTHS, I64
from argus_assets.recordings.formats.forward import ForwardReader, Repeated
from argus_assets.recordings.formats.text.lines import (
    ID_MASK,
    MAX_HEAD_LINE,
    MAX_LINE_BYTES,
    MAX_TIME_NS,
    Parser,
)
from argus_assets.recordings.formats.text.matrix import Fast, Lines
from argus_assets.recordings.model import FrameBatch, Reader, Source
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS

_HEAD_BYTES: Final = 64 * 1024
"""Of a file that show how to read it."""
BLOCK_BYTES: Final = 2 * 1024**2
_PARSED_RATIO: Final = 16
"""Memory that a block takes while it is parsed, at most about, to its size."""
_MAX_NAME_BYTES: Final = 128
"""Of a channel's name."""


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
        frames: `schema.FRAMES` without `frame`; times count from the start that applies.
        undated: How many of them come before the first date in the block.
        start_ns: The last date in the block.
        bad: Number of lines that should be frames and are not.
        example: The first of them.
        cut: The last line, if it should be a frame and is not, and nothing follows.
        bad_dates: How many dates could not be read.
        bad_date: The first of them.
        unread: What is in lines that are not read, how many there are, and the first of them.
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
    unread: tuple[tuple[str, int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TextFormat:
    """The way to read a text format.

    Attributes:
        should_be: Lines that match hold a frame; one that then cannot be read is damage.
        parse: See `Parser`.
        dated: Start of lines with a date from which the times that follow count.
        date_of: The date in such a line as nanoseconds since 1970, `None` where it cannot be read.
        relative: Times count from the line before.
        start_ns: Nanoseconds since 1970 that the first times count from.
        bad_start: The text that should state it and is no date.
        status: Lines that match hold no frame, although they look so: status, comments.
        unread: What lines hold that carry traffic and are not read, by the pattern that they match. A line counts for the
            first of them.
        assumed: What the file does not state, and what is taken for it.
        fast: Reads the lines that have no surprises as arrays, to the same rows.
    """

    should_be: str
    parse: Parser
    dated: str = ""
    date_of: Callable[[str], int | None] = lambda _: None
    relative: bool = False
    start_ns: int = 0
    bad_start: str = ""
    status: str = ""
    unread: tuple[tuple[str, str], ...] = ()
    assumed: tuple[tuple[str, str], ...] = ()
    fast: Fast | None = None


_MARKS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
"""Byte order marks at the start of a file, and the encoding that follows."""


def encoding_of(head: bytes) -> tuple[bytes, str]:
    """Return the byte order mark of a file, which may be empty, and its encoding."""
    return next(((mark, name) for mark, name in _MARKS if head.startswith(mark)), (b"", "utf-8"))


def plain(head: bytes) -> bytes:
    """Return the start of a text file as UTF-8 without byte order mark."""
    mark, name = encoding_of(head)
    rest = head[len(mark) :]
    return rest if name == "utf-8" else rest.decode(name, "replace").encode()


class TextDecoder:
    """A text format.

    Args:
        name: Of the format.
        looks_like: Matches the start of such a file.
        prepare: Returns how to read a file, from its head.
    """

    version = 6
    seeks = False

    def __init__(self, name: str, looks_like: bytes, prepare: Callable[[str], TextFormat]) -> None:
        self.name = name
        self._looks_like = re.compile(looks_like)
        self._prepare = prepare

    def by_expressions(self) -> "TextDecoder":
        """Return the decoder that takes each line apart by regular expressions: what the arrays are compared with."""
        return TextDecoder(self.name, self._looks_like.pattern, lambda head: replace(self._prepare(head), fast=None))

    def matches(self, head: bytes) -> bool:
        """Return whether a file starts like this format."""
        return self._looks_like.match(plain(head)) is not None

    def open(self, source: Source, budget: Budget) -> Reader:
        """Return a reader over `source`."""
        return TextReader(source, budget, self._prepare, name=self.name, version=self.version)


class TextReader(ForwardReader[_Parsed]):
    """One pass over one text file."""

    def __init__(
        self, source: Source, budget: Budget, prepare: Callable[[str], TextFormat], *, name: str, version: int
    ) -> None:
        super().__init__(source, budget, name=name, version=version)
        source.seek(0)
        head = source.read(_HEAD_BYTES)
        self._mark, self._encoding = encoding_of(head)
        self._format = prepare(plain(head).decode("utf-8", "replace"))
        self._channels = ChannelCounts(budget)
        self._start_ns = self._format.start_ns
        self._bad = Repeated()
        self._bad_dates = Repeated()
        self._beyond = Repeated()
        self._unread: dict[str, Repeated] = {}
        if self._format.bad_start:
            self._bad_dates.add(1, 0, self._format.bad_start)

    def _streams(self) -> Generator[Iterator[_Parsed]]:
        yield self._staged(self._blocks(), self._parse, weight=lambda block: _PARSED_RATIO * len(block.data))

    def _blocks(self) -> Generator[_Block]:
        """Yield the file in blocks of whole lines."""
        at = self._source.seek(len(self._mark))
        rest = b""
        decoder = None if self._encoding == "utf-8" else getincrementaldecoder(self._encoding)("replace")
        while True:
            data = self._source.read(BLOCK_BYTES)
            if decoder is not None:
                is_last = not data
                data = decoder.decode(data, final=is_last).encode()
                if not data and not is_last:
                    continue  # half a character
            block = rest + data
            cut = len(block) if not data else block.rfind(b"\n") + 1
            if data and not cut and len(block) > MAX_LINE_BYTES:
                cut = len(block)  # not text: taken as one invalid line
            rest = block[cut:]
            yield _Block(at, block[:cut], not data)
            at += cut
            if not data:
                return

    def _parse(self, block: _Block) -> _Parsed:
        found = Lines.of(block.data)
        count, fast = found.count, None
        if self._format.fast is not None and len(found.line):
            read, fast = self._format.fast(found)
            every = found.table(~read)
        else:
            every = found.table()
        text = pl.col("text")
        is_frame = text.str.contains(self._format.should_be)
        if self._format.status:
            is_frame &= ~text.str.contains(self._format.status)
        unread, is_unread = self._unread_in(every)
        lines = every.filter(is_frame & ~is_unread)
        rows = self._format.parse(lines.filter(pl.col("size") <= MAX_LINE_BYTES).drop("size"))
        if "raw_dlc" not in rows.columns:
            rows = rows.with_columns(raw_dlc=pl.lit(-1, dtype=pl.Int64))
        good = rows.filter(_readable(rows))
        bad = lines.join(good.select("line"), on="line", how="anti", maintain_order="left")
        cut = None
        if bad.height and block.is_last and bad["line"][-1] == count - 1:
            cut = str(bad["text"][-1])[:120]
            bad = bad[:-1]
        if fast is not None and fast.height:
            good = fast if good.is_empty() else pl.concat([fast, good.select(fast.columns)]).sort("line")
        frames = _frames(good)
        undated, start_ns, bad_dates = frames.height, None, list[str]()
        if self._format.dated and not self._format.relative:
            dates, bad_dates = _dates(
                every.filter(pl.col("text").str.starts_with(self._format.dated)), self._format.date_of
            )
            if dates.height:
                starts = dates["start_ns"].to_numpy()
                which = np.searchsorted(dates["line"].to_numpy(), good["line"].to_numpy())
                undated, start_ns = int((which == 0).sum()), int(starts[-1])
                frames = _later(frames, np.append(0, starts)[which])
        return _Parsed(
            block.at, frames, undated, start_ns, bad.height, str(bad["text"][0])[:120] if bad.height else "", cut,
            len(bad_dates), bad_dates[0] if bad_dates else "", unread,
        )  # fmt: skip

    def _unread_in(self, every: pl.DataFrame) -> tuple[tuple[tuple[str, int, str], ...], pl.Expr]:
        """Count lines that carry something that is not read. Return them, and which lines they are."""
        if not self._format.unread:
            return (), pl.lit(value=False)
        kind = pl.lit(None, dtype=pl.String)
        for what, pattern in reversed(self._format.unread):
            kind = pl.when(pl.col("text").str.contains(pattern)).then(pl.lit(what)).otherwise(kind)
        found = every.select(what=kind, text=pl.col("text").str.head(MAX_HEAD_LINE)).drop_nulls("what")
        counted = found.group_by("what", maintain_order=True).agg(pl.len(), pl.col("text").first())
        return tuple(counted.iter_rows()), kind.is_not_null()

    def _take(self, decoded: _Parsed) -> tuple[FrameBatch, int]:
        parsed, frames = decoded, decoded.frames
        summary = self.summary
        if self._format.relative:
            frames = self._add_up(frames, parsed.at)
        elif parsed.undated and self._start_ns:
            frames = _later(frames, np.where(np.arange(frames.height) < parsed.undated, self._start_ns, 0))
        if parsed.start_ns is not None:
            self._start_ns = parsed.start_ns
        if parsed.cut is not None:
            self._problem("truncated", "a whole last line", parsed.cut, self._size, "The recording was cut off.", 1)
        self._bad.add(parsed.bad, parsed.at, parsed.example)
        self._bad_dates.add(parsed.bad_dates, parsed.at, parsed.bad_date)
        for what, count, example in parsed.unread:
            self._unread.setdefault(what, Repeated()).add(count, parsed.at, example)
        if frames.height:
            counts = {(name, "can"): n for name, n in _counts(frames["channel"])}
            frames = self._channels.admit(frames, counts, at=parsed.at)
        if frames.height:
            times = frames["timestamp"].dt.timestamp("ns")
            summary.cover(int(times.min()), int(times.max()))  # type: ignore[arg-type] # not empty
        first = summary.frames
        summary.frames += frames.height
        numbers = pl.int_range(first, first + pl.len(), dtype=pl.UInt64)
        frames = frames.with_columns(frame=numbers).select(FRAMES.schema.names())
        return FrameBatch(frames, LOGS.empty(), DIAGNOSTICS.empty()), 0

    def _add_up(self, frames: pl.DataFrame, at: int) -> pl.DataFrame:
        """Count each time from the one before; those that leave 64 bits are lost."""
        steps = frames["timestamp"].to_physical()
        about = steps.cast(pl.Float64).cum_sum() + float(self._start_ns)
        fitting = int((about.cum_max() < MAX_TIME_NS).sum())
        if fitting < frames.height:
            self._beyond.add(frames.height - fitting, at)
            frames, steps = frames[:fitting], steps[:fitting]
        times = steps.cum_sum() + self._start_ns
        if frames.height:
            self._start_ns = int(times[-1])
        return frames.with_columns(timestamp=times.cast(FRAMES.schema["timestamp"]))

    def _finish(self) -> None:
        bad, beyond, dates = self._bad, self._beyond, self._bad_dates
        if bad.count:
            self._problem(
                "bad_record", "lines that are frames", f"{bad.count} that are not, first: {bad.example!r}", bad.at,
                "They were skipped.", bad.count,
            )  # fmt: skip
        if beyond.count:
            self._problem(
                "bad_timestamp", "times within 64 bits of nanoseconds", f"{beyond.count} frames beyond", beyond.at,
                "Each time counts from the one before, so these frames have none.", beyond.count,
            )  # fmt: skip
        if dates.count:
            self._problem(
                "bad_timestamp", "dates from which times count",
                f"{dates.count} invalid, first: {dates.example!r}", dates.at,
                "Times count from the date before, or from 1970-01-01.", 0,
            )  # fmt: skip
        for what, lines in self._unread.items():
            self._problem(
                "unsupported", "CAN and CAN FD frames", f"{lines.count} lines of {what}, first: {lines.example[:120]!r}", lines.at,
                "They are not read.", 0,
            )  # fmt: skip
        for stated, taken in self._format.assumed:
            if self.summary.frames:
                self._problem("assumed", stated, "none", 0, taken, 0)
        if not self.summary.frames and not self.summary.problems:
            self._problem("truncated", "frames", "none", self._size, "The log is empty.")
        self.summary.channels = self._channels.summaries()


def _dates(lines: pl.DataFrame, date_of: Callable[[str], int | None]) -> tuple[pl.DataFrame, list[str]]:
    """Return `line` and `start_ns` of lines with a date, and the text of those whose date cannot be read."""
    stated = lines.select("line", pl.col("text").str.head(MAX_HEAD_LINE)).filter(pl.col("text").str.contains(r"\d"))
    texts = stated["text"].unique(maintain_order=True)
    dates = pl.Series("start_ns", [date_of(text) for text in texts], dtype=pl.Int64)
    stated = stated.join(pl.DataFrame([texts, dates]), on="text", maintain_order="left")
    bad = stated.filter(pl.col("start_ns").is_null())["text"]
    return stated.drop_nulls("start_ns").select("line", "start_ns"), bad.to_list()


_FEW: Final = 64
"""Channels of a block that are counted without hashing."""


def _counts(channels: pl.Series) -> Iterator[tuple[str, int]]:
    """Yield the channels of frames, in the order of their first, with the number of frames."""
    codes = channels.to_physical().to_numpy()
    of_code = np.bincount(codes)
    found = np.flatnonzero(of_code)
    if len(found) <= _FEW:
        firsts = sorted((int(np.argmax(codes == code)), int(of_code[code])) for code in found)
        yield from ((str(channels[first]), count) for first, count in firsts)
    else:
        counted = channels.rename("channel").to_frame().group_by("channel", maintain_order=True).len()
        yield from counted.with_columns(pl.col("channel").cast(pl.String)).iter_rows()


def _later(frames: pl.DataFrame, by_ns: I64) -> pl.DataFrame:
    """Add nanoseconds to the times of frames."""
    times = frames["timestamp"].to_physical() + pl.Series(by_ns)
    return frames.with_columns(timestamp=times.cast(FRAMES.schema["timestamp"]))


def _readable(rows: pl.DataFrame) -> pl.Series:
    """Return which rows have all their values, within their ranges."""
    limit = pl.when(pl.col("extended")).then(ID_MASK).otherwise(0x7FF)
    max_bytes = pl.when(pl.col("fd")).then(64).otherwise(8)
    whole = pl.all_horizontal(pl.all().is_not_null()) & pl.col("id").is_between(0, limit)
    whole &= (pl.col("payload").bin.size() <= max_bytes) & (pl.col("channel").str.len_bytes() <= _MAX_NAME_BYTES)
    return rows.select(whole.fill_null(value=False)).to_series()


def _frames(rows: pl.DataFrame) -> pl.DataFrame:
    """Convert rows of `COLUMNS` to `schema.FRAMES` without `frame`."""
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
        dlc=pl.when(pl.col("raw_dlc") >= 0)
        .then(pl.col("raw_dlc").cast(pl.UInt8))
        .otherwise(pl.col("length").replace_strict(dlc_of, default=15, return_dtype=pl.UInt8)),
        payload=pl.col("payload"),
    )
