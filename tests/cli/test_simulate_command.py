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
    result = run("--out", tmp_path, "--scenario", "car_air_flow", "--scenario", "truck_healthy", "--seconds", "25")
    assert result.exit_code == 0, result.output
    truths = [json.loads(p.read_text()) for p in sorted(tmp_path.glob("truth/*/*.json"))]
    assert [t["scenario"] for t in truths] == ["car_air_flow", "truck_healthy"]
    for truth in truths:
        folder = tmp_path / truth["vehicle_id"] / truth["batch_id"]
        assert sorted(p.name for p in folder.iterdir()) == truth["files"]
        assert f"{truth['vehicle_id']}/{truth['batch_id']}" in result.output
        assert truth["vin"] in result.output


def test_every_length_it_takes_is_long_enough_for_every_scenario(tmp_path: Path) -> None:
    result = run("--out", tmp_path, "--seconds", "24.9")
    assert result.exit_code == 2
    assert "24.9" in result.output
    assert max(s.shortest_s for s in SCENARIOS.values()) <= 25
    assert not list(tmp_path.iterdir())


def test_unknown_scenario_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    result = run("--out", tmp_path, "--scenario", "car_healthy", "--scenario", "flat_tyre")
    assert isinstance(result.exception, BadSetting)
    assert "flat_tyre" in str(result.exception)
    assert not list(tmp_path.iterdir())
