"""Files of cases: JSON lines and CSV, read row by row with a reason for each that cannot be used.

A VIN never gets in: an identifying field that looks like one makes its row unusable, and free texts are stripped of it.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final, Literal
from urllib.parse import quote, unquote

from pydantic import ValidationError

from argus_assets.common.texts import csv_cell, csv_text
from argus_assets.diagnosis.ports import Case, CodeCount
from argus_assets.diagnosis.redaction import redact

CaseFormat = Literal["jsonl", "csv"]

COLUMNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "id": "required: unique; importing it again replaces the case",
        "platform": "required: kind of vehicle, as in manifests",
        "release": "required: software release that the vehicle ran",
        "recorded_at": "required: when the drive began, ISO 8601; UTC where no offset is given",
        "codes": "required: CODE[@ECU][*OCCURRENCES], separated by semicolons, such as P0301@engine*12;P0351",
        "cause": "required: identifier of the cause, as in the knowledge base or of your own, such as loose_ground_strap",
        "title": "the cause in plain words; required where the cause is not known yet",
        "fix": "what helped",
        "note": "anything else",
        "confirmed_at": "required: when a person confirmed or corrected it, ISO 8601",
        "confirmed_by": "who",
        "partition": "batch that it was, as a partition key",
        "signature": "fault signature of a diagnosis",
        "predicted_cause": "what the diagnosis had said first",
        "predicted_confidence": "how sure it was, 0 to 1",
        "predicted_mode": "mode of that diagnosis",
    }
)
"""Column → what it holds. In JSON lines `codes` is an array of objects with `code`, `ecu` and `occurrences`."""

CAUSE: Final = re.compile(r"[a-z][a-z0-9_]{1,127}")
"""Form of a cause's identifier."""

_MAX_IDENTIFIER: Final = 200
_FREE_TEXT: Final = ("title", "fix", "note", "confirmed_by")
_IDENTIFYING: Final = ("id", "partition", "platform", "release", "signature", "cause", "predicted_cause")
_RESERVED: Final = "%;*@"


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used.

    Attributes:
        line: Of the file, from 1.
        field: Which, empty for the row as a whole.
        expected: What should stand there.
        found: What does.
    """

    line: int
    field: str
    expected: str
    found: str

    def __str__(self) -> str:
        """In one line."""
        field = f"{self.field}: " if self.field else ""
        return f"line {self.line}: {field}expected {self.expected}, found {self.found}"


class _Refused(Exception):
    def __init__(self, field: str, expected: str, found: object) -> None:
        super().__init__(field)
        self.field, self.expected = field, expected
        # What is not shown cannot be a VIN, and a long text is no help.
        self.found = redact(found if isinstance(found, str) else repr(found))[:80] or "nothing"


def format_of(name: str) -> CaseFormat | None:
    """Format of a file by its name; `None` for an unknown ending."""
    endings: dict[str, CaseFormat] = {"jsonl": "jsonl", "ndjson": "jsonl", "csv": "csv"}
    return endings.get(name.rpartition(".")[2].lower())


def near_misses(cause: str, known: Iterable[str]) -> list[str]:
    """Identifiers of causes that are like `cause`, the most alike first."""
    return get_close_matches(cause, sorted(known), n=3, cutoff=0.6)


def read_cases(text: str, format: CaseFormat, titles: Mapping[str, str]) -> Iterator[Case | BadRow]:  # noqa: A002 - the plain word
    """Each row as a case, or why it is none. Empty lines are passed over; an id may stand in one row only.

    Args:
        text: The file.
        format: Of the file.
        titles: Of known causes, by identifier.
    """
    seen: dict[str, int] = {}
    for line, row in _json_rows(text) if format == "jsonl" else _csv_rows(text):
        if isinstance(row, BadRow):
            yield row
            continue
        try:
            case = _case(row, titles)
        except _Refused as error:
            yield BadRow(line, error.field, error.expected, error.found)
            continue
        if case.id in seen:
            yield BadRow(line, "id", f"each id once (line {seen[case.id]} has it)", case.id)
            continue
        seen[case.id] = line
        yield case


def write_cases(cases: Iterable[Case], format: CaseFormat) -> str:  # noqa: A002 - the plain word
    """A file of cases, which `read_cases` reads as the same."""
    if format == "jsonl":
        return "".join(f"{case.model_dump_json(exclude_none=True)}\n" for case in cases)
    out = io.StringIO()
    # Quoted: a cell may hold whatever ends a line.
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writeheader()
    for case in cases:
        row = {**case.model_dump(mode="json"), "codes": ";".join(map(_code_text, case.codes))}
        writer.writerow({name: csv_cell(value) if isinstance(value, str) else value for name, value in row.items()})
    return out.getvalue()


# ---------------------------------------------------------------------------------------------- rows


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, BadRow(number, "", "a JSON object", f"{error}"[:80])
            continue
        yield number, row if isinstance(row, dict) else BadRow(number, "", "a JSON object", f"a JSON {_kind(row)}")


def _csv_rows(text: str) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    """Rows of a CSV file with a header; spreadsheets of some countries write semicolons or tabs between columns."""
    header = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    names: list[str] | None = None
    start = 1
    try:
        for cells in reader:
            line, start = start, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if names is None:
                names = [cell.strip() for cell in cells]
                wrong = [name for name in names if name not in COLUMNS or names.count(name) > 1]
                if wrong:
                    yield line, BadRow(line, "", f"a header of {', '.join(COLUMNS)}", ", ".join(map(repr, wrong))[:80])
                    return
                continue
            if len(cells) != len(names):
                yield line, BadRow(line, "", f"{len(names)} columns as in the header", f"{len(cells)}")
                continue
            row: dict[str, Any] = {
                name: csv_text(cell) for name, cell in zip(names, cells, strict=True) if cell.strip()
            }
            yield line, {**row, "codes": row.get("codes", "").strip()}
    except csv.Error as error:
        yield start, BadRow(start, "", "CSV", str(error))


def _case(row: dict[str, Any], titles: Mapping[str, str]) -> Case:
    for name in row:
        if name not in COLUMNS:
            raise _Refused("", f"the fields {', '.join(COLUMNS)}", f"field {name!r}")
    given = {name: value for name, value in row.items() if value is not None}
    if isinstance(given.get("codes"), str):
        given["codes"] = _codes(given["codes"])
    for name, told in COLUMNS.items():
        if told.startswith("required") and not given.get(name):
            raise _Refused(name, told.removeprefix("required: "), given.get(name, "nothing"))
    for name in _IDENTIFYING:
        _check_identifier(name, given.get(name))
    if CAUSE.fullmatch(str(given["cause"])) is None:
        raise _Refused("cause", "lower-case letters, digits and underscores, a letter first", given["cause"])
    for name in _FREE_TEXT:
        if isinstance(given.get(name), str):
            # What is blank without what identifies is nothing: a CSV file cannot tell the two apart.
            text = redact(given[name].encode("utf-8", "replace").decode())
            given[name] = text if text.strip() else None
    if not given.get("title"):
        if given["cause"] not in titles:
            raise _Refused("title", f"a title, as no cause {given['cause']!r} is known", "nothing")
        given["title"] = titles[given["cause"]]
    try:
        case = Case.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise _Refused(field, COLUMNS[str(first["loc"][0])], f"{first['input']!r} ({first['msg']})") from error
    for code in case.codes:
        _check_identifier("codes", code.code, may_be_empty=False)
        _check_identifier("codes", code.ecu)
        if code.occurrences > 2**53:
            raise _Refused("codes", "a number of occurrences", code.occurrences)
    confidence = case.predicted_confidence
    if confidence is not None and not 0 <= confidence <= 1:
        raise _Refused("predicted_confidence", "a number from 0 to 1", confidence)
    times = {name: getattr(case, name) for name in ("recorded_at", "confirmed_at")}
    try:
        moved = {name: at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC) for name, at in times.items()}
    except OverflowError as error:
        raise _Refused("recorded_at", COLUMNS["recorded_at"], str(times)) from error
    return case.model_copy(update=moved)


def _check_identifier(field: str, value: object, *, may_be_empty: bool = True) -> None:
    if not isinstance(value, str):
        return  # the model tells
    if not value and not may_be_empty:
        raise _Refused(field, "a code", "nothing")
    if not value.isprintable():
        raise _Refused(field, "text that prints", ascii(value))
    if len(value) > _MAX_IDENTIFIER:
        raise _Refused(field, f"at most {_MAX_IDENTIFIER} characters", f"{len(value)}")
    if "<vin>" in redact(value) and "<vin>" not in value:
        raise _Refused(
            field, "no vehicle identification number (use a number of your own)", "text that looks like a VIN"
        )


def _codes(text: str) -> list[CodeCount]:
    return [_code(part.strip()) for part in text.split(";") if part.strip()]


def _code(text: str) -> CodeCount:
    told = "CODE[@ECU][*OCCURRENCES], such as P0301@engine*12"
    left, star, count = text.partition("*")
    code, at, ecu = left.partition("@")
    if (star and not re.fullmatch(r"[1-9][0-9]{0,15}", count)) or not code or (at and not ecu):
        raise _Refused("codes", told, text)
    return CodeCount(code=unquote(code), ecu=unquote(ecu), occurrences=int(count) if star else 1)


def _code_text(count: CodeCount) -> str:
    ecu = f"@{_escaped(count.ecu)}" if count.ecu else ""
    return f"{_escaped(count.code)}{ecu}" + (f"*{count.occurrences}" if count.occurrences > 1 else "")


def _escaped(text: str) -> str:
    return "".join(quote(c, safe="") if c in _RESERVED else c for c in text)


_KINDS: Final[tuple[tuple[type, str], ...]] = (
    (list, "array"),
    (str, "string"),
    (bool, "boolean"),
    (int, "number"),
    (float, "number"),
)


def _kind(value: object) -> str:
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "null")
