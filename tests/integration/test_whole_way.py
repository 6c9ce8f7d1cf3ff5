"""The whole way as users start it: `argus up`, an S3 bucket, a drop; stopped, and started again.

What survives a kill is in tests/reliability.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import BatchRef
from argus_assets.drop.results import BatchResult, read_result
from argus_assets.errors import BadSetting
from argus_assets.runtime.embedded.s3 import S3Server
from argus_assets.runtime.home_lock import HomeLock
from argus_assets.runtime.supervisor import Supervisor
from argus_assets.settings import Settings
from argus_assets.simulate.drop import drop_drive
from argus_assets.simulate.fleet import Drive, simulate_drive

pytestmark = [pytest.mark.integration, pytest.mark.timeout(420)]

WAIT_SECONDS = 200.0


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that PostgreSQL's own user can reach."""
    with tempfile.TemporaryDirectory(prefix="argus-it-") as folder:
        yield Path(folder)


@pytest.fixture
def environment(home: Path, moto_server: S3Server) -> dict[str, str]:
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("ARGUS_", "AWS_", "DAGSTER_"))},
        **moto_server.environment(),
        "ARGUS_BUCKET_URL": f"{moto_server.url}/{home.name}",
        "ARGUS_SENSOR_INTERVAL_S": "1",
        "PYTHONUNBUFFERED": "1",
    }


@contextmanager
def argus_up(home: Path, environment: dict[str, str], stop: signal.Signals) -> Iterator[str]:
    """What the platform tells of itself; stopped by a signal, after which no process is left."""
    command = [sys.executable, "-m", "argus_assets", "up", "--home", home, "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        told: list[str] = []
        try:
            for line in process.stdout:
                told.append(line)
                if "Ctrl-C stops" in line:
                    break
            yield "".join(told)
        finally:
            process.send_signal(stop)
            rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    assert not still_there(home), "no process is left"


def still_there(home: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "cmdline").read_bytes().decode(errors="replace")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if str(home) in text and state != "Z":
            found.append(text.replace("\0", " "))
    return found


def drop(bucket: Bucket, drive: Drive, batch_id: str) -> BatchRef:
    drop_drive(bucket, replace(drive, batch_id=batch_id))
    return BatchRef(drive.vehicle_id, batch_id)


def drive(folder: Path, scenario: str, seconds: float) -> Drive:
    return simulate_drive(
        folder / scenario, scenario=scenario, seed=2, vehicle_id=scenario.replace("_", "-"), vin="1M8GDM9AXKP042788",
        release="1", batch_id="b", started_ns=1_795_000_000 * 10**9, seconds=seconds,
    )  # fmt: skip


def outcome(bucket: Bucket, batch: BatchRef) -> BatchResult:
    deadline = time.monotonic() + WAIT_SECONDS
    while (result := read_result(bucket, batch)) is None:
        assert time.monotonic() < deadline, f"no outcome of {batch}"
        time.sleep(0.2)
    return result


def status(home: Path, environment: dict[str, str]) -> dict[str, str]:
    command = [sys.executable, "-m", "argus_assets", "status", "--json", "--home", home]
    told = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout
    return {each["partition_key"]: each["state"] for each in json.loads(told)}


def test_a_drop_becomes_a_diagnosis_and_the_data_stay(
    home: Path, environment: dict[str, str], moto_server: S3Server, tmp_path: Path
) -> None:
    bucket = Bucket.from_url(environment["ARGUS_BUCKET_URL"], storage_options=moto_server.storage_options())
    with argus_up(home, environment, signal.SIGINT) as told:
        for part in ("postgresql", "code server", "daemon", "webserver", "bucket"):
            assert part in told, told
        (ui_url,) = set(re.findall(r"http://127\.0\.0\.1:\d+", told)) - {moto_server.endpoint}
        with urllib.request.urlopen(f"{ui_url}/server_info", timeout=5) as response:
            assert response.status == 200
        first = outcome(bucket, drop(bucket, drive(tmp_path, "car_misfire_coil", 30), "b1"))
        assert first.state == "completed"
        assert first.root_causes[0].cause == "ignition_coil_cylinder_1"
        assert status(home, environment) == {first.partition_key: "completed"}
    with argus_up(home, environment, signal.SIGTERM):
        second = outcome(bucket, drop(bucket, drive(tmp_path, "truck_healthy", 10), "b2"))
        assert status(home, environment) == dict.fromkeys((first.partition_key, second.partition_key), "completed")


def test_a_second_supervisor_in_the_same_home_is_refused(home: Path, moto_server: S3Server) -> None:
    settings = Settings(home=home, bucket_url=f"{moto_server.url}/{home.name}", lake_url=str(home / "lake"), port=0)
    first = HomeLock(home)
    first.acquire()
    try:
        with pytest.raises(BadSetting, match=f"already runs.*{os.getpid()}"):
            Supervisor(settings, webserver=False).start()
    finally:
        first.release()
