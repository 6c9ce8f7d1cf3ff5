"""Files of cases: what is written is read as the same, and what cannot be used is told and harms nothing."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from argus_assets.diagnosis.case_files import COLUMNS, BadRow, format_of, near_misses, read_cases, write_cases
from argus_assets.diagnosis.ports import Case, CodeCount
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from tests.support.case_data import case, some_cases
from tests.support.values import VIN

TITLES = load_catalogue().titles()
FORMATS = st.sampled_from(["jsonl", "csv"])

printed = st.text(st.characters(blacklist_categories=["C", "Zs", "Zl", "Zp"]), min_size=1, max_size=12)
odd_codes = st.lists(
    st.builds(CodeCount, code=printed, ecu=st.one_of(st.just(""), printed), occurrences=st.integers(1, 10**6)),
    min_size=1, max_size=5,
).map(tuple)  # fmt: skip


def row(**fields: object) -> dict[str, object]:
    return {
        "id": "w1", "platform": "car", "release": "9", "recorded_at": "2026-03-01", "codes": "P0420", "cause": "catalyst_worn",
        "confirmed_at": "2026-03-02T10:00:00+01:00", **fields,
    }  # fmt: skip


def read(*rows: dict[str, object]) -> list[Case | BadRow]:
    return list(read_cases("\n".join(map(json.dumps, rows)), "jsonl", TITLES))


@given(some_cases(max_size=8), FORMATS, odd_codes, printed, st.sampled_from(['it\'s "new", and\nfits; so', "a,b", "ü"]))
def test_what_is_written_is_read_as_the_same(cases, kind, codes, release, fix) -> None:
    cases.append(case(99, codes=codes, release=release, fix=fix.replace("\n", " "), predicted_cause="vacuum_leak",
                      predicted_confidence=0.25, predicted_mode="llm", signature="s"))  # fmt: skip
    assert list(read_cases(write_cases(cases, kind), kind, {})) == cases


@given(st.text(), FORMATS)
def test_any_text_is_cases_or_reasons(text: str, kind) -> None:
    for found in read_cases(text, kind, TITLES):
        assert isinstance(found, Case) or (found.line >= 1 and found.expected and str(found))


@given(st.dictionaries(st.sampled_from([*COLUMNS, "colour"]), st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just(VIN),
    st.lists(st.fixed_dictionaries({"code": st.one_of(st.text(max_size=5), st.none())}), max_size=2))))  # fmt: skip
@example({"predicted_mode": VIN})
def test_any_row_is_a_case_or_a_reason_and_no_vin_comes_through(fields: dict[str, object]) -> None:
    (found,) = read_cases(json.dumps({**row(), **fields}), "jsonl", TITLES)
    assert VIN not in str(found)
    if isinstance(found, Case):
        assert found.recorded_at.tzinfo is not None
        assert found.codes


def test_the_least_that_a_row_needs() -> None:
    (found,) = read(row())
    assert isinstance(found, Case)
    assert found.title == TITLES["catalyst_worn"]
    assert found.recorded_at == datetime(2026, 3, 1, tzinfo=UTC), "UTC where no offset is given"
    assert found.confirmed_at == datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.mark.parametrize("name", [name for name, told in COLUMNS.items() if told.startswith("required")])
def test_a_field_that_is_missing_is_told(name: str) -> None:
    left = row()
    del left[name]
    (found,) = read(left)
    assert isinstance(found, BadRow)
    assert (found.line, found.field) == (1, name)
    assert found.found == "nothing"


@pytest.mark.parametrize(
    ("fields", "field", "expected"),
    [
        ({"id": VIN}, "id", "no vehicle identification number"),
        ({"partition": f"2026-03-01_{VIN}_b"}, "partition", "no vehicle identification number"),
        ({"codes": f"P0420@{VIN}"}, "codes", "no vehicle identification number"),
        ({"codes": "P0420*0"}, "codes", "CODE[@ECU]"),
        ({"codes": "P0420*many"}, "codes", "CODE[@ECU]"),
        ({"codes": "@engine"}, "codes", "CODE[@ECU]"),
        ({"codes": ";"}, "codes", "CODE[@ECU]"),
        ({"codes": [{"code": "P0420", "occurrences": 0}]}, "codes.0.occurrences", "CODE[@ECU]"),
        ({"recorded_at": "yesterday"}, "recorded_at", "start of the drive"),
        ({"recorded_at": "0001-01-01T00:00:00+14:00"}, "recorded_at", "start of the drive"),
        ({"cause": "Loose Strap"}, "cause", "lower-case"),
        ({"cause": "loose_ground_strap"}, "title", "a title"),
        ({"predicted_confidence": 90}, "predicted_confidence", "0 to 1"),
        ({"release": "a\x00b"}, "release", "printable text"),
        ({"platform": "p" * 201}, "platform", "at most 200"),
        ({"id": 7}, "id", "unique"),
        ({"colour": "red"}, "", "the fields"),
    ],
)
def test_a_field_that_cannot_be_used_is_told(fields: dict[str, object], field: str, expected: str) -> None:
    good, bad = read(row(id="w0"), row(**fields))
    assert isinstance(good, Case)
    assert isinstance(bad, BadRow)
    assert (bad.line, bad.field) == (2, field)
    assert expected in bad.expected
    assert VIN not in str(bad)


def test_texts_are_stripped_of_what_names_a_vehicle_or_a_person() -> None:
    (found,) = read(row(fix=f"swapped in {VIN}", note="at 48.137154, 11.576124", confirmed_by="a@b.org", title=VIN))
    assert isinstance(found, Case)
    assert (found.fix, found.note, found.confirmed_by, found.title) == (
        "swapped in <vin>", "at <position>", "<mail>", "<vin>",
    )  # fmt: skip


def test_an_id_stands_in_one_row_only() -> None:
    _, second = read(row(), row())
    assert isinstance(second, BadRow)
    assert "line 1 has it" in second.expected


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_of_any_spreadsheet(delimiter: str) -> None:
    header = delimiter.join(row())
    cells = delimiter.join(f'"{value}"' for value in row(codes="P0301@engine*12; P0351").values())
    (found,) = read_cases(f"{header}\r\n\r\n{cells}\r\n", "csv", TITLES)
    assert isinstance(found, Case)
    assert found.codes == (CodeCount(code="P0301", ecu="engine", occurrences=12), CodeCount(code="P0351"))


def test_lines_of_csv_count_those_inside_quotes() -> None:
    text = 'id,note\n1,"two\nlines"\n2\n'
    assert [(r.line, r.expected) for r in read_cases(text, "csv", TITLES) if isinstance(r, BadRow)] == [
        (2, "vehicle platform, as in manifests"),
        (4, "2 columns as in the header"),
    ]


@pytest.mark.parametrize("header", ["id,colour", "id,id", "P0420,car"])
def test_a_header_that_is_none_is_told_once(header: str) -> None:
    (found,) = read_cases(f"{header}\n1,2\n3,4\n", "csv", TITLES)
    assert isinstance(found, BadRow)
    assert found.expected.startswith("a header of id, platform")


@pytest.mark.parametrize("line", ["{", "[]", '"text"', "null", "3", "[" * 100_000])
def test_a_line_that_is_no_object_is_told(line: str) -> None:
    (found,) = read_cases(line, "jsonl", TITLES)
    assert isinstance(found, BadRow)
    assert found.expected == "a JSON object"


def test_names_of_files_tell_their_format() -> None:
    assert [format_of(n) for n in ("a.jsonl", "a.NDJSON", "a.csv", "a.xlsx", "csv2")] == [
        "jsonl",
        "jsonl",
        "csv",
        None,
        None,
    ]


def test_a_misspelt_cause_finds_the_right_one() -> None:
    assert near_misses("catalist_worn", TITLES)[0] == "catalyst_worn"
    assert near_misses("zzzz", TITLES) == []
