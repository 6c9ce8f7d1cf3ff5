"""What somebody sees who watches the platform: is it at work, how fast, on what, and what went wrong last.

Pure: `metrics_collector.py` reads it, `cli/watch.py` paints it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel, ConfigDict

SILENT_INTERVALS: Final = 6
SILENT_AT_LEAST_S: Final = 60.0
RATE_WINDOW_S: Final = 300.0

MAX_STARTING_S: Final = 90.0
"""A worker that has not begun is killed before that; a run that waits longer has nobody to start it."""

DONE: Final = ("completed", "failed")


class RunInFlight(BaseModel):
    """A run that is queued or at work.

    Attributes:
        name: Its batch, or its first one and how many more there are.
        batches: How many it has.
        states: How many of them are in each state.
        seconds: Since it began, or since it was queued.
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
        """Batches of it that have their page."""
        return self.states.get("completed", 0)

    @property
    def told(self) -> str:
        """Its batches by state, in words."""
        if self.batches == 1:
            return next(iter(self.states), "")
        others = ", ".join(f"{n} {state}" for state, n in self.states.items() if state != "completed")
        return f"{self.done} of {self.batches} done" + (f", {others}" if others else "")


class FailureSeen(BaseModel):
    """A failed attempt at a batch.

    Attributes:
        batch: Its partition key, or vehicle/batch when it was never taken.
        stage: Asset at which it failed.
        kind: transient, permanent, quarantined or crashed.
    """

    model_config = ConfigDict(frozen=True)

    at: datetime
    batch: str
    stage: str
    kind: str
    reason: str


class Rate(BaseModel):
    """What was done in the last minutes, for each minute."""

    model_config = ConfigDict(frozen=True)

    batches: float
    frames: float
    size_bytes: float


class Overview(BaseModel):
    """Everything that is shown.

    Attributes:
        markers: Manifests in the inbox, `None` when the bucket does not answer.
        oldest_waiting_s: Of the batch that has waited longest for its page; 0 when none waits.
        last_tick_s: Since the sensor of the inbox last looked, `None` when it never did.
        missing: Sources that did not answer.
        warnings: What somebody has to look at, each a sentence that says what to do.
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
        """In one line, for a log."""
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
    """What to say when manifests wait and nobody looks into the inbox; `None` when all is well.

    The sensor cannot say so itself: when the daemon is dead it does not run.

    Args:
        oldest_marker_s: Since the oldest manifest in the inbox was put, 0 without one.
        last_tick_s: Since the sensor last looked, `None` when it never did.
        interval_s: Seconds between two looks, as set.
    """
    limit = max(SILENT_AT_LEAST_S, SILENT_INTERVALS * interval_s)
    if oldest_marker_s <= limit or (last_tick_s is not None and last_tick_s <= limit):
        return None
    since = "has never looked into the inbox" if last_tick_s is None else f"has not looked for {duration(last_tick_s)}"
    return (
        f"Manifests have waited for {duration(oldest_marker_s)} and completed_batches_sensor {since}: see whether "
        "`argus up` runs (`argus doctor`), and whether the sensor is switched on in the Dagster UI."
    )


def stays_starting(oldest_starting_s: float) -> str | None:
    """What to say when a launched run gets no worker; `None` when all is well.

    Args:
        oldest_starting_s: Since the run was launched that has waited longest, 0 without one.
    """
    if oldest_starting_s <= MAX_STARTING_S:
        return None
    return (
        f"A run has been starting for {duration(oldest_starting_s)}: see whether the code server answers (its log, and "
        "`argus status --check`). `argus up` starts it again by itself; elsewhere restart it."
    )


def duration(seconds: float) -> str:
    """Seconds as people say them: `8 s`, `3 min`, `2.5 h`, `4 d`."""
    for limit, unit, text in ((100, 1, "s"), (6000, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.1f} {text}" if text == "h" else f"{seconds / unit:.0f} {text}"
    return f"{seconds / 86400:.0f} d"


def short(number: float) -> str:
    """A number in three digits: `950`, `12.3k`, `4.56M`, `7.8G`."""
    for unit in ("", "k", "M", "G"):
        if abs(number) < 999.5:
            return f"{number:.3g}{unit}" if unit or number % 1 else f"{number:.0f}"
        number /= 1000
    return f"{number:.3g}T"


def ago(at: datetime, now: datetime) -> str:
    """How long ago that was."""
    return f"{duration(max(0.0, (now - at.astimezone(UTC)).total_seconds()))} ago"
