"""Dagster's queue for runs, in a daemon that goes on when the clock is set back.

Dagster's daemon waits between two looks until the clock of the day has passed the end of the wait. Where that clock is
set back by a day, queue, retries, monitoring and schedules stand still for a day.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import dagster as dg

from argus_assets.dagster_instance.storage import CLOCKS_DIFFER_S, patch_storage

_log = logging.getLogger("dagster.argus")
_DAEMON: Final = "dagster-daemon"
_LOOK_S: Final = 1.0


class ClockStepTolerantRunCoordinator(dg.QueuedRunCoordinator[Any]):
    """`dagster.QueuedRunCoordinator` that starts the daemon again when the clock was set back.

    The daemon loads it before it begins. It mends the storage of its instance too (`patch_storage`): Dagster's Helm chart
    writes the storage itself, but takes a coordinator.
    """

    def register_instance(self, instance: dg.DagsterInstance) -> None:
        """Called by Dagster once for each instance."""
        super().register_instance(instance)
        patch_storage(instance)
        if Path(sys.argv[0]).name == _DAEMON:
            _watch_clock()


@cache
def _watch_clock() -> None:
    threading.Thread(target=start_again_when_set_back, name="clock", daemon=True).start()


def start_again_when_set_back(start_again: Callable[[], object] | None = None) -> None:
    """Wait until the clock of the day is set back, by more than clocks differ, and start this process again.

    Args:
        start_again: What is done then; by default this very program takes the place of itself, as the same process.
    """
    furthest = _ahead_s()
    while (back_s := furthest - _ahead_s()) < CLOCKS_DIFFER_S:
        furthest = max(furthest, _ahead_s())
        time.sleep(_LOOK_S)
    _log.warning("The clock was set back by %.0f s: the daemon starts again, so that nothing waits for it.", back_s)
    (start_again or _start_again)()


def _ahead_s() -> float:
    """The clock of the day against one that only goes forward."""
    return time.time() - time.monotonic()


def _start_again() -> None:
    logging.shutdown()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell is needed
