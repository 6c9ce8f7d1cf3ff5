"""`argus budget`: today's tokens of the language model, and where they went."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from argus_assets.cli.context import connected
from argus_assets.cli.options import home_option, json_option
from argus_assets.cli.output import counted, print_json, table, terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from argus_assets.adapters.postgres.ledger import Call, TokenDay
    from argus_assets.settings import Settings

BAR: Final = 40


@click.command()
@click.argument("batch", required=False)
@click.option("--days", default=14, show_default=True, type=click.IntRange(1), help="Days with calls to show.")
@json_option
@home_option
def budget(batch: str | None, days: int, as_json: bool, home: Path | None) -> None:
    """Show how much of the daily token budget is used, or every call of the language model for BATCH.

    BATCH is a partition key, VEHICLE/BATCH, or a batch id that only one vehicle has.
    """
    from argus_assets.adapters.postgres.ledger import PostgresLedger

    with connected(home) as context:
        settings = context.settings
        ledger = PostgresLedger(context.database, daily_tokens=settings.llm.daily_tokens)
        if batch is not None:
            calls = ledger.calls_of(context.partition_of(batch))
            if as_json:
                print_json([asdict(call) for call in calls])
            else:
                _show_calls(terminal(), calls)
            return
        today, past = ledger.today(), ledger.days(last=days)
    if as_json:
        print_json({"today": {**asdict(today), "left": today.left}, "days": [asdict(day) for day in past]})
        return
    _show_today(terminal(), today, settings)
    _show_days(terminal(), past)


def _show_today(console: "Console", today: "TokenDay", settings: "Settings") -> None:
    from rich.text import Text

    model = settings.llm.model or "none: diagnoses are made by rules. Set ARGUS_LLM_MODEL to use one"
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
        f"       {today.spent:,} tokens spent, {today.reserved:,} reserved, {today.left:,} left of {today.limit:,}; "
        f"resets in {hours} h {minutes:02d} min (00:00 UTC)"
    )
    console.print(f"       {_calls(today)}, {_cost(today)}")


def _show_days(console: "Console", past: "Sequence[TokenDay]") -> None:
    if not past:
        console.print("\nNo language model has been called yet.")
        return
    columns = ("day", "spent", "prompt", "cached", "completion", "calls", "failed", "batches", "cost")
    made = table(*columns, right=columns[1:])
    for day in past:
        made.add_row(
            str(day.day),
            *(f"{n:,}" for n in (day.spent, day.prompt_tokens, day.cached_tokens, day.completion_tokens)),
            *(f"{n:,}" for n in (day.calls, day.failed, day.batches)),
            _cost(day),
        )
    console.print()
    console.print(made)


def _show_calls(console: "Console", calls: "Sequence[Call]") -> None:
    if not calls:
        console.print("No language model was called for this batch.")
        return
    numbers = ("prompt", "completion", "reserved", "priority", "cost")
    made = table("at (UTC)", "model", "outcome", *numbers, right=numbers)
    for call in calls:
        bound = " (upper bound)" if call.estimated else ""
        tokens = ("" if n is None else f"{n:,}" for n in (call.prompt_tokens, call.completion_tokens))
        cost = "" if call.settled_at is None else "unknown" if call.cost_usd is None else f"${call.cost_usd:.4f}"
        made.add_row(
            f"{call.reserved_at:%m-%d %H:%M:%S}",
            call.model,
            f"{call.outcome or 'not settled'}{bound}",
            *tokens,
            f"{call.reserved:,}",
            f"{call.priority:.2f}",
            cost,
        )
    console.print(made)


def _calls(day: "TokenDay") -> str:
    return counted(day.calls, "call") + (f", {day.failed:,} of them failed" if day.failed else "")


def _cost(day: "TokenDay") -> str:
    unknown = f"unknown for {day.calls_without_price:,}" if day.calls_without_price else ""
    if unknown and not day.cost_usd:
        return "cost unknown" if day.calls_without_price == day.calls else f"cost {unknown}"
    return f"${day.cost_usd:.2f}" + (f", {unknown}" if unknown else "")
