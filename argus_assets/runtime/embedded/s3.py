"""A small S3 server for the demo and the quick tests (`moto`): the real protocol on loopback, objects in memory.

It takes any secret and knows no policies: access is tested on another server.
"""

import socket
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from argus_assets.errors import BadSetting, Unavailable
from argus_assets.runtime.child import Child
from argus_assets.runtime.ports import free_port

BUCKET: Final = "argus-drops"
_START_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class S3Server:
    """Endpoint and credentials of a server."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str

    @property
    def url(self) -> str:
        """URL of the bucket."""
        return f"s3://{self.bucket}"

    def environment(self) -> dict[str, str]:
        """Return the standard `AWS_…` variables."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def storage_options(self) -> dict[str, object]:
        """Return the same for fsspec."""
        return {
            "key": self.access_key,
            "secret": self.secret_key,
            "endpoint_url": self.endpoint,
            "client_kwargs": {"region_name": "us-east-1"},
        }


@contextmanager
def s3_server(log: Path, environment: dict[str, str]) -> Generator[S3Server]:
    """Run a server with one bucket for the time of the block.

    Raises:
        BadSetting: `moto` is not installed.
        Unavailable: It did not start.
    """
    from importlib.util import find_spec

    if find_spec("moto") is None:
        raise BadSetting("The S3 server of the demo needs the package moto.", help="pip install 'argus-assets[demo]'")
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    child = Child("s3 server", command, f"http://127.0.0.1:{port}", log)
    child.start(environment)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if not child.alive() or time.monotonic() > deadline:
                raise Unavailable(f"The S3 server did not start:\n{child.tail()}", help=f"See {log}.")
            time.sleep(0.1)
        server = S3Server(child.where, "argus-demo", "argus-demo-secret", BUCKET)
        make_bucket(server)
        yield server
    finally:
        child.stop()


def make_bucket(server: S3Server) -> None:
    """Create the server's bucket."""
    import fsspec

    fs = fsspec.filesystem("s3", **server.storage_options(), use_listings_cache=False, skip_instance_cache=True)
    # mkdir would name us-east-1 as a location constraint, which S3 does not take.
    fs.call_s3("create_bucket", Bucket=server.bucket)
