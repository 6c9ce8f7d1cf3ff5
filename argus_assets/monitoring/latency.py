"""Latency waterfall: the time from the first byte of a batch to its page, step by step.

Times of objects come from the bucket's clock, all others from Argus's own.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from argus_assets.pipeline import PIPELINE, StageStep

StepName = Literal["upload", "tick", "queue", "wait", StageStep]

MEANING: Final[Mapping[StepName, str]] = {
    "upload": "first byte to manifest",
    "tick": "manifest to sensor tick",
    "queue": "wait for the run to start",
    "wait": "wait for its turn in the run",
    **{stage.step: stage.meaning for stage in PIPELINE},
}


class Step(BaseModel):
    """One step of the waterfall.

    Attributes:
        name: Name of the step.
        start_s: Start, seconds after the manifest; negative for the upload.
        seconds: Duration.
    """

    model_config = ConfigDict(frozen=True)

    name: StepName
    start_s: float
    seconds: float


class Latency(BaseModel):
    """The waterfall of a batch.

    Attributes:
        steps: Steps in order, each starting where the previous one ended.
        total_s: Seconds from the manifest to the end of the last step.
        work_s: Seconds of that spent in the stages.
    """

    model_config = ConfigDict(frozen=True)

    steps: tuple[Step, ...]
    total_s: float
    work_s: float

    @property
    def scale_s(self) -> float:
        """Return the length of a plot's axis: the total, never zero."""
        return max(self.total_s, 1e-3)

    def seconds(self, name: StepName) -> float | None:
        """Return the seconds of one step, or `None` if unknown."""
        return next((s.seconds for s in self.steps if s.name == name), None)


def waterfall(
    *,
    first_byte_at: datetime | None,
    marker_at: datetime,
    taken_at: datetime,
    run_started_at: datetime,
    begun_at: datetime,
    stages: Mapping[StepName, float],
) -> Latency:
    """Build the waterfall from timestamps. Clock skew makes a step zero, never negative.

    Args:
        first_byte_at: When the first recording was put, by the bucket's clock.
        marker_at: When the manifest was put, by the bucket's clock.
        taken_at: When the sensor accepted the manifest.
        run_started_at: When the run started to execute.
        begun_at: When the batch's first stage started.
        stages: Seconds of each stage, in order.
    """
    steps: list[Step] = []
    if first_byte_at is not None:
        upload = max(0.0, (marker_at - first_byte_at).total_seconds())
        steps.append(Step(name="upload", start_s=-upload, seconds=upload))
    at = 0.0

    def add(name: StepName, seconds: float) -> None:
        nonlocal at
        took = max(0.0, seconds)
        steps.append(Step(name=name, start_s=at, seconds=took))
        at += took

    add("tick", (taken_at - marker_at).total_seconds())
    add("queue", (run_started_at - taken_at).total_seconds())
    add("wait", (begun_at - run_started_at).total_seconds())
    for name, seconds in stages.items():
        add(name, seconds)
    return Latency(steps=tuple(steps), total_s=at, work_s=sum(stages.values()))
