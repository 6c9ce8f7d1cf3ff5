"""`argus golden` and `argus replay` on batches that were really processed."""

import json

import dagster as dg
import pytest
from click.testing import CliRunner

from argus_assets.cli import root
from argus_assets.errors import BadSetting

pytestmark = pytest.mark.wiring


@pytest.fixture
def argus(site, tmp_path, monkeypatch: pytest.MonkeyPatch):
    """The command, on the site's database, bucket and lake."""
    monkeypatch.setenv("ARGUS_BUCKET_URL", site.bucket.url)
    monkeypatch.setenv("ARGUS_LAKE_URL", site.lake.path("").rstrip("/"))
    monkeypatch.setenv("ARGUS_HOME", str(tmp_path / "home"))

    def run(*arguments: str):
        return CliRunner().invoke(root, list(arguments), env={"COLUMNS": "220"})

    return run


def written(site, tmp_path) -> tuple:
    """Everything that a replay must leave alone."""
    lake = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "lake").rglob("*") if p.is_file())
    bucket = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "bucket").rglob("*") if p.is_file())
    return lake, bucket, len(site.instance.get_runs()), site.instance.event_log_storage.get_maximum_record_id()


def test_a_change_is_shown_before_it_is_let_loose(argus, site, drives, tmp_path) -> None:
    site.drop(drives["truck_oil_pressure"])
    site.drop(drives["car_healthy"])
    assert all(r.success for r in site.tick_and_run())
    assert isinstance(argus("replay", "--golden").exception, BadSetting), "nothing is pinned"
    assert isinstance(argus("replay").exception, BadSetting)
    pinned = argus("golden", "pin", "truck-oil-pressure/b1", "car-healthy/b1", "--note", "first")
    assert pinned.exit_code == 0, pinned.exception
    listed = json.loads(argus("golden", "ls", "--json").output)
    assert [p["note"] for p in listed] == ["first", "first"]
    assert "oil_pressure" in argus("golden", "ls").output

    before = written(site, tmp_path)
    same = argus("replay", "--golden", "--check", "--json")
    assert same.exit_code == 0, same.output
    assert all(not found for found in json.loads(same.stdout)["differences"].values())
    assert "2 batches replayed, 0 came out differently" in argus("replay", "--golden").output

    changed = tmp_path / "faults.toml"
    changed.write_text('[detectors]\ndisable = ["j1939"]\n')
    shown = argus("replay", "--golden", "--check", "--faults", str(changed))
    assert shown.exit_code == 1
    assert "1 came out differently" in shown.output
    assert "code gone" in shown.output
    assert "different cause" in shown.output
    document = json.loads(argus("replay", "truck-oil-pressure/b1", "--faults", str(changed), "--json").stdout)
    gone = {d["name"] for d in document["differences"]["2026-11-18_truck-oil-pressure_b1"] if d["kind"] == "code_gone"}
    expected = {c["code"] for p in listed for c in p["outcome"]["codes"] if c["code"].startswith("SPN")}
    assert expected
    assert {name.split(" ")[0] for name in gone} >= expected
    assert written(site, tmp_path) == before, "a replay keeps nothing"


def test_recordings_that_are_gone_are_told_and_the_others_go_on(argus, site, drives, tmp_path) -> None:
    site.drop(drives["truck_oil_pressure"])
    site.drop(drives["car_healthy"])
    assert all(r.success for r in site.tick_and_run())
    assert argus("golden", "pin", "truck-oil-pressure/b1", "car-healthy/b1").exit_code == 0
    for path in (tmp_path / "bucket" / "batches" / "car-healthy").rglob("*.*"):
        path.unlink()
        break
    result = argus("replay", "--golden")
    assert result.exit_code == 1
    assert "1 batch replayed" in result.output
    assert "car-healthy_b1 could not be replayed" in result.output
    assert argus("golden", "unpin", "car-healthy/b1").exit_code == 0
    assert argus("replay", "--golden").exit_code == 0
    assert isinstance(argus("golden", "unpin", "car-healthy/b1").exception, BadSetting)


def test_only_what_was_processed_to_its_end_is_pinned(argus, site, drives) -> None:
    site.drop(drives["car_healthy"])
    (request,) = site.tick().run_requests
    refused = argus("golden", "pin", request.partition_key).exception
    assert isinstance(refused, BadSetting)
    assert "is not completely processed" in str(refused)
    assert isinstance(argus("replay", request.partition_key).exception, BadSetting)
    assert site.instance.get_runs(filters=dg.RunsFilter()) == []
