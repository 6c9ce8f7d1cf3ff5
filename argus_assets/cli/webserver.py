"""`argus webserver`: the Dagster UI, for operators or read-only."""

from pathlib import Path

import click


@click.command()
@click.option(
    "--workspace",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="Dagster's workspace file, which names the code server's address.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. There is no login: keep it on loopback.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Port to listen on.")
@click.option("--read-only", is_flag=True, help="Refuse everything that changes anything.")
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    help="Host name to accept besides those of loopback; may be repeated. On any other address, none means all.",
)
def webserver(workspace: Path, host: str, port: int, read_only: bool, hosts: tuple[str, ...]) -> None:
    """Run the Dagster UI; DAGSTER_HOME names the folder of dagster.yaml.

    Like `dagster-webserver`, but requests made by pages of other sites are refused.
    """
    from argus_assets.runtime.servers.webserver import serve

    serve(workspace, host=host, port=port, read_only=read_only, hosts=hosts)
