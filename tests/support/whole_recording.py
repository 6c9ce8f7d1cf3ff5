"""A whole local recording in memory."""

from pathlib import Path

from argus_assets.recordings.model import DEFAULT_LIMITS, FrameBatch, Limits, RecordingSummary, concat_batches
from argus_assets.recordings.reading import open_recording
from argus_assets.recordings.registry import BUILT_IN, Decoders


def read_recording(
    path: Path, *, limits: Limits = DEFAULT_LIMITS, decoders: Decoders = BUILT_IN
) -> tuple[FrameBatch, RecordingSummary]:
    """Read a whole recording."""
    with path.open("rb") as source:
        reader = open_recording(source, limits=limits, decoders=decoders, name=path.name)
        batches = list(reader)
    return concat_batches(batches), reader.summary
