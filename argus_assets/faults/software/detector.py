"""Faults that software reports: log entries at ERROR and FATAL, diagnostic statuses at WARN, ERROR and STALE.

The code of a fault is the one that the software states: in a diagnostic's key-value pairs, or in the text. Without
one it is made from the node and the text's template, so that identical texts are one fault whatever numbers they
hold.
"""

from collections.abc import Sequence
from typing import Final, Protocol

import polars as pl

from argus_assets.common.texts import clean_names
from argus_assets.faults.activations import FAULT, activations, as_reports
from argus_assets.faults.bounds import Bounded, bounded_faults
from argus_assets.faults.can_frames import PROVENANCE, TIME_ORDER
from argus_assets.faults.detector import Found
from argus_assets.faults.evidence import on_channels_of, with_payloads
from argus_assets.faults.software.codes import CodePattern, code_in_text, diagnostic_code, log_code, template
from argus_assets.recordings.drive import Drive

_LOG_ERROR: Final = 40
_LOG_FATAL: Final = 50
"""Levels of rcl_interfaces/msg/Log."""

LOG_LONGEST_GAP_NS: Final = 10_000_000_000
"""A log has no "inactive": a fault that was not logged for longer than this has ended."""

DIAGNOSTIC_RULES: Final = {1: "diagnostic: WARN", 2: "diagnostic: ERROR", 3: "diagnostic: STALE"}
"""Levels of diagnostic_msgs/msg/DiagnosticStatus above OK, with their severity rule."""

CODE_KEYS: Final = ("error_code", "code")
"""Keys of a diagnostic status that state a code, in the order in which they count."""


class Config(Bounded, Protocol):
    """The part of the configuration that this detector needs."""

    @property
    def code_patterns(self) -> Sequence[CodePattern]:
        """Patterns of codes inside texts."""
        ...


def wanted(_frames: pl.LazyFrame, _config: Config) -> None:
    """Select nothing: logs and diagnostics have tables of their own, and only frames that are evidence are read."""


def find(drive: Drive, _rows: pl.DataFrame, config: Config) -> Found:
    """Find the faults that software reports in logs and diagnostics.

    Args:
        drive: The drive.
        config: Its code patterns count before the shipped one.
    """
    logs, diagnostics = pl.collect_all([log_rows(drive.logs), diagnostic_rows(drive.diagnostics)])
    stated = code_in_text(config.code_patterns)
    found = [
        activations(
            find_log_reports(logs, stated).with_columns(payload=pl.lit(b"")), longest_gap_ns=LOG_LONGEST_GAP_NS
        ),
        activations(
            find_diagnostic_reports(diagnostics, stated).with_columns(payload=pl.lit(b"")), longest_gap_ns=None
        ),
    ]
    kept = bounded_faults(Found.together(found), "Software", config.bounds)
    return Found(with_payloads(kept.events, drive.frames, on_channels_of(kept.events, "log", "diagnostic")), kept.notes)


def log_rows(logs: pl.LazyFrame) -> pl.LazyFrame:
    """Select the log entries that are faults, unordered.

    Args:
        logs: `recordings.schema.LOGS` with a column `recording`.
    """
    return logs.filter(pl.col("level") >= _LOG_ERROR).select(
        pl.col("timestamp").dt.timestamp("ns"),
        pl.col("channel").cast(pl.String),
        "level",
        "name",
        "message",
        "file",
        "line",
        *PROVENANCE,
    )


def find_log_reports(rows: pl.DataFrame, stated: pl.Expr) -> pl.DataFrame:
    """Report every log entry at ERROR or FATAL. Details are where in the source it was logged.

    Args:
        rows: `log_rows`.
        stated: `code_in_text`.

    Returns:
        `activations.REPORTS`, without payload.
    """
    rows = rows.with_columns(stated=stated, template=template(pl.col("message")))
    # Templates without a code are few, whatever numbers their texts hold: each is hashed once.
    uncoded = rows.filter(pl.col("stated").is_null()).select("name", "template").unique(maintain_order=True)
    made = uncoded.with_columns(
        made=pl.Series([log_code(name, text) for name, text in uncoded.iter_rows()], dtype=pl.String)
    )
    line = pl.format("{}:{}", "file", "line")
    return _reports(
        rows.sort(TIME_ORDER)
        .join(made, on=["name", "template"], how="left", maintain_order="left")
        .with_columns(
            code=pl.coalesce("stated", "made"),
            source=pl.lit("ros_log"),
            status=pl.lit("occurred"),
            ecu="name",
            severity_rule=pl.when(pl.col("level") >= _LOG_FATAL)
            .then(pl.lit("log: FATAL"))
            .otherwise(pl.lit("log: ERROR")),
            details=pl.when(pl.col("file") != "").then(pl.concat_list(pl.struct(key=pl.lit("logged_at"), value=line))),
            # Only the gap ends a burst.
            seq=pl.lit(0),
        )
    )


def diagnostic_rows(diagnostics: pl.LazyFrame) -> pl.LazyFrame:
    """Select all statuses, unordered. OK ends a fault; only faults keep their key-value pairs.

    Args:
        diagnostics: `recordings.schema.DIAGNOSTICS` with a column `recording`.
    """
    return diagnostics.select(
        pl.col("timestamp").dt.timestamp("ns"),
        pl.col("channel").cast(pl.String),
        "level",
        "name",
        *PROVENANCE,
        hardware_id=pl.when(pl.col("level") > 0).then("hardware_id"),
        message=pl.when(pl.col("level") > 0).then("message"),
        values=pl.when(pl.col("level") > 0).then("values"),
    )


def find_diagnostic_reports(rows: pl.DataFrame, stated: pl.Expr) -> pl.DataFrame:
    """Report every diagnostic status above OK. Details are its key-value pairs.

    Args:
        rows: `diagnostic_rows`.
        stated: `code_in_text`.

    Returns:
        `activations.REPORTS`, without payload.
    """
    # Statuses of one component in one array are one message of that component.
    component = ["channel", "name"]
    above_ok = (
        rows.sort(TIME_ORDER)
        .with_columns(seq=pl.struct(PROVENANCE).rle_id().over(component))
        .filter(pl.col("level") > 0)
    )
    made = {name: diagnostic_code(name) for name in above_ok["name"].unique()}
    rules = pl.col("level").replace_strict(
        DIAGNOSTIC_RULES, default="diagnostic: unknown level", return_dtype=pl.String
    )
    reports = above_ok.with_columns(
        code=pl.coalesce(
            *(_value_of(key) for key in CODE_KEYS), stated, pl.col("name").replace_strict(made, return_dtype=pl.String)
        ),
        source=pl.lit("ros_diagnostic"),
        status=pl.lit("active"),
        ecu="name",
        ecu_name=pl.when(pl.col("hardware_id") != "").then("hardware_id"),
        details=pl.when(pl.col("values").list.len() > 0).then("values"),
        severity_rule=rules,
    )
    return _reports(reports).unique([*FAULT, "seq"], keep="first", maintain_order=True)


def _reports(found: pl.DataFrame) -> pl.DataFrame:
    """Return reports whose codes are clean names, whatever text stated them."""
    return as_reports(found).with_columns(pl.col("code").map_batches(clean_names, return_dtype=pl.String))


def _value_of(key: str) -> pl.Expr:
    """Return the first value of `key` in the key-value pairs that is not empty."""
    pair = pl.element().struct
    matching = (pair.field("key") == key) & (pair.field("value").str.strip_chars() != "")
    return (
        pl.col("values")
        .list.eval(pl.element().filter(matching).struct.field("value").str.strip_chars())
        .list.get(0, null_on_oob=True)
    )
