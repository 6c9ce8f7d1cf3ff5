"""Argus' own tables in the platform's PostgreSQL: schema `argus`, beside Dagster's.

Each file of `migrations/` is applied once, in the order of names, in a transaction of its own. A new version of
Argus adds files and never changes one.
"""

from collections.abc import Generator
from contextlib import contextmanager
from importlib.resources import files
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from argus_assets.errors import BadSetting, Unavailable
from argus_assets.resources.pooling import DEADLINES, POOL, pooled

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812 - the class is in lower case
    from sqlalchemy import Engine

MIGRATION_LOCK: Final = 0x61726775  # 'argu': one process at a time migrates


class Database:
    """Connections to one database, whose tables are brought up to date at the first of them.

    Args:
        url: libpq or SQLAlchemy URL (`postgresql://…`).
    """

    def __init__(self, url: str) -> None:
        self.url = url.replace("postgresql+psycopg2://", "postgresql://", 1)
        self._ready = False
        self._lock = Lock()

    @contextmanager
    def transaction(self) -> Generator["Connection"]:
        """A kept connection, committed at the end of the block, rolled back on an error.

        Raises:
            Unavailable: The database did not answer, or went away.
            BadSetting: It lacks pgvector.
        """
        import psycopg2
        from sqlalchemy.exc import SQLAlchemyError

        self._migrate()
        engine = pooled(("argus", self.url), self._engine)
        try:
            kept = engine.raw_connection()
        except (psycopg2.OperationalError, SQLAlchemyError) as error:
            raise _unavailable(error) from error
        connection: Connection = kept.driver_connection  # type: ignore[assignment] # there until it is given back
        try:
            with connection:
                yield connection
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            kept.invalidate(error)
            raise _unavailable(error) from error
        finally:
            kept.close()

    @contextmanager
    def session(self, *, autocommit: bool = True) -> Generator["Connection"]:
        """A connection of one's own, closed at the end of the block: what its session holds is given back.

        Raises:
            Unavailable: The database did not answer, or went away.
            BadSetting: It lacks pgvector.
        """
        import psycopg2

        self._migrate()
        try:
            connection = psycopg2.connect(self.url, **DEADLINES)
            try:
                connection.autocommit = autocommit
                yield connection
            finally:
                connection.close()
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            raise _unavailable(error) from error

    def _engine(self) -> "Engine":
        import psycopg2
        import sqlalchemy

        def connect() -> "Connection":
            return psycopg2.connect(self.url, **DEADLINES)

        return sqlalchemy.create_engine("postgresql+psycopg2://", creator=connect, **POOL)

    def _migrate(self) -> None:
        with self._lock:
            if not self._ready:
                _apply_migrations(self.url)
                self._ready = True


def _apply_migrations(url: str) -> None:
    import psycopg2

    folder = files("argus_assets.resources") / "migrations"
    texts = {entry.name: entry.read_text("utf-8") for entry in folder.iterdir() if entry.name.endswith(".sql")}
    try:
        connection = psycopg2.connect(url, **DEADLINES)
        try:
            for name in ("", *sorted(texts)):
                with connection, connection.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
                    if not name:
                        cursor.execute("CREATE SCHEMA IF NOT EXISTS argus")
                        cursor.execute(
                            "CREATE TABLE IF NOT EXISTS argus.migrations "
                            "(name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
                        )
                        continue
                    cursor.execute("SELECT 1 FROM argus.migrations WHERE name = %s", (name,))
                    if cursor.fetchone() is None:
                        cursor.execute(texts[name])
                        cursor.execute("INSERT INTO argus.migrations (name) VALUES (%s)", (name,))
        finally:
            connection.close()
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise _unavailable(error) from error
    except (
        psycopg2.errors.UndefinedFile,
        psycopg2.errors.FeatureNotSupported,
        psycopg2.errors.InsufficientPrivilege,
    ) as error:
        raise BadSetting(
            f"The database cannot hold Argus' tables: {str(error).strip()}",
            help="Install pgvector on the server and run `CREATE EXTENSION vector` in this database as its owner.",
        ) from error


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(
        f"The database did not answer: {str(error).strip()}", help="Check that PostgreSQL runs, and ARGUS_DATABASE_URL."
    )


class DatabaseResource(dg.ConfigurableResource[Any]):
    """Argus' tables in the platform's database.

    Attributes:
        url: `postgresql://…`; from the environment, so that no password stands in a configuration.
    """

    url: str

    def database(self) -> Database:
        """The database at `url`."""
        return Database(self.url)
