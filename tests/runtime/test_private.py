"""What is private stays so: the home, and folders of sockets."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.errors import BadSetting
from argus_assets.runtime.code_address import CodeAddress, addresses_in, all_answer, home_socket
from argus_assets.runtime.private_folder import (
    fits_socket,
    is_private,
    make_socket_folder,
    noted_folder,
    own_home,
    write_private,
)

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("before", [None, 0o755, 0o775, 0o750])
def test_a_home_is_closed_to_others_whatever_it_was(tmp_path: Path, before: int | None) -> None:
    home = tmp_path / "above" / "home"
    if before is not None:
        (home / "postgres").mkdir(parents=True)
        home.chmod(before)
    old = os.umask(0)
    try:
        own_home(home)
    finally:
        os.umask(old)
    assert mode(home) & 0o067 == 0
    own_home(home)


@as_root
def test_a_folder_with_other_things_in_it_is_not_closed_by_surprise(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(BadSetting, match="open to other users") as told:
        own_home(tmp_path)
    assert f"chmod 700 {tmp_path}" in told.value.help
    assert mode(tmp_path) == 0o755
    tmp_path.chmod(0o700)
    own_home(tmp_path)


@pytest.mark.parametrize("before", [0o777, 0o1777, 0o703])
def test_a_home_that_anybody_may_write_into_is_refused(tmp_path: Path, before: int) -> None:
    (tmp_path / "platform.lock").touch()
    tmp_path.chmod(before)
    with pytest.raises(BadSetting, match="Every user may write"):
        own_home(tmp_path)
    assert mode(tmp_path) == before


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(BadSetting, match="not a folder"):
        own_home(tmp_path / "home")


@as_root
def test_a_home_of_somebody_else_is_refused() -> None:
    program = (
        "import os, sys; from pathlib import Path; from argus_assets.runtime.private_folder import own_home\n"
        f"os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "try: own_home(Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run([sys.executable, "-c", program, home], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("BadSetting")
    assert "belongs to another user (id 0)" in done.stdout


def test_only_a_closed_folder_of_the_owner_is_private(tmp_path: Path) -> None:
    me = os.geteuid()
    folder, link, file = tmp_path / "folder", tmp_path / "link", tmp_path / "file"
    folder.mkdir(mode=0o700)
    link.symlink_to(folder)
    file.touch(mode=0o600)
    assert is_private(folder, me)
    assert not is_private(folder, me + 1)
    for other in (link, file, tmp_path / "none"):
        assert not is_private(other, me)
    for bit in (0o001, 0o002, 0o004, 0o010, 0o020, 0o040):
        folder.chmod(0o700 | bit)
        assert not is_private(folder, me)


def test_a_noted_folder_counts_as_long_as_it_is_private(tmp_path: Path) -> None:
    me, note = os.geteuid(), tmp_path / "note"
    assert noted_folder(note, me) is None
    made, other = make_socket_folder(note, me), make_socket_folder(tmp_path / "other", me)
    try:
        assert made != other, "its name cannot be known before"
        assert mode(note) == 0o600
        assert noted_folder(note, me) == made
        made.chmod(0o755)
        assert noted_folder(note, me) is None
        made.chmod(0o700)
        moved = made.with_name(f"{made.name}-moved")
        made.rename(moved)
        made.symlink_to(moved)
        assert noted_folder(note, me) is None, "a link to what is ours is still a link"
        made.unlink()
        moved.rmdir()
        assert noted_folder(note, me) is None
        assert make_socket_folder(note, me) != made
        noted = noted_folder(note, me)
        assert noted is not None
        noted.rmdir()
    finally:
        other.rmdir()


@given(st.binary(max_size=300))
def test_what_is_written_privately_is_whole_and_closed(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        path.touch(mode=0o666)
        write_private(path, content)
        assert path.read_bytes() == content
        assert mode(path) == 0o600
        assert [*Path(folder).iterdir()] == [path]


@pytest.mark.parametrize("length", [10, 60, 95, 200])
def test_the_code_servers_socket_has_a_closed_folder_and_a_path_that_fits(tmp_path: Path, length: int) -> None:
    home = tmp_path / ("h" * length)
    address = home_socket(home)
    assert address.socket is not None
    assert fits_socket(address.socket)
    assert is_private(address.socket.parent, os.geteuid())
    assert home_socket(home) == address
    if home not in address.socket.parents:
        address.socket.parent.rmdir()


def test_a_socket_folder_that_others_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o755)
    with pytest.raises(BadSetting, match="open to other users"):
        home_socket(tmp_path)
    (tmp_path / "run").rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadSetting, match="is a link"):
        home_socket(tmp_path)


def test_a_workspace_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "workspace.yaml"
    for address in (CodeAddress(socket=tmp_path / "a: b.sock"), CodeAddress(host="code", port=4266)):
        file.write_text(address.workspace("argus"))
        assert addresses_in(file, {}) == [address]
    file.write_text("load_from:\n  - grpc_server: {host: {env: H}, port: {env: P}, location_name: argus}\n")
    assert addresses_in(file, {"H": "code", "P": "4266"}) == [CodeAddress(host="code", port=4266)]
    assert addresses_in(file, {}) == []
    for text in ("", "load_from: 3", "load_from:\n  - python_module: x\n", "{", "load_from: [{grpc_server: 1}]"):
        file.write_text(text)
        assert addresses_in(file, {}) == []
    assert addresses_in(tmp_path / "none", {}) == []
    assert all_answer([]) is None
    assert all_answer([CodeAddress(socket=tmp_path / "nobody.sock")]) is False
