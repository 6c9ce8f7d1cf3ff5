"""OBD-II: confirmed trouble codes from the answers to mode 03.

Sources: ISO 15031-5 / SAE J1979 (services), ISO 15765-4 (identifiers on CAN), SAE J2012 (two-byte codes).
"""

from typing import Final

import polars as pl

from argus_assets.faults.activations import REPORTS
from argus_assets.faults.isotp import IsoTpCounts, reassemble
from argus_assets.faults.severity import OBD_CONFIRMED

MODE_03_ANSWER: Final = 0x43
_FIRST_11_BIT, _LAST_11_BIT = 0x7E8, 0x7EF
_ANSWER_29_BIT: Final = 0x18DAF100
_MAX_EVIDENCE_BYTES: Final = 256


def dtc_text(high: int, low: int) -> str:
    """A two-byte code as people write it: two bits of letter, two of the first digit, twelve of hex (SAE J2012)."""
    return f"{'PCBU'[high >> 6]}{high >> 4 & 3}{high & 0x0F:X}{low:02X}"


def parse_mode_03(payload: bytes) -> tuple[str, ...] | None:
    """The codes of a mode 03 answer over CAN, `None` when it is not one. The count stands behind the service byte."""
    if len(payload) < 2 or payload[0] != MODE_03_ANSWER:
        return None
    pairs = payload[2 : 2 + 2 * payload[1]]
    codes = [dtc_text(pairs[i], pairs[i + 1]) for i in range(0, len(pairs) - 1, 2) if pairs[i] or pairs[i + 1]]
    return tuple(dict.fromkeys(codes))


def find_reports(frames: pl.LazyFrame) -> tuple[pl.DataFrame, IsoTpCounts]:
    """Reports of all mode 03 answers.

    Args:
        frames: `recordings.schema.FRAMES` with a column `recording`.

    Returns:
        `REPORTS`, and what became of the multi-frame messages of the ECUs.
    """
    can_id = pl.col("arbitration_id")
    rows = (
        frames.filter(
            (pl.col("kind") == "can")
            & ~pl.col("is_error_frame")
            & ~pl.col("is_remote_frame")
            & pl.when(pl.col("is_extended_id"))
            .then(can_id.is_between(_ANSWER_29_BIT, _ANSWER_29_BIT + 0xFF))
            .otherwise(can_id.is_between(_FIRST_11_BIT, _LAST_11_BIT))
        )
        .select(
            pl.col("timestamp").dt.timestamp("ns"),
            pl.col("channel").cast(pl.String),
            "arbitration_id",
            "payload",
            "recording",
            "frame",
        )
        .collect()
        .sort("timestamp", maintain_order=True)
    )
    counts = IsoTpCounts()
    severity, rule = OBD_CONFIRMED
    found: list[dict[str, object]] = []
    sequence: dict[tuple[str, int], int] = {}
    for message in reassemble(rows, counts):
        codes = parse_mode_03(message.payload)
        if codes is None:
            continue
        reporter = (message.channel, message.arbitration_id)
        seq = sequence[reporter] = sequence.get(reporter, -1) + 1
        found.extend(
            {
                "source": "obd_mode03",
                "channel": message.channel,
                "ecu": f"0x{message.arbitration_id:X}",
                "code": code,
                "seq": seq,
                "timestamp": message.timestamp_ns,
                "severity": str(severity),
                "severity_rule": rule,
                "recording": message.recording,
                "frame": message.frame,
                "payload_hex": message.payload[:_MAX_EVIDENCE_BYTES].hex(),
            }
            for code in codes
        )
    return pl.DataFrame(found, schema={**REPORTS, "timestamp": pl.Int64()}).cast(dict(REPORTS)), counts  # type: ignore[arg-type]
