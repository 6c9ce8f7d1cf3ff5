"""Files that somebody else made: read whole and bounded, or refused at once."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argus_assets.common.regular_file import NotRegularError, TooLargeError, read_regular
from argus_assets.errors import BadSetting
from argus_assets.faults.config import read_config
from argus_assets.faults.dictionary.additions import read_additions


@given(content=st.binary(max_size=50), bound=st.integers(0, 50))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_all_of_a_file_or_nothing(tmp_path: Path, content: bytes, bound: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    if len(content) <= bound:
        assert read_regular(path, bound) == content
    else:
        with pytest.raises(TooLargeError):
            read_regular(path, bound)


def test_a_file_that_states_no_size_is_bounded_by_what_is_read() -> None:
    with pytest.raises(TooLargeError):
        read_regular(Path("/proc/self/maps"), 10)


def put(kind: str, path: Path) -> None:
    """Something that is not a regular file."""
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
        case "terminal":
            path.symlink_to("/dev/tty")
        case _:
            path.symlink_to(path)


KINDS = ["pipe", "folder", "device", "terminal", "circle"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    put(kind, tmp_path / "x")
    with pytest.raises(OSError, match=r"not a regular file|symbolic links|No such device"):
        read_regular(tmp_path / "x", 10)


def test_a_link_is_followed_only_where_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 1) == b"x"
    with pytest.raises(OSError, match="symbolic"):
        read_regular(tmp_path / "link", 1, follow=False)
    assert issubclass(NotRegularError, OSError)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", ["csv", "dbc"])
def test_a_dictionary_that_is_no_file_is_told(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    put(kind, path)
    with pytest.raises(BadSetting) as told:
        read_additions([path])
    assert path.name in told.value.what
    assert told.value.help


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("table", ["database]]\nfile", "dictionary]]\nfiles"])
def test_a_file_of_the_configuration_that_is_none_is_told(tmp_path: Path, kind: str, table: str) -> None:
    put(kind, tmp_path / "x.dbc")
    (tmp_path / "faults.toml").write_text(f"[[{table}='x.dbc'\n")
    with pytest.raises(BadSetting) as told:
        read_config(tmp_path / "faults.toml")
    assert "x.dbc" in told.value.what
    assert "faults.toml" in told.value.what


@pytest.mark.parametrize("table", ["database]]\nfile", "dictionary]]\nfiles"])
def test_a_file_of_the_configuration_that_is_too_large_is_told(tmp_path: Path, table: str) -> None:
    with (tmp_path / "x.dbc").open("wb") as file:
        file.truncate(65 * 1024**2)
    (tmp_path / "faults.toml").write_text(f"[[{table}='x.dbc'\n")
    with pytest.raises(BadSetting, match="larger than 67108864 bytes"):
        read_config(tmp_path / "faults.toml")
    with pytest.raises(BadSetting, match="at most 67108864 bytes, found more"):
        read_additions([tmp_path / "x.dbc"])
