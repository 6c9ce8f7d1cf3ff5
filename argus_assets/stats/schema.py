"""The tables of statistics."""

from typing import Final

import polars as pl

from argus_assets.common.tables import TIMESTAMP, Column, Table
from argus_assets.faults.schema import SEVERITY, STATUSES

HISTOGRAM_BINS: Final = 60
"""Equal parts of a drive, from its first frame to its last: a minute each of an hour."""

DISTANCE_SOURCES: Final = (
    "j1939_high_resolution_distance",
    "j1939_vehicle_distance",
    "obd_odometer",
    "odometer_signal",
    "gnss",
    "wheel_speed",
)
"""Sources of a distance, most trusted first; `stats/distance.py` documents each."""

SPEED_SOURCES: Final = ("j1939_wheel_speed", "obd_speed", "speed_signal", "gnss")
"""Sources of a speed, most trusted first; `stats/speed.py` documents each."""

MEASUREMENT_SOURCES: Final = ("j1939", "obd")
"""Sources of a measured value: broadcast parameters, and answers to a tester."""

ERROR_STATS: Final = Table(
    "error_stats",
    "one fault of one ECU (or node) over the whole drive, ranked: row 0 is the most important",
    (
        Column("rank", pl.UInt32, "1 is the most important."),
        Column("score", pl.Float64, "Score that it is ranked by; `stats/ranking.py` documents it."),
        Column(
            "same_as",
            pl.UInt32,
            "Rank of the row that represents the same trouble (`P0301` pending beside `P0301` confirmed); null for "
            "the representing row itself. Represented rows rank after all others.",
            nullable=True,
        ),
        Column("code", pl.String, "Fault code."),
        Column("source", pl.String, "What reported it."),
        Column("ecu", pl.String, "Reporting ECU or node."),
        Column("status", pl.Enum(STATUSES), "The most pressing status among its activations."),
        Column("severity", SEVERITY, "Worst severity seen."),
        Column("occurrences", pl.UInt32, "Inactive→active transitions."),
        Column("frame_count", pl.UInt32, "Reports, for reference: a DM1 is repeated every second while active."),
        Column(
            "active_s",
            pl.Float64,
            "Seconds during which it was active; simultaneous reports on two channels count once.",
        ),
        Column("active_share_pct", pl.Float64, "Share of the recorded time during which it was active."),
        Column(
            "rate_per_hour",
            pl.Float64,
            "Occurrences per recorded hour; null when no time was recorded.",
            nullable=True,
        ),
        Column("first_seen", TIMESTAMP, "First report."),
        Column("last_seen", TIMESTAMP, "Last report."),
        Column("seconds_into_drive", pl.Float64, "First report, counted from the drive's first frame."),
        Column(
            "active_s_by_bin",
            pl.List(pl.Float64),
            f"Seconds active in each of {HISTOGRAM_BINS} equal parts of the drive, first frame to last; adds up to "
            "active_s.",
        ),
        Column(
            "occurrences_by_bin",
            pl.List(pl.UInt32),
            "Activations that began in each of the same parts; adds up to occurrences.",
        ),
        Column(
            "co_occurring",
            pl.List(pl.String),
            "Codes that were active at the same time or within 5 s, most overlap first.",
        ),
        Column("message", pl.String, "Text of the first report.", nullable=True),
        Column("recording", pl.String, "Evidence: recording of the first report."),
        Column("frame", pl.UInt64, "Evidence: frame number of the first report."),
    ),
)

CODE_PAIRS: Final = Table(
    "code_pairs",
    "two of the 32 most important troubles of a drive that occurred together; A ranks higher",
    (
        Column("rank_a", pl.UInt32, "Rank of A in error_stats."),
        Column("code_a", pl.String, "Code of A."),
        Column("source_a", pl.String, "What reported A."),
        Column("ecu_a", pl.String, "Reporting ECU or node of A."),
        Column("rank_b", pl.UInt32, "Rank of B in error_stats."),
        Column("code_b", pl.String, "Code of B."),
        Column("source_b", pl.String, "What reported B."),
        Column("ecu_b", pl.String, "Reporting ECU or node of B."),
        Column("shared_s", pl.Float64, "Seconds during which both were active."),
        Column(
            "joint_activations",
            pl.UInt32,
            "Joint activations: stretches in which both were active, with activations at most 5 s apart.",
        ),
        Column(
            "lift",
            pl.Float64,
            "Time that both were active, relative to chance; `stats/pairs.py` has the formula. "
            "Null when they were not active in recorded time.",
            nullable=True,
        ),
        Column("a_first_pct", pl.Float64, "Share of the joint activations that A began, by more than 1 s."),
        Column("b_first_pct", pl.Float64, "Share of the joint activations that B began, by more than 1 s."),
        Column("median_lead_s", pl.Float64, "Median of seconds from the beginning of A to that of B."),
    ),
)

DRIVE_STATS: Final = Table(
    "drive_stats",
    "the drive: a table of one row",
    (
        Column("recorded_h", pl.Float64, "Hours recorded, without gaps between recordings; overlaps count once."),
        Column("span_h", pl.Float64, "Hours from the first frame to the last."),
        Column("distance_km", pl.Float64, "Distance; null when no recorded source gives it.", nullable=True),
        Column("distance_source", pl.Enum(DISTANCE_SOURCES), "Source of the measurement.", nullable=True),
        Column("distance_signal", pl.String, "Sender or topic of the measurement.", nullable=True),
        Column("recordings", pl.UInt32, "Recordings of the drive."),
        Column("recordings_damaged", pl.UInt32, "Recordings that lost frames, or could not be read."),
        Column("frames", pl.UInt64, "Frames read."),
        Column("frames_lost", pl.UInt64, "Frames that are known or estimated to be lost to damage."),
        Column("frames_read_pct", pl.Float64, "Share of all frames that was read; null without frames.", nullable=True),
        Column("busiest_channel", pl.String, "CAN channel with the highest mean load.", nullable=True),
        Column("bus_load_mean_pct", pl.Float64, "Mean load of the busiest channel.", nullable=True),
        Column("bus_load_peak_pct", pl.Float64, "Highest peak load of any channel.", nullable=True),
        Column("events", pl.UInt32, "Activations of faults: rows of error_events."),
        Column("troubles", pl.UInt32, "Troubles: rows of error_stats without same_as."),
        Column("codes", pl.UInt32, "Different codes."),
        Column("codes_critical", pl.UInt32, "Codes whose worst severity is critical."),
        Column("codes_error", pl.UInt32, "Codes whose worst severity is error."),
        Column("codes_warning", pl.UInt32, "Codes whose worst severity is warning."),
        Column("codes_info", pl.UInt32, "Codes whose worst severity is info."),
        Column("ecus_with_faults", pl.UInt32, "ECUs and nodes that reported a fault above severity info."),
    ),
)

SPEED: Final = Table(
    "speed",
    "the mean speed of a short part of the drive; no rows when no recorded source gives it",
    (
        Column("timestamp", TIMESTAMP, "A reading in the middle of the part."),
        Column("speed_kmh", pl.Float64, "Mean speed, km/h."),
        Column("source", pl.Enum(SPEED_SOURCES), "Source of the measurement."),
        Column("signal", pl.String, "Sender or topic of the measurement."),
    ),
)

MEASUREMENTS: Final = Table(
    "measurements",
    "a quantity that one control unit sent while driving: live values of SAE J1939-71 and of OBD service 01",
    (
        Column(
            "quantity",
            pl.String,
            "What was measured, such as `oil_pressure`; `messages` counts all that a unit sent, `read_out_03` its answers to a request for codes, empty ones too.",
        ),
        Column("unit", pl.String, "Unit of the values; empty for counts."),
        Column("source", pl.Enum(MEASUREMENT_SOURCES), "How it was sent."),
        Column("ecu", pl.String, "Sender."),
        Column("channel", pl.String, "CAN channel."),
        Column("readings", pl.UInt64, "Valid readings."),
        Column("errors", pl.UInt64, "Readings by which the unit says that its sensor failed (raw 0xFE)."),
        Column("not_available", pl.UInt64, "Readings without a value (raw 0xFF)."),
        Column("first_seen", TIMESTAMP, "First reading, of whatever kind."),
        Column("last_seen", TIMESTAMP, "Last reading, of whatever kind."),
        Column("minimum", pl.Float64, "Lowest value.", nullable=True),
        Column("median", pl.Float64, "Median value.", nullable=True),
        Column("maximum", pl.Float64, "Highest value.", nullable=True),
        Column("first", pl.Float64, "First value.", nullable=True),
        Column("last", pl.Float64, "Last value.", nullable=True),
        Column(
            "running_readings", pl.UInt64, "Valid readings while the engine had been running for 10 s.", nullable=True
        ),
        Column("running_minimum", pl.Float64, "Lowest of these.", nullable=True),
        Column("running_low", pl.Float64, "5th percentile of these.", nullable=True),
        Column("running_median", pl.Float64, "Median of these.", nullable=True),
        Column("running_high", pl.Float64, "95th percentile of these.", nullable=True),
        Column("running_maximum", pl.Float64, "Highest of these.", nullable=True),
        Column("idle_median", pl.Float64, "Median of these at idle: at most 1,100 rpm, below 50% load.", nullable=True),
        Column("load_median", pl.Float64, "Median of these from 50% load or 2,000 rpm.", nullable=True),
    ),
)

REMARKS: Final = Table(
    "remarks",
    "what a node logged below ERROR: warnings, and at INFO starts, stops and words of trouble; texts that differ only in "
    "numbers are one row",
    (
        Column("level", pl.UInt8, "20 info, 30 warning (rcl_interfaces/msg/Log)."),
        Column("name", pl.String, "Logger, usually the node."),
        Column("message", pl.String, "The first of the texts, at most 400 characters."),
        Column("entries", pl.UInt64, "Entries in the log."),
        Column("first_seen", TIMESTAMP, "First of them."),
        Column("last_seen", TIMESTAMP, "Last of them."),
        Column("recording", pl.String, "Recording of the first."),
        Column("frame", pl.UInt64, "Frame of the first."),
    ),
)

TOPIC_STATS: Final = Table(
    "topic_stats",
    "a topic of the drive; CAN channels are none",
    (
        Column("topic", pl.String, "Its name."),
        Column("messages", pl.UInt64, "Messages."),
        Column("first_seen", TIMESTAMP, "First message."),
        Column("last_seen", TIMESTAMP, "Last message."),
        Column("period_s", pl.Float64, "Median time between messages, seconds; null for a single one.", nullable=True),
        Column("longest_pause_s", pl.Float64, "Longest time between two messages, seconds.", nullable=True),
        Column("pause_began", TIMESTAMP, "Message before that pause.", nullable=True),
    ),
)
