"""SQL on the tables of Dagster 1.13, for what its storage has no method for.

Read: `event_logs` in the order of its ids. Removed from, by retention: `event_logs`, `asset_event_tags`,
`asset_check_executions` and `dynamic_partitions`: `wipe_asset_partitions` is not there for PostgreSQL, and events that
belong to no run have no owner. Not touched: `job_ticks` (`retention` in dagster.yaml), `snapshots` (one for each version
of a job), `bulk_actions` (backfills), `asset_keys`.

Dagster keeps times in UTC without saying so; here they go in and come out with their time zone.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import dagster as dg
import sqlalchemy as sa
from dagster import DagsterEventType
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable

from argus_assets.events import BatchQuarantined
from argus_assets.partitions import BATCHES, PARTITION, RANGE_END, RANGE_START
from argus_assets.pipeline import ASSETS, BATCH_REPORT, DIAGNOSIS, DROP, REC_FRAMES, BatchState

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812 - the class is in lower case

MAX_IDS: Final = 50_000
"""Rows of the event log that are passed at a time, most of which are log lines."""

SETTLE: Final = timedelta(seconds=60)
"""An id that is missing may be of a transaction that is not at its end, for so long."""

_DROP: Final = dg.AssetKey(DROP).to_string()
_REPORT: Final = dg.AssetKey(BATCH_REPORT.name).to_string()
_MADE: Final = DagsterEventType.ASSET_MATERIALIZATION.value
_ASSET_EVENTS: Final = [t.value for t in DagsterEventType if t.name.startswith("ASSET_") and "CHECK" not in t.name]


# ---------------------------------------------------------------------------------------------- reading in order


def settled_id(instance: dg.DagsterInstance, after: int, now: datetime) -> int:
    """Return the storage id up to which nothing can come any more.

    Ids are given out when a row is written, and seen when its transaction ends: one that is missing may still come.

    Args:
        instance: Where the log is.
        after: Storage id of the last event that was read.
        now: The time.
    """
    table = SqlEventLogStorageTable.c
    query = sa.select(table.id, table.timestamp).where(table.id > after).order_by(table.id).limit(MAX_IDS)
    with instance.event_log_storage.index_connection() as connection:  # pyright: ignore[reportAttributeAccessIssue]
        rows = connection.execute(query).all()
    last = after
    for storage_id, at in rows:
        if storage_id != last + 1 and now - at.replace(tzinfo=UTC) < SETTLE:
            break
        last = storage_id
    return last


def outcomes_after(
    instance: dg.DagsterInstance, after: int, *, since: float | None, limit: int
) -> list[tuple[int, str]]:
    """Return what was read, diagnosed, completed, failed or quarantined after a storage id, in order: id and event.

    Other events that mention a failure may be among them. To read an event (`entry_of`) costs more than to fetch it.

    Args:
        instance: Where the log is.
        after: Storage id.
        since: Leave out what is older, seconds since 1970; `None` for all.
        limit: At most so many.
    """
    table = SqlEventLogStorageTable.c
    made = (table.dagster_event_type == _MADE) & table.asset_key.in_(
        _keys(REC_FRAMES.name, DIAGNOSIS.name, BATCH_REPORT.name)
    )
    failed = (
        (table.dagster_event_type == DagsterEventType.ASSET_OBSERVATION.value)
        & table.asset_key.in_(_keys(*ASSETS))
        & (table.event.contains(f'"{BatchState.FAILED}"') | table.event.contains(f'"{BatchQuarantined.__name__}"'))
    )
    recent = sa.true() if since is None else table.timestamp >= _naive(datetime.fromtimestamp(since, UTC))
    query = (
        sa.select(table.id, table.event).where(table.id > after, made | failed, recent).order_by(table.id).limit(limit)
    )
    with instance.event_log_storage.index_connection() as connection:  # pyright: ignore[reportAttributeAccessIssue]
        return [(int(i), str(event)) for i, event in connection.execute(query)]


def entry_of(event: str) -> dg.EventLogEntry:
    """Return an event as Dagster's object."""
    return dg.deserialize_value(event, dg.EventLogEntry)


def _keys(*assets: str) -> list[str]:
    return [dg.AssetKey(name).to_string() for name in assets]


# ---------------------------------------------------------------------------------------------- batches


@dataclass(frozen=True, slots=True)
class LastEvents:
    """When something last happened to a batch.

    Attributes:
        taken: Storage id of the event that took its current manifest, `None` without one.
        at: When its manifest was taken, or its report made, whichever is later.
        last: Storage id of that event.
    """

    taken: int | None
    at: datetime
    last: int


_LATEST: Final = """
SELECT partition, max(id) FILTER (WHERE asset_key = %(drop)s), max("timestamp"), max(id)
FROM event_logs
WHERE asset_key IN (%(drop)s, %(report)s) AND dagster_event_type = %(made)s AND partition IS NOT NULL
GROUP BY partition
"""


def last_events(cursor: "Cursor") -> dict[str, LastEvents]:
    """Return what last happened to each batch that was ever taken."""
    cursor.execute(_LATEST, {"drop": _DROP, "report": _REPORT, "made": _MADE})
    return {partition: LastEvents(taken, _aware(at), last) for partition, taken, at, last in cursor}


def added_at(cursor: "Cursor") -> dict[str, datetime]:
    """Return when the partition of each batch was added."""
    cursor.execute(
        "SELECT partition, create_timestamp FROM dynamic_partitions WHERE partitions_def_name = %s", (BATCHES,)
    )
    return {partition: _aware(at) for partition, at in cursor}


def lock_partitions(cursor: "Cursor", partitions: Sequence[str]) -> dict[str, int | None]:
    """Lock those partitions that there are until the transaction ends.

    Returns:
        Of each the storage id of the event that took its current manifest, `None` without one.
    """
    cursor.execute(
        "SELECT partition FROM dynamic_partitions WHERE partitions_def_name = %s AND partition = ANY(%s) "
        "ORDER BY id FOR UPDATE",
        (BATCHES, list(partitions)),
    )
    locked: dict[str, int | None] = {row[0]: None for row in cursor}
    cursor.execute(
        "SELECT partition, max(id) FROM event_logs WHERE asset_key = %s AND dagster_event_type = %s "
        "AND partition = ANY(%s) GROUP BY partition",
        (_DROP, _MADE, list(locked)),
    )
    return locked | dict(cursor.fetchall())


# Through idx_events_by_asset_partition: asset, type, partition.
_EVENTS_OF: Final = """
SELECT id, run_id FROM event_logs
WHERE asset_key IN (SELECT asset_key FROM asset_keys) AND dagster_event_type = ANY(%(types)s)
  AND partition = ANY(%(keys)s)
"""


def delete_partitions(cursor: "Cursor", partitions: Sequence[str], checks: Sequence[dg.AssetCheckKey]) -> None:
    """Delete partitions with their events and their checks; what a run recorded of no batch in particular stays."""
    keys = list(partitions)
    cursor.execute(_EVENTS_OF, {"types": _ASSET_EVENTS, "keys": keys})
    rows = cursor.fetchall()
    _delete_events(cursor, [row[0] for row in rows])
    _delete_checks(cursor, checks, run_ids={row[1] for row in rows if row[1]}, partitions=keys)
    cursor.execute(
        "DELETE FROM dynamic_partitions WHERE partitions_def_name = %s AND partition = ANY(%s)", (BATCHES, keys)
    )


# ---------------------------------------------------------------------------------------------- runs


_OLD_RUNS: Final = r"""
WITH live AS (
    SELECT partition FROM dynamic_partitions
    WHERE partitions_def_name = %(batches)s AND NOT partition = ANY(%(going)s)
), ended AS (
    SELECT r.id, r.run_id, r.update_timestamp AS ended_at, EXISTS (
        SELECT FROM run_tags t
        WHERE t.run_id = r.run_id AND t.key = ANY(%(tags)s) AND t.value ~ '^\d{4}-\d{2}-\d{2}_'
    ) AS had_batches
    FROM runs r
    WHERE r.status IN ('SUCCESS', 'FAILURE', 'CANCELED') AND r.update_timestamp < %(ended_before)s
)
SELECT run_id, ended_at FROM ended
WHERE (had_batches OR ended_at < %(before)s)
  AND NOT EXISTS (SELECT FROM event_logs e JOIN live USING (partition) WHERE e.run_id = ended.run_id)
  AND NOT EXISTS (
      SELECT FROM run_tags t JOIN live ON live.partition = t.value
      WHERE t.run_id = ended.run_id AND t.key = ANY(%(tags)s)
  )
ORDER BY ended_at, id
"""


def runs_without_batch(
    cursor: "Cursor", *, before: datetime, ended_before: datetime, deleted: Sequence[str]
) -> Iterator[tuple[str, datetime]]:
    """Yield ended runs of no live batch and when they ended, the oldest first.

    Args:
        cursor: Of the database.
        before: Runs that never had a batch: ended earlier than this.
        ended_before: Runs whose batches are deleted: ended earlier than this.
        deleted: Partitions that count as deleted.
    """
    cursor.execute(
        _OLD_RUNS,
        {
            "batches": BATCHES,
            "going": list(deleted),
            "tags": [PARTITION, RANGE_START, RANGE_END],
            "before": _naive(before),
            "ended_before": _naive(ended_before),
        },
    )
    for run_id, at in cursor:
        yield run_id, _aware(at)


def delete_checks_of_run(cursor: "Cursor", run_id: str, checks: Sequence[dg.AssetCheckKey]) -> None:
    """Delete what a run recorded of its checks, which Dagster leaves."""
    _delete_checks(cursor, checks, run_ids={run_id}, partitions=None)


# ---------------------------------------------------------------------------------------------- events of no run

_OLD_EVENTS: Final = f"""
FROM event_logs e
WHERE run_id = '' AND "timestamp" < %(before)s AND event NOT LIKE '%%"{BatchQuarantined.__name__}"%%' AND NOT EXISTS (
    SELECT FROM dynamic_partitions d WHERE d.partitions_def_name = %(batches)s AND d.partition = e.partition
)
"""


def span_of_loose_events(cursor: "Cursor", *, before: datetime) -> tuple[int, datetime | None, datetime | None]:
    """Return how many events of no run and no live partition there are, and the times of the oldest and the newest.

    These are reports of maintenance, outcomes that sensors wrote, and manifests dropped again unchanged; quarantined
    manifests excepted, of which nothing else is left.
    """
    cursor.execute(
        f'SELECT count(*), min("timestamp"), max("timestamp") {_OLD_EVENTS}',
        {"before": _naive(before), "batches": BATCHES},
    )
    count, oldest, newest = cursor.fetchone() or (0, None, None)
    return count, _aware(oldest) if oldest else None, _aware(newest) if newest else None


def delete_loose_events(cursor: "Cursor", *, before: datetime, limit: int) -> int:
    """Delete the first of them; returns how many."""
    cursor.execute(
        f"SELECT id {_OLD_EVENTS} ORDER BY id LIMIT %(limit)s",
        {"before": _naive(before), "batches": BATCHES, "limit": limit},
    )
    ids = [row[0] for row in cursor]
    _delete_events(cursor, ids)
    return len(ids)


# ---------------------------------------------------------------------------------------------- rows


def _delete_events(cursor: "Cursor", ids: Sequence[int]) -> None:
    cursor.execute("DELETE FROM asset_event_tags WHERE event_id = ANY(%s)", (list(ids),))
    cursor.execute("DELETE FROM event_logs WHERE id = ANY(%s)", (list(ids),))


def _delete_checks(
    cursor: "Cursor",
    checks: Sequence[dg.AssetCheckKey],
    *,
    run_ids: Collection[str],
    partitions: Sequence[str] | None,
) -> None:
    """Delete evaluations of checks. The index begins with the asset and the name, so all are named."""
    cursor.execute(
        "DELETE FROM asset_check_executions WHERE asset_key = ANY(%(assets)s) AND check_name = ANY(%(names)s) "
        "AND run_id = ANY(%(runs)s) AND (%(keys)s::text[] IS NULL OR partition = ANY(%(keys)s))",
        {
            "assets": sorted({check.asset_key.to_string() for check in checks}),
            "names": [check.name for check in checks],
            "runs": sorted(run_ids),
            "keys": partitions,
        },
    )


def _naive(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(tzinfo=None)


def _aware(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC)
