"""Notify other systems of what became of batches: a sensor that collects, and one that delivers.

`outcome_events_sensor` reads Dagster's event log in the order of its storage ids, thousands of events at a tick, and puts
what concerns others into the outbox; `deliver_webhooks_sensor` empties it. Neither loses an event when it is killed,
and the first puts each of them in once.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg
from dagster import EventLogRecord

from argus_assets.adapters.postgres.outbox import Outbox, OutboxWriter
from argus_assets.adapters.webhook_sender import deliver
from argus_assets.event_log.queries import (
    events_between,
    is_made_before,
    last_drops,
    last_id,
    recorded,
    run_of,
    why_of_runs,
)
from argus_assets.event_log.tables import settled_id
from argus_assets.maintenance.retry_policy import LIMITS
from argus_assets.notifications.alerts import AlertRules, alerts_of, is_held_back
from argus_assets.notifications.endpoints import Endpoint, wanted_by
from argus_assets.notifications.events import (
    SOURCE,
    BatchCreated,
    DiagnosisCompleted,
    Outcome,
    StatusChanged,
    outcome_of,
)
from argus_assets.pipeline import DIAGNOSIS
from argus_assets.resources.webhooks import WebhooksResource

POSITION: Final = "event_log"
INTERVAL_S: Final = 5
DELIVER_INTERVAL_S: Final = 5
MAX_EVENTS: Final = 3000
"""Events of assets that one tick reads, of each kind."""

KEEP_DELIVERED: Final = timedelta(days=7)
MAX_UNREAD: Final = 5

Reached = tuple[Outcome, tuple[str, ...], datetime]
"""An event, the endpoints it goes to, and when it may be sent."""


@dg.sensor(
    name="outcome_events_sensor",
    minimum_interval_seconds=INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Puts events of batches, and alerts, into the outbox for other systems.",
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
    description="Sends the events of the outbox, signed, and retries until they are delivered or dead letters.",
)
def deliver_webhooks_sensor(context: dg.SensorEvaluationContext, webhooks: WebhooksResource) -> dg.SkipReason:
    """See `webhook_sender.deliver`."""
    outbox = webhooks.outbox()
    done = deliver(outbox, webhooks.endpoints())
    outbox.purge(before=datetime.now(UTC) - KEEP_DELIVERED)
    if done.dead or done.gone:
        context.log.warning(f"{done.dead + done.gone} events became dead letters: `argus outbox dead` shows why.")
    return dg.SkipReason(
        f"{done.delivered} events delivered, {done.again} to be retried, {done.dead + done.gone} given up."
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
    """Run one tick: put what was recorded since the last one into the outbox. The first tick begins at the present.

    Args:
        instance: Dagster's records.
        outbox: Where events go.
        endpoints: Who is notified.
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
            writer.move(POSITION, last_id(instance))
            return "Events from now on will be delivered."
        up_to = settled_id(instance, position, now)
        records, horizon = events_between(instance, position, up_to, max_events=max_events)
        why = why_of_runs(instance, {run_id for record in records if (run_id := run_of(record))})
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
    done = f"{len(found)} events, {alerts} alerts, {added} put into the outbox."
    return f"{done} {len(unread)} could not be read: {'; '.join(unread[:MAX_UNREAD])}" if unread else done


# ---------------------------------------------------------------------------------------------- the event log


def _outcomes(
    records: Sequence[EventLogRecord], why: Mapping[str, str]
) -> tuple[list[tuple[EventLogRecord, Outcome]], list[str]]:
    """Return what concerns others, and what of it could not be read: one event must not keep back all that follow."""
    found: list[tuple[EventLogRecord, Outcome]] = []
    unread: list[str] = []
    for record in records:
        try:
            what = recorded(record, why)
            outcome = None if what is None else outcome_of(what)
        except (KeyError, TypeError, ValueError) as error:
            unread.append(f"event {record.storage_id} ({type(error).__name__})")
            continue
        if outcome is not None:
            found.append((record, outcome))
    return found, unread


# ---------------------------------------------------------------------------------------------- alerts


class _Asked:
    """Looks up what was diagnosed before: in the outbox's own tables, and in the event log for what is older than these."""

    def __init__(self, instance: dg.DagsterInstance, writer: OutboxWriter) -> None:
        self.instance = instance
        self.writer = writer
        self._now: set[tuple[str, str]] = set()

    def add(self, outcome: Outcome) -> None:
        self._now.add((outcome.data.manifest_digest, outcome.subject))

    def before(self, record: EventLogRecord, outcome: Outcome) -> bool:
        """Return whether the manifest of an outcome was diagnosed earlier."""
        digest = outcome.data.manifest_digest
        if (digest, outcome.subject) in self._now or self.writer.is_diagnosed(digest, outcome.subject):
            return True
        if outcome.data.partition_key is None:
            return False
        return is_made_before(self.instance, DIAGNOSIS.name, outcome.data.partition_key, digest=digest, before=record)


def _raise_alerts(
    record: EventLogRecord, outcome: Outcome, rules: AlertRules, endpoints: Sequence[Endpoint], asked: _Asked
) -> list[Reached]:
    """Return the alerts of an outcome that were not raised before and that no limit holds back."""
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
    # A repetition is no news: neither what a person runs again, nor what a schedule does.
    if not wanted or (outcome.data.why != "intake" and _is_of_run(outcome) and asked.before(record, outcome)):
        return []
    raised: list[Reached] = []
    for alert in wanted:
        earlier = asked.writer.told(alert)
        held_back = is_held_back(alert, earlier)
        if not asked.writer.alert(alert, held_back=held_back) or held_back:
            continue
        event = alert.outcome(held_back=asked.writer.held_back(alert, since=earlier.last_at))
        raised.append((event, alert.rule.to or wanted_by(endpoints, "AlertRaised"), alert.rule.due_at(alert.at)))
    return raised


def _is_given_up(outcome: Outcome, data: StatusChanged, writer: OutboxWriter) -> bool:
    """Return whether no automatic retry follows a failure; see `maintenance.retry_policy.decide`."""
    if data.permanent or data.quarantined:
        return False
    failures, crashes = writer.failed(outcome, crashed=bool(data.crashed))
    return failures >= LIMITS.attempts or crashes >= LIMITS.crashes


def _is_of_run(outcome: Outcome) -> bool:
    return outcome.data.run_id is not None


def _facts(instance: dg.DagsterInstance, outcome: Outcome) -> dict[str, str]:
    """Return platform and release of a batch, from the event that took its manifest."""
    if outcome.data.partition_key is None:
        return {}
    drop = last_drops(instance, [outcome.data.partition_key]).get(outcome.data.partition_key)
    return {"platform": drop.platform, "release": drop.release} if drop is not None else {}
