"""Removal of what is old from PostgreSQL and from the bucket: the port of `maintenance/retention.py`.

Where Dagster offers a removal it is used: of runs with their events, and of the cached status of assets. For the rest
its storage has none: `wipe_asset_partitions` is not there for PostgreSQL, and events that belong to no run have no
owner. Those rows go by SQL on Dagster's tables of 1.13: `event_logs`, `asset_event_tags`, `asset_check_executions` and
`dynamic_partitions`. Not touched: `job_ticks` (`retention` in dagster.yaml), `snapshots` (one for each version of a
job), `bulk_actions` (backfills), `asset_keys`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import dagster as dg
from dagster import DagsterEventType

from argus_assets.adapters.postgres.database import Database
from argus_assets.assets.batch import BATCH_CHECKS, vehicle_drop
from argus_assets.assets.replay import pinned
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import BatchRef, parse_partition_key
from argus_assets.lake import layout
from argus_assets.lake.store import Lake
from argus_assets.maintenance.retention import LiveBatch, Memory, OldRun, Span
from argus_assets.partitions import BATCHES, DATA_VERSION, PARTITION, RANGE_END, RANGE_START, partitions_in_flight
from argus_assets.pipeline import BATCH_REPORT, RUNNING, STAGES, BatchState
from argus_assets.sensors.rerun_requests import requested_partitions
from argus_assets.status import partition_states

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812 - the class is in lower case

CHUNK: Final = 5_000
"""Rows that go in one transaction."""

_ASSETS: Final = [vehicle_drop.key, *(dg.AssetKey(stage) for stage in STAGES)]
_DROP: Final = vehicle_drop.key.to_string()
_REPORT: Final = dg.AssetKey(BATCH_REPORT.name).to_string()
_MADE: Final = DagsterEventType.ASSET_MATERIALIZATION.value
_EVENTS: Final = [t.value for t in DagsterEventType if t.name.startswith("ASSET_") and "CHECK" not in t.name]

_LATEST: Final = """
SELECT partition, max(id) FILTER (WHERE asset_key = %(drop)s), max("timestamp"), max(id)
FROM event_logs
WHERE asset_key IN (%(drop)s, %(report)s) AND dagster_event_type = %(made)s AND partition IS NOT NULL
GROUP BY partition
"""

# Through idx_events_by_asset_partition: asset, type, partition.
_EVENTS_OF: Final = """
SELECT id, run_id FROM event_logs
WHERE asset_key IN (SELECT asset_key FROM asset_keys) AND dagster_event_type = ANY(%(types)s)
  AND partition = ANY(%(keys)s)
"""

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

_OLD_EVENTS: Final = """
FROM event_logs e
WHERE run_id = '' AND "timestamp" < %(before)s AND event NOT LIKE '%%"BatchQuarantined"%%' AND NOT EXISTS (
    SELECT FROM dynamic_partitions d WHERE d.partitions_def_name = %(batches)s AND d.partition = e.partition
)
"""

# `<vehicle>/<batch>` against `<date>_<vehicle>_<batch>`: as long as a batch lives, nothing alerts of it again.
_GONE: Final = f"""
 AND NOT EXISTS (
    SELECT FROM dynamic_partitions d
    WHERE d.partitions_def_name = '{BATCHES}' AND substr(d.partition, 12) = replace(subject, '/', '_')
)
"""

_MEMORY: Final[dict[Memory, tuple[str, str, str]]] = {
    "answers": ("argus.answers", "made_at", ""),
    "drives": ("argus.drives", "recorded_from", ""),
    # A call that nobody settled may have been answered: its tokens stay set aside.
    "model calls": ("argus.model_calls", "reserved_at", " AND settled_at IS NOT NULL"),
    "alerts": ("argus.alerts", "at", _GONE),
    "alerted manifests": ("argus.alerted_manifests", "at", _GONE),
}


class PostgresRecords:
    """`maintenance.retention.Records`.

    Args:
        instance: Dagster's records, in the database.
        database: The same database, which holds Argus' tables too.
        bucket: The drop bucket.
        lake: Where manifests are kept.
    """

    def __init__(self, instance: dg.DagsterInstance, database: Database, bucket: Bucket, lake: Lake) -> None:
        self._instance = instance
        self._database = database
        self._bucket = bucket
        self._lake = lake

    def live_batches(self) -> list[LiveBatch]:
        """All batches that have a partition, in a few queries."""
        keys = self._instance.get_dynamic_partitions(BATCHES)
        in_flight = partitions_in_flight(self._instance, keys) | requested_partitions(self._lake)
        states = partition_states(self._instance, keys)
        tags = self._instance.event_log_storage.get_latest_tags_by_partition(
            vehicle_drop.key, DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION]
        )
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(_LATEST, {"drop": _DROP, "report": _REPORT, "made": _MADE})
            latest = {partition: (taken, at, last) for partition, taken, at, last in cursor}
            position = _told_up_to(cursor)
            cursor.execute(
                "SELECT partition, create_timestamp FROM dynamic_partitions WHERE partitions_def_name = %s", (BATCHES,)
            )
            added = dict(cursor.fetchall())
        golden = pinned(self._lake)
        found: list[LiveBatch] = []
        for key in keys:
            ref = parse_partition_key(key)
            if ref is None or key not in added:
                continue
            taken, at, last = latest.get(key, (None, added[key], -1))
            state, _ = states[key]
            found.append(
                LiveBatch(
                    key,
                    BatchRef(ref.vehicle_id, ref.batch_id),
                    tags.get(key, {}).get(DATA_VERSION),
                    -1 if taken is None else taken,
                    "working"
                    if key in in_flight or state in RUNNING
                    else "completed"
                    if state is BatchState.COMPLETED
                    else "failed"
                    if state is BatchState.FAILED
                    else "resting",
                    at.replace(tzinfo=UTC),
                    told=position is None or last <= position,
                    pinned=key in golden,
                )
            )
        return found

    def forget_batches(self, batches: Sequence[LiveBatch]) -> list[LiveBatch]:
        """Remove partitions, their events and their checks in one transaction, but for batches dropped again.

        What a run recorded of no batch in particular stays until the run goes.
        """
        with self._database.transaction() as connection, connection.cursor() as cursor:
            wanted = self._unchanged(cursor, batches)
            keys = [b.partition for b in wanted]
            cursor.execute(_EVENTS_OF, {"types": _EVENTS, "keys": keys})
            rows = cursor.fetchall()
            _delete_events(cursor, [row[0] for row in rows])
            cursor.execute(
                "DELETE FROM asset_check_executions WHERE asset_key = ANY(%s) AND check_name = ANY(%s) "
                "AND run_id = ANY(%s) AND partition = ANY(%s)",
                (*_checks(), sorted({row[1] for row in rows if row[1]}), keys),
            )
            cursor.execute(
                "DELETE FROM dynamic_partitions WHERE partitions_def_name = %s AND partition = ANY(%s)", (BATCHES, keys)
            )
        return wanted

    def _unchanged(self, cursor: "Cursor", batches: Sequence[LiveBatch]) -> list[LiveBatch]:
        """Those that are still what the plan saw: no manifest was taken since, and no run is at them."""
        keys = [b.partition for b in batches]
        cursor.execute(
            "SELECT partition FROM dynamic_partitions WHERE partitions_def_name = %s AND partition = ANY(%s) "
            "ORDER BY id FOR UPDATE",
            (BATCHES, keys),
        )
        there = {row[0] for row in cursor}
        cursor.execute(
            "SELECT partition, max(id) FROM event_logs WHERE asset_key = %s AND dagster_event_type = %s "
            "AND partition = ANY(%s) GROUP BY partition",
            (_DROP, _MADE, keys),
        )
        taken: dict[str, int] = dict(cursor.fetchall())
        in_flight = partitions_in_flight(self._instance, self._instance.get_dynamic_partitions(BATCHES))
        return [
            b
            for b in batches
            if b.partition in there and b.partition not in in_flight and taken.get(b.partition, -1) == b.taken
        ]

    def old_runs(self, *, before: datetime, ended_before: datetime, going: Sequence[str]) -> list[OldRun]:
        """Ended runs without a batch, the oldest first."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(
                _OLD_RUNS,
                {
                    "batches": BATCHES,
                    "going": list(going),
                    "tags": [PARTITION, RANGE_START, RANGE_END],
                    "before": _naive(before),
                    "ended_before": _naive(ended_before),
                },
            )
            return [OldRun(run_id, at.replace(tzinfo=UTC)) for run_id, at in cursor]

    def forget_run(self, run_id: str) -> None:
        """Remove a run. Its events go first: a run without events is found again, events without a run are not."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM asset_check_executions WHERE asset_key = ANY(%s) AND check_name = ANY(%s) AND run_id = %s",
                (*_checks(), run_id),
            )
        self._instance.event_log_storage.delete_events(run_id)
        self._instance.delete_run(run_id)

    def old_events(self, *, before: datetime) -> Span:
        """Events of no run and no partition that lives: told outcomes, reports of upkeep, drops again unchanged."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(
                f'SELECT count(*), min("timestamp"), max("timestamp") {_OLD_EVENTS}',
                {"before": _naive(before), "batches": BATCHES},
            )
            return _span(cursor)

    def forget_events(self, *, before: datetime) -> int:
        """Remove them, some thousand at a time."""
        count = 0
        while True:
            with self._database.transaction() as connection, connection.cursor() as cursor:
                cursor.execute(
                    f"SELECT id {_OLD_EVENTS} ORDER BY id LIMIT {CHUNK}",
                    {"before": _naive(before), "batches": BATCHES},
                )
                ids = [row[0] for row in cursor]
                _delete_events(cursor, ids)
            count += len(ids)
            if len(ids) < CHUNK:
                return count

    def old_memory(self, memory: Memory, *, before: datetime) -> Span:
        """Rows of a table of ours that are old enough."""
        table, column, only = _MEMORY[memory]
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(
                f"SELECT count(*), min({column}), max({column}) FROM {table} WHERE {column} < %s{only}",  # noqa: S608
                (before,),
            )
            return _span(cursor)

    def forget_memory(self, memory: Memory, *, before: datetime) -> int:
        """Remove them; days of the ledger go with the last of their calls, counted failures with their batch."""
        table, column, only = _MEMORY[memory]
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {table} WHERE {column} < %s{only}", (before,))  # noqa: S608 - our own names
            count = cursor.rowcount
            if memory == "model calls":
                cursor.execute(
                    "DELETE FROM argus.token_days d WHERE day < %s AND reserved = 0 "
                    "AND NOT EXISTS (SELECT FROM argus.model_calls c WHERE c.day = d.day)",
                    (before.date(),),
                )
            if memory == "alerted manifests":
                cursor.execute(f"DELETE FROM argus.failed_attempts WHERE true{_GONE}")  # noqa: S608 - our own names
        return count

    def manifest(self, partition: str, digest: str) -> bytes | None:
        """The manifest that a batch was made from."""
        path = layout.manifest(partition, digest)
        return self._lake.read_bytes(path) if self._lake.exists(path) else None

    def delete_object(self, key: str) -> None:
        """Delete an object of the drop bucket."""
        self._bucket.delete(key)

    def refresh(self) -> None:
        """Drop the counts that Dagster keeps of partitions: it only adds to them."""
        self._instance.wipe_asset_cached_status(_ASSETS)


def _checks() -> tuple[list[str], list[str]]:
    """Asset keys and names of all checks: the index of `asset_check_executions` begins with them."""
    return sorted({c.asset_key.to_string() for c in BATCH_CHECKS}), [c.name for c in BATCH_CHECKS]


def _told_up_to(cursor: "Cursor") -> int | None:
    """Storage id up to which events were put into the outbox, `None` where nobody was ever told anything."""
    cursor.execute("SELECT min(storage_id) FROM argus.outbox_cursor")
    return (cursor.fetchone() or (None,))[0]


def _delete_events(cursor: "Cursor", ids: Sequence[int]) -> None:
    cursor.execute("DELETE FROM asset_event_tags WHERE event_id = ANY(%s)", (list(ids),))
    cursor.execute("DELETE FROM event_logs WHERE id = ANY(%s)", (list(ids),))


def _span(cursor: "Cursor") -> Span:
    count, oldest, newest = cursor.fetchone() or (0, None, None)
    return Span(count, _aware(oldest), _aware(newest))


def _naive(at: datetime) -> datetime:
    """As Dagster keeps times: UTC without saying so."""
    return at.astimezone(UTC).replace(tzinfo=None)


def _aware(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
