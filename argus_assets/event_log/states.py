"""State of each batch, derived from the event log. Nothing of it is stored."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import dagster as dg

from argus_assets.event_log.queries import latest_ids, unmade_attempts
from argus_assets.partitions import starts_again
from argus_assets.pipeline import DROP, RESTING, RUNNING, STAGES, BatchState

Phase = Literal["working", "completed", "failed", "resting"]
"""What maintenance has to know of a state: whether something is at work, or it came to an end."""


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """What Dagster and the bucket know of a batch.

    Attributes:
        dropped: Storage id of the event that took its current manifest, `None` before.
        made: Storage id of the latest materialisation of each asset.
        run: Status of the run that last planned to make something that is not made yet, `None` without one.
        quarantined: The current manifest was quarantined.
    """

    dropped: int | None = None
    made: Mapping[str, int] = field(default_factory=dict)
    run: dg.DagsterRunStatus | None = None
    quarantined: bool = False


def derive_state(facts: BatchFacts) -> tuple[BatchState, str | None]:
    """Return the state of a batch, and for a failed one the asset at which it failed."""
    if facts.dropped is None:
        return (BatchState.FAILED, DROP) if facts.quarantined else (BatchState.PENDING, None)
    done = 0
    for stage in STAGES:
        if facts.made.get(stage, -1) < facts.dropped:
            break
        done += 1
    if done == len(STAGES):
        return BatchState.COMPLETED, None
    match facts.run:
        case dg.DagsterRunStatus.STARTED | dg.DagsterRunStatus.CANCELING:
            return RUNNING[done], None
        case dg.DagsterRunStatus.FAILURE | dg.DagsterRunStatus.CANCELED:
            return BatchState.FAILED, STAGES[done]
        case _:
            return RESTING[done], None


def phase_of(state: BatchState, *, in_flight: bool) -> Phase:
    """Return the phase of a batch.

    Args:
        state: Its state.
        in_flight: A run over it is queued or at work, whatever it makes.
    """
    if in_flight or state in RUNNING:
        return "working"
    match state:
        case BatchState.COMPLETED:
            return "completed"
        case BatchState.FAILED:
            return "failed"
        case _:
            return "resting"


def partition_states(
    instance: dg.DagsterInstance, partitions: Sequence[str]
) -> dict[str, tuple[BatchState, str | None]]:
    """Return the state of each batch, and of a failed one where it failed. A few queries, however many partitions.

    Args:
        instance: Where the log is.
        partitions: Partition keys, at most a few tens of thousands.
    """
    if not partitions:
        return {}
    dropped = latest_ids(instance, DROP, partitions)
    made = {stage: latest_ids(instance, stage, partitions) for stage in STAGES}
    facts = {
        key: BatchFacts(
            dropped=dropped.get(key), made={stage: made[stage][key] for stage in STAGES if key in made[stage]}
        )
        for key in partitions
    }
    states = {key: derive_state(known) for key, known in facts.items()}
    # Runs say something only of what was taken and is not complete. To look for them is what costs most.
    open_since = {
        key: known.dropped
        for key, known in facts.items()
        if known.dropped is not None and states[key][0] is not BatchState.COMPLETED
    }
    attempts = _open_attempts(instance, open_since)
    runs = _run_statuses(instance, set(attempts.values()))
    for key, run_id in attempts.items():
        states[key] = derive_state(replace(facts[key], run=runs.get(run_id)))
    return states


def _open_attempts(instance: dg.DagsterInstance, since: Mapping[str, int]) -> dict[str, str]:
    """Return the run that last planned to make something of each batch and did not make it.

    Args:
        instance: Where the log is.
        since: Storage id of the event that took each batch: what was planned earlier says nothing of it.
    """
    if not since:
        return {}
    last: dict[str, tuple[str, int]] = {}
    for stage in STAGES:
        for key, attempt in unmade_attempts(instance, stage, after=min(since.values())).items():
            if key in since and attempt[1] > max(since[key], last.get(key, ("", -1))[1]):
                last[key] = attempt
    return {key: run_id for key, (run_id, _) in last.items()}


def _run_statuses(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> dict[str, dg.DagsterRunStatus]:
    wanted = sorted(run_ids)
    if not wanted:
        return {}
    return {
        run.run_id: dg.DagsterRunStatus.QUEUED if starts_again(run) else run.status
        for run in instance.get_runs(filters=dg.RunsFilter(run_ids=wanted))
    }
