"""Reading local recordings for the commands that look into them: in a confined process, as a run does."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from argus_assets.recordings.contained import ReadPart
    from argus_assets.recordings.model import Limits
    from argus_assets.recordings.registry import Decoders

limits_option = click.option(
    "--limits",
    "limits_file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="ARGUS_LIMITS",
    help="TOML file of what one recording may cost (default: ARGUS_LIMITS; docs/recordings.md).",
)


def load_limits(path: Path | None) -> "Limits":
    """Return what one recording may cost.

    Raises:
        BadSetting: The file cannot be used.
    """
    from argus_assets.recordings.limits_file import read_limits

    return read_limits(path)


@contextmanager
def read_files(
    files: Sequence[Path], *, decoders: "Decoders", limits: "Limits", with_tables: bool = True
) -> "Generator[list[ReadPart]]":
    """Parse local recordings; their tables are there for the time of the block.

    Args:
        files: The recordings.
        decoders: The formats in force.
        limits: What each may cost.
        with_tables: Write the tables, and not the summaries alone.

    Raises:
        BadRecording: A file cannot be opened.
        Unavailable: There is no room for the tables.
    """
    from argus_assets.containment.client import pool
    from argus_assets.errors import BadRecording
    from argus_assets.recordings.contained import read_contained

    with pool() as processes, processes.process() as process:
        parts: list[ReadPart] = []
        for path in files:
            try:
                with path.open("rb") as source:
                    parts.append(
                        read_contained(
                            process, source, name=path.name, decoders=decoders, limits=limits, with_tables=with_tables
                        )
                    )
            except OSError as error:
                msg = f"Could not read {path}: {error.strerror or error}."
                raise BadRecording(msg, help="Check that you may read it.") from error
        yield parts
