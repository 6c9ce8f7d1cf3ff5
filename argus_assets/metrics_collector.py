"""Collect metrics from Dagster's records, the bucket, the lake and the token ledger. Nothing here is stored.

`monitoring/metrics.py` says what each one means. A source that does not answer is reported as missing, never as zero.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from threading import Lock
from typing import Any, Final, NamedTuple, TypeVar, cast

import dagster as dg

from argus_assets.adapters.postgres.ledger import PostgresLedger
from argus_assets.adapters.postgres.outbox import Outbox
from argus_assets.drop.bucket import Bucket
from argus_assets.errors import ArgusError
from argus_assets.event_log.events import from_dagster, plain
from argus_assets.event_log.queries import first_taken_at
from argus_assets.event_log.states import partition_states
from argus_assets.event_log.tables import entry_of, outcomes_after
from argus_assets.events import BatchQuarantined, StatusChanged, asset_of
from argus_assets.lake.reports import RECONCILE, RETENTION, STALE_UPLOADS
from argus_assets.lake.store import Lake
from argus_assets.monitoring.metrics import Inbox, Records, Snapshot, Tokens, Totals, Undelivered, Upkeep
from argus_assets.monitoring.overview import (
    RATE_WINDOW_S,
    FailureSeen,
    Overview,
    Rate,
    RunInFlight,
    silence,
    stays_starting,
)
from argus_assets.partitions import BATCHES, IN_FLIGHT, PARTITION, RANGE_END, RANGE_START
from argus_assets.pipeline import DIAGNOSIS, REC_FRAMES, BatchState

MAX_MARKERS: Final = 10_000
MAX_QUARANTINED_OBJECTS: Final = 10_000
CACHE_S: Final = 5.0
"""A scrape within so many seconds of another gets the same values."""

SLOW_CACHE_S: Final = 60.0
"""How often to read what rarely changes (quarantine, passes of maintenance)."""

MAX_DONE: Final = 20_000
MAX_FAILED: Final = 20
MAX_RUNS: Final = 10
MAX_RUNS_READ: Final = 500
PAGE: Final = 1000
WINDOW: Final = 1000
"""Events with up to so many smaller ids are read again: a transaction with a smaller id may end after a later one."""

SENSOR: Final = ("completed_batches_sensor", "sensor")
"""Name and type of what reads the inbox."""

OPEN: Final = frozenset(BatchState) - {BatchState.PENDING, BatchState.COMPLETED, BatchState.FAILED}
"""States of a batch that was taken and has no page yet."""

_T = TypeVar("_T")


class Done(NamedTuple):
    """What one event finished. `at` in seconds since 1970."""

    at: float
    batches: int
    frames: int
    size_bytes: int


@dataclass
class EventReader:
    """Counts the events of batches, each once: a second read reads only what is new.

    What Dagster's retention deletes stays counted, so that a counter of a running reader never falls.

    Attributes:
        since: Leave out what is older, seconds since 1970; `None` for all that Dagster holds.
        done: The last recordings that were read, and the last pages.
        failed: The last failed attempts.
        cursor: Storage id up to which events were read.
    """

    instance: dg.DagsterInstance
    since: float | None = None
    totals: Totals = field(default_factory=Totals)
    done: deque[Done] = field(default_factory=lambda: deque(maxlen=MAX_DONE))
    failed: deque[FailureSeen] = field(default_factory=lambda: deque(maxlen=MAX_FAILED))
    cursor: int = 0
    _seen: set[int] = field(default_factory=set)

    def read(self) -> Totals:
        """Count what is new; return the totals, which later reads change."""
        after = max(0, self.cursor - WINDOW)
        while True:
            rows = outcomes_after(self.instance, after, since=self.since, limit=PAGE)
            for storage_id, event in rows:
                if storage_id not in self._seen:
                    self._seen.add(storage_id)
                    self._count(entry_of(event))
            if rows:
                after = rows[-1][0]
            if len(rows) < PAGE:
                break
        self.cursor = max(self.cursor, after)
        self._seen = {i for i in self._seen if i > self.cursor - WINDOW}
        return self.totals

    def _count(self, entry: dg.EventLogEntry) -> None:
        if (seen := entry.asset_observation) is not None:
            self._count_failure(entry.timestamp, seen)
            return
        made = entry.asset_materialization
        if made is None:
            return
        values = plain(made.metadata)
        match made.asset_key.path[-1]:
            case REC_FRAMES.name:
                self.totals.frames += int(values.get("dagster/row_count", 0))
                self.totals.frames_lost += int(values.get("frames_lost", 0))
                self.totals.size_bytes += int(values.get("size_bytes", 0))
                self.totals.recordings += int(values.get("recordings", 0))
                self.totals.recordings_failed += int(values.get("recordings_failed", 0))
                self.totals.readers_stopped += int(values.get("readers_stopped", 0))
                self.totals.readers_failed += int(values.get("readers_failed", 0))
                self.done.append(
                    Done(entry.timestamp, 0, int(values.get("dagster/row_count", 0)), int(values.get("size_bytes", 0)))
                )
            case DIAGNOSIS.name:
                self.totals.diagnoses += 1
                self.totals.degraded += values.get("degraded", "no") != "no"
            case _:
                self.totals.batches += 1
                self.done.append(Done(entry.timestamp, 1, 0, 0))
                if (latency := values.get("latency")) is not None:
                    self.totals.add_latency(latency["total_s"], {s["name"]: s["seconds"] for s in latency["steps"]})

    def _count_failure(self, at: float, seen: dg.AssetObservation) -> None:
        match event := from_dagster(seen):
            case BatchQuarantined():
                kind, error = "quarantined", None
                batch = seen.partition or f"{event.vehicle_id}/{event.batch_id}"
            case StatusChanged(state=BatchState.FAILED):
                kind = next((k for k in ("crashed", "quarantined", "permanent") if getattr(event, k)), "transient")
                error, batch = event.error, seen.partition or ""
            case _:
                return
        self.totals.failures[kind] += 1
        if not error and event.reasons:
            first = event.reasons[0]
            error = f"{first.kind}: {first.file}: found {first.actual}"
        self.failed.append(
            FailureSeen(
                at=datetime.fromtimestamp(at, UTC),
                batch=batch,
                stage=asset_of(event),
                kind=kind,
                reason=" ".join((error or "No reason was recorded.").split()),
            )
        )


class MetricsCollector:
    """Reads all metrics, at most once in `CACHE_S`, from any thread.

    Args:
        instance: Dagster's records.
        bucket: The drop bucket.
        lake: Where reports of maintenance are.
        ledger: The tokens.
        outbox: Events for other systems.
        retain_days: The setting, exported as it is.
        interval_s: Seconds between two ticks of the intake sensor.
        since: Count only later events, seconds since 1970; `None` for all that Dagster holds.
        code_server: Returns whether the code server answers; `None` where its address is unknown.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        bucket: Bucket,
        lake: Lake,
        ledger: PostgresLedger,
        outbox: Outbox,
        *,
        retain_days: int,
        interval_s: int,
        since: float | None = None,
        code_server: Callable[[], bool | None] = lambda: None,
    ) -> None:
        self._code_server = code_server
        self._instance = instance
        self._bucket = bucket
        self._lake = lake
        self._ledger = ledger
        self._outbox = outbox
        self._retain_days = retain_days
        self._interval_s = interval_s
        self._events = EventReader(instance, since)
        self._states: dict[str, BatchState] = {}
        self._lock = Lock()
        self._last: tuple[float, Snapshot] | None = None
        self._slow: dict[str, tuple[float, object]] = {}

    def snapshot(self) -> Snapshot:
        """Return all metrics; `None` for a source that does not answer."""
        with self._lock:
            started = time.monotonic()
            if self._last is not None and started - self._last[0] < CACHE_S:
                return self._last[1]
            made = Snapshot(
                records=_unless_unreachable(self._records),
                inbox=_unless_unreachable(self._inbox),
                upkeep=_unless_unreachable(lambda: self._rarely("upkeep", self._upkeep)),
                tokens=_unless_unreachable(self._tokens),
                outbox=_unless_unreachable(self._undelivered),
                code_server=self._code_server(),
                seconds=time.monotonic() - started,
                retain_days=self._retain_days,
                interval_s=self._interval_s,
            )
            self._last = (time.monotonic(), made)
            return made

    def overview(self) -> Overview:
        """Return what `argus watch` shows."""
        found = self.snapshot()
        now = datetime.now(UTC)
        records, inbox, tokens = found.records, found.inbox, found.tokens
        since = now.timestamp() - RATE_WINDOW_S
        recent = [done for done in list(self._events.done) if done.at >= since]
        minutes = RATE_WINDOW_S / 60
        last_tick_s = records.tick_age_s.get(SENSOR) if records is not None else None
        warnings = [f"No answer from: {', '.join(found.missing)}."] if found.missing else []
        if records is not None and inbox is not None:
            silent = silence(oldest_marker_s=inbox.oldest_s, last_tick_s=last_tick_s, interval_s=self._interval_s)
            warnings += [silent] if silent is not None else []
        if records is not None and (slow := stays_starting(records.oldest_starting_s)) is not None:
            warnings.append(slow)
        runs = _unless_unreachable(lambda: runs_in_flight(self._instance, self._states)) or []
        at_work = sum(run.status != "queued" for run in runs)
        return Overview(
            at=now,
            markers=inbox.markers if inbox is not None else None,
            oldest_waiting_s=found.oldest_waiting_s,
            batches=records.batches if records is not None else {},
            runs=tuple(runs[:MAX_RUNS]),
            runs_at_work=at_work,
            runs_queued=len(runs) - at_work,
            rate=Rate(
                batches=sum(done.batches for done in recent) / minutes,
                frames=sum(done.frames for done in recent) / minutes,
                size_bytes=sum(done.size_bytes for done in recent) / minutes,
            ),
            failures=tuple(reversed(self._events.failed)),
            last_tick_s=last_tick_s,
            interval_s=self._interval_s,
            tokens_spent=tokens.spent if tokens is not None else None,
            tokens_reserved=tokens.reserved if tokens is not None else None,
            tokens_limit=tokens.limit if tokens is not None else None,
            missing=found.missing,
            warnings=tuple(warnings),
        )

    def _rarely(self, name: str, read: Callable[[], _T]) -> _T:
        at, value = self._slow.get(name, (float("-inf"), None))
        if time.monotonic() - at >= SLOW_CACHE_S:
            value = read()
            self._slow[name] = (time.monotonic(), value)
        return cast("_T", value)

    def _records(self) -> Records:
        now = time.time()
        keys = self._instance.get_dynamic_partitions(BATCHES)
        states = {key: state for key, (state, _) in partition_states(self._instance, keys).items()} if keys else {}
        batches = dict.fromkeys(map(str, BatchState), 0)
        self._states = states
        for state in states.values():
            batches[str(state)] += 1
        taken = first_taken_at(self._instance, {key for key, state in states.items() if state in OPEN})
        return Records(
            batches=batches,
            runs={
                status.value.lower(): self._instance.get_runs_count(dg.RunsFilter(statuses=[status]))
                for status in dg.DagsterRunStatus
            },
            oldest_taken_s=max(0.0, now - taken) if taken is not None else 0.0,
            tick_age_s={key: max(0.0, now - at) for key, at in last_ticks(self._instance).items()},
            heartbeat_age_s={
                name: max(0.0, now - beat.timestamp) for name, beat in self._instance.get_daemon_heartbeats().items()
            },
            totals=self._events.read(),
            oldest_starting_s=oldest_starting_s(self._instance, now),
        )

    def _inbox(self) -> Inbox:
        markers = self._bucket.list_inbox(limit=MAX_MARKERS)
        oldest = min((m.modified for m in markers if m.modified is not None), default=None)
        return Inbox(
            markers=len(markers),
            oldest_s=max(0.0, (self._bucket.now() - oldest).total_seconds()) if oldest is not None else 0.0,
            quarantined=self._rarely("quarantine", self._quarantined),
        )

    def _quarantined(self) -> int:
        objects = islice(self._bucket.iterate("quarantine/"), MAX_QUARANTINED_OBJECTS)
        return len({tuple(info.key.split("/")[1:3]) for info in objects})

    def _upkeep(self) -> Upkeep:
        stale, reconciled = STALE_UPLOADS.load(self._lake), RECONCILE.load(self._lake)
        retained = RETENTION.load(self._lake)
        ended = reconciled is not None and reconciled.ended_at is not None
        return Upkeep(
            stale_uploads=stale.count if stale is not None else None,
            stale_bytes=stale.size_bytes if stale is not None else None,
            reconciled_at=reconciled.ended_at.timestamp() if reconciled is not None and reconciled.ended_at else None,
            put_back=reconciled.put_back_count if reconciled is not None and ended else None,
            unnamed_recordings=reconciled.unnamed_count if reconciled is not None and ended else None,
            retained_at=retained.ended_at.timestamp() if retained is not None and retained.ended_at else None,
        )

    def _tokens(self) -> Tokens:
        today, ever = self._ledger.today(), self._ledger.ever()
        return Tokens(
            spent=today.spent,
            reserved=today.reserved,
            limit=today.limit,
            calls=ever.calls,
            tokens_total=ever.spent,
            cost_usd_total=ever.cost_usd,
        )

    def _undelivered(self) -> dict[str, Undelivered]:
        now = datetime.now(UTC)
        return {
            state.endpoint: Undelivered(
                waiting=state.pending,
                dead=state.dead,
                oldest_s=max(0.0, (now - state.oldest).total_seconds()) if state.oldest is not None else 0.0,
                off=state.disabled_at is not None,
            )
            for state in self._outbox.states(())
        }


def _unless_unreachable(read: Callable[[], _T]) -> _T | None:
    """Return what was read, `None` when its source does not answer."""
    from dagster_postgres.utils import DagsterPostgresException
    from sqlalchemy.exc import DBAPIError

    try:
        return read()
    except (ArgusError, DBAPIError, DagsterPostgresException, OSError):
        return None


def inbox_silence(instance: dg.DagsterInstance, bucket: Bucket, *, interval_s: float) -> str | None:
    """Return a warning when manifests wait and the sensor does not tick; `None` when all is well. See `silence`.

    Raises:
        Unavailable: The bucket did not answer.
    """
    oldest = min((m.modified for m in bucket.list_inbox(limit=MAX_MARKERS) if m.modified is not None), default=None)
    if oldest is None:
        return None
    ticked = last_ticks(instance).get(SENSOR)
    return silence(
        oldest_marker_s=max(0.0, (bucket.now() - oldest).total_seconds()),
        last_tick_s=max(0.0, time.time() - ticked) if ticked is not None else None,
        interval_s=interval_s,
    )


def oldest_starting_s(instance: dg.DagsterInstance, now: float) -> float:
    """Return the seconds since the launch of the run that has waited longest for its worker, 0 without one.

    Args:
        instance: Dagster's records.
        now: Seconds since 1970.
    """
    waiting = instance.get_run_records(
        filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING]),
        limit=1,
        order_by="update_timestamp",
        ascending=True,
    )
    return max(0.0, now - waiting[0].update_timestamp.timestamp()) if waiting else 0.0


def runs_in_flight(instance: dg.DagsterInstance, states: Mapping[str, BatchState]) -> list[RunInFlight]:
    """Return runs over batches that are queued or at work, those at work first, the older first; with their batches' states.

    Args:
        instance: Dagster's records.
        states: State of every batch, in the order of the partitions.
    """
    keys = list(states)
    index = {key: number for number, key in enumerate(keys)}
    found: list[RunInFlight] = []
    for record in instance.get_run_records(filters=dg.RunsFilter(statuses=list(IN_FLIGHT)), limit=MAX_RUNS_READ):
        run = record.dagster_run
        first = run.tags.get(PARTITION) or run.tags.get(RANGE_START)
        last = run.tags.get(PARTITION) or run.tags.get(RANGE_END)
        if first not in index or last not in index:
            continue
        own = keys[index[first] : index[last] + 1]
        queued = run.status in (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED)
        began = record.start_time or record.create_timestamp.timestamp()
        found.append(
            RunInFlight(
                run_id=run.run_id,
                status="queued" if queued else run.status.value.lower(),
                name=first if len(own) == 1 else f"{first} and {len(own) - 1} more",
                batches=len(own),
                states=dict(Counter(str(states[key]) for key in own)),
                seconds=max(0.0, time.time() - began),
            )
        )
    return sorted(found, key=lambda run: (run.status == "queued", -run.seconds))


def last_ticks(instance: dg.DagsterInstance) -> dict[tuple[str, str], float]:
    """Return when each active sensor and schedule last ticked, seconds since 1970, by name and type."""
    from dagster._core.scheduler.instigation import InstigatorStatus

    return {
        (state.instigator_name, state.instigator_type.value.lower()): at
        for state in instance.all_instigator_state()
        if state.status is not InstigatorStatus.STOPPED and (at := _last_tick(instance, state)) is not None
    }


def _last_tick(instance: dg.DagsterInstance, state: Any) -> float | None:  # noqa: ANN401 - InstigatorState, which is not public
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
    known: Iterator[float | None] = (
        getattr(state.instigator_data, name, None) for name in ("last_tick_start_timestamp", "last_tick_timestamp")
    )
    return max([*(tick.timestamp for tick in ticks), *(at for at in known if at is not None)], default=None)
