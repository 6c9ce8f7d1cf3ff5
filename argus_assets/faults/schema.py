"""The tables of faults: error events, and the load of buses."""

from typing import Final

import polars as pl

from argus_assets.common.tables import TIMESTAMP, Column, Table
from argus_assets.faults.declaration import Severity
from argus_assets.faults.detectors import DETECTORS

PLUG_IN: Final = "plug_in"
"""Source of the events of all detectors of other packages."""

SEVERITY: Final = pl.Enum([s.value for s in Severity])
"""polars dtype of a severity; it orders by badness."""

SOURCES: Final = (*(source for d in DETECTORS for source in d.sources), PLUG_IN)
"""Sources of fault reports."""

STATUSES: Final = ("active", "confirmed", "pending", "permanent", "previously_active", "occurred")
"""State of the fault by its report: it is active now, it is stored, or it was a moment (`occurred`)."""

DETAILS: Final = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))
"""polars dtype of what came along with a report: freeze frame, snapshot, key values."""

ERROR_EVENTS: Final = Table(
    "error_events",
    "one activation of a fault: it was inactive, became active, and stayed so from first_seen to last_seen",
    (
        Column("code", pl.String, "`SPN100/FMI1`, `P0301`, `U0100`, or a software code such as `E101`."),
        Column("source", pl.Enum(SOURCES), "What reported it."),
        Column("ecu", pl.String, "Reporting ECU (`SA 0x00`, `0x7E8`) or node (`lidar_driver`)."),
        Column("ecu_name", pl.String, "What the ECU says it is: its J1939 NAME, a hardware id.", nullable=True),
        Column("channel", pl.String, "CAN channel or topic it was seen on."),
        Column("status", pl.Enum(STATUSES), "What the report says of the fault; the last report of the activation."),
        Column("severity", SEVERITY, "How bad it is."),
        Column("severity_rule", pl.String, "What decided the severity, such as `lamp: red stop`."),
        Column("occurrence", pl.UInt32, "Which activation of this fault in the drive this is, from 1."),
        Column("first_seen", TIMESTAMP, "First frame that reported it active."),
        Column("last_seen", TIMESTAMP, "Last frame that reported it active."),
        Column("active_s", pl.Float64, "Seconds from first_seen to last_seen."),
        Column("frame_count", pl.UInt32, "Reports (frames or messages) during this activation."),
        Column("message", pl.String, "Text that came with it, digits kept, at most 512 characters.", nullable=True),
        Column("lamp_status", pl.String, "J1939 lamps that were on, such as `red stop, malfunction`.", nullable=True),
        Column(
            "occurrence_count",
            pl.UInt8,
            "The ECU's own counter (J1939 OC, 126 = at least 126, 127 = not available).",
            nullable=True,
        ),
        Column("dtc_status", pl.UInt8, "UDS status byte of the DTC (ISO 14229-1, D.2), last report.", nullable=True),
        Column("details", DETAILS, "What came along: freeze frame, snapshot record, key values.", nullable=True),
        Column("recording", pl.String, "Evidence: the recording that holds the first report."),
        Column(
            "frame",
            pl.UInt64,
            "Evidence: the frame number of the first report in that recording; of a measured signal (MDF4) the number of its sample in the group.",
        ),
        Column(
            "payload_hex",
            pl.String,
            "Evidence: the reported bytes (reassembled where a transport protocol carried them), at most 256 bytes.",
        ),
    ),
)

BIT_RATE_SOURCES: Final = ("configured", "estimated")

BUS_STATS: Final = Table(
    "bus_stats",
    "one CAN channel of a drive: how much it carried",
    (
        Column("channel", pl.String, "CAN channel or topic."),
        Column("frames", pl.UInt64, "Data and remote frames."),
        Column("error_frames", pl.UInt64, "Error frames."),
        Column("identifiers", pl.UInt32, "Identifiers with at least one data or remote frame."),
        Column("cyclic_identifiers", pl.UInt32, "Identifiers that were sent with a steady period."),
        Column("first_timestamp", TIMESTAMP, "First frame, of whatever kind."),
        Column("last_timestamp", TIMESTAMP, "Last frame, of whatever kind."),
        Column("data_bytes", pl.UInt64, "Data bytes of all frames."),
        Column("bit_rate_kbps", pl.Float64, "Nominal bit rate that the load is based on."),
        Column("data_bit_rate_kbps", pl.Float64, "Data bit rate of CAN FD, null without CAN FD frames.", nullable=True),
        Column("bit_rate_source", pl.Enum(BIT_RATE_SOURCES), "Where the bit rate comes from."),
        Column("load_mean_pct", pl.Float64, "Mean load of the seconds in which something was recorded, percent."),
        Column("load_peak_pct", pl.Float64, "Load of the busiest second, percent."),
        Column("load_peak_worst_pct", pl.Float64, "The same with as many stuff bits as there can be."),
        Column(
            "longest_gap_s", pl.Float64, "Longest time over 1 s without a data or remote frame, 0 for none, seconds."
        ),
    ),
)
