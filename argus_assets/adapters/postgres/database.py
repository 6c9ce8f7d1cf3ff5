"""Argus's own tables in PostgreSQL: schema `argus`, beside Dagster's.

Each file of `migrations/` is applied once, in the order of names, in a transaction of its own. A new version of
Argus adds files and never changes one. A database that has had a file which is not here was changed by a newer version,
whose tables this one does not know: it is refused before anything is written.
"""

from collections.abc import Generator
from contextlib import contextmanager
from importlib.resources import files
from threading import Lock
from typing import TYPE_CHECKING, Final

from argus_assets.adapters.postgres.pooling import DEADLINES, POOL, pooled
from argus_assets.common.texts import storable
from argus_assets.errors import BadSetting, Unavailable

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812 - the class is in lower case
    from sqlalchemy import Engine

MIGRATION_LOCK: Final = 0x61726775  # 'argu': one process at a time migrates

_MAX_SHOWN_NAMES: Final = 5
_MAX_SHOWN_CHARACTERS: Final = 64


class Database:
    """Connections to one database. The first one brings the tables up to date.

    Args:
        url: libpq or SQLAlchemy URL (`postgresql://…`).
    """

    def __init__(self, url: str) -> None:
        self.url = _libpq(url)
        self._ready = False
        self._lock = Lock()

    @contextmanager
    def transaction(self) -> Generator["Connection"]:
        """Open a pooled connection, committed at the end of the block, rolled back on an error.

        Raises:
            Unavailable: The database did not answer, or went away.
            BadSetting: It lacks pgvector, or a newer version of Argus has changed it.
        """
        import psycopg2
        from sqlalchemy.exc import SQLAlchemyError

        self.migrate()
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
        """Open a connection of its own, closed at the end of the block: what its session holds is released.

        Raises:
            Unavailable: The database did not answer, or went away.
            BadSetting: It lacks pgvector, or a newer version of Argus has changed it.
        """
        import psycopg2

        self.migrate()
        _take_no_nul()
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

        _take_no_nul()

        def connect() -> "Connection":
            return psycopg2.connect(self.url, **DEADLINES)

        return sqlalchemy.create_engine("postgresql+psycopg2://", creator=connect, **POOL)

    def migrate(self) -> None:
        """Bring Argus's tables up to date, once for each `Database`; `transaction` and `session` begin with it.

        Raises:
            Unavailable: The database did not answer.
            BadSetting: It lacks pgvector, or a newer version of Argus has changed it.
        """
        with self._lock:
            if not self._ready:
                _apply_migrations(self.url)
                self._ready = True


def _take_no_nul() -> None:
    """Have psycopg2 leave out of texts what PostgreSQL cannot hold: NUL and lone surrogates.

    Texts are clean before they come here; one that is not must cost a character, not a batch.
    """
    from psycopg2.extensions import QuotedString, register_adapter

    def adapted(text: str) -> QuotedString:
        return QuotedString(storable(text))

    register_adapter(str, adapted)


def require_known_version(url: str) -> None:
    """Refuse a database that a newer version of Argus has changed. Only reads; one without our tables is fine.

    Args:
        url: libpq or SQLAlchemy URL.

    Raises:
        BadSetting: It has had a migration that this version does not have, or denies us access.
        Unavailable: The database did not answer.
    """
    with _connection(_libpq(url)) as connection:
        _require_known(connection)


def _libpq(url: str) -> str:
    return url.replace("postgresql+psycopg2://", "postgresql://", 1)


def _migrations() -> dict[str, str]:
    """Return the text of each migration, by name."""
    folder = files("argus_assets.adapters.postgres") / "migrations"
    return {entry.name: entry.read_text("utf-8") for entry in folder.iterdir() if entry.name.endswith(".sql")}


@contextmanager
def _connection(url: str) -> Generator["Connection"]:
    """Open a connection to check the version and to migrate.

    Raises:
        Unavailable: The database did not answer.
        BadSetting: It lacks pgvector, or the rights to it.
    """
    import psycopg2

    try:
        connection = psycopg2.connect(url, **DEADLINES)
        try:
            yield connection
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
            f"The database cannot hold Argus's tables: {str(error).strip()}",
            help="Install pgvector on the server and run `CREATE EXTENSION vector` in this database as its owner.",
        ) from error


def _require_known(connection: "Connection") -> None:
    """Refuse a database with a migration that this version does not have.

    Raises:
        BadSetting: It has one.
    """
    known = sorted(_migrations())
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('argus.migrations')")
        if cursor.fetchone() == (None,):
            return
        cursor.execute("SELECT name FROM argus.migrations WHERE name <> ALL(%s) ORDER BY name", (known,))
        newer = [name for (name,) in cursor.fetchall()]
    if not newer:
        return
    database = connection.info
    shown = ", ".join(repr(name[:_MAX_SHOWN_CHARACTERS]) for name in newer[:_MAX_SHOWN_NAMES])
    more = f" and {len(newer) - _MAX_SHOWN_NAMES} more" if len(newer) > _MAX_SHOWN_NAMES else ""
    raise BadSetting(
        f"The database {database.dbname} at {database.host} was changed by a newer version of Argus: its table "
        f"argus.migrations has {shown}{more}, and this version knows migrations up to {known[-1]!r}. Nothing was written.",
        help="Run the version of Argus that changed it or a newer one, or name another database: ARGUS_DATABASE_URL.",
    )


def _apply_migrations(url: str) -> None:
    texts = _migrations()
    with _connection(url) as connection:
        _require_known(connection)
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


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(
        f"The database did not answer: {str(error).strip()}",
        help="Check ARGUS_DATABASE_URL, and that PostgreSQL is running.",
    )
