"""The option `--faults` of the commands that look for faults."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from argus_assets.cli.output import echo

if TYPE_CHECKING:
    from argus_assets.faults.config import FaultConfig

faults_option = click.option(
    "--faults",
    "faults",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="ARGUS_FAULTS",
    help="TOML file of rules, signals and more (default: ARGUS_FAULTS; docs/faults.md).",
)


def load(faults: Path | None) -> "FaultConfig":
    """How faults are looked for; plug-ins that are passed over are told on standard error.

    Raises:
        BadSetting: The file cannot be used.
    """
    from argus_assets.faults.plugins.packages import load_faults

    config = load_faults(faults)
    for note in config.notes:
        echo(note, fg="yellow", err=True)
    return config
