"""Dagster's queue for runs, in a daemon that continues when the clock is set back.

Dagster's daemon waits between two iterations until the wall clock has passed the end of the wait. Where that clock is set
back by a day, queue, retries, monitoring and schedules stop for a day.
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
_POLL_S: Final = 1.0


class ClockStepTolerantRunCoordinator(dg.QueuedRunCoordinator[Any]):
    """`dagster.QueuedRunCoordinator` that restarts the daemon when the clock was set back.

    The daemon loads it before it begins. It also patches the storage of its instance (`patch_storage`): Dagster's Helm chart
    writes the storage itself, but accepts a coordinator.
    """

    def register_instance(self, instance: dg.DagsterInstance) -> None:
        """Take the instance; Dagster calls this once for each."""
        super().register_instance(instance)
        patch_storage(instance)
        if Path(sys.argv[0]).name == _DAEMON:
            _watch_clock()


@cache
def _watch_clock() -> None:
    threading.Thread(target=restart_when_set_back, name="clock", daemon=True).start()


def restart_when_set_back(restart: Callable[[], object] | None = None) -> None:
    """Wait until the wall clock is set back by more than clocks differ, then restart this process.

    Args:
        restart: Called then; by default this program replaces itself, in the same process.
    """
    furthest = _ahead_s()
    while (back_s := furthest - _ahead_s()) < CLOCKS_DIFFER_S:
        furthest = max(furthest, _ahead_s())
        time.sleep(_POLL_S)
    _log.warning("The clock was set back by %.0f s: the daemon restarts, so that nothing waits for it.", back_s)
    (restart or _restart)()


def _ahead_s() -> float:
    """Return how far the wall clock is ahead of one that only goes forward."""
    return time.time() - time.monotonic()


def _restart() -> None:
    logging.shutdown()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell is needed
