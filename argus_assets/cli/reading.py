"""Reading of local recordings for commands that need their contents: in a confined process, as in a run."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argus_assets.recordings.contained import ReadPart
    from argus_assets.recordings.model import Limits
    from argus_assets.recordings.registry import Decoders


@contextmanager
def read_files(
    files: Sequence[Path], *, decoders: "Decoders", limits: "Limits", with_tables: bool = True
) -> "Generator[list[ReadPart]]":
    """Parse local recordings; their tables exist for the time of the block.

    Args:
        files: The recordings.
        decoders: The active decoders.
        limits: Limits for each recording.
        with_tables: Write the tables too, not only the summaries.

    Raises:
        BadRecording: A file cannot be opened.
        Unavailable: There is no space for the tables.
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
                raise BadRecording(msg, help="Check its permissions.") from error
        yield parts
