"""`argus outbox`: what other systems are still to be told, what could not be delivered and why, and once more."""

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from argus_assets.cli.output import echo, terminal
from argus_assets.cli.status import home_option
from argus_assets.common.texts import rich_text
from argus_assets.drop.keys import printable
from argus_assets.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from argus_assets.adapters.postgres.outbox import EndpointState, Entry, Outbox
    from argus_assets.notifications.endpoints import Endpoint

_endpoint_option = click.option("--endpoint", help="Only of this endpoint.")
_limit_option = click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="Events to show."
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def outbox() -> None:
    """Events for other systems: what waits, what could not be delivered, and once more."""


@outbox.command()
@_endpoint_option
@_limit_option
@_json_option
@home_option
def ls(endpoint: str | None, limit: int, as_json: bool, home: Path | None) -> None:
    """Show the endpoints, and the events that wait for them, the next one first."""
    with _outbox(home) as (box, endpoints):
        states = [s for s in box.states([e.name for e in endpoints]) if endpoint in (None, s.endpoint)]
        entries = box.entries("pending", endpoint=endpoint, limit=limit)
    if as_json:
        document = {"endpoints": [asdict(s) for s in states], "pending": [_to_json(e) for e in entries]}
        click.echo(json.dumps(document, indent=2, default=str))
        return
    _show_states(states, {e.name: e.host for e in endpoints})
    if entries:
        _show(entries, ("endpoint", "event", "batch", "next attempt", "attempts", "last error"))


@outbox.command()
@_endpoint_option
@_limit_option
@_json_option
@home_option
def dead(endpoint: str | None, limit: int, as_json: bool, home: Path | None) -> None:
    """List events that could not be delivered, and why, the latest first."""
    with _outbox(home) as (box, _):
        entries = box.entries("dead", endpoint=endpoint, limit=limit)
    if as_json:
        click.echo(json.dumps([_to_json(e) for e in entries], indent=2, default=str))
        return
    if not entries:
        echo("No dead letters.")
        return
    _show(entries, ("id", "endpoint", "event", "batch", "given up", "attempts", "last error"))
    echo("Once the receiver is mended: argus outbox retry ID… or argus outbox retry --all")


@outbox.command()
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@_endpoint_option
@home_option
def retry(ids: tuple[str, ...], everything: bool, endpoint: str | None, home: Path | None) -> None:
    """Send dead letters again: those named by IDS, or all.

    Their endpoints speak again, those too that had said that they are gone. Exits with 1 when nothing was found.
    """
    if everything == bool(ids):
        raise BadSetting("Nothing was named.", help="Name ids of `argus outbox dead`, or give --all.")
    with _outbox(home) as (box, _):
        brought = box.retry(ids=ids, endpoint=endpoint, now=datetime.now(UTC))
    echo(f"{brought} dead letters wait for delivery again.")
    if ids and not brought:
        raise SystemExit(1)


@outbox.command()
@_endpoint_option
@home_option
def test(endpoint: str | None, home: Path | None) -> None:
    """Send a test event to each endpoint now, signed like all others. Exits with 1 when one does not take it.

    It is an argus.AlertRaised of the vehicle `argus-test`. It is not put into the outbox.
    """
    from argus_assets.adapters.webhook_sender import WebhookSender
    from argus_assets.notifications.events import envelope, example_alert
    from argus_assets.runtime.connection import settings_for

    settings = settings_for(home, os.environ)
    chosen = [e for e in _endpoints(home) if endpoint in (None, e.name)]
    if not chosen:
        raise BadSetting(
            f"There is no endpoint {endpoint or ''}".strip() + ".", help="Name endpoints in ARGUS_WEBHOOKS."
        )
    failed = 0
    for one in chosen:
        now = datetime.now(UTC)
        event = example_alert(now)
        with WebhookSender(one) as sender:
            reply = sender.send(event.id, envelope(event, source=settings.notifications.event_source), at=now)
        taken = reply.status is not None and 200 <= reply.status < 300
        failed += not taken
        echo(f"{one.name} at {one.host}: {f'took it ({reply.status})' if taken else reply.error}")
    if failed:
        raise SystemExit(1)


def _endpoints(home: Path | None) -> "tuple[Endpoint, ...]":
    from argus_assets.notifications.endpoints import parse_endpoints
    from argus_assets.runtime.connection import settings_for

    settings = settings_for(home, os.environ)
    given = settings.notifications
    if given.webhooks is None:
        return ()
    secrets = given.webhook_secrets.get_secret_value() if given.webhook_secrets else ""
    return parse_endpoints(given.webhooks.get_secret_value(), secrets)


@contextmanager
def _outbox(home: Path | None) -> "Generator[tuple[Outbox, tuple[Endpoint, ...]]]":
    from argus_assets.adapters.postgres.database import Database
    from argus_assets.adapters.postgres.outbox import Outbox
    from argus_assets.runtime.connection import connect

    endpoints = _endpoints(home)
    with connect(home):
        yield Outbox(Database(os.environ["ARGUS_DATABASE_URL"])), endpoints


def _to_json(entry: "Entry") -> dict[str, object]:
    return asdict(entry)


def _show_states(states: "Sequence[EndpointState]", hosts: dict[str, str]) -> None:
    from rich.table import Table

    if not states:
        echo("No endpoints: ARGUS_WEBHOOKS names none. See docs/outcomes.md.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("endpoint", "at", "state", "waiting", "oldest", "dead"):
        table.add_column(column, overflow="fold")
    now = datetime.now(UTC)
    for s in states:
        state = "ok"
        if s.endpoint not in hosts:
            state = "not in ARGUS_WEBHOOKS: nothing is sent"
        elif s.disabled_at is not None:
            state = f"stopped on {s.disabled_at:%Y-%m-%d %H:%M}: {s.disabled_why}"
        elif s.paused_until is not None and s.paused_until > now:
            state = f"{s.failures} failures in a row, waits until {s.paused_until.astimezone(UTC):%H:%M:%S} UTC"
        oldest = f"{s.oldest.astimezone(UTC):%Y-%m-%d %H:%M}" if s.oldest else ""
        table.add_row(s.endpoint, hosts.get(s.endpoint, ""), state, f"{s.pending:,}", oldest, f"{s.dead:,}")
    terminal().print(table)


def _show(entries: "Sequence[Entry]", columns: "Sequence[str]") -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for e in entries:
        cells = {
            "id": e.id,
            "endpoint": e.endpoint,
            "event": e.type.removeprefix("argus."),
            "batch": e.subject,
            "next attempt": f"{e.next_attempt_at.astimezone(UTC):%m-%d %H:%M:%S}",
            "given up": f"{e.dead_at.astimezone(UTC):%m-%d %H:%M:%S}" if e.dead_at else "",
            "attempts": str(e.attempts),
            "last error": printable(e.last_error or ""),
        }
        table.add_row(*(rich_text(cells[column]) for column in columns))
    terminal().print(table)
