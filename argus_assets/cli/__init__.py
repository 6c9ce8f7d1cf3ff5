"""The `argus` command. Each subcommand has its own module, which is imported only when it runs."""

from importlib import import_module
from typing import Final

import click

COMMANDS: Final = {
    "budget": "argus_assets.cli.budget:budget",
    "case": "argus_assets.cli.case:case",
    "code-server": "argus_assets.cli.code_server:code_server",
    "demo": "argus_assets.cli.demo:demo",
    "diagnose": "argus_assets.cli.diagnose:diagnose",
    "doctor": "argus_assets.cli.doctor:doctor",
    "drop": "argus_assets.cli.drop:drop",
    "events": "argus_assets.cli.events:events",
    "golden": "argus_assets.cli.golden:golden",
    "lifecycle": "argus_assets.cli.lifecycle:lifecycle",
    "metrics": "argus_assets.cli.metrics:metrics",
    "outbox": "argus_assets.cli.outbox:outbox",
    "policy": "argus_assets.cli.policy:policy",
    "quarantine": "argus_assets.cli.quarantine:quarantine",
    "rec": "argus_assets.cli.rec:rec",
    "reconcile": "argus_assets.cli.reconcile:reconcile",
    "replay": "argus_assets.cli.replay:replay",
    "rerun": "argus_assets.cli.rerun:rerun",
    "retain": "argus_assets.cli.retain:retain",
    "simulate": "argus_assets.cli.simulate:simulate",
    "status": "argus_assets.cli.status:status",
    "up": "argus_assets.cli.up:up",
    "vehicle": "argus_assets.cli.vehicle:vehicle",
    "webserver": "argus_assets.cli.webserver:webserver",
    "worker": "argus_assets.cli.worker:worker",
}


class LazyGroup(click.Group):
    """A click group whose commands are imported when they are needed."""

    def __init__(self, *args: object, commands_at: dict[str, str] | None = None, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._commands_at = commands_at or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, sorted."""
        return sorted({*super().list_commands(ctx), *self._commands_at})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name in self._commands_at:
            module, _, attribute = self._commands_at[cmd_name].partition(":")
            return getattr(import_module(module), attribute)
        return super().get_command(ctx, cmd_name)


@click.group(cls=LazyGroup, commands_at=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="argus-assets")
def root() -> None:
    """Argus: a dropped drive becomes a diagnosis."""


def main() -> None:
    """Run the command line; print errors that Argus raises on purpose in a few lines, without a traceback."""
    from argus_assets.cli.output import print_error
    from argus_assets.errors import ArgusError

    try:
        root()
    except ArgusError as error:
        print_error(error)
        raise SystemExit(1) from error
