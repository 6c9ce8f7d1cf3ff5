"""The port of `maintenance/retention.py`: what is old, looked up in and removed from PostgreSQL, bucket and lake.

Where Dagster offers a removal it is used: of runs with their events, and of the cached status of assets. For the rest
there is `tables`. What Argus itself remembers is in tables of its own, in the same database.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import dagster as dg

from argus_assets.adapters.postgres.database import Database
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import BatchRef, parse_partition_key
from argus_assets.event_log import tables
from argus_assets.event_log.queries import dropped_digests
from argus_assets.event_log.states import partition_states, phase_of
from argus_assets.lake import layout
from argus_assets.lake.store import Lake
from argus_assets.maintenance.retention import LiveBatch, Memory, OldRun, Span
from argus_assets.partitions import BATCHES, partitions_in_flight
from argus_assets.pipeline import ASSETS

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812 - the class is in lower case

CHUNK: Final = 5_000
"""Rows that go in one transaction."""

# `<vehicle>/<batch>` against `<date>_<vehicle>_<batch>`: as long as a batch lives, nothing alerts of it again.
_DELETED: Final = f"""
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
    "alerts": ("argus.alerts", "at", _DELETED),
    "alerted manifests": ("argus.alerted_manifests", "at", _DELETED),
}


class PostgresRetentionStore:
    """`maintenance.retention.RetentionStore`.

    Args:
        instance: Dagster's records, in the database.
        database: The same database, which holds Argus' tables too.
        bucket: The drop bucket.
        lake: Where manifests are kept.
        checks: Of all assets of a batch: what was recorded of them goes with their batch.
        requested: Partitions of which a rerun was asked for.
        pinned: Partitions of the golden set.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        database: Database,
        bucket: Bucket,
        lake: Lake,
        *,
        checks: Sequence[dg.AssetCheckKey],
        requested: Callable[[], Collection[str]],
        pinned: Callable[[], Collection[str]],
    ) -> None:
        self._instance = instance
        self._database = database
        self._bucket = bucket
        self._lake = lake
        self._checks = checks
        self._requested = requested
        self._pinned = pinned

    def live_batches(self) -> list[LiveBatch]:
        """Return all batches that have a partition, in a few queries."""
        keys = self._instance.get_dynamic_partitions(BATCHES)
        in_flight = partitions_in_flight(self._instance, keys).union(self._requested())
        states = partition_states(self._instance, keys)
        digests = dropped_digests(self._instance)
        with self._database.transaction() as connection, connection.cursor() as cursor:
            events = tables.last_events(cursor)
            reported_up_to = _reported_up_to(cursor)
            added = tables.added_at(cursor)
        golden = self._pinned()
        found: list[LiveBatch] = []
        for key in keys:
            ref = parse_partition_key(key)
            if ref is None or key not in added:
                continue
            last = events.get(key, tables.LastEvents(None, added[key], -1))
            state, _ = states[key]
            found.append(
                LiveBatch(
                    key,
                    BatchRef(ref.vehicle_id, ref.batch_id),
                    digests.get(key),
                    -1 if last.taken is None else last.taken,
                    phase_of(state, in_flight=key in in_flight),
                    last.at,
                    reported=reported_up_to is None or last.last <= reported_up_to,
                    pinned=key in golden,
                )
            )
        return found

    def delete_batches(self, batches: Sequence[LiveBatch]) -> list[LiveBatch]:
        """Delete partitions, their events and their checks in one transaction, except for batches dropped again."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            wanted = self._unchanged(cursor, batches)
            tables.delete_partitions(cursor, [b.partition for b in wanted], self._checks)
        return wanted

    def _unchanged(self, cursor: "Cursor", batches: Sequence[LiveBatch]) -> list[LiveBatch]:
        """Return those that are still what the plan saw: no manifest was taken since, and no run is at them."""
        locked = tables.lock_partitions(cursor, [b.partition for b in batches])
        in_flight = partitions_in_flight(self._instance, self._instance.get_dynamic_partitions(BATCHES))

        def is_unchanged(batch: LiveBatch) -> bool:
            if batch.partition not in locked or batch.partition in in_flight:
                return False
            taken = locked[batch.partition]
            return (-1 if taken is None else taken) == batch.taken

        return [batch for batch in batches if is_unchanged(batch)]

    def old_runs(self, *, before: datetime, ended_before: datetime, deleted: Sequence[str]) -> list[OldRun]:
        """Return ended runs without a batch, the oldest first."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            runs = tables.runs_without_batch(cursor, before=before, ended_before=ended_before, deleted=deleted)
            return [OldRun(run_id, ended_at) for run_id, ended_at in runs]

    def delete_run(self, run_id: str) -> None:
        """Delete a run. Its events go first: a run without events is found again, events without a run are not."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            tables.delete_checks_of_run(cursor, run_id, self._checks)
        self._instance.event_log_storage.delete_events(run_id)
        self._instance.delete_run(run_id)

    def old_events(self, *, before: datetime) -> Span:
        """Return the span of events of no run and no live partition."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            return Span(*tables.span_of_loose_events(cursor, before=before))

    def delete_events(self, *, before: datetime) -> int:
        """Delete them, some thousand at a time."""
        count = 0
        while True:
            with self._database.transaction() as connection, connection.cursor() as cursor:
                deleted = tables.delete_loose_events(cursor, before=before, limit=CHUNK)
            count += deleted
            if deleted < CHUNK:
                return count

    def old_memory(self, memory: Memory, *, before: datetime) -> Span:
        """Return the span of those rows of a table of ours that are old enough."""
        table, column, only = _MEMORY[memory]
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(
                f"SELECT count(*), min({column}), max({column}) FROM {table} WHERE {column} < %s{only}",  # noqa: S608 - our own names
                (before,),
            )
            count, oldest, newest = cursor.fetchone() or (0, None, None)
        return Span(count, *(None if at is None else at.astimezone(UTC) for at in (oldest, newest)))

    def delete_memory(self, memory: Memory, *, before: datetime) -> int:
        """Delete them; days of the ledger go with the last of their calls, counted failures with their batch."""
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
                cursor.execute(f"DELETE FROM argus.failed_attempts WHERE true{_DELETED}")  # noqa: S608 - our own names
        return count

    def manifest(self, partition: str, digest: str) -> bytes | None:
        """Return the manifest that a batch was made from, `None` when it is not kept."""
        path = layout.manifest(partition, digest)
        return self._lake.read_bytes(path) if self._lake.exists(path) else None

    def delete_object(self, key: str) -> None:
        """Delete an object of the drop bucket."""
        self._bucket.delete(key)

    def refresh(self) -> None:
        """Drop the counts that Dagster keeps of partitions: it only adds to them."""
        self._instance.wipe_asset_cached_status([dg.AssetKey(name) for name in ASSETS])


def _reported_up_to(cursor: "Cursor") -> int | None:
    """Return the storage id up to which events were put into the outbox, `None` where no endpoint was ever notified."""
    cursor.execute("SELECT min(storage_id) FROM argus.outbox_cursor")
    return (cursor.fetchone() or (None,))[0]
