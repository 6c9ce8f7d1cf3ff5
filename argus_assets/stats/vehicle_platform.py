"""Infer the vehicle platform of a drive from its traffic."""

from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from argus_assets.recordings.drive import Drive

VehiclePlatform = Literal["truck", "car", "av"]

_BROADCAST_PGNS: Final = (
    61440, 61441, 61442, 61443, 61444, 65213, 65215, 65217, 65226, 65248, 65253, 65257, 65262, 65263, 65265, 65266, 65269,
    65270, 65271, 65272, 65276,
)  # fmt: skip
"""Parameter groups that engines, transmissions and brakes of heavy vehicles broadcast (SAE J1939-71, J1939-73 DM1)."""

_MIN_SHARE: Final = 0.02
"""Share of the CAN frames: a converter in a car may send a few that look like a heavy vehicle's."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Counts of recorded frames and messages.

    Attributes:
        can: CAN data frames.
        heavy: Those of parameter groups of SAE J1939 that heavy vehicles broadcast.
        messages: Messages of topics, logs and diagnostics of a software stack.
    """

    can: int = 0
    heavy: int = 0
    messages: int = 0


def count_traffic(drive: Drive) -> Traffic:
    """Count the traffic of a drive."""
    pgn = (pl.col("arbitration_id").cast(pl.UInt32) // 256) % 0x40000
    is_can = (pl.col("kind") == "can") & ~pl.col("is_error_frame").fill_null(value=False)
    counts = (
        drive.frames.select(
            can=is_can.sum(),
            heavy=(is_can & pl.col("is_extended_id").fill_null(value=False) & pgn.is_in(_BROADCAST_PGNS)).sum(),
            messages=(pl.col("kind") == "message").sum(),
        )
        .collect(engine="streaming")
        .row(0)
    )
    return Traffic(*(int(count) for count in counts))


def infer_platform(traffic: Traffic) -> tuple[VehiclePlatform | None, str]:
    """Infer the vehicle platform, and say why; `None` when the traffic does not show it.

    Messages of a software stack show an autonomous vehicle, whatever its buses are.
    """
    if traffic.messages:
        return "av", f"its recordings hold {traffic.messages:,} messages of a software stack"
    if traffic.heavy and traffic.heavy >= _MIN_SHARE * traffic.can:
        return "truck", f"{traffic.heavy:,} of its {traffic.can:,} CAN frames are those of a heavy vehicle (SAE J1939)"
    if traffic.can:
        return "car", f"its {traffic.can:,} CAN frames are not those of a heavy vehicle (SAE J1939)"
    return None, "no traffic shows it"
