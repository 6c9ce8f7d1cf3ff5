"""`argus code-server`: the process that loads the definitions, evaluates sensors and starts runs."""

import click


@click.command("code-server")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on. There is no login.")
@click.option("--port", type=click.IntRange(1, 65535), default=4266, show_default=True, help="Port to listen on.")
@click.option("--location-name", default="argus", show_default=True, help="Name of the code location.")
@click.option("--log-format", type=click.Choice(["colored", "json", "rich"]), default="colored", show_default=True)
def code_server(host: str, port: int, location_name: str, log_format: str) -> None:
    """Run the code server; DAGSTER_HOME names the folder of dagster.yaml.

    As `dagster api grpc -m argus_assets.definitions`, but run workers start in a moment.
    """
    from argus_assets.embedded.code_server import serve

    serve(host=host, port=port, location=location_name, options=["--log-format", log_format])
