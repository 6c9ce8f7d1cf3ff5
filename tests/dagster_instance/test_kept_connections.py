"""Connections to PostgreSQL that stay open: few of them, none shared with a child, none used after the server is gone."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dagster as dg
import psycopg2
import pytest

from argus_assets.adapters.postgres.database import Database
from argus_assets.adapters.postgres.pooling import DEADLINES, MAX
from argus_assets.errors import Unavailable
from argus_assets.runtime.embedded.postgres import EmbeddedPostgres
from tests.support.dagster_home import KINDS, Kind, instance_on


def asked(url: str, question: str) -> int:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(question)
            row = cursor.fetchone()
            assert row is not None
            return int(row[0])
    finally:
        connection.close()


def opened(url: str) -> int:
    """Connections that were ever opened to this database; the server counts them when they say so, within a second."""
    time.sleep(1.1)
    return asked(url, "SELECT sessions FROM pg_stat_database WHERE datname = current_database()")


def test_instances_of_a_process_share_few_connections(database_url, tmp_path, monkeypatch) -> None:
    with instance_on(database_url, tmp_path / "home", monkeypatch) as first:
        assert first.get_runs() == []
        before = opened(database_url)
        for _ in range(5):
            with instance_on(database_url, tmp_path / "home", monkeypatch) as instance:
                for _ in range(20):
                    instance.add_dynamic_partitions("p", [os.urandom(4).hex()])
                    instance.get_runs()
                    instance.all_instigator_state()
        assert len(first.get_dynamic_partitions("p")) == 100
        # Those that look are counted too.
        assert opened(database_url) - before <= 4


@pytest.mark.parametrize("kind", KINDS)
def test_threads_wait_for_a_connection_and_all_get_one(database_url, tmp_path, monkeypatch, kind: Kind) -> None:
    with (
        instance_on(database_url, tmp_path / "home", monkeypatch, kind) as instance,
        ThreadPoolExecutor(4 * MAX) as pool,
    ):
        list(pool.map(lambda n: instance.add_dynamic_partitions("p", [str(n)]), range(200)))
        assert len(instance.get_dynamic_partitions("p")) == 200
        # Dagster's pool, and who asks.
        assert asked(database_url, "SELECT numbackends FROM pg_stat_database WHERE datname = current_database()") <= (
            MAX + 1
        )


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(database_url, tmp_path, monkeypatch) -> None:
    database = Database(database_url)

    def backend() -> int:
        with database.transaction() as connection:
            return connection.info.backend_pid

    with instance_on(database_url, tmp_path / "home", monkeypatch) as instance:
        instance.add_dynamic_partitions("p", ["parent"])
        mine = backend()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:  # pragma: no cover - a process of its own
            try:
                instance.add_dynamic_partitions("p", ["child"])
                os.write(writer, str(backend()).encode())
                os._exit(0)
            finally:
                os._exit(1)  # an error must not go on into pytest
        assert os.waitpid(child, 0)[1] == 0
        assert int(os.read(reader, 20)) != mine
        assert backend() == mine
        assert set(instance.get_dynamic_partitions("p")) == {"parent", "child"}
        os.close(reader)
        os.close(writer)


def test_a_server_that_was_started_again_is_noticed_before_use(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "postgres"
    server = EmbeddedPostgres(folder)
    try:
        url = server.acquire()
        database = Database(url)
        with instance_on(url, tmp_path / "home", monkeypatch) as instance:
            for n in range(3):
                instance.add_dynamic_partitions("p", [str(n)])
                with database.transaction() as connection, connection.cursor() as cursor:
                    cursor.execute("CREATE TABLE IF NOT EXISTS seen (n int); INSERT INTO seen VALUES (%s)", (n,))
                server.release()
                assert not server.running()
                assert server.acquire() == url
            assert set(instance.get_dynamic_partitions("p")) == {"0", "1", "2"}
            assert asked(url, "SELECT count(*) FROM seen") == 3
    finally:
        server.release()


@pytest.mark.parametrize("kind", KINDS)
def test_who_sees_a_failure_sees_a_run_that_failed(database_url, tmp_path, monkeypatch, kind: Kind) -> None:
    """Dagster's daemon looks at the event of a failure once, and then at the run."""
    with instance_on(database_url, tmp_path / "home", monkeypatch, kind) as instance:
        run = instance.create_run_for_job(dg.JobDefinition(name="j", graph_def=dg.GraphDefinition("g")))
        instance.report_engine_event("at work", run)
        seen: list[dg.DagsterRunStatus] = []
        update = instance.run_storage.handle_run_event

        def look(*arguments: Any) -> None:
            told = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
            if told:
                found = instance.get_run_by_id(run.run_id)
                assert found is not None
                seen.append(found.status)
            update(*arguments)

        monkeypatch.setattr(instance.run_storage, "handle_run_event", look)
        instance.report_run_failed(run)
        assert seen == [dg.DagsterRunStatus.FAILURE]


def test_a_transaction_is_undone_by_an_error_and_its_connection_can_be_used_again(database_url) -> None:
    database = Database(database_url)
    with database.transaction() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept (n int)")
        first = connection.info.backend_pid
    with pytest.raises(ZeroDivisionError), database.transaction() as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO kept VALUES (1)")
        raise ZeroDivisionError
    with pytest.raises(psycopg2.errors.UndefinedTable), database.transaction() as connection:
        connection.cursor().execute("SELECT * FROM nothing")
    with database.transaction() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM kept")
        assert cursor.fetchone() == (0,)
        assert connection.info.backend_pid == first


def test_a_connection_that_is_cut_in_mid_transaction_is_told_and_not_used_again(database_url) -> None:
    database = Database(database_url)
    with pytest.raises(Unavailable), database.transaction() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        asked(database_url, f"SELECT count(pg_terminate_backend({connection.info.backend_pid}))")
        cursor.execute("SELECT 1")
    for _ in range(3):
        with database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchone() == (1,)


def test_every_connection_ends_when_its_other_end_is_gone_without_a_word(database_url, tmp_path, monkeypatch) -> None:
    database = Database(database_url)
    with instance_on(database_url, tmp_path / "home", monkeypatch) as instance:
        engine: Any = instance.run_storage._engine  # type: ignore[attr-defined] # noqa: SLF001 - of Dagster's SQL storages
        with (
            database.transaction() as kept,
            database.session() as own,
            engine.connect() as dagsters,
        ):
            for connection in (kept, own, dagsters.connection.driver_connection):
                given = connection.info.dsn_parameters
                assert {name: int(given[name]) for name in DEADLINES} == DEADLINES
