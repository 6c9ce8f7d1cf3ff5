"""Endpoints of other systems and their events, as a Dagster resource."""

from pathlib import Path
from typing import Any

import dagster as dg

from argus_assets.adapters.postgres.database import Database
from argus_assets.adapters.postgres.outbox import Outbox
from argus_assets.notifications.alerts import AlertRules, read_alerts
from argus_assets.notifications.endpoints import Endpoint, parse_endpoints
from argus_assets.notifications.events import SOURCE


class WebhooksResource(dg.ConfigurableResource[Any]):
    """Endpoints and what they are told.

    Attributes:
        database_url: Of the platform's database, where the outbox is.
        webhooks: Value of `ARGUS_WEBHOOKS`; from the environment, for an address may hold a secret.
        secrets: Value of `ARGUS_WEBHOOK_SECRETS`; from the environment.
        alerts: Path of the TOML file of alert rules, none for no alerts.
        source: What tells the events of several platforms apart: a URI reference.
    """

    database_url: str
    webhooks: str
    secrets: str
    alerts: str | None = None
    source: str = SOURCE

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints.

        Raises:
            BadSetting: A setting cannot be used.
        """
        return parse_endpoints(self.webhooks, self.secrets)

    def rules(self) -> AlertRules:
        """The alert rules, read anew.

        Raises:
            BadSetting: The file cannot be used.
        """
        if self.alerts is None:
            return AlertRules()
        return read_alerts(Path(self.alerts), endpoints=[endpoint.name for endpoint in self.endpoints()])

    def outbox(self) -> Outbox:
        """Where events wait."""
        return Outbox(Database(self.database_url))
