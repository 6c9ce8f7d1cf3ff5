"""The bytes of the messages that events point to, for detectors over tables that do not hold them."""

import polars as pl

from argus_assets.faults.activations import MAX_EVIDENCE_BYTES
from argus_assets.faults.can_frames import PROVENANCE


def with_payloads(events: pl.DataFrame, frames: pl.LazyFrame, among: pl.Expr) -> pl.DataFrame:
    """Fill in the evidence bytes of events; where there is no such message they stay empty.

    Args:
        events: `schema.ERROR_EVENTS`.
        frames: `recordings.schema.FRAMES` with a column `recording`.
        among: Filter for the frames among which the evidence is. Camera and lidar messages are frames too: their
            payloads must not be read.
    """
    if events.is_empty():
        return events
    evidence = (
        frames.filter(among)
        .select(*PROVENANCE, payload_hex=pl.col("payload").bin.slice(0, MAX_EVIDENCE_BYTES).bin.encode("hex"))
        .join(events.select(PROVENANCE).unique().lazy(), on=PROVENANCE, how="semi")
        .collect()
    )
    return (
        events.drop("payload_hex")
        .join(evidence, on=PROVENANCE, how="left", maintain_order="left")
        .with_columns(pl.col("payload_hex").fill_null(""))
        .select(events.columns)
    )


def on_channels_of(events: pl.DataFrame, *kinds: str) -> pl.Expr:
    """Return a filter for the frames of some kinds on the channels of events, whose messages are small."""
    channels = events["channel"].unique().to_list()
    return pl.col("kind").is_in(kinds) & pl.col("channel").cast(pl.String).is_in(channels)
