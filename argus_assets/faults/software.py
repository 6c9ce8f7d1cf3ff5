"""Faults that software reports: log entries at ERROR and above, diagnostic statuses above OK."""

import re
from hashlib import sha256
from typing import Final

import polars as pl

from argus_assets.faults.activations import REPORTS
from argus_assets.faults.severity import by_diagnostic_level, by_log_level

LOG_ERROR: Final = 40
LOG_SILENCE_S: Final = 10.0
"""Log entries have no "inactive": a fault that was not logged for so long is over."""

CODE_KEYS: Final = ("error_code", "code")
CODE: Final = re.compile(r"\b[A-Z]\d{3,5}\b|\b0x[0-9A-Fa-f]{4,8}\b")
_MASK: Final = re.compile(r"0x[0-9A-Fa-f]+|[0-9A-Fa-f]{8,}(?:-[0-9A-Fa-f]{4,})*|\d+(?:\.\d+)?")
_MAX_EVIDENCE_BYTES: Final = 256


def template(text: str) -> str:
    """A text with its numbers and identifiers masked: entries that differ only in these are the same fault."""
    return _MASK.sub("#", text)


def log_code(name: str, message: str) -> str:
    """Code of a log entry: the one in its text, else one made of the node and the text's template."""
    match = CODE.search(message)
    if match:
        return match[0]
    return f"LOG_{_slug(name)}_{sha256(template(message).encode()).hexdigest()[:8]}"


def diagnostic_code(name: str, message: str, values: list[dict[str, str]]) -> str:
    """Code of a diagnostic status: the value of its key `error_code`, else the one in its text, else its name."""
    for key in CODE_KEYS:
        for pair in values:
            if pair["key"] == key and pair["value"]:
                return pair["value"]
    match = CODE.search(message)
    return match[0] if match else f"DIAG_{_slug(name)}"


def _slug(name: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_") or "UNNAMED"


def find_log_reports(logs: pl.LazyFrame, frames: pl.LazyFrame) -> pl.DataFrame:
    """Reports of all log entries at ERROR or above: `REPORTS`.

    Args:
        logs: `recordings.schema.LOGS` with a column `recording`.
        frames: `recordings.schema.FRAMES` with a column `recording`, for the evidence's bytes.
    """
    rows = logs.filter(pl.col("level") >= LOG_ERROR)
    found = []
    for row in _with_payload(rows, frames).iter_rows(named=True):
        severity, rule = by_log_level(row["level"])
        found.append(
            {
                "source": "ros_log",
                "channel": row["channel"],
                "ecu": row["name"],
                "code": log_code(row["name"], row["message"]),
                "seq": 0,
                "timestamp": row["timestamp"],
                "severity": str(severity),
                "severity_rule": rule,
                "message": row["message"],
                "recording": row["recording"],
                "frame": row["frame"],
                "payload_hex": row["payload_hex"],
            }
        )
    return _reports(found)


def find_diagnostic_reports(diagnostics: pl.LazyFrame, frames: pl.LazyFrame) -> pl.DataFrame:
    """Reports of all diagnostic statuses above OK: `REPORTS`.

    Args:
        diagnostics: `recordings.schema.DIAGNOSTICS` with a column `recording`.
        frames: `recordings.schema.FRAMES` with a column `recording`, for the evidence's bytes.
    """
    # Every status counts in its component's sequence, so that an OK between two errors ends the first.
    # A component goes by several names in one array when it reports several codes: the sequence counts arrays.
    reporter = ["channel", "name"]
    numbered = (
        diagnostics.with_columns(pl.col("channel").cast(pl.String))
        .sort("timestamp", "recording", "frame", maintain_order=True)
        .with_columns(
            seq=(pl.struct("recording", "frame").rle_id().cast(pl.Int64).rank("dense").over(reporter)).cast(pl.Int64)
        )
        .filter(pl.col("level") >= 1)
    )
    found = []
    for row in _with_payload(numbered, frames).iter_rows(named=True):
        severity, rule = by_diagnostic_level(row["level"])
        found.append(
            {
                "source": "ros_diagnostic",
                "channel": row["channel"],
                "ecu": row["name"],
                "code": diagnostic_code(row["name"], row["message"], row["values"]),
                "seq": row["seq"],
                "timestamp": row["timestamp"],
                "severity": str(severity),
                "severity_rule": rule,
                "message": row["message"],
                "recording": row["recording"],
                "frame": row["frame"],
                "payload_hex": row["payload_hex"],
            }
        )
    return _reports(found)


def _with_payload(rows: pl.LazyFrame, frames: pl.LazyFrame) -> pl.DataFrame:
    """The rows with integer timestamps and the bytes of the frame that carried each."""
    carrying = frames.filter(pl.col("kind").is_in(["log", "diagnostic"])).select("recording", "frame", "payload")
    return (
        rows.join(carrying, on=["recording", "frame"], how="left")
        .with_columns(
            pl.col("timestamp").dt.timestamp("ns"),
            pl.col("channel").cast(pl.String),
            payload_hex=pl.col("payload").bin.slice(0, _MAX_EVIDENCE_BYTES).bin.encode("hex").fill_null(""),
        )
        .drop("payload")
        .collect()
        .sort("timestamp", maintain_order=True)
    )


def _reports(found: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(found, schema={**REPORTS, "timestamp": pl.Int64()}).cast(dict(REPORTS))  # type: ignore[arg-type]
