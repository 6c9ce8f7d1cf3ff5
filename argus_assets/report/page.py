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
from argus_assets.stats.errors import top
from argus_assets.stats.ranking import SAME_MOMENT_NS

MAX_EVENTS_A_FAULT = 20
MAX_PAIRS_A_FAULT = 5
MIN_TIMES_FOR_LIFT = 3
"""What came together less often is told without saying how much more that is than chance."""


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
    pairs: pl.DataFrame,
    totals: pl.DataFrame,
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
        pairs: `stats.schema.CODE_PAIRS`.
        totals: `stats.schema.DRIVE_STATS`.
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
    for item, rank in zip(evidence.items, top(stats, len(evidence.items))["rank"], strict=True):
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
                "company": _company(pairs, rank),
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
        totals=totals.row(0, named=True),
        recorded_s=(batch.recorded_to - batch.recorded_from).total_seconds(),
    )


def _company(pairs: pl.DataFrame, rank: int) -> list[str]:
    """In words, which other faults came before, with or after one, those that came most often first."""
    lead_s = pl.col("median_lead_s")
    other = {"rank_a": rank, "rank_b": rank}
    # From the side of this fault: how much earlier than the other it began.
    seen = pl.concat(
        pairs.filter(**{side: other[side]}).select(
            code=f"code_{far}", ecu=f"ecu_{far}", lead_s=lead_s * sign, times="joint_activations", lift="lift"
        )
        for side, far, sign in (("rank_a", "b", 1), ("rank_b", "a", -1))
    )
    lines: list[str] = []
    for code, ecu, lead, times, lift in seen.sort("times", descending=True, maintain_order=True).iter_rows():
        order = "together with"
        if abs(lead) > SAME_MOMENT_NS / 1e9:
            order = f"{_seconds(abs(lead))} {'before' if lead > 0 else 'after'}"
        often = f"{times:,} time{'s' if times != 1 else ''} together"
        if lift is not None and times >= MIN_TIMES_FOR_LIFT:
            often += f", {lift:.2g} times as long as chance would give"
        lines.append(f"{order} {code} of {redact(ecu)} ({often})")
    return lines[:MAX_PAIRS_A_FAULT]


def _seconds(value: float) -> str:
    """A duration people read: `4.2 s`, `3 min 05 s`, `1 h 12 min`."""
    if value < 60:
        return f"{value:.1f} s"
    if value < 3600:
        return f"{value // 60:.0f} min {value % 60:02.0f} s"
    return f"{value // 3600:.0f} h {value % 3600 // 60:02.0f} min"
