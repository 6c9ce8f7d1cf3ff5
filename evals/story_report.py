"""Print the scores of documented drives, and record them in `docs/evals.md`."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from argus_assets.diagnosis.vehicle.checks import HIT
from evals.repair_minutes import SEARCH_MINUTES, UNSTATED_MINUTES
from evals.report import HISTORY, PAGE, code_version, plot_reliability
from evals.scores import Share
from evals.story_scores import NAMED, StoryAnswer, StoryScores, equal_bins, score, with_bootstrap

COLUMNS: Final = (
    "stories", "top-1", "top-3", "honest", "partial", "wrong", "wrong and confident", "false alarms", "names a fault",
    "severity", "drivable", "macro-F1", "Brier", "log loss", "ECE", "AURC", "ECR", "ECR by p",
    "ECR by p/c", "saved to p", "saved to p/c", "ECR held",
)  # fmt: skip


def show(console: Console, title: str, answers: Sequence[StoryAnswer]) -> None:
    """Print the scores of all answers with intervals, then by platform and by kind."""
    total = with_bootstrap(answers)
    table = Table(title=f"{title}: {total.stories} stories of {total.sources} sources", title_justify="left", box=None)
    for name in ("", "", "95% (Wilson)", "95% (bootstrap over sources)"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    shares = _shares(total)
    for name, value in zip(COLUMNS, cells(total), strict=True):
        of = shares.get(name)
        table.add_row(
            name,
            f"{of.hits} of {of.of}, {value}" if of is not None and of.of else value,
            _range(of.interval if of is not None else None, percent=True),
            _interval(total, name),
        )
    console.print(table)
    groups = {**by(answers, lambda a: a.story.platform), **by(answers, lambda a: a.story.kind)}
    if len(groups) > 2:
        parts = Table(title="by platform and by kind", title_justify="left", box=None)
        for name in ("", *groups):
            parts.add_column(name, justify="right" if name else "left", no_wrap=True)
        for row in zip(COLUMNS, *(cells(score(some)) for some in groups.values()), strict=True):
            parts.add_row(*row)
        console.print()
        console.print(parts)


def show_failures(console: Console, answers: Iterable[StoryAnswer]) -> None:
    """Print each story with another answer than the confirmed one.

    Raises:
        ValueError: One of them is sealed.
    """
    for a in answers:
        if a.story.split == "sealed":
            raise ValueError("answers to sealed stories are not shown")
        if line := _failure(a):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def write_json(path: Path, answers: Sequence[StoryAnswer]) -> None:
    """Write scores and, but for sealed stories, answers."""
    total = with_bootstrap(answers)
    shares = {name: {"hits": share.hits, "of": share.of} for name, share in _shares(total).items()}
    document: dict[str, Any] = {
        "stories": total.stories,
        "scores": shares | _numbers(total) | {f"{name}, minutes": value for name, value in _minutes(total).items()},
        "intervals": {name: list(interval) for name, interval in total.intervals.items()},
        "answers": [
            {
                "story": a.name,
                "split": a.story.split,
                "verdict": a.verdict,
                "causes": [{"cause": cause, "confidence": confidence} for cause, confidence in a.causes],
                "severity": a.severity,
                "drivable": a.drivable,
                "minutes": asdict(a.minutes) if a.minutes is not None else None,
            }
            for a in answers
            if a.story.split != "sealed"
        ],
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")


def record(answers: Sequence[StoryAnswer], page: Path = PAGE) -> Path:
    """Write the parts of the splits that were answered into the section on documented drives. Others stay as they are.

    Of sealed stories nothing but scores is written.
    """
    text = page.read_text("utf-8")
    if _OPEN not in text:
        text = text.replace(HISTORY, f"{_OPEN}\n\n{_INTRODUCTION}\n{_CLOSE}\n\n## Simulated drives\n\n{HISTORY}", 1)
    head, _, rest = text.partition(_OPEN)
    old, _, tail = rest.partition(_CLOSE)
    parts = {split: old.partition(_mark(split))[2].partition(_END)[0] for split in SPLITS}
    for split, some in by(answers, lambda a: a.story.split).items():
        parts[split] = _part(split, some)
    body = "".join(f"{_mark(split)}{part}{_END}\n\n" for split, part in parts.items() if part)
    page.write_text(f"{head}{_OPEN}\n\n{_INTRODUCTION}\n{body}{_CLOSE}{tail}", "utf-8")
    plotted = {
        split: [(stated, right) for _, stated, right in equal_bins(_named(some))]
        for split, some in by(answers, lambda a: a.story.split).items()
        if split != "sealed"
    }
    if plotted:
        plot_reliability(page.parent / "images" / PLOT, plotted)
    return page


SPLITS: Final = ("train", "test", "sealed")
PLOT: Final = "evals-stories-reliability.svg"
_OPEN: Final = "<!-- documented drives -->"
_CLOSE: Final = "<!-- end of documented drives -->"
_END: Final = "<!-- end of split -->"
_INTRODUCTION: Final = f"""## Documented drives

Field faults from bulletins, guides, confirmed repairs and public issues (`evals/stories/`), driven by a generator that shares
no code with Argus. The split is by source. The model is fitted on train; test is reported; sealed is run once, at the end, and
its scores stand here whatever they are. `evals/story_scores.py` defines the scores. Intervals are of 95%: Wilson's, and those
of a bootstrap over sources.

ECR is the expected time to the repair: minutes of checks, in the order in which the diagnosis lists them, until one confirms
the right cause. A check of the right cause does so with a chance of {HIT:.0%}. Who has done all checks in vain, which an answer
without the right cause makes certain, searches another {SEARCH_MINUTES:.0f} minutes. Minutes are those that the catalogue states;
a check without any counts with {UNSTATED_MINUTES:.0f}. "By p" are the same checks with those of the most likely cause first, "by
p/c" with those of the highest probability per minute first. "Saved" is what the listed order saves against these, however
long the search; below zero it costs. "Held" are answers that hold the right cause, of which the order alone decides.

![Reliability of the causes that are named in documented drives](images/{PLOT})
"""


def _mark(split: str) -> str:
    return f"<!-- {split} -->"


def _named(answers: Iterable[StoryAnswer]) -> list[tuple[float, bool]]:
    return [(a.confidence, a.right) for a in answers if a.verdict in NAMED and a.story.has_fault]


def _part(split: str, answers: Sequence[StoryAnswer]) -> str:
    """Return the tables of a split, and of the test split the kinds that remain wrong."""
    total = with_bootstrap(answers)
    shares = _shares(total)
    groups = by(answers, lambda a: a.story.platform) | by(answers, lambda a: a.story.kind)
    columns = [cells(score(some)) for some in groups.values()]
    lines = ["", "", f"### {split.capitalize()}: {total.stories} stories of {total.sources} sources", ""]
    lines += [f"{datetime.now(UTC):%Y-%m-%d}, version {code_version()}.", ""]
    lines += ["| | all | Wilson | bootstrap | " + " | ".join(groups) + " |", "|---" * (4 + len(groups)) + "|"]
    for number, (name, value) in enumerate(zip(COLUMNS, cells(total), strict=True)):
        of = shares.get(name)
        told = f"{value} ({of.hits} of {of.of})" if of is not None and of.of else value
        wilson = _range(of.interval if of is not None else None, percent=True) or "-"
        bootstrap = _interval(total, name) or "-"
        lines.append(f"| {name} | {told} | {wilson} | {bootstrap} | {' | '.join(c[number] for c in columns)} |")
    if split == "test":
        lines += ["", "What remains wrong, by area of the root:", ""]
        left = by((a for a in answers if a.story.has_fault and not a.right), lambda a: a.area)
        all_of = by((a for a in answers if a.story.has_fault), lambda a: a.area)
        for area, some in left.items():
            verdicts = Counter("wrong and confident" if a.confidently_wrong else a.verdict for a in some)
            told = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
            lines.append(f"- {area}: {len(some)} of {len(all_of[area])} ({told})")
        alarms = Counter(f"{a.story.platform}: {a.story.kind}, {a.verdict}" for a in answers if a.alarm or a.claims)
        lines += [f"- {told}: {count}" for told, count in sorted(alarms.items())]
    return "\n".join([*lines, "", ""])


def by(answers: Iterable[StoryAnswer], key: Callable[[StoryAnswer], str]) -> dict[str, list[StoryAnswer]]:
    """Group answers, sorted."""
    groups: dict[str, list[StoryAnswer]] = {}
    for answer in answers:
        groups.setdefault(key(answer), []).append(answer)
    return dict(sorted(groups.items()))


def _shares(s: StoryScores) -> dict[str, Share]:
    return {
        "top-1": s.top_1, "top-3": s.top_3, "honest": s.honest, "partial": s.partial, "wrong": s.wrong,
        "wrong and confident": s.confidently_wrong, "false alarms": s.false_alarms, "names a fault": s.claims,
        "severity": s.severity, "drivable": s.drivable,
    }  # fmt: skip


def _numbers(s: StoryScores) -> dict[str, float | None]:
    return {"macro-F1": s.macro_f1, "Brier": s.brier, "log loss": s.log_loss, "ECE": s.ece, "AURC": s.aurc}


def _minutes(s: StoryScores) -> dict[str, float | None]:
    return {
        "ECR": s.ecr, "ECR by p": s.ecr_by_chance, "ECR by p/c": s.ecr_by_chance_per_minute,
        "saved to p": s.saved_to_chance, "saved to p/c": s.saved_to_chance_per_minute, "ECR held": s.ecr_held,
    }  # fmt: skip


def cells(s: StoryScores) -> list[str]:
    """Return the scores as texts, in the order of `COLUMNS`."""
    shares = [f"{100 * share.value:.0f}%" if share.value is not None else "-" for share in _shares(s).values()]
    numbers = [f"{n:.3f}" if n is not None else "-" for n in _numbers(s).values()]
    minutes = [f"{n:.1f} min" if n is not None else "-" for n in _minutes(s).values()]
    return [str(s.stories), *shares, *numbers, *minutes]


def _interval(s: StoryScores, name: str) -> str:
    """Return the interval of the bootstrap in the unit of the score."""
    interval = s.intervals.get(name)
    if interval is not None and name in _minutes(s):
        return f"{interval[0]:.1f} to {interval[1]:.1f} min"
    return _range(interval, percent=name in _shares(s))


def _range(interval: tuple[float, float] | None, *, percent: bool) -> str:
    if interval is None:
        return ""
    low, high = interval
    return f"{100 * low:.1f}-{100 * high:.1f}%" if percent else f"{low:.3f}-{high:.3f}"


def _failure(a: StoryAnswer) -> str:
    told = [f"severity {a.severity} for {'/'.join(a.story.severity)}"] if not a.severity_right else []
    told += [f"drivable {a.drivable} for {'/'.join(a.story.drivable)}"] if not a.drivable_right else []
    if a.verdict == "right" and not told:
        return ""
    first = ", ".join(f"{cause} {confidence:.0%}" for cause, confidence in a.causes[:3]) or "no cause"
    verdict = "wrong and confident" if a.confidently_wrong else a.verdict
    return f"{a.name} [{a.story.kind}] {verdict}: {first}; {a.story.cause} {'; '.join(told)}".rstrip()
