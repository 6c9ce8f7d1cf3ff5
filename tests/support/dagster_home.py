"""Databases, and Dagster instances on them as the platform makes them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import dagster as dg
import psycopg2
import pytest
import yaml

from argus_assets.runtime.connection import dagster_yaml

ROOT = Path(__file__).parents[2]
Kind = Literal["one machine", "Helm chart"]
KINDS: tuple[Kind, ...] = ("one machine", "Helm chart")


@contextmanager
def new_database(server: str, template: str = "template1") -> Iterator[str]:
    """URL of a new database of this server, which goes at the end of the block."""
    name = f"t_{os.urandom(6).hex()}"
    connection = psycopg2.connect(server)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield server.replace("/argus?", f"/{name}?")
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    connection.close()


@contextmanager
def instance_on(
    url: str, home: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind = "one machine"
) -> Iterator[dg.DagsterInstance]:
    """An instance as `dagster.yaml` makes it; or with Dagster's own storage, as its Helm chart writes it, in a daemon."""
    monkeypatch.setenv("ARGUS_DATABASE_URL", url)
    home.mkdir(exist_ok=True)
    given = yaml.safe_load(dagster_yaml().read_text())
    if kind == "Helm chart":
        values = yaml.safe_load((ROOT / "deploy/kubernetes/values.yaml").read_text())
        given["run_coordinator"] = values["dagsterDaemon"]["runCoordinator"]["config"]["customRunCoordinator"]
        given["storage"] = {"postgres": {"postgres_url": {"env": "ARGUS_DATABASE_URL"}}}
    (home / "dagster.yaml").write_text(yaml.safe_dump(given))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.run_coordinator  # the daemon looks at it first
        yield instance
