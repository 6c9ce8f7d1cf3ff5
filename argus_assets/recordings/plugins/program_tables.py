"""Tables that foreign programs wrote (CSV, Parquet) → frames and typed columns, by their declaration.

A file is read in blocks. CSV stays text until a column's declared meaning makes it a number, times by their decimal
digits. A row that cannot be read is counted and reported; it never stops the others.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from argus_assets.recordings.columns import FD_LENGTHS
from argus_assets.recordings.model import Limits, Problem, TopicKey
from argus_assets.recordings.plugins.declarations import (
    Base,
    FieldType,
    FlagColumn,
    NumberColumn,
    Output,
    PayloadColumn,
    TextColumn,
    TimestampColumn,
)
from argus_assets.recordings.schema import FRAMES

_BLOCK_BYTES: Final = 4 * 1024**2
_FULL_BLOCKS: Final = 4
"""Files whose blocks have that size when they are read side by side; those of more files are smaller."""
_MAX_HEAD_BYTES: Final = 1024**2
_PARQUET_ROWS: Final = 64 * 1024
_DIGITS: Final = {"s": 9, "ms": 6, "us": 3, "ns": 0}
_ID_MASK: Final = 0x1FFFFFFF
_EXTENDED_BIT: Final = 0x80000000
_HEX_PAIRS: Final = [f"{n:02x}" for n in range(256)]
_DTYPES: Final[Mapping[FieldType, pl.DataType]] = {
    "int": pl.Int64(), "float": pl.Float64(), "bool": pl.Boolean(), "text": pl.String(),
}  # fmt: skip
_LOOKS: Final[Mapping[FieldType, str]] = {
    "int": r"^[+-]?\d{1,18}$",
    "float": r"^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:nan|inf|infinity))$",
    "bool": r"^(?i:true|false)$",
}
RESERVED: Final = ("frame", "timestamp")

BodySchema = pl.Schema({name: dtype for name, dtype in FRAMES.schema.items() if name != "frame"})


class BadTableFile(Exception):
    """A file is not the declared table, so that none of it can be used."""

    def __init__(self, expected: str, actual: str) -> None:
        self.expected = expected
        self.actual = actual
        super().__init__(f"expected {expected}, found {actual}")


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of one file, in its order.

    Attributes:
        frames: `schema.FRAMES` without `frame`.
        typed: Typed columns of the same rows with their key, `None` for frames that have bytes.
    """

    frames: pl.DataFrame
    typed: tuple[TopicKey, pl.DataFrame] | None = None


@dataclass(slots=True)
class BadRows:
    """Rows of one file that could not be read."""

    count: int = 0
    first: str = ""

    def add(self, count: int, first: str) -> None:
        """Count some; the first of all is described."""
        if not self.count:
            self.first = first
        self.count += count


@dataclass(slots=True)
class TableFile:
    """One file that a program wrote.

    Attributes:
        path: Where.
        name: Below the output folder, as it is shown.
        output: What is in it.
        beside: Files that are read at the same time, with this one: their blocks share memory.
        problems: What was wrong with it, complete when its rows have been taken.
    """

    path: Path
    name: str
    output: Output
    beside: int = 1
    problems: list[Problem] = field(default_factory=list)

    def share(self, of_block: int) -> int:
        """Return what one of its blocks may take of what a block of few files takes."""
        return of_block * _FULL_BLOCKS // max(self.beside, _FULL_BLOCKS)

    @property
    def stem(self) -> str:
        """Return its name without its suffix."""
        return self.name.rpartition(".")[0] or self.name

    def rows(self, limits: Limits, types: "Mapping[str, pl.DataType] | None" = None) -> Iterator[Rows]:
        """Yield its rows; what cannot be read of it becomes `problems`."""
        bad = BadRows()
        done = 0
        try:
            for at, block in _blocks(self, limits, bad):
                for made in _convert(self, block, at, bad, types or {}):
                    done += made.frames.height
                    yield made
        except BadTableFile as error:
            self.problems.append(self._unusable(error.expected, error.actual, done))
        except (pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError, TypeError) as error:
            self.problems.append(self._unusable(f"a whole {self.output.format} file", _line(error), done))
        if bad.count:
            self.problems.append(
                Problem(
                    "bad_record", f"rows of {self.name} as declared", f"{bad.count:,} others, the first: {bad.first}",
                    None, bad.count, "All other rows were read. Compare the program's output with the declaration.",
                )
            )  # fmt: skip

    def _unusable(self, expected: str, actual: str, done: int) -> Problem:
        return Problem(
            "decoder_failed", f"{self.name}: {expected}", actual, None, None,
            f"{done:,} rows before it were read. Compare the program's output with the declaration.",
        )  # fmt: skip


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300]


# ---------------------------------------------------------------------------------------------- blocks of rows


def _blocks(file: TableFile, limits: Limits, bad: BadRows) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield blocks with all columns, each with the number of its first row, from 1. Columns of CSV are text, null where it is not UTF-8."""
    return _csv_blocks(file, bad) if file.output.format == "csv" else _parquet_blocks(file, limits)


def _csv_blocks(file: TableFile, bad: BadRows) -> Iterator[tuple[int, pl.DataFrame]]:
    names = _csv_names(file)
    if names is None:
        return
    _check_columns(file, names)
    output = file.output
    malformed: list[Any] = []

    def on_malformed(row: Any) -> str:  # noqa: ANN401 - pyarrow states no type
        malformed.append(row)
        return "skip"

    reader = pa_csv.open_csv(
        file.path,
        pa_csv.ReadOptions(
            use_threads=False,
            block_size=file.share(_BLOCK_BYTES),
            column_names=names,
            skip_rows=output.skip_lines + (output.header is None),
        ),
        pa_csv.ParseOptions(delimiter=output.delimiter, invalid_row_handler=on_malformed),
        pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.binary()), strings_can_be_null=False),
    )
    at = 1
    with reader:
        while True:
            try:
                block = reader.read_next_batch()
            except StopIteration:
                block = None
            if malformed:
                row = malformed[0]
                place = f"line {row.number}: " if row.number else ""
                found = f"{place}{row.actual_columns} columns instead of {row.expected_columns}"
                bad.add(len(malformed), f"{found}: {_shown(row.text)}")
                malformed.clear()
            if block is None:
                return
            frame = pl.DataFrame(pa.table(block))
            yield at, frame.select(_utf8(frame[name]) for name in names)
            at += block.num_rows


def _utf8(raw: pl.Series) -> pl.Series:
    try:
        return raw.cast(pl.String)
    except pl.exceptions.PolarsError:
        return pl.Series(raw.name, [_decoded(value) for value in raw], dtype=pl.String)


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _csv_names(file: TableFile) -> list[str] | None:
    """Return the names of the columns, `None` for a file without rows."""
    output = file.output
    with file.path.open("rb") as opened:
        for _ in range(output.skip_lines):
            opened.readline(_MAX_HEAD_BYTES)
        line = opened.readline(_MAX_HEAD_BYTES)
    if output.header is not None:
        return list(output.header) if line else None
    try:
        text = line.decode("utf-8-sig")
        names = next(csv.reader(io.StringIO(text), delimiter=output.delimiter), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadTableFile("a first line with the columns' names", _line(error)) from error
    return [name.strip() for name in names]


def _parquet_blocks(file: TableFile, limits: Limits) -> Iterator[tuple[int, pl.DataFrame]]:
    with pq.ParquetFile(file.path) as opened:
        _check_columns(file, opened.schema_arrow.names)
        largest = max(
            (opened.metadata.row_group(n).total_byte_size for n in range(opened.metadata.num_row_groups)), default=0
        )
        if largest > limits.max_chunk_bytes:
            raise BadTableFile(f"row groups of at most {limits.max_chunk_bytes} bytes", f"one of {largest}")
        at = 1
        for batch in opened.iter_batches(batch_size=file.share(_PARQUET_ROWS), use_threads=False):
            yield at, pl.DataFrame(pa.table(batch))
            at += batch.num_rows


def _check_columns(file: TableFile, found: list[str]) -> None:
    doubled = sorted({name for name in found if found.count(name) > 1})
    if doubled:
        raise BadTableFile("columns with different names", f"{_listed(doubled)} more than once")
    columns = file.output.columns
    wanted: list[str] = []
    for name in type(columns).model_fields:
        column = getattr(columns, name)
        if column is not None and getattr(column, "column", None) is not None:
            wanted.append(column.column)
        wanted += getattr(column, "columns", None) or ()
    missing = [name for name in wanted if name not in found]
    if missing:
        raise BadTableFile(f"columns {_listed(wanted)}", f"{_listed(found)}: {_listed(missing)} missing")


def _listed(names: list[str]) -> str:
    return _shown(", ".join(names)) or "none"


def _shown(text: str | None) -> str:
    """Return a text of the program in a form that a report may hold."""
    kept = "".join(c if c.isprintable() else "·" for c in (text or ""))
    return kept if len(kept) <= 120 else kept[:117] + "..."


# ---------------------------------------------------------------------------------------------- columns to fields


def _convert(
    file: TableFile, block: pl.DataFrame, at: int, bad: BadRows, types: Mapping[str, pl.DataType]
) -> Iterator[Rows]:
    output = file.output
    fields = _message_fields(file, block) if output.table == "topic" else _frame_fields(file, block)
    made = pl.DataFrame(fields)
    usable = made.select(pl.all_horizontal(pl.exclude("is_rx").is_not_null())).to_series()
    typed = None
    if output.table == "topic":
        typed = _typed(file, block, types)
        usable &= typed["_ok"]
        typed = typed.drop("_ok")
    if not usable.all():
        row = int(usable.not_().arg_max() or 0)
        bad.add(int(usable.not_().sum()), _why(file, block, made, row, f"whole row {at + row}"))
        made = made.filter(usable)
        typed = None if typed is None else typed.filter(usable)
    frames = made.select(
        pl.col(name).cast(dtype) if name in made.columns else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in BodySchema.items()
    )
    if typed is None:
        yield Rows(frames)
        return
    together = typed.with_columns(_topic=made["channel"], timestamp=frames["timestamp"])
    order = ["timestamp", *(n for n in typed.columns if n != "timestamp")]
    for (topic,), part in (
        pl.DataFrame({"_topic": made["channel"]}).with_row_index("_row").group_by("_topic", maintain_order=True)
    ):
        rows = part["_row"]
        key = (str(topic), output.message_schema)
        yield Rows(frames[rows], (key, together[rows].select(order)))


def _why(file: TableFile, block: pl.DataFrame, made: pl.DataFrame, row: int, place: str) -> str:
    """Describe what is wrong with a row."""
    columns = file.output.columns
    for name in made.columns:
        column = getattr(columns, "topic" if name == "channel" and file.output.table == "topic" else name, None)
        if name != "is_rx" and made[name][row] is None:
            names = [getattr(column, "column", None), *(getattr(column, "columns", None) or ())]
            found = ", ".join(f"{n}={block[n][row]!r}" for n in names if n is not None)
            return f"{place}: {name} cannot be made of {_shown(found) or 'the other columns'}"
    return f"{place}: a typed column has a value of another type"


def _frame_fields(file: TableFile, block: pl.DataFrame) -> dict[str, pl.Series]:
    """Return the columns of `schema.FRAMES` without `frame`; null where a value cannot be read."""
    output, columns = file.output, file.output.columns
    n = block.height
    assert columns.channel is not None
    assert columns.payload is not None
    fields = {
        "timestamp": _times(block, columns.timestamp),
        "channel": _texts(block, columns.channel, file.stem),
        "kind": pl.repeat(output.kind, n, dtype=pl.String, eager=True),
    }
    if output.kind == "message":
        return fields | {"payload": _payloads(block, columns.payload, None, None)}
    assert columns.arbitration_id is not None
    raw = _numbers(block, columns.arbitration_id, max_value=2**32 - 1)
    remote = _flags(block, columns.is_remote_frame, "is_remote_frame")
    if remote is None:
        remote = pl.repeat(False, n, eager=True)
    length = None if columns.length is None else _numbers(block, columns.length, max_value=64)
    payload = _payloads(block, columns.payload, length, remote)
    size = payload.bin.size().cast(pl.Int64)
    marked = (raw & _EXTENDED_BIT) != 0
    number = pl.select(pl.when(marked).then(raw & ~_EXTENDED_BIT).otherwise(raw)).to_series()
    stated_extended = _flags(block, columns.is_extended_id, "is_extended_id")
    extended = (marked | (number > 0x7FF)) if stated_extended is None else (stated_extended | marked)
    stated_fd = _flags(block, columns.is_fd, "is_fd")
    fd = size > 8 if stated_fd is None else stated_fd
    max_bytes = 64 if output.kind == "can" else 8
    fits = (size <= max_bytes) & (fd | (size <= 8)) if output.kind == "can" else size <= max_bytes
    if columns.dlc is not None:
        dlc = _numbers(block, columns.dlc, max_value=15)
    elif output.kind == "can":
        dlc = pl.Series(np.searchsorted(FD_LENGTHS, size.fill_null(0).clip(0, 64).to_numpy()))
    else:
        dlc = size
    identifiable = (number <= _ID_MASK) & (extended | (number <= 0x7FF))
    made = pl.select(
        arbitration_id=pl.when(identifiable).then(number),
        is_extended_id=extended,
        is_fd=fd,
        is_remote_frame=remote,
        is_error_frame=_or_no(_flags(block, columns.is_error_frame, "is_error_frame"), n),
        dlc=dlc,
        payload=pl.when(fits).then(payload),
    )
    rx = _flags(block, columns.is_rx, "is_rx")
    return fields | {name: made[name] for name in made.columns} | ({} if rx is None else {"is_rx": rx})


def _or_no(flags: pl.Series | None, n: int) -> pl.Series:
    return pl.repeat(False, n, eager=True) if flags is None else flags


def _message_fields(file: TableFile, block: pl.DataFrame) -> dict[str, pl.Series]:
    columns = file.output.columns
    n = block.height
    return {
        "timestamp": _times(block, columns.timestamp),
        "channel": _texts(block, columns.topic or TextColumn(source="file"), file.stem),
        "kind": pl.repeat("message", n, dtype=pl.String, eager=True),
        "payload": pl.repeat(b"", n, dtype=pl.Binary, eager=True),
    }


def _as_text(values: pl.Series) -> pl.Series:
    """Return a column as text; a floating-point number as its shortest decimal, never converted through another type."""
    if values.dtype == pl.String:
        return values
    if values.dtype.is_float():
        texts = [None if v is None else format(Decimal(repr(v)), "f") if np.isfinite(v) else "" for v in values]
        return pl.Series(values.name, texts, dtype=pl.String)
    if (
        values.dtype.is_integer()
        or values.dtype.is_decimal()
        or isinstance(values.dtype, (pl.Boolean, pl.Categorical, pl.Enum))
    ):
        return values.cast(pl.String)
    raise BadTableFile(f"column {values.name!r} of text or numbers", f"one of {values.dtype}")


def _times(block: pl.DataFrame, column: TimestampColumn) -> pl.Series:
    values = block[column.column]
    if isinstance(values.dtype, pl.Datetime):
        shifted = values.dt.replace_time_zone(None) if values.dtype.time_zone is None else values
        per_unit = {"ns": 1, "us": 1000, "ms": 10**6}[values.dtype.time_unit]
        counts = shifted.to_physical().cast(pl.Int64)
        inside = counts.abs() <= (2**62) // per_unit
        ns = counts.set(~inside.fill_null(False), None) * per_unit + column.shift_ns
    else:
        if column.unit is None:
            raise BadTableFile(
                f"column {column.column!r} of timestamps, or a unit in the declaration", str(values.dtype)
            )
        ns = pl.select(_nanoseconds(_as_text(values), column.unit, column.shift_ns)).to_series()
    return ns.cast(FRAMES.schema["timestamp"]).alias("timestamp")


def _nanoseconds(text: pl.Series, unit: str, shift_ns: int) -> pl.Expr:
    """Parse decimal digits to nanoseconds; digits below a nanosecond are dropped."""
    digits = _DIGITS[unit]
    groups = pl.lit(text.str.strip_chars().str.extract_groups(r"^([+-]?)(\d{1,19})(?:\.(\d*))?$"))
    whole = groups.struct.field("2").cast(pl.Int64, strict=False)
    whole = pl.when(whole <= 2**62 // 10**digits).then(whole) * 10**digits
    below = groups.struct.field("3").fill_null("").str.slice(0, digits).str.pad_end(digits, "0")
    part = below.cast(pl.Int64, strict=False) if digits else pl.lit(0)
    sign = pl.when(groups.struct.field("1") == "-").then(-1).otherwise(1)
    return sign * (whole + part) + shift_ns


def _texts(block: pl.DataFrame, column: TextColumn, stem: str) -> pl.Series:
    if column.column is None:
        text = column.prefix + (stem if column.value is None else column.value)
        return pl.repeat(text, block.height, dtype=pl.String, eager=True)
    values = _as_text(block[column.column]).str.strip_chars()
    return column.prefix + values.set(values == "", None)


def _numbers(block: pl.DataFrame, column: NumberColumn, *, max_value: int) -> pl.Series:
    text = _as_text(block[column.column])
    number = pl.select(_number(pl.lit(text), column.base or "dec")).to_series()
    return number.set((number > max_value).fill_null(False), None)


def _number(text: pl.Expr, base: Base) -> pl.Expr:
    """Parse integers of up to 32 bits, null for other texts."""
    text = text.str.strip_chars()
    if base == "dec":
        return text.str.extract(r"^(\d{1,10})$").cast(pl.Int64, strict=False)
    return text.str.extract(r"^(?:0[xX])?([0-9A-Fa-f]{1,8})[hH]?$").str.to_integer(
        base=16, strict=False, dtype=pl.Int64
    )


def _flags(block: pl.DataFrame, column: FlagColumn | None, name: str) -> pl.Series | None:
    if column is None:
        return None
    if column.column is None:
        return pl.repeat(column.value, block.height, dtype=pl.Boolean, eager=True)
    directions = name == "is_rx" and "true" not in column.model_fields_set
    meanings = dict.fromkeys((*column.true, *(("rx",) if directions else ())), True)
    meanings |= dict.fromkeys((*column.false, *(("tx",) if directions else ())), False)
    text = _as_text(block[column.column]).str.strip_chars().str.to_lowercase()
    return text.replace_strict(meanings, default=None, return_dtype=pl.Boolean)


def _payloads(
    block: pl.DataFrame, column: PayloadColumn, length: pl.Series | None, remote: pl.Series | None
) -> pl.Series:
    """Return the bytes of each row, cut to `length`; null where there are fewer or the text has none. Remote frames have none."""
    data = _bytes_of_columns(block, column, length) if column.columns is not None else _bytes(block, column)
    if length is not None:
        whole = data.bin.size() >= length
        data = pl.select(pl.when(whole).then(pl.lit(data).bin.slice(0, length))).to_series()
    if remote is not None:
        empty = pl.lit(b"", dtype=pl.Binary)
        data = pl.select(pl.when(remote).then(empty).otherwise(pl.lit(data))).to_series()
    return data.alias("payload")


def _bytes(block: pl.DataFrame, column: PayloadColumn) -> pl.Series:
    assert column.column is not None
    values = block[column.column]
    if values.dtype == pl.Binary:
        return values
    if isinstance(values.dtype, (pl.List, pl.Array)):
        lists = values.to_list()
        return pl.Series([_bytes_of_list(v) for v in lists], dtype=pl.Binary)
    text = _as_text(values)
    if column.encoding == "base64":
        return text.str.strip_chars().str.decode("base64", strict=False)
    return text.str.replace_all(r"0[xX]|[\s:,_-]", "").str.decode("hex", strict=False)


def _bytes_of_list(values: list[Any] | None) -> bytes | None:
    try:
        return None if values is None else bytes(values)
    except (ValueError, TypeError):
        return None


def _bytes_of_columns(block: pl.DataFrame, column: PayloadColumn, length: pl.Series | None) -> pl.Series:
    """Return one byte of each column up to the first empty one, or up to `length`."""
    assert column.columns is not None
    pairs: list[pl.Expr] = []
    sound = pl.lit(True)
    before = pl.lit(True)
    for place, name in enumerate(column.columns):
        text = _as_text(block[name]).str.strip_chars()
        number = _number(pl.lit(text), column.base or "dec")
        given = pl.lit(text.fill_null("") != "")
        wanted = given if length is None else given & (pl.lit(length) > place)
        sound = sound & (~wanted | (number.is_not_null() & (number <= 255) & before))
        pairs.append(
            pl.when(wanted).then(number.replace_strict(range(256), _HEX_PAIRS, default="")).otherwise(pl.lit(""))
        )
        before = before & given
    joined = pl.concat_str(pairs).str.decode("hex", strict=False)
    return pl.select(pl.when(sound).then(joined)).to_series()


# ---------------------------------------------------------------------------------------------- typed columns


def field_types(files: list[TableFile], limits: Limits) -> dict[str, pl.DataType]:
    """Return the types of the typed columns of one topic's files: as declared, else the first that all values fit."""
    fits: dict[str, list[FieldType]] = {}
    types: dict[str, pl.DataType] = {}
    order: dict[str, None] = {}
    for file in files:
        declared = file.output.types
        try:
            for _, block in _blocks(file, limits, BadRows()):
                for name in _field_names(file, block.columns):
                    order[name] = None
                    if name in declared:
                        types[name] = _DTYPES[declared[name]]
                    elif block[name].dtype != pl.String or file.output.format == "parquet":
                        types.setdefault(name, block[name].dtype)
                    else:
                        fits[name] = _fitting(block[name], fits.get(name, ["int", "float", "bool"]))
        except (BadTableFile, pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError, TypeError):
            continue  # reported when its rows are taken
    for name, left in fits.items():
        types.setdefault(name, _DTYPES[left[0] if left else "text"])
    return {name: types[name] for name in order}


def _fitting(values: pl.Series, left: list[FieldType]) -> list[FieldType]:
    filled = values.drop_nulls().str.strip_chars()
    filled = filled.filter(filled != "")
    return [t for t in left if filled.str.contains(_LOOKS[t]).all()]


def _field_names(file: TableFile, found: list[str]) -> list[str]:
    """Return the columns that are neither the time nor the topic."""
    columns = file.output.columns
    used = {columns.timestamp.column, columns.topic.column if columns.topic else None}
    return [name for name in found if name not in used]


def _typed(file: TableFile, block: pl.DataFrame, types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return typed columns and `_ok`, false where a value was lost."""
    found = _field_names(file, block.columns)
    made: list[pl.Series] = []
    ok = pl.repeat(True, block.height, eager=True)
    for name, dtype in types.items():
        shown = f"{name}_" if name in (*RESERVED, "_ok", "_topic") else name
        if name not in found:
            made.append(pl.repeat(None, block.height, dtype=dtype, eager=True).alias(shown))
            continue
        values = block[name]
        if file.output.format == "csv":
            values = values.set((values.str.strip_chars() == "").fill_null(False), None)
            ok &= block[name].is_not_null()
        cast = _cast(values, dtype)
        ok &= values.is_null() | cast.is_not_null()
        made.append(cast.alias(shown))
    return pl.DataFrame([*made, ok.alias("_ok")])


def _cast(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    if values.dtype == dtype:
        return values
    if values.dtype == pl.String and dtype != pl.String:
        text = values.str.strip_chars()
        if dtype == pl.Boolean:
            meanings = {"true": True, "1": True, "false": False, "0": False}
            return text.str.to_lowercase().replace_strict(meanings, default=None, return_dtype=pl.Boolean)
        return text.cast(dtype, strict=False)
    return values.cast(dtype, strict=False)
