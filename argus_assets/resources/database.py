"""Argus's tables in PostgreSQL, as a Dagster resource."""

from typing import Any

import dagster as dg

from argus_assets.adapters.postgres.database import Database


class DatabaseResource(dg.ConfigurableResource[Any]):
    """Argus's tables, in the database that holds Dagster's.

    Attributes:
        url: `postgresql://…`; from the environment, so no password is in a configuration.
    """

    url: str

    def database(self) -> Database:
        """Return the database at `url`."""
        return Database(self.url)
