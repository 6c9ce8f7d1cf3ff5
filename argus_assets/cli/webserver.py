"""`argus webserver`: the Dagster UI, for operators or only to look."""

from pathlib import Path

import click


@click.command()
@click.option(
    "--workspace",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="Dagster's workspace file, which says where the code server is.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. There is no login: keep it on loopback.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Port to listen on.")
@click.option("--read-only", is_flag=True, help="Only show: refuse all that changes anything.")
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    help="Name under which it may be asked, beside those of loopback. On another address than loopback: none means any.",
)
def webserver(workspace: Path, host: str, port: int, read_only: bool, hosts: tuple[str, ...]) -> None:
    """Run the Dagster UI; DAGSTER_HOME names the folder of dagster.yaml.

    As `dagster-webserver`, but requests that a page of another site makes are refused.
    """
    from argus_assets.runtime.servers.webserver import serve

    serve(workspace, host=host, port=port, read_only=read_only, hosts=hosts)
