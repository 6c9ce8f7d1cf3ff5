"""`argus rec events` on simulated recordings, on files that are none, and on texts that try to be markup."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from argus_assets.cli import root
from argus_assets.errors import BadRecording
from argus_assets.faults.config import default_config
from argus_assets.simulate.fleet import simulate_fleet
from tests.support.values import START_NS

FIELDS = {
    "code", "source", "ecu", "channel", "occurrences", "status", "frame_count", "first_seen_ns", "last_seen_ns", "severity",
    "severity_rule", "description", "causes", "checks", "must_not", "message", "evidence",
}  # fmt: skip


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Recordings by scenario."""
    out = tmp_path_factory.mktemp("fleet")
    names = ["truck_healthy", "truck_oil_pressure", "av_lidar_dropout"]
    fleet = simulate_fleet(out, seed=3, scenarios=names, started_ns=START_NS, seconds=40)
    return {
        name: sorted(p for p in Path(drive.folder).iterdir() if p.suffix in (".mf4", ".mcap"))
        for name, drive in zip(names, fleet, strict=True)
    }


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(root, ["rec", "events", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_json_of_a_drive(drives):
    result = run("--json", *drives["truck_oil_pressure"])
    assert result.exit_code == 0
    faults = json.loads(result.stdout)
    assert all(set(fault) == FIELDS for fault in faults)
    by_dm1 = [fault for fault in faults if fault["source"] == "j1939_dm1"]
    assert [fault["code"] for fault in by_dm1] == ["SPN100/FMI1", "SPN1569/FMI31"]
    root_cause, consequence = by_dm1
    assert (root_cause["source"], root_cause["ecu"], root_cause["severity"]) == ("j1939_dm1", "SA 0x00", "critical")
    assert root_cause["occurrences"] == 1 < consequence["occurrences"]
    assert root_cause["first_seen_ns"] < consequence["first_seen_ns"] <= consequence["last_seen_ns"]
    evidence = root_cause["evidence"]
    assert evidence["recording"] in {path.name for path in drives["truck_oil_pressure"]}
    assert bytes.fromhex(evidence["payload_hex"])[2:4] == (100).to_bytes(2, "little")


def test_order_of_files_does_not_matter(drives):
    files = drives["av_lidar_dropout"]
    assert len(files) > 1
    forward, backward = (run("--json", *order).stdout for order in (files, files[::-1]))
    assert json.loads(forward)
    assert json.loads(forward) == json.loads(backward)


def test_table_for_people(drives):
    result = run(*drives["av_lidar_dropout"])
    assert result.exit_code == 0
    assert result.stdout.index("E101") < result.stdout.index("E301")
    assert "error" in result.stdout


def test_no_faults(drives):
    result = run(*drives["truck_healthy"])
    assert result.exit_code == 0
    assert result.stdout.startswith("no faults found in ")
    assert run("--json", *drives["truck_healthy"]).stdout.strip() == "[]"


@pytest.mark.parametrize("content", [b"", b"not a recording"])
def test_a_file_that_is_no_recording_is_an_error_not_an_absence_of_faults(content, tmp_path):
    path = tmp_path / "drive.mf4"
    path.write_bytes(content)
    result = run(path)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "drive.mf4" in result.stderr


def test_a_bad_file_does_not_hide_the_faults_of_the_others(drives, tmp_path):
    path = tmp_path / "empty.mf4"
    path.touch()
    result = run("--json", path, *drives["truck_oil_pressure"])
    assert result.exit_code == 1
    assert {fault["code"] for fault in json.loads(result.stdout)} >= {"SPN100/FMI1", "SPN1569/FMI31"}
    assert "empty_file" in result.stderr


def test_two_files_of_one_name_are_told_apart(drives, tmp_path):
    original = drives["truck_oil_pressure"][0]
    copy = tmp_path / original.name
    copy.write_bytes(original.read_bytes())
    result = run("--json", original, copy)
    assert {fault["evidence"]["recording"] for fault in json.loads(result.stdout)} <= {str(original), str(copy)}


def test_a_missing_file_is_a_usage_error(tmp_path):
    result = run(tmp_path / "nothing.mf4")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr


def test_a_file_that_cannot_be_opened_is_told_with_its_reason(tmp_path, monkeypatch):
    path = tmp_path / "drive.mf4"
    path.write_bytes(b"x")

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    default_config()  # its file is opened too
    # Tests may run as root, whom no file mode stops.
    monkeypatch.setattr(Path, "open", refuse)
    result = CliRunner().invoke(root, ["rec", "events", str(path)])
    assert isinstance(result.exception, BadRecording)
    assert "Permission denied" in str(result.exception)
