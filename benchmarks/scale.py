"""What thousands of live partitions cost, measured up to 20,000, and what that means for 1,000 to 100,000 batches a day.

Twenty real batches go through sensor and run. Their rows in PostgreSQL are copied, under other keys, until there are
as many partitions as wanted: the same bytes and the same indexes, without the days of computing. Then everything that
looks at all partitions is measured. Runs PostgreSQL, and moto for the listing. Usage:

    python -m benchmarks.scale [--sizes 1000 5000 20000] [--to docs]
"""

import argparse
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import dagster as dg
import psycopg2

from argus_assets.adapters.postgres.database import Database
from argus_assets.assets.batch_assets import batch_assets
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import BatchRef
from argus_assets.drop.manifest import ManifestFile
from argus_assets.drop.upload import drop_manifest
from argus_assets.event_log.states import partition_states
from argus_assets.lake.store import Lake
from argus_assets.maintenance.retention import CHUNK, Policy, retain
from argus_assets.partitions import BATCHES, IN_FLIGHT, RANGE_END, RANGE_START, batches, partitions_in_flight
from argus_assets.resources.bucket import BucketResource
from argus_assets.resources.capacity import CapacityResource
from argus_assets.resources.decoders import DecodersResource
from argus_assets.resources.diagnosis import DiagnosisResource
from argus_assets.resources.faults import FaultsResource
from argus_assets.resources.lake import LakeResource
from argus_assets.runtime.connection import dagster_yaml
from argus_assets.runtime.embedded.postgres import EmbeddedPostgres
from argus_assets.runtime.embedded.s3 import s3_server
from argus_assets.schedules.reconcile_bucket import known_batches
from argus_assets.schedules.rerun_failed_batches import find_failed
from argus_assets.schedules.retain import retention_store
from argus_assets.sensors.completed_batches import take_completed_batches
from argus_assets.sensors.crashed_runs import CrashedRunsCursor, write_missing_results
from argus_assets.simulate.drop import drive_manifest, drop_drive
from argus_assets.simulate.fleet import Drive, simulate_drive
from argus_assets.status import list_batches
from benchmarks.machine import describe_machine, table

CPU_S_A_BATCH: Final = 0.6
"""Input of the model: CPU seconds of one small batch, start of its share of a run included. Measured by
`make bench-throughput`: 0.34 to 1.1, by the length of the drive and the batches in a run."""

BATCHES_A_RUN: Final = 20
"""Input of the model: of a platform that is busy, 60 s of work at some seconds of work each; also of the template."""

BUSY: Final = 0.6
"""Input of the model: share of the cores that is used on average, so that the day's peaks fit."""

TICK_S: Final = 5
RETAIN_DAYS: Final = 90
MOST_BATCHES: Final = 20_000
USD_A_1000_LISTS: Final = 0.005
"""Input of the model: LIST, PUT and COPY of S3 Standard; GET and HEAD cost `USD_A_1000_GETS`."""

USD_A_1000_GETS: Final = 0.0004
RATES: Final = (1_000, 10_000, 100_000)
WAITING: Final = 100
IN_FLIGHT_RUNS: Final = 20
LISTED: Final = 3_000
REMOVED: Final = 1_000
SECONDS: Final = 12.0
TOKEN: Final = "c00000"
VEHICLE: Final = "car-1"
MIB: Final = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 5_000, 20_000])
    parser.add_argument("--to", type=Path, help="folder of scale.md, whose measured parts are replaced")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="argus-scale-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        with EmbeddedPostgres(home / "postgres") as url:
            os.environ["ARGUS_DATABASE_URL"] = url
            dagster_home = home / "dagster"
            dagster_home.mkdir()
            shutil.copy(dagster_yaml(), dagster_home / "dagster.yaml")
            with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
                bench = _Bench(home, instance, url)
                measured = [bench.measure(size, last=size == options.sizes[-1]) for size in options.sizes]
                content = bench.content
        requests, listing = _on_s3(home)
    text = _measured_text(measured, content, requests, listing)
    model = _model_text(measured[-1], content, requests)
    print(f"{text}\n\n{model}")
    if options.to:
        _plot(measured, options.to / "images" / "scale.svg")
        _replace(options.to / "scale.md", {"measured": text, "model": model})


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _seconds(action: Callable[[], object], times: int = 3) -> float:
    found: list[float] = []
    for _ in range(times):
        started = time.perf_counter()
        action()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


@dataclass
class Content:
    """What one batch leaves in the database."""

    rows: dict[str, float] = field(default_factory=dict)
    rows_a_run: float = 0.0
    bytes_a_batch: float = 0.0
    tables: list[list[str]] = field(default_factory=list)


@dataclass
class Measured:
    """Seconds at a number of live partitions, by what was done."""

    live: int
    seconds: dict[str, float]
    database_bytes: int


# ---------------------------------------------------------------------------------------------- real batches


def _drive(folder: Path) -> Drive:
    return simulate_drive(
        folder, scenario="truck_oil_pressure", seed=5, vehicle_id=VEHICLE, vin="1M8GDM9AXKP042788", release="2026.10",
        batch_id="b", started_ns=1_795_000_000 * 10**9, seconds=SECONDS, files=2,
    )  # fmt: skip


def _drop(bucket: Bucket, drive: Drive, batch_id: str) -> None:
    drop_drive(bucket, replace(drive, batch_id=batch_id))


class _Site:
    """A bucket, a lake and an instance, with the daemon's part of a tick and of a run."""

    def __init__(self, instance: dg.DagsterInstance, bucket_url: str, home: Path, database_url: str) -> None:
        self.instance = instance
        self.bucket = Bucket.from_url(bucket_url)
        self.lake = Lake.from_url(str(home / "lake"))
        self.cursor: str | None = None
        self.resources = {
            "bucket": BucketResource(url=bucket_url),
            "lake": LakeResource(url=str(home / "lake")),
            "decoders": DecodersResource(),
            "faults": FaultsResource(),
            "capacity": CapacityResource(),
            "diagnostician": DiagnosisResource(database_url=database_url, home=str(home / "argus")),
        }

    def tick(self) -> dg.SensorResult:
        return take_completed_batches(self.instance, self.cursor, self.bucket, self.lake)

    def record(self, result: dg.SensorResult) -> None:
        for request in result.dynamic_partitions_requests or ():
            self.instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        self.cursor = result.cursor

    def tick_and_run(self) -> None:
        result = self.tick()
        self.record(result)
        for request in result.run_requests or ():
            done = dg.materialize(
                [batch_assets],
                instance=self.instance,
                resources=self.resources,
                tags=dict(request.tags),
                partition_key=request.partition_key,
            )
            assert done.success
        self.record(self.tick())


class _Bench:
    def __init__(self, home: Path, instance: dg.DagsterInstance, url: str) -> None:
        self.instance = instance
        self.database = Database(url)
        self.connection = psycopg2.connect(self.database.url)
        self.connection.autocommit = True
        (home / "bucket").mkdir()
        self.site = _Site(instance, str(home / "bucket"), home, url)
        self.drive = _drive(home / "drive")
        _say(f"{BATCHES_A_RUN} real batches")
        empty = self._size()
        for number in range(BATCHES_A_RUN):
            _drop(self.site.bucket, self.drive, f"{TOKEN}-{number:02d}")
        self.site.tick_and_run()
        self.clones = 0
        self.empty_bytes = empty
        self.content = Content()
        self._template()

    def _query(self, text: str, values: object = None) -> list[tuple]:
        with self.connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    def _size(self) -> int:
        return self._query("SELECT pg_database_size(current_database())")[0][0]

    def _template(self) -> None:
        first, last = self._query("SELECT min(id), max(id) FROM event_logs")[0]
        (run_id,) = self._query("SELECT run_id FROM runs")[0]
        self.values = {"first": first, "stride": last - first + 1, "run": run_id, "token": TOKEN, "batches": BATCHES}
        results = [self.site.bucket.path(f"results/{VEHICLE}/{TOKEN}-{n:02d}.json") for n in range(BATCHES_A_RUN)]
        self.results = [Path(path).read_text() for path in results]
        rows = self._query(
            "SELECT count(*) FILTER (WHERE partition IS NOT NULL OR dagster_event_type = 'ASSET_CHECK_EVALUATION'), "
            "count(*) FROM event_logs"
        )[0]
        others = {
            name: self._query(f"SELECT count(*) FROM {name}")[0][0] / BATCHES_A_RUN
            for name in ("asset_event_tags", "asset_check_executions")
        }
        self.content.rows = {"event_logs": rows[0] / BATCHES_A_RUN, **others}
        self.content.rows_a_run = rows[1] - rows[0]

    def grow(self, size: int) -> None:
        """Copy the rows of the real run until there are so many partitions."""
        wanted = size // BATCHES_A_RUN - 1
        if wanted <= self.clones:
            return
        _say(f"copies for {size:,} partitions")
        (base,) = self._query("SELECT max(id) + 1 FROM event_logs")[0]
        values = {**self.values, "from": self.clones + 1, "to": wanted, "base": base}
        number = "generate_series(%(from)s, %(to)s) AS k"
        run = "md5('run' || k)::uuid::text"
        name = "'c' || to_char(k, 'FM00000')"
        text = f"replace(replace({{}}, %(run)s, {run}), %(token)s, {name})"
        shifted = "{} - %(first)s + %(base)s + (k - %(from)s) * %(stride)s"
        mine = "id BETWEEN %(first)s AND %(first)s + %(stride)s - 1"
        for statement in (
            (
                f"INSERT INTO runs (run_id, snapshot_id, pipeline_name, mode, status, run_body, partition, partition_set, "
                f"create_timestamp, update_timestamp, start_time, end_time) SELECT {run}, snapshot_id, pipeline_name, mode, "
                f"status, {text.format('run_body')}, partition, partition_set, create_timestamp, update_timestamp, "
                f"start_time, end_time FROM runs, {number} WHERE run_id = %(run)s"
            ),
            (
                f"INSERT INTO run_tags (run_id, key, value) SELECT {run}, key, {text.format('value')} "
                f"FROM run_tags, {number} WHERE run_id = %(run)s"
            ),
            (
                f"INSERT INTO event_logs (id, run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition) "
                f"SELECT {shifted.format('id')}, CASE run_id WHEN '' THEN '' ELSE {run} END, {text.format('event')}, "
                f"dagster_event_type, timestamp + k * interval '10 seconds', step_key, asset_key, "
                f"{text.format('partition')} "
                f"FROM event_logs, {number} WHERE {mine} ORDER BY k, id"
            ),
            (
                f"INSERT INTO asset_event_tags (event_id, asset_key, key, value, event_timestamp) SELECT "
                f"{shifted.format('event_id')}, asset_key, key, value, event_timestamp FROM asset_event_tags, {number} "
                f"WHERE event_{mine}"
            ),
            (
                f"INSERT INTO asset_check_executions (asset_key, check_name, partition, run_id, execution_status, "
                f"evaluation_event, evaluation_event_timestamp, evaluation_event_storage_id, "
                f"materialization_event_storage_id) SELECT asset_key, check_name, {text.format('partition')}, {run}, "
                f"execution_status, {text.format('evaluation_event')}, evaluation_event_timestamp, "
                f"{shifted.format('evaluation_event_storage_id')}, {shifted.format('materialization_event_storage_id')} "
                f"FROM asset_check_executions, {number} WHERE run_id = %(run)s"
            ),
            (
                f"INSERT INTO dynamic_partitions (partitions_def_name, partition) SELECT partitions_def_name, "
                f"{text.format('partition')} FROM dynamic_partitions, {number} "
                f"WHERE partitions_def_name = %(batches)s AND partition LIKE '%%' || %(token)s || '%%' ORDER BY k, id"
            ),
        ):
            self._query(statement, values)
        self._query("SELECT setval(pg_get_serial_sequence('event_logs', 'id'), (SELECT max(id) FROM event_logs))")
        self._query("VACUUM ANALYZE")
        for clone in range(self.clones + 1, wanted + 1):
            for batch in range(BATCHES_A_RUN):
                ref = BatchRef(VEHICLE, f"c{clone:05d}-{batch:02d}")
                path = Path(self.site.bucket.path(f"results/{ref.vehicle_id}/{ref.batch_id}.json"))
                path.write_text(self.results[batch].replace(f"{TOKEN}-{batch:02d}", ref.batch_id))
        self.clones = wanted

    # ------------------------------------------------------------------------------------------ measured

    def measure(self, size: int, *, last: bool) -> Measured:
        self.grow(size)
        database_bytes = self._size()
        self.content.bytes_a_batch = (database_bytes - self.empty_bytes) / size
        self.content.tables = [
            [name, f"{self._query(f'SELECT count(*) FROM {name}')[0][0] / size:.1f}", f"{size_bytes / size / 1024:.1f}"]
            for name, size_bytes in self._query(
                "SELECT relname, pg_total_relation_size(relid) FROM pg_stat_user_tables "
                "WHERE schemaname = 'public' AND n_live_tup > 0 ORDER BY 2 DESC LIMIT 6"
            )
        ]
        _say(f"measure at {size:,}: {database_bytes / MIB:,.0f} MiB")
        instance, site = self.instance, self.site
        keys = instance.get_dynamic_partitions(BATCHES)
        assert len(keys) == size
        found: dict[str, float] = {}
        found["all partition keys read"] = _seconds(lambda: instance.get_dynamic_partitions(BATCHES))
        found["sensor tick, inbox empty"] = _seconds(site.tick)
        found.update(self._with_waiting())
        found.update(self._in_flight(keys))
        found["states of all batches"] = _seconds(lambda: partition_states(instance, keys))
        found["`argus status`, outcomes in a folder"] = _seconds(lambda: list_batches(instance, site.bucket), 1)
        found["reconcile: what Dagster knows"] = _seconds(lambda: known_batches(instance), 1)
        found.update(self._ended_runs(keys))
        now = datetime.now(UTC)
        found["rerun_failed_batches: one look"] = _seconds(
            lambda: find_failed(instance, keys, since=now - timedelta(days=7))
        )
        found.update(self._status(keys))
        found["run of one batch that was parsed before"] = self._lone_run(size)
        found.update(self._retention(size, remove=min(REMOVED, size // 400 * 200) if last else 0))
        return Measured(size, found, database_bytes)

    def _with_waiting(self) -> dict[str, float]:
        site = self.site
        files = (ManifestFile(name="a.mf4", size=1, sha256="0" * 64),)
        names = [f"waiting-{number:03d}" for number in range(WAITING)]
        for name in names:
            site.bucket.put(f"batches/{VEHICLE}/{name}/a.mf4", b"x")
            drop_manifest(site.bucket, drive_manifest(replace(self.drive, batch_id=name), files))
        tick_s = _seconds(site.tick)
        result = site.tick()
        added = [key for r in result.dynamic_partitions_requests for key in r.partition_keys]
        assert len(added) == WAITING
        add_s = _seconds(lambda: self.instance.add_dynamic_partitions(BATCHES, added), 1)
        events = list(result.asset_events)
        event_s = _seconds(lambda: [self.instance.report_runless_asset_event(e) for e in events], 1)
        evaluated = _seconds(lambda: self.instance.get_dynamic_partitions_definition_id(BATCHES))
        for key in added:
            self.instance.delete_dynamic_partition(BATCHES, key)
        for name in names:
            site.bucket.delete(f"inbox/{VEHICLE}/{name}.json")
            site.bucket.delete(f"batches/{VEHICLE}/{name}/a.mf4")
        self._query("DELETE FROM event_logs WHERE run_id = '' AND partition LIKE '%%_waiting-%%'", ())
        return {
            f"sensor tick, {WAITING} waiting": tick_s,
            f"  its {WAITING} partitions added": add_s,
            f"  its {WAITING} events written": event_s,
            "hash of all keys, for the UI's cache": evaluated,
        }

    def _add_runs(self, keys: Sequence[str], status: dg.DagsterRunStatus, count: int) -> list[str]:
        ids: list[str] = []
        for number in range(count):
            ends = keys[-(number + 1) * 10 - 1], keys[-number * 10 - 1]
            run = dg.DagsterRun(
                job_name="batch_job", status=status, tags=dict(zip((RANGE_START, RANGE_END), ends, strict=True))
            )
            ids.append(self.instance.add_run(run).run_id)
        return ids

    def _in_flight(self, keys: Sequence[str]) -> dict[str, float]:
        ids = self._add_runs(keys, dg.DagsterRunStatus.STARTED, IN_FLIGHT_RUNS)
        mended = _seconds(lambda: partitions_in_flight(self.instance, keys))
        searched = _seconds(lambda: _in_flight_by_search(self.instance, keys))
        assert partitions_in_flight(self.instance, keys) == _in_flight_by_search(self.instance, keys)
        for run_id in ids:
            self.instance.delete_run(run_id)
        return {
            f"partitions_in_flight, {IN_FLIGHT_RUNS} runs": mended,
            "  the same with list.index": searched,
        }

    def _ended_runs(self, keys: Sequence[str]) -> dict[str, float]:
        before = datetime.now(UTC)
        ids = self._add_runs(keys, dg.DagsterRunStatus.FAILURE, IN_FLIGHT_RUNS)
        now = datetime.now(UTC) + timedelta(minutes=1)
        cursor = CrashedRunsCursor(updated_at=before.timestamp() - 1).model_dump_json()
        seconds = _seconds(lambda: write_missing_results(self.instance, cursor, self.site.bucket, now=now))
        for run_id in ids:
            self.instance.delete_run(run_id)
        return {f"lost_outcomes, {IN_FLIGHT_RUNS} ended runs": seconds}

    def _status(self, keys: Sequence[str]) -> dict[str, float]:
        asset = dg.AssetKey("batch_report")

        def look() -> None:
            self.instance.get_status_by_partition(asset, keys, batches)

        def cold() -> None:
            self.instance.wipe_asset_cached_status([asset])
            look()

        return {"status of an asset's partitions, cold": _seconds(cold), "  the same, cached": _seconds(look)}

    def _lone_run(self, size: int) -> float:
        _drop(self.site.bucket, self.drive, f"lone-{size}")
        result = self.site.tick()
        self.site.record(result)
        (request,) = result.run_requests

        def run() -> None:
            done = dg.materialize(
                [batch_assets],
                instance=self.instance,
                resources=self.site.resources,
                tags=dict(request.tags),
                partition_key=request.partition_key,
            )
            assert done.success

        run()
        seconds = _seconds(run)
        self.site.record(self.site.tick())
        self.instance.delete_dynamic_partition(BATCHES, request.partition_key)
        return seconds

    def _retention(self, size: int, *, remove: int) -> dict[str, float]:
        """The look at all, and the removal of some: these are the last ones, and are copied again by nobody."""
        records = retention_store(self.instance, self.database, self.site.bucket, self.site.lake)
        later = datetime.now(UTC) + timedelta(hours=6)
        look = _seconds(
            lambda: retain(
                records, self.site.bucket, policy=Policy(max_batches=size), now=later, dry_run=True
            ),
            1,
        )  # fmt: skip
        if not remove:
            return {"retention: look, nothing due": look}
        oldest = sorted(records.live_batches(), key=lambda b: (b.since, b.partition))[:remove]
        chunks = [oldest[start : start + CHUNK] for start in range(0, remove, CHUNK)]
        removed = _seconds(lambda: records.delete_batches(chunks.pop()), len(chunks)) / CHUNK
        runs = records.old_runs(before=later, ended_before=later, deleted=[])
        run_s = _seconds(lambda: records.delete_run(runs.pop().run_id), 10)
        return {
            "retention: look, nothing due": look,
            "retention: a batch removed": removed,
            f"retention: a run of {BATCHES_A_RUN} removed": run_s,
        }


def _in_flight_by_search(instance: dg.DagsterInstance, existing: Sequence[str]) -> set[str]:
    """As it is done without positions: each run looks through all keys, four times."""
    keys: set[str] = set()
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=list(IN_FLIGHT))):
        first, last = run.tags.get(RANGE_START), run.tags.get(RANGE_END)
        if first in existing and last in existing:
            keys.update(existing[existing.index(first) : existing.index(last) + 1])
    return keys


# ---------------------------------------------------------------------------------------------- S3


def _on_s3(home: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Requests of one batch by method, and seconds of a listing, on an S3 server on loopback."""
    log = home / "s3.log"
    with s3_server(log, dict(os.environ)) as server, dg.DagsterInstance.ephemeral() as instance:
        os.environ.update(server.environment())
        folder = home / "on-s3"
        site = _Site(instance, f"{server.url}/counted", folder, os.environ["ARGUS_DATABASE_URL"])
        _say("listing on S3")
        keys = [f"listed/inbox/{VEHICLE}/{number:05d}.json" for number in range(LISTED)]
        bucket = Bucket.from_url(server.url)
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda key: bucket.put(key, b"{}"), keys))
        listed = Bucket.from_url(f"{server.url}/listed")
        listing = {
            "empty inbox": _seconds(lambda: site.bucket.list_inbox(limit=200), 9),
            "200 of a full inbox": _seconds(lambda: listed.list_inbox(limit=200), 9),
            "1,000 keys": _seconds(lambda: list(listed.iterate("inbox/"))) / (LISTED / 1000),
        }
        del folder
        return _requests(site, log, _drive(home / "drive-s3")), listing


def _requests(site: _Site, log: Path, drive: Drive) -> dict[str, float]:
    for number in range(4):
        _drop(site.bucket, drive, f"counted-{number}")
    site.tick()
    before = len(_lines(log))
    site.record(site.tick())
    site.record(site.tick())
    sensor = _lines(log)[before:]
    methods = [method for line in sensor if (method := _method(line)) is not None]
    for _ in range(2):
        methods.remove("LIST")  # of the inbox, once a tick
    return {kind: methods.count(kind) / 4 for kind in ("LIST", "GET", "HEAD", "PUT", "DELETE")}


def _method(line: str) -> str | None:
    """The method of a line of the server's log, which colours some of them; a COPY is a PUT."""
    found = re.search(r"(GET|HEAD|PUT|POST|DELETE) /", line)
    if found is None:
        return None
    return "LIST" if "list-type=2" in line else found[1]


def _lines(log: Path) -> list[str]:
    return [line for line in log.read_text(errors="replace").splitlines() if "HTTP/1.1" in line]


# ---------------------------------------------------------------------------------------------- text


def _measured_text(
    measured: Sequence[Measured], content: Content, requests: dict[str, float], listing: dict[str, float]
) -> str:
    names = dict.fromkeys(name for m in measured for name in m.seconds)
    rows = [
        [
            name,
            *(
                f"{1000 * m.seconds[name]:,.{0 if m.seconds[name] > 0.01 else 1}f}" if name in m.seconds else ""
                for m in measured
            ),
        ]
        for name in names
    ]
    rows.append(["database, MiB", *(f"{m.database_bytes / MIB:,.0f}" for m in measured)])
    return "\n\n".join(
        [
            f"Machine: {describe_machine()}. One run, one machine, other work on it. Milliseconds, the median of three.",
            table(["live partitions", *(f"{m.live:,}" for m in measured)], rows),
            (
                f"A batch leaves {content.rows['event_logs']:.1f} rows in `event_logs`, a run "
                f"{content.rows_a_run:.0f} more. All tables and indexes together: {content.bytes_a_batch / 1024:.0f} KiB a "
                f"batch, in runs of {BATCHES_A_RUN}."
            ),
            table(["table", "rows a batch", "KiB a batch, with indexes"], content.tables),
            "Requests to the drop bucket by the sensor for each batch: "
            + ", ".join(f"{count:g} {kind}" for kind, count in requests.items())
            + ". Listing, on an S3 server on loopback, in milliseconds: "
            + ", ".join(f"{name} {1000 * seconds:.0f}" for name, seconds in listing.items())
            + ".",
        ]
    )


def _model_text(measured: Measured, content: Content, requests: dict[str, float]) -> str:
    rows: list[list[str]] = []

    def row(name: str, value: Callable[[int], str]) -> None:
        rows.append([name, *(value(rate) for rate in RATES)])

    def live(rate: int) -> int:
        # Looked at every hour: as many as come within one are there beyond the limit.
        return min(rate * RETAIN_DAYS, MOST_BATCHES + rate // 24)

    def events(rate: int) -> float:
        return rate * content.rows["event_logs"] + rate / BATCHES_A_RUN * content.rows_a_run

    def lists(rate: int) -> float:
        return 86_400 / TICK_S + rate * requests["LIST"]

    def usd(rate: int) -> float:
        writes = lists(rate) + rate * requests["PUT"]
        reads = rate * (requests["GET"] + requests["HEAD"])
        return (writes * USD_A_1000_LISTS + reads * USD_A_1000_GETS) / 1000

    tick = measured.seconds[f"sensor tick, {WAITING} waiting"]
    empty = measured.seconds["sensor tick, inbox empty"]
    recorded = (
        measured.seconds[f"  its {WAITING} partitions added"] + measured.seconds[f"  its {WAITING} events written"]
    )
    row("live partitions", lambda rate: f"{live(rate):,}")
    row("  days that are live", lambda rate: f"{live(rate) / rate:.1f}")
    row("runs a day", lambda rate: f"{rate / BATCHES_A_RUN:,.0f}")
    row("event rows a day", lambda rate: f"{events(rate):,.0f}")
    row("database at the retention, GB", lambda rate: f"{live(rate) * content.bytes_a_batch / 1e9:.1f}")
    row("database written a day, GB", lambda rate: f"{rate * content.bytes_a_batch / 1e9:.2f}")
    row("database after a year without retention, GB", lambda rate: f"{365 * rate * content.bytes_a_batch / 1e9:,.0f}")
    row("listings a day", lambda rate: f"{lists(rate):,.0f}")
    row("S3 requests of the sensor, USD a day", lambda rate: f"{usd(rate):.2f}")
    row("batches in a tick", lambda rate: f"{rate * TICK_S / 86_400:.1f}")
    row(
        "tick and what Dagster records of it, ms",
        lambda rate: (
            f"{1000 * (empty + (tick - empty + recorded) * min(rate * TICK_S / 86_400, WAITING) / WAITING):,.0f}"
        ),
    )
    removal = measured.seconds["retention: a batch removed"]
    run_removal = measured.seconds[f"retention: a run of {BATCHES_A_RUN} removed"]
    row("retention, minutes a day", lambda rate: f"{rate * (removal + run_removal / BATCHES_A_RUN) / 60:.1f}")
    row("CPU cores", lambda rate: f"{rate * CPU_S_A_BATCH / 86_400 / BUSY:.2f}")
    return (
        f"Inputs: {CPU_S_A_BATCH:g} CPU s a batch, {BATCHES_A_RUN} batches a run, cores {BUSY:.0%} busy on average, a "
        f"tick every {TICK_S} s, {RETAIN_DAYS} days and {MOST_BATCHES:,} batches retained, "
        f"{USD_A_1000_LISTS:g} USD for 1,000 listings and writes, {USD_A_1000_GETS:g} USD for 1,000 reads.\n\n"
        + table(["batches a day", *(f"{rate:,}" for rate in RATES)], rows)
    )


def _plot(measured: Sequence[Measured], target: Path) -> None:
    """Milliseconds by live partitions, both on a logarithmic scale."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "argus"
    import matplotlib.pyplot as plt

    shown = (
        "sensor tick, inbox empty",
        f"sensor tick, {WAITING} waiting",
        "states of all batches",
        "reconcile: what Dagster knows",
        "rerun_failed_batches: one look",
        "status of an asset's partitions, cold",
        "run of one batch that was parsed before",
    )
    figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    for name in shown:
        axes.plot([m.live for m in measured], [1000 * m.seconds[name] for m in measured], marker="o", label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([m.live for m in measured], [f"{m.live:,}" for m in measured])
    axes.minorticks_off()
    axes.set_xlabel("live partitions")
    axes.set_ylabel("milliseconds")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    figure.savefig(target, format="svg", metadata={"Date": None})


def _replace(page: Path, parts: dict[str, str]) -> None:
    """Put new texts between the page's marks."""
    text = page.read_text()
    for name, part in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        if begin not in text or end not in text:
            raise SystemExit(f"{page} has no part between {begin} and {end}.")
        text = re.sub(f"{begin}.*?{end}", lambda _, p=part: f"{begin}\n{p}\n{end}", text, flags=re.DOTALL)  # noqa: B023
    page.write_text(text)


if __name__ == "__main__":
    main()
