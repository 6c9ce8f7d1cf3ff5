"""Retry degraded diagnoses when there is budget again, or the model is back."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final, get_args

import dagster as dg

from argus_assets.diagnosis.degraded_retry import COUNTED, DegradedDiagnosis, worth_trying
from argus_assets.diagnosis.model import Degraded
from argus_assets.drop.intake import stretches
from argus_assets.event_log.events import from_dagster
from argus_assets.event_log.queries import made_since
from argus_assets.events import DiagnosisMade
from argus_assets.partitions import BATCHES, Job, partitions_in_flight, request_run
from argus_assets.pipeline import DIAGNOSIS
from argus_assets.resources.diagnosis import DiagnosisResource

REDIAGNOSE_CRON: Final = "7 * * * *"
WINDOW: Final = timedelta(days=7)
MAX_BATCHES_A_RUN: Final = 50

_REASONS: Final[dict[str, Degraded]] = {reason: reason for reason in get_args(Degraded)}


def build_rediagnose_schedule(job: Job) -> dg.ScheduleDefinition:
    """Return the schedule: hourly, since a new day has a new budget, and an endpoint that failed may be back."""

    @dg.schedule(
        name="rediagnose_degraded",
        job=job,
        cron_schedule=REDIAGNOSE_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Diagnoses again, the most important first, what rules had to answer because the budget was spent "
        "or the language model failed.",
    )
    def rediagnose_degraded(
        context: dg.ScheduleEvaluationContext, diagnostician: DiagnosisResource
    ) -> list[dg.RunRequest] | dg.SkipReason:
        if not diagnostician.has_model:
            return dg.SkipReason("No language model is configured (ARGUS_LLM_MODEL).")
        existing = context.instance.get_dynamic_partitions(BATCHES)
        degraded = find_degraded(context.instance, existing, since=datetime.now(UTC) - WINDOW)
        busy = partitions_in_flight(context.instance, existing)
        wanted = worth_trying([d for d in degraded if d.partition not in busy], tokens_left=diagnostician.tokens_left())
        if not wanted:
            return dg.SkipReason(f"{len(degraded)} degraded diagnoses, none to retry now.")
        at = context.scheduled_execution_time.isoformat()
        return [
            request_run(f"rediagnose/{keys[0]}+{len(keys) - 1}@{at}", keys, why="rediagnose_degraded")
            for keys in stretches(wanted, order=existing, max_keys=MAX_BATCHES_A_RUN)
        ]

    return rediagnose_degraded


def find_degraded(
    instance: dg.DagsterInstance, existing: Collection[str], *, since: datetime
) -> list[DegradedDiagnosis]:
    """Return the batches whose last diagnosis is degraded, from the event log.

    Args:
        instance: Dagster's records.
        existing: Keys of the batches that still exist.
        since: How far back to read.
    """
    alive = set(existing)
    last: dict[str, tuple[str, DegradedDiagnosis | None]] = {}
    attempts: dict[str, int] = {}
    for made in made_since(instance, DIAGNOSIS.name, since):
        if made.partition not in alive:
            continue
        event = from_dagster(made)
        if not isinstance(event, DiagnosisMade):
            continue
        reason = _REASONS.get(event.degraded or "")
        known = last.get(made.partition)
        if known is None:
            found = DegradedDiagnosis(made.partition, reason, event.priority or 0.0, 0) if reason else None
            last[made.partition] = known = (event.manifest_digest, found)
        if known[1] is not None and known[0] == event.manifest_digest and reason in COUNTED:
            attempts[made.partition] = attempts.get(made.partition, 0) + 1
    return [
        DegradedDiagnosis(d.partition, d.reason, d.priority, attempts.get(d.partition, 0))
        for _, d in last.values()
        if d is not None
    ]
