"""Reruns that a person asked for: the request as a document, and which runs are to be started next. Pure."""

import secrets
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

MAX_BATCHES_A_RUN: Final = 50
MAX_RUNS_A_LOOK: Final = 20


class RerunRequest(BaseModel):
    """What `argus rerun` asks for.

    Attributes:
        id: Names it; later requests have greater ids.
        at: When it was asked for.
        by: Who asked, as far as the command knows.
        text: What was asked for, for people.
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
    """A request with an id of its own.

    Args:
        partitions: Keys of the batches, in any order.
        order: All partition keys, as Dagster keeps them.
        by: Who asks.
        text: What is asked for.
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
    """How far a request is carried out.

    Attributes:
        offset: Batches of the request that were looked at.
        deferred: Of those, the ones that were in a run; they are asked for again at the end.
        round: Looks at those that started runs.
    """

    model_config = ConfigDict(frozen=True)

    offset: int = 0
    deferred: tuple[str, ...] = ()
    round: int = 0


class RerunStep(NamedTuple):
    """One look at a request.

    Attributes:
        runs: (run key, batches) to start.
        progress: After it.
        done: Nothing is left to start.
        gone: Batches that are no more.
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
    most_runs: int = MAX_RUNS_A_LOOK,
    most_batches: int = MAX_BATCHES_A_RUN,
) -> RerunStep:
    """Which runs to start next.

    Args:
        request: What was asked for.
        progress: How far it is.
        order: All partition keys, as Dagster keeps them.
        busy: Batches that are queued or running.
        most_runs: Runs of one look.
        most_batches: Batches of one run.
    """
    position = {key: at for at, key in enumerate(order)}
    is_last_round = progress.offset >= len(request.partitions)
    todo = progress.deferred if is_last_round else request.partitions[progress.offset :]
    runs: list[list[str]] = []
    deferred: list[str] = []
    gone: list[str] = []
    looked_at = 0
    for key in todo:
        if key not in position:
            gone.append(key)
        elif key in busy:
            deferred.append(key)
        elif runs and len(runs[-1]) < most_batches and position[key] == position[runs[-1][-1]] + 1:
            runs[-1].append(key)
        elif len(runs) < most_runs:
            runs.append([key])
        else:
            break
        looked_at += 1
    if is_last_round:
        after = RerunProgress(
            offset=progress.offset, deferred=(*deferred, *todo[looked_at:]), round=progress.round + bool(runs)
        )
    else:
        after = RerunProgress(offset=progress.offset + looked_at, deferred=(*progress.deferred, *deferred))
    return RerunStep(
        runs=tuple((_run_key(request, run, progress.round), tuple(run)) for run in runs),
        progress=after,
        done=after.offset >= len(request.partitions) and not after.deferred,
        gone=tuple(gone),
    )


def _run_key(request: RerunRequest, run: Sequence[str], round_: int) -> str:
    digest = sha256("|".join(run).encode()).hexdigest()[:16]
    return f"rerun/{request.id}/{round_}/{run[0]}+{len(run) - 1}@{digest}"
