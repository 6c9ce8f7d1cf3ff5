"""CAN data frames as the id-based detectors take them.

Error frames carry class bits in place of an identifier, and remote frames carry no data: neither may reach a
detector that goes by identifiers, so all of them select their frames here.
"""

from typing import Final

import polars as pl

_IS_DATA: Final = (
    (pl.col("kind") == "can")
    & ~pl.col("is_error_frame").fill_null(value=False)
    & ~pl.col("is_remote_frame").fill_null(value=False)
)
IS_EXTENDED: Final = pl.col("is_extended_id").fill_null(value=False)
"""The identifier has 29 bits."""

PROVENANCE: Final = ("recording", "frame")
"""Where a frame is: the recording and its position in it."""

TIME_ORDER: Final = ("timestamp", *PROVENANCE)
"""Frames of several recordings in the order in which they were received."""


def data_frames(frames: pl.LazyFrame, wanted: pl.Expr) -> pl.LazyFrame:
    """Select the CAN data frames that a detector wants, unordered.

    Args:
        frames: `recordings.schema.FRAMES` with a column `recording`.
        wanted: Filter over `arbitration_id` and `is_extended_id`.

    Returns:
        timestamp (Int64, nanoseconds since 1970 UTC), channel (String), arbitration_id, is_extended_id,
        payload, recording, frame.
    """
    return frames.filter(_IS_DATA & wanted).select(
        pl.col("timestamp").dt.timestamp("ns"),
        # Each recording brings categories of its own.
        pl.col("channel").cast(pl.String),
        "arbitration_id",
        IS_EXTENDED.alias("is_extended_id"),
        "payload",
        *PROVENANCE,
    )


def byte(index: int) -> pl.Expr:
    """Return byte `index` of the payload as Int64, null where the payload is shorter."""
    return pl.col("payload").bin.get(index, null_on_oob=True).cast(pl.Int64)
