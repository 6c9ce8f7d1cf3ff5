"""Places for calls at the same time, over all processes: session locks of PostgreSQL.

A place belongs to a connection, so a process that dies gives its place back.
"""

import random
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from argus_assets.adapters.postgres.database import Database
from argus_assets.diagnosis.ports import ModelFailed, Usage

LOCK_CLASS: Final = 0x6C6C6D  # 'llm': the first key of the advisory locks, the second is the place
POLL_S: Final = 0.05
MAX_POLL_S: Final = 0.5


class LlmConcurrencyLimit:
    """So many places.

    Args:
        database: Where the locks are.
        places: How many.
    """

    def __init__(self, database: Database, places: int) -> None:
        self._database = database
        self._places = places

    @contextmanager
    def slot(self, timeout_s: float) -> Generator[None]:
        """Hold a place for the time of the block.

        Raises:
            ModelFailed: None was free in time.
            Unavailable: The database did not answer.
        """
        until = time.monotonic() + timeout_s
        with self._database.session() as connection, connection.cursor() as cursor:
            wait = POLL_S
            # Everybody begins at another place: fewer look at the same one.
            order = random.sample(range(self._places), self._places)
            while True:
                for place in order:
                    cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", (LOCK_CLASS, place))
                    row = cursor.fetchone()
                    if row is not None and row[0]:
                        # Closing the connection gives the place back.
                        yield
                        return
                if time.monotonic() + wait > until:
                    raise ModelFailed(
                        "timeout",
                        f"all {self._places} places for calls at the same time were taken for {timeout_s:.0f} s",
                        retryable=False,
                        usage=Usage(),
                    )
                time.sleep(wait * (0.5 + random.random()))
                wait = min(MAX_POLL_S, 2 * wait)
