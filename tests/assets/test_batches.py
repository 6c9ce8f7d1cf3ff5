"""Sensor and assets on a real instance: each batch has its own result, and every drop comes to an end."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from argus_assets.assets.batch_assets import batch_assets
from argus_assets.drop.keys import BatchRef
from argus_assets.drop.results import read_result
from argus_assets.event_log.states import partition_states
from argus_assets.faults.plugins.packages import load_faults
from argus_assets.faults.schema import ERROR_EVENTS
from argus_assets.pipeline import STAGES, BatchState
from argus_assets.recordings.schema import PROBLEMS, RECORDINGS
from argus_assets.resources.decoders import DecodersResource
from argus_assets.resources.faults import FaultsResource
from argus_assets.stats.schema import CODE_PAIRS, DRIVE_STATS, ERROR_STATS
from argus_assets.status import batch_status, find_partition, list_batches, timeline

pytestmark = pytest.mark.wiring

DAY = "2026-11-18"


def result_of(site, vehicle: str, batch: str = "b1"):
    return read_result(site.bucket, BatchRef(vehicle, batch))


def test_a_lone_batch_goes_the_whole_way(site, drives) -> None:
    drive = drives["truck_oil_pressure"]
    site.drop(drive)
    (run,) = site.tick_and_run()
    assert run.success
    key = f"{DAY}_truck-oil-pressure_b1"
    result = result_of(site, "truck-oil-pressure")
    assert (result.state, result.partition_key, result.frames) == ("completed", key, drive.frames)
    assert result.root_causes[0].cause == "engine_oil_pressure_low"
    assert all(site.made(asset, key) == 1 for asset in ("vehicle_drop", *STAGES))
    assert partition_states(site.instance, [key]) == {key: (BatchState.COMPLETED, None)}
    recordings = site.lake.read_table(f"batches/{key}/recordings.parquet", RECORDINGS)
    assert recordings["sha256_verified"].all()
    events = site.lake.read_table(f"batches/{key}/error_events.parquet", ERROR_EVENTS)
    assert set(drive.codes) <= set(events["code"])
    stats = site.lake.read_table(f"batches/{key}/error_stats.parquet", ERROR_STATS)
    pairs = site.lake.read_table(f"batches/{key}/code_pairs.parquet", CODE_PAIRS)
    assert set(pairs["code_a"]) | set(pairs["code_b"]) <= set(stats["code"])
    totals = site.lake.read_table(f"batches/{key}/drive_stats.parquet", DRIVE_STATS).row(0, named=True)
    assert (totals["frames"], totals["events"]) == (drive.frames, events.height)
    shown = site.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey("error_stats"), asset_partitions=[key]), limit=1
    ).records[0].asset_materialization.metadata  # fmt: skip
    assert shown["distance_km"].value == totals["distance_km"] > 0
    page = site.lake.read_bytes(f"batches/{key}/report.html").decode()
    assert drive.vin not in page
    assert "Engine oil pressure" in page
    checks = [e.asset_check_evaluation_data for e in run.all_events if e.event_type_value == "ASSET_CHECK_EVALUATION"]
    assert {c.check_name for c in checks} == {"files_match_manifest", "damaged_share", "stats_add_up", "cites_evidence"}
    assert all(c.passed for c in checks)


def test_the_marker_leaves_the_inbox_only_after_its_tick_was_recorded(site, drives) -> None:
    site.drop(drives["car_healthy"])
    crashed = site.tick(crash=True)
    assert len(site.bucket.list_inbox(limit=9)) == 1
    again = site.tick()
    assert [r.run_key for r in again.run_requests] == [r.run_key for r in crashed.run_requests], (
        "the repeat is the same run"
    )
    assert len(site.bucket.list_inbox(limit=9)) == 1
    site.run(again.run_requests[0])
    assert not site.tick().run_requests
    assert site.bucket.list_inbox(limit=9) == []
    assert len(site.bucket.list_prefix("accepted/car-healthy/")) == 1


def test_one_bad_batch_of_a_range_fails_alone_and_says_why(site, drives) -> None:
    for number in range(3):
        site.drop(drives["car_healthy"], batch_id=f"b{number}")
    name = drives["car_healthy"].files[0].name
    damaged = bytearray(drives["car_healthy"].files[0].read_bytes())
    damaged[1000] ^= 1
    site.bucket.put(f"batches/car-healthy/b1/{name}", bytes(damaged))
    result = site.tick()
    (request,) = result.run_requests
    assert request.tags["dagster/asset_partition_range_start"] == f"{DAY}_car-healthy_b0"
    run = site.run(request)
    assert not run.success
    keys = [f"{DAY}_car-healthy_b{n}" for n in range(3)]
    assert [site.made("batch_report", key) for key in keys] == [1, 0, 1]
    states = partition_states(site.instance, keys)
    assert [states[key][0] for key in keys] == ["completed", "failed", "completed"]
    assert states[keys[1]][1] == "rec_frames"
    bad = result_of(site, "car-healthy", "b1")
    assert (bad.state, bad.reasons[0].kind, bad.reasons[0].file) == ("quarantined", "wrong_sha256", name)
    assert json.loads(site.bucket.read("quarantine/car-healthy/b1/reason.json", max_bytes=10_000))["reasons"]
    status = batch_status(site.instance, site.bucket, keys[1])
    assert name in status.reason
    # The vehicle sends the file again and drops the same manifest: the batch completes.
    site.drop(drives["car_healthy"], batch_id="b1")
    assert [run.success for run in site.tick_and_run()] == [True]
    assert result_of(site, "car-healthy", "b1").state == "completed"


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda b: b.put("inbox/v1/b1.json", b"{not json"), "bad_manifest"),
        (lambda b: b.put("inbox/v1/b1.json", b'{"vehicle_id": "v1"}'), "bad_manifest"),
        (lambda b: b.put("inbox/v_1/b1.json", b"{}"), "bad_key"),
        (lambda b: b.put("inbox/stray.txt", b"?"), "bad_key"),
    ],
)
def test_what_cannot_be_a_manifest_is_set_aside_and_blocks_nobody(site, drives, spoil, kind: str) -> None:
    spoil(site.bucket)
    (marker,) = site.bucket.list_inbox(limit=2)
    raw = site.bucket.read(marker.key, max_bytes=100)
    site.drop(drives["car_healthy"])
    assert len(site.tick().run_requests) == 1
    kept = site.bucket.list_prefix("quarantine/")
    reasons = [json.loads(site.bucket.read(o.key, max_bytes=10_000)) for o in kept if o.key.endswith("/reason.json")]
    assert [r["kind"] for r in reasons[0]["reasons"]] == [kind]
    assert all(reasons[0]["reasons"][0][field] for field in ("file", "expected", "actual", "help"))
    assert site.bucket.read(reasons[0]["manifest"], max_bytes=100) == raw, "nothing that was dropped is lost"
    assert marker.key not in [o.key for o in site.bucket.list_inbox(limit=9)]


def test_a_manifest_before_its_files_is_told_and_can_be_dropped_again(site, drives) -> None:
    site.drop(drives["car_healthy"])
    name = drives["car_healthy"].files[1].name
    whole = site.bucket.read(f"batches/car-healthy/b1/{name}", max_bytes=10**8)
    site.bucket.delete(f"batches/car-healthy/b1/{name}")
    assert not site.tick().run_requests
    result = result_of(site, "car-healthy")
    assert (result.state, result.reasons[0].kind, result.reasons[0].file) == ("quarantined", "missing_file", name)
    (found,) = list_batches(site.instance, site.bucket)
    assert (found.state, found.failed_stage) == (BatchState.FAILED, "vehicle_drop")
    assert name in found.reason
    site.bucket.put(f"batches/car-healthy/b1/{name}", whole)
    site.drop(drives["car_healthy"])
    assert [run.success for run in site.tick_and_run()] == [True]


def test_the_same_manifest_again_changes_nothing_and_a_changed_one_processes_again(site, drives) -> None:
    drive = drives["car_healthy"]
    key = f"{DAY}_car-healthy_b1"
    site.drop(drive)
    site.tick_and_run()
    for _ in range(3):
        site.drop(drive)
        assert not site.tick().run_requests
    assert site.bucket.list_inbox(limit=9) == []
    assert site.made("batch_report", key) == 1
    site.drop(drive, release="2026.11")
    result = site.tick()
    assert [r.partition_key for r in result.run_requests] == [key]
    assert partition_states(site.instance, [key])[key] == (BatchState.UPLOADED, None), "completed → uploaded again"
    (run,) = [site.run(r) for r in result.run_requests]
    assert run.success
    events = timeline(site.instance, key)
    assert [e.event for e in events].count("BatchCreated") == 2
    made = [e for e in events if e.asset == "rec_frames" and e.details.get("recordings_reused") is not None]
    assert [e.details["recordings_reused"] for e in made] == [0, 2], "what was parsed is not parsed again"


def test_a_batch_in_processing_keeps_its_new_manifest_waiting(site, drives) -> None:
    site.drop(drives["car_healthy"])
    (request,) = site.tick().run_requests
    job = dg.Definitions(assets=[batch_assets], resources=site.resources).resolve_implicit_global_asset_job_def()
    queued = site.instance.create_run_for_job(
        job, tags={"dagster/partition": request.partition_key}, status=dg.DagsterRunStatus.STARTED
    )
    site.drop(drives["car_healthy"], release="2026.12")
    assert not site.tick().run_requests
    assert len(site.bucket.list_inbox(limit=9)) == 1
    site.instance.report_run_failed(queued)
    assert len(site.tick().run_requests) == 1


def test_damage_and_unknown_formats_are_rows_and_the_rest_is_processed(site, drives, tmp_path) -> None:
    drive = drives["av_lidar_dropout"]
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "good.mcap").write_bytes(drive.files[0].read_bytes())
    (folder / "cut.mcap").write_bytes(drive.files[1].read_bytes()[: int(drive.files[1].stat().st_size * 0.8)])
    (folder / "notes.txt").write_text("not a recording")
    (folder / "empty.mcap").write_bytes(b"")
    from dataclasses import replace

    site.drop(replace(drive, folder=folder))
    (run,) = site.tick_and_run()
    assert run.success
    key = f"{DAY}_av-lidar-dropout_b1"
    recordings = site.lake.read_table(f"batches/{key}/recordings.parquet", RECORDINGS)
    states = dict(recordings.select("recording", "state").iter_rows())
    assert states == {"good.mcap": "parsed", "cut.mcap": "damaged", "notes.txt": "failed", "empty.mcap": "failed"}
    status = batch_status(site.instance, site.bucket, key)
    assert {r.recording: str(r.state) for r in status.recordings} == {
        "good.mcap": "completed", "cut.mcap": "completed", "notes.txt": "failed", "empty.mcap": "failed",
    }  # fmt: skip
    damaged = [e.asset_check_evaluation_data for e in run.all_events if e.event_type_value == "ASSET_CHECK_EVALUATION"]
    assert [c.passed for c in damaged if c.check_name == "damaged_share"] == [False]
    page = site.lake.read_bytes(f"batches/{key}/report.html").decode()
    assert "unknown_format" in page
    assert "2 of 4 recordings" in page


def test_a_declared_program_reads_its_recordings_and_its_crash_is_one_failed_recording(site, drives, tmp_path) -> None:
    declared = tmp_path / "decoders.toml"
    declared.write_text("""
[[decoder]]
name = "acme"
version = 1
name_pattern = "*.acme"
command = ["sh", "-c", "cp {input} {output_dir}/can.csv && grep -q good {input} || kill -SEGV $$"]
[[decoder.output]]
files = "can.csv"
format = "csv"
table = "frames"
[decoder.output.columns]
timestamp = { column = "good", unit = "s" }
channel = { value = "CAN7" }
arbitration_id = { column = "id", base = "hex" }
payload = "data"
""")
    site.resources["decoders"] = DecodersResource(path=str(declared))
    folder = tmp_path / "drive"
    shutil.copytree(drives["car_healthy"].folder, folder)
    (folder / "a.acme").write_text("good,id,data\n1795000000.5,1F,00ff\n")
    (folder / "b.acme").write_text("bad,id,data\n")
    site.drop(replace(drives["car_healthy"], folder=folder))
    (run,) = site.tick_and_run()
    assert run.success
    rows = site.lake.read_table(f"batches/{DAY}_car-healthy_b1/recordings.parquet", RECORDINGS)
    states = {name: (state, frames) for name, state, frames in rows.select("recording", "state", "frames").iter_rows()}
    assert states["a.acme"] == ("parsed", 1)
    assert states["b.acme"] == ("failed", 0)
    assert {state for name, (state, _) in states.items() if not name.endswith(".acme")} == {"parsed"}
    problems = site.lake.read_table(f"batches/{DAY}_car-healthy_b1/problems.parquet", PROBLEMS)
    assert problems.select("recording", "kind").rows() == [("b.acme", "decoder_failed")]


def test_rules_of_the_fleet_are_in_force_and_named_with_the_events(site, drives, tmp_path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text("""
[[rule]]
code = "MOVING"
kind = "threshold"
topic = "/vehicle/speed"
field = "data"
unit = "km/h"
above = 1
severity = "info"
message = "The vehicle moves"
""")
    site.resources["faults"] = FaultsResource(path=str(path))
    site.drop(drives["av_lidar_dropout"])
    (run,) = site.tick_and_run()
    assert run.success
    key = f"{DAY}_av-lidar-dropout_b1"
    asked = dg.AssetRecordsFilter(asset_key=dg.AssetKey("error_events"), asset_partitions=[key])
    made = site.instance.fetch_materializations(asked, limit=1).records[0].asset_materialization
    assert made is not None
    assert made.metadata["faults_version"].value == load_faults(path).version
    events = site.lake.read_table(f"batches/{key}/error_events.parquet", ERROR_EVENTS)
    moving = events.filter(pl.col("code") == "MOVING")
    assert moving["severity_rule"][0].startswith("rule: MOVING: above 1 km/h (max ")
    assert moving["payload_hex"].str.len_bytes().min() == 2 * 12, "a Float64 in CDR"


def test_a_rerun_of_the_last_stages_reads_what_is_there(site, drives) -> None:
    site.drop(drives["truck_oil_pressure"])
    (request,) = site.tick().run_requests
    site.run(request)
    key = request.partition_key
    run = site.run(request, selection=["diagnosis", "batch_report"])
    assert run.success
    assert [site.made(asset, key) for asset in STAGES] == [1, 1, 1, 2, 2]


def test_batches_are_found_by_what_people_type(site, drives) -> None:
    site.drop(drives["car_healthy"])
    site.tick_and_run()
    key = f"{DAY}_car-healthy_b1"
    assert {find_partition(site.instance, name) for name in (key, "car-healthy/b1", "b1")} == {key}
    assert find_partition(site.instance, "nothing") is None
    (found,) = list_batches(site.instance, site.bucket)
    assert found.to_json()["state"] == "completed"


def test_batches_of_a_run_overlap_and_each_tells_its_own_waterfall(site, drives) -> None:
    for number in range(4):
        site.drop(drives["car_healthy"], batch_id=f"b{number}")
    (request,) = site.tick().run_requests
    assert float(request.tags["argus/estimated_s"]) == pytest.approx(1.2, rel=0.2)
    run = site.run(request)
    assert run.success
    keys = [f"{DAY}_car-healthy_b{n}" for n in range(4)]
    spans = {}
    for key in keys:
        events = timeline(site.instance, key)
        begun = next(e.at for e in events if e.details.get("state") == "scattering")
        spans[key] = (begun, events[-1].at)
        latency = next(e.details["latency"] for e in events if e.asset == "batch_report")
        steps = {s["name"]: s["seconds"] for s in latency["steps"]}
        assert set(steps) == {
            "upload", "tick", "queue", "wait", "parse", "events", "stats", "diagnosis", "report",
        }  # fmt: skip
        assert latency["total_s"] == pytest.approx(sum(s for n, s in steps.items() if n != "upload"))
        assert "From drop to page" in site.lake.read_bytes(f"batches/{key}/report.html").decode()
    first_end = min(end for _, end in spans.values())
    assert sum(begun < first_end for begun, _ in spans.values()) > 1, "the second did not wait for the first"


def test_a_batch_whose_run_will_be_started_again_has_not_failed(site, drives) -> None:
    """Its worker died; Dagster's daemon takes some seconds before it starts the run again."""
    site.drop(drives["car_healthy"])
    (request,) = site.tick().run_requests
    shutil.rmtree(Path(site.bucket.url) / "batches")
    run = site.run(request)
    assert not run.success
    key = request.partition_key

    def state() -> BatchState:
        return partition_states(site.instance, [key])[key][0]

    assert state() is BatchState.FAILED
    site.instance.add_run_tags(run.run_id, {"dagster/will_retry": "true"})
    assert state() is BatchState.UPLOADED
    site.instance.add_run_tags(run.run_id, {"dagster/auto_retry_run_id": "another"})
    assert state() is BatchState.FAILED
