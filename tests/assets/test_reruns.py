"""Reruns on real instances: only what is stale is made again, and what came out the same stops there."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from argus_assets.assets.specs import CODE_VERSIONS
from argus_assets.cli import root
from argus_assets.errors import BadSetting
from argus_assets.event_log.events import MADE_WITH
from argus_assets.maintenance.reruns import new_request
from argus_assets.partitions import BATCHES, FROM_STAGE, ONLY_STALE
from argus_assets.pipeline import STAGES, stages_from
from argus_assets.resources.faults import FaultsResource
from argus_assets.sensors.rerun_requests import save_request, take_rerun_requests
from tests.support.stages import made_by

pytestmark = pytest.mark.wiring


def ask(site, partitions, *, from_stage: str | None = None):
    order = site.instance.get_dynamic_partitions(BATCHES)
    request = new_request(partitions, order=order, by="me", text="test", from_stage=from_stage, now=datetime.now(UTC))
    save_request(site.lake, request)
    return request


ONCE = dict.fromkeys(STAGES, 1)


def counts(site, partition: str) -> dict[str, int]:
    return {stage: site.made(stage, partition) for stage in STAGES}


def test_only_what_is_stale_is_made_again(site, drives, tmp_path) -> None:
    site.drop(drives["truck_oil_pressure"])
    (request,) = site.tick().run_requests
    assert site.run(request).success
    partition = request.partition_key
    assert counts(site, partition) == ONCE

    ask(site, [partition])
    result = take_rerun_requests(site.instance, None, site.lake)
    (again,) = result.run_requests
    assert again.tags["argus/why"] == "rerun"
    assert site.run(again).success
    assert counts(site, partition) == ONCE, "nothing is stale"

    # Another configuration of faults that finds the same: events are made again, what follows is not.
    faults = tmp_path / "faults.toml"
    faults.write_text(
        '[[rule]]\ncode = "NEVER"\nkind = "threshold"\ntopic = "/no_such_topic"\nfield = "x"\nabove = 1\nseverity = "error"\nmessage = "Never"\n'
    )
    site.resources["faults"] = FaultsResource(path=str(faults))
    ask(site, [partition])
    (again,) = take_rerun_requests(site.instance, result.cursor, site.lake).run_requests
    run = site.run(again)
    assert run.success, [e.message for e in run.all_events if e.is_failure]
    assert counts(site, partition) == ONCE | {"error_events": 2}

    # An asset that is asked for is made in any case.
    forced = dg.RunRequest(
        partition_key=partition, tags={ONLY_STALE: "true", FROM_STAGE: "error_stats", "argus/why": "rerun"}
    )
    assert site.run(forced).success
    assert counts(site, partition) == ONCE | {"error_events": 2, "error_stats": 2}


def test_a_batch_that_failed_goes_on_where_it_stopped(site, drives) -> None:
    site.drop(drives["truck_oil_pressure"])
    (request,) = site.tick().run_requests

    def breaks(*_) -> None:
        raise ValueError("no page today")

    with made_by("diagnosis", breaks):
        assert not site.run(request).success
    partition = request.partition_key
    assert counts(site, partition) == ONCE | dict.fromkeys(stages_from("diagnosis"), 0)
    ask(site, [partition])
    (again,) = take_rerun_requests(site.instance, None, site.lake).run_requests
    assert site.run(again).success
    assert counts(site, partition) == ONCE


def test_requests_are_put_away_after_their_runs_are_recorded(site, drives) -> None:
    site.drop(drives["car_healthy"])
    (request,) = site.tick().run_requests
    assert site.run(request).success
    asked = ask(site, [request.partition_key])
    first = take_rerun_requests(site.instance, None, site.lake)
    lost = take_rerun_requests(site.instance, None, site.lake)
    assert [r.run_key for r in lost.run_requests] == [r.run_key for r in first.run_requests], (
        "a look whose record was lost asks for the same runs"
    )
    assert site.lake.names("upkeep/reruns/waiting") == [f"{asked.id}.json"]
    second = take_rerun_requests(site.instance, first.cursor, site.lake)
    assert not second.run_requests
    assert site.lake.names("upkeep/reruns/waiting") == []
    assert json.loads(site.lake.read_bytes(f"upkeep/reruns/done/{asked.id}.json"))["by"] == "me"


def test_materialisations_say_what_they_were_made_with_and_from(site, drives) -> None:
    site.drop(drives["truck_oil_pressure"])
    (request,) = site.tick().run_requests
    assert site.run(request).success
    before = site.instance.fetch_materializations(dg.AssetKey("vehicle_drop"), limit=1).records[0]
    for stage in STAGES:
        (record,) = site.instance.fetch_materializations(dg.AssetKey(stage), limit=5).records
        made, upstream = record.asset_materialization, before.asset_materialization
        source = upstream.asset_key.to_user_string()
        assert made.tags[f"dagster/input_data_version/{source}"] == upstream.tags["dagster/data_version"]
        assert made.metadata[MADE_WITH].value["code"] == made.tags["dagster/code_version"]
        before = record


@pytest.fixture
def argus(site, tmp_path, monkeypatch: pytest.MonkeyPatch):
    """The command, on the site's database, bucket and lake."""
    monkeypatch.setenv("ARGUS_BUCKET_URL", site.bucket.url)
    monkeypatch.setenv("ARGUS_LAKE_URL", str(site.lake.path("")).rstrip("/"))
    monkeypatch.setenv("ARGUS_HOME", str(tmp_path / "home"))

    def run(*arguments: str):
        return CliRunner().invoke(root, ["rerun", *arguments], env={"COLUMNS": "200"})

    return run


def keys(result) -> list[str]:
    assert result.exit_code == 0, result.output + repr(result.exception)
    return [row["partition"].removeprefix("2026-11-18_") for row in json.loads(result.stdout)]


def test_the_command_selects_shows_and_asks(argus, site, drives, tmp_path, monkeypatch) -> None:
    for release, batch in (("2026.10", "b1"), ("2026.11", "b2")):
        site.drop(drives["truck_oil_pressure"], batch_id=batch, release=release)
    site.drop(drives["car_healthy"], batch_id="b1")
    site.drop(drives["car_healthy"], batch_id="broken")
    shutil.rmtree(Path(site.bucket.url) / "batches" / "car-healthy" / "broken")
    # The sensor sees files that are missing; a run that finds them gone fails.
    for request in site.tick().run_requests or ():
        site.run(request)
    dry = ("--dry-run", "--json")
    everything = keys(argus("--all", *dry))
    assert sorted(everything) == ["car-healthy_b1", "truck-oil-pressure_b1", "truck-oil-pressure_b2"]
    assert keys(argus("--vehicle", "car-healthy", *dry)) == ["car-healthy_b1"]
    assert keys(argus("--release", "2026.11", *dry)) == ["truck-oil-pressure_b2"]
    assert keys(argus("--to", "2026-11-17", *dry)) == []
    assert len(keys(argus("--from", "2026-11-18", *dry))) == 3
    assert keys(argus("--stale", *dry)) == []
    assert keys(argus("--failed", *dry)) == []
    assert len(keys(argus("--code-version", f"error_stats={CODE_VERSIONS['error_stats']}", *dry))) == 3
    assert keys(argus("--code-version", "error_stats=0", *dry)) == []
    assert keys(argus("truck-oil-pressure/b2", *dry)) == ["truck-oil-pressure_b2"]
    assert "3 up to date" in argus("--all", "--dry-run").stdout

    nothing = argus()
    assert isinstance(nothing.exception, BadSetting)
    assert isinstance(argus("b2", "--failed").exception, BadSetting)
    assert isinstance(argus("--code-version", "nonsense").exception, BadSetting)

    # A decoder update, as far as the records can tell.
    monkeypatch.setitem(CODE_VERSIONS, "rec_frames", "4.new")
    shown = argus("--stale", "--dry-run").stdout
    assert "rec_frames" in shown
    assert "→ 4.new" in shown
    assert site.lake.names("upkeep/reruns/waiting") == [], "a dry run asks for nothing"
    asked = argus("--stale", "--vehicle", "truck-oil-pressure", "--yes")
    assert asked.exit_code == 0
    (name,) = site.lake.names("upkeep/reruns/waiting")
    assert name.removesuffix(".json") in asked.stdout
    result = take_rerun_requests(site.instance, None, site.lake)
    assert sum(int(r.tags.get("argus/batches", "1")) for r in result.run_requests) == 2
    assert {r.tags["argus/request"] for r in result.run_requests} == {name.removesuffix(".json")}
    for request in result.run_requests:
        assert site.run(request).success
    assert site.made("rec_frames", "2026-11-18_truck-oil-pressure_b2") == 2
    assert site.made("rec_frames", "2026-11-18_car-healthy_b1") == 1
    assert site.made("error_events", "2026-11-18_truck-oil-pressure_b2") == 1, "the same tables came out"
    assert sorted(keys(argus("--stale", *dry))) == ["car-healthy_b1"]
