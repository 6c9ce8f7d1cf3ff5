"""Retry policy: which failed batches run again, when, and which are left to a person. Pure: no Dagster, no clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, Literal

from argus_assets.drop.intake import stretches

FailureKind = Literal["transient", "permanent", "quarantined", "crashed", "cancelled"]
"""`crashed`: the run ended and the batch has no outcome. Its worker died, memory ran out, or it took too long.
`cancelled`: a person ended the run."""

MAX_ATTEMPTS: Final = 5
"""Of one drop of a manifest, the first included."""

MAX_CRASHES: Final = 2
"""A batch that brings a worker down twice is assumed to do so each time."""

BACKOFF: Final = (timedelta(minutes=2), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6))
"""Since the last failure, after the first, second … attempt; the last one for all that follow."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt that failed. Runs that Dagster itself started again count as one attempt.

    Attributes:
        at: When it failed, or when its run ended.
        kind: How.
    """

    at: datetime
    kind: FailureKind


@dataclass(frozen=True, slots=True)
class FailedBatch:
    """A batch whose last attempt failed.

    Attributes:
        partition: Its key.
        digest: Of the manifest that was taken last.
        stage: The first that is missing; what was made before it, of the same manifest, is kept.
        failures: Since that manifest was taken, oldest first, at least one.
        large: A run of its own is due to it.
    """

    partition: str
    digest: str
    stage: str
    failures: tuple[Failure, ...]
    large: bool = False

    @property
    def attempt(self) -> int:
        """Number of the next attempt; the first one is 1."""
        return len(self.failures) + 1

    @property
    def crashed(self) -> bool:
        """Return whether it may have brought a worker down: it runs alone, so that no other batch suffers again."""
        return any(f.kind == "crashed" for f in self.failures)


Verdict = Literal["again", "later", "manual"]
"""`manual`: a person has to look at it, and run it again by hand."""


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """How often, and how soon.

    Attributes:
        attempts: Of one drop of a manifest, the first included.
        crashes: Of those, so many at most that ended in a crash.
        backoff: Pause after each attempt.
    """

    attempts: int = MAX_ATTEMPTS
    crashes: int = MAX_CRASHES
    backoff: Sequence[timedelta] = BACKOFF


LIMITS: Final = RetryLimits()


def decide(batch: FailedBatch, *, now: datetime, limits: RetryLimits = LIMITS) -> Verdict:
    """Decide what to do with a failed batch: retry now, retry later, or leave it to a person."""
    last = batch.failures[-1]
    if last.kind in ("permanent", "quarantined", "cancelled") or len(batch.failures) >= limits.attempts:
        return "manual"
    if sum(f.kind == "crashed" for f in batch.failures) >= limits.crashes:
        return "manual"
    return "again" if now >= due_at(batch, limits) else "later"


def due_at(batch: FailedBatch, limits: RetryLimits = LIMITS) -> datetime:
    """Return when the next attempt is due."""
    last = batch.failures[-1]
    return last.at + limits.backoff[min(len(batch.failures), len(limits.backoff)) - 1]


@dataclass(frozen=True, slots=True)
class Rerun:
    """One run over failed batches that are neighbours and lack the same stages.

    Attributes:
        partitions: In the order of the partitions.
        stage: The first stage to make; all that follow are made too.
        run_key: Names the batches, their manifests and their attempts.
        large: It is one large batch.
    """

    partitions: tuple[str, ...]
    stage: str
    run_key: str
    large: bool = False


@dataclass(frozen=True, slots=True)
class RerunPlan:
    """What one evaluation decides.

    Attributes:
        runs: To start now.
        later: Batches whose pause is not over.
        manual: Batches that need a person.
    """

    runs: tuple[Rerun, ...]
    later: tuple[str, ...]
    manual: tuple[str, ...]


def plan_reruns(
    failed: Sequence[FailedBatch],
    *,
    order: Sequence[str],
    now: datetime,
    max_batches: int,
    limits: RetryLimits = LIMITS,
) -> RerunPlan:
    """Decide for each failed batch, and put those that run again into runs.

    Args:
        failed: One entry for each batch, none of them in flight.
        order: All partition keys, as Dagster keeps them.
        now: The time.
        max_batches: Of one run.
        limits: How often, and how soon.
    """
    verdict = {b.partition: decide(b, now=now, limits=limits) for b in failed}
    again = {b.partition: b for b in failed if verdict[b.partition] == "again"}
    alone = {key for key, b in again.items() if b.crashed or b.large}
    runs: list[tuple[str, ...]] = [(key,) for key in again if key in alone]
    for stage in dict.fromkeys(b.stage for b in again.values()):
        keys = [key for key, b in again.items() if b.stage == stage and key not in alone]
        runs += stretches(keys, order=order, max_keys=max_batches)
    position = {key: at for at, key in enumerate(order)}
    return RerunPlan(
        runs=tuple(
            Rerun(keys, again[keys[0]].stage, _run_key(keys, again), large=len(keys) == 1 and again[keys[0]].large)
            for keys in sorted(runs, key=lambda keys: position[keys[0]])
        ),
        later=tuple(b.partition for b in failed if verdict[b.partition] == "later"),
        manual=tuple(b.partition for b in failed if verdict[b.partition] == "manual"),
    )


def _run_key(keys: Sequence[str], batches: Mapping[str, FailedBatch]) -> str:
    """Return a key that is the same for the same attempts at the same drops."""
    names = [f"{k}@{batches[k].digest}@{batches[k].failures[0].at.timestamp():.3f}#{batches[k].attempt}" for k in keys]
    if len(names) == 1:
        return f"rerun_failed/{names[0]}"
    attempt = max(batches[k].attempt for k in keys)
    return f"rerun_failed/{keys[0]}+{len(keys) - 1}@{sha256('|'.join(names).encode()).hexdigest()[:32]}#{attempt}"
