"""Reading only what is open gives the states that reading everything gives."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster import DagsterEventType
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent, StepMaterializationData
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argus_assets.event_log import queries
from argus_assets.event_log.states import BatchFacts, derive_state, partition_states
from argus_assets.partitions import starts_again
from argus_assets.pipeline import STAGES
from argus_assets.schedules import rerun_failed_batches

KEYS = ("a", "b", "c")
ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
LIVE = (dg.DagsterRunStatus.STARTED,)

drops = st.tuples(st.just("drop"), st.sampled_from(KEYS))
runs = st.tuples(
    st.just("run"),
    st.sets(st.sampled_from(KEYS), min_size=1),
    st.integers(0, len(STAGES) - 1),
    st.sampled_from((*ENDED, *LIVE)),
    st.lists(st.integers(0, len(STAGES)), min_size=len(KEYS), max_size=len(KEYS)),
)


def write(instance: dg.DagsterInstance, history: Sequence[tuple]) -> None:
    def event(kind: DagsterEventType, data: object, run_id: str) -> None:
        instance.report_dagster_event(
            DagsterEvent(event_type_value=kind.value, job_name="j", event_specific_data=data), run_id=run_id
        )

    for kind, *what in history:
        if kind == "drop":
            instance.report_runless_asset_event(dg.AssetMaterialization("vehicle_drop", partition=what[0]))
            continue
        keys, first, run_status, made = what
        run = instance.add_run(dg.DagsterRun(job_name="j", status=dg.DagsterRunStatus.STARTED))
        for key in sorted(keys):
            for stage in STAGES[first:]:
                planned = AssetMaterializationPlannedData(dg.AssetKey(stage), partition=key)
                event(DagsterEventType.ASSET_MATERIALIZATION_PLANNED, planned, run.run_id)
        for key, count in zip(KEYS, made, strict=True):
            for stage in STAGES[first:][:count] if key in keys else ():
                done = StepMaterializationData(dg.AssetMaterialization(stage, partition=key), [])
                event(DagsterEventType.ASSET_MATERIALIZATION, done, run.run_id)
        if run_status in ENDED:
            how = {"SUCCESS": "PIPELINE_SUCCESS", "FAILURE": "PIPELINE_FAILURE", "CANCELED": "PIPELINE_CANCELED"}
            event(DagsterEventType(how[run_status.value]), None, run.run_id)


def by_reading_everything(instance: dg.DagsterInstance) -> dict[str, tuple]:
    storage = instance.event_log_storage
    made_event = DagsterEventType.ASSET_MATERIALIZATION
    made = {
        a: storage.get_latest_storage_id_by_partition(dg.AssetKey(a), made_event) for a in ("vehicle_drop", *STAGES)
    }
    attempts: dict[str, tuple[str, int]] = {}
    for stage in STAGES:
        found = storage.get_latest_asset_partition_materialization_attempts_without_materializations(dg.AssetKey(stage))
        for key, attempt in found.items():
            attempts[key] = max(attempts.get(key, ("", -1)), attempt, key=lambda a: a[1])
    states: dict[str, tuple] = {}
    for key in KEYS:
        dropped, (run_id, planned) = made["vehicle_drop"].get(key), attempts.get(key, (None, -1))
        run = instance.get_run_by_id(run_id) if run_id is not None and planned > (dropped or 0) else None
        run_status = None if run is None else dg.DagsterRunStatus.QUEUED if starts_again(run) else run.status
        stages = {s: made[s][key] for s in STAGES if key in made[s]}
        states[key] = derive_state(BatchFacts(dropped=dropped, made=stages, run=run_status))
    return states


@pytest.mark.parametrize("named", [0, 500], ids=["all keys read", "keys named"])
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors])
@given(history=st.lists(drops | runs, max_size=6))
def test_states_of_any_history(monkeypatch: pytest.MonkeyPatch, named: int, history) -> None:
    monkeypatch.setattr(queries, "NAMED_KEYS", named)
    with dg.DagsterInstance.ephemeral() as instance:
        write(instance, history)
        expected = by_reading_everything(instance)
        assert partition_states(instance, KEYS) == expected
        assert partition_states(instance, KEYS[1:]) == {k: expected[k] for k in KEYS[1:]}
        assert partition_states(instance, []) == {}


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(drops | runs, max_size=6))
def test_failed_batches_of_any_history(monkeypatch: pytest.MonkeyPatch, history) -> None:
    """Reading from the first failure on finds what reading everything finds."""
    monkeypatch.setattr(queries, "SIDE_BY_SIDE", 1)
    since = datetime.now(UTC) - timedelta(hours=1)
    with dg.DagsterInstance.ephemeral() as instance:
        write(instance, [*(("drop", key) for key in KEYS), *history])
        found = rerun_failed_batches.find_failed(instance, KEYS, since=since)
        with monkeypatch.context() as patch:
            patch.setattr(rerun_failed_batches, "_first_event_of_failures", lambda *_: 0)
            assert rerun_failed_batches.find_failed(instance, KEYS, since=since) == found
        failed = {key for key, (state, _) in partition_states(instance, KEYS).items() if state == "failed"}
        assert failed <= {batch.partition for batch in found}
