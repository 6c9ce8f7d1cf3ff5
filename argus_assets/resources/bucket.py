"""The drop bucket as a Dagster resource."""

from typing import Any

import dagster as dg

from argus_assets.drop.bucket import Bucket


class BucketResource(dg.ConfigurableResource[Any]):
    """The bucket that vehicles drop into.

    Endpoint and credentials come from the standard variables (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, …),
    so no secret is in a configuration.

    Attributes:
        url: `s3://bucket[/prefix]` or a folder.
    """

    url: str

    def bucket(self) -> Bucket:
        """Return the bucket at `url`."""
        return Bucket.from_url(self.url)
