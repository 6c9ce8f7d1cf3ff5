"""A user's additions to the dictionary: CSV files, and attributes in DBC files.

CSV: UTF-8, commas, a header. `code` must be there; `description`, `system`, `severity`, `causes`, `checks` and
`must_not` may be. Several causes, checks or warnings in one cell are separated by semicolons. `SPN520192` stands for
that parameter with any failure mode, `SPN520192/FMI7` for one; `P1234` also for `P1234-1C`. What a cell leaves empty
stays as it was.

DBC: a message or signal with the attribute `ArgusCode` (or `DTC`) describes that code; its comment is the
description, without one its name. `ArgusSystem`, `ArgusSeverity`, `ArgusCauses`, `ArgusChecks` and `ArgusMustNot`
may stand beside it. A signal with the attribute `SPN`, as J1939 databases have it, names that parameter, unless
Argus lists it.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from argus_assets.common.regular_file import NotRegularError, TooLargeError, read_regular
from argus_assets.errors import BadSetting
from argus_assets.faults.dictionary.data import load_tables
from argus_assets.faults.schema import Severity

if TYPE_CHECKING:
    from cantools.database.can import Message, Signal

MAX_FILE_BYTES: Final = 64 * 1024**2
"""Of a dictionary, or a database of signals."""

COLUMNS: Final = ("code", "description", "system", "severity", "causes", "checks", "must_not")
"""Columns of a CSV file."""

SEPARATOR: Final = ";"
"""Between several causes, checks or warnings."""

CODE_ATTRIBUTES: Final = ("ArgusCode", "DTC")
"""Attributes of a DBC's message or signal that hold its code, the first that is there."""

SPN_ATTRIBUTE: Final = "SPN"

_DBC_COLUMNS: Final = {
    "system": "ArgusSystem",
    "severity": "ArgusSeverity",
    "causes": "ArgusCauses",
    "checks": "ArgusChecks",
    "must_not": "ArgusMustNot",
}

_UPPER_CASE_CODE: Final = re.compile(r"[PBCU][0-3][0-9A-F]{3}(?:-[0-9A-F]{2})?|SPN[0-9]+(?:/FMI[0-9]+)?", re.IGNORECASE)
"""Codes that people write in small letters too, and sources never do."""

_SPN_NUMBER: Final = re.compile(r"(SPN|FMI)0+(?=[0-9])")


@dataclass(frozen=True, slots=True)
class Addition:
    """A user's description of a code. Empty means: unchanged.

    Attributes:
        source: File and place.
    """

    source: str
    text: str = ""
    system: str = ""
    severity: Severity | None = None
    causes: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Additions:
    """Additions of one file, by code; `digest` is the file's."""

    entries: Mapping[str, Addition]
    digest: str


def read_additions(paths: Iterable[Path]) -> tuple[Additions, ...]:
    """Read CSV and DBC files.

    Raises:
        BadSetting: A file cannot be read, or something in it cannot be used.
    """
    return tuple(_read(path) for path in paths)


def _read(path: Path) -> Additions:
    readers = {".csv": read_csv, ".dbc": read_dbc}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        msg = f"Dictionary {path}: expected a file that ends in {' or '.join(readers)}, found {path.suffix!r}."
        raise BadSetting(msg, help="See docs/faults.md.")
    try:
        # DBC files are cp1252 by custom; UTF-8 is what people write today.
        data = read_regular(path, MAX_FILE_BYTES)
    except NotRegularError as error:
        msg = f"Dictionary {path}: expected a file, found something else."
        raise BadSetting(msg, help="Name another file.") from error
    except TooLargeError as error:
        msg = f"Dictionary {path}: expected at most {MAX_FILE_BYTES} bytes, found more."
        raise BadSetting(msg, help="Name another file, or several smaller ones.") from error
    except OSError as error:
        msg = f"Dictionary {path}: could not be read: {error.strerror or error}."
        raise BadSetting(msg, help="Check the path and that you may read it.") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if reader is read_csv:
            msg = f"Dictionary {path}: expected UTF-8, found byte 0x{data[error.start]:02X} at {error.start}."
            raise BadSetting(msg, help="Save it as CSV UTF-8.") from error
        text = data.decode("cp1252", "replace")
    return reader(text, name=path.name)


def read_csv(text: str, *, name: str) -> Additions:
    """Read the additions of a CSV file.

    Args:
        text: The file's content.
        name: The file's name, for errors and as source.

    Raises:
        BadSetting: Names the line, what was expected and what was found.
    """
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        _check_header(header, name)
        entries: dict[str, Addition] = {}
        for cells in reader:
            where = f"{name}, line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                _refuse(where, "row", f"{len(header)} cells", f"{len(cells)}", "Put cells with commas in quotes.")
            row = {column: " ".join(cell.split()) for column, cell in zip(header, cells, strict=True)}
            code = _code(row["code"], where)
            if code in entries:
                _refuse(where, "code", "each code once", f"{code} again", "Put what belongs to it into one row.")
            entries[code] = _addition(row, where)
    except csv.Error as error:
        _refuse(f"{name}, line {reader.line_num}", "row", "CSV", str(error), "Close the quotes of each cell.")
    return Additions(entries, _digest(text))


def _check_header(header: list[str], name: str) -> None:
    where = f"{name}, line 1"
    unknown = [column for column in header if column not in COLUMNS]
    if "code" not in header or unknown or len(set(header)) < len(header):
        expected = f"columns {', '.join(COLUMNS)}, of which code must be there, each once"
        _refuse(where, "header", expected, ", ".join(header) or "nothing", "Separate columns by commas.")


def _addition(row: Mapping[str, str], where: str) -> Addition:
    stated = row.get("severity", "").lower()
    if stated and stated not in set(Severity):
        _refuse(where, "severity", f"one of {', '.join(Severity)}, or nothing", stated, "Write one of these words.")
    if not any(text for column, text in row.items() if column != "code"):
        _refuse(where, "row", "a description of the code", "nothing", "Fill in the description.")
    return Addition(
        source=where,
        text=row.get("description", ""),
        system=row.get("system", ""),
        severity=Severity(stated) if stated else None,
        causes=_list(row.get("causes", "")),
        checks=_list(row.get("checks", "")),
        must_not=_list(row.get("must_not", "")),
    )


def _list(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split(SEPARATOR) if part.strip())


def _code(stated: str, where: str) -> str:
    """Return a code as sources write it."""
    if not stated or " " in stated:
        _refuse(where, "code", "one code without spaces", repr(stated), "Write it as Argus shows it, such as P1234.")
    if not _UPPER_CASE_CODE.fullmatch(stated):
        return stated
    return _SPN_NUMBER.sub(r"\1", stated.upper())


def _refuse(where: str, what: str, expected: str, found: str, help_text: str) -> NoReturn:
    raise BadSetting(f"Dictionary {where}: {what}: expected {expected}, found {found}.", help=help_text)


def read_dbc(text: str, *, name: str) -> Additions:
    """Read the additions of a DBC file: messages and signals with the attributes above. The others are ignored.

    Args:
        text: The file's content.
        name: The file's name, for errors and as source.

    Raises:
        BadSetting: It is not a DBC file, or an attribute cannot be used.
    """
    import cantools
    from cantools.database.can import Database

    try:
        database = cantools.database.load_string(text, "dbc", strict=False)
    except Exception as error:
        msg = f"Dictionary {name}: expected a DBC file, found what cannot be read as one: {error}."
        raise BadSetting(msg, help="Open it with the tool that wrote it, and save it again.") from error
    assert isinstance(database, Database)
    entries: dict[str, Addition] = {}
    for thing, where in _described(database.messages, name):
        found = _of_dbc(thing, where)
        if found is None:
            continue
        code, addition = found
        if code in entries:
            _refuse(where, "code", "each code once", f"{code} again", f"It is at {entries[code].source} too.")
        entries[code] = addition
    for code, addition in _parameters(database.messages, name):
        entries.setdefault(code, addition)
    return Additions(entries, _digest(text))


def _described(messages: Iterable["Message"], name: str) -> Iterator[tuple["Message | Signal", str]]:
    for message in messages:
        yield message, f"{name}, message {message.name}"
        for signal in message.signals:
            yield signal, f"{name}, signal {message.name}.{signal.name}"


def _of_dbc(thing: "Message | Signal", where: str) -> tuple[str, Addition] | None:
    """Return a message or signal with its code, `None` where it has none."""
    attributes = _attributes(thing)
    stated = next((attributes[key] for key in CODE_ATTRIBUTES if attributes.get(key)), None)
    if stated is None:
        return None
    row = {column: attributes.get(key, "") for column, key in _DBC_COLUMNS.items()}
    return _code(stated, where), _addition({**row, "description": _comment(thing)}, where)


def _parameters(messages: Iterable["Message"], name: str) -> Iterator[tuple[str, Addition]]:
    """Return the signals that name a J1939 parameter which Argus does not list."""
    listed = load_tables().parameters
    for message in messages:
        for signal in message.signals:
            stated = _attributes(signal).get(SPN_ATTRIBUTE, "")
            if stated.isdecimal() and int(stated) and int(stated) not in listed:
                where = f"{name}, signal {message.name}.{signal.name}"
                yield f"SPN{int(stated)}", Addition(where, text=_comment(signal))


def _attributes(thing: "Message | Signal") -> dict[str, str]:
    """Return the attributes that are set, as text; a choice by its name."""
    specifics = thing.dbc
    if specifics is None:
        return {}
    found: dict[str, str] = {}
    for key, attribute in specifics.attributes.items():
        value, choices = attribute.value, attribute.definition.choices
        if choices and isinstance(value, int) and 0 <= value < len(choices):
            value = choices[value]
        found[key] = " ".join(str(value).split())
    return found


def _comment(thing: "Message | Signal") -> str:
    return " ".join((thing.comment or "").split()) or thing.name.replace("_", " ")


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
