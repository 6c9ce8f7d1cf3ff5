"""Configuration of fault detection, as a Dagster resource."""

from pathlib import Path
from typing import Any

import dagster as dg

from argus_assets.faults.config import FaultConfig
from argus_assets.faults.plugins.packages import load_faults


class FaultsResource(dg.ConfigurableResource[Any]):
    """Shipped rules, what a fleet configures, and detectors of installed packages.

    Attributes:
        path: TOML file of the configuration, none without.
    """

    path: str | None = None

    def config(self) -> FaultConfig:
        """Return the configuration; installed packages are loaded anew.

        Raises:
            BadSetting: The file cannot be used.
        """
        return load_faults(Path(self.path) if self.path else None)
