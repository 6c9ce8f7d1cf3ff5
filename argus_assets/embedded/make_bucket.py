"""`python -m argus_assets.embedded.make_bucket`: make the drop bucket that the settings name, on a new S3 server."""

import os
from contextlib import suppress

from argus_assets.settings import Settings


def make_bucket_of_settings() -> str:
    """Make the bucket unless it is there; returns its URL."""
    import fsspec

    settings = Settings.from_env(os.environ)
    fs, root = fsspec.url_to_fs(settings.bucket_url, use_listings_cache=False)
    # mkdir would name us-east-1 as a location constraint, which S3 does not take.
    with suppress(FileExistsError):  # BucketAlreadyOwnedByYou
        fs.call_s3("create_bucket", Bucket=str(root).partition("/")[0])
    return settings.bucket_url


if __name__ == "__main__":
    print(f"{make_bucket_of_settings()} is there.")  # noqa: T201 - a command
