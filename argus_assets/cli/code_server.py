"""`argus code-server`: the process that loads the definitions, evaluates sensors and starts runs."""

import os
from pathlib import Path

import click

from argus_assets.cli.output import echo


@click.command("code-server")
@click.option(
    "--socket",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Unix socket to listen on, in a folder that nobody else enters (default: one in the home).",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on, with --port. There is no login: who reaches it has code executed.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="TCP port to listen on, instead of a socket.")
@click.option("--location-name", default="argus", show_default=True, help="Name of the code location.")
@click.option("--log-format", type=click.Choice(["colored", "json", "rich"]), default="colored", show_default=True)
def code_server(socket: Path | None, host: str, port: int | None, location_name: str, log_format: str) -> None:
    """Run the code server; DAGSTER_HOME names the folder of dagster.yaml.

    As `dagster api grpc -m argus_assets.definitions`, but run workers start in a moment.
    """
    from argus_assets.errors import BadSetting
    from argus_assets.runtime.code_address import CodeAddress, home_socket
    from argus_assets.runtime.connection import settings_for
    from argus_assets.runtime.servers.code_server import serve

    if socket is not None and port is not None:
        raise BadSetting("--socket and --port are given.", help="Give one of them.")
    if port is not None:
        address = CodeAddress(host=host, port=port)
    elif socket is not None:
        address = CodeAddress(socket=socket.absolute())
    else:
        address = home_socket(settings_for(None, os.environ).home)
    echo(f"Listening on {address}; the workspace file for it:\n{address.workspace(location_name)}", err=True)
    serve(listen=address.options(), location=location_name, options=["--log-format", log_format])
