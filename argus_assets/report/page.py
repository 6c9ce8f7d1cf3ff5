"""Render the page of a batch: one self-contained HTML file, for the workshop and for print."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from argus_assets.common.texts import html
from argus_assets.diagnosis.model import Diagnosis, Evidence, EvidenceItem
from argus_assets.diagnosis.redaction import redact, redact_prose
from argus_assets.faults.dictionary.lookup import Entry
from argus_assets.monitoring.latency import MEANING, Latency
from argus_assets.report.timeline import timeline_svg
from argus_assets.stats.errors import top
from argus_assets.stats.ranking import SAME_MOMENT_NS

MAX_EVENTS_A_FAULT = 20
MAX_PAIRS_A_FAULT = 5
MAX_RECORDINGS = 300
MAX_PROBLEMS = 100
MAX_NOTES = 20
MAX_NOTE_CHARS = 500
MAX_DETAILS = 50
MAX_DETAIL_CHARS = 200
MODES = {
    "llm": "A language model answered, and every statement was checked against the recordings",
    "cached": "An earlier answer for the same faults was reused",
    "fast_path": "A rule with sufficient confidence answered",
    "offline": "Rules answered",
}
DEGRADED = {
    "no_model": "",
    "over_budget": "Diagnosed by rules: the day's budget for the language model is spent. It will be diagnosed again when there is budget.",
    "model_failed": "Diagnosed by rules: the language model did not answer. It will be diagnosed again later.",
    "invalid_answer": "Diagnosed by rules: the answer of the language model was invalid. It will be diagnosed again later.",
}
_REFERENCE = re.compile(r"\[(E\d{1,2})\]")

MIN_TIMES_FOR_LIFT = 3
"""Fewest joint activations for which the page compares with chance."""


@dataclass(frozen=True, slots=True)
class PageBatch:
    """The batch as the head of the page shows it. No VIN: the page is passed around."""

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
    environment.filters["seconds"] = duration_text
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
    speed: pl.DataFrame,
    diagnosis: Diagnosis,
    evidence: Evidence,
    describe: Callable[[str], Entry],
    latency: Latency | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Return the page as text. It is deterministic.

    Args:
        batch: Names and times of the batch.
        recordings: `recordings.schema.RECORDINGS`.
        problems: `recordings.schema.PROBLEMS`.
        events: `faults.schema.ERROR_EVENTS`.
        stats: `stats.schema.ERROR_STATS`.
        pairs: `stats.schema.CODE_PAIRS`.
        totals: `stats.schema.DRIVE_STATS`.
        speed: `stats.schema.SPEED`.
        diagnosis: Of the batch.
        evidence: Evidence that it cites.
        describe: Look up the dictionary's entry for a code.
        latency: Duration of each step, where known.
        notes: What the detectors left out: `faults.detection.Findings.notes`.
    """
    first = recordings["first_timestamp"].dt.timestamp("ns").min()
    last = recordings["last_timestamp"].dt.timestamp("ns").max()
    plot = ""
    if first is not None and last is not None:
        accounted = diagnosis.root_causes[0].supports if diagnosis.root_causes else ()
        plot = timeline_svg(
            events,
            stats,
            drive_from_ns=int(first),  # type: ignore[arg-type]
            drive_to_ns=int(last),  # type: ignore[arg-type]
            speed=speed,
            explained=[int(i.removeprefix("E")) for i in accounted],
        )
    known = frozenset(item.id for item in evidence.items)
    items = []
    ranked = top(stats, len(evidence.items)).sort("rank")
    of_rank = _by_rank(events, ranked)
    for item, fault in zip(evidence.items, ranked.iter_rows(named=True), strict=True):
        mine = of_rank.get(fault["rank"], events.clear())
        with_details = mine.filter(pl.col("details").list.len() > 0).head(1)
        details = [] if with_details.is_empty() else with_details["details"].item().to_list()
        items.append(
            {
                "item": item,
                "entry": _redacted(describe(fault["code"])),
                "history": _history(item, evidence),
                "events": mine.head(MAX_EVENTS_A_FAULT).to_dicts(),
                "company": _company(pairs, fault["rank"]),
                "more": max(0, mine.height - MAX_EVENTS_A_FAULT),
                "details": [(_cut(pair["key"]), _cut(pair["value"])) for pair in details[:MAX_DETAILS]],
                "more_details": max(0, len(details) - MAX_DETAILS),
            }
        )
    return _template().render(
        batch=batch,
        # If not all are shown, damaged ones take precedence.
        recordings=_shown(recordings, pl.col("state").cast(pl.String) == "parsed", MAX_RECORDINGS),
        more_recordings=max(0, recordings.height - MAX_RECORDINGS),
        problems=problems.head(MAX_PROBLEMS).to_dicts(),
        more_problems=max(0, problems.height - MAX_PROBLEMS),
        notes=[redact_prose(note, MAX_NOTE_CHARS) for note in notes[:MAX_NOTES]],
        more_notes=max(0, len(notes) - MAX_NOTES),
        diagnosis=diagnosis,
        evidence=evidence,
        items=items,
        plot=plot,
        totals=totals.row(0, named=True),
        checks=diagnosis.checks or (diagnosis.root_causes[0].actions if diagnosis.root_causes else ()),
        linked=lambda text: _linked(text, known),
        modes=MODES,
        degraded=DEGRADED,
        latency=latency,
        step_meaning=MEANING,
        recorded_s=(batch.recorded_to - batch.recorded_from).total_seconds(),
    )


def _by_rank(events: pl.DataFrame, ranked: pl.DataFrame) -> dict[int, pl.DataFrame]:
    """Return the events of each fault by its rank. Faults are matched by their own names, not by those that are shown."""
    names = [pl.col("source").cast(pl.String), "code", "ecu"]
    mine = events.with_columns(names[0]).join(
        ranked.select("rank", *names), on=["source", "code", "ecu"], maintain_order="left"
    )
    return {rank: rows for (rank,), rows in mine.partition_by("rank", as_dict=True).items()}


def _redacted(entry: Entry) -> Entry:
    """Return an entry of the dictionary without what its text repeats of the code."""
    return replace(entry, code=redact(entry.code), text=redact(entry.text))


def _shown(table: pl.DataFrame, is_less_important: pl.Expr, count: int) -> list[dict[str, object]]:
    """Return at most `count` rows of a table in its order, preferring the important ones."""
    chosen = table.with_row_index("row").sort(is_less_important, maintain_order=True).head(count)
    return chosen.sort("row").drop("row").to_dicts()


def _cut(text: str | None) -> str:
    """Shorten a text to a line of the page."""
    text = text or ""
    return text if len(text) <= MAX_DETAIL_CHARS else f"{text[: MAX_DETAIL_CHARS - 1]}…"


def _history(item: EvidenceItem, evidence: Evidence) -> str:
    """Describe a fault in comparison with earlier drives."""
    past, history = item.history, evidence.history
    if past is None or history is None:
        return ""
    words: list[str] = []
    if past.vehicle == "new":
        words.append("new on this vehicle")
    elif past.vehicle is not None:
        often = f"{past.vehicle_drives_with} of the last {history.vehicle_drives} drives"
        words.append(f"{'recurring' if past.vehicle == 'recurring' else 'back'} on this vehicle ({often})")
    if history.release_drives:
        words.append(f"release {evidence.release}: {past.release_drives_with} of {history.release_drives} other drives")
        if history.previous_release is not None:
            words.append(
                f"{history.previous_release}: {past.previous_release_drives_with} of {history.previous_release_drives}"
            )
    return "; ".join(words)


def _linked(text: str, known: frozenset[str]) -> Markup:
    """Escape a text, and link its `[E1]` to the evidence."""

    def link(match: re.Match[str]) -> str:
        return f'<a href="#{match[1]}">{match[1]}</a>' if match[1] in known else match[0]

    return Markup(_REFERENCE.sub(link, str(html(text))))  # noqa: S704 - escaped, and the links are ours


def _company(pairs: pl.DataFrame, rank: int) -> list[str]:
    """Describe which other faults began before, with or after one, most frequent first."""
    lead_s = pl.col("median_lead_s")
    other = {"rank_a": rank, "rank_b": rank}
    # Seconds by which this fault began before the other.
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
            order = f"{duration_text(abs(lead))} {'before' if lead > 0 else 'after'}"
        often = f"{times:,} time{'s' if times != 1 else ''} together"
        if lift is not None and times >= MIN_TIMES_FOR_LIFT:
            often += f", {lift:.2g} times as long as chance would give"
        lines.append(f"{order} {redact(code)} of {redact(ecu)} ({often})")
    return lines[:MAX_PAIRS_A_FAULT]


def duration_text(value: float) -> str:
    """Format a duration for people: `4.2 s`, `3 min 05 s`, `1 h 12 min`."""
    if round(value, 1) < 60:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02} s"
    hours, minutes = divmod(round(value / 60), 60)
    return f"{hours} h {minutes:02} min"
