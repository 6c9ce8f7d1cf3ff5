"""A whole platform whose S3 passes through a proxy that breaks it, and the oracle that says whether anything was lost.

The oracle: every batch that was dropped is completed once, or its outcome says why not; and the tables, evidence and
diagnosis of a completed batch equal those of the same drive in an undisturbed run.
"""

import io
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import dagster as dg
import fsspec
import polars as pl
import psutil
import psycopg2
from dagster_postgres.utils import DagsterPostgresException
from fsspec import AbstractFileSystem
from sqlalchemy.exc import DBAPIError

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import BatchRef, partition_key, recording_key
from argus_assets.drop.manifest import Manifest, ManifestFile, manifest_digest
from argus_assets.drop.results import BatchResult, read_result
from argus_assets.drop.upload import collect_files, drop_manifest, manifest_bytes, upload_files
from argus_assets.event_log.events import EVENT_KEY
from argus_assets.event_log.states import partition_states
from argus_assets.lake.store import Lake
from argus_assets.partitions import BATCHES, IN_FLIGHT
from argus_assets.pipeline import STAGES, BatchState
from argus_assets.runtime.embedded.s3 import S3Server
from argus_assets.runtime.supervisor import Supervisor
from argus_assets.settings import Settings
from argus_assets.simulate.drop import drive_manifest
from argus_assets.simulate.fleet import Drive, simulate_drive
from tests.support.fault_proxy import FaultProxy
from tests.support.reliability_report import happened

SCENARIOS = (
    "truck_oil_pressure",
    "av_lidar_dropout",
    "car_bus_loss",
    "truck_boost_leak",
    "truck_wheel_sensor",
    "car_healthy",
)
TABLES = ("recordings", "problems", "error_events", "bus_stats", "error_stats", "code_pairs", "drive_stats", "speed")
DOCUMENTS = ("evidence", "diagnosis")
_NOT_COMPARED = {"parse_s"}  # how long it took
_TEXT_LINES = 40
_UPLOADERS = 16


def simulate_drives(folder: Path) -> dict[str, Drive]:
    """A short drive of each scenario."""
    return {
        name: simulate_drive(
            folder / name, scenario=name, seed=6, vehicle_id="rig", vin="1M8GDM9AXKP042788", release="1",
            batch_id="b", started_ns=1_795_000_000 * 10**9, seconds=16.0 if name == "car_bus_loss" else 12.0, files=2,
        )
        for name in SCENARIOS
    }  # fmt: skip


@dataclass(frozen=True)
class Dropped:
    """A batch as it was dropped: each has a vehicle and a platform of its own, so that none is another's history."""

    scenario: str
    manifest: Manifest
    raw: bytes

    @property
    def ref(self) -> BatchRef:
        return BatchRef(self.manifest.vehicle_id, self.manifest.batch_id)

    @property
    def partition(self) -> str:
        return partition_key(self.manifest.recorded_from, self.manifest.vehicle_id, self.manifest.batch_id)

    @property
    def digest(self) -> str:
        return manifest_digest(self.raw)


Content = Mapping[str, Any]


@dataclass
class Site:
    """A platform, its bucket and lake on a moto server behind a proxy, and what is asked of them.

    Attributes:
        bucket: Past the proxy: what vehicles and the oracle see.
        lake: Past the proxy.
        lake_files: The file system that the lake is on.
        started: When the last batch of the scenario was dropped, `time.monotonic`.
    """

    home: Path
    proxy: FaultProxy
    bucket: Bucket
    lake: Lake
    lake_files: AbstractFileSystem
    drives: Mapping[str, Drive]
    settings: Settings
    environment: dict[str, str]
    platform: Supervisor
    told: list[tuple[str, str]] = field(default_factory=list)
    undisturbed: dict[str, Content] = field(default_factory=dict)
    _serial: int = 0
    _runs_before: int = 0
    _ticks_before: int = 0

    # ------------------------------------------------------------------------------------------ platform

    def start(self) -> None:
        self.platform = Supervisor(
            self.settings,
            webserver=False,
            environment=self.environment,
            ask_seconds=5,
            on_event=lambda *e: self.told.append(e),
        )
        self.platform.start()

    def child(self, name: str) -> int:
        """Process id of a child of the platform."""
        process = next(c.process for c in self.platform.children if c.name == name)
        assert process is not None
        return process.pid

    def run_workers(self) -> list[psutil.Process]:
        """Processes of the code server that execute a run: what its fork server forked."""
        workers: list[psutil.Process] = []
        for process in psutil.Process(self.child("code server")).children():
            with suppress(psutil.NoSuchProcess):  # among them one that has just ended, and is not taken leave of yet
                if "forkserver" in " ".join(process.cmdline()):
                    # What a worker starts itself (compute logs, decoders) is another program.
                    workers += [w for w in process.children() if "forkserver" in " ".join(w.cmdline())]
        return workers

    def postgres_pid(self) -> int:
        return int((self.home / "postgres" / "data" / "postmaster.pid").read_text().split()[0])

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        with self.platform.instance() as instance:
            yield instance

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        """Ask the database."""
        postgres = self.platform.postgres
        assert postgres is not None
        connection = psycopg2.connect(postgres.url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(text)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    # ------------------------------------------------------------------------------------------ dropping

    def drop(
        self, name: str, scenarios: Sequence[str] = SCENARIOS, *, folder: Path | None = None, **changes: object
    ) -> list[Dropped]:
        """Drop a batch of each scenario, the manifests all at the end.

        Args:
            name: Part of the batches' names.
            scenarios: One batch each.
            folder: Recordings, when they are others than the scenario's.
            changes: Fields of the manifests.
        """
        batches: list[Dropped] = []
        for scenario in scenarios:
            self._serial += 1
            rig, batch_id = f"rig-{self._serial:03d}", f"{name}-{scenario.replace('_', '-')}"
            files = collect_files([folder or self.drives[scenario].folder])
            sent = upload_files(self.bucket, files, vehicle_id=rig, batch_id=batch_id)
            batches.append(self._batch(scenario, rig, batch_id, [f.entry for f in sent], **changes))
        for batch in batches:
            drop_manifest(self.bucket, batch.manifest)
        return batches

    def drop_many(self, name: str, count: int) -> list[Dropped]:
        """Drop so many batches, all scenarios in turn: first all recordings, then all manifests."""
        contents = {
            scenario: [
                (ManifestFile(name=f.name, size=f.size, sha256=sha256(f.path.read_bytes()).hexdigest()), f.path)
                for f in collect_files([drive.folder])
            ]
            for scenario, drive in self.drives.items()
        }
        scenarios = list(contents)
        batches: list[Dropped] = []
        for number in range(count):
            self._serial += 1
            scenario = scenarios[number % len(scenarios)]
            entries = [entry for entry, _ in contents[scenario]]
            batches.append(self._batch(scenario, f"rig-{self._serial:05d}", f"{name}-{number:05d}", entries))

        def upload(batch: Dropped) -> None:
            for entry, path in contents[batch.scenario]:
                self.bucket.put(recording_key(batch.ref.vehicle_id, batch.ref.batch_id, entry.name), path.read_bytes())

        with ThreadPoolExecutor(_UPLOADERS) as pool:
            list(pool.map(upload, batches))
            list(pool.map(lambda b: drop_manifest(self.bucket, b.manifest), batches))
        return batches

    def _batch(
        self, scenario: str, rig: str, batch_id: str, files: Sequence[ManifestFile], **changes: object
    ) -> Dropped:
        drive = replace(self.drives[scenario], vehicle_id=rig, batch_id=batch_id, platform=rig)
        manifest = Manifest.model_validate({**drive_manifest(drive, files).model_dump(), **changes})
        return Dropped(scenario, manifest, manifest_bytes(manifest))

    def put_manifest(self, manifest: Manifest) -> bytes:
        """Drop the manifest (again); returns its bytes."""
        drop_manifest(self.bucket, manifest)
        return manifest_bytes(manifest)  # not read back: the sensor may have taken it

    def forget_parts(self) -> None:
        """Have recordings parsed again: the drives of all scenarios have the same contents."""
        for prefix in ("parts", "verified"):
            path = self.lake.path(prefix)
            if self.lake_files.exists(path):
                self.lake_files.rm(path, recursive=True)

    # ------------------------------------------------------------------------------------------ waiting

    def wait(self, reached: Callable[[], bool], seconds: float, what: str) -> float:
        """Watch over the platform until something is so; returns the seconds it took."""
        started = time.monotonic()
        while True:
            self.platform.watch()
            with suppress(DBAPIError, DagsterPostgresException, psycopg2.Error):  # PostgreSQL is away at the moment
                if reached():
                    return time.monotonic() - started
            waited = time.monotonic() - started
            assert waited < seconds, f"not so after {waited:.0f} s: {what}\n{self.tails()}"
            time.sleep(0.2)

    def tails(self) -> str:
        return (
            "\n".join(f"--- {c.name}\n{c.tail(_TEXT_LINES)}" for c in self.platform.children) + f"\n{self.told[-20:]}"
        )

    def result(self, batch: Dropped) -> BatchResult | None:
        """The outcome of the batch's manifest, if there is one."""
        result = read_result(self.bucket, batch.ref)
        return result if result is not None and result.manifest_digest == batch.digest else None

    def outcomes(self, batches: Sequence[Dropped]) -> dict[str, str]:
        """State of each batch that has an outcome."""
        found = {b.partition: self.result(b) for b in batches}
        return {key: result.state for key, result in found.items() if result is not None}

    def settle(self, batches: Sequence[Dropped], seconds: float = 150.0) -> float:
        """Wait until every batch has an outcome, no run is left and the inbox is empty; returns the seconds."""

        def quiet() -> bool:
            if len(self.outcomes(batches)) < len(batches) or self.bucket.list_inbox(limit=1):
                return False
            with self.instance() as instance:
                return not instance.get_runs(filters=dg.RunsFilter(statuses=list(IN_FLIGHT)), limit=1)

        names = [b.partition for b in batches]
        try:
            return self.wait(quiet, seconds, "every batch has an outcome, nothing is at work")
        except AssertionError as error:
            raise AssertionError(f"{names}: {self.outcomes(batches)}\n{self.run_lines()}\n{error}") from None

    def run_lines(self) -> list[str]:
        with self.instance() as instance:
            return [f"{r.run_id[:8]} {r.status} {dict(r.tags)}" for r in instance.get_runs(limit=12)]

    def outcome_known(self, batches: Sequence[Dropped], seconds: float = 150.0) -> float:
        """As `settle`, but Dagster's record that a batch failed is enough: the bucket may not have taken its outcome."""

        def quiet() -> bool:
            if self.bucket.list_inbox(limit=1):
                return False
            states = self.states(batches)
            if any(s not in (BatchState.COMPLETED, BatchState.FAILED) for s in states.values()):
                return False
            with self.instance() as instance:
                return not instance.get_runs(filters=dg.RunsFilter(statuses=list(IN_FLIGHT)), limit=1)

        try:
            return self.wait(quiet, seconds, "every batch is completed or failed, nothing is at work")
        except AssertionError as error:
            raise AssertionError(f"{self.states(batches)}\n{self.run_lines()}\n{error}") from None

    def states(self, batches: Sequence[Dropped]) -> dict[str, BatchState]:
        """By Dagster's records."""
        keys = [b.partition for b in batches]
        with self.instance() as instance:
            known = set(instance.get_dynamic_partitions(BATCHES))
            found = {k: s for k, (s, _) in partition_states(instance, [k for k in keys if k in known]).items()}
        return {key: found.get(key, BatchState.PENDING) for key in keys}

    def begun(self, batches: Sequence[Dropped], at_least: int = 1) -> Callable[[], bool]:
        """Whether so many of the batches have been completed: others are at work then."""
        return lambda: sum(s == "completed" for s in self.outcomes(batches).values()) >= at_least

    def at_work(self, batches: Sequence[Dropped]) -> Callable[[], bool]:
        """Whether a run worker has begun with one of the batches, and not ended with all."""

        def reached() -> bool:
            with self.instance() as instance:
                for batch in batches:
                    records = dg.AssetRecordsFilter(
                        asset_key=dg.AssetKey("rec_frames"), asset_partitions=[batch.partition]
                    )
                    if instance.fetch_observations(records, limit=1).records:
                        return True
            return False

        return reached

    # ------------------------------------------------------------------------------------------ the oracle

    def content(self, partition: str) -> Content:
        """Tables and documents of a batch, without what names the batch, times and costs."""
        lake = f"batches/{partition}"
        found: dict[str, Any] = {}
        for name in TABLES:
            frame = pl.read_parquet(io.BytesIO(self.lake.read_bytes(f"{lake}/{name}.parquet")))
            found[name] = frame.drop(_NOT_COMPARED, strict=False)
            if "part" in frame.columns:  # also names the plug-ins in force
                found[name] = found[name].with_columns(pl.col("part").str.split("/").list.last())
        for name in DOCUMENTS:
            document = json.loads(self.lake.read_bytes(f"{lake}/{name}.json"))
            for key in ("platform", "vehicle", "evidence_key", "signature", "cost_usd"):
                document.pop(key, None)
            found[name] = document
        return found

    def differences_of(self, scenario: str, partition: str) -> list[str]:
        """Names of the tables and documents that are not those of the undisturbed run."""
        expected, found = self.undisturbed[scenario], self.content(partition)
        return [
            f"{partition}: {name}"
            for name in (*TABLES, *DOCUMENTS)
            if not (
                expected[name].equals(found[name])
                if isinstance(expected[name], pl.DataFrame)
                else expected[name] == found[name]
            )
        ]

    def made(self, asset: str, partition: str) -> int:
        """How often an asset of a batch was materialised."""
        with self.instance() as instance:
            records = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition])
            return len(instance.fetch_materializations(records, limit=100).records)

    def failures(self, batches: Sequence[Dropped]) -> list[str]:
        """The errors of all `failed` events of the batches."""
        found: list[str] = []
        with self.instance() as instance:
            for batch in batches:
                for asset in STAGES:
                    records = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[batch.partition])
                    for record in instance.fetch_observations(records, limit=200).records:
                        seen = record.asset_observation
                        assert seen is not None
                        if (
                            seen.metadata[EVENT_KEY].value == "StatusChanged"
                            and seen.metadata["state"].value == "failed"
                        ):
                            found.append(str(seen.metadata["error"].value))
        return found

    def check(self, batches: Sequence[Dropped], *, once: bool = True) -> None:
        """Every batch is completed, once, and its tables are those of an undisturbed run.

        Args:
            batches: All with an outcome.
            once: Whether no stage may have been made twice; the last one never may.
        """
        with self.instance() as instance:
            states = {k: s for k, (s, _) in partition_states(instance, [b.partition for b in batches]).items()}
        problems = [f"{key}: {state}" for key, state in states.items() if state is not BatchState.COMPLETED]
        for batch in batches:
            result = self.result(batch)
            assert result is not None
            if result.state != "completed":
                problems.append(f"{batch.partition}: {result.state}: {result.error or result.reasons}")
                continue
            times = {stage: self.made(stage, batch.partition) for stage in STAGES}
            if times["batch_report"] != 1 or min(times.values()) < 1 or (once and max(times.values()) > 1):
                problems.append(f"{batch.partition}: made {times}")
            problems += self.differences_of(batch.scenario, batch.partition)
        assert not problems, "\n".join(problems)

    def again(self, batches: Sequence[Dropped], seconds: float = 120.0, *, quarantined: bool = False) -> int:
        """Drop the batches that failed for a while again, as a rerun would; returns how many there were.

        Each has to say why it failed, and that another try may help.

        Args:
            batches: All are completed or failed.
            seconds: That the second try may take.
            quarantined: Whether files that were found wrong count as well.
        """
        self.wait(
            lambda: all(self.result(b) is not None or self.failures([b]) for b in batches),
            120,
            "each batch has an outcome, or its events say why not",
        )
        failed: list[Dropped] = []
        for batch in batches:
            result = self.result(batch)
            if result is not None and result.state == "completed":
                continue
            failed.append(batch)
            if result is None:  # the bucket was gone; Dagster's record has to say why
                assert self.failures([batch]), f"{batch.partition} has no outcome, and its events do not say why"
                continue
            if quarantined and result.state == "quarantined":
                assert result.reasons, f"{batch.partition} is in quarantine without a reason"
                continue
            assert result.state == "failed"
            assert result.error, f"{batch.partition} failed and does not say why"
            assert result.error_is_permanent is False, f"{batch.partition}: {result.error}"
        for batch in failed:
            self.bucket.delete(f"results/{batch.ref.vehicle_id}/{batch.ref.batch_id}.json")
            self.put_manifest(batch.manifest)
        if failed:
            self.settle(batches, seconds)
        return len(failed)

    # ------------------------------------------------------------------------------------------ what happened

    def mark(self) -> None:
        """What happens from now on is this scenario's. By number, for clocks may jump; the database has to answer."""
        self._runs_before, self._ticks_before = self.sql(
            "SELECT (SELECT coalesce(max(id), 0) FROM runs), (SELECT coalesce(max(id), 0) FROM job_ticks)"
        )[0]
        self.proxy.broken.clear()
        self.told.clear()

    def failed_ticks(self) -> tuple[int, int]:
        """Since the mark: looks of sensors and schedules that failed, and all looks."""
        return self.sql(
            "SELECT count(*) FILTER (WHERE status = 'FAILURE'), count(*) FROM job_ticks "
            f"WHERE id > {self._ticks_before}"
        )[0]

    def story(self, batches: Sequence[Dropped]) -> str:
        """Counts of what happened since the mark."""
        with self.instance() as instance:
            runs = [run for run in instance.get_run_records() if run.storage_id > self._runs_before]
        retried = sum("dagster/retry_number" in r.dagster_run.tags for r in runs)
        ticks = self.failed_ticks()
        errors = Counter(_kind(error) for error in self.failures(batches))
        parts = [f"{action}: {n} times" for action, n in self.proxy.broken.items()]
        if ticks[0]:
            parts.append(f"{ticks[0]} of {ticks[1]} ticks failed")
        again = f", {retried} of them started again by Dagster" if retried else ""
        parts.append(f"{len(runs)} run{'s' if len(runs) > 1 else ''}{again}")
        parts += [f"failed {n} times: {text}" for text, n in errors.items()]
        return happened(parts)


@contextmanager
def running_site(
    home: Path,
    server: S3Server,
    drives: Mapping[str, Drive],
    *,
    environment: Mapping[str, str] | None = None,
    start: bool = True,
    **settings: Any,
) -> Iterator[Site]:
    """A platform on the server, through a proxy, for the time of the block.

    Args:
        home: A folder that PostgreSQL's own user can reach.
        server: A moto server.
        drives: To drop.
        environment: More variables for the platform's processes.
        start: Whether the platform is started here.
        settings: Others than the usual.
    """
    with FaultProxy(server.endpoint) as proxy:
        given = {
            "home": home,
            "bucket_url": f"{server.url}/{home.name}",
            "lake_url": f"{server.url}/{home.name}-lake",
            "sensor_interval_s": 1,
            "port": 0,
            **settings,
        }
        outside = {k: v for k, v in os.environ.items() if not k.startswith(("ARGUS_", "AWS_", "DAGSTER_"))}
        variables = {
            **outside,
            **server.environment(),
            "AWS_ENDPOINT_URL": proxy.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            **(environment or {}),
        }
        made = Settings.model_validate(given)
        lake_files, lake_root = fsspec.url_to_fs(
            made.lake_url,
            **({"use_listings_cache": False, **server.storage_options()} if made.lake_url.startswith("s3://") else {}),
        )
        site = Site(
            home=home,
            proxy=proxy,
            bucket=Bucket.from_url(made.bucket_url, storage_options=server.storage_options()),
            lake=Lake(lake_files, lake_root),
            lake_files=lake_files,
            drives=drives,
            settings=made,
            environment=variables,
            platform=Supervisor(made, webserver=False, environment=variables),
        )
        try:
            if start:
                site.start()
            yield site
        finally:
            proxy.heals()
            site.platform.stop()


def _kind(error: str) -> str:
    """An error without what it names."""
    return re.sub(r"'[^']*'|\S*/\S+", "…", error.splitlines()[0]).split(": ")[0].strip()[:120]


def kill(pid: int) -> None:
    """kill -9."""
    os.kill(pid, signal.SIGKILL)
