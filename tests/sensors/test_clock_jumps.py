"""Objects whose times are long past or far in the future: no clock of a vehicle or of the storage loses a batch."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from argus_assets.drop.keys import BatchRef, batch_prefix, inbox_key
from argus_assets.drop.results import read_result

pytestmark = pytest.mark.wiring

TIMES = {
    "before the epoch": -86_400.0,
    "1970": 0.0,
    "yesterday": datetime.now(UTC).timestamp() - 86_400,
    "tomorrow": datetime.now(UTC).timestamp() + 86_400,
    "2106": 4_294_967_296.0,
}


def set_times(site, batch_id: str, vehicle: str, *, files_at: float, marker_at: float) -> None:
    root = Path(site.bucket.url)
    for file in (root / batch_prefix(vehicle, batch_id)).iterdir():
        os.utime(file, (files_at, files_at))
    marker = root / inbox_key(vehicle, batch_id)
    os.utime(marker, (marker_at, marker_at))


def test_no_time_of_an_object_loses_a_batch(site, drives) -> None:
    drive = drives["truck_oil_pressure"]
    times = list(TIMES.values())
    names = [f"t{n}" for n in range(len(times))]
    for number, name in enumerate(names):
        site.drop(drive, batch_id=name)
        set_times(site, name, drive.vehicle_id, files_at=times[number], marker_at=times[-1 - number])
    assert all(run.success for run in site.tick_and_run())
    for name in names:
        result = read_result(site.bucket, BatchRef(drive.vehicle_id, name))
        assert result is not None
        assert result.state == "completed"
    site.tick()
    assert site.bucket.list_inbox(limit=10) == []


def test_the_same_manifest_with_another_time_is_a_drop_of_its_own_and_changes_nothing(site, drives) -> None:
    drive = drives["truck_oil_pressure"]
    site.drop(drive)
    assert len(site.tick_and_run()) == 1
    for at in TIMES.values():
        site.tick()  # archives
        site.drop(drive)
        set_times(site, drive.batch_id, drive.vehicle_id, files_at=at, marker_at=at)
        assert site.tick_and_run() == [], "it was processed from this very manifest"
    site.tick()
    assert site.bucket.list_inbox(limit=10) == []
    (key,) = site.instance.get_dynamic_partitions("batches")
    assert site.made("batch_report", key) == 1
