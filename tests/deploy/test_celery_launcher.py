"""Two Celery workers as two hosts, with Debian's redis-server: kill -9 of one, cancelled runs, a broker that restarts."""

import base64
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import dagster as dg
import psutil
import psycopg2
import pytest
import redis
from dagster._core.launcher.base import WorkerStatus

from argus_assets.dagster_instance.celery_launcher import WatchedCeleryLauncher
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import BatchRef, partition_key
from argus_assets.drop.results import read_result
from argus_assets.drop.upload import drop_manifest
from argus_assets.event_log.states import partition_states
from argus_assets.partitions import IN_FLIGHT, PARTITION, RANGE_START
from argus_assets.pipeline import STAGES, BatchState
from argus_assets.runtime.child import Child
from argus_assets.runtime.embedded.s3 import S3Server
from argus_assets.runtime.ports import free_port
from argus_assets.runtime.servers.code_server import MODULE
from argus_assets.runtime.supervisor import LOCATION
from argus_assets.simulate.drop import upload_drive
from argus_assets.simulate.fleet import Drive, simulate_drive

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server (Debian package) is not installed"),
]

FASTER = {
    "max_concurrent_runs: 4": "max_concurrent_runs: 2",
    "silent_seconds: 30.0": "silent_seconds: 4.0",
    "poll_interval_seconds: 10": "poll_interval_seconds: 2",
    "  poll_interval_seconds: 2": "  poll_interval_seconds: 2\n  cancel_timeout_seconds: 60",
}
"""The file of the deployment with shorter times, and a place on each of the two workers."""

WORKERS = ("east", "west")
REDIS_PASSWORD = "not-a-real-password"
PSEUDONYM_KEY = "5eed" * 16
MODEL_KEY = "sk-not-a-real-key-of-a-model"
WEBHOOK_TOKEN = "not-a-real-token-of-an-address"
WEBHOOK_KEY = base64.b64encode(b"not a real key of a webhook, 32b").decode()


@dataclass
class Cluster:
    """Code server, daemon and workers, each a process group of its own, as on hosts of their own."""

    folder: Path
    environment: dict[str, str]
    bucket: Bucket
    drive: Drive
    children: dict[str, Child] = field(default_factory=dict)
    _serial: int = 0

    def start(self, name: str, command: Sequence[str]) -> None:
        self.children[name] = Child(name, list(command), name, self.folder / f"{name}.log")
        self.children[name].start(self.environment)

    def start_worker(self, name: str) -> None:
        self.start(name, [sys.executable, "-m", "argus_assets", "worker", "--name", name])

    def kill(self, name: str) -> None:
        """kill -9 of everything that a host runs."""
        process = self.children[name].process
        assert process is not None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        with dg.DagsterInstance.from_config(self.environment["DAGSTER_HOME"]) as instance:
            yield instance

    def drop(self, name: str, batches: int) -> list[str]:
        """Drop batches of as many vehicles; returns their partitions."""
        vehicles = [f"{name}-{number:02d}" for number in range(batches)]
        manifests = [
            upload_drive(self.bucket, replace(self.drive, vehicle_id=vehicle, batch_id="b1", platform=vehicle))
            for vehicle in vehicles
        ]
        for manifest in manifests:
            drop_manifest(self.bucket, manifest)
        return [partition_key(m.recorded_from, m.vehicle_id, m.batch_id) for m in manifests]

    def wait(self, reached: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, f"not so after {seconds:.0f} s: {what}\n{self.story()}"
            time.sleep(0.3)

    def story(self) -> str:
        with self.instance() as instance:
            runs = "\n".join(f"{r.run_id[:8]} {r.status.value} {dict(r.tags)}" for r in instance.get_runs(limit=20))
        return runs + "\n".join(f"\n--- {c.name}\n{c.tail(25)}" for c in self.children.values())

    def at_work(self, instance: dg.DagsterInstance, worker: str) -> str | None:
        """The run that a worker has."""
        launcher = instance.run_launcher
        assert isinstance(launcher, WatchedCeleryLauncher)
        host = f"{worker}@{socket.gethostname()}"
        try:
            answer = launcher.celery.control.inspect([host], timeout=2.0, limit=1).active() or {}
        except redis.ConnectionError:  # one of before the broker was started again
            return None
        for task in answer.get(host, []):
            for run in instance.get_runs(dg.RunsFilter(tags={"dagster-celery/task_id": task["id"]})):
                return run.run_id
        return None

    def settled(self, partitions: Sequence[str]) -> bool:
        with self.instance() as instance:
            states = partition_states(instance, partitions)
            return all(s in (BatchState.COMPLETED, BatchState.FAILED) for s, _ in states.values()) and not (
                instance.get_runs(filters=dg.RunsFilter(statuses=list(IN_FLIGHT)), limit=1)
            )

    def completed(self, partitions: Sequence[str]) -> bool:
        with self.instance() as instance:
            states = partition_states(instance, partitions)
        return {s for s, _ in states.values()} == {BatchState.COMPLETED} and self.settled(partitions)

    def check_once(self, partitions: Sequence[str]) -> None:
        """Every batch is completed, and each of its stages was made once."""
        with self.instance() as instance:
            states = partition_states(instance, partitions)
            assert {s for s, _ in states.values()} == {BatchState.COMPLETED}, f"{states}\n{self.story()}"
            for partition in partitions:
                made = {
                    stage: len(
                        instance.fetch_materializations(
                            dg.AssetRecordsFilter(asset_key=dg.AssetKey(stage), asset_partitions=[partition]), limit=9
                        ).records
                    )
                    for stage in ("vehicle_drop", *STAGES)
                }
                assert set(made.values()) == {1}, f"{partition}: {made}"
                _, vehicle, batch = partition.split("_")
                result = read_result(self.bucket, BatchRef(vehicle, batch))
                assert result is not None
                assert result.state == "completed"


@dataclass
class Redis:
    """A broker with a password; keeps nothing on disk."""

    port: int
    folder: Path
    child: Child

    @property
    def url(self) -> str:
        return f"redis://:{REDIS_PASSWORD}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.child.start(os.environ)
        deadline = time.monotonic() + 20
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", self.port)) != 0:
                assert time.monotonic() < deadline, self.child.tail()
                time.sleep(0.05)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    command += ["--requirepass", REDIS_PASSWORD]
    redis = Redis(port, folder, Child("redis", command, "", folder / "redis.log"))
    redis.start()
    yield redis
    redis.child.stop()


@pytest.fixture(scope="module")
def cluster(
    broker: Redis, postgres: str, moto_server: S3Server, deploy: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    connection = psycopg2.connect(postgres)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE celery_hosts")
    text = (deploy / "celery" / "dagster.yaml").read_text()
    for usual, faster in FASTER.items():
        assert usual in text
        text = text.replace(usual, faster, 1)
    home, code_port = folder / "dagster", free_port()
    home.mkdir()
    (home / "dagster.yaml").write_text(text)
    workspace = deploy / "celery" / "workspace.yaml"
    outside = {k: v for k, v in os.environ.items() if not k.startswith(("ARGUS_", "AWS_", "DAGSTER_"))}
    environment = {
        **outside,
        **moto_server.environment(),
        "AWS_EC2_METADATA_DISABLED": "true",
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "DAGSTER_HOME": str(home),
        "ARGUS_HOME": str(folder / "home"),
        "ARGUS_DATABASE_URL": postgres.replace("/argus?", "/celery_hosts?"),
        "ARGUS_BUCKET_URL": f"{moto_server.url}/celery",
        "ARGUS_LAKE_URL": f"{moto_server.url}/celery-lake",
        "ARGUS_PSEUDONYM_KEY": PSEUDONYM_KEY,
        "ARGUS_LLM_API_KEY": MODEL_KEY,
        # Nobody listens there: events fail, and are to say so without the token.
        "ARGUS_WEBHOOKS": f"fleet=http://127.0.0.1:{free_port()}/{WEBHOOK_TOKEN}",
        "ARGUS_WEBHOOK_SECRETS": f"fleet=whsec_{WEBHOOK_KEY}",
        "ARGUS_REDIS_URL": broker.url,
        "ARGUS_CODE_HOST": "127.0.0.1",
        "ARGUS_CODE_PORT": str(code_port),
        "ARGUS_SENSOR_INTERVAL_S": "1",
        "ARGUS_RUN_SECONDS": "2",
        "PYTHONUNBUFFERED": "1",
    }
    drive = simulate_drive(
        folder / "drive", scenario="truck_oil_pressure", seed=5, vehicle_id="truck", vin="1M8GDM9AXKP042788",
        release="1", batch_id="b1", started_ns=1_795_000_000 * 10**9, seconds=12.0, files=2,
    )  # fmt: skip
    bucket = Bucket.from_url(environment["ARGUS_BUCKET_URL"], storage_options=moto_server.storage_options())
    made = Cluster(folder, environment, bucket, drive)
    programs = Path(sys.executable).parent
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ARGUS_DATABASE_URL", "ARGUS_REDIS_URL", "DAGSTER_DISABLE_TELEMETRY"):
            patch.setenv(name, environment[name])
        try:
            with made.instance():
                pass  # makes the tables, which several processes would do at once
            server = ["dagster", "api", "grpc", "-m", MODULE, "-h", "127.0.0.1", "-p", str(code_port)]
            made.start("code", [sys.executable, "-m", *server, "--location-name", LOCATION])
            for name in WORKERS:
                made.start_worker(name)
            made.start("daemon", [str(programs / "dagster-daemon"), "run", "-w", str(workspace)])
            yield made
        finally:
            for child in reversed(made.children.values()):
                child.stop(2)
    with connection.cursor() as cursor:
        cursor.execute("DROP DATABASE celery_hosts WITH (FORCE)")
    connection.close()


@pytest.fixture(autouse=True)
def names_of_the_cluster(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The instance in the test's own process reads them."""
    for name in ("ARGUS_DATABASE_URL", "ARGUS_REDIS_URL"):
        monkeypatch.setenv(name, cluster.environment[name])
    for name in WORKERS:
        if not cluster.children[name].alive():
            cluster.start_worker(name)


def test_batches_of_a_host_that_dies_complete_on_another_once(cluster: Cluster) -> None:
    partitions = cluster.drop("kill", 10)
    lost: list[str] = []

    def mid_run() -> bool:
        with cluster.instance() as instance:
            run_id = cluster.at_work(instance, "east")
            if run_id is None:
                return False
            made = len(instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION))
            lost[:] = [run_id]
            return made > 0

    cluster.wait(mid_run, 90, "a worker is in the middle of a run")
    cluster.kill("east")
    # Between the failure and the retry, nothing is at work either.
    cluster.wait(lambda: cluster.completed(partitions), 120, "every batch is completed, nothing is at work")

    cluster.check_once(partitions)
    with cluster.instance() as instance:
        dead = instance.get_run_by_id(lost[0])
        assert dead is not None
        assert dead.status is dg.DagsterRunStatus.FAILURE, cluster.story()
        again = instance.get_runs(dg.RunsFilter(tags={"dagster/parent_run_id": dead.run_id}))
        assert [r.status for r in again] == [dg.DagsterRunStatus.SUCCESS]
        assert (again[0].tags.get(RANGE_START), again[0].tags.get(PARTITION)) == (
            dead.tags.get(RANGE_START),
            dead.tags.get(PARTITION),
        )
    assert again[0].tags["dagster-celery/task_id"] in cluster.children["west"].log.read_text()


def test_a_cancelled_run_is_cancelled_and_does_not_start_again(cluster: Cluster) -> None:
    partitions = cluster.drop("cancel", 6)

    def begun() -> str | None:
        with cluster.instance() as instance:
            for worker in WORKERS:
                run_id = cluster.at_work(instance, worker)
                if run_id is not None and instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION):
                    return run_id
        return None

    cluster.wait(lambda: begun() is not None, 60, "a worker is at work")
    run_id = begun()
    assert run_id is not None
    with cluster.instance() as instance:
        assert instance.run_launcher.terminate(run_id)
        cluster.wait(lambda: instance.get_run_by_id(run_id).is_finished, 30, "the run is cancelled")  # type: ignore[union-attr]
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.CANCELED, cluster.story()
        assert not instance.run_launcher.terminate(run_id)
    cluster.wait(lambda: cluster.settled(partitions), 60, "nothing is at work")
    with cluster.instance() as instance:
        assert not instance.get_runs(dg.RunsFilter(tags={"dagster/parent_run_id": run_id}))


def test_a_process_that_is_killed_for_its_memory_is_noticed_while_its_worker_lives(cluster: Cluster) -> None:
    partitions = cluster.drop("oom", 2)
    killed: list[str] = []

    def kill_one() -> bool:
        with cluster.instance() as instance:
            for worker in WORKERS:
                run_id = cluster.at_work(instance, worker)
                if run_id is not None and instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION):
                    process = cluster.children[worker].process
                    assert process is not None
                    for child in psutil.Process(process.pid).children():
                        child.send_signal(signal.SIGKILL)
                    killed.append(run_id)
                    return True
        return False

    cluster.wait(kill_one, 60, "a worker is at work")
    cluster.wait(lambda: cluster.settled(partitions), 90, "every batch has an outcome, nothing is at work")
    cluster.check_once(partitions)
    with cluster.instance() as instance:
        run = instance.get_run_by_id(killed[0])
        assert run is not None
        assert run.status is dg.DagsterRunStatus.FAILURE


@pytest.mark.reliability_full
def test_a_broker_that_goes_away_and_forgets_everything_loses_no_batch(cluster: Cluster, broker: Redis) -> None:
    """Runs at work go on; what is dropped meanwhile is launched when it is back."""
    at_work = cluster.drop("at-work", 4)

    def begun() -> bool:
        with cluster.instance() as instance:
            return any(cluster.at_work(instance, worker) is not None for worker in WORKERS)

    def launched() -> bool:
        with cluster.instance() as instance:
            return bool(instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING])))

    cluster.wait(begun, 60, "a worker is at work")
    broker.child.stop(0)
    dropped = cluster.drop("away", 2)
    cluster.wait(launched, 60, "a run is being launched")
    time.sleep(3)
    broker.start()
    cluster.wait(lambda: cluster.settled([*at_work, *dropped]), 120, "every batch has an outcome, nothing is at work")
    cluster.check_once([*at_work, *dropped])
    with cluster.instance() as instance:
        runs = [r for r in instance.get_runs() if {r.tags.get(PARTITION), r.tags.get(RANGE_START)} & {*dropped}]
        assert {r.status for r in runs} == {dg.DagsterRunStatus.SUCCESS}


def test_a_broker_that_does_not_answer_proves_nothing(
    cluster: Cluster, broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens on the port: the launcher says "running", and says so soon."""
    monkeypatch.setenv("ARGUS_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    with cluster.instance() as instance:
        run = dg.DagsterRun(job_name="any", tags={"dagster-celery/task_id": "t"})
        began = time.monotonic()
        health = instance.run_launcher.check_run_worker_health(run)
        took_s = time.monotonic() - began
    assert health.status is WorkerStatus.RUNNING
    assert "does not answer" in (health.msg or "")
    assert took_s < 60


@pytest.mark.reliability_full
def test_no_secret_is_in_a_log_the_database_the_broker_or_the_lake(
    cluster: Cluster, broker: Redis, moto_server: S3Server
) -> None:
    partitions = cluster.drop("secret", 1)
    cluster.wait(lambda: cluster.settled(partitions), 60, "the batch has an outcome")
    places = {f"log of {name}": child.log.read_bytes() for name, child in cluster.children.items()}
    connection = psycopg2.connect(cluster.environment["ARGUS_DATABASE_URL"])
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT t::text FROM {table} t")
            places[table] = "\n".join(row for (row,) in cursor.fetchall()).encode()
    connection.close()
    with redis.Redis.from_url(broker.url) as client:
        for key in client.keys("*"):
            places[f"redis {key!r}"] = client.dump(key)
    lake = Bucket.from_url(cluster.environment["ARGUS_LAKE_URL"], storage_options=moto_server.storage_options())
    for entry in lake.list_prefix(f"batches/{partitions[0]}/"):
        places[entry.key] = lake.read(entry.key, max_bytes=1 << 24)
    assert any(name.endswith("report.html") for name in places), list(places)
    assert partitions[0].encode() in places["public.event_logs"]
    secrets = (REDIS_PASSWORD, PSEUDONYM_KEY, MODEL_KEY, WEBHOOK_TOKEN, WEBHOOK_KEY, moto_server.secret_key)
    for secret in secrets:
        found = [name for name, content in places.items() if secret.encode() in content]
        assert not found, (secret, found)
