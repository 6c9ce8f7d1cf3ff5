"""The view of Argus at work: `argus status --watch`, and its one line for `argus status --check`."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from argus_assets.cli.context import connected
from argus_assets.cli.output import counted, echo, print_json, table, terminal
from argus_assets.common.texts import rich_text
from argus_assets.monitoring.overview import ago, duration, short

if TYPE_CHECKING:
    from rich.console import RenderableType

    from argus_assets.monitoring.overview import Overview

REFRESH_S: Final = 2.0
RECENT_S: Final = 3600.0
"""Failures of the last hour are shown."""

MAX_FAILURES: Final = 6
BAR: Final = 20


def watch(home: Path | None, *, as_json: bool, times: int | None = None) -> None:
    """Show it until Ctrl-C: a live view in a terminal, else a line each time.

    Args:
        home: Folder of the platform.
        as_json: Print a JSON object a line instead.
        times: Refresh so often; `None` for ever.
    """
    from rich.live import Live

    console = terminal()
    shown = 0
    with connected(home) as context:
        metrics = context.metrics(since=time.time() - RECENT_S)
        try:
            if as_json or not console.is_terminal:
                while True:
                    seen = metrics.overview()
                    if as_json:
                        print_json(seen.model_dump(mode="json"), indent=None)
                    else:
                        echo(seen.line())
                    sys.stdout.flush()
                    shown += 1
                    if shown == times:
                        return
                    time.sleep(REFRESH_S)
            with Live(console=console, screen=True, auto_refresh=False) as live:
                while shown != times:
                    live.update(render(metrics.overview()), refresh=True)
                    shown += 1
                    time.sleep(REFRESH_S)
        except KeyboardInterrupt:
            pass
        # The alternate screen has gone with its last picture.
        console.print(render(metrics.overview()))


def check(home: Path | None) -> None:
    """Print a one-line health summary; exit with 1 if it has a warning."""
    with connected(home) as context:
        seen = context.metrics(since=time.time() - RECENT_S).overview()
    echo(seen.line())
    if seen.warnings:
        raise SystemExit(1)


def render(seen: "Overview") -> "RenderableType":
    """Return the overview as a picture that fits any width."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    head = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    head.add_column(style="bold", no_wrap=True)
    head.add_column(overflow="fold")
    head.add_row("Argus", f"{seen.at:%Y-%m-%d %H:%M:%S} UTC")
    for text in seen.warnings:
        head.add_row(Text("warning", style="bold red"), rich_text(text, "red"))
    head.add_row("inbox", _inbox(seen))
    head.add_row("batches", _batches(seen))
    head.add_row(
        "last 5 min",
        f"{seen.rate.batches:.1f} batches, {short(seen.rate.frames)} frames, {short(seen.rate.size_bytes)}B per minute",
    )
    head.add_row("tokens", _tokens(seen))
    parts: list[RenderableType] = [head]
    if seen.runs:
        runs = table("run", "", "for", "batches")
        for run in seen.runs:
            bar = ""
            if run.batches > 1:
                full = round(BAR * run.done / run.batches)
                bar = f"{'█' * full}{'·' * (BAR - full)} "
            runs.add_row(run.run_id[:8], run.status, duration(run.seconds), f"{bar}{run.progress}  {run.name}")
        hidden = seen.runs_at_work + seen.runs_queued - len(seen.runs)
        if hidden:
            runs.add_row("", "", "", f"and {counted(hidden, 'more run')}")
        parts += [Text(), runs]
    if seen.failures:
        parts += [Text(), Text("failed in the last hour", style="bold")]
        for failure in seen.failures[:MAX_FAILURES]:
            what = rich_text(f"{failure.batch} at {failure.stage}, {ago(failure.at, seen.at)}: ")
            what.append(failure.kind, style="yellow" if failure.kind == "transient" else "red")
            parts += [what, Padding(rich_text(failure.reason[:300], "dim"), (0, 0, 0, 2))]
    else:
        parts += [Text(), Text("No failures in the last hour.", style="dim")]
    return Group(*parts)


def _inbox(seen: "Overview") -> str:
    if seen.markers is None:
        return "the bucket does not answer"
    tick = "no tick yet" if seen.last_tick_s is None else f"last tick {duration(seen.last_tick_s)} ago"
    oldest = f"; the oldest batch has waited {duration(seen.oldest_waiting_s)}" if seen.oldest_waiting_s else ""
    return (
        f"{counted(seen.markers, 'manifest')} in the inbox ({tick}, every {seen.interval_s} s), "
        f"{counted(seen.runs_queued, 'run')} queued, {seen.runs_at_work:,} in progress{oldest}"
    )


def _batches(seen: "Overview") -> "RenderableType":
    from rich.text import Text

    styles = {"completed": "green", "failed": "red", "uploaded": "cyan"}
    text = Text()
    for state, count in seen.batches.items():
        if count:
            text.append(f"{count:,} {state}  ", style=styles.get(state, "yellow"))
    return text or Text("none yet: drop one with `argus drop`", style="dim")


def _tokens(seen: "Overview") -> str:
    if seen.tokens_spent is None or not seen.tokens_limit:
        return "unknown"
    share = (seen.tokens_spent + (seen.tokens_reserved or 0)) / seen.tokens_limit
    return (
        f"{seen.tokens_spent:,} spent, {seen.tokens_reserved:,} reserved of {seen.tokens_limit:,} today ({share:.0%})"
    )
