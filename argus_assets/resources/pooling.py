"""Connections of Dagster's storage that are kept open.

Dagster's run worker opens a connection for each statement: 50 of them for a batch, and a process of the server for
each. Its webserver keeps some open, which is what `DagsterInstance.optimize_for_webserver` does. Here the same is
done for a run, with a look whether the server is still there before a connection is used again.
"""

from typing import Final

import dagster as dg

KEPT: Final = 2
MOST: Final = 10
RECYCLE_S: Final = 300


def keep_connections(instance: dg.DagsterInstance) -> None:
    """Keep connections to PostgreSQL open from now on; harmless when repeated, and on another storage."""
    import sqlalchemy
    from sqlalchemy.pool import NullPool

    for storage in (instance.event_log_storage, instance.run_storage):
        engine = getattr(storage, "_engine", None)
        if isinstance(engine, sqlalchemy.Engine) and isinstance(engine.pool, NullPool):
            kept = sqlalchemy.create_engine(
                engine.url,
                isolation_level="AUTOCOMMIT",
                pool_size=KEPT,
                max_overflow=MOST - KEPT,
                pool_recycle=RECYCLE_S,
                pool_pre_ping=True,
            )
            setattr(storage, "_engine", kept)  # noqa: B010 - not public, and the one way to a look before use
