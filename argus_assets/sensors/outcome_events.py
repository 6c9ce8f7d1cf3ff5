"""The sensors that tell other systems what became of batches.

`outcome_events_sensor` reads Dagster's event log in the order of its storage ids, thousands of events at a tick, and puts
what others want to know into the outbox; `deliver_webhooks_sensor` empties it. Neither loses an event when it is killed,
and the first puts each of them in once.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import dagster as dg
import sqlalchemy as sa
from dagster import DagsterEventType, EventLogRecord, EventRecordsFilter
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable

from argus_assets.adapters.postgres.outbox import Outbox, OutboxWriter
from argus_assets.adapters.webhook_sender import deliver
from argus_assets.assets.batch import EVENT_KEY, STAGES, vehicle_drop
from argus_assets.maintenance.retry_policy import LIMITS
from argus_assets.notifications.alerts import AlertRules, alerts_of, is_held_back
from argus_assets.notifications.endpoints import Endpoint, wanted_by
from argus_assets.notifications.events import (
    SOURCE,
    BatchCreated,
    DiagnosisCompleted,
    Outcome,
    Recorded,
    StatusChanged,
    outcome_of,
)
from argus_assets.partitions import WHY
from argus_assets.resources.webhooks import WebhooksResource

POSITION: Final = "event_log"
INTERVAL_S: Final = 5
DELIVER_INTERVAL_S: Final = 5
MAX_IDS: Final = 50_000
"""Rows of the event log that one tick passes, most of which are log lines."""

MAX_EVENTS: Final = 3000
"""Events of assets that one tick reads, of each kind."""

SETTLE: Final = timedelta(seconds=60)
"""An id that is missing may be of a transaction that is not at its end, for so long."""

KEEP_DELIVERED: Final = timedelta(days=7)
RUNS_AT_ONCE: Final = 500
MAX_UNREAD: Final = 5

_ASSETS: Final = frozenset(dg.AssetKey(name) for name in (vehicle_drop.key.to_user_string(), *STAGES))

Reached = tuple[Outcome, tuple[str, ...], datetime]
"""An event, the endpoints it goes to, and when it may be sent."""


@dg.sensor(
    name="outcome_events_sensor",
    minimum_interval_seconds=INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Puts what became of batches, and alerts, into the outbox for other systems.",
)
def outcome_events_sensor(context: dg.SensorEvaluationContext, webhooks: WebhooksResource) -> dg.SkipReason:
    """See `collect_outcomes`."""
    return dg.SkipReason(
        collect_outcomes(
            context.instance,
            webhooks.outbox(),
            webhooks.endpoints(),
            rules=webhooks.rules(),
            source=webhooks.source,
            now=datetime.now(UTC),
        )
    )


@dg.sensor(
    name="deliver_webhooks_sensor",
    minimum_interval_seconds=DELIVER_INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Sends the events of the outbox, signed, again after failures, until they are delivered or dead.",
)
def deliver_webhooks_sensor(context: dg.SensorEvaluationContext, webhooks: WebhooksResource) -> dg.SkipReason:
    """See `webhook_sender.deliver`."""
    outbox = webhooks.outbox()
    done = deliver(outbox, webhooks.endpoints())
    outbox.purge(before=datetime.now(UTC) - KEEP_DELIVERED)
    if done.dead or done.gone:
        context.log.warning(f"{done.dead + done.gone} events became dead letters: `argus outbox dead` tells why.")
    return dg.SkipReason(
        f"{done.delivered} events delivered, {done.again} are sent again later, {done.dead + done.gone} given up."
    )


def collect_outcomes(
    instance: dg.DagsterInstance,
    outbox: Outbox,
    endpoints: Sequence[Endpoint],
    *,
    rules: AlertRules,
    source: str = SOURCE,
    now: datetime,
    max_events: int = MAX_EVENTS,
) -> str:
    """One tick: what was recorded since the last one goes into the outbox. The first tick begins at the present.

    Args:
        instance: Dagster's records.
        outbox: Where events go.
        endpoints: Who is told.
        rules: Of alerts.
        source: See `events.cloud_event`.
        now: The time.
        max_events: At most so many events of each kind; the next tick goes on.

    Returns:
        What was done, in words.

    Raises:
        Unavailable: The database did not answer. The position stays, and the next tick reads the same again.
    """
    with outbox.writing() as writer:
        position = writer.position(POSITION)
        if position is None:
            writer.move(POSITION, instance.event_log_storage.get_maximum_record_id() or 0)
            return "What happens from now on is told."
        records, horizon = _read(instance, position, now=now, max_events=max_events)
        why = _why_of_runs(instance, {run_id for record in records if (run_id := _run_id(record))})
        found, unread = _outcomes(records, why)
        reached: list[Reached] = []
        asked = _Asked(instance, writer)
        alerts = 0
        for record, outcome in found:
            reached.append((outcome, wanted_by(endpoints, outcome.name), now))
            if isinstance(outcome.data, BatchCreated) and rules.alert:
                writer.begun(outcome)
            raised = _raise_alerts(record, outcome, rules, endpoints, asked)
            alerts += len(raised)
            reached += raised
            if isinstance(outcome.data, DiagnosisCompleted):
                asked.add(outcome)
        added = writer.add(reached, source=source, now=now)
        writer.diagnosed([outcome for _, outcome in found if isinstance(outcome.data, DiagnosisCompleted)])
        writer.move(POSITION, horizon)
    told = f"{len(found)} events, {alerts} alerts, {added} put into the outbox."
    return f"{told} {len(unread)} could not be read: {'; '.join(unread[:MAX_UNREAD])}" if unread else told


# ---------------------------------------------------------------------------------------------- the event log


def _read(
    instance: dg.DagsterInstance, position: int, *, now: datetime, max_events: int
) -> tuple[list[EventLogRecord], int]:
    """Events of the assets after the position, in order, and the storage id up to which these are all."""
    horizon = _settled(instance, position, now)
    pages: list[Sequence[EventLogRecord]] = []
    for kind in (DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_OBSERVATION):
        if horizon <= position:
            break
        page = instance.event_log_storage.get_event_records(
            EventRecordsFilter(event_type=kind, after_cursor=position, before_cursor=horizon + 1),
            limit=max_events,
            ascending=True,
        )
        if len(page) == max_events:
            horizon = page[-1].storage_id
        pages.append(page)
    records = [r for page in pages for r in page if r.storage_id <= horizon and _asset_key(r) in _ASSETS]
    return sorted(records, key=lambda record: record.storage_id), horizon


def _settled(instance: dg.DagsterInstance, position: int, now: datetime) -> int:
    """The storage id up to which nothing can come any more.

    Ids are given out when a row is written, and seen when its transaction ends: one that is missing may still come.
    """
    table = SqlEventLogStorageTable.c
    query = sa.select(table.id, table.timestamp).where(table.id > position).order_by(table.id).limit(MAX_IDS)
    with instance.event_log_storage.index_connection() as connection:  # pyright: ignore[reportAttributeAccessIssue]
        rows = connection.execute(query).all()
    last = position
    for storage_id, at in rows:
        if storage_id != last + 1 and now - at.replace(tzinfo=UTC) < SETTLE:
            break
        last = storage_id
    return last


def _outcomes(
    records: Sequence[EventLogRecord], why: Mapping[str, str]
) -> tuple[list[tuple[EventLogRecord, Outcome]], list[str]]:
    """What others are told, and what of it could not be read: one event must not keep back all that follow."""
    found: list[tuple[EventLogRecord, Outcome]] = []
    unread: list[str] = []
    for record in records:
        try:
            outcome = outcome_of(_recorded(record, why))
        except (KeyError, TypeError, ValueError) as error:
            unread.append(f"event {record.storage_id} ({type(error).__name__})")
            continue
        if outcome is not None:
            found.append((record, outcome))
    return found, unread


def _asset_key(record: EventLogRecord) -> dg.AssetKey | None:
    event = record.event_log_entry.dagster_event
    return event.asset_key if event is not None else None


def _what(record: EventLogRecord) -> dg.AssetMaterialization | dg.AssetObservation:
    what = record.asset_materialization or record.event_log_entry.asset_observation
    assert what is not None, "a record of an asset event holds one"
    return what


def _run_id(record: EventLogRecord) -> str | None:
    """The run, also of what a sensor tells of one."""
    told = _what(record).metadata.get("run_id")
    return record.run_id or (str(told.value) if told is not None else None)


def _why_of_runs(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> dict[str, str]:
    wanted = sorted(run_ids)
    groups = (wanted[at : at + RUNS_AT_ONCE] for at in range(0, len(wanted), RUNS_AT_ONCE))
    return {
        run.run_id: why
        for group in groups
        for run in instance.get_runs(filters=dg.RunsFilter(run_ids=group))
        if (why := run.tags.get(WHY)) is not None
    }


def _recorded(record: EventLogRecord, why: Mapping[str, str]) -> Recorded:
    what = _what(record)
    metadata: dict[str, Any] = {key: value.value for key, value in what.metadata.items()}
    run_id = _run_id(record)
    event = metadata.pop(EVENT_KEY, None)
    if event is None and isinstance(what, dg.AssetObservation):
        event = "Observed"
    return Recorded(
        at=datetime.fromtimestamp(record.timestamp, UTC),
        event=event,
        asset=what.asset_key.to_user_string(),
        partition=what.partition,
        metadata=metadata,
        run_id=run_id,
        why=why.get(run_id) if run_id else None,
    )


# ---------------------------------------------------------------------------------------------- alerts


class _Asked:
    """What was diagnosed before: in the outbox's own memory, and for what is older than that in Dagster's records."""

    def __init__(self, instance: dg.DagsterInstance, writer: OutboxWriter) -> None:
        self.instance = instance
        self.writer = writer
        self._now: set[tuple[str, str]] = set()

    def add(self, outcome: Outcome) -> None:
        self._now.add((outcome.data.manifest_digest, outcome.subject))

    def before(self, record: EventLogRecord, outcome: Outcome) -> bool:
        """Whether the manifest of an outcome was diagnosed earlier."""
        digest = outcome.data.manifest_digest
        if (digest, outcome.subject) in self._now or self.writer.is_diagnosed(digest, outcome.subject):
            return True
        if outcome.data.partition_key is None:
            return False
        earlier = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(
                asset_key=dg.AssetKey("diagnosis"),
                asset_partitions=[outcome.data.partition_key],
                before_storage_id=record.storage_id,
            ),
            limit=100,
        ).records
        return any(str(_what(r).metadata["manifest_digest"].value) == digest for r in earlier)


def _raise_alerts(
    record: EventLogRecord, outcome: Outcome, rules: AlertRules, endpoints: Sequence[Endpoint], asked: _Asked
) -> list[Reached]:
    """Alerts of an outcome that were not raised before and that no limit keeps back."""
    if not rules.alert:
        return []
    if isinstance(outcome.data, StatusChanged) and outcome.data.state == "failed":
        facts = _facts(asked.instance, outcome)
        given_up = _is_given_up(outcome, outcome.data, asked.writer)
        wanted = alerts_of(
            outcome, rules, platform=facts.get("platform"), release=facts.get("release"), given_up=given_up
        )
    else:
        wanted = alerts_of(outcome, rules)
    # A repetition tells nobody anything new: neither what a person runs again, nor what a schedule does.
    if not wanted or (outcome.data.why != "intake" and _is_of_run(outcome) and asked.before(record, outcome)):
        return []
    raised: list[Reached] = []
    for alert in wanted:
        told = asked.writer.told(alert)
        held_back = is_held_back(alert, told)
        if not asked.writer.alert(alert, held_back=held_back) or held_back:
            continue
        event = alert.outcome(held_back=asked.writer.held_back(alert, since=told.last_at))
        raised.append((event, alert.rule.to or wanted_by(endpoints, "AlertRaised"), alert.rule.due_at(alert.at)))
    return raised


def _is_given_up(outcome: Outcome, data: StatusChanged, writer: OutboxWriter) -> bool:
    """Whether a failure is the last one that is tried again by itself; see `maintenance.retry_policy.judge`."""
    if data.permanent or data.quarantined:
        return False
    failures, crashes = writer.failed(outcome, crashed=bool(data.crashed))
    return failures >= LIMITS.attempts or crashes >= LIMITS.crashes


def _is_of_run(outcome: Outcome) -> bool:
    return outcome.data.run_id is not None


def _facts(instance: dg.DagsterInstance, outcome: Outcome) -> dict[str, str]:
    """Platform and release of a batch, from the event that took its manifest."""
    if outcome.data.partition_key is None:
        return {}
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=vehicle_drop.key, asset_partitions=[outcome.data.partition_key]), limit=1
    ).records
    metadata = _what(records[0]).metadata if records else {}
    return {name: str(metadata[name].value) for name in ("platform", "release") if name in metadata}
