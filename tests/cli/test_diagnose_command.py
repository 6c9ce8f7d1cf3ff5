"""`argus diagnose`: the same answer as the platform gives, for files that nobody dropped."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from argus_assets.cli import root
from argus_assets.simulate.fleet import simulate_drive
from tests.support.values import START_NS, VIN

PLATFORMS = {"truck_oil_pressure": "truck", "car_misfire_coil": "car", "av_lidar_dropout": "av"}


def drive_of(folder: Path, scenario: str) -> Path:
    drive = simulate_drive(
        folder / scenario, scenario=scenario, seed=3, vehicle_id="v", vin=VIN, release="2026.10",
        batch_id="b", started_ns=START_NS, seconds=60.0,
    )  # fmt: skip
    return drive.folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["diagnose", *map(str, arguments)])


@pytest.mark.parametrize("scenario", PLATFORMS)
def test_the_cause_of_a_simulated_drive_is_found_and_its_platform_inferred(scenario: str, tmp_path: Path) -> None:
    folder = drive_of(tmp_path, scenario)
    done = run("--json", folder)
    assert done.exit_code == 1, done.output
    found = json.loads(done.stdout)
    assert found["vehicle_platform"] == PLATFORMS[scenario]
    assert f"Vehicle platform: {PLATFORMS[scenario]}" in done.stderr
    given = json.loads(run("--json", "--vehicle-platform", PLATFORMS[scenario], *folder.iterdir()).stdout)
    assert {**found, "notes": []} == {**given, "notes": []}
    rows = json.loads(CliRunner().invoke(root, ["rec", "events", "--json", *map(str, folder.iterdir())]).stdout)
    assert {row["code"] for row in found["events"]} == {row["code"] for row in rows}
    assert found["root_causes"][0]["confidence"] >= 0.5
    assert found["root_causes"][0]["title"] in found["verdict"]
    checks = [action for action in found["root_causes"][0]["actions"] if action in found["checks"]]
    assert checks[:2] == found["checks"][:2], "the checks begin with those of the first cause"


def test_a_healthy_drive_ends_well(tmp_path: Path) -> None:
    done = run(drive_of(tmp_path, "truck_healthy"))
    assert done.exit_code == 0, done.output
    assert "No fault found." in done.stdout


def test_a_named_file_that_is_no_recording_is_an_error_and_one_of_a_folder_is_named(tmp_path: Path) -> None:
    folder = drive_of(tmp_path, "truck_oil_pressure")
    (folder / "notes.txt").write_text("bought in May")
    done = run(folder)
    assert done.exit_code == 1
    assert "notes.txt is no recording" in done.stderr
    done = run(folder / "notes.txt")
    assert done.exit_code == 2
    assert "unknown_format" in done.stderr
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty").exit_code == 2
    assert run(tmp_path / "nowhere").exit_code == 2


def test_text_and_page_have_what_json_has(tmp_path: Path) -> None:
    folder = drive_of(tmp_path, "truck_oil_pressure")
    page = tmp_path / "page.html"
    done = run(folder, "--html", page)
    found = json.loads(run(folder, "--json").stdout)
    html = page.read_text("utf-8")
    for cause in found["root_causes"]:
        assert cause["title"] in done.stdout
        assert cause["title"] in html
    for check in found["checks"]:
        assert check in " ".join(done.stdout.split())
    for event in found["events"]:
        assert event["code"] in done.stdout
    assert run(folder, "--html", tmp_path / "no" / "page.html").exit_code == 2


def test_no_page_is_made_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.log").write_bytes(b"")
    done = run(tmp_path / "empty.log", "--html", tmp_path / "page.html")
    assert done.exit_code == 2
    assert "There is no page" in done.stderr
    assert not (tmp_path / "page.html").exists()


def test_the_page_names_what_the_detectors_left_out(tmp_path: Path) -> None:
    lines = (f"({1_700_000_000 + n / 100:.6f}) can0 18FECA00#04FF64{n % 90:02X}0{n % 8}01FFFF\n" for n in range(1_000))
    (tmp_path / "drive.log").write_text("".join(lines))
    (tmp_path / "faults.toml").write_text("[bounds]\nframes = 100\n")
    page = tmp_path / "page.html"
    done = run(tmp_path / "drive.log", "--faults", tmp_path / "faults.toml", "--html", page)
    assert done.exit_code == 1, done.output
    for place in (done.stderr, page.read_text("utf-8")):
        assert "900 of 1,000 frames were left out" in place
