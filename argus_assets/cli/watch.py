"""`argus status --watch` and `--check`: the platform at work, painted anew every two seconds."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from argus_assets.cli.output import echo, terminal
from argus_assets.common.texts import rich_text
from argus_assets.monitoring.overview import ago, duration, short

if TYPE_CHECKING:
    from rich.console import RenderableType

    from argus_assets.monitoring.overview import Overview

EVERY_S: Final = 2.0
RECENT_S: Final = 3600.0
"""Failures of the last hour are shown."""

SHOWN_FAILURES: Final = 6
BAR: Final = 20


def watch(home: Path | None, *, as_json: bool, times: int | None = None) -> None:
    """Show it until Ctrl-C: a live view in a terminal, else a line each time.

    Args:
        home: Folder of the platform.
        as_json: One JSON object a line instead.
        times: So often, `None` for ever.
    """
    from rich.live import Live

    from argus_assets.cli.metrics import watching

    console = terminal()
    shown = 0
    with watching(home, since=time.time() - RECENT_S) as watcher:
        try:
            if as_json or not console.is_terminal:
                while True:
                    seen = watcher.overview()
                    echo(json.dumps(seen.model_dump(mode="json")) if as_json else seen.line())
                    sys.stdout.flush()
                    shown += 1
                    if shown == times:
                        return
                    time.sleep(EVERY_S)
            with Live(console=console, screen=True, auto_refresh=False) as live:
                while shown != times:
                    live.update(render(watcher.overview()), refresh=True)
                    shown += 1
                    time.sleep(EVERY_S)
        except KeyboardInterrupt:
            pass
        # The other screen is gone with its last picture.
        console.print(render(watcher.overview()))


def check(home: Path | None) -> None:
    """Say in a line how the platform does; exits with 1 when nobody looks into the inbox or a source is away."""
    from argus_assets.cli.metrics import watching

    with watching(home, since=time.time() - RECENT_S) as watcher:
        seen = watcher.overview()
    echo(seen.line())
    if seen.warnings:
        raise SystemExit(1)


def render(seen: "Overview") -> "RenderableType":
    """The overview as a picture that fits any width."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    head = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    head.add_column(style="bold", no_wrap=True)
    head.add_column(overflow="fold")
    head.add_row("Argus", f"{seen.at:%Y-%m-%d %H:%M:%S} UTC")
    for text in seen.warnings:
        head.add_row(Text("look", style="bold red"), rich_text(text, "red"))
    head.add_row("waiting", _waiting(seen))
    head.add_row("batches", _batches(seen))
    head.add_row(
        "last 5 min",
        f"{seen.rate.batches:.1f} batches, {short(seen.rate.frames)} frames, {short(seen.rate.size_bytes)}B a minute",
    )
    head.add_row("tokens", _tokens(seen))
    parts: list[RenderableType] = [head]
    if seen.runs:
        runs = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for column in ("run", "", "since", "batches"):
            runs.add_column(column, overflow="fold")
        for run in seen.runs:
            bar = ""
            if run.batches > 1:
                full = round(BAR * run.done / run.batches)
                bar = f"{'█' * full}{'·' * (BAR - full)} "
            runs.add_row(run.run_id[:8], run.status, duration(run.seconds), f"{bar}{run.told}  {run.name}")
        hidden = seen.runs_at_work + seen.runs_queued - len(seen.runs)
        if hidden:
            runs.add_row("", "", "", f"and {hidden} more runs")
        parts += [Text(), runs]
    if seen.failures:
        parts += [Text(), Text("failed in the last hour", style="bold")]
        for failure in seen.failures[:SHOWN_FAILURES]:
            what = rich_text(f"{failure.batch} at {failure.stage}, {ago(failure.at, seen.at)}: ")
            what.append(failure.kind, style="yellow" if failure.kind == "transient" else "red")
            parts += [what, Padding(rich_text(failure.reason[:300], "dim"), (0, 0, 0, 2))]
    else:
        parts += [Text(), Text("Nothing has failed in the last hour.", style="dim")]
    return Group(*parts)


def _waiting(seen: "Overview") -> str:
    if seen.markers is None:
        return "the bucket does not answer"
    tick = "no look yet" if seen.last_tick_s is None else f"last look {duration(seen.last_tick_s)} ago"
    oldest = f"; the oldest batch waits for {duration(seen.oldest_waiting_s)}" if seen.oldest_waiting_s else ""
    manifests = f"{seen.markers:,} manifest{'' if seen.markers == 1 else 's'} in the inbox"
    return (
        f"{manifests} ({tick}, every {seen.interval_s} s), {seen.runs_queued} runs queued, {seen.runs_at_work} at work"
        f"{oldest}"
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
        return "?"
    share = (seen.tokens_spent + (seen.tokens_reserved or 0)) / seen.tokens_limit
    return (
        f"{seen.tokens_spent:,} spent, {seen.tokens_reserved:,} set aside of {seen.tokens_limit:,} today ({share:.0%})"
    )
