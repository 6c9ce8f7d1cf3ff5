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

from argus_assets.embedded.postgres import SOCKET, EmbeddedPostgres
from argus_assets.errors import BadSetting

HOLD = """
import sys
from pathlib import Path
from argus_assets.embedded.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.acquire(), flush=True)
sys.stdin.read()
server.release()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="argus-pg-") as temporary:
        yield Path(temporary) / "postgres"


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
        (server._socket_folder() / SOCKET).unlink()
        assert server.ensure_running()
        assert postmaster(folder) != deaf
        assert query(url, "SELECT n FROM kept") == (42,)
    finally:
        server.release()


def test_a_folder_is_removed_after_its_server_has_ended_and_the_next_one_lives(folder: Path) -> None:
    left = EmbeddedPostgres(folder)
    assert not left.end(), "there is none"
    left.acquire()
    pid = postmaster(folder)
    assert left.end()
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    assert not left.end()
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
