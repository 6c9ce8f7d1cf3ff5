"""Print scores of simulated drives on the terminal, and record their history in `docs/evals.md`."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from argus_assets.diagnosis.calibration import reliability
from evals.scores import Answer, Scores, Share, outcomes, score

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "evals.md"
PLOT: Final = ROOT / "docs" / "images" / "evals-reliability.svg"
DIFFICULTIES: Final = ("easy", "medium", "hard")
HISTORY: Final = "<!-- history -->"

_COLUMNS: Final = (
    "top-1", "top-3", "macro-F1", "grounded", "false alarms", "said", "severity", "Brier", "resisted", "tokens", "cost",
)  # fmt: skip


def show(console: Console, split: str, answers: Mapping[str, Sequence[Answer]]) -> None:
    """Print the scores of all answerers side by side, then top-1 and top-3 by difficulty."""
    count = len(next(iter(answers.values())))
    scores = {way: _cells(score(judged), interval=True) for way, judged in answers.items()}
    table = Table(title=f"{count} batches of the {split} split", title_justify="left", box=None)
    by_difficulty = Table(title="top-1 / top-3 by difficulty", title_justify="left", box=None)
    for each in (table, by_difficulty):
        each.add_column("")
        for way in answers:
            each.add_column(way, justify="right", no_wrap=True)
    for row, name in enumerate(_COLUMNS, 1):
        table.add_row(name, *(cells[row] for cells in scores.values()))
    for difficulty in DIFFICULTIES:
        some = [score(a for a in judged if a.difficulty == difficulty) for judged in answers.values()]
        by_difficulty.add_row(
            f"{difficulty} ({some[0].batches})",
            *(f"{_percent(s.top_1.value)} / {_percent(s.top_3.value)}" for s in some),
        )
    console.print(table)
    console.print()
    console.print(by_difficulty)


def show_failures(console: Console, answers: Mapping[str, Sequence[Answer]]) -> None:
    """Print the wrong answers."""
    for way, judged in answers.items():
        for a in judged:
            if line := _failure(a):
                console.print(f"{way}: {line}", markup=False, highlight=False, soft_wrap=True)


def record(split: str, answers: Mapping[str, Sequence[Answer]]) -> Path:
    """Add the run to the history, and rewrite the section of the last run."""
    page = PAGE.read_text("utf-8") if PAGE.exists() else f"{_INTRODUCTION}{HISTORY}\n"
    head, _, old = page.partition(HISTORY)
    rows = [line for line in old.splitlines() if line.startswith("| 2")]
    stamp = f"{datetime.now(UTC):%Y-%m-%d} | {code_version()} | {split}"
    new = [f"| {stamp} | {way} | {' | '.join(_cells(score(judged)))} |" for way, judged in answers.items()]
    titles = ("date", "version", "split", "answered by", "batches", *_COLUMNS)
    history = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles), *new, *rows]
    PAGE.write_text(f"{head}{HISTORY}\n\n" + "\n".join(history) + "\n\n" + _last_run(split, answers), "utf-8")
    return PAGE


def _last_run(split: str, answers: Mapping[str, Sequence[Answer]]) -> str:
    lines = ["## Last run, by difficulty", "", "| | batches | " + " | ".join(_COLUMNS) + " |"]
    lines.append("|" + "---|" * (len(_COLUMNS) + 2))
    for way, judged in answers.items():
        for difficulty in DIFFICULTIES:
            some = [a for a in judged if a.difficulty == difficulty]
            lines.append(f"| {way}, {difficulty} | {' | '.join(_cells(score(some)))} |")
    total = next(iter(answers.values()))
    top = score(answers["offline"])
    intervals = (
        f"Offline, with 95% intervals: top-1 {_interval(top.top_1)}, top-3 {_interval(top.top_3)}, "
        f"grounded {_interval(top.grounded)}."
    )
    lines += [
        "",
        f"{len(total)} batches of the {split} split. {intervals}",
        "",
        "## Calibration",
        "",
        "![Reliability: stated confidence against the share that was right](images/evals-reliability.svg)",
        "",
        "## Wrong answers",
        "",
    ]
    _plot(answers)
    for way, judged in answers.items():
        if way != "retrieval":
            lines += [f"- {way}: {line}" for a in judged if (line := _failure(a))]
    return "\n".join(lines) + "\n"


def _failure(a: Answer) -> str:
    wrong: list[str] = []
    if not a.healthy and not a.right:
        place = f"the expected one ranks {a.rank}" if a.rank else "the expected one is missing"
        wrong.append(f"answered `{a.first}` ({a.confidence:.0%}) for `{a.expected}`, {place}")
    elif not a.healthy and not a.top_3:
        wrong.append("not all of the expected causes are among the first three")
    elif not a.healthy and not a.grounded:
        wrong.append("right, but it does not cite what shows it")
    if a.false_alarm:
        wrong.append(f"false alarm on a healthy drive: `{a.first}`")
    if a.said:
        wrong.append(f"named what it must not: {', '.join(a.said)}")
    if a.severity_right is False:
        wrong.append("severity is not as expected")
    if a.resisted is False:
        wrong.append("a text in the log changed the outcome")
    return f"`{a.scenario}` ({a.difficulty}, seed {a.seed}): {'; '.join(wrong)}" if wrong else ""


def _cells(s: Scores, *, interval: bool = False) -> list[str]:
    def share(value: Share) -> str:
        return _interval(value) if interval else _percent(value.value)

    return [
        str(s.batches), share(s.top_1), share(s.top_3), _number(s.macro_f1), _percent(s.grounded.value),
        f"{s.false_alarms.hits} of {s.false_alarms.of}" if s.false_alarms.of else "-",
        f"{s.said.hits}", _percent(s.severity.value), _number(s.brier),
        f"{s.resisted.hits} of {s.resisted.of}" if s.resisted.of else "-", f"{s.tokens:,}",
        "unknown" if s.cost_usd is None else f"${s.cost_usd:.2f}",
    ]  # fmt: skip


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(share: Share) -> str:
    if share.interval is None:
        return "-"
    low, high = share.interval
    return f"{_percent(share.value)} ({100 * low:.0f}-{100 * high:.0f})"


def code_version() -> str:
    """Return the commit, or the version of the package without one."""
    try:
        git = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return git.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return version("argus-assets")


def _plot(answers: Mapping[str, Sequence[Answer]]) -> None:
    curves = {way: [(b.stated, b.right) for b in reliability(outcomes(judged))] for way, judged in answers.items()}
    plot_reliability(PLOT, curves)


def plot_reliability(path: Path, curves: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Draw stated confidence against the share that was right, a curve for each name."""
    import io

    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "argus", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(5.4, 4.2))
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color="#9aa3ad", linestyle="--", linewidth=1, label="ideal")
        for (name, points), marker in zip(curves.items(), "osD^v", strict=False):
            if points:
                axes.plot([x for x, _ in points], [y for _, y in points], marker=marker, label=name, linewidth=1.2)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="stated confidence", ylabel="share that was right")
        axes.grid(color="#d8dce1", linewidth=0.6)
        axes.legend(frameon=False, fontsize=8)
        figure.tight_layout()
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    text = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", "utf-8")


_INTRODUCTION: Final = """# Evals

How often the diagnosis is right, on simulated drives with known causes. `make eval` runs the test split and prints the
scores; `make eval RECORD=1` also writes them here; `make eval LLM=1` also asks the configured language model.
`evals/scores.py` defines the scores, `evals/README.md` describes scenarios.

The drives are simulated, and the rules were written by people who know the simulator: on real vehicles the scores will be
lower. Drives of the test split are never inspected while rules are changed.

"""
