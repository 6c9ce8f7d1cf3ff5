"""Places in the bucket of a test server."""

import os
from hashlib import sha256

from argus_assets.drop.bucket import Bucket
from argus_assets.runtime.embedded.s3 import S3Server


def fresh_bucket(server: S3Server, name: str) -> Bucket:
    """A prefix of the server's bucket that no other test uses."""
    prefix = sha256(f"{name}{os.urandom(8).hex()}".encode()).hexdigest()[:12]
    return Bucket.from_url(f"{server.url}/{prefix}", storage_options=server.storage_options())
