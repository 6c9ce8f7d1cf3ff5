"""The bytes of the messages that events point to, for detectors over tables that do not hold them."""

from collections.abc import Sequence

import polars as pl

from argus_assets.faults.activations import MAX_EVIDENCE_BYTES
from argus_assets.faults.can_frames import PROVENANCE


def with_payloads(events: pl.DataFrame, frames: pl.LazyFrame, kinds: Sequence[str]) -> pl.DataFrame:
    """Fill in the evidence bytes of events; where there is no such message they stay empty.

    Args:
        events: `schema.ERROR_EVENTS`, of channels whose messages are small.
        frames: `recordings.schema.FRAMES` with a column `recording`; only the frames that are evidence are read.
        kinds: Of those frames.
    """
    if events.is_empty():
        return events
    payload_hex = pl.col("payload").bin.slice(0, MAX_EVIDENCE_BYTES).bin.encode("hex")
    channels = events["channel"].unique().to_list()
    evidence = (
        # Camera and lidar messages are frames too: their payloads must not be read.
        frames.filter(pl.col("kind").is_in(kinds) & pl.col("channel").cast(pl.String).is_in(channels))
        .select(*PROVENANCE, "payload")
        .join(events.select(PROVENANCE).unique().lazy(), on=PROVENANCE, how="semi")
        .select(*PROVENANCE, payload_hex=payload_hex)
        .collect()
    )
    return (
        events.drop("payload_hex")
        .join(evidence, on=PROVENANCE, how="left", maintain_order="left")
        .with_columns(pl.col("payload_hex").fill_null(""))
        .select(events.columns)
    )
