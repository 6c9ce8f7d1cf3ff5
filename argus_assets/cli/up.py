"""`argus up`: run Argus until Ctrl-C or SIGTERM."""

import os
import signal
import threading
from pathlib import Path

import click

from argus_assets.cli.context import settings_of
from argus_assets.cli.options import home_option
from argus_assets.cli.output import terminal


@click.command()
@home_option
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address of the Dagster UI. It has no login: keep it on loopback.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port of the Dagster UI; 0 takes any free one (default: ARGUS_PORT, else 3000).",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65535),
    help="Serve Prometheus metrics at http://127.0.0.1:PORT/metrics, as `argus metrics` does (default: off).",
)
@click.option(
    "--viewer-port",
    type=click.IntRange(0, 65535),
    help="Port on loopback of a second, read-only Dagster UI; 0 takes any free one.",
)
@click.option(
    "--code-port",
    type=click.IntRange(1, 65535),
    help="TCP port on loopback of the code server (default: a Unix socket in the home, out of reach of other users).",
)
def up(
    home: Path | None,
    host: str,
    port: int | None,
    metrics_port: int | None,
    viewer_port: int | None,
    code_port: int | None,
) -> None:
    """Run PostgreSQL, code server, Dagster webserver and daemon until Ctrl-C or SIGTERM.

    Data stays in the home folder across restarts. ARGUS_DATABASE_URL, ARGUS_BUCKET_URL and ARGUS_LAKE_URL replace the
    embedded PostgreSQL and the folders; `argus doctor` checks them.
    """
    from argus_assets.runtime.supervisor import Supervisor

    console = terminal(soft_wrap=True)
    settings = settings_of(home)
    if port is not None:
        settings = settings.model_copy(update={"port": port})

    def report(name: str, text: str) -> None:
        console.print(f"{name:<12} ", style="bold", end="")
        console.print(text)

    stop = threading.Event()

    def on_signal(_signum: int, _frame: object) -> None:
        if stop.is_set():  # the second one: do not wait any longer
            os._exit(1)
        stop.set()

    def interrupt(_signum: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    supervisor = Supervisor(
        settings,
        host=host,
        viewer_port=viewer_port,
        metrics_port=metrics_port,
        code_port=code_port,
        on_event=report,
    )
    console.print(f"Starting Argus in {settings.home} …")
    try:
        supervisor.start()
    except KeyboardInterrupt:
        console.print("Stopped during start-up.")
        return
    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    report("bucket", settings.bucket_url)
    report("lake", settings.lake_url)
    report("logs", str(settings.home / "logs"))
    console.print(f"\nThe Dagster UI is at {supervisor.ui_url}. Drop a drive with:")
    console.print(
        f"  argus drop FOLDER --vehicle truck-1 --vin 1XKYD49X0EJ400001 --release 1.0 --to {settings.bucket_url}"
    )
    console.print("Ctrl-C stops everything; the data is kept.\n")
    try:
        while not stop.wait(1.0):
            supervisor.watch()
    finally:
        try:
            console.print("\nStopping …")
        finally:  # also when the output is closed
            supervisor.stop()
