"""Freeze frames and snapshots that an ECU stores with a code, attached to the reports of that code."""

import polars as pl

from argus_assets.faults.schema import DETAILS
from argus_assets.faults.uds_obd.request_response import REPORTER


def attach(reports: pl.DataFrame, stored: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give what is stored with a code to the latest report of it before, else to the first one after.

    Reports of one code by several sources (confirmed, pending, permanent) each get it.

    Args:
        reports: order, source, channel, ecu, code, and details (`DETAILS`) where a report has some of its own.
        stored: order, channel, ecu, code, details.

    Returns:
        The reports, sorted by order, with `details`, and what is stored with a code that nobody reports.
    """
    fault = [*REPORTER, "code"]
    stored = stored.sort("order").with_row_index("stored")
    reports = reports.sort("order").with_row_index("report")
    if "details" not in reports.columns:
        reports = reports.with_columns(details=pl.lit(None, dtype=DETAILS))
    claims = [pl.DataFrame(schema={"stored": pl.UInt32, "report": pl.UInt32})]
    for of_source in reports.select("report", "source", "order", *fault).partition_by("source"):
        before, after = (
            stored.join_asof(of_source, on="order", by=fault, strategy=strategy, check_sortedness=False)["report"]
            for strategy in ("backward", "forward")
        )
        claims.append(stored.select("stored", report=before.fill_null(after)).drop_nulls())
    claimed = pl.concat(claims)
    given = (
        claimed.sort("report", "stored")
        .join(stored.select("stored", given="details"), on="stored", maintain_order="left")
        .group_by("report", maintain_order=True)
        .agg(pl.col("given").explode(empty_as_null=False))
    )
    reports = (
        reports.join(given, on="report", how="left", maintain_order="left")
        .with_columns(
            details=pl.when(pl.col("given").is_null())
            .then("details")
            .otherwise(pl.concat_list(pl.col("details").fill_null([]), pl.col("given").fill_null([])))
        )
        .drop("report", "given")
    )
    return reports, stored.join(claimed, on="stored", how="anti")
