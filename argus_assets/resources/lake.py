"""The lake as a Dagster resource."""

from typing import Any

import dagster as dg

from argus_assets.lake.store import Lake


class LakeResource(dg.ConfigurableResource[Any]):
    """The lake, where tables, diagnoses and pages are kept.

    Attributes:
        url: Folder or `s3://bucket/prefix`.
    """

    url: str

    def lake(self) -> Lake:
        """Return the lake at `url`."""
        return Lake.from_url(self.url)
