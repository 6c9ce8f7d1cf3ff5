"""Buckets on a test server, and what is put past Argus into them."""

import os
from hashlib import sha256

from argus_assets.drop.bucket import Bucket
from argus_assets.runtime.embedded.s3 import S3Server


def fresh_bucket(server: S3Server, name: str) -> Bucket:
    """A prefix of the server's bucket that no other test uses."""
    prefix = sha256(f"{name}{os.urandom(8).hex()}".encode()).hexdigest()[:12]
    return Bucket.from_url(f"{server.url}/{prefix}", storage_options=server.storage_options())


def place_of(bucket: Bucket) -> tuple[str, str]:
    """Return the name of the S3 bucket, and what stands before this bucket's keys in it."""
    name, _, base = bucket.url.removeprefix("s3://").rstrip("/").partition("/")
    return name, f"{base}/" if base else ""


def put_unchecked(bucket: Bucket, key: str, content: bytes = b"{}") -> None:
    """Put an object on S3 as a foreign client would: under any key, also one that Argus refuses to write."""
    name, lead = place_of(bucket)
    bucket.fs.pipe_file(f"{name}/{lead}{key}", content)
