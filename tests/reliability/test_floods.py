"""Ten thousand manifests at once: ticks stay short, and each batch is requested once."""

import shutil
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import dagster as dg
import pytest
from conftest import fresh_bucket
from reliability_report import Report

from argus_assets.assets.batch import vehicle_drop
from argus_assets.drop.keys import inbox_key, recording_key
from argus_assets.drop.manifest import Manifest, ManifestFile
from argus_assets.embedded.platform import dagster_yaml
from argus_assets.embedded.s3 import S3Server
from argus_assets.partitions import BATCHES, RANGE_END, RANGE_START
from argus_assets.resources.lake import Lake
from argus_assets.sensors.completed_batches import take_completed_batches

pytestmark = [pytest.mark.reliability, pytest.mark.reliability_full, pytest.mark.timeout(3000)]

MARKERS = 10_000
GRPC_LIMIT_S = 60.0
"""Dagster gives up on a tick after so long."""


def test_ten_thousand_manifests_at_once(
    moto_server: S3Server, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: Report
) -> None:
    with report.scenario(61, f"{MARKERS:,} manifests in the inbox at once", "planning, on S3 and PostgreSQL") as row:
        bucket = fresh_bucket(moto_server, "flood")
        lake = Lake.from_url(str(tmp_path / "lake"))
        content = b"not a recording"
        start = datetime(2026, 11, 1, tzinfo=UTC)

        def drop(number: int) -> None:
            vehicle, batch = f"v{number % 97:02d}", f"b{number:05d}"
            bucket.put(recording_key(vehicle, batch, "a.bin"), content)
            manifest = Manifest(
                vehicle_id=vehicle,
                vin="1M8GDM9AXKP042788",
                batch_id=batch,
                release="1",
                platform="rig",
                recorded_from=start + timedelta(minutes=number),
                recorded_to=start + timedelta(minutes=number, seconds=12),
                files=(ManifestFile(name="a.bin", size=len(content), sha256=sha256(content).hexdigest()),),
            )
            bucket.put(inbox_key(vehicle, batch), manifest.model_dump_json().encode())

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(drop, range(MARKERS)))

        home = tmp_path / "dagster"
        home.mkdir()
        shutil.copy(dagster_yaml(), home / "dagster.yaml")
        monkeypatch.setenv("ARGUS_DATABASE_URL", database_url)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            cursor: str | None = None
            planning: list[float] = []
            recording: list[float] = []
            requested: dict[str, int] = {}
            requests = 0
            while bucket.list_inbox(limit=1):
                began = time.perf_counter()
                result = take_completed_batches(instance, cursor, bucket, lake)
                planned = time.perf_counter()
                for event in result.asset_events or ():
                    instance.report_runless_asset_event(event)
                for request in result.dynamic_partitions_requests or ():
                    instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
                cursor = result.cursor
                order = instance.get_dynamic_partitions(BATCHES)
                for run in result.run_requests or ():
                    requests += 1
                    first = run.tags.get(RANGE_START) or run.partition_key
                    last = run.tags.get(RANGE_END) or run.partition_key
                    for key in order[order.index(first) : order.index(last) + 1]:
                        requested[key] = requested.get(key, 0) + 1
                planning.append(planned - began)
                recording.append(time.perf_counter() - planned)
                assert len(planning) < MARKERS / 50, "the inbox does not empty"
            assert len(requested) == MARKERS
            assert set(requested.values()) == {1}, "each batch is requested once"
            taken = instance.get_materialized_partitions(vehicle_drop.key)
            assert len(taken) == MARKERS
        assert max(planning) < GRPC_LIMIT_S, "Dagster would have given up on the tick"
        row.batches = MARKERS
        row.happened = (
            f"{len(planning)} ticks, {requests} runs requested; a tick plans in {statistics.median(planning):.1f} s "
            f"(longest {max(planning):.1f} s) and is recorded in {statistics.median(recording):.1f} s "
            f"(longest {max(recording):.1f} s)"
        )
        row.recovered_s = sum(planning) + sum(recording)
        row.equal = "not run"
