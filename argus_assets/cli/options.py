"""Options that several commands share, and loaders of the files that they name."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from argus_assets.cli.output import echo

if TYPE_CHECKING:
    from argus_assets.faults.config import FaultConfig
    from argus_assets.recordings.model import Limits
    from argus_assets.recordings.registry import Decoders

home_option = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="Home folder of Argus, as given to `argus up` (default: ARGUS_HOME, else ~/.argus).",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

decoders_option = click.option(
    "--decoders",
    "declarations",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="ARGUS_DECODERS",
    help="TOML file of programs that read other formats (default: ARGUS_DECODERS; docs/recordings.md).",
)

faults_option = click.option(
    "--faults",
    "faults",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="ARGUS_FAULTS",
    help="TOML file of rules, signals and more (default: ARGUS_FAULTS; docs/faults.md).",
)

limits_option = click.option(
    "--limits",
    "limits_file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="ARGUS_LIMITS",
    help="TOML file of limits for one recording (default: ARGUS_LIMITS; docs/recordings.md).",
)


def load_decoders(declarations: Path | None) -> "Decoders":
    """Return the active decoders; skipped plug-ins are named on standard error.

    Raises:
        BadSetting: The file cannot be used.
    """
    from argus_assets.recordings.plugins.loading import load_decoders

    decoders = load_decoders(declarations)
    _warn(decoders.notes)
    return decoders


def load_faults(faults: Path | None) -> "FaultConfig":
    """Return the configuration of fault finding; skipped plug-ins are named on standard error.

    Raises:
        BadSetting: The file cannot be used.
    """
    from argus_assets.faults.plugins.packages import load_faults

    config = load_faults(faults)
    _warn(config.notes)
    return config


def load_limits(path: Path | None) -> "Limits":
    """Return the limits for one recording.

    Raises:
        BadSetting: The file cannot be used.
    """
    from argus_assets.recordings.limits_file import read_limits

    return read_limits(path)


def _warn(notes: Iterable[str]) -> None:
    for note in notes:
        echo(note, fg="yellow", err=True)
