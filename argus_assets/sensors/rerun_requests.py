"""Start the runs that `argus rerun` requested.

A request is a document in the lake: it can be made wherever the lake can be written, and survives while the system is
down. Runs are requested a few at a time and come after new drops in the queue.
"""

from collections.abc import Mapping
from typing import Final

import dagster as dg
from pydantic import BaseModel, ConfigDict

from argus_assets.lake import layout
from argus_assets.lake.store import Lake
from argus_assets.maintenance.reruns import MAX_RUNS_A_TICK, RerunProgress, RerunRequest, plan_step
from argus_assets.partitions import (
    BATCHES,
    FROM_STAGE,
    ONLY_STALE,
    REQUEST,
    WHY,
    Job,
    partitions_in_flight,
    request_run,
)
from argus_assets.resources.lake import LakeResource

INTERVAL_S: Final = 10
PRIORITY: Final = "-1"
"""In Dagster's queue, where new drops have 0."""

QUEUED: Final = (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED)
MAX_QUEUED: Final = 40
"""Runs of requests in the queue at the same time."""


class RerunCursor(BaseModel):
    """Runs that the last ticks requested.

    Attributes:
        progress: Of each request that is not done.
        done: Requests whose last runs were requested in the last tick: now that this is recorded they may be archived.
    """

    model_config = ConfigDict(frozen=True)

    progress: Mapping[str, RerunProgress] = {}
    done: tuple[str, ...] = ()


def build_rerun_requests_sensor(job: Job) -> dg.SensorDefinition:
    """Return the sensor.

    Args:
        job: Takes batches through all stages.
    """

    @dg.sensor(
        name="rerun_requests_sensor",
        job=job,
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts the runs that `argus rerun` requested: of each batch, only what is stale.",
    )
    def rerun_requests_sensor(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        return take_rerun_requests(context.instance, context.cursor, lake.lake())

    return rerun_requests_sensor


def save_request(lake: Lake, request: RerunRequest) -> str:
    """Save a request where the sensor finds it; return the path."""
    return lake.write_bytes(layout.rerun_waiting(request.id), request.model_dump_json(indent=2).encode())


def requested_partitions(lake: Lake) -> set[str]:
    """Return the keys of all batches of waiting requests."""
    found: set[str] = set()
    for name in _names(lake):
        found.update(RerunRequest.model_validate_json(lake.read_bytes(layout.rerun_waiting(name))).partitions)
    return found


def take_rerun_requests(instance: dg.DagsterInstance, cursor_text: str | None, lake: Lake) -> dg.SensorResult:
    """Run one tick.

    Args:
        instance: Dagster's records.
        cursor_text: The cursor of the last tick.
        lake: Where requests are.

    Raises:
        Unavailable: The lake did not answer. The cursor stays.
    """
    cursor = RerunCursor.model_validate_json(cursor_text) if cursor_text else RerunCursor()
    for name in cursor.done:
        if lake.exists(layout.rerun_waiting(name)):
            lake.write_bytes(layout.rerun_done(name), lake.read_bytes(layout.rerun_waiting(name)))
            lake.delete(layout.rerun_waiting(name))
    waiting = [name for name in _names(lake) if name not in cursor.done]
    progress = {name: cursor.progress.get(name, RerunProgress()) for name in waiting}
    if not waiting:
        return dg.SensorResult(
            skip_reason=dg.SkipReason("No request is waiting."), cursor=RerunCursor().model_dump_json()
        )
    queued = instance.get_runs_count(dg.RunsFilter(statuses=list(QUEUED), tags={WHY: "rerun"}))
    room = MAX_QUEUED - queued
    if room <= 0:
        kept = RerunCursor(progress=progress).model_dump_json()
        return dg.SensorResult(skip_reason=dg.SkipReason(f"{queued} requested runs are queued already."), cursor=kept)
    # One request after the other: the oldest that does not only wait for batches in a run.
    existing = instance.get_dynamic_partitions(BATCHES)
    busy = partitions_in_flight(instance, existing)
    requests: list[dg.RunRequest] = []
    done: list[str] = []
    notes: list[str] = []
    for name in waiting:
        request = RerunRequest.model_validate_json(lake.read_bytes(layout.rerun_waiting(name)))
        step = plan_step(request, progress[name], order=existing, busy=busy, max_runs=min(room, MAX_RUNS_A_TICK))
        requests += [_run_request(request, key, partitions) for key, partitions in step.runs]
        progress[name] = step.progress
        if step.done:
            done.append(name)
            del progress[name]
        notes.append(f"{name}: {step.progress.offset} of {len(request.partitions)} batches")
        if step.gone:
            notes.append(f"{len(step.gone)} of them no longer exist, for example {step.gone[0]}")
        room -= len(step.runs)
        if room <= 0:
            break
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else dg.SkipReason("; ".join(notes)),
        cursor=RerunCursor(progress=progress, done=tuple(done)).model_dump_json(),
    )


def _run_request(request: RerunRequest, run_key: str, partitions: tuple[str, ...]) -> dg.RunRequest:
    forced = {FROM_STAGE: request.from_stage} if request.from_stage is not None else {}
    return request_run(
        run_key,
        partitions,
        why="rerun",
        tags={ONLY_STALE: "true", REQUEST: request.id, "dagster/priority": PRIORITY, **forced},
    )


def _names(lake: Lake) -> list[str]:
    """Return the ids of the waiting requests, oldest first."""
    return sorted(name.removesuffix(".json") for name in lake.names(layout.RERUNS_WAITING) if name.endswith(".json"))
