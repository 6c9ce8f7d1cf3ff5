"""Partitions, one per batch in the order in which batches were first seen, and the runs over them."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import dagster as dg
from dagster._core.definitions.target import ExecutableDefinition

Job = ExecutableDefinition
"""Job that a sensor or a schedule starts. Dagster has no public name for all that it takes as a job."""

BATCHES: Final = "batches"
"""Name under which Dagster keeps the batches' keys."""

RANGE_START: Final = "dagster/asset_partition_range_start"
RANGE_END: Final = "dagster/asset_partition_range_end"
PARTITION: Final = "dagster/partition"

WHY: Final = "argus/why"
"""Tag of a run that says why it was started; see `Why`. Absent on what a person launched in the Dagster UI."""

Why = Literal["intake", "rerun_failed", "rediagnose_degraded", "rerun", "replay"]
"""A sensor took the drop, a schedule repeats a failure or a degraded diagnosis, a person asked for a rerun, or a
replay of pinned batches compares versions. Nothing but `intake` may alert a second time of the same manifest."""

SIZE: Final = "argus/size"
"""Tag of a run over one large batch (`large`): `dagster.yaml` limits how many run at once, so that small ones get through."""

ESTIMATED: Final = "argus/estimated_s"
"""Tag of a run: the seconds of work that were expected of it on the machine of the benchmarks."""

PRIORITY: Final = "dagster/priority"
"""Tag of a run: Dagster's queue starts the highest first; 0 where it is absent."""

ONLY_STALE: Final = "argus/only_stale"
"""Tag of a run (`true`): make only the assets of each batch that would not come out the same again."""

FROM_STAGE: Final = "argus/from_stage"
"""Tag of such a run: make this asset in any case."""

REQUEST: Final = "argus/request"
"""Tag of a run: the request of `argus rerun` that it belongs to."""

IN_FLIGHT: Final = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)

_WILL_RETRY: Final = "dagster/will_retry"
_RETRIED_AS: Final = "dagster/auto_retry_run_id"

batches = dg.DynamicPartitionsDefinition(name=BATCHES)
"""Keys are `<date recorded>_<vehicle_id>_<batch_id>`; see `drop/keys.py`."""


def request_run(
    run_key: str,
    keys: Sequence[str],
    *,
    why: Why,
    tags: Mapping[str, str] | None = None,
    assets: Sequence[str] | None = None,
) -> dg.RunRequest:
    """Return a request for a run over one partition key, or over a range of neighbours.

    Args:
        run_key: Dagster starts one run for it, ever.
        keys: Contiguous in the order of the partitions; see `drop.intake.stretches`.
        why: Goes into the tag `WHY`.
        tags: Further tags.
        assets: Which assets of the job, all unless given.
    """
    given = {WHY: why, **(tags or {})}
    selection = [dg.AssetKey(asset) for asset in assets] if assets is not None else None
    if len(keys) == 1:
        return dg.RunRequest(run_key=run_key, partition_key=keys[0], tags=given, asset_selection=selection)
    range_tags = {RANGE_START: keys[0], RANGE_END: keys[-1], "argus/batches": str(len(keys))}
    return dg.RunRequest(run_key=run_key, tags={**range_tags, **given}, asset_selection=selection)


def partitions_in_flight(instance: dg.DagsterInstance, existing: Sequence[str]) -> set[str]:
    """Return the keys of the batches that are queued or running."""
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=list(IN_FLIGHT)))
    # Positions are counted once: a run must not look through all keys for its own two.
    position = positions(existing) if runs else {}
    return {key for run in runs for key in partitions_of(run, existing, position)}


def positions(existing: Sequence[str]) -> dict[str, int]:
    """Return the position of each key in the order of the partitions."""
    return {key: at for at, key in enumerate(existing)}


def partitions_of(run: dg.DagsterRun, existing: Sequence[str], position: Mapping[str, int]) -> Sequence[str]:
    """Return the keys of the batches that a run is to process.

    Args:
        run: The run.
        existing: All partition keys, in Dagster's order.
        position: Their `positions`.
    """
    if (key := run.tags.get(PARTITION)) is not None:
        return [key]
    first, last = position.get(run.tags.get(RANGE_START, "")), position.get(run.tags.get(RANGE_END, ""))
    return existing[first : last + 1] if first is not None and last is not None else []


def runs_at_once(instance: dg.DagsterInstance) -> int:
    """Return how many runs the queue starts at the same time (`concurrency.runs.max_concurrent_runs`); 1 where nothing says so."""
    queue = instance.get_concurrency_config().run_queue_config
    return max(1, queue.max_concurrent_runs) if queue is not None else 1


def starts_again(run: dg.DagsterRun) -> bool:
    """Return whether Dagster is going to retry a run whose worker died, and has not done so yet."""
    return (
        run.status is dg.DagsterRunStatus.FAILURE
        and run.tags.get(_WILL_RETRY) == "true"
        and _RETRIED_AS not in run.tags
    )
