"""`argus worker`: run a Celery worker, for Argus on several hosts, until SIGTERM."""

import os
import socket

import click


@click.command()
@click.option("--slots", type=click.IntRange(1, 64), default=1, show_default=True, help="Concurrent runs on this host.")
@click.option("--name", help="Name of the worker, unique on its host (default: argus).")
def worker(slots: int, name: str | None) -> None:
    """Run a Celery worker that takes runs from the queue (deploy/celery).

    DAGSTER_HOME must hold a `dagster.yaml` with the run launcher for Celery, and the ARGUS_ variables must be the same
    on all hosts. SIGTERM lets runs finish first, SIGQUIT does not.
    """
    from argus_assets.common.capacity import MEMORY_SHARE, MIB, machine_memory
    from argus_assets.containment.client import share_server
    from argus_assets.errors import BadSetting

    if not os.environ.get("DAGSTER_HOME"):
        raise BadSetting("DAGSTER_HOME is not set.", help="Set it to the folder that holds deploy/celery/dagster.yaml.")
    try:
        from argus_assets.dagster_instance.celery_launcher import WatchedCeleryLauncher
    except ModuleNotFoundError as error:
        raise BadSetting(f"{error.name} is not installed.", help="pip install 'argus-assets[celery]'") from error
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        launcher = instance.run_launcher
        if not isinstance(launcher, WatchedCeleryLauncher):
            raise BadSetting(
                f"dagster.yaml in {os.environ['DAGSTER_HOME']} launches runs with {type(launcher).__name__}.",
                help="Use deploy/celery/dagster.yaml on all hosts.",
            )
        app = launcher.worker_app()
    # The queue counts the runs of all hosts: what one may take depends on how many share this one.
    os.environ.setdefault("ARGUS_RUN_MEMORY_MB", str(max(256, int(machine_memory() * MEMORY_SHARE / slots) // MIB)))
    share_server()
    hostname = f"{name or 'argus'}@{socket.gethostname()}"
    app.worker_main(
        ["worker", "--concurrency", str(slots), "--hostname", hostname, "--loglevel", "INFO", "--without-mingle"]
    )
