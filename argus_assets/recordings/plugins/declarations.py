"""The TOML file that declares external programs as decoders: its keys, what they mean, and errors that name them."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from argus_assets.common.config_files import Patterns, Strict, exactly_one, read_toml
from argus_assets.errors import BadSetting
from argus_assets.plugins.isolation import Bounds, Network

_MAX_OFFSET_NS: Final = 2**61  # with any time up to 2**62, 64 bits hold the sum
_PLACEHOLDERS: Final = ("{input}", "{output_dir}")

Unit = Literal["s", "ms", "us", "ns"]
Base = Literal["hex", "dec"]
FieldType = Literal["int", "float", "bool", "text"]


class TimestampColumn(Strict):
    """Place of a row's time. It becomes integer nanoseconds without ever being a floating-point number.

    Attributes:
        column: Name of the column.
        unit: Of its numbers. A Parquet column of timestamps needs none.
        epoch: What they count from, 1970 unless given.
        offset_ns: Added to each.
    """

    column: str
    unit: Unit | None = None
    epoch: AwareDatetime = datetime(1970, 1, 1, tzinfo=UTC)
    offset_ns: int = Field(0, ge=-_MAX_OFFSET_NS, le=_MAX_OFFSET_NS)

    @property
    def shift_ns(self) -> int:
        """Return the nanoseconds to add."""
        whole = self.epoch - datetime(1970, 1, 1, tzinfo=UTC)
        return (whole.days * 86_400 + whole.seconds) * 10**9 + whole.microseconds * 1000 + self.offset_ns

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        if abs(self.shift_ns) > _MAX_OFFSET_NS:
            msg = "epoch and offset_ns lead out of the range of nanoseconds since 1970"
            raise ValueError(msg)
        return self


class NumberColumn(Strict):
    """Place of a number.

    Attributes:
        column: Name of the column.
        base: How it is written, `hex` (with or without 0x) or `dec`.
    """

    column: str
    base: Base | None = None


class PayloadColumn(Strict):
    """Place of a message's bytes: in one column, or in a column for each byte.

    Attributes:
        column: A column of hex or base64 text; in Parquet also of bytes.
        columns: A column for each byte, in order; those behind the last byte are empty.
        encoding: Of the one column.
        base: Of the byte columns.
    """

    column: str | None = None
    columns: tuple[str, ...] | None = Field(None, min_length=1, max_length=64)
    encoding: Literal["hex", "base64"] = "hex"
    base: Base | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        exactly_one(self, "column", "columns")
        if self.columns is not None and self.base is None:
            msg = "byte columns need base = 'hex' or 'dec'"
            raise ValueError(msg)
        return self


class TextColumn(Strict):
    """A text: of a column, the same for all rows, or the name of the file without its suffix.

    Attributes:
        column: Name of the column.
        value: The text.
        source: `file` for the name of the file.
        prefix: Put before it.
    """

    column: str | None = None
    value: str | None = None
    source: Literal["file"] | None = None
    prefix: str = ""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        exactly_one(self, "column", "value", "source")
        return self


class FlagColumn(Strict):
    """Yes or no: of a column, or the same for all rows.

    Attributes:
        column: Name of the column.
        value: For all rows.
        true: Texts that mean yes, in lower case.
        false: Texts that mean no, in lower case.
    """

    column: str | None = None
    value: bool | None = None
    true: tuple[str, ...] = ("1", "true", "yes", "y", "t")
    false: tuple[str, ...] = ("0", "false", "no", "n", "f")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        exactly_one(self, "column", "value")
        return self


def _by_name(given: object) -> object:
    """Expand `timestamp = "t"` to `timestamp = { column = "t" }`."""
    return {"column": given} if isinstance(given, str) else given


_Timestamp = Annotated[TimestampColumn, BeforeValidator(_by_name)]
_Number = Annotated[NumberColumn, BeforeValidator(_by_name)]
_Payload = Annotated[PayloadColumn, BeforeValidator(_by_name)]
_Text = Annotated[TextColumn, BeforeValidator(_by_name)]
_Flag = Annotated[FlagColumn, BeforeValidator(_by_name)]


class Columns(Strict):
    """From the program's columns to ours (`schema.FRAMES`); `length` is the number of data bytes."""

    timestamp: _Timestamp
    channel: _Text | None = None
    topic: _Text | None = None
    arbitration_id: _Number | None = None
    is_extended_id: _Flag | None = None
    is_fd: _Flag | None = None
    is_remote_frame: _Flag | None = None
    is_error_frame: _Flag | None = None
    is_rx: _Flag | None = None
    dlc: _Number | None = None
    length: _Number | None = None
    payload: _Payload | None = None


_NEEDED: Final = {
    "can": ("channel", "arbitration_id", "payload"),
    "lin": ("channel", "arbitration_id", "payload"),
    "message": ("channel", "payload"),
}


class Output(Strict):
    """Content of some of the files that the program writes.

    Attributes:
        files: Patterns of their paths below the output folder; `*` also takes `/`.
        format: Of the files.
        table: `frames`: rows are frames with their bytes. `topic`: rows are messages with typed columns.
        kind: What the frames are.
        columns: From their columns to ours.
        message_schema: `schema` of the topics.
        types: Of typed columns; the others get the type that all their values fit.
        delimiter: Of CSV.
        header: The columns' names, for CSV without a first line of names.
        skip_lines: Lines of CSV before the names or the first row.
    """

    files: Patterns
    format: Literal["csv", "parquet"]
    table: Literal["frames", "topic"]
    kind: Literal["can", "lin", "message"] = "can"
    columns: Columns
    message_schema: str = ""
    types: dict[str, FieldType] = Field(default_factory=dict)
    delimiter: str = Field(",", min_length=1, max_length=1, pattern=r"^[\x01-\x7f]$")
    header: tuple[str, ...] | None = Field(None, min_length=1)
    skip_lines: int = Field(0, ge=0, le=1000)

    def takes(self, path: str) -> bool:
        """Return whether a file is one of these."""
        return any(fnmatchcase(path, pattern) for pattern in self.files)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        given = [name for name in Columns.model_fields if getattr(self.columns, name) is not None]
        allowed = {"timestamp", "topic"}
        if self.table == "frames":
            needed = _NEEDED[self.kind]
            missing = [name for name in needed if name not in given]
            if missing:
                msg = f"frames of kind {self.kind!r} need columns for {', '.join(missing)}"
                raise ValueError(msg)
            allowed = {"timestamp", *needed} if self.kind == "message" else {*Columns.model_fields} - {"topic"}
        extra = [name for name in given if name not in allowed]
        if extra:
            msg = f"columns for {', '.join(extra)} are not used here; possible are {', '.join(sorted(allowed))}"
            raise ValueError(msg)
        if self.format == "csv":
            if self.columns.timestamp.unit is None:
                msg = "columns.timestamp of CSV needs a unit: s, ms, us or ns"
                raise ValueError(msg)
            if self.columns.arbitration_id is not None and self.columns.arbitration_id.base is None:
                msg = "columns.arbitration_id of CSV needs base = 'hex' or 'dec'"
                raise ValueError(msg)
        return self


def _magic(given: object) -> object:
    if not isinstance(given, str):
        return given
    try:
        return bytes.fromhex(given)
    except ValueError:
        msg = f"{given!r} is not hex: write bytes as two digits each, such as '41 43 4d 45'"
        raise ValueError(msg) from None


class Declaration(Strict):
    """An external program that reads a format.

    Attributes:
        name: Of the format.
        version: Raise it when the program changes what it writes.
        magic: Bytes that its files have at `magic_offset`, as hex.
        magic_offset: Where.
        name_pattern: Patterns of file names, tried when no format knows the content.
        command: Program and arguments; `{input}` and `{output_dir}` are replaced.
        env: Variables for it.
        reads: Files and folders that it may read beside those of its installation.
        timeout_s: See `isolation.Bounds`, as the next four.
        ignore: Patterns of files that it writes and that hold nothing to be read.
        output: What is in the others; the first that takes a file counts.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,39}$")
    version: int = Field(ge=0, le=10**9)
    magic: Annotated[bytes | None, BeforeValidator(_magic), Field(min_length=1, max_length=256)] = None
    magic_offset: int = Field(0, ge=0, le=3840)
    name_pattern: Patterns = ()
    command: tuple[str, ...] = Field(min_length=1)
    env: dict[str, str] = Field(default_factory=dict)
    reads: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    timeout_s: float = Field(600, gt=0, le=86_400)
    memory_mib: int = Field(2048, ge=16, le=1024**2)
    output_mib: int = Field(8192, ge=1, le=16 * 1024**2)
    processes: int = Field(256, ge=1, le=10_000)
    network: Network = "none"
    ignore: Patterns = ()
    output: tuple[Output, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.magic is None and not self.name_pattern:
            msg = "give magic, name_pattern or both: nothing says which files it reads"
            raise ValueError(msg)
        text = " ".join(self.command)
        missing = [place for place in _PLACEHOLDERS if place not in text]
        if missing:
            msg = f"command has no {' and no '.join(missing)}"
            raise ValueError(msg)
        unknown = {m for m in re.findall(r"\{\w*\}", text) if m not in _PLACEHOLDERS}
        if unknown:
            msg = f"command has {', '.join(sorted(unknown))}; {' and '.join(_PLACEHOLDERS)} can be replaced"
            raise ValueError(msg)
        return self

    @property
    def bounds(self) -> Bounds:
        """Return what the program may take."""
        return Bounds(self.timeout_s, self.memory_mib, self.output_mib, self.processes, self.network)

    @property
    def digest(self) -> str:
        """Return a hash of the whole declaration."""
        document = json.dumps(self.model_dump(mode="json", exclude={"magic"}), sort_keys=True)
        return sha256(document.encode() + (self.magic or b"")).hexdigest()[:12]


class _File(Strict):
    decoder: tuple[Declaration, ...] = ()


def read_declarations(path: Path, *, reserved: Sequence[str] = ()) -> tuple[Declaration, ...]:
    """Read the declared programs. A program with a relative path is beside the file, and so is what it reads.

    Args:
        path: The TOML file.
        reserved: Names that they may not have.

    Raises:
        BadSetting: There is no such file, or something in it cannot be used.
    """
    declared = read_toml(
        path, _File, what="decoders", setting="ARGUS_DECODERS or --decoders", guide="docs/recordings.md"
    ).decoder
    names = [*reserved, *(d.name for d in declared)]
    double = next((d.name for d in declared if names.count(d.name) > 1), None)
    if double is not None:
        raise BadSetting(f"{path}: the name {double!r} is taken.", help="Give each decoder a name of its own.")
    folder = path.absolute().parent
    return tuple(
        d.model_copy(
            update={
                "command": (_program(d.command[0], folder), *d.command[1:]),
                "reads": tuple(str(folder / path) for path in d.reads),
            }
        )
        for d in declared
    )


def _program(name: str, folder: Path) -> str:
    return str(folder / name) if "/" in name and not name.startswith("/") else name
