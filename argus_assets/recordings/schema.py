"""The tables that a parsed recording becomes.

Declarations only. Values come from the decoders in `formats`.
"""

from typing import Final

import polars as pl

from argus_assets.common.tables import TIMESTAMP, Column, Table

KINDS: Final = ("can", "lin", "log", "diagnostic", "message")
"""Kinds of frames: a CAN or LIN frame, a ROS or Foxglove log entry, a DiagnosticArray, any other message."""

DAMAGE_KINDS: Final = (
    "unknown_format",
    "empty_file",
    "truncated",
    "bad_checksum",
    "bad_length",
    "bad_record",
    "bad_compression",
    "over_limit",
    "unknown_channel",
    "bad_message",
    "unsupported",
    "assumed",
    "bad_timestamp",
    "decoder_failed",
    "reader_failed",
    "reader_stopped",
    "clock_jump",
)
"""Kinds of damage inside a recording (`kind` of the problems table)."""

NOTICE_KINDS: Final = ("unsupported", "assumed", "clock_jump")
"""Those that cost no frame: a recording with nothing else is not damaged."""

FRAMES: Final = Table(
    "frames",
    "one recorded message of one recording",
    (
        Column("frame", pl.UInt64, "Position of the message in its recording, from 0, in file order."),
        Column("timestamp", TIMESTAMP, "When the logger received it (MCAP log_time, MDF4 master channel)."),
        Column("channel", pl.Categorical(), "CAN channel (`CAN1`) or ROS topic (`/can/powertrain`)."),
        Column("kind", pl.Enum(KINDS), "What the message is."),
        Column(
            "arbitration_id",
            pl.UInt32,
            "CAN identifier, 11 or 29 bits, without flag bits. Of an error frame its SocketCAN class bits "
            "(linux/can/error.h), 0 where the recorder does not state the class.",
            nullable=True,
        ),
        Column("is_extended_id", pl.Boolean, "29-bit CAN identifier.", nullable=True),
        Column("is_fd", pl.Boolean, "CAN FD frame.", nullable=True),
        Column("is_remote_frame", pl.Boolean, "CAN remote transmission request.", nullable=True),
        Column("is_error_frame", pl.Boolean, "CAN error frame: its identifier holds class bits.", nullable=True),
        Column("is_rx", pl.Boolean, "Received (true) or sent (false) by the logger.", nullable=True),
        Column("dlc", pl.UInt8, "CAN data length code: the code, which above 8 is not the length.", nullable=True),
        Column(
            "payload",
            pl.Binary,
            "CAN data bytes, or the serialised message (CDR, JSON, protobuf). Of an error frame the eight bytes of "
            "SocketCAN that say more of it, none where the recorder does not.",
        ),
    ),
)

LOGS: Final = Table(
    "logs",
    "one entry of a software log (`rcl_interfaces/msg/Log`, `foxglove.Log`)",
    (
        Column("frame", pl.UInt64, "The frame that carried it."),
        Column("timestamp", TIMESTAMP, "When the logger received it."),
        Column("channel", pl.Categorical(), "Topic."),
        Column("level", pl.UInt8, "10 debug, 20 info, 30 warning, 40 error, 50 fatal (rcl_interfaces/msg/Log)."),
        Column("name", pl.String, "Logger, usually the node."),
        Column("message", pl.String, "Text, at most 4,096 characters."),
        Column("file", pl.String, "Source file that logged."),
        Column("line", pl.UInt32, "Line in the source file."),
    ),
)

DIAGNOSTICS: Final = Table(
    "diagnostics",
    "one status of a `diagnostic_msgs/msg/DiagnosticArray`",
    (
        Column("frame", pl.UInt64, "The frame that carried it."),
        Column("timestamp", TIMESTAMP, "When the logger received it."),
        Column("channel", pl.Categorical(), "Topic."),
        Column("level", pl.UInt8, "0 ok, 1 warn, 2 error, 3 stale (diagnostic_msgs/msg/DiagnosticStatus)."),
        Column("name", pl.String, "Component that reports."),
        Column("message", pl.String, "Text, at most 4,096 characters."),
        Column("hardware_id", pl.String, "Hardware the component runs on."),
        Column(
            "values",
            pl.List(pl.Struct({"key": pl.String, "value": pl.String})),
            "Key-value pairs of the status, at most 64.",
        ),
    ),
)

RECORDINGS: Final = Table(
    "recordings",
    "one recording of a batch and the result of reading it",
    (
        Column("recording", pl.String, "File name inside the batch."),
        Column("format", pl.String, "`mcap`, `mdf4`, … or `unknown`."),
        Column(
            "state", pl.Enum(("parsed", "damaged", "failed")), "`damaged`: something was lost; `failed`: nothing read."
        ),
        Column("size_bytes", pl.UInt64, "Size of the file."),
        Column("sha256", pl.String, "SHA-256 of the file as read, hex."),
        Column("sha256_verified", pl.Boolean, "Equal to the manifest's hash."),
        Column("frames", pl.UInt64, "Frames read."),
        Column("frames_lost", pl.UInt64, "Frames known or estimated to be lost to damage."),
        Column("first_timestamp", TIMESTAMP, "Earliest frame.", nullable=True),
        Column("last_timestamp", TIMESTAMP, "Latest frame.", nullable=True),
        Column("channels", pl.UInt32, "Channels or topics with at least one frame."),
        Column("problems", pl.UInt32, "Rows of this recording in the problems table."),
        Column("parse_s", pl.Float64, "Seconds it took to read, 0 when an earlier result was reused."),
        Column("decoder", pl.String, "Decoder and its version."),
        Column("part", pl.String, "Folder of its tables in the lake.", nullable=True),
    ),
)

PROBLEMS: Final = Table(
    "problems",
    "one thing wrong inside one recording",
    (
        Column("recording", pl.String, "File name inside the batch."),
        Column("kind", pl.Enum(DAMAGE_KINDS), "What is wrong."),
        Column("offset", pl.UInt64, "Byte offset in the file where it was seen.", nullable=True),
        Column("expected", pl.String, "What should have been there."),
        Column("actual", pl.String, "What was there."),
        Column(
            "frames_lost",
            pl.UInt64,
            "Frames lost to it, known or estimated; null when it cannot be told.",
            nullable=True,
        ),
        Column("help", pl.String, "What to do about it."),
    ),
)
