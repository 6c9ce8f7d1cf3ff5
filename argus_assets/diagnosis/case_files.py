"""Read and write files of cases: JSON Lines and CSV, row by row, with a reason for each row that cannot be used.

A VIN never gets in: an identifying field that looks like one makes its row unusable, and free text is redacted.
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
        "id": "required: unique; importing the same id again replaces the case",
        "platform": "required: vehicle platform, as in manifests",
        "release": "required: software release of the vehicle",
        "recorded_at": "required: start of the drive, ISO 8601; UTC unless an offset is given",
        "codes": "required: CODE[@ECU][*OCCURRENCES], separated by semicolons, such as P0301@engine*12;P0351",
        "cause": "required: identifier of the cause, from the knowledge base or your own, such as loose_ground_strap",
        "title": "the cause in plain words; required if the cause is not known yet",
        "fix": "the repair that helped",
        "note": "any other remark",
        "confirmed_at": "required: when somebody confirmed or corrected it, ISO 8601",
        "confirmed_by": "who confirmed it",
        "partition": "partition key of its batch",
        "signature": "fault signature of a diagnosis",
        "predicted_cause": "first cause of the diagnosis",
        "predicted_confidence": "confidence of that cause, 0 to 1",
        "predicted_mode": "mode of that diagnosis",
    }
)
"""Column → its content. In JSON Lines `codes` is an array of objects with `code`, `ecu` and `occurrences`."""

CAUSE: Final = re.compile(r"[a-z][a-z0-9_]{1,127}")
"""Form of the identifier of a cause."""

_MAX_IDENTIFIER: Final = 200
_FREE_TEXT: Final = ("title", "fix", "note", "confirmed_by")
_IDENTIFYING: Final = ("id", "partition", "platform", "release", "signature", "cause", "predicted_cause")
_RESERVED: Final = "%;*@"


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used.

    Attributes:
        line: Line number in the file, from 1.
        field: Field at fault; empty for the row as a whole.
        expected: Expected content.
        found: Actual content.
    """

    line: int
    field: str
    expected: str
    found: str

    def __str__(self) -> str:
        """Return the reason on one line."""
        field = f"{self.field}: " if self.field else ""
        return f"line {self.line}: {field}expected {self.expected}, found {self.found}"


class _Refused(Exception):
    def __init__(self, field: str, expected: str, found: object) -> None:
        super().__init__(field)
        self.field, self.expected = field, expected
        # Redacted, so that it cannot show a VIN, and short, since a long text is no help.
        self.found = redact(found if isinstance(found, str) else repr(found))[:80] or "nothing"


def format_of(name: str) -> CaseFormat | None:
    """Return the format of a file by its name, or `None` for an unknown extension."""
    endings: dict[str, CaseFormat] = {"jsonl": "jsonl", "ndjson": "jsonl", "csv": "csv"}
    return endings.get(name.rpartition(".")[2].lower())


def near_misses(cause: str, known: Iterable[str]) -> list[str]:
    """Return known causes whose identifiers resemble `cause`, closest first."""
    return get_close_matches(cause, sorted(known), n=3, cutoff=0.6)


def read_cases(text: str, format: CaseFormat, titles: Mapping[str, str]) -> Iterator[Case | BadRow]:  # noqa: A002 - the plain word
    """Yield each row as a case, or the reason why it is none. Empty lines are skipped; an id may occur only once.

    Args:
        text: Content of the file.
        format: Format of the file.
        titles: Titles of known causes by identifier.
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
    """Return the content of a file that `read_cases` reads as the same cases."""
    if format == "jsonl":
        return "".join(f"{case.model_dump_json(exclude_none=True)}\n" for case in cases)
    out = io.StringIO()
    # Quoted: a cell may contain line breaks.
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
    """Yield the rows of a CSV file with a header. In some locales spreadsheets separate columns by semicolons or tabs."""
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
    for name, content in COLUMNS.items():
        if content.startswith("required") and not given.get(name):
            raise _Refused(name, content.removeprefix("required: "), given.get(name, "nothing"))
    for name in _IDENTIFYING:
        _check_identifier(name, given.get(name))
    if CAUSE.fullmatch(str(given["cause"])) is None:
        raise _Refused("cause", "lower-case letters, digits and underscores, a letter first", given["cause"])
    for name in _FREE_TEXT:
        if isinstance(given.get(name), str):
            # Text that is blank after redaction counts as missing: CSV cannot tell the two apart.
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
        return  # left to the validation of the model
    if not value and not may_be_empty:
        raise _Refused(field, "a code", "nothing")
    if not value.isprintable():
        raise _Refused(field, "printable text", ascii(value))
    if len(value) > _MAX_IDENTIFIER:
        raise _Refused(field, f"at most {_MAX_IDENTIFIER} characters", f"{len(value)}")
    if "<vin>" in redact(value) and "<vin>" not in value:
        raise _Refused(
            field, "no vehicle identification number (use a number of your own)", "text that looks like a VIN"
        )


def _codes(text: str) -> list[CodeCount]:
    return [_code(part.strip()) for part in text.split(";") if part.strip()]


def _code(text: str) -> CodeCount:
    form = "CODE[@ECU][*OCCURRENCES], such as P0301@engine*12"
    left, star, count = text.partition("*")
    code, at, ecu = left.partition("@")
    if (star and not re.fullmatch(r"[1-9][0-9]{0,15}", count)) or not code or (at and not ecu):
        raise _Refused("codes", form, text)
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
