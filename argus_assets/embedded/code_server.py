"""Dagster's code server, whose run workers are forked from a process that has imported everything already.

Dagster's own starts a new Python for each run: 5 seconds of CPU before the first byte is read. Forking from the code
server itself would be unsafe, for its threads hold locks. `multiprocessing`'s fork server only imports (`preload`)
and forks: it has no thread of Python's, and those that libraries start when they are imported (OpenBLAS, jemalloc)
come through a fork by their own handlers.
"""

import multiprocessing
import multiprocessing.forkserver
from collections.abc import Sequence
from typing import Any, Final

import dagster._grpc.server as dagster_server
from dagster._cli.api import api_cli

MODULE: Final = "argus_assets.definitions"
PRELOAD: Final = "argus_assets.embedded.preload"


class ForkingApiServer(dagster_server.DagsterApiServer):
    """`DagsterApiServer` that forks its run workers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Dagster's own
        super().__init__(*args, **kwargs)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([PRELOAD])
        # Imports while nobody waits for a run yet.
        multiprocessing.forkserver.ensure_running()
        self._mp_ctx = context


def serve(*, host: str, port: int, location: str, options: Sequence[str] = ()) -> None:
    """Run the code server until SIGINT or SIGTERM.

    Args:
        host: Address to listen on.
        port: Port to listen on.
        location: Name of the code location.
        options: More options of `dagster api grpc`.
    """
    dagster_server.DagsterApiServer = ForkingApiServer  # what `dagster api grpc` starts; it has no option for it
    where = ["--host", host, "--port", str(port), "--location-name", location]
    api_cli.main(["grpc", "--module-name", MODULE, *where, *options], prog_name="argus code-server")
