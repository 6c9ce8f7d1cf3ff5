"""Reruns that a person requested: the request as a document, and which runs to start next. Pure."""

import secrets
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

MAX_BATCHES_A_RUN: Final = 50
MAX_RUNS_A_TICK: Final = 20


class RerunRequest(BaseModel):
    """A request of `argus rerun`.

    Attributes:
        id: Names it; later requests have greater ids.
        at: When it was made.
        by: Who made it, as far as the command knows.
        text: The request in words.
        partitions: Keys of the batches, in the order of the partitions: neighbours share a run.
        from_stage: Asset that is made again in any case; what follows it is made when its input changed.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    at: datetime
    by: str
    text: str
    partitions: tuple[str, ...]
    from_stage: str | None = None


def new_request(
    partitions: Collection[str],
    *,
    order: Sequence[str],
    by: str,
    text: str,
    from_stage: str | None,
    now: datetime,
) -> RerunRequest:
    """Return a request with an id of its own.

    Args:
        partitions: Keys of the batches, in any order.
        order: All partition keys, as Dagster keeps them.
        by: Who requests it.
        text: The request in words.
        from_stage: Asset that is made in any case.
        now: The time.
    """
    position = {key: at for at, key in enumerate(order)}
    return RerunRequest(
        id=f"{now.astimezone(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
        at=now,
        by=by,
        text=text,
        partitions=tuple(sorted(partitions, key=position.__getitem__)),
        from_stage=from_stage,
    )


class RerunProgress(BaseModel):
    """Progress of a request.

    Attributes:
        offset: Batches of the request that were considered.
        deferred: Of those, the ones that were in a run; they are considered again at the end.
        round: Ticks over the deferred ones that started runs.
    """

    model_config = ConfigDict(frozen=True)

    offset: int = 0
    deferred: tuple[str, ...] = ()
    round: int = 0


class RerunStep(NamedTuple):
    """One step of a request.

    Attributes:
        runs: (run key, batches) to start.
        progress: After it.
        done: Nothing is left to start.
        gone: Batches that no longer exist.
    """

    runs: tuple[tuple[str, tuple[str, ...]], ...]
    progress: RerunProgress
    done: bool
    gone: tuple[str, ...]


def plan_step(
    request: RerunRequest,
    progress: RerunProgress,
    *,
    order: Sequence[str],
    busy: Collection[str],
    max_runs: int = MAX_RUNS_A_TICK,
    max_batches: int = MAX_BATCHES_A_RUN,
) -> RerunStep:
    """Return which runs to start next.

    Args:
        request: The request.
        progress: Its progress.
        order: All partition keys, as Dagster keeps them.
        busy: Batches that are queued or running.
        max_runs: Of one step.
        max_batches: Of one run.
    """
    position = {key: at for at, key in enumerate(order)}
    is_last_round = progress.offset >= len(request.partitions)
    todo = progress.deferred if is_last_round else request.partitions[progress.offset :]
    runs: list[list[str]] = []
    deferred: list[str] = []
    gone: list[str] = []
    considered = 0
    for key in todo:
        if key not in position:
            gone.append(key)
        elif key in busy:
            deferred.append(key)
        elif runs and len(runs[-1]) < max_batches and position[key] == position[runs[-1][-1]] + 1:
            runs[-1].append(key)
        elif len(runs) < max_runs:
            runs.append([key])
        else:
            break
        considered += 1
    if is_last_round:
        after = RerunProgress(
            offset=progress.offset, deferred=(*deferred, *todo[considered:]), round=progress.round + bool(runs)
        )
    else:
        after = RerunProgress(offset=progress.offset + considered, deferred=(*progress.deferred, *deferred))
    return RerunStep(
        runs=tuple((_run_key(request, run, progress.round), tuple(run)) for run in runs),
        progress=after,
        done=after.offset >= len(request.partitions) and not after.deferred,
        gone=tuple(gone),
    )


def _run_key(request: RerunRequest, run: Sequence[str], round_: int) -> str:
    digest = sha256("|".join(run).encode()).hexdigest()[:16]
    return f"rerun/{request.id}/{round_}/{run[0]}+{len(run) - 1}@{digest}"
