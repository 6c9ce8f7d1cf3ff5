"""A database that a newer Argus has changed is refused by every way in, and stays as it was."""

import psycopg2
import pytest
from click.testing import CliRunner

from argus_assets.adapters.postgres.database import Database, require_known_version
from argus_assets.adapters.postgres.ledger import PostgresLedger
from argus_assets.cli import root
from argus_assets.errors import BadSetting
from argus_assets.runtime.supervisor import Supervisor
from argus_assets.settings import Settings
from tests.support.dagster_home import KINDS, Kind, instance_on

NEWER = "999_later.sql"


def asked(url: str, question: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(question)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def written(url: str) -> object:
    """All tables and what is in them."""
    tables = asked(
        url,
        "SELECT table_schema, table_name FROM information_schema.tables "
        "WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2",
    )
    return [(name, asked(url, f'SELECT t::text FROM "{schema}"."{name}" t ORDER BY 1')) for schema, name in tables]


@pytest.fixture(params=["only the table of steps", "all tables"])
def newer(database_url: str, request: pytest.FixtureRequest) -> str:
    """A database of a version that has a step more."""
    if request.param == "all tables":
        PostgresLedger(Database(database_url), daily_tokens=100).today()
    else:
        asked(database_url, "CREATE SCHEMA argus; CREATE TABLE argus.migrations (name text PRIMARY KEY)")
    asked(database_url, f"INSERT INTO argus.migrations (name) VALUES ('{NEWER}')")
    return database_url


def test_a_database_of_this_version_or_of_none_is_taken(database_url: str) -> None:
    require_known_version(database_url)
    database = Database(database_url)
    with database.transaction() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM argus.migrations")
    require_known_version(database_url.replace("postgresql://", "postgresql+psycopg2://"))
    # An older one has had fewer steps.
    asked(database_url, "DELETE FROM argus.migrations WHERE name LIKE '021%'; DROP TABLE argus.answers CASCADE")
    require_known_version(database_url)
    with Database(database_url).session() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM argus.answers")


def test_argus_own_tables_refuse_it_and_nothing_is_written(newer: str) -> None:
    before = written(newer)
    for _ in range(2):
        database = Database(newer)
        expected = rf"newer version of Argus.*'{NEWER}'.*up to '040_outbox.sql'"
        with pytest.raises(BadSetting, match=expected) as told, database.transaction():
            pass
        assert "ARGUS_DATABASE_URL" in told.value.help
        with pytest.raises(BadSetting), database.session():
            pass
    assert written(newer) == before


@pytest.mark.parametrize("kind", KINDS)
def test_an_instance_on_it_is_refused(newer: str, tmp_path, monkeypatch, kind: Kind) -> None:
    with pytest.raises(BadSetting, match=NEWER), instance_on(newer, tmp_path / "home", monkeypatch, kind):
        pass


@pytest.mark.parametrize("command", [["status"], ["reconcile"], ["budget"], ["case", "ls"], ["rerun", "--failed"]])
def test_commands_refuse_it_and_nothing_is_written(newer: str, command, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ARGUS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ARGUS_DATABASE_URL", newer)
    before = written(newer)
    result = CliRunner().invoke(root, command)
    assert isinstance(result.exception, BadSetting), result.output
    assert NEWER in result.exception.what
    assert written(newer) == before


def test_the_platform_does_not_start_on_it(newer: str, tmp_path) -> None:
    before = written(newer)
    settings = Settings.from_env({"ARGUS_HOME": str(tmp_path / "home"), "ARGUS_DATABASE_URL": newer, "ARGUS_PORT": "0"})
    with pytest.raises(BadSetting, match=NEWER):
        Supervisor(settings, webserver=False).start()
    assert written(newer) == before
    assert not (tmp_path / "home" / "dagster").exists()


def test_hostile_names_of_steps_are_told_short(database_url: str) -> None:
    asked(database_url, "CREATE SCHEMA argus; CREATE TABLE argus.migrations (name text PRIMARY KEY)")
    asked(database_url, "INSERT INTO argus.migrations SELECT repeat('x', 5000) || g FROM generate_series(1, 500) g")
    with pytest.raises(BadSetting, match="and 495 more") as told:
        require_known_version(database_url)
    assert len(told.value.what) < 1000
