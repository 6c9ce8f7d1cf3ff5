"""Dagster instances on a database, as the platform makes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from argus_assets.embedded.platform import dagster_yaml


@contextmanager
def instance_on(url: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """An instance as `dagster.yaml` makes it."""
    monkeypatch.setenv("ARGUS_DATABASE_URL", url)
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_bytes(dagster_yaml().read_bytes())
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance
