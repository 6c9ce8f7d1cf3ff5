"""`argus rec info` and `argus rec frames`, on simulated and on damaged files."""

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from argus_assets.cli import root
from argus_assets.recordings.schema import FRAMES
from argus_assets.simulate.fleet import simulate_drive
from tests.support.values import START_NS, VIN


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(root, ["rec", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One recording of each format."""
    found = {}
    for scenario in ("truck_oil_pressure", "av_lidar_dropout"):
        drive = simulate_drive(
            tmp_path_factory.mktemp("drive"), scenario=scenario, seed=3, vehicle_id="v", vin=VIN,
            release="1", batch_id="b", started_ns=START_NS, seconds=60.0, files=1,
        )  # fmt: skip
        for file in drive.folder.iterdir():
            found.setdefault(file.suffix, file)
    return found


@pytest.mark.parametrize("suffix", [".mf4", ".mcap"])
def test_info_and_frames_tell_the_same(files: dict[str, Path], suffix: str, tmp_path: Path) -> None:
    result = run("info", files[suffix], "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert {
        "format", "frames", "first_timestamp_ns", "last_timestamp_ns", "channels", "problems",
    } <= set(told)  # fmt: skip
    assert told["problems"] == []
    target = tmp_path / "new" / "out.parquet"
    assert run("frames", files[suffix], "--to", target).exit_code == 0
    frames = pl.read_parquet(target)
    assert frames.schema == FRAMES.schema
    assert told["frames"] == sum(c["frames"] for c in told["channels"]) == frames.height
    assert frames["timestamp"].is_sorted()
    assert frames["timestamp"].dt.timestamp("ns").min() == told["first_timestamp_ns"]
    assert frames["timestamp"].dt.timestamp("ns").max() == told["last_timestamp_ns"]
    assert [p.name for p in target.parent.iterdir()] == ["out.parquet"], "no scratch is left"


def test_info_for_people(files: dict[str, Path]) -> None:
    result = run("info", *files.values())
    assert result.exit_code == 0
    assert "mdf4, " in result.output
    assert "mcap, " in result.output
    assert "UTC" in result.output


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"", "empty_file"), (b"PK\x03\x04 something else entirely", "unknown_format"), (b"\x89MCAP", "unknown_format")],
)
def test_what_cannot_be_read_is_told_and_exits_with_1(tmp_path: Path, content: bytes, kind: str) -> None:
    file = tmp_path / "drive.mf4"
    file.write_bytes(content)
    result = run("info", file, "--json")
    assert result.exit_code == 1
    (problem,) = json.loads(result.output)["problems"]
    assert problem["kind"] == kind
    assert problem["expected"]
    assert problem["help"]
    result = run("frames", file, "--to", tmp_path / "out.parquet")
    assert result.exit_code == 1
    assert kind in result.stderr


def test_a_cut_file_gives_what_is_there(files: dict[str, Path], tmp_path: Path) -> None:
    whole = json.loads(run("info", files[".mcap"], "--json").output)
    cut = tmp_path / "cut.mcap"
    data = files[".mcap"].read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    result = run("info", cut, "--json")
    told = json.loads(result.output)
    assert result.exit_code == 0
    assert 0 < told["frames"] < whole["frames"]
    assert told["problems"]


def test_the_extension_does_not_decide(files: dict[str, Path], tmp_path: Path) -> None:
    disguised = tmp_path / "drive.txt"
    disguised.write_bytes(files[".mf4"].read_bytes())
    assert json.loads(run("info", disguised, "--json").output)["format"] == "mdf4"
