"""The shape of an asset of a batch: its spec, its checks, and how it is made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import dagster as dg
import polars as pl

from argus_assets.assets.batch_context import BatchContext
from argus_assets.common.tables import Table
from argus_assets.common.texts import markdown_table
from argus_assets.partitions import batches
from argus_assets.pipeline import Stage

OWNERS: Final = ["team:fleet_diagnostics"]
GROUP: Final = "batch"

PREVIEW_ROWS: Final = 10
MAX_CELL_CHARS: Final = 120


@dataclass(frozen=True, slots=True)
class Check:
    """Result of an asset check.

    Attributes:
        name: As in its spec.
        passed: Whether all is well.
        severity: Of the finding.
        metadata: What was compared.
    """

    name: str
    passed: bool
    severity: dg.AssetCheckSeverity
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Made:
    """An asset as it was made.

    Attributes:
        data: What its data version is the hash of: bytes that change when its content does.
        metadata: What it says of itself.
        tables: To be written, with the rows of each; the first is the asset itself.
        checks: What was found out about it.
        unused: Names of its recipe that it did not use.
    """

    data: bytes
    metadata: Mapping[str, Any]
    tables: Sequence[tuple[Table, pl.DataFrame]] = ()
    checks: Sequence[Check] = ()
    unused: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class BatchAsset:
    """An asset of a batch.

    Attributes:
        stage: Its place in the pipeline.
        spec: What Dagster shows of it.
        checks: What is checked of it.
        make: Makes it of one batch. May write documents of the batch; tables, events and states are the run's business.
    """

    stage: Stage
    spec: dg.AssetSpec
    checks: Sequence[dg.AssetCheckSpec]
    make: Callable[[BatchContext], Made]


def batch_spec(
    stage: Stage, description: str, *, kinds: set[str], code_version: str, table: Table | None = None
) -> dg.AssetSpec:
    """Return the spec of a stage.

    Args:
        stage: Its place in the pipeline.
        description: In one or two sentences.
        kinds: Dagster's tags of technology.
        code_version: Goes up when the same input gives another content.
        table: Whose columns Dagster shows.
    """
    return dg.AssetSpec(
        stage.name,
        deps=[stage.input],
        description=description,
        group_name=GROUP,
        kinds=kinds,
        owners=OWNERS,
        code_version=code_version,
        skippable=True,
        partitions_def=batches,
        metadata={"dagster/column_schema": _columns(table)} if table else None,
    )


def _columns(table: Table) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=c.name,
                type=str(c.dtype),
                description=c.meaning,
                constraints=dg.TableColumnConstraints(nullable=c.nullable),
            )
            for c in table.columns
        ]
    )


def fingerprint(*frames: pl.DataFrame) -> bytes:
    """Return bytes that change when the content of a table changes."""
    return b"".join(f.write_json().encode() for f in frames)


def preview(frame: pl.DataFrame, columns: Sequence[str]) -> dg.MarkdownMetadataValue:
    """Return the first rows as a Markdown table."""
    rows = frame.select(columns).head(PREVIEW_ROWS)
    if rows.is_empty():
        return dg.MetadataValue.md("*no rows*")

    def cell(value: object) -> str:
        return f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value)[:MAX_CELL_CHARS]

    return dg.MetadataValue.md(markdown_table(columns, [list(map(cell, row)) for row in rows.iter_rows()]))
