"""Faults that software reports: log entries at ERROR and FATAL, diagnostic statuses at WARN, ERROR and STALE.

The code of a fault is the one that the software states: in a diagnostic's key-value pairs, or in the text. Without
one it is made from the node and the text's template, so that identical texts are one fault whatever numbers they
hold.
"""

import re
from hashlib import sha256
from typing import Final

import polars as pl

from argus_assets.faults.activations import FAULT, MAX_EVIDENCE_BYTES, activations, as_reports
from argus_assets.faults.can import PROVENANCE, TIME_ORDER
from argus_assets.faults.detector import Found
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

CODE_PATTERN: Final = r"\b[A-Z]\d{3,5}\b|\b0x[0-9A-Fa-f]{4,8}\b"
"""A code inside a text: `E101`, `0x8004`."""

_VARYING: Final = re.compile(
    r"0[xX][0-9A-Fa-f]+"
    r"|\b[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\b"  # UUID
    r"|\b(?=[0-9A-Fa-f]*\d)[0-9A-Fa-f]{8,}\b"  # hash or id: hex digits with at least one number
    r"|\d+(?:[.,:]\d+)*"
)


def template(text: str) -> str:
    """A text with its numbers and ids masked: texts that differ only in these tell of the same fault."""
    return _VARYING.sub("#", text)


def log_code(name: str, message: str) -> str:
    """`LOG_<NODE>_<8 hex of the template's SHA-256>`: the code of a log entry whose text states none."""
    return f"LOG_{_upper_name(name)}_{sha256(template(message).encode()).hexdigest()[:8]}"


def diagnostic_code(name: str) -> str:
    """`DIAG_<NAME>`: the code of a diagnostic status that states none."""
    return f"DIAG_{_upper_name(name)}"


def _upper_name(name: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_") or "UNNAMED"


def find(drive: Drive) -> Found:
    """Find the faults that software reports in logs and diagnostics."""
    logs, diagnostics = pl.collect_all([log_rows(drive.logs), diagnostic_rows(drive.diagnostics)])
    events = pl.concat(
        [
            activations(find_log_reports(logs).with_columns(payload=pl.lit(b"")), longest_gap_ns=LOG_LONGEST_GAP_NS),
            activations(find_diagnostic_reports(diagnostics).with_columns(payload=pl.lit(b"")), longest_gap_ns=None),
        ]
    )
    return Found(with_payloads(events, drive.frames))


def log_rows(logs: pl.LazyFrame) -> pl.LazyFrame:
    """The log entries that are faults, unordered.

    Args:
        logs: `recordings.schema.LOGS` with a column `recording`.
    """
    return logs.filter(pl.col("level") >= _LOG_ERROR).select(
        pl.col("timestamp").dt.timestamp("ns"),
        pl.col("channel").cast(pl.String),
        "level",
        "name",
        "message",
        *PROVENANCE,
    )


def find_log_reports(rows: pl.DataFrame) -> pl.DataFrame:
    """Report every log entry at ERROR or FATAL.

    Args:
        rows: `log_rows`.

    Returns:
        `activations.REPORTS`, without payload.
    """
    # Texts without a code are few and repeat, so each distinct one is masked and hashed once.
    uncoded = rows.filter(_code_in_text().is_null()).select("name", "message").unique(maintain_order=True)
    made = uncoded.with_columns(
        made=pl.Series([log_code(name, message) for name, message in uncoded.iter_rows()], dtype=pl.String)
    )
    return as_reports(
        rows.sort(TIME_ORDER)
        .join(made, on=["name", "message"], how="left", maintain_order="left")
        .with_columns(
            code=pl.coalesce(_code_in_text(), "made"),
            source=pl.lit("ros_log"),
            status=pl.lit("occurred"),
            ecu="name",
            severity_rule=pl.when(pl.col("level") >= _LOG_FATAL)
            .then(pl.lit("log: FATAL"))
            .otherwise(pl.lit("log: ERROR")),
            # Only the gap ends a burst.
            seq=pl.lit(0),
        )
    )


def diagnostic_rows(diagnostics: pl.LazyFrame) -> pl.LazyFrame:
    """All statuses, also OK, which ends a fault; unordered. Key-value pairs only of those that are faults.

    Args:
        diagnostics: `recordings.schema.DIAGNOSTICS` with a column `recording`.
    """
    return diagnostics.select(
        pl.col("timestamp").dt.timestamp("ns"),
        pl.col("channel").cast(pl.String),
        "level",
        "name",
        *PROVENANCE,
        message=pl.when(pl.col("level") > 0).then("message"),
        values=pl.when(pl.col("level") > 0).then("values"),
    )


def find_diagnostic_reports(rows: pl.DataFrame) -> pl.DataFrame:
    """Report every diagnostic status above OK.

    Args:
        rows: `diagnostic_rows`.

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
    stated = pl.coalesce(*(_value_of(key) for key in CODE_KEYS), _code_in_text())
    made = {name: diagnostic_code(name) for name in above_ok["name"].unique()}
    rules = pl.col("level").replace_strict(
        DIAGNOSTIC_RULES, default="diagnostic: unknown level", return_dtype=pl.String
    )
    reports = above_ok.with_columns(
        code=pl.coalesce(stated, pl.col("name").replace_strict(made, return_dtype=pl.String)),
        source=pl.lit("ros_diagnostic"),
        status=pl.lit("active"),
        ecu="name",
        severity_rule=rules,
    )
    return as_reports(reports).unique([*FAULT, "seq"], keep="first", maintain_order=True)


def with_payloads(events: pl.DataFrame, frames: pl.LazyFrame) -> pl.DataFrame:
    """Fill in the evidence bytes of events from logs and diagnostics, whose tables do not hold them.

    Args:
        events: `schema.ERROR_EVENTS`.
        frames: `recordings.schema.FRAMES` with a column `recording`; only the frames that are evidence are read.
    """
    if events.is_empty():
        return events
    payload_hex = pl.col("payload").bin.slice(0, MAX_EVIDENCE_BYTES).bin.encode("hex")
    evidence = (
        # Camera and lidar messages are frames too: their payloads must not be read.
        frames.filter(pl.col("kind").is_in(["log", "diagnostic"]))
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


def _code_in_text() -> pl.Expr:
    return pl.col("message").str.extract(f"({CODE_PATTERN})", 1)


def _value_of(key: str) -> pl.Expr:
    """The first value of `key` in the key-value pairs that is not empty."""
    pair = pl.element().struct
    matching = (pair.field("key") == key) & (pair.field("value").str.strip_chars() != "")
    return (
        pl.col("values")
        .list.eval(pl.element().filter(matching).struct.field("value").str.strip_chars())
        .list.get(0, null_on_oob=True)
    )
