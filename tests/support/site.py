"""Fixtures of the tests with a real Dagster instance on a real PostgreSQL, and drives to drop.

A plug-in of tests/conftest.py, so that the folders of all rooms have them. It imports assets, sensors and the simulator
only where they are used: tests of pure packages start without them.
"""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import dagster as dg
import psycopg2
import pytest

from argus_assets.drop.bucket import Bucket
from argus_assets.lake.store import Lake
from tests.support.dagster_home import instance_on, new_database
from tests.support.values import START_NS, VIN

if TYPE_CHECKING:
    from argus_assets.drop.manifest import Manifest
    from argus_assets.simulate.fleet import Drive

SECONDS = 12.0


@pytest.fixture(scope="session")
def drives(tmp_path_factory: pytest.TempPathFactory) -> "dict[str, Drive]":
    """One short drive of some scenarios."""
    from argus_assets.simulate.fleet import simulate_drive

    folder = tmp_path_factory.mktemp("drives")
    return {
        scenario: simulate_drive(
            folder / scenario,
            scenario=scenario,
            seed=5,
            vehicle_id=scenario.replace("_", "-"),
            vin=VIN,
            release="2026.10",
            batch_id="b1",
            started_ns=START_NS,
            seconds=SECONDS,
            files=2,
        )
        for scenario in ("truck_oil_pressure", "car_healthy", "truck_overheating", "av_lidar_dropout")
    }


@pytest.fixture(scope="session")
def database_template(postgres: str) -> Iterator[str]:
    """Name of a database with the tables of Dagster and of Argus, which nobody uses; a copy is made in a moment."""
    from argus_assets.adapters.postgres.database import Database

    with new_database(postgres) as url, tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        with instance_on(url, Path(home), patch), Database(url).transaction():
            pass
        name = urlsplit(url).path.strip("/")
        with psycopg2.connect(postgres) as connection, connection.cursor() as cursor:
            # Those that are kept open.
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        connection.close()
        yield name


@pytest.fixture
def argus_database_url(postgres: str, database_template: str) -> Iterator[str]:
    """URL of a database of this test alone, with all tables; that of its `instance` and `site`."""
    with new_database(postgres, database_template) as url:
        yield url


@pytest.fixture
def instance(argus_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """An instance with the project's own dagster.yaml, in a database of its own."""
    with instance_on(argus_database_url, tmp_path / "dagster", monkeypatch) as made:
        yield made


@dataclass
class Site:
    """A bucket, a lake and an instance, with the daemon's part of a tick and of a run."""

    bucket: Bucket
    lake: Lake
    instance: dg.DagsterInstance
    resources: dict[str, object]
    cursor: str | None = None

    def drop(self, drive: "Drive", *, batch_id: str | None = None, release: str | None = None) -> "Manifest":
        from argus_assets.simulate.drop import drop_drive

        named = replace(drive, batch_id=batch_id or drive.batch_id, release=release or drive.release)
        return drop_drive(self.bucket, named)

    def tick(self, *, crash: bool = False) -> dg.SensorResult:
        """Evaluate the sensor and record what it returns, in the daemon's order; a crash loses its record."""
        from argus_assets.sensors.completed_batches import take_completed_batches

        result = take_completed_batches(self.instance, self.cursor, self.bucket, self.lake)
        if crash:
            return result
        for event in result.asset_events or ():
            self.instance.report_runless_asset_event(event)
        for request in result.dynamic_partitions_requests or ():
            self.instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        self.cursor = result.cursor
        return result

    def run(self, request: dg.RunRequest, **changes) -> dg.ExecuteInProcessResult:
        from argus_assets.assets.batch_assets import batch_assets

        return dg.materialize(
            [batch_assets],
            instance=self.instance,
            resources=self.resources,
            tags=dict(request.tags),
            partition_key=request.partition_key,
            raise_on_error=False,
            **changes,
        )

    def tick_and_run(self) -> list[dg.ExecuteInProcessResult]:
        return [self.run(request) for request in self.tick().run_requests or ()]

    def made(self, asset: str, partition: str) -> int:
        records = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition])
        return len(self.instance.fetch_materializations(records, limit=100).records)


@pytest.fixture
def site(tmp_path: Path, instance: dg.DagsterInstance) -> Site:
    from argus_assets.resources.bucket import BucketResource
    from argus_assets.resources.capacity import CapacityResource
    from argus_assets.resources.decoders import DecodersResource
    from argus_assets.resources.diagnosis import DiagnosisResource
    from argus_assets.resources.faults import FaultsResource
    from argus_assets.resources.lake import LakeResource

    url = str(tmp_path / "bucket")
    bucket = Bucket.from_url(url)
    bucket.ensure()
    lake = str(tmp_path / "lake")
    resources = {
        "bucket": BucketResource(url=url),
        "lake": LakeResource(url=lake),
        "decoders": DecodersResource(),
        "faults": FaultsResource(),
        "capacity": CapacityResource(),
        "diagnostician": DiagnosisResource(database_url=os.environ["ARGUS_DATABASE_URL"], home=str(tmp_path / "home")),
    }
    return Site(bucket, Lake.from_url(lake), instance, resources)
