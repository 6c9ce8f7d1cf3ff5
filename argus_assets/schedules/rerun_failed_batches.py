"""Run failed batches again, as far as that can help. `maintenance/retry_policy.py` decides.

How often a batch was tried follows from Dagster's event log: each run that was to make it, and what it recorded.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg
from dagster import RunRecord

from argus_assets.event_log.queries import (
    dropped_digests,
    failures_of,
    first_id_of_run,
    is_cancelled_by_person,
    latest_ids,
    planned_runs,
    unmade_attempts,
)
from argus_assets.maintenance.retry_policy import LIMITS, FailedBatch, Failure, FailureKind, RetryLimits, plan_reruns
from argus_assets.partitions import (
    BATCHES,
    SIZE,
    Job,
    partitions_in_flight,
    request_run,
)
from argus_assets.pipeline import DROP, STAGES, stages_from

CRON: Final = "*/2 * * * *"
WINDOW: Final = timedelta(days=7)
"""What failed longer ago is left to a person."""

MAX_BATCHES_A_RUN: Final = 50
MAX_BATCHES: Final = 500
"""Batches of one evaluation; where there are more, the next evaluation takes the next ones."""

ENDED_BADLY: Final = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def build_rerun_failed_schedule(job: Job) -> dg.ScheduleDefinition:
    """Return the schedule: every two minutes, as long as the first pause after a failure."""

    @dg.schedule(
        name="rerun_failed_batches",
        job=job,
        cron_schedule=CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Runs batches again whose last failure may be transient, with growing pauses and a limit of "
        "attempts. What a retry cannot repair is left to a person.",
    )
    def rerun_failed_batches(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        return rerun_failed(context.instance, now=datetime.now(UTC))

    return rerun_failed_batches


def rerun_failed(
    instance: dg.DagsterInstance, *, now: datetime, limits: RetryLimits = LIMITS
) -> list[dg.RunRequest] | dg.SkipReason:
    """Evaluate the schedule once.

    Args:
        instance: Dagster's records.
        now: The time.
        limits: How often, and how soon.
    """
    existing = instance.get_dynamic_partitions(BATCHES)
    failed = find_failed(instance, existing, since=now - WINDOW, turn=int(now.timestamp() // 120))
    plan = plan_reruns(failed, order=existing, now=now, max_batches=MAX_BATCHES_A_RUN, limits=limits)
    if not plan.runs:
        return dg.SkipReason(
            f"{len(failed)} failed batches: {len(plan.later)} will be retried later, {len(plan.manual)} need a person "
            "(`argus status`)."
        )
    return [
        request_run(
            run.run_key,
            run.partitions,
            why="rerun_failed",
            tags={SIZE: "large"} if run.large else None,
            assets=stages_from(run.stage),
        )
        for run in plan.runs
    ]


def find_failed(
    instance: dg.DagsterInstance, existing: Sequence[str], *, since: datetime, turn: int = 0
) -> list[FailedBatch]:
    """Return the batches whose last run ended without making them, with each attempt since their manifest was taken.

    Args:
        instance: Dagster's records.
        existing: All partition keys.
        since: A batch whose last run was created earlier is left out.
        turn: Number of the evaluation: which `MAX_BATCHES` are read when more have failed.
    """
    open_batches = _open_batches(instance, existing, since)
    if len(open_batches) > MAX_BATCHES:
        first = turn * MAX_BATCHES % len(open_batches)
        open_batches = [*open_batches, *open_batches][first : first + MAX_BATCHES]
    keys = [b.partition for b in open_batches]
    digests = dropped_digests(instance, keys)
    recorded = _recorded_failures(instance, open_batches)
    attempts = _attempts(instance, open_batches)
    records = _run_records(instance, {run_id for run_ids in attempts.values() for run_id in run_ids})
    cancelled = {i for i, record in records.items() if is_cancelled_by_person(instance, record.dagster_run)}
    found: list[FailedBatch] = []
    for batch in open_batches:
        key = batch.partition
        runs = [records[run_id] for run_id in attempts[key] if run_id in records]
        failures = _failures(runs, recorded[key], cancelled)
        if failures:
            found.append(
                FailedBatch(
                    key,
                    digests.get(key, ""),
                    batch.stage,
                    failures,
                    large=any(SIZE in r.dagster_run.tags for r in runs),
                )
            )
    return found


@dataclass(frozen=True, slots=True)
class _OpenBatch:
    """A batch that a run was to make, did not, and no run is at it now.

    Attributes:
        stage: The first that is missing.
        asked: The last that was to be made and is not: its attempts are those of the batch.
        after: Storage id; what is older belongs to another manifest, or to what went well since.
    """

    partition: str
    stage: str
    asked: str
    after: int


def _open_batches(instance: dg.DagsterInstance, existing: Sequence[str], since: datetime) -> list[_OpenBatch]:
    """Return them in a few queries, however many partitions there are; in one when no run has ended badly."""
    after = _first_event_of_failures(instance, since)
    if after is None:
        return []
    keys = set(existing)
    attempts = {stage: unmade_attempts(instance, stage, after=after) for stage in STAGES}
    asked_for = {key for by_key in attempts.values() for key in by_key} & keys
    dropped = latest_ids(instance, DROP, asked_for) if asked_for else {}
    open_runs: dict[str, dict[str, tuple[str, int]]] = defaultdict(dict)
    for stage, by_key in attempts.items():
        for key, attempt in by_key.items():
            if key in keys and attempt[1] > dropped.get(key, attempt[1]):
                open_runs[key][stage] = attempt
    last_run = {key: max(by_stage.values(), key=lambda a: a[1])[0] for key, by_stage in open_runs.items()}
    records = _run_records(instance, set(last_run.values()))
    busy = partitions_in_flight(instance, existing) if records else set[str]()
    failed = {
        key
        for key, run_id in last_run.items()
        if (record := records.get(run_id)) is not None
        and record.dagster_run.status in ENDED_BADLY
        and record.create_timestamp.replace(tzinfo=UTC) >= since
    } - busy
    made = {stage: latest_ids(instance, stage, failed) if failed else {} for stage in STAGES}
    found: list[_OpenBatch] = []
    for key in existing:
        if key not in failed:
            continue
        after, missing = dropped[key], len(STAGES)
        for position, stage in enumerate(STAGES):
            if made[stage].get(key, -1) < after:
                missing = position
                break
            after = made[stage][key]
        first_open = min(STAGES.index(stage) for stage in open_runs[key])
        asked = STAGES[max(STAGES.index(stage) for stage in open_runs[key])]
        found.append(
            _OpenBatch(key, STAGES[min(missing, first_open)], asked, max(dropped[key], made[asked].get(key, -1)))
        )
    return found


def _first_event_of_failures(instance: dg.DagsterInstance, since: datetime) -> int | None:
    """Return a storage id before all events of runs that ended badly and were created since; `None` without such runs.

    What was written before is not read: of thousands of batches that succeeded there is nothing to know.
    """
    first = instance.get_run_records(
        filters=dg.RunsFilter(statuses=list(ENDED_BADLY), created_after=since), limit=1, ascending=True
    )
    if not first:
        return None
    return first_id_of_run(instance, first[0].dagster_run.run_id)


def _attempts(instance: dg.DagsterInstance, batches: Sequence[_OpenBatch]) -> dict[str, list[str]]:
    """Return the ids of the runs that were to make each batch, oldest first."""
    attempts: dict[str, list[str]] = defaultdict(list)
    for asked in STAGES:
        attempts |= planned_runs(instance, asked, {b.partition: b.after for b in batches if b.asked == asked})
    return attempts


def _recorded_failures(instance: dg.DagsterInstance, batches: Sequence[_OpenBatch]) -> dict[str, dict[str, Failure]]:
    """Return what was recorded of each batch's failures, by batch and run."""
    found: dict[str, dict[str, Failure]] = defaultdict(dict)
    for partition, run_id, at, event in failures_of(instance, {b.partition: b.after for b in batches}):
        kind: FailureKind = "quarantined" if event.quarantined else "permanent" if event.permanent else "transient"
        found[partition][run_id] = Failure(at, kind)
    return found


def _failures(
    runs: Sequence[RunRecord], recorded: dict[str, Failure], cancelled: Collection[str]
) -> tuple[Failure, ...]:
    """Return the attempts that failed, oldest first. Runs that Dagster retried itself are one attempt with the first run.

    Args:
        runs: That were to make the batch.
        recorded: What was recorded of its failures, by run.
        cancelled: Ids of the runs that a person cancelled.
    """
    chains: dict[str, list[RunRecord]] = defaultdict(list)
    for record in runs:
        chains[record.dagster_run.root_run_id or record.dagster_run.run_id].append(record)
    found: list[Failure] = []
    for chain in chains.values():
        failures = [recorded[r.dagster_run.run_id] for r in chain if r.dagster_run.run_id in recorded]
        last = chain[-1]
        ended = datetime.fromtimestamp(last.end_time, UTC) if last.end_time else last.update_timestamp
        if last.dagster_run.run_id in cancelled:
            found.append(Failure(ended, "cancelled"))
        elif failures:
            found.append(failures[-1])
        elif last.dagster_run.status in ENDED_BADLY:
            # One that never began cannot have been brought down by a batch.
            began = any(r.start_time is not None for r in chain)
            found.append(Failure(ended, "crashed" if began else "transient"))
    return tuple(sorted(found, key=lambda f: f.at))


def _run_records(instance: dg.DagsterInstance, run_ids: Collection[str]) -> dict[str, RunRecord]:
    if not run_ids:
        return {}
    records = instance.get_run_records(filters=dg.RunsFilter(run_ids=sorted(run_ids)))
    return {record.dagster_run.run_id: record for record in records}
