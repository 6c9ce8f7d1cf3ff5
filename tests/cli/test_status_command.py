"""`argus status` and `argus events` on what really happened, and `argus policy`."""

import json

import pytest
from click.testing import CliRunner, Result

from argus_assets.cli import root
from argus_assets.cli.status import status
from argus_assets.drop.policies import vehicle_policy
from argus_assets.errors import BadSetting

KEY = "2026-11-18_truck-oil-pressure_b1"


@pytest.fixture
def argus(site, tmp_path, monkeypatch: pytest.MonkeyPatch):
    """The command, on the site's database and bucket."""
    monkeypatch.setenv("ARGUS_BUCKET_URL", site.bucket.url)
    monkeypatch.setenv("ARGUS_HOME", str(tmp_path / "home"))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(root, list(arguments), env={"COLUMNS": "160"})

    return run


def test_before_anything_was_dropped(argus) -> None:
    assert "no batches yet" in argus("status").output
    assert json.loads(argus("status", "--json").output) == []
    result = argus("events", "nothing")
    assert isinstance(result.exception, BadSetting)  # `main` prints it
    assert "No batch is known as 'nothing'" in str(result.exception)
    assert "argus status" in str(result.exception)


def test_a_batch_from_its_drop_to_its_diagnosis(argus, site, drives) -> None:
    site.drop(drives["truck_oil_pressure"])
    (waiting,) = json.loads(argus("status", "--json").output)
    assert waiting["state"] == "uploaded"
    site.tick_and_run()

    told = json.loads(argus("status", "truck-oil-pressure/b1", "--json").output)
    assert (told["partition_key"], told["state"]) == (KEY, "completed")
    assert {r["state"] for r in told["recordings"]} == {"completed"}
    output = argus("status").output
    assert "completed" in output
    assert "oil pressure" in output
    detailed = argus("status", "b1").output
    assert all(file.name in detailed for file in drives["truck_oil_pressure"].files)

    happened = json.loads(argus("events", KEY, "--json").output)
    assert happened[0]["event"] == "BatchCreated"
    assert [e["details"]["state"] for e in happened if "state" in e["details"] and e["event"] == "StatusChanged"] == [
        "scattering", "scattered", "gathering", "gathered", "diagnosing", "completed",
    ]  # fmt: skip
    assert sum(e["event"] == "FileParsed" for e in happened) == len(drives["truck_oil_pressure"].files)
    assert [e["at"] for e in happened] == sorted(e["at"] for e in happened)
    assert len({e["run_id"] for e in happened if e["run_id"]}) == 1
    lines = argus("events", "b1").output.splitlines()
    assert len(lines) == len(happened)


def test_a_batch_that_is_only_in_the_bucket_is_told_with_its_reason(argus, site, drives) -> None:
    site.drop(drives["car_healthy"])
    name = drives["car_healthy"].files[0].name
    site.bucket.delete(f"batches/car-healthy/b1/{name}")
    site.tick()
    told = json.loads(argus("status", "car-healthy/b1", "--json").output)
    assert (told["state"], told["failed_stage"]) == ("failed", "vehicle_drop")
    assert name in argus("status").output.replace("\n", "")


def test_a_home_without_a_platform_says_what_to_do(tmp_path) -> None:
    result = CliRunner().invoke(status, ["--home", str(tmp_path / "none")])
    assert isinstance(result.exception, BadSetting)
    assert "argus up" in result.exception.help


def test_policy_prints_what_the_library_makes() -> None:
    printed = CliRunner().invoke(root, ["policy", "v1", "--bucket", "drops", "--operator", "arn:aws:iam:::user/o"])
    assert json.loads(printed.output) == vehicle_policy(
        "drops", "v1", "arn:aws:iam:::user/v1", operator="arn:aws:iam:::user/o"
    )
