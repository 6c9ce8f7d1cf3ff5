"""Cross-process limit on concurrent calls of the language model, built on PostgreSQL advisory locks.

A slot belongs to a database session, so a process that dies frees its slot.
"""

import random
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from argus_assets.adapters.postgres.database import Database
from argus_assets.diagnosis.ports import ModelFailed, Usage

LOCK_CLASS: Final = 0x6C6C6D  # 'llm': the first key of the advisory locks, the second is the slot
POLL_S: Final = 0.05
MAX_POLL_S: Final = 0.5


class LlmConcurrencyLimit:
    """A number of slots.

    Args:
        database: Holds the locks.
        slots: How many.
    """

    def __init__(self, database: Database, slots: int) -> None:
        self._database = database
        self._slots = slots

    @contextmanager
    def slot(self, timeout_s: float) -> Generator[None]:
        """Hold a slot for the time of the block.

        Raises:
            ModelFailed: None was free in time.
            Unavailable: The database did not answer.
        """
        until = time.monotonic() + timeout_s
        with self._database.session() as connection, connection.cursor() as cursor:
            wait = POLL_S
            # Everybody begins at another slot: fewer compete for the same one.
            order = random.sample(range(self._slots), self._slots)
            while True:
                for slot in order:
                    cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", (LOCK_CLASS, slot))
                    row = cursor.fetchone()
                    if row is not None and row[0]:
                        # Closing the connection frees the slot.
                        yield
                        return
                if time.monotonic() + wait > until:
                    raise ModelFailed(
                        "timeout",
                        f"all {self._slots} slots for concurrent calls were taken for {timeout_s:.0f} s",
                        retryable=False,
                        usage=Usage(),
                    )
                time.sleep(wait * (0.5 + random.random()))
                wait = min(MAX_POLL_S, 2 * wait)
