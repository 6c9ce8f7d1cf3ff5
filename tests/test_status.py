"""States are derived: from what was made since the drop, and from the run at work."""

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.event_log.states import BatchFacts, derive_state
from argus_assets.pipeline import RESTING, RUNNING, STAGES, BatchState
from argus_assets.status import RecordingState, derive_recording_state

statuses = st.one_of(st.none(), st.sampled_from(dg.DagsterRunStatus))
facts = st.builds(
    BatchFacts,
    dropped=st.one_of(st.none(), st.integers(1, 50)),
    made=st.dictionaries(st.sampled_from(STAGES), st.integers(1, 100)),
    run=statuses,
    quarantined=st.booleans(),
)


def made_up_to(count: int, dropped: int = 10) -> dict[str, int]:
    return {stage: dropped + 1 + n for n, stage in enumerate(STAGES[:count])}


def test_there_is_a_state_for_every_number_of_stages() -> None:
    assert len(RUNNING) == len(STAGES)
    assert len(RESTING) == len(STAGES) + 1


@given(facts)
def test_a_failed_batch_names_a_stage_and_no_other_does(found: BatchFacts) -> None:
    state, stage = derive_state(found)
    assert (stage is not None) == (state is BatchState.FAILED)
    if state is BatchState.COMPLETED:
        assert found.dropped is not None
        assert all(found.made[stage] >= found.dropped for stage in STAGES)


@pytest.mark.parametrize("done", range(len(STAGES) + 1))
def test_the_states_of_a_batch_in_order(done: int) -> None:
    def state(run: dg.DagsterRunStatus | None) -> tuple[BatchState, str | None]:
        return derive_state(BatchFacts(dropped=10, made=made_up_to(done), run=run))

    assert state(None) == (RESTING[done], None)
    assert state(dg.DagsterRunStatus.QUEUED) == (RESTING[done], None), "waiting is not working"
    if done < len(STAGES):
        assert state(dg.DagsterRunStatus.STARTED) == (RUNNING[done], None)
        assert state(dg.DagsterRunStatus.FAILURE) == (BatchState.FAILED, STAGES[done])
        assert state(dg.DagsterRunStatus.CANCELED) == (BatchState.FAILED, STAGES[done])


@given(st.integers(0, len(STAGES)), statuses)
def test_what_was_made_before_the_drop_does_not_count(done: int, run: dg.DagsterRunStatus | None) -> None:
    old = dict.fromkeys(STAGES, 5)
    fresh = BatchFacts(dropped=10, made={**old, **made_up_to(done)}, run=run)
    assert derive_state(fresh) == derive_state(BatchFacts(dropped=10, made=made_up_to(done), run=run))


@pytest.mark.parametrize(
    ("batch", "parsed", "failed_stage", "state"),
    [
        (BatchState.UPLOADED, None, None, RecordingState.PENDING),
        (BatchState.SCATTERING, None, None, RecordingState.PARSING),
        (BatchState.SCATTERING, "parsed", None, RecordingState.PARSED),
        (BatchState.SCATTERED, "parsed", None, RecordingState.PARSED),
        (BatchState.GATHERING, "parsed", None, RecordingState.AGGREGATING),
        (BatchState.DIAGNOSING, "parsed", None, RecordingState.AGGREGATING),
        (BatchState.COMPLETED, "parsed", None, RecordingState.COMPLETED),
        (BatchState.COMPLETED, "failed", None, RecordingState.FAILED),
        (BatchState.FAILED, None, "rec_frames", RecordingState.FAILED),
        (BatchState.FAILED, "parsed", "diagnosis", RecordingState.PARSED),
    ],
)
def test_the_states_of_a_recording(batch, parsed, failed_stage, state) -> None:
    assert derive_recording_state(batch, parsed, failed_stage) is state
