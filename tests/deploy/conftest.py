"""What the tests of deployments share: where the files are, and the option parsers of what they start."""

from collections.abc import Callable, Sequence
from pathlib import Path

import click
import pytest


@pytest.fixture(scope="session")
def deploy() -> Path:
    """The folder of deployments."""
    return Path(__file__).resolve().parents[2] / "deploy"


@pytest.fixture(scope="session")
def parses() -> Callable[[Sequence[str]], None]:
    """Raises when the program of a command line does not take its options."""
    from dagster._cli import create_dagster_cli
    from dagster._daemon.cli import create_dagster_daemon_cli
    from dagster_webserver.cli import create_dagster_webserver_cli

    from argus_assets.cli import root

    programs = {
        "argus": root,
        "dagster": create_dagster_cli(),
        "dagster-daemon": create_dagster_daemon_cli(),
        "dagster-webserver": create_dagster_webserver_cli(),
    }

    def check(command: Sequence[str]) -> None:
        name, *rest = command
        found: click.Command = programs[Path(name).name]
        context: click.Context | None = None
        while True:
            context = found.make_context(name, list(rest), parent=context)
            if not isinstance(found, click.Group):
                return
            left = [*context._protected_args, *context.args]  # noqa: SLF001 - click has no public way to them
            _, found, rest = found.resolve_command(context, left)  # type: ignore[assignment]

    return check
