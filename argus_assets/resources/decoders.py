"""Recording formats and limits, as a Dagster resource."""

from pathlib import Path
from typing import Any

import dagster as dg

from argus_assets.recordings.limits_file import read_limits
from argus_assets.recordings.model import Limits
from argus_assets.recordings.plugins.loading import load_decoders
from argus_assets.recordings.registry import Decoders


class DecodersResource(dg.ConfigurableResource[Any]):
    """Built-in formats, declared programs, and decoders of installed packages.

    Attributes:
        path: TOML file of external programs, none without.
        limits_path: TOML file of what a recording may cost, none for the defaults.
    """

    path: str | None = None
    limits_path: str | None = None

    def decoders(self) -> Decoders:
        """Return the formats; installed packages are loaded anew.

        Raises:
            BadSetting: The file cannot be used.
        """
        return load_decoders(Path(self.path) if self.path else None)

    def limits(self) -> Limits:
        """Return what a recording may cost.

        Raises:
            BadSetting: The file cannot be used.
        """
        return read_limits(Path(self.limits_path) if self.limits_path else None)
