"""The same stages as plain Dagster would have them: five assets, one run for each batch, Dagster's default executor.

What `make bench-throughput` measures Argus against. The sensor lists the inbox, as Argus' does; each asset reads its
inputs from the lake and writes its tables there.
"""

import os
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from argus_assets.assets.ingest import parse_recordings
from argus_assets.assets.open_drive import aggregate_stats, detect_faults
from argus_assets.containment.client import SERVER, share_server
from argus_assets.diagnosis.diagnose import Services
from argus_assets.diagnosis.drive import diagnose_drive
from argus_assets.diagnosis.model import Diagnosis, Evidence
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import BatchRef, parse_inbox_key, parse_partition_key, partition_key
from argus_assets.drop.manifest import Manifest, parse_manifest
from argus_assets.drop.results import BatchResult, write_result
from argus_assets.faults.schema import BUS_STATS, ERROR_EVENTS
from argus_assets.lake.store import Lake
from argus_assets.recordings.schema import PROBLEMS, RECORDINGS
from argus_assets.report.drive import render_drive
from argus_assets.stats.schema import CODE_PAIRS, DRIVE_STATS, ERROR_STATS, SPEED

PARTITIONS = dg.DynamicPartitionsDefinition(name="plain")
TABLES = {
    "recordings": RECORDINGS, "problems": PROBLEMS, "error_events": ERROR_EVENTS, "bus_stats": BUS_STATS,
    "error_stats": ERROR_STATS, "code_pairs": CODE_PAIRS, "drive_stats": DRIVE_STATS, "speed": SPEED,
}  # fmt: skip

if (
    SERVER not in os.environ
):  # the code server, whose children the runs are: one server of readers for all, as Argus has
    share_server()


class Batch:
    """One partition: its manifest and its tables."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.bucket = Bucket.from_url(os.environ["ARGUS_BUCKET_URL"])
        self.lake = Lake.from_url(os.environ["ARGUS_LAKE_URL"])
        ref = parse_partition_key(key)
        assert ref is not None
        raw = self.bucket.read(f"inbox/{ref.vehicle_id}/{ref.batch_id}.json", max_bytes=2**24)
        self.manifest: Manifest = parse_manifest(raw, vehicle_id=ref.vehicle_id, batch_id=ref.batch_id)

    def table(self, name: str) -> Any:
        return self.lake.read_table(f"batches/{self.key}/{name}.parquet", TABLES[name])

    def save(self, name: str, frame: Any) -> None:
        self.lake.write_table(f"batches/{self.key}/{name}.parquet", frame, TABLES[name])


@dg.asset(partitions_def=PARTITIONS)
def rec_frames(context: dg.AssetExecutionContext) -> None:
    batch = Batch(context.partition_key)
    parsed = parse_recordings(batch.manifest, bucket=batch.bucket, lake=batch.lake, workers=os.cpu_count() or 1)
    batch.save("recordings", parsed.recordings)
    batch.save("problems", parsed.problems)


@dg.asset(partitions_def=PARTITIONS, deps=[rec_frames])
def error_events(context: dg.AssetExecutionContext) -> None:
    batch = Batch(context.partition_key)
    found = detect_faults(batch.table("recordings"), lake=batch.lake)
    batch.save("error_events", found.events)
    batch.save("bus_stats", found.buses)


@dg.asset(partitions_def=PARTITIONS, deps=[error_events])
def error_stats(context: dg.AssetExecutionContext) -> None:
    batch = Batch(context.partition_key)
    made = aggregate_stats(
        batch.table("error_events"), batch.table("recordings"), lake=batch.lake, buses=batch.table("bus_stats")
    )
    for name, frame in (
        ("error_stats", made.error_stats), ("code_pairs", made.pairs), ("drive_stats", made.totals), ("speed", made.speed),
    ):  # fmt: skip
        batch.save(name, frame)


@dg.asset(partitions_def=PARTITIONS, deps=[error_stats])
def diagnosis(context: dg.AssetExecutionContext) -> None:
    batch = Batch(context.partition_key)
    names = ("recordings", "problems", "error_events", "error_stats", "code_pairs")
    evidence, answer = diagnose_drive(
        batch.manifest,
        batch.key,
        digest="plain",
        tables={name: batch.table(name) for name in names},
        services=Services(catalogue=load_catalogue()),
        now=datetime.now(UTC),
    )
    batch.lake.write_bytes(f"batches/{batch.key}/evidence.json", evidence.model_dump_json().encode())
    batch.lake.write_bytes(f"batches/{batch.key}/diagnosis.json", answer.model_dump_json().encode())


@dg.asset(partitions_def=PARTITIONS, deps=[diagnosis])
def batch_report(context: dg.AssetExecutionContext) -> None:
    batch = Batch(context.partition_key)
    answer = Diagnosis.model_validate_json(batch.lake.read_bytes(f"batches/{batch.key}/diagnosis.json"))
    page = render_drive(
        batch.manifest,
        batch.key,
        tables={name: batch.table(name) for name in TABLES if name != "bus_stats"},
        evidence=Evidence.model_validate_json(batch.lake.read_bytes(f"batches/{batch.key}/evidence.json")),
        diagnosis=answer,
    )
    batch.lake.write_bytes(f"batches/{batch.key}/report.html", page.encode())
    write_result(
        batch.bucket,
        BatchResult(
            vehicle_id=batch.manifest.vehicle_id,
            batch_id=batch.manifest.batch_id,
            partition_key=batch.key,
            manifest_digest="plain",
            state="completed",
            at=datetime.now(UTC),
        ),
    )


job = dg.define_asset_job("plain_job", selection="*")


@dg.sensor(job=job, minimum_interval_seconds=5, default_status=dg.DefaultSensorStatus.RUNNING)
def inbox_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    bucket = Bucket.from_url(os.environ["ARGUS_BUCKET_URL"])
    keys: list[str] = []
    last = context.cursor
    for marker in bucket.list_inbox(limit=1000, start_after=context.cursor or ""):
        ref: BatchRef | None = parse_inbox_key(marker.key)
        assert ref is not None
        raw = bucket.read(marker.key, max_bytes=2**24)
        found = parse_manifest(raw, vehicle_id=ref.vehicle_id, batch_id=ref.batch_id)
        keys.append(partition_key(found.recorded_from, ref.vehicle_id, ref.batch_id))
        last = marker.key
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=key, partition_key=key) for key in keys],
        dynamic_partitions_requests=[PARTITIONS.build_add_request(keys)] if keys else [],
        cursor=last,
    )


defs = dg.Definitions(
    assets=[rec_frames, error_events, error_stats, diagnosis, batch_report], jobs=[job], sensors=[inbox_sensor]
)
