"""What is asked of the event log: a failure of a batch is what its run recorded as one, and nothing else."""

import dagster as dg
from dagster import DagsterEventType
from dagster._core.events import AssetObservationData, DagsterEvent

from argus_assets.event_log.events import to_dagster
from argus_assets.event_log.queries import failures_of, last_drops, latest_digest
from argus_assets.events import BatchCreated, FileParsed, StatusChanged
from tests.support.events_of_last_version import OF_LAST_VERSION

KEY = "2026-11-20_v_b"


def observe(instance: dg.DagsterInstance, run_id: str, event: FileParsed | StatusChanged) -> None:
    observation = to_dagster(event, partition=KEY)
    assert isinstance(observation, dg.AssetObservation)
    kind = DagsterEventType.ASSET_OBSERVATION.value
    data = AssetObservationData(observation)
    instance.report_dagster_event(DagsterEvent(kind, job_name="j", event_specific_data=data), run_id=run_id)


def test_a_recording_that_cannot_be_read_is_no_failure_of_its_batch() -> None:
    """When the run is killed afterwards it counts as crashed: two crashes are enough, five failures are not."""
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = instance.add_run(dg.DagsterRun(job_name="j")).run_id
        parsed = FileParsed(
            manifest_digest="d", recording="a.blf", state="failed", format="blf", frames=0, frames_lost=9, parse_s=0.1
        )
        observe(instance, run_id, parsed)
        assert list(failures_of(instance, {KEY: -1})) == []
        observe(instance, run_id, StatusChanged(asset="rec_frames", manifest_digest="d", state="scattering"))
        failed = StatusChanged(asset="rec_frames", manifest_digest="d", state="failed", error="No.", permanent=True)
        observe(instance, run_id, failed)
        assert [(key, run, event) for key, run, _, event in failures_of(instance, {KEY: -1})] == [(KEY, run_id, failed)]


def test_the_last_drop_of_a_batch_counts() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert latest_digest(instance, "vehicle_drop", KEY) is None
        recorded, event = OF_LAST_VERSION["created"]
        assert isinstance(event, BatchCreated)
        instance.report_runless_asset_event(recorded._replace(partition=KEY))
        assert last_drops(instance, [KEY, "2026-11-20_v_c"]) == {KEY: event}
        assert latest_digest(instance, "vehicle_drop", KEY) == "d"
