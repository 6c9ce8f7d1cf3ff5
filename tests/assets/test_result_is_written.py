"""The outcome of a batch reaches the bucket, also when the bucket does not take it at first."""

import threading
from pathlib import Path

import pytest

from argus_assets.drop.keys import BatchRef
from argus_assets.drop.results import read_result
from argus_assets.event_log.states import partition_states
from argus_assets.pipeline import BatchState

pytestmark = pytest.mark.wiring


def test_a_completed_batch_has_its_outcome(site, drives) -> None:
    drive = drives["truck_oil_pressure"]
    in_the_way = Path(site.bucket.url) / "results"
    in_the_way.write_text("a file where the folder of the outcomes has to be")
    timer = threading.Timer(2.0, in_the_way.unlink)
    timer.start()
    site.drop(drive)
    (run,) = site.tick_and_run()
    timer.join()
    assert run.success
    (key,) = site.instance.get_dynamic_partitions("batches")
    assert partition_states(site.instance, [key])[key] == (BatchState.COMPLETED, None)
    result = read_result(site.bucket, BatchRef(drive.vehicle_id, drive.batch_id))
    assert result is not None
    assert result.state == "completed"
