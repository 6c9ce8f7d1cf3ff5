"""The outbox in PostgreSQL: events for other systems, until each of them has received them.

An event is added once, in the transaction that moves the cursor. A sender holds the lock of its row for the time of an
attempt: nobody else sends it meanwhile, and a sender that dies releases the lock.
"""

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from argus_assets.adapters.postgres.database import Database
from argus_assets.notifications.alerts import HOUR, Alert, Told
from argus_assets.notifications.delivery import Reply, Verdict, endpoint_pause, judge
from argus_assets.notifications.events import Outcome, envelope

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812 - the class is in lower case
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

PAGE: Final = 1000
PURGED: Final = 5000
"""Maximum of delivered events that one purge deletes; the next one continues."""

_PENDING: Final = "delivered_at IS NULL AND dead_at IS NULL"
_COLUMNS: Final = "seq, id, endpoint, type, subject, payload, created_at, attempts, next_attempt_at, delivered_at, dead_at, last_error"


@dataclass(frozen=True, slots=True)
class Entry:
    """One event for one endpoint.

    Attributes:
        seq: Its number: the order in which events were added.
        payload: The CloudEvent.
        next_attempt_at: When the next attempt of a pending event is due.
        dead_at: When it was given up.
        last_error: Result of the last attempt.
    """

    seq: int
    id: str
    endpoint: str
    type: str
    subject: str
    payload: dict[str, Any]
    created_at: datetime
    attempts: int
    next_attempt_at: datetime
    delivered_at: datetime | None
    dead_at: datetime | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class EndpointState:
    """State of an endpoint.

    Attributes:
        failures: Consecutive ones since the last delivery.
        disabled_why: Why nothing is sent any more, `None` while it is active.
    """

    endpoint: str
    failures: int
    paused_until: datetime | None
    disabled_at: datetime | None
    disabled_why: str | None
    pending: int
    dead: int
    oldest: datetime | None


class Outbox:
    """Events for other systems.

    Args:
        database: Keeps them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def writing(self) -> "Generator[OutboxWriter]":
        """Open a transaction that adds events and moves the cursor, all or nothing; one at a time.

        Raises:
            Unavailable: The database did not answer; nothing was added.
        """
        with self._database.transaction() as connection, connection.cursor() as cursor:
            # Whoever reads the event log at the same time waits here.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('argus.outbox'))")
            yield OutboxWriter(cursor)

    @contextmanager
    def delivering(self) -> "Generator[Delivery]":
        """Open a session that takes events out.

        Raises:
            Unavailable: The database did not answer.
        """
        with self._database.session(autocommit=False) as connection:
            yield Delivery(connection)

    def entries(
        self, state: Literal["pending", "dead"], *, endpoint: str | None = None, limit: int = 100
    ) -> Sequence[Entry]:
        """Return pending events, the next due first, or dead ones, the latest first."""
        where, order = (
            (_PENDING, "next_attempt_at, seq")
            if state == "pending"
            else ("dead_at IS NOT NULL", "dead_at DESC, seq DESC")
        )
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {_COLUMNS} FROM argus.outbox WHERE {where} AND (%s::text IS NULL OR endpoint = %s) "  # noqa: S608
                f"ORDER BY {order} LIMIT %s",
                (endpoint, endpoint, limit),
            )
            return [Entry(*row) for row in cursor.fetchall()]

    def states(self, endpoints: Iterable[str]) -> Sequence[EndpointState]:
        """Return the state of endpoints, also of those that have events and are no longer configured."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(
                f"""
                SELECT e.endpoint, coalesce(w.failures, 0), w.paused_until, w.disabled_at, w.disabled_why,
                       count(o.seq) FILTER (WHERE {_PENDING}), count(o.seq) FILTER (WHERE dead_at IS NOT NULL),
                       min(o.created_at) FILTER (WHERE {_PENDING})
                FROM (
                    SELECT unnest(%s::text[]) AS endpoint
                    UNION SELECT endpoint FROM argus.outbox WHERE delivered_at IS NULL
                ) e
                LEFT JOIN argus.webhook_endpoints w USING (endpoint)
                LEFT JOIN argus.outbox o ON o.endpoint = e.endpoint AND o.delivered_at IS NULL
                GROUP BY e.endpoint, w.failures, w.paused_until, w.disabled_at, w.disabled_why ORDER BY e.endpoint
                """,  # noqa: S608
                (list(endpoints),),
            )
            return [EndpointState(*row) for row in cursor.fetchall()]

    def due(self, endpoints: Sequence[str], *, now: datetime, max_count: int) -> dict[str, int]:
        """Return how many events are due for each endpoint that is not paused, counted up to `max_count`."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(
                f"""
                SELECT e.endpoint, count(*) FROM unnest(%(endpoints)s::text[]) AS e (endpoint)
                CROSS JOIN LATERAL (
                    SELECT FROM argus.outbox o
                    WHERE o.endpoint = e.endpoint AND {_PENDING} AND next_attempt_at <= %(now)s LIMIT %(max_count)s
                ) o
                WHERE NOT EXISTS (
                    SELECT FROM argus.webhook_endpoints w
                    WHERE w.endpoint = e.endpoint AND (w.paused_until > %(now)s OR w.disabled_at IS NOT NULL)
                )
                GROUP BY e.endpoint
                """,  # noqa: S608
                {"endpoints": list(endpoints), "now": now, "max_count": max_count},
            )
            return {endpoint: int(count) for endpoint, count in cursor.fetchall()}

    def retry(self, *, ids: Sequence[str] = (), endpoint: str | None = None, now: datetime) -> int:
        """Revive dead letters, with all their attempts, and enable their endpoints; return how many.

        Args:
            ids: Of the events; all dead ones unless given.
            endpoint: Only of this one.
            now: The time.
        """
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(
                "UPDATE argus.outbox SET dead_at = NULL, attempts = 0, next_attempt_at = %s "
                "WHERE dead_at IS NOT NULL AND (%s OR id = ANY(%s)) AND (%s::text IS NULL OR endpoint = %s) "
                "RETURNING endpoint",
                (now, not ids, list(ids), endpoint, endpoint),
            )
            brought = [row[0] for row in cursor.fetchall()]
            woken = {*brought, *([endpoint] if endpoint else [])}
            cursor.execute("DELETE FROM argus.webhook_endpoints WHERE endpoint = ANY(%s)", (sorted(woken),))
        return len(brought)

    def purge(self, *, before: datetime) -> int:
        """Delete events that were delivered before; return how many."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM argus.outbox WHERE seq IN "
                "(SELECT seq FROM argus.outbox WHERE delivered_at < %s ORDER BY delivered_at LIMIT %s)",
                (before, PURGED),
            )
            return cursor.rowcount


class OutboxWriter:
    """One transaction that adds events; see `Outbox.writing`."""

    def __init__(self, cursor: "Cursor") -> None:
        self._cursor = cursor

    def position(self, name: str) -> int | None:
        """Return the storage id up to which the event log was read, `None` before the first time."""
        self._cursor.execute("SELECT storage_id FROM argus.outbox_cursor WHERE name = %s", (name,))
        row = self._cursor.fetchone()
        return row[0] if row is not None else None

    def move(self, name: str, storage_id: int) -> None:
        """Record how far the event log was read."""
        self._cursor.execute(
            "INSERT INTO argus.outbox_cursor (name, storage_id) VALUES (%s, %s) "
            "ON CONFLICT (name) DO UPDATE SET storage_id = excluded.storage_id",
            (name, storage_id),
        )

    def add(self, outcomes: Sequence[tuple[Outcome, Sequence[str], datetime]], *, source: str, now: datetime) -> int:
        """Add events; return how many were new.

        Args:
            outcomes: Each with its endpoints and when it may be sent. Alerts wait for nothing; the other events of
                one batch are delivered in this order.
            source: See `events.cloud_event`.
            now: The time.
        """
        from psycopg2.extras import Json, execute_values

        rows = [
            (
                outcome.id, endpoint, outcome.type, outcome.subject,
                None if outcome.name == "AlertRaised" else outcome.subject, Json(payload), now, due_at,
            )
            for outcome, endpoints, due_at in outcomes
            for payload in (envelope(outcome, source=source),)
            for endpoint in endpoints
        ]  # fmt: skip
        added = execute_values(
            self._cursor,
            "INSERT INTO argus.outbox (id, endpoint, type, subject, lane, payload, created_at, next_attempt_at) VALUES %s "
            "ON CONFLICT (id, endpoint) DO NOTHING RETURNING seq",
            rows,
            page_size=PAGE,
            fetch=True,
        )
        return len(added)

    def is_diagnosed(self, digest: str, subject: str) -> bool:
        """Return true when alert rules were evaluated for a diagnosis of this manifest before."""
        self._cursor.execute(
            "SELECT 1 FROM argus.alerted_manifests WHERE manifest_digest = %s AND subject = %s", (digest, subject)
        )
        return self._cursor.fetchone() is not None

    def diagnosed(self, outcomes: Sequence[Outcome]) -> None:
        """Record that these manifests were diagnosed."""
        from psycopg2.extras import execute_values

        execute_values(
            self._cursor,
            "INSERT INTO argus.alerted_manifests (manifest_digest, subject, at) VALUES %s ON CONFLICT DO NOTHING",
            [(o.data.manifest_digest, o.subject, o.at) for o in outcomes],
            page_size=PAGE,
        )

    def failed(self, outcome: Outcome, *, crashed: bool) -> tuple[int, int]:
        """Count a failure that may pass by itself; return how many there were of this manifest, and how many were crashes."""
        key = (outcome.data.manifest_digest, outcome.subject)
        self._cursor.execute(
            "INSERT INTO argus.failed_attempts (manifest_digest, subject, event_id, crashed) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            (*key, outcome.id, crashed),
        )
        self._cursor.execute(
            "SELECT count(*), count(*) FILTER (WHERE crashed) FROM argus.failed_attempts "
            "WHERE manifest_digest = %s AND subject = %s",
            key,
        )
        failures, crashes = self._cursor.fetchone() or (0, 0)
        return int(failures), int(crashes)

    def begun(self, outcome: Outcome) -> None:
        """Reset the failures of a manifest that was accepted again."""
        self._cursor.execute(
            "DELETE FROM argus.failed_attempts WHERE manifest_digest = %s AND subject = %s",
            (outcome.data.manifest_digest, outcome.subject),
        )

    def told(self, alert: Alert) -> Told:
        """Return what the alert's rule raised before for its code."""
        data = alert.data
        self._cursor.execute(
            "SELECT max(at) FROM argus.alerts WHERE rule = %s AND vehicle_id = %s AND code = %s AND NOT held_back",
            (data.rule, data.vehicle_id, data.code),
        )
        last_at = (self._cursor.fetchone() or (None,))[0]
        self._cursor.execute(
            "SELECT count(*) FROM argus.alerts WHERE rule = %s AND code = %s AND NOT held_back AND at > %s AND at <= %s",
            (data.rule, data.code, alert.at - HOUR, alert.at),
        )
        return Told(last_at, int((self._cursor.fetchone() or (0,))[0]))

    def alert(self, alert: Alert, *, held_back: bool) -> bool:
        """Record an alert; return false when this manifest, rule and code had theirs already."""
        data = alert.data
        self._cursor.execute(
            "INSERT INTO argus.alerts (manifest_digest, rule, code, vehicle_id, subject, at, held_back) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (
                data.manifest_digest, data.rule, data.code, data.vehicle_id, f"{data.vehicle_id}/{data.batch_id}",
                alert.at, held_back,
            ),
        )  # fmt: skip
        return self._cursor.rowcount == 1

    def held_back(self, alert: Alert, *, since: datetime | None) -> int:
        """Return how many alerts of its rule, vehicle and code were held back since the last one."""
        self._cursor.execute(
            "SELECT count(*) FROM argus.alerts WHERE rule = %s AND vehicle_id = %s AND code = %s AND held_back "
            "AND (%s::timestamptz IS NULL OR at > %s)",
            (alert.data.rule, alert.data.vehicle_id, alert.data.code, since, since),
        )
        return int((self._cursor.fetchone() or (0,))[0])


class Delivery:
    """A session that takes events out one by one; see `Outbox.delivering`."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    def take(self, endpoint: str, *, now: datetime) -> Entry | None:
        """Return the next event that is due, locked until `settle`; `None` when there is none, or the endpoint is paused.

        Alerts come first. Of one batch only the first event is due that is neither delivered nor dead.
        """
        self._connection.rollback()
        with self._connection.cursor() as cursor:
            cursor.execute(
                f"""
                SELECT {_COLUMNS} FROM argus.outbox o
                WHERE endpoint = %(endpoint)s AND {_PENDING} AND next_attempt_at <= %(now)s
                  -- A scalar: an anti-join would be planned by statistics that a table of bursts never has.
                  AND (lane IS NULL OR seq = (
                    SELECT min(e.seq) FROM argus.outbox e
                    WHERE e.endpoint = %(endpoint)s AND e.lane = o.lane AND e.delivered_at IS NULL AND e.dead_at IS NULL
                  ))
                  AND NOT EXISTS (
                    SELECT FROM argus.webhook_endpoints w
                    WHERE w.endpoint = %(endpoint)s AND (w.paused_until > %(now)s OR w.disabled_at IS NOT NULL)
                  )
                ORDER BY (lane IS NOT NULL), next_attempt_at, seq LIMIT 1 FOR UPDATE OF o SKIP LOCKED
                """,  # noqa: S608
                {"endpoint": endpoint, "now": now},
            )
            row = cursor.fetchone()
        if row is None:
            self._connection.rollback()
            return None
        return Entry(*row)

    def settle(self, entry: Entry, reply: Reply, *, now: datetime) -> Verdict:
        """Record the result of an attempt, and release the event's lock.

        Raises:
            Unavailable: The database went away: the event is sent again, with the same id.
        """
        attempts = entry.attempts + 1
        verdict, pause = judge(reply, attempts=attempts)
        with self._connection.cursor() as cursor:
            cursor.execute(
                "UPDATE argus.outbox SET attempts = %s, last_error = %s, next_attempt_at = %s, "
                "delivered_at = CASE WHEN %s THEN %s END, dead_at = CASE WHEN %s THEN %s END WHERE seq = %s",
                (
                    attempts, reply.error or None, now + pause, verdict == "delivered", now,
                    verdict in ("dead", "gone"), now, entry.seq,
                ),
            )  # fmt: skip
            if verdict == "delivered":
                cursor.execute(
                    "DELETE FROM argus.webhook_endpoints WHERE endpoint = %s AND disabled_at IS NULL", (entry.endpoint,)
                )
            elif verdict == "gone":
                cursor.execute(
                    "INSERT INTO argus.webhook_endpoints (endpoint, failures, disabled_at, disabled_why) "
                    "VALUES (%s, 1, %s, %s) ON CONFLICT (endpoint) DO UPDATE SET "
                    "disabled_at = excluded.disabled_at, disabled_why = excluded.disabled_why",
                    (entry.endpoint, now, reply.error),
                )
            elif reply.is_of_endpoint:
                self._failed(cursor, entry.endpoint, reply, now)
        self._connection.commit()
        return verdict

    @staticmethod
    def _failed(cursor: "Cursor", endpoint: str, reply: Reply, now: datetime) -> None:
        cursor.execute(
            "INSERT INTO argus.webhook_endpoints (endpoint, failures) VALUES (%s, 1) "
            "ON CONFLICT (endpoint) DO UPDATE SET failures = webhook_endpoints.failures + 1 RETURNING failures",
            (endpoint,),
        )
        pause = endpoint_pause(int((cursor.fetchone() or (1,))[0]), reply)
        if pause is not None:
            cursor.execute(
                "UPDATE argus.webhook_endpoints SET paused_until = greatest(paused_until, %s) WHERE endpoint = %s",
                (now + pause, endpoint),
            )
