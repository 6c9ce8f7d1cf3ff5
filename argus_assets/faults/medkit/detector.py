"""Faults of `ros2_medkit_msgs/msg/Fault` and `FaultEvent`, with the status that their debouncing has.

A fault manager publishes a fault whenever its state changes: PREFAILED while it is not confirmed yet, CONFIRMED, and at its
end HEALED or CLEARED. PREPASSED is on the way to HEALED and changes nothing. A fault is that of a code and of the source that
reported it.
"""

from typing import Final

import polars as pl

from argus_assets.common.texts import clean_names
from argus_assets.faults.activations import activations, as_reports
from argus_assets.faults.bounds import Bounded, bounded_faults
from argus_assets.faults.can_frames import PROVENANCE, TIME_ORDER
from argus_assets.faults.detector import Found
from argus_assets.faults.evidence import on_channels_of, with_payloads
from argus_assets.recordings.drive import Drive

_PREFIXES: Final = {
    "ros2_medkit_msgs/msg/Fault": "",
    "ros2_medkit_msgs/Fault": "",
    "ros2_medkit_msgs/msg/FaultEvent": "fault.",
    "ros2_medkit_msgs/FaultEvent": "fault.",
}
"""Types of messages → the prefix of a fault's fields in them."""
_STATUSES: Final = {"PREFAILED": "pending", "CONFIRMED": "confirmed"}
_ENDED: Final = {"HEALED": "medkit: healed", "CLEARED": "medkit: cleared"}
_SEVERITIES: Final = {0: "medkit: INFO", 1: "medkit: WARN", 2: "medkit: ERROR", 3: "medkit: CRITICAL"}
_MAX_COUNT: Final = 126
"""Largest counter of `occurrence_count`, "at least 126"; the details have the number."""
_UNNAMED: Final = "fault_manager"
"""Reporter of a fault that names none: the node that publishes them."""
_FAULT: Final = ("channel", "ecu", "code")


def wanted(_frames: pl.LazyFrame, _config: Bounded) -> None:
    """Select nothing: the messages are in the tables of topics, and only frames that are evidence are read."""


def find(drive: Drive, _rows: pl.DataFrame, config: Bounded) -> Found:
    """Find the faults that fault managers publish.

    Args:
        drive: The drive.
        config: Its bounds.
    """
    tables = [
        fault_rows(table, topic, _PREFIXES[schema]).head(config.bounds.frames + 1)
        for (topic, schema), table in sorted(drive.topics.items(), key=lambda item: item[0])
        if schema in _PREFIXES
    ]
    if not tables:
        return Found.together(())
    rows = pl.concat(pl.collect_all(tables)).sort(TIME_ORDER)
    notes = (f"Fault managers: messages beyond {config.bounds.frames:,} were not read.",) * (
        rows.height > config.bounds.frames
    )
    found = activations(find_reports(rows.head(config.bounds.frames)), longest_gap_ns=None)
    kept = bounded_faults(Found.together([found]), "Fault managers", config.bounds)
    return Found(with_payloads(kept.events, drive.frames, on_channels_of(kept.events, "message")), kept.notes + notes)


def fault_rows(table: pl.LazyFrame, topic: str, prefix: str) -> pl.LazyFrame:
    """Select the faults of a topic: code, severity, status, text, counter and reporter; null for what its type lacks.

    Args:
        table: Typed columns with a column `recording`.
        topic: Its name.
        prefix: Of the fault's fields.
    """
    types = table.collect_schema()

    def text(name: str) -> pl.Expr:
        return pl.col(prefix + name) if types.get(prefix + name) == pl.String() else pl.lit(None, dtype=pl.String)

    def number(name: str) -> pl.Expr:
        found = types.get(prefix + name)
        is_number = found is not None and found.is_numeric()
        return pl.col(prefix + name).cast(pl.Int64, strict=False) if is_number else pl.lit(None, dtype=pl.Int64)

    sources = f"{prefix}reporting_sources"
    of_texts = types.get(sources) == pl.List(pl.String())
    reporter = pl.col(sources).list.get(0, null_on_oob=True) if of_texts else pl.lit(None, dtype=pl.String)
    return table.select(
        pl.col("timestamp").dt.timestamp("ns"),
        *PROVENANCE,
        channel=pl.lit(topic),
        ecu=pl.when(reporter.str.strip_chars() != "").then(reporter).otherwise(pl.lit(_UNNAMED)),
        code=text("fault_code").fill_null(""),
        fault_status=text("status").fill_null("").str.to_uppercase(),
        level=number("severity"),
        count=number("occurrence_count"),
        message=text("description"),
    )


def find_reports(rows: pl.DataFrame) -> pl.DataFrame:
    """Report the faults that are confirmed or on the way to it, and those that only show as healed or cleared.

    Args:
        rows: `fault_rows`, in order of time.

    Returns:
        `activations.REPORTS`, without payload.
    """
    ended = pl.col("fault_status").is_in(list(_ENDED))
    # A state that ends a fault lies between its activations; one without anything before tells of a former fault.
    steps = rows.filter((pl.col("code") != "") & (ended | pl.col("fault_status").is_in(list(_STATUSES)))).with_columns(
        ended=ended,
        seq=(ended.cast(pl.Int64).cum_sum() * 4 - ended.cast(pl.Int64) * 2).over(_FAULT),
        before=pl.int_range(pl.len()).over(_FAULT),
    )
    reports = steps.filter(~pl.col("ended") | (pl.col("before") == 0))
    severity = pl.col("level").replace_strict(_SEVERITIES, default="medkit: unknown severity", return_dtype=pl.String)
    states = {**_STATUSES, **dict.fromkeys(_ENDED, "previously_active")}
    found = reports.with_columns(
        source=pl.lit("ros_fault"),
        status=pl.col("fault_status").replace_strict(states, return_dtype=pl.String),
        severity_rule=pl.col("fault_status").replace_strict(_ENDED, default=severity, return_dtype=pl.String),
        occurrence_count=pl.col("count").clip(0, _MAX_COUNT),
        details=pl.concat_list(
            pl.struct(key=pl.lit("status"), value="fault_status"),
            pl.struct(key=pl.lit("occurrence_count"), value=pl.col("count").cast(pl.String).fill_null("")),
        ),
        payload=pl.lit(b""),
    )
    return as_reports(found).with_columns(
        pl.col("code").map_batches(clean_names, return_dtype=pl.String),
        pl.col("ecu").map_batches(clean_names, return_dtype=pl.String),
    )
