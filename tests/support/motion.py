"""Drives of frames and topics that tell how far and how fast a vehicle went."""

import struct

import polars as pl

from argus_assets.common.tables import TIMESTAMP
from argus_assets.recordings.drive import Drive
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS

S = 10**9
START = 1_790_000_000 * S
VDHR, VD, CCVS, OBD = 0x18FEC127, 0x18FEE000, 0x18FEF100, 0x7E8
NOT_AVAILABLE, ERROR = 0xFFFFFFFF, 0xFE000000


def drive_of(*frames: tuple[float, int, bytes], topics=None, **columns) -> Drive:
    """A drive of CAN frames (second, identifier, payload) and of topics."""
    rows = [
        {
            "frame": n, "timestamp": START + round(at * S), "channel": "CAN1", "kind": "can", "arbitration_id": can_id,
            "is_extended_id": can_id > 0x7FF, "is_error_frame": False, "is_remote_frame": False, "payload": payload, **columns,
        }
        for n, (at, can_id, payload) in enumerate(frames)
    ]  # fmt: skip
    schema = {**FRAMES.schema, "timestamp": pl.Int64(), "channel": pl.String()}
    recording = pl.lit("r").alias("recording")
    return Drive(
        FRAMES.cast(pl.DataFrame(rows, schema=schema)).lazy().with_columns(recording),
        LOGS.empty().lazy().with_columns(recording),
        DIAGNOSTICS.empty().lazy().with_columns(recording),
        topics or {},
    )


def topic(seconds, **columns) -> pl.LazyFrame:
    times = pl.Series([START + round(at * S) for at in seconds]).cast(TIMESTAMP)
    return pl.DataFrame({"timestamp": times, **columns}).lazy().with_columns(recording=pl.lit("r"))


def ccvs(kmh: float) -> bytes:
    return struct.pack("<BHBI", 0xFF, round(kmh * 256), 0xFF, NOT_AVAILABLE)
