"""The figures that Prometheus gets, read by its own parser and held against batches that really ran."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, SensorInstigatorData
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from argus_assets import metrics_collector as figures
from argus_assets.adapters.postgres.database import Database
from argus_assets.adapters.postgres.ledger import PostgresLedger
from argus_assets.adapters.postgres.outbox import Outbox
from argus_assets.cli import root
from argus_assets.cli.metrics import registry_of
from argus_assets.metrics_collector import EventReader, MetricsCollector
from argus_assets.monitoring.metrics import FAILURE_KINDS
from argus_assets.schedules.reconcile_bucket import run_pass
from argus_assets.sensors.stale_uploads import report_stale_uploads

pytestmark = pytest.mark.wiring


def watcher(site, database_url):
    database = Database(database_url)
    ledger = PostgresLedger(database, daily_tokens=1000)
    return MetricsCollector(
        site.instance, site.bucket, site.lake, ledger, Outbox(database), retain_days=90, interval_s=5
    )


def scrape(watched):
    """Samples by (name, labels), as Prometheus reads them."""
    text = generate_latest(registry_of(watched)).decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_figures_are_those_of_the_batches(site, drives, argus_database_url, monkeypatch):
    monkeypatch.setattr(figures, "CACHE_S", 0.0)
    monkeypatch.setattr(figures, "SLOW_CACHE_S", 0.0)
    watched = watcher(site, argus_database_url)
    empty = scrape(watched)
    assert empty["argus_frames_total",] == empty["argus_batches_completed_total",] == 0
    assert empty["argus_batches", ("state", "completed")] == 0
    assert empty["argus_failures_total", ("kind", "crashed")] == 0

    truck, car = drives["truck_oil_pressure"], drives["car_healthy"]
    site.drop(truck)
    site.drop(car)
    waiting = scrape(watched)
    assert waiting["argus_inbox_markers",] == 2
    assert 0 < waiting["argus_oldest_waiting_seconds",] < 60

    site.tick_and_run()
    site.tick()  # the next look clears the inbox of what was taken
    done = scrape(watched)
    results = [site.bucket.read(f"results/{d.vehicle_id}/b1.json", max_bytes=10**7) for d in (truck, car)]
    frames = sum(json.loads(raw)["frames"] for raw in results)
    size = sum(p.stat().st_size for d in (truck, car) for p in d.folder.iterdir() if p.suffix != ".json")
    assert done["argus_frames_total",] == frames > 0
    assert done["argus_recordings_total",] == 4
    assert done["argus_recorded_bytes_total",] == size
    assert done["argus_batches", ("state", "completed")] == done["argus_batches_completed_total",] == 2
    assert done["argus_runs", ("status", "success")] == 1
    assert done["argus_inbox_markers",] == done["argus_oldest_waiting_seconds",] == 0
    assert done["argus_latency_seconds_count",] == done["argus_latency_seconds_bucket", ("le", "+Inf")] == 2
    assert done["argus_latency_seconds_sum",] > 0
    assert done["argus_step_seconds_total", ("step", "parse")] > 0

    # One with a file that is not there, one whose object changes between manifest and run.
    site.drop(truck, batch_id="b2")
    site.drop(truck, batch_id="b3")
    broken = site.bucket.list_prefix("batches/truck-oil-pressure/b2/")[0].key
    site.bucket.delete(broken)
    tick = site.tick()
    spoilt = site.bucket.list_prefix("batches/truck-oil-pressure/b3/")[0]
    site.bucket.put(spoilt.key, b"x" * spoilt.size)
    taken = scrape(watched)
    assert taken["argus_batches", ("state", "uploaded")] == 1
    assert 0 < taken["argus_oldest_waiting_seconds",] < 60
    for request in tick.run_requests:
        site.run(request)
    failed = scrape(watched)
    assert failed["argus_failures_total", ("kind", "quarantined")] == 2
    assert sum(failed["argus_failures_total", ("kind", kind)] for kind in FAILURE_KINDS) == 2
    assert failed["argus_batches", ("state", "failed")] == 1
    assert failed["argus_quarantined_batches",] == 2

    for before, after in ((empty, done), (done, failed)):
        for key, value in before.items():
            if key[0].endswith(("_total", "_bucket", "_count", "_sum")):
                assert after[key] >= value, key

    # A counter of a running reader does not fall when Dagster's retention deletes what it counted.
    for run in site.instance.get_runs():
        site.instance.delete_run(run.run_id)
    assert scrape(watched)["argus_frames_total",] == failed["argus_frames_total",]
    assert EventReader(site.instance).read().frames == 0


def test_a_file_for_node_exporter_tells_the_last_passes_of_upkeep(site, drives, tmp_path, monkeypatch):
    monkeypatch.setenv("ARGUS_BUCKET_URL", site.bucket.url)
    monkeypatch.setenv("ARGUS_LAKE_URL", str(tmp_path / "lake"))
    monkeypatch.setenv("ARGUS_HOME", str(tmp_path / "home"))
    site.bucket.put("batches/some-car/b9/1.mf4", b"x" * 10)
    report_stale_uploads(None, site.bucket, site.lake, quiet=timedelta(seconds=-1), at=datetime.now(UTC))
    begun = time.time()
    run_pass(site.instance, site.bucket, site.lake, retain=timedelta(days=1))
    path = tmp_path / "argus.prom"
    assert CliRunner().invoke(root, ["metrics", "--once", "--file", str(path)]).exit_code == 0
    assert [p.name for p in tmp_path.glob("argus.prom*")] == ["argus.prom"]
    found = {s.name: s.value for f in text_string_to_metric_families(path.read_text()) for s in f.samples}
    assert (found["argus_stale_uploads"], found["argus_stale_upload_bytes"]) == (1, 10)
    assert found["argus_last_reconcile_timestamp_seconds"] == pytest.approx(begun, abs=60)
    assert found["argus_reconcile_put_back"] == 0
    assert "argus_last_retain_timestamp_seconds" not in found


def test_an_event_that_is_committed_late_is_counted_once(site, drives):
    site.drop(drives["car_healthy"])
    site.tick_and_run()
    reader = EventReader(site.instance)
    whole = reader.read().frames
    assert reader.read().frames == whole > 0
    # As if the transactions with smaller ids had ended only now.
    late = EventReader(site.instance, cursor=reader.cursor)
    assert late.read().frames == whole


def test_ages_of_ticks_and_heartbeats(site, argus_database_url, monkeypatch):
    from dagster._core.definitions.run_request import InstigatorType
    from dagster._core.remote_origin import (
        RegisteredCodeLocationOrigin,
        RemoteInstigatorOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._daemon.types import DaemonHeartbeat

    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("argus"), "__repository__"), "completed_batches_sensor"
    )
    ticked = time.time() - 100
    site.instance.add_instigator_state(
        InstigatorState(
            origin,
            InstigatorType.SENSOR,
            InstigatorStatus.RUNNING,
            SensorInstigatorData(last_tick_timestamp=ticked, last_tick_start_timestamp=ticked, min_interval=5),
        )
    )
    site.instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - 50, "SENSOR", None, []))
    found = scrape(watcher(site, argus_database_url))
    assert found[
        "argus_last_tick_age_seconds", ("name", "completed_batches_sensor"), ("type", "sensor")
    ] == pytest.approx(100, abs=20)
    assert found["argus_daemon_heartbeat_age_seconds", ("daemon", "SENSOR")] == pytest.approx(50, abs=20)


def test_a_source_that_is_away_is_told_and_not_zero(site, drives, argus_database_url, tmp_path):
    watched = watcher(site, argus_database_url.replace("/t_", "/nobody_"))
    found = scrape(watched)
    assert found["argus_source_up", ("source", "budget")] == found["argus_source_up", ("source", "outbox")] == 0
    assert found["argus_source_up", ("source", "records")] == 1
    assert ("argus_tokens_limit",) not in found
