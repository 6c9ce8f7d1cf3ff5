"""`argus budget`: the tokens of the day, and where they went."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from argus_assets.cli.output import terminal
from argus_assets.cli.status import home_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from argus_assets.adapters.postgres.ledger import Call, TokenDay
    from argus_assets.settings import Settings

BAR: int = 40


@click.command()
@click.argument("batch", required=False)
@click.option("--days", default=14, show_default=True, type=click.IntRange(1), help="Days with calls to show.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@home_option
def budget(batch: str | None, days: int, as_json: bool, home: Path | None) -> None:
    """Show what language models took of the daily budget, or every call for BATCH.

    BATCH is a partition key, VEHICLE/BATCH, or a batch id that only one vehicle has.
    """
    import os

    from argus_assets.adapters.postgres.database import Database
    from argus_assets.adapters.postgres.ledger import PostgresLedger
    from argus_assets.cli.status import partition_of
    from argus_assets.runtime.connection import connect, settings_for

    with connect(home) as (instance, _):
        settings = settings_for(home, os.environ)
        ledger = PostgresLedger(Database(os.environ["ARGUS_DATABASE_URL"]), daily_tokens=settings.llm.daily_tokens)
        if batch is not None:
            calls = ledger.calls_of(partition_of(instance, batch))
            if as_json:
                click.echo(json.dumps([asdict(call) for call in calls], indent=2, default=str))
            else:
                _show_calls(terminal(), calls)
            return
        today, past = ledger.today(), ledger.days(last=days)
    if as_json:
        document = {"today": {**asdict(today), "left": today.left}, "days": [asdict(day) for day in past]}
        click.echo(json.dumps(document, indent=2, default=str))
        return
    _show_today(terminal(), today, settings)
    _show_days(terminal(), past)


def _show_today(console: "Console", today: "TokenDay", settings: "Settings") -> None:
    from rich.text import Text

    model = settings.llm.model or "none: rules answer. Set ARGUS_LLM_MODEL to ask one"
    console.print("model", style="bold", end="")
    console.print(f"  {model}")
    share = min(1.0, (today.spent + today.reserved) / today.limit) if today.limit else 1.0
    spent = round(BAR * min(1.0, today.spent / today.limit)) if today.limit else BAR
    held = round(BAR * share) - spent
    console.print(
        Text.assemble(
            ("today", "bold"),
            "  ",
            ("█" * spent, "green"),
            ("▒" * held, "yellow"),
            f"{'·' * (BAR - spent - held)} {share:.0%}",
        )
    )
    now = datetime.now(UTC)
    reset = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC) - now
    hours, minutes = divmod(int(reset.total_seconds()) // 60, 60)
    console.print(
        f"       {today.spent:,} tokens spent, {today.reserved:,} set aside, {today.left:,} left of {today.limit:,}; "
        f"a new day begins in {hours} h {minutes:02d} min (00:00 UTC)"
    )
    console.print(f"       {_calls(today)}, {_cost(today)}")


def _show_days(console: "Console", past: "Sequence[TokenDay]") -> None:
    from rich.table import Table

    if not past:
        console.print("\nNo language model has been asked yet.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("day", "spent", "prompt", "of it cached", "answers", "calls", "failed", "batches", "cost"):
        table.add_column(column, justify="left" if column == "day" else "right")
    for day in past:
        table.add_row(
            str(day.day),
            *(f"{n:,}" for n in (day.spent, day.prompt_tokens, day.cached_tokens, day.completion_tokens)),
            *(f"{n:,}" for n in (day.calls, day.failed, day.batches)),
            _cost(day),
        )
    console.print()
    console.print(table)


def _show_calls(console: "Console", calls: "Sequence[Call]") -> None:
    from rich.table import Table

    if not calls:
        console.print("No language model was asked for this batch.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("at (UTC)", "model", "outcome", "prompt", "answer", "reserved", "priority", "cost"):
        table.add_column(
            column, justify="left" if column in ("at (UTC)", "model", "outcome") else "right", overflow="fold"
        )
    for call in calls:
        bound = " (bound)" if call.estimated else ""
        tokens = ("" if n is None else f"{n:,}" for n in (call.prompt_tokens, call.completion_tokens))
        cost = "" if call.settled_at is None else "unknown" if call.cost_usd is None else f"${call.cost_usd:.4f}"
        table.add_row(
            f"{call.reserved_at:%m-%d %H:%M:%S}",
            call.model,
            f"{call.outcome or 'not settled'}{bound}",
            *tokens,
            f"{call.reserved:,}",
            f"{call.priority:.2f}",
            cost,
        )
    console.print(table)


def _calls(day: "TokenDay") -> str:
    return f"{day.calls:,} call{'s' if day.calls != 1 else ''}" + (
        f", {day.failed:,} of them failed" if day.failed else ""
    )


def _cost(day: "TokenDay") -> str:
    unknown = f"unknown for {day.calls_without_price:,}" if day.calls_without_price else ""
    if unknown and not day.cost_usd:
        return "cost unknown" if day.calls_without_price == day.calls else f"cost {unknown}"
    return f"${day.cost_usd:.2f}" + (f", {unknown}" if unknown else "")
