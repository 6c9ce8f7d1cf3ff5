"""Dagster's PostgreSQL storage with connections that are kept open.

Dagster's own opens a connection for each statement, and inspects the tables whenever an instance is made, which a
sensor does at each tick: 800 connections a minute at rest. Its webserver keeps some open
(`DagsterInstance.optimize_for_webserver`). Here every process does the same. Also, the daemon that retries runs misses no
failure, and a clock that was set back does not stop sensors and schedules.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
from dagster._core.events.log import EventLogEntry
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorTick,
    ScheduleInstigatorData,
    SensorInstigatorData,
)
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.runs.base import RunStorage
from dagster._core.storage.schedules.base import ScheduleStorage
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_engine, get_token_provider_from_config, pg_url_from_config
from sqlalchemy.pool import NullPool

from argus_assets.adapters.postgres.database import require_known_version
from argus_assets.adapters.postgres.pooling import POOL, is_pooled, pooled
from argus_assets.errors import Unavailable

if TYPE_CHECKING:
    from dagster_postgres.auth import PgTokenProvider
    from sqlalchemy import Engine

_DAGSTER: Final = "dagster"
# Clocks of the processes that share a database differ by less.
CLOCKS_DIFFER_S: Final = 30.0
# How far back a schedule searches for its times after the clock was set back.
_LOOKBACK_S: Final = 3600.0


class PooledPostgresStorage(DagsterPostgresStorage):
    """`DagsterPostgresStorage` whose instances in one process share a pool of connections."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
        token_provider: "PgTokenProvider | None" = None,
    ) -> None:
        # A process with a pool has found the tables, or made them.
        is_first = not is_pooled((_DAGSTER, postgres_url))
        autocreate = should_autocreate_tables and is_first
        if is_first and token_provider is None:
            # Every process with an instance gets here. Where nobody answers, Dagster retries and says so.
            with suppress(Unavailable):
                require_known_version(postgres_url)
        super().__init__(postgres_url, autocreate, inst_data, token_provider)
        self.should_autocreate_tables = should_autocreate_tables
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            _use_pool(storage, postgres_url, token_provider)
        _status_before_failure(self._run_storage, self._event_log_storage)
        _forget_the_future(self._schedule_storage)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "PooledPostgresStorage":
        """Return the storage that `dagster.yaml` configures."""
        return cls(
            pg_url_from_config(config_value),  # type: ignore[arg-type] # a typed dictionary of the same keys
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),
        )


def patch_storage(instance: dg.DagsterInstance) -> None:
    """Patch Dagster's own PostgreSQL storage to work as `PooledPostgresStorage`; harmless elsewhere, and when repeated."""
    runs, events, schedules = storages = (instance.run_storage, instance.event_log_storage, instance.schedule_storage)
    if not all(isinstance(getattr(getattr(each, "_engine", None), "pool", None), NullPool) for each in storages):
        return
    assert schedules is not None  # it has a pool
    with suppress(Unavailable):
        require_known_version(getattr(runs, "postgres_url"))  # noqa: B009 - Dagster's types know no URL
    for each in storages:
        _use_pool(each, getattr(each, "postgres_url"), getattr(each, "_token_provider", None))  # noqa: B009 - Dagster's types know no URL
    _status_before_failure(runs, events)
    _forget_the_future(schedules)


def _status_before_failure(runs: RunStorage, events: EventLogStorage) -> None:
    """Store the status of a failed run before the event of its failure, not after it.

    Dagster's daemon evaluates a failure once. One whose run still has the status "started" is never retried.
    """
    store: Callable[[EventLogEntry], None] = events.store_event

    def store_event(event: EventLogEntry) -> None:
        dagster_event = event.dagster_event
        if dagster_event is not None and dagster_event.event_type is dg.DagsterEventType.RUN_FAILURE:
            runs.handle_run_event(event.run_id, dagster_event)
        store(event)

    setattr(events, "store_event", store_event)  # noqa: B010 - Dagster makes the storages itself


def _forget_the_future(schedules: ScheduleStorage) -> None:
    """Hide last ticks of sensors and schedules that are in the future of this process's clock.

    Dagster waits until the clock has passed the last tick: after the clock was set back, for as long as it was set back by.
    Here a sensor ticks at once instead, and a schedule whose daemon is restarted continues from now.
    """
    all_states: Callable[..., Sequence[InstigatorState]] = schedules.all_instigator_state
    one_state: Callable[[str, str], InstigatorState | None] = schedules.get_instigator_state
    ticks: Callable[..., Sequence[InstigatorTick]] = schedules.get_ticks

    def all_instigator_state(*args: Any, **kwargs: Any) -> Sequence[InstigatorState]:  # noqa: ANN401 - Dagster's own
        return [_without_future(state) for state in all_states(*args, **kwargs)]

    def get_instigator_state(origin_id: str, selector_id: str) -> InstigatorState | None:
        state = one_state(origin_id, selector_id)
        return None if state is None else _without_future(state)

    def get_ticks(
        origin_id: str,
        selector_id: str,
        before: float | None = None,
        after: float | None = None,
        limit: int | None = None,
        **kwargs: Any,  # noqa: ANN401 - Dagster's own
    ) -> Sequence[InstigatorTick]:
        if limit == 1 and before is None:  # the last one; a list shows all that there were
            before = time.time() + CLOCKS_DIFFER_S
        return ticks(origin_id, selector_id, before=before, after=after, limit=limit, **kwargs)

    for replaced in (all_instigator_state, get_instigator_state, get_ticks):
        setattr(schedules, replaced.__name__, replaced)


def _without_future(state: InstigatorState) -> InstigatorState:
    now = time.time()
    match state.instigator_data:
        case SensorInstigatorData(last_tick_timestamp=ended, last_tick_start_timestamp=began) as data:
            past = data._replace(last_tick_timestamp=None, last_tick_start_timestamp=None)
        case ScheduleInstigatorData(start_timestamp=began, last_iteration_timestamp=ended) as data:
            # Not now itself: read anew each time, no tick would ever come after it.
            past = data._replace(start_timestamp=now - _LOOKBACK_S, last_iteration_timestamp=None)
        case _:
            return state
    return state.with_data(past) if max(began or 0, ended or 0) > now + CLOCKS_DIFFER_S else state


def _use_pool(storage: object, url: str, token_provider: "PgTokenProvider | None") -> None:
    make = partial(create_pg_engine, url, token_provider, isolation_level="AUTOCOMMIT", **POOL)
    engine: Engine = pooled((_DAGSTER, url), make)
    setattr(storage, "_engine", engine)  # noqa: B010 - not public, and the one way to check a connection before use
