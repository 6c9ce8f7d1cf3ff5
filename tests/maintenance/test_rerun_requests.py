"""Requests of `argus rerun`: every batch is started once, a few runs at a time, none while it is in a run."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from argus_assets.maintenance.reruns import RerunProgress, new_request, plan_step

NOW = datetime(2026, 11, 25, tzinfo=UTC)
ORDER = [f"k{n:03}" for n in range(60)]


@given(
    wanted=st.sets(st.sampled_from(ORDER), min_size=1),
    busy=st.lists(st.sets(st.sampled_from(ORDER)), max_size=6),
    gone=st.sets(st.sampled_from(ORDER), max_size=5),
    max_runs=st.integers(1, 5),
    max_batches=st.integers(1, 7),
)
def test_each_batch_is_started_once_and_never_beside_itself(wanted, busy, gone, max_runs, max_batches) -> None:
    request = new_request(wanted, order=ORDER, by="me", text="all", from_stage=None, now=NOW)
    alive = [key for key in ORDER if key not in gone]
    progress = RerunProgress()
    started: list[str] = []
    keys: list[str] = []
    for look in range(200):
        at_work = busy[look] if look < len(busy) else set()
        step = plan_step(request, progress, order=alive, busy=at_work, max_runs=max_runs, max_batches=max_batches)
        assert len(step.runs) <= max_runs
        for run_key, run in step.runs:
            assert 1 <= len(run) <= max_batches
            assert not at_work & set(run)
            at = alive.index(run[0])
            assert tuple(alive[at : at + len(run)]) == run, "a range includes every key between its ends"
            started += run
            keys.append(run_key)
        progress = RerunProgress.model_validate_json(step.progress.model_dump_json())
        if step.done:
            break
    else:
        raise AssertionError("the request never ends")
    assert sorted(started) == sorted(wanted - gone)
    assert len(set(keys)) == len(keys)


def test_neighbours_share_a_run() -> None:
    request = new_request(ORDER, order=ORDER, by="me", text="all", from_stage=None, now=NOW)
    step = plan_step(request, RerunProgress(), order=ORDER, busy=(), max_runs=20, max_batches=50)
    assert [len(run) for _, run in step.runs] == [50, 10]
    assert step.done


def test_ids_sort_by_time() -> None:
    later = datetime(2026, 11, 25, 0, 0, 1, tzinfo=UTC)
    first, second = (
        new_request(["k000"], order=ORDER, by="me", text="", from_stage=None, now=at) for at in (NOW, later)
    )
    assert first.id < second.id
