"""Fixtures of all tiers: recordings, PostgreSQL, S3 servers. Servers run on loopback and end with the session."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import s3fs
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

from argus_assets.drop.bucket import Bucket
from argus_assets.runtime.embedded.postgres import EmbeddedPostgres
from argus_assets.runtime.embedded.s3 import BUCKET, S3Server, make_bucket, s3_server
from tests.support.buckets import fresh_bucket
from tests.support.dagster_home import new_database
from tests.support.reliability_report import IS_FULL

ROOT = Path(__file__).resolve().parents[1]

pytest_plugins = ("tests.support.site",)

LONG = (
    "tests/integration/test_whole",
    "tests/deploy/test_celery",
    "tests/reliability",
    "tests/integration",
    "tests/deploy",
    "tests/s3",
    "tests/assets",
    "tests/schedules",
    "tests/sensors",
    "tests/cli",
)
"""Tests that start whole platforms and servers, the longest first."""

# `make test` tries the same examples each time, so that a change is judged by what it changes. `pytest` alone tries new ones.
# No deadlines: a machine that is busy is no fault.
settings.register_profile("fresh", deadline=None)
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("fresh")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long scenarios run with ARGUS_TEST_RELIABILITY=full (`make test-reliability`)."""
    for item in items:
        if item.get_closest_marker("reliability_full") and not IS_FULL:
            item.add_marker(pytest.mark.skip(reason="one of the long scenarios: make test-reliability"))


class LongestFirst(LoadFileScheduling):
    """A file stays with one worker, and so do all scenarios that share a platform. What takes minutes begins first."""

    def _split_scope(self, nodeid: str) -> str:
        return "tests/reliability" if nodeid.startswith("tests/reliability/") else super()._split_scope(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        longest = next((scope for start in LONG for scope in self.workqueue if scope.startswith(start)), None)
        if longest is not None:
            self.workqueue.move_to_end(longest, last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LongestFirst:
    """In place of `--dist loadfile`, which begins with the files of the most tests."""
    return LongestFirst(config, log)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own settings must not reach a test."""
    for name in list(os.environ):
        if name.startswith(("ARGUS_", "AWS_", "DAGSTER_")) and name not in ("ARGUS_RECORDINGS", "ARGUS_TEST_S3"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "yes")
    # fsspec keeps S3 clients by their arguments alone: one of another test's endpoint would be used again.
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of real recordings; skips where there is none."""
    folder = Path(os.environ.get("ARGUS_RECORDINGS", ROOT.parent / "shared" / "recordings"))
    if not folder.is_dir():
        pytest.skip(f"no real recordings in {folder}; name a folder with ARGUS_RECORDINGS")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL of this session."""
    # Not below pytest's folder, which every session of pytest closes to other users: as root, the server is one.
    with tempfile.TemporaryDirectory(prefix="argus-pg-") as folder, EmbeddedPostgres(Path(folder) / "postgres") as url:
        yield url


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """URL of an empty database of this test alone."""
    with new_database(postgres) as url:
        yield url


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server that speaks the protocol and checks nothing else."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    with s3_server(tmp_path_factory.mktemp("s3") / "moto.log", environment) as server:
        yield server


@pytest.fixture(scope="session")
def ceph_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A Ceph RADOS gateway: signatures and policies are enforced. Skips where it can't start, says why.

    With ARGUS_TEST_S3=required it fails instead.
    """
    folder = tmp_path_factory.mktemp("ceph")
    script = ROOT / "scripts" / "ceph-rgw.sh"
    try:
        started = subprocess.run(
            [script, "start", folder / "d"], capture_output=True, text=True, timeout=180, check=False
        )
        problem = started.stderr.strip() if started.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    if problem:
        subprocess.run([script, "stop", folder / "d"], check=False, capture_output=True)
        if os.environ.get("ARGUS_TEST_S3") == "required":
            pytest.fail(f"the Ceph gateway did not start: {problem}")
        pytest.skip(f"the Ceph gateway can't start here: {problem[-300:]}")
    try:
        endpoint, access, secret = started.stdout.split()
        server = S3Server(endpoint, access, secret, BUCKET)
        make_bucket(server)
        yield server
    finally:
        subprocess.run([script, "stop", folder / "d"], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="session")
def ceph_admin(ceph_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Runs `radosgw-admin` on the gateway."""
    conf = next(tmp_path_factory.getbasetemp().glob("ceph*/d/ceph.conf"))

    def run(*arguments: str) -> None:
        command = ["radosgw-admin", "-c", str(conf), "-n", "client.rgw", *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    return run


@pytest.fixture(params=["folder", "moto"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Bucket:
    """An empty bucket: a folder, and one on an S3 server."""
    if request.param == "folder":
        made = Bucket.from_url(str(tmp_path / "bucket"))
        made.ensure()
        return made
    server: S3Server = request.getfixturevalue("moto_server")
    return fresh_bucket(server, request.node.name)
