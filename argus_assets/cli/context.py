"""Context of commands: the settings, and what they open: Dagster's instance, the bucket, the lake and the database.

Everything is imported when it is opened, so that `argus --help` stays quick.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from argus_assets.errors import BadSetting

if TYPE_CHECKING:
    import dagster as dg

    from argus_assets.adapters.postgres.database import Database
    from argus_assets.drop.bucket import Bucket
    from argus_assets.lake.batches import BatchStore
    from argus_assets.lake.store import Lake
    from argus_assets.metrics_collector import MetricsCollector
    from argus_assets.settings import Settings


def settings_of(home: Path | None) -> "Settings":
    """Return the settings of the environment, for the home that a command was given."""
    from argus_assets.runtime.connection import settings_for

    return settings_for(home, os.environ)


def bucket_of(settings: "Settings") -> "Bucket":
    """Open the bucket that the settings name."""
    from argus_assets.drop.bucket import Bucket

    return Bucket.from_url(settings.bucket_url)


def lake_of(settings: "Settings") -> "Lake":
    """Open the lake that the settings name."""
    from argus_assets.lake.store import Lake

    return Lake.from_url(settings.lake_url)


@dataclass(frozen=True)
class Context:
    """The running (or configured) Argus of one home."""

    settings: "Settings"
    instance: "dg.DagsterInstance"
    bucket: "Bucket"

    @cached_property
    def lake(self) -> "Lake":
        """The lake."""
        return lake_of(self.settings)

    @cached_property
    def batches(self) -> "BatchStore":
        """The lake by batch."""
        from argus_assets.lake.batches import BatchStore

        return BatchStore(self.lake)

    @property
    def database_url(self) -> str:
        """URL of the database, also of the embedded one."""
        return os.environ["ARGUS_DATABASE_URL"]  # `connect` puts it there, as dagster.yaml reads it from there

    @cached_property
    def database(self) -> "Database":
        """The database."""
        from argus_assets.adapters.postgres.database import Database

        return Database(self.database_url)

    def partition_of(self, batch: str) -> str:
        """Return the partition key of a batch that a person named.

        Args:
            batch: A partition key, `VEHICLE/BATCH`, or a batch id that only one vehicle has.

        Raises:
            BadSetting: No batch is known by that name.
        """
        from argus_assets.status import find_partition

        key = find_partition(self.instance, batch)
        if key is None:
            raise BadSetting(
                f"No batch is known as {batch!r}.",
                help="`argus status` lists all; give the partition key, or VEHICLE/BATCH.",
            )
        return key

    def metrics(self, *, since: float | None = None) -> "MetricsCollector":
        """Return the collector of metrics; see `MetricsCollector` for `since`."""
        from argus_assets.adapters.postgres.ledger import PostgresLedger
        from argus_assets.adapters.postgres.outbox import Outbox
        from argus_assets.metrics_collector import MetricsCollector
        from argus_assets.runtime.code_address import addresses_in, all_answer

        settings = self.settings
        # What `argus up` wrote; elsewhere, what daemon and webserver are given.
        own, given = settings.home / "dagster", Path(os.environ.get("DAGSTER_HOME", ""))
        workspace = next((f / "workspace.yaml" for f in (own, given) if (f / "workspace.yaml").is_file()), own)
        return MetricsCollector(
            self.instance,
            self.bucket,
            self.lake,
            PostgresLedger(self.database, daily_tokens=settings.llm.daily_tokens),
            Outbox(self.database),
            retain_days=settings.retention.days,
            interval_s=settings.sensor_interval_s,
            since=since,
            code_server=lambda: all_answer(addresses_in(workspace, os.environ)),
        )


@contextmanager
def connected(home: Path | None) -> Generator[Context]:
    """Connect to the Argus at this home; an embedded PostgreSQL is started when nobody else has.

    Raises:
        BadSetting: There is none.
        Unavailable: The database did not answer.
    """
    from argus_assets.runtime.connection import connect

    settings = settings_of(home)
    with connect(home) as (instance, bucket):
        yield Context(settings, instance, bucket)
