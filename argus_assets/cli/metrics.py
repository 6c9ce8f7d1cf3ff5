"""`argus metrics`: the platform's figures for Prometheus, over HTTP or in a file of node_exporter."""

import os
import signal
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from argus_assets.cli.output import echo
from argus_assets.cli.status import home_option
from argus_assets.runtime.web_guard import own_names, refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Iterator
    from wsgiref.simple_server import WSGIServer
    from wsgiref.types import StartResponse

    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import CollectorRegistry

    from argus_assets.metrics_collector import Watcher


_CLIENT_SECONDS: Final = 30.0
"""A client that says nothing for so long is let go."""


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=9464, show_default=True, help="Port of the endpoint.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Its address. It has no login: keep it on loopback."
)
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write this file (node_exporter's textfile collector, *.prom) instead of serving.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    help="Name under which it may be asked, beside those of loopback. On another address than loopback: none means any.",
)
@click.option("--every", type=click.FloatRange(1, 3600), default=15.0, show_default=True, help="Seconds between files.")
@click.option("--once", is_flag=True, help="Write once and end: to --file, or else to standard output.")
@home_option
def metrics(
    port: int, host: str, path: Path | None, hosts: tuple[str, ...], every: float, once: bool, home: Path | None
) -> None:
    """Tell Prometheus how the platform does, at /metrics or in a file.

    Figures come from Dagster's records, the bucket and the ledger at each scrape; nothing is stored. Counters count
    from the oldest event that Dagster still holds. docs/operations.md lists them all.
    """
    from prometheus_client import generate_latest, write_to_textfile

    from argus_assets.errors import BadSetting

    with watching(home) as watcher:
        registry = registry_of(watcher)
        watcher.snapshot()  # the first one reads all events: before anybody waits for it
        if once:
            if path is None:
                click.echo(generate_latest(registry).decode(), nl=False)
            else:
                write_to_textfile(str(path), registry)
            return
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        if path is not None:
            while True:
                write_to_textfile(str(path), registry)
                if stop.wait(every):
                    return
        try:
            server = metrics_server(registry, host=host, port=port, hosts=own_names(host, hosts))
        except OSError as error:
            raise BadSetting(f"Port {port} on {host} cannot be used: {error}.", help="Give another --port.") from error
        echo(f"Figures are at http://{host}:{server.server_port}/metrics. Ctrl-C stops.")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        stop.wait()
        server.shutdown()
        server.server_close()
        thread.join()


def metrics_server(
    registry: "CollectorRegistry", *, host: str, port: int, hosts: "Collection[str] | None"
) -> "WSGIServer":
    """Make a server of the figures that refuses what `web_guard` refuses.

    Args:
        registry: The figures.
        host: Address to listen on.
        port: Port to listen on, 0 for any.
        hosts: Names under which it may be asked, `None` for any.

    Raises:
        OSError: The port cannot be used.
    """
    import socket
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    from prometheus_client import make_wsgi_app
    from prometheus_client.exposition import ThreadingWSGIServer

    class Server(ThreadingWSGIServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    class Handler(WSGIRequestHandler):
        timeout = _CLIENT_SECONDS

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the library's name
            """Say nothing of each scrape."""

    figures = make_wsgi_app(registry)

    def guarded(environ: dict[str, Any], start_response: "StartResponse") -> "Iterable[bytes]":
        named = {"HTTP_HOST": "host", "HTTP_ORIGIN": "origin", "HTTP_SEC_FETCH_SITE": "sec-fetch-site"}
        why = refusal(
            method=environ["REQUEST_METHOD"],
            path=environ["PATH_INFO"],
            query=environ["QUERY_STRING"],
            headers={name: environ[key] for key, name in named.items() if key in environ},
            hosts=hosts,
        )
        if why is None:
            return figures(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [why.encode()]

    return make_server(host, port, guarded, Server, Handler)


@contextmanager
def watching(home: Path | None, *, since: float | None = None) -> "Generator[Watcher]":
    """A reader of the figures of the platform at this home; see `Watcher` for `since`."""
    from argus_assets.adapters.postgres.database import Database
    from argus_assets.adapters.postgres.ledger import PostgresLedger
    from argus_assets.adapters.postgres.outbox import Outbox
    from argus_assets.lake.store import Lake
    from argus_assets.metrics_collector import Watcher
    from argus_assets.runtime.code_address import addresses_in, all_answer
    from argus_assets.runtime.connection import connect, settings_for

    with connect(home) as (instance, bucket):
        settings = settings_for(home, os.environ)
        database = Database(os.environ["ARGUS_DATABASE_URL"])
        # What `argus up` wrote; elsewhere, what daemon and webserver are given.
        own, given = settings.home / "dagster", Path(os.environ.get("DAGSTER_HOME", ""))
        workspace = next((f / "workspace.yaml" for f in (own, given) if (f / "workspace.yaml").is_file()), own)
        yield Watcher(
            instance,
            bucket,
            Lake.from_url(settings.lake_url),
            PostgresLedger(database, daily_tokens=settings.llm.daily_tokens),
            Outbox(database),
            retain_days=settings.retention.days,
            interval_s=settings.sensor_interval_s,
            since=since,
            code_server=lambda: all_answer(addresses_in(workspace, os.environ)),
        )


class PlatformCollector:
    """Prometheus' collector: reads the figures when it is asked."""

    def __init__(self, watcher: "Watcher") -> None:
        self._watcher = watcher

    def collect(self) -> "Iterator[Metric]":
        """The families of one moment."""
        from argus_assets.monitoring.metrics import families

        return families(self._watcher.snapshot())

    def describe(self) -> "list[Metric]":
        """Nothing: to register must not read."""
        return []


def registry_of(watcher: "Watcher") -> "CollectorRegistry":
    """A registry with nothing but the platform's figures."""
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(PlatformCollector(watcher))
    return registry
