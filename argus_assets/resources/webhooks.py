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
    """Endpoints, and the rules of what is sent to them.

    Attributes:
        database_url: URL of Argus's database, which has the outbox.
        webhooks: Value of `ARGUS_WEBHOOKS`; from the environment, for an address may hold a secret.
        secrets: Value of `ARGUS_WEBHOOK_SECRETS`; from the environment.
        alerts: Path of the TOML file of alert rules, none for no alerts.
        source: Source of the events, a URI reference: tells several installations apart.
    """

    database_url: str
    webhooks: str
    secrets: str
    alerts: str | None = None
    source: str = SOURCE

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the endpoints.

        Raises:
            BadSetting: A setting cannot be used.
        """
        return parse_endpoints(self.webhooks, self.secrets)

    def rules(self) -> AlertRules:
        """Return the alert rules, read anew.

        Raises:
            BadSetting: The file cannot be used.
        """
        if self.alerts is None:
            return AlertRules()
        return read_alerts(Path(self.alerts), endpoints=[endpoint.name for endpoint in self.endpoints()])

    def outbox(self) -> Outbox:
        """Return the outbox."""
        return Outbox(Database(self.database_url))
