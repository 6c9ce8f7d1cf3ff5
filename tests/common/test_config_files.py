"""Operators' TOML files: whatever stands there, it is read or refused in a few lines, with the place."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

from argus_assets.common.config_files import Strict, read_toml
from argus_assets.errors import BadSetting


class Entry(Strict):
    """One entry."""

    name: str = ""
    number: int = 0
    ratio: float = 0.0


class Document(Strict):
    """What a file may hold."""

    entry: tuple[Entry, ...] = ()
    table: dict[str, Entry] = Field(default={})


def read(path: Path) -> Document:
    return read_toml(path, Document, what="entries", setting="ARGUS_ENTRIES", guide="docs/entries.md")


def refused(path: Path, content: bytes | str | None = None) -> str:
    """What is said of a file that is refused: short, printable, with the file's name and something to do."""
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadSetting) as told:
        read(path)
    assert str(path) in told.value.what
    assert told.value.help
    assert len(told.value.what) < 1500
    return told.value.what


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "entries.toml"


def test_a_file_is_read(path: Path) -> None:
    path.write_text('[[entry]]\nname = "a"\nratio = 0.5\n[table.x]\nnumber = 3\n')
    assert read(path) == Document(entry=(Entry(name="a", ratio=0.5),), table={"x": Entry(number=3)})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("x = " + "[" * 50_000, "nested"),
        ("x = " + "{a=" * 50_000, "nested"),
        ("x = " + "[" * 50_000 + "]" * 50_000, "nested"),
        ("[" * 50_000, "not valid TOML"),
        ("[[entry]]\nnumber = " + "9" * 6000, "value"),
        ("[[entry]]\nnumber = -" + "9" * 6000, "value"),
        ("[[entry]]\nnumber = 0x" + "F" * 6000, "64 bits"),
        ("[[entry]]\nname = 0x" + "F" * 6000, "64 bits"),
        ("[[entry]]\nratio = 0x" + "F" * 6000, "64 bits"),
        ("[[entry]]\nnumber = 9223372036854775808", "64 bits"),
        ("[[entry]]\nnumber = 2020-02-31", ""),
        (".".join(["a"] * 20_000) + " = 1", "line 1"),
        ("\n\n[" + ".".join(["a"] * 20_000) + "]", "line 3"),
        ("[" + '."x.y"' * 500 + "]", "line 1"),
        ("x = {" + " . ".join(["'a b'"] * 20_000) + " = 1}", "line 1"),
        ("[[entry]]\n" + "k" * 100_000 + " = 1", "unknown key"),
        ('[[entry]]\nnumber = "' + "n" * 100_000 + '"', "found"),
        ("[[entry]]\nname = 1\n# " + "x" * 100, "entry"),
        ("[" + "t" * 100_000 + "]", "unknown key"),
        (b"\xff\xfe", "cannot be read"),
        (b"x = '\x00'", "not valid TOML"),
    ],
    ids=range(21),
)
def test_what_cannot_be_used_is_told(path: Path, content: bytes | str, told: str) -> None:
    assert told in refused(path, content)


def test_the_size_is_looked_at_before_anything_is_read(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1024**3)
    assert "larger than 1048576 bytes" in refused(path)


def test_what_is_no_file_is_neither_waited_for_nor_read_without_end(path: Path) -> None:
    os.mkfifo(path)
    assert "not a file" in refused(path)
    assert "not a file" in refused(Path("/dev/zero"))
    assert "not a file" in refused(path.parent)
    assert "cannot be read" in refused(path.parent / "missing.toml")


SCRAPS = st.lists(
    st.one_of(
        st.sampled_from(["[", "]", "[[", "]]", "{", "}", "=", ".", ",", "\n", '"', "'", '"""', "'''", "#", "\\", " "]),
        st.sampled_from(["entry", "table", "name", "number", "ratio", "0x", "nan", "inf", "1e999", "1979-05-27T07:32:00Z"]),
        st.text(max_size=3),
        st.integers(),
    ),
    max_size=40,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SCRAPS)
def test_any_text_is_read_or_refused(path: Path, scraps: list[object]) -> None:
    path.write_bytes("".join(map(str, scraps)).encode(errors="surrogatepass"))
    try:
        document = read(path)
    except BadSetting:
        refused(path)
    else:
        assert document == read(path)
