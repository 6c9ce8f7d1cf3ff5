"""Connections to PostgreSQL that a process keeps open: one pool for each database and purpose.

A new connection costs a process of the server and some 10 ms of its CPU, more than most statements.
"""

import os
from collections.abc import Callable, Hashable
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sqlalchemy import Engine

KEPT: Final = 4
MAX: Final = 12
"""Connections of one pool: kept, and at the same time; who comes then waits for up to half a minute."""

DEADLINES: Final[dict[str, Any]] = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}
"""Arguments of libpq's connect: a connection whose other end is gone without a word ends in half a minute, not in hours."""

POOL: Final[dict[str, Any]] = {
    "pool_size": KEPT,
    "max_overflow": MAX - KEPT,
    "pool_recycle": 300,  # seconds
    "pool_pre_ping": True,  # a server that was started again is noticed before use
    "connect_args": DEADLINES,
}
"""Arguments of SQLAlchemy's `create_engine`."""

_lock: Final = Lock()
_engines: Final[dict[Hashable, "Engine"]] = {}


def is_pooled(key: Hashable) -> bool:
    """Return true when this process has a pool under that key."""
    return key in _engines


def pooled(key: Hashable, make: Callable[[], "Engine"]) -> "Engine":
    """Return this process's engine under that key, made at first use."""
    with _lock:
        if key not in _engines:
            _engines[key] = make()
        return _engines[key]


def _after_fork() -> None:
    """Forget the pools: a child must neither use its parent's connections nor close them."""
    for engine in _engines.values():
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_after_fork)
