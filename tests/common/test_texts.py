"""Texts of vehicles where they enter: what is taken away, what stays, and that a column gives what a text gives."""

import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.common.texts import MAX_NAME_CHARS, clean, clean_column, clean_name, clean_names

_MARKS = (
    "\u200b\u200c\u200d\u200e\u202e\u2066\ufeff\ufe0f\u00ad\x00\x1b[31m\x85\u2028\r\n\t\u0301\u0323\u1161e\ue000\ufdd0"
)
_JOINED = "می\u200cخواهم क्\u200dष 👩\u200d🔧 ❤\ufe0f\u200d🔥"  # noqa: RUF001 - Persian
_any_text = st.text(st.one_of(st.characters(), st.sampled_from(_MARKS + _JOINED)), max_size=60)
_short = st.integers(1, 80)

_PRINTED_FORMAT = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
"""Format characters that have a picture (Unicode: Prepended_Concatenation_Mark)."""


@pytest.mark.parametrize("category", ["Cc", "Cf", "Cs", "Co", "Zl", "Zp"])
def test_no_character_of_a_category_that_does_not_print_stays(category: str) -> None:
    """The character database is the oracle; each one stands between letters, and alone."""
    for point in range(0x110000):
        char = chr(point)
        if unicodedata.category(char) == category and char not in _PRINTED_FORMAT | {"\t", "\n"}:
            for text in (f"a{char}b", char, f"ب{char}"):
                assert char not in clean(text), f"U+{point:04X}"


def test_what_will_never_be_a_character_does_not_stay() -> None:
    """Noncharacters (Unicode 23.7) and planes 4 to 13, in which nothing is assigned."""
    never = [*range(0xFDD0, 0xFDF0), *(p << 16 | low for p in range(17) for low in (0xFFFE, 0xFFFF))]
    assert not any(clean(chr(point)) for point in [*never, *range(0x40000, 0xE0000, 97)])


def test_characters_that_print_stay() -> None:
    """Letters, marks, digits, signs and blanks of every language, but for the letters and marks that show nothing."""
    nothing = set(map(chr, [0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0x180B, 0x1810)]))
    nothing |= set(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), *range(0x13430, 0x13460)]))
    for point in range(0x110000):
        char = chr(point)
        if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} and char not in nothing:
            assert clean(char) == unicodedata.normalize("NFC", char), f"U+{point:04X}"


@pytest.mark.parametrize(
    "text",
    ["می\u200cخواهم", "क्\u200dष", "👩\u200d🔧", "👨\u200d👩\u200d👧", "Übertemperatur µC", "温度が高い", "תקלה", "עָ", "t\tx\ny"],  # noqa: RUF001 - Persian
)  # fmt: skip
def test_honest_texts_of_any_language_stay_as_they_are(text: str) -> None:
    """Joiners that change a word's writing, and those of pictures, stay."""
    assert clean(text) == text


@pytest.mark.parametrize("text", ["a\u200db", "\u200cab", "ab\u200d", "ب\u200d", "\u200dب", "1\u200c2", "👩\u200d", "👩\u200da", "👩\u200c👩"])  # fmt: skip
def test_joiners_that_show_nothing_do_not_stay(text: str) -> None:
    """Two names must not differ by what nobody sees."""
    assert not {"\u200c", "\u200d"} & set(clean(text))


def test_colours_of_terminals_go_as_a_whole_and_ends_of_lines_become_line_feeds() -> None:
    """Not their escape character alone, which would leave `[31m` in the text."""
    assert clean("\x1b[1;31mlost\x1b[0m\r\nnode\ragain\u2028x") == "lost\nnode\nagain\nx"


def test_every_combining_mark_counts_as_one_and_a_pile_of_them_is_cut() -> None:
    """Whatever class of marks is piled up, normalising has at most 30 to sort; ornaments of log lines are no marks."""
    marks = [c for c in map(chr, range(0x110000)) if unicodedata.combining(c) and clean(c)]
    assert len(marks) > 800
    for mark in marks:
        assert len(clean("a" + mark * 99)) <= 31, f"U+{ord(mark):04X}"
    for ornament in "═─•·…█▒→✓。・、！°*=-_#«":  # noqa: RUF001 - what the test is about
        assert clean(ornament * 99) == ornament * 99


@given(_any_text, _short)
def test_cleaning_twice_is_cleaning_once_and_never_longer_than_allowed(text: str, max_chars: int) -> None:
    """In NFC, within the limit, and stable."""
    cleaned = clean(text, max_chars=max_chars)
    assert len(cleaned) <= max_chars
    assert clean(cleaned, max_chars=max_chars) == cleaned
    assert unicodedata.is_normalized("NFC", cleaned)


@given(_any_text)
def test_names_stand_on_one_line(text: str) -> None:
    """One line, no blanks around, bounded."""
    name = clean_name(text)
    assert len(name) <= MAX_NAME_CHARS
    assert name == " ".join(name.split())
    assert clean_name(name) == name


_encodable = _any_text.map(lambda text: text.encode(errors="replace").decode())
"""Columns are UTF-8: they cannot hold lone surrogates."""


@given(st.lists(st.none() | _encodable), _short)
def test_a_column_gives_what_each_of_its_texts_gives(texts: list[str | None], max_chars: int) -> None:
    """The same as `clean`, text by text, for texts, categories, and texts inside lists and structs."""
    expected = [None if text is None else clean(text, max_chars=max_chars) for text in texts]
    plain = pl.Series("name", texts, dtype=pl.String)
    cleaned = clean_column(plain, max_chars=max_chars)
    assert cleaned.name == "name"
    assert cleaned.dtype == pl.String
    assert cleaned.to_list() == expected
    assert clean_names(plain).to_list() == [None if text is None else clean_name(text) for text in texts]
    categories = clean_column(plain.cast(pl.Categorical), max_chars=max_chars)
    assert categories.dtype == pl.Categorical
    assert categories.cast(pl.String).to_list() == expected
    pairs = pl.List(pl.Struct({"key": pl.String, "value": pl.List(pl.String), "n": pl.Int64}))
    nested = [[{"key": text, "value": texts, "n": 1}, None] for text in texts] + [[], None]
    wanted = [[{"key": text, "value": expected, "n": 1}, None] for text in expected] + [[], None]
    made = clean_column(pl.Series("values", nested, dtype=pairs), max_chars=max_chars)
    assert made.dtype == pairs
    assert made.to_list() == wanted


@given(st.lists(st.none() | st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=40)))
def test_a_column_without_anything_to_change_comes_back_itself(texts: list[str | None]) -> None:
    """No copy on the usual way."""
    for column in (pl.Series(texts, dtype=pl.String), pl.Series([texts], dtype=pl.List(pl.String)), pl.Series([1, 2])):
        assert clean_column(column) is column
