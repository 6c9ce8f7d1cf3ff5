"""The whole way with real parts: S3 protocol, daemon, webserver, PostgreSQL; and what survives a kill."""

import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from argus_assets.assets.batch import STAGES
from argus_assets.drop.bucket import Bucket
from argus_assets.drop.keys import BatchRef
from argus_assets.drop.manifest import Manifest
from argus_assets.drop.results import read_result
from argus_assets.drop.upload import collect_files, drop_manifest, upload_files
from argus_assets.embedded.platform import Platform
from argus_assets.embedded.s3 import S3Server
from argus_assets.partitions import BATCHES
from argus_assets.settings import Settings
from argus_assets.simulate.fleet import Drive, simulate_drive
from argus_assets.status import BatchState, partition_states

pytestmark = [pytest.mark.integration, pytest.mark.timeout(420)]

WAIT_SECONDS = 200.0


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that PostgreSQL's own user can reach."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="argus-it-") as folder:
        yield Path(folder)


def settings(home: Path, server: S3Server) -> Settings:
    return Settings(
        home=home, bucket_url=f"{server.url}/{home.name}", lake_url=str(home / "lake"), sensor_interval_s=1, port=0
    )


@pytest.fixture
def bucket(home: Path, moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    for name, value in moto_server.environment().items():
        monkeypatch.setenv(name, value)
    return Bucket.from_url(f"{moto_server.url}/{home.name}")


def drop(bucket: Bucket, drive: Drive, batch_id: str) -> None:
    done = upload_files(bucket, collect_files([drive.folder]), vehicle_id=drive.vehicle_id, batch_id=batch_id)
    manifest = Manifest(
        vehicle_id=drive.vehicle_id,
        vin=drive.vin,
        batch_id=batch_id,
        release=drive.release,
        platform=drive.platform,
        recorded_from=datetime.fromtimestamp(drive.recorded_from_ns / 1e9, UTC),
        recorded_to=datetime.fromtimestamp(drive.recorded_to_ns / 1e9, UTC),
        files=tuple(f.entry for f in done),
    )
    drop_manifest(bucket, manifest)


def drive(folder: Path, scenario: str, seconds: float = 10.0) -> Drive:
    return simulate_drive(
        folder / scenario, scenario=scenario, seed=2, vehicle_id=scenario.replace("_", "-"), vin="1M8GDM9AXKP042788",
        release="1", batch_id="b", started_ns=1_795_000_000 * 10**9, seconds=seconds,
    )  # fmt: skip


def wait(platform: Platform, reached, seconds: float = WAIT_SECONDS) -> dict[str, BatchState]:
    """Watch until `reached(states)`; returns the states."""
    deadline = time.monotonic() + seconds
    with platform.instance() as instance:
        while True:
            keys = list(instance.get_dynamic_partitions(BATCHES))
            states = {key: state for key, (state, _) in partition_states(instance, keys).items()}
            if reached(states):
                return states
            assert time.monotonic() < deadline, f"{states}\n" + "\n".join(c.tail(30) for c in platform.children)
            platform.watch()
            time.sleep(0.2)


def made(instance: dg.DagsterInstance, asset: str, key: str) -> int:
    records = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key])
    return len(instance.fetch_materializations(records, limit=100).records)


def test_a_drop_becomes_a_diagnosis_and_the_data_stay(
    home: Path, bucket: Bucket, moto_server: S3Server, tmp_path: Path
) -> None:
    platform = Platform(settings(home, moto_server))
    platform.start()
    try:
        with urllib.request.urlopen(f"{platform.ui_url}/server_info", timeout=5) as response:
            assert response.status == 200
        drop(bucket, drive(tmp_path, "car_misfire_coil", 30), "b1")
        states = wait(platform, lambda s: list(s.values()) == [BatchState.COMPLETED])
        result = read_result(bucket, BatchRef("car-misfire-coil", "b1"))
        assert result is not None
        assert result.root_causes[0].cause == "ignition_coil_cylinder_1"
    finally:
        platform.stop()
    again = Platform(settings(home, moto_server), webserver=False)
    again.start()
    try:
        assert wait(again, lambda s: True) == states, "a restart keeps everything"
        drop(bucket, drive(tmp_path, "truck_healthy"), "b2")
        wait(again, lambda s: len(s) == 2 and set(s.values()) == {BatchState.COMPLETED})
    finally:
        again.stop()


@pytest.mark.parametrize("killed", [("daemon",), ("code server", "daemon", "postgresql")], ids=["daemon", "everything"])
def test_killed_in_mid_run_every_batch_completes_exactly_once(
    home: Path, bucket: Bucket, moto_server: S3Server, tmp_path: Path, killed: tuple[str, ...]
) -> None:
    platform = Platform(settings(home, moto_server), webserver=False)
    platform.start()
    one = drive(tmp_path, "car_healthy", 60)
    count = 24
    for number in range(count):
        drop(bucket, one, f"b{number:02d}")
    try:
        wait(platform, lambda s: BatchState.COMPLETED in s.values())
        children = {child.name: child.process for child in platform.children}
        for name in killed:
            if name == "postgresql":
                pid = int((home / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
                os.kill(pid, signal.SIGKILL)
            else:
                process = children[name]
                assert process is not None
                os.killpg(process.pid, signal.SIGKILL)
        states = None
        if "postgresql" in killed:
            platform.stop()  # what is left of it, as after a crash of the machine
            platform = Platform(settings(home, moto_server), webserver=False)
            platform.start()
        states = wait(platform, lambda s: len(s) == count and set(s.values()) == {BatchState.COMPLETED})
        with platform.instance() as instance:
            times = {key: [made(instance, asset, key) for asset in STAGES] for key in states}
        assert times == {key: [1] * len(STAGES) for key in states}, "each stage of each batch exactly once"
        wait(platform, lambda s: not bucket.list_inbox(limit=5))
        for number in range(count):
            result = read_result(bucket, BatchRef("car-healthy", f"b{number:02d}"))
            assert result is not None
            assert result.state == "completed"
            assert result.frames == one.frames
    finally:
        platform.stop()


def test_a_second_platform_at_the_same_home_is_refused(home: Path, moto_server: S3Server) -> None:
    from argus_assets.errors import BadSetting

    first, second = (Platform(settings(home, moto_server), webserver=False) for _ in range(2))
    first._take_home()
    try:
        with pytest.raises(BadSetting, match=f"already runs.*{os.getpid()}"):
            second.start()
    finally:
        first.stop()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_argus_up_stops_cleanly(home: Path, sent: signal.Signals) -> None:
    import sys

    process = subprocess.Popen(
        [sys.executable, "-m", "argus_assets", "up", "--home", home, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    told: list[str] = []
    for line in process.stdout:
        told.append(line)
        if "Ctrl-C stops" in line:
            break
    text = "".join(told)
    for part in ("postgresql", "code server", "daemon", "webserver", "bucket", "http://127.0.0.1:"):
        assert part in text, text
    process.send_signal(sent)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    assert not _still_there(home), "no process is left"


def _still_there(home: Path) -> list[str]:
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
