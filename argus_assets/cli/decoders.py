"""The option `--decoders` of the commands that read recordings."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from argus_assets.cli.output import echo

if TYPE_CHECKING:
    from argus_assets.recordings.registry import Decoders

decoders_option = click.option(
    "--decoders",
    "declarations",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="ARGUS_DECODERS",
    help="TOML file of programs that read other formats (default: ARGUS_DECODERS; docs/recordings.md).",
)


def load(declarations: Path | None) -> "Decoders":
    """The formats in force; plug-ins that are passed over are told on standard error.

    Raises:
        BadSetting: The file cannot be used.
    """
    from argus_assets.recordings.plugins.loading import load_decoders

    decoders = load_decoders(declarations)
    for note in decoders.notes:
        echo(note, fg="yellow", err=True)
    return decoders
