"""What all commands print by."""

import json
from datetime import UTC, datetime

import pytest

from argus_assets.cli.output import counted, print_json, shortened, table, terminal


@pytest.mark.parametrize(
    ("count", "noun", "expected"),
    [
        (0, "drive", "0 drives"),
        (1, "batch", "1 batch"),
        (2, "batch", "2 batches"),
        (2048, "row", "2,048 rows"),
        (2, "entry", "2 entries"),
        (2, "day", "2 days"),
        (3, "more run", "3 more runs"),
    ],
)
def test_a_noun_agrees_with_its_number(count: int, noun: str, expected: str) -> None:
    assert counted(count, noun) == expected


def test_a_long_list_is_cut_and_says_so() -> None:
    assert shortened(["a", "b", "a"], 2) == "a, b"
    assert shortened(["a", "b", "c", "d"], 2) == "a, b and 2 more"
    assert shortened([], 2) == ""


def test_json_is_json_whatever_a_vehicle_named(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"name": "\x1b[31m\u202e", "at": datetime(2026, 1, 1, tzinfo=UTC)}
    print_json(document)
    text = capsys.readouterr().out
    assert not {"\x1b", "\u202e"} & set(text)
    assert json.loads(text) == {**document, "at": "2026-01-01 00:00:00+00:00"}
    print_json([1, 2], indent=None)
    assert capsys.readouterr().out == "[1, 2]\n"


def test_a_table_fits_a_narrow_terminal_and_keeps_whole_what_is_searched_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = table("code", "text", "n", right=["n"], whole=["code"])
    made.add_row("SPN100/FMI1", "word " * 20, "7")
    terminal(width=40).print(made)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40
    assert any("SPN100/FMI1" in line for line in lines)
    assert len(lines) > 3
