"""Overview of a running Argus: what it is working on, how fast, and what failed last.

Pure: `metrics_collector.py` reads the values, `cli/watch.py` displays them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel, ConfigDict

SILENT_INTERVALS: Final = 6
SILENT_AT_LEAST_S: Final = 60.0
RATE_WINDOW_S: Final = 300.0

MAX_STARTING_S: Final = 90.0
"""A worker that does not start is killed earlier; a run that waits longer has no code server to start it."""

DONE: Final = ("completed", "failed")


class RunInFlight(BaseModel):
    """A run that is queued or in progress.

    Attributes:
        name: Its batch, or the first one and the number of others.
        batches: Number of its batches.
        states: Number of its batches by state.
        seconds: Time since it started, or since it was queued.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    status: str
    name: str
    batches: int
    states: Mapping[str, int]
    seconds: float

    @property
    def done(self) -> int:
        """Return the number of its batches that have a page."""
        return self.states.get("completed", 0)

    @property
    def progress(self) -> str:
        """Return its batches by state, in words."""
        if self.batches == 1:
            return next(iter(self.states), "")
        others = ", ".join(f"{n} {state}" for state, n in self.states.items() if state != "completed")
        return f"{self.done} of {self.batches} done" + (f", {others}" if others else "")


class FailureSeen(BaseModel):
    """A failed attempt to process a batch.

    Attributes:
        batch: Partition key, or vehicle/batch if it was never accepted.
        stage: Asset that failed.
        kind: transient, permanent, quarantined or crashed.
    """

    model_config = ConfigDict(frozen=True)

    at: datetime
    batch: str
    stage: str
    kind: str
    reason: str


class Rate(BaseModel):
    """Throughput per minute, over the last minutes."""

    model_config = ConfigDict(frozen=True)

    batches: float
    frames: float
    size_bytes: float


class Overview(BaseModel):
    """All values of the overview.

    Attributes:
        markers: Manifests in the inbox; `None` if the bucket does not answer.
        oldest_waiting_s: Age of the oldest manifest whose batch has no page yet; 0 if none waits.
        last_tick_s: Time since the last tick of the inbox sensor; `None` if it never ticked.
        missing: Sources that did not answer.
        warnings: Conditions that need attention, each a sentence that says what to do.
    """

    model_config = ConfigDict(frozen=True)

    at: datetime
    markers: int | None
    oldest_waiting_s: float | None
    batches: Mapping[str, int]
    runs: tuple[RunInFlight, ...]
    runs_queued: int
    runs_at_work: int
    rate: Rate
    failures: tuple[FailureSeen, ...]
    last_tick_s: float | None
    interval_s: int
    tokens_spent: int | None
    tokens_reserved: int | None
    tokens_limit: int | None
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def line(self) -> str:
        """Return the overview on one line, for a log."""
        parts = [
            f"{self.at:%H:%M:%S}",
            "inbox ?" if self.markers is None else f"inbox {self.markers}",
            f"oldest {duration(self.oldest_waiting_s)}" if self.oldest_waiting_s is not None else "oldest ?",
            f"runs {self.runs_at_work}+{self.runs_queued} queued",
            " ".join(f"{state} {n}" for state, n in self.batches.items() if n) or "no batches",
            f"{self.rate.batches:.1f} batches/min {short(self.rate.frames)} frames/min",
            *(f"WARNING {text}" for text in self.warnings),
        ]
        return " | ".join(parts)


def silence(*, oldest_marker_s: float, last_tick_s: float | None, interval_s: float) -> str | None:
    """Return a warning if manifests wait and the inbox sensor does not tick, else `None`.

    The sensor cannot report this itself: it does not run without the daemon.

    Args:
        oldest_marker_s: Age of the oldest manifest in the inbox; 0 without one.
        last_tick_s: Time since the last tick of the sensor; `None` if it never ticked.
        interval_s: The setting: seconds between ticks.
    """
    limit = max(SILENT_AT_LEAST_S, SILENT_INTERVALS * interval_s)
    if oldest_marker_s <= limit or (last_tick_s is not None and last_tick_s <= limit):
        return None
    since = "has never ticked" if last_tick_s is None else f"has not ticked for {duration(last_tick_s)}"
    return (
        f"Manifests have been waiting for {duration(oldest_marker_s)}, and completed_batches_sensor {since}. Check that "
        "`argus up` is running (`argus doctor`) and that the sensor is switched on in the Dagster UI."
    )


def stays_starting(oldest_starting_s: float) -> str | None:
    """Return a warning if a launched run gets no worker, else `None`.

    Args:
        oldest_starting_s: Time since the launch of the run that has waited longest; 0 without one.
    """
    if oldest_starting_s <= MAX_STARTING_S:
        return None
    return (
        f"A run has been starting for {duration(oldest_starting_s)}. Check that the code server answers (see its log, and "
        "`argus status --check`). `argus up` restarts it automatically; elsewhere, restart it yourself."
    )


def duration(seconds: float) -> str:
    """Format seconds for people: `8 s`, `3 min`, `2.5 h`, `4 d`."""
    for limit, unit, text in ((100, 1, "s"), (6000, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.1f} {text}" if text == "h" else f"{seconds / unit:.0f} {text}"
    return f"{seconds / 86400:.0f} d"


def short(number: float) -> str:
    """Format a number with three digits: `950`, `12.3k`, `4.56M`, `7.8G`."""
    for unit in ("", "k", "M", "G"):
        if abs(number) < 999.5:
            return f"{number:.3g}{unit}" if unit or number % 1 else f"{number:.0f}"
        number /= 1000
    return f"{number:.3g}T"


def ago(at: datetime, now: datetime) -> str:
    """Return the time elapsed since then, in words."""
    return f"{duration(max(0.0, (now - at.astimezone(UTC)).total_seconds()))} ago"
