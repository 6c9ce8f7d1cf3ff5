"""`argus metrics`: Prometheus metrics over HTTP, or in a file for node_exporter."""

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from argus_assets.cli.context import connected
from argus_assets.cli.options import home_option
from argus_assets.cli.output import echo
from argus_assets.runtime.web_guard import own_names, refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from wsgiref.simple_server import WSGIServer
    from wsgiref.types import StartResponse

    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import CollectorRegistry

    from argus_assets.metrics_collector import MetricsCollector


_CLIENT_SECONDS: Final = 30.0
"""Close a connection that has been silent for so long."""


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=9464, show_default=True, help="Port of the endpoint.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address of the endpoint. It has no login: keep it on loopback.",
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
    help="Host name to accept besides those of loopback; may be repeated. On any other address, none means all.",
)
@click.option(
    "--every",
    type=click.FloatRange(1, 3600),
    default=15.0,
    show_default=True,
    help="Seconds between two writes of --file.",
)
@click.option("--once", is_flag=True, help="Write once and exit: to --file, else to standard output.")
@home_option
def metrics(
    port: int, host: str, path: Path | None, hosts: tuple[str, ...], every: float, once: bool, home: Path | None
) -> None:
    """Serve metrics for Prometheus at /metrics, or write them to a file.

    They are read from Dagster's records, the bucket and the ledger at each scrape; nothing is stored. Counters count
    from the oldest event that Dagster still holds. docs/metrics.md lists them all.
    """
    from prometheus_client import generate_latest, write_to_textfile

    from argus_assets.errors import BadSetting

    with connected(home) as context:
        collector = context.metrics()
        registry = registry_of(collector)
        collector.snapshot()  # the first one reads all events: done before the first scrape waits for it
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
        echo(f"Metrics are at http://{host}:{server.server_port}/metrics. Ctrl-C stops.")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        stop.wait()
        server.shutdown()
        server.server_close()
        thread.join()


def metrics_server(
    registry: "CollectorRegistry", *, host: str, port: int, hosts: "Collection[str] | None"
) -> "WSGIServer":
    """Return a metrics server that refuses what `web_guard` refuses.

    Args:
        registry: The metrics.
        host: Address to listen on.
        port: Port to listen on, 0 for any.
        hosts: Host names to accept, `None` for all.

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
            """Log no scrape."""

    served = make_wsgi_app(registry)

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
            return served(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [why.encode()]

    return make_server(host, port, guarded, Server, Handler)


class PrometheusCollector:
    """Prometheus' collector interface: reads the metrics at each scrape."""

    def __init__(self, collector: "MetricsCollector") -> None:
        self._collector = collector

    def collect(self) -> "Iterator[Metric]":
        """Yield the metric families of one snapshot."""
        from argus_assets.monitoring.metrics import families

        return families(self._collector.snapshot())

    def describe(self) -> "list[Metric]":
        """Return nothing: registering must not read the metrics."""
        return []


def registry_of(collector: "MetricsCollector") -> "CollectorRegistry":
    """Return a registry with nothing but the metrics of Argus."""
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(PrometheusCollector(collector))
    return registry
