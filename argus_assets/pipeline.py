"""The pipeline of a batch, declared once: its stages, and the states that they take a batch through.

Asset specs, status, metrics, events for other systems, staleness, latency and the CLI's choices derive from it. How a
stage is made stands in `assets/`, in the module of its name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final, Literal


class BatchState(StrEnum):
    """Where a batch is."""

    PENDING = "pending"
    UPLOADED = "uploaded"
    SCATTERING = "scattering"
    SCATTERED = "scattered"
    GATHERING = "gathering"
    GATHERED = "gathered"
    DIAGNOSING = "diagnosing"
    COMPLETED = "completed"
    FAILED = "failed"


StageStep = Literal["parse", "events", "stats", "diagnosis", "report"]
"""Steps of the latency waterfall that are stages; see `monitoring/latency.py` for those before them."""

DROP: Final = "vehicle_drop"
"""The asset that a batch begins with: what the vehicle dropped. The intake sensor records it; no run makes it."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One asset that a run makes of a batch.

    Attributes:
        name: Of the asset.
        input: The asset that it is made from.
        running: State of the batch while the asset is being made.
        done: State of the batch when it has been made and nothing is running.
        step: The waterfall's name for the making of it.
        meaning: What happens in that step, in a few words.
    """

    name: str
    input: str
    running: BatchState
    done: BatchState
    step: StageStep
    meaning: str


REC_FRAMES: Final = Stage("rec_frames", DROP, BatchState.SCATTERING, BatchState.SCATTERED, "parse", "recordings parsed")
ERROR_EVENTS: Final = Stage(
    "error_events", REC_FRAMES.name, BatchState.GATHERING, BatchState.SCATTERED, "events", "faults detected"
)
ERROR_STATS: Final = Stage(
    "error_stats", ERROR_EVENTS.name, BatchState.GATHERING, BatchState.GATHERED, "stats", "statistics"
)
DIAGNOSIS: Final = Stage(
    "diagnosis", ERROR_STATS.name, BatchState.DIAGNOSING, BatchState.GATHERED, "diagnosis", "diagnosis"
)
BATCH_REPORT: Final = Stage(
    "batch_report", DIAGNOSIS.name, BatchState.DIAGNOSING, BatchState.COMPLETED, "report", "page"
)

PIPELINE: Final = (REC_FRAMES, ERROR_EVENTS, ERROR_STATS, DIAGNOSIS, BATCH_REPORT)
"""In the order in which they are made; each is made from the one before."""

STAGES: Final = tuple(stage.name for stage in PIPELINE)
ASSETS: Final = (DROP, *STAGES)
"""All assets of a batch."""

INPUT: Final[Mapping[str, str]] = {stage.name: stage.input for stage in PIPELINE}
"""Asset → the asset that it is made from."""

RUNNING: Final = tuple(stage.running for stage in PIPELINE)
"""State while the stage of the same position is being made."""

RESTING: Final = (BatchState.UPLOADED, *(stage.done for stage in PIPELINE))
"""State when so many stages have been made and nothing is running."""

ENTERED: Final[Mapping[str, BatchState]] = {
    stage.name: stage.running
    for before, stage in zip((None, *PIPELINE), PIPELINE, strict=False)
    if before is None or before.running is not stage.running
}
"""Stage → the state that the batch enters as it begins; a stage that begins in the state of the one before enters none."""

REACHED: Final[Mapping[str, BatchState]] = {
    stage.name: after for stage, (before, after) in zip(PIPELINE, pairwise(RESTING), strict=True) if before is not after
}
"""Stage → the state that the batch reaches when it has been made."""


def stages_from(name: str) -> tuple[str, ...]:
    """Return a stage and those that follow it."""
    return STAGES[STAGES.index(name) :]
