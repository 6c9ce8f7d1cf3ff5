"""`argus simulate`: what it writes, what it shows, and what it refuses."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from argus_assets.cli import root
from argus_assets.errors import BadSetting
from argus_assets.simulate.scenarios import SCENARIOS


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(root, ["simulate", *map(str, arguments)], env={"COLUMNS": "200"})


def test_list_shows_every_scenario_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("--list")
    assert result.exit_code == 0, result.output
    for scenario in SCENARIOS.values():
        assert scenario.name in result.output
        assert scenario.description in result.output
    assert not list(tmp_path.iterdir())


def test_writes_the_chosen_scenarios(tmp_path: Path) -> None:
    result = run("--out", tmp_path, "--scenario", "car_air_flow", "--scenario", "truck_healthy", "--seconds", "50")
    assert result.exit_code == 0, result.output
    truths = [json.loads(p.read_text()) for p in sorted(tmp_path.glob("truth/*/*.json"))]
    assert [t["scenario"] for t in truths] == ["car_air_flow", "truck_healthy"]
    for truth in truths:
        folder = tmp_path / truth["vehicle_id"] / truth["batch_id"]
        assert sorted(p.name for p in folder.iterdir()) == truth["files"]
        assert f"{truth['vehicle_id']}/{truth['batch_id']}" in result.output
        assert truth["vin"] in result.output


def test_every_length_it_takes_is_long_enough_for_every_scenario(tmp_path: Path) -> None:
    result = run("--out", tmp_path, "--seconds", "49.9")
    assert result.exit_code == 2
    assert "49.9" in result.output
    assert max(s.shortest_s for s in SCENARIOS.values()) <= 50
    assert not list(tmp_path.iterdir())


def test_unknown_scenario_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    result = run("--out", tmp_path, "--scenario", "car_healthy", "--scenario", "flat_tyre")
    assert isinstance(result.exception, BadSetting)
    assert "flat_tyre" in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_writes_a_fleet_over_two_releases(tmp_path: Path) -> None:
    result = run("--out", tmp_path, "--release-change", "oil_sensor_same", "--vehicles", "3")
    assert result.exit_code == 0, result.output
    truth = json.loads((tmp_path / "truth" / "oil_sensor_same.json").read_text())
    assert [r["drives"] for r in truth["releases"]] == [3, 3]
    for release in truth["releases"]:
        assert release["release"] in result.output
    assert len(list(tmp_path.glob("truck-*/*/*.mf4"))) == 6


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--release-change", "faster_horses"], "faster_horses"),
        (["--release-change", "planner_slower", "--scenario", "car_healthy"], "Both"),
    ],
)
def test_a_release_change_that_cannot_be_is_refused(tmp_path: Path, arguments: list[str], told: str) -> None:
    result = run("--out", tmp_path, *arguments)
    assert isinstance(result.exception, BadSetting)
    assert told in str(result.exception)
    assert not list(tmp_path.iterdir())
