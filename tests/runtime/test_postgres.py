"""The embedded PostgreSQL: shared by processes, kept across restarts, back after a kill, reached by long paths."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from argus_assets.errors import BadSetting
from argus_assets.runtime.embedded.postgres import EmbeddedPostgres

HOLD = """
import sys
from pathlib import Path
from argus_assets.runtime.embedded.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.acquire(), flush=True)
sys.stdin.read()
server.release()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="argus-pg-") as temporary:
        # Passable, as `/home` is: as root, the server runs as another user.
        Path(temporary).chmod(0o711)
        home = Path(temporary) / "home"
        yield home / "postgres"


def query(url: str, sql: str) -> object:
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone() if cursor.description else None
    finally:
        connection.close()


def postmaster(folder: Path) -> int:
    return int((folder / "data" / "postmaster.pid").read_text().split()[0])


def until(reached: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_data_stay_and_the_last_one_out_stops_the_server(folder: Path) -> None:
    first, second = EmbeddedPostgres(folder), EmbeddedPostgres(folder)
    url = first.acquire()
    assert second.acquire() == url
    query(url, "CREATE TABLE kept (n int)")
    query(url, "SELECT '[1,2]'::vector")
    first.release()
    assert second.running(), "one still holds it"
    second.release()
    assert not second.running()
    with EmbeddedPostgres(folder) as again:
        assert query(again, "SELECT count(*) FROM kept") == (0,)


def test_processes_share_one_server_and_a_killed_one_leaves_nothing_behind(folder: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    try:
        urls = {process.stdout.readline().strip() for process in processes if process.stdout}
        assert len(urls) == 1, "started side by side, by one of them"
        url = urls.pop()
        processes[0].kill()
        processes[0].wait()
        assert query(url, "SELECT 1") == (1,)
        for process in processes[1:]:
            process.communicate("", timeout=30)
        assert not EmbeddedPostgres(folder).running(), "the last one out stopped it; the killed one counts no more"
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_the_server_outlives_the_process_that_started_it(folder: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    url = starter.stdout.readline().strip()
    with EmbeddedPostgres(folder):
        starter.kill()
        starter.communicate()
        assert query(url, "SELECT 1") == (1,)


def test_a_killed_server_comes_back_with_what_was_committed(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    url = server.acquire()
    try:
        query(url, "CREATE TABLE kept AS SELECT 42 AS n")
        os.kill(postmaster(folder), signal.SIGKILL)
        until(lambda: not server.running())
        assert server.ensure_running()
        assert not server.ensure_running(), "it runs already"
        assert query(url, "SELECT n FROM kept") == (42,)
    finally:
        server.release()


def test_a_server_whose_socket_was_removed_is_started_again(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    url = server.acquire()
    try:
        query(url, "CREATE TABLE kept AS SELECT 42 AS n")
        deaf = postmaster(folder)
        server.socket.unlink()
        assert server.ensure_running()
        assert postmaster(folder) != deaf
        assert query(url, "SELECT n FROM kept") == (42,)
    finally:
        server.release()


def test_a_folder_is_removed_after_its_server_has_ended_and_the_next_one_lives(folder: Path) -> None:
    left = EmbeddedPostgres(folder)
    assert not left.stop("immediate"), "there is none"
    left.acquire()
    pid = postmaster(folder)
    assert left.stop("immediate")
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    assert not left.stop("immediate")
    shutil.rmtree(folder)
    with EmbeddedPostgres(folder) as url:
        assert query(url, "SELECT 1") == (1,)


def test_threads_that_start_it_at_once_start_it_once(folder: Path) -> None:
    servers = [EmbeddedPostgres(folder) for _ in range(6)]
    errors: list[BaseException] = []

    def acquire(server: EmbeddedPostgres) -> None:
        try:
            server.acquire()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=acquire, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for server in servers:
        server.release()
    assert not servers[0].running()


def test_a_path_too_long_for_a_socket_works(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    with EmbeddedPostgres(deep) as url:
        assert query(url, "SELECT 1") == (1,)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="plays another user of the machine")


def as_nobody(command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, user="nobody", group="nogroup", extra_groups=[], capture_output=True, text=True, check=False, cwd="/"
    )


def long_folder(folder: Path) -> Path:
    return folder.parent / ("h" * 90) / "postgres"


def test_a_socket_outside_of_the_home_has_a_name_of_its_own_that_the_home_keeps(folder: Path) -> None:
    first, second = EmbeddedPostgres(long_folder(folder)), EmbeddedPostgres(long_folder(folder / "x"))
    with first as url, second as other:
        assert url != other
        note = long_folder(folder) / "socket-folder"
        assert note.stat().st_mode & 0o777 == 0o600
        place = Path(note.read_text())
        assert url.endswith(f"host={str(place).replace('/', '%2F')}")
        assert place.stat().st_mode & 0o777 == 0o700
        assert EmbeddedPostgres(long_folder(folder)).running()
    with first as again:
        assert again == url, "it is kept"
    for used in (place, Path((long_folder(folder / "x") / "socket-folder").read_text())):
        used.rmdir()


@pytest.mark.parametrize("taken", ["open to others", "a link"])
def test_a_socket_folder_that_is_not_private_any_more_is_not_used(folder: Path, taken: str) -> None:
    server = EmbeddedPostgres(long_folder(folder))
    with server as url:
        place = Path((long_folder(folder) / "socket-folder").read_text())
        if taken == "a link":
            moved = place.with_name(f"{place.name}-moved")
            place.rename(moved)
            place.symlink_to(moved)
        else:
            moved = place
            place.chmod(0o777)
        assert not server.running()
        assert server.ensure_running()
        assert server.url != url
        assert query(server.url, "SELECT 1") == (1,)
        new = Path((long_folder(folder) / "socket-folder").read_text())
    if taken == "a link":
        place.unlink()
    shutil.rmtree(moved)
    new.rmdir()


@as_root
def test_another_user_is_refused_by_the_server_even_where_he_reaches_it(folder: Path) -> None:
    from argus_assets.runtime.embedded.postgres import programs_folder

    with EmbeddedPostgres(folder) as url:
        psql: list[str | Path] = [programs_folder() / "psql", "-At", "-U", "postgres", "-c", "SELECT 1", "-h"]
        data = folder / "data"
        assert as_nobody([*psql, data, "argus"]).returncode != 0
        for opened in (folder.parent, folder, data):
            opened.chmod(0o755)
        refused = as_nobody([*psql, data, "argus"])
        assert refused.returncode != 0
        assert "eer authentication failed" in refused.stderr
        assert query(url, "SELECT current_user") == ("postgres",)
        data.chmod(0o700)


def test_a_server_that_an_earlier_version_left_open_to_all_is_closed(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    with server as url:
        hba = folder / "data" / "pg_hba.conf"
        hba.write_text("local all all trust\n")
        server.pg_ctl("reload")
        until(lambda: query(url, "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'trust'") == (1,))
        with EmbeddedPostgres(folder):
            rules = "SELECT string_agg(type || auth_method, ',') FROM pg_hba_file_rules"
            until(lambda: query(url, rules) == ("localpeer",))
            assert query(url, "SELECT 1") == (1,)


@as_root
def test_as_root_nothing_above_the_home_is_opened_and_the_data_go_where_the_server_reaches_them() -> None:
    with tempfile.TemporaryDirectory(prefix="argus-pg-") as temporary:
        above = Path(temporary)  # mode 0700
        server = EmbeddedPostgres(above / "home" / "postgres")
        with server as url:
            query(url, "CREATE TABLE kept AS SELECT 42 AS n")
            assert above.stat().st_mode & 0o777 == 0o700
            assert (above / "home").stat().st_mode & 0o007 == 0
            assert server.place.parent == Path("/var/lib")
            assert (server.place / "data").stat().st_mode & 0o777 == 0o700
            assert server.place.stat().st_mode & 0o007 == 0
            assert (above / "home" / "postgres" / "data" / "PG_VERSION").exists(), "it is found from the home"
        with EmbeddedPostgres(above / "home" / "postgres") as again:
            assert query(again, "SELECT n FROM kept") == (42,)
        shutil.rmtree(server.place)
        with pytest.raises(BadSetting, match="does not exist"):
            EmbeddedPostgres(above / "home" / "postgres").acquire()


@as_root
def test_as_root_only_the_servers_user_passes_through_the_home(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        assert folder.parent.stat().st_mode & 0o777 == 0o710
        assert folder.resolve() == folder, "it is in the home, as the server's user gets there"
        assert as_nobody(["/usr/bin/test", "-x", folder.parent]).returncode != 0
        log = folder / "server.log"
        assert log.stat().st_mode & 0o077 == 0


@as_root
def test_programs_that_the_servers_user_cannot_reach_are_copied(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from argus_assets.runtime.embedded import postgres

    closed, outside = tmp_path / "venv", folder.parent.parent / "var"
    programs = postgres.binaries()
    for part in (programs.parent, programs.parents[2] / f"{programs.parents[1].name}.libs"):
        shutil.copytree(part, closed / part.relative_to(programs.parents[2]), symlinks=True)
    tmp_path.chmod(0o700)
    outside.mkdir(mode=0o755)
    monkeypatch.setattr(postgres, "binaries", lambda: closed / programs.relative_to(programs.parents[2]))
    monkeypatch.setattr(postgres, "OUTSIDE", outside)
    postgres.programs_folder.cache_clear()
    try:
        with EmbeddedPostgres(folder) as url:
            assert query(url, "SELECT '[1,2]'::vector") is not None
            assert postgres.programs_folder().is_relative_to(outside)
        assert tmp_path.stat().st_mode & 0o777 == 0o700
    finally:
        postgres.programs_folder.cache_clear()


def test_data_of_another_version_are_refused_and_left_alone(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        pass
    marker = folder / "data" / "PG_VERSION"
    marker.write_text("15\n")
    with pytest.raises(BadSetting, match=r"PostgreSQL 15, .* runs PostgreSQL 18"):
        EmbeddedPostgres(folder).acquire()
    assert marker.read_text() == "15\n"


def test_it_listens_on_no_network(folder: Path) -> None:
    with EmbeddedPostgres(folder) as url:
        assert query(url, "SHOW listen_addresses") == ("",)
