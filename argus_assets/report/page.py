"""The page of a batch: one HTML file that needs nothing else, for the workshop and for print."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from argus_assets.diagnosis.model import Diagnosis, Evidence
from argus_assets.diagnosis.redaction import redact
from argus_assets.report.timeline import timeline_svg

MAX_EVENTS_A_FAULT = 20


@dataclass(frozen=True, slots=True)
class PageBatch:
    """What the page's head says of the batch. No VIN: the page travels."""

    partition_key: str
    vehicle_id: str
    batch_id: str
    release: str
    platform: str
    recorded_from: datetime
    recorded_to: datetime


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("argus_assets.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["seconds"] = _seconds
    environment.filters["count"] = lambda n: f"{n:,}"
    return environment.get_template("batch.html")


def render_page(
    *,
    batch: PageBatch,
    recordings: pl.DataFrame,
    problems: pl.DataFrame,
    events: pl.DataFrame,
    stats: pl.DataFrame,
    diagnosis: Diagnosis,
    evidence: Evidence,
    describe: Callable[[str], str],
) -> str:
    """The page as text. The same input gives the same page.

    Args:
        batch: Names and times.
        recordings: `recordings.schema.RECORDINGS`.
        problems: `recordings.schema.PROBLEMS`.
        events: `faults.schema.ERROR_EVENTS`.
        stats: `stats.schema.ERROR_STATS`.
        diagnosis: The answer.
        evidence: What it cites.
        describe: A code in plain words.
    """
    first = recordings["first_timestamp"].dt.timestamp("ns").min()
    last = recordings["last_timestamp"].dt.timestamp("ns").max()
    plot = ""
    if first is not None and last is not None:
        plot = timeline_svg(events, stats, drive_from_ns=int(first), drive_to_ns=int(last))  # type: ignore[arg-type]
    items = []
    for item in evidence.items:
        mine = events.filter(
            (pl.col("code") == item.code)
            & (pl.col("source").cast(pl.String) == item.source)
            & (pl.col("ecu").map_elements(redact, return_dtype=pl.String) == item.ecu)
        )
        items.append(
            {
                "item": item,
                "text": describe(item.code),
                "events": mine.head(MAX_EVENTS_A_FAULT).to_dicts(),
                "more": max(0, mine.height - MAX_EVENTS_A_FAULT),
            }
        )
    return _template().render(
        batch=batch,
        recordings=recordings.to_dicts(),
        problems=problems.to_dicts(),
        diagnosis=diagnosis,
        evidence=evidence,
        items=items,
        plot=plot,
        recorded_s=(batch.recorded_to - batch.recorded_from).total_seconds(),
    )


def _seconds(value: float) -> str:
    """A duration people read: `4.2 s`, `3 min 05 s`, `1 h 12 min`."""
    if value < 60:
        return f"{value:.1f} s"
    if value < 3600:
        return f"{value // 60:.0f} min {value % 60:02.0f} s"
    return f"{value // 3600:.0f} h {value % 3600 // 60:02.0f} min"
