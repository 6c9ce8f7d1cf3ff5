"""How long a batch took from its first byte to its page, step by step: the waterfall.

Times of the bucket come from its own clock, the others from the platform's.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from argus_assets.pipeline import PIPELINE, StageStep

StepName = Literal["upload", "tick", "queue", "wait", StageStep]

MEANING: Final[Mapping[StepName, str]] = {
    "upload": "first byte to manifest",
    "tick": "manifest to the sensor's look",
    "queue": "until its run began",
    "wait": "until its turn in the run",
    **{stage.step: stage.meaning for stage in PIPELINE},
}


class Step(BaseModel):
    """One step.

    Attributes:
        name: Which.
        start_s: When it began, seconds after the manifest; negative for the upload.
        seconds: How long it took.
    """

    model_config = ConfigDict(frozen=True)

    name: StepName
    start_s: float
    seconds: float


class Latency(BaseModel):
    """The waterfall of a batch.

    Attributes:
        steps: In their order, each beginning where the one before ended.
        total_s: From the manifest to the end of the last step.
        work_s: Of that, seconds in the stages.
    """

    model_config = ConfigDict(frozen=True)

    steps: tuple[Step, ...]
    total_s: float
    work_s: float

    @property
    def scale_s(self) -> float:
        """Length of a picture's axis: the total, never zero."""
        return max(self.total_s, 1e-3)

    def seconds(self, name: StepName) -> float | None:
        """Seconds of one step, `None` when it is not known."""
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
    """The waterfall from what was seen. A clock that differs makes a step zero, never negative.

    Args:
        first_byte_at: Of the bucket: when the first recording was put.
        marker_at: Of the bucket: when the manifest was put.
        taken_at: When the sensor took it.
        run_started_at: When the run began to execute.
        begun_at: When the batch's first stage began.
        stages: Seconds of each stage, in their order.
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
