"""The lifecycle of faults over drives that were simulated, dropped and processed; the ground truth decides."""

import json

import pytest
from click.testing import CliRunner

from argus_assets.cli import root
from argus_assets.errors import BadSetting
from argus_assets.simulate.fleet import simulate_drive
from tests.support.values import VIN

pytestmark = pytest.mark.wiring

# ● the fault is in the drive, · not. One letter a day.
STORIES = {
    "truck-new": ("truck_oil_pressure", "truck_healthy", "·●", "new"),
    "truck-rec": ("truck_oil_pressure", "truck_healthy", "●●", "recurring"),
    "truck-back": ("truck_oil_pressure", "truck_healthy", "●···●", "back"),
    "car-back": ("car_misfire_cleared", "car_healthy", "●", "back"),  # a tester clears it, it returns in the drive
}


def test_the_story_of_each_vehicle_is_told(site, tmp_path, monkeypatch):
    monkeypatch.setenv("ARGUS_BUCKET_URL", site.bucket.url)
    monkeypatch.setenv("ARGUS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ARGUS_LAKE_URL", str(tmp_path / "lake"))
    truth = {}
    for vehicle, (fault, healthy, story, _) in STORIES.items():
        for day, mark in enumerate(story):
            drive = simulate_drive(
                tmp_path / "drives" / vehicle / str(day),
                scenario=fault if mark == "●" else healthy,
                seed=day,
                vehicle_id=vehicle,
                vin=VIN,
                release=f"2026.{day + 1}",
                batch_id=f"day-{day}",
                started_ns=(1_795_000_000 + 86_400 * day) * 10**9,
                seconds=20.0,
                files=1,
            )
            truth[vehicle, day] = set(drive.codes)
            site.drop(drive)
    assert all(run.success for run in site.tick_and_run())

    for vehicle, (_, _, story, state) in STORIES.items():
        found = json.loads(CliRunner().invoke(root, ["lifecycle", vehicle, "--json"]).output)
        planted = set().union(*(truth[vehicle, day] for day in range(len(story))))
        assert planted
        for code in planted:
            lives = [life for life in found if life["code"] == code]
            assert lives, (vehicle, code)
            for life in lives:
                affected = [day for day in range(len(story)) if code in truth[vehicle, day]]
                assert (life["state"], life["drives_affected"], life["drives"]) == (state, len(affected), len(story))
                assert life["first_release"] == f"2026.{affected[0] + 1}"
                assert [m == "affected" for m in life["marks"]] == [s == "●" for s in story[affected[0] :]]

    shown = CliRunner().invoke(root, ["lifecycle", "truck-back", "--code", "SPN100/FMI1"], env={"COLUMNS": "160"})
    assert "back" in shown.output
    assert "cleared with 2026-11-21_truck-back_day-3" in shown.output
    nobody = CliRunner().invoke(root, ["lifecycle", "nobody"])
    assert isinstance(nobody.exception, BadSetting)
