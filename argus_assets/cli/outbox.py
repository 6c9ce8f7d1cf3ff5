"""`argus outbox`: events for other systems that are pending, or could not be delivered and why; and their redelivery."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from argus_assets.cli.context import connected, settings_of
from argus_assets.cli.options import home_option, json_option
from argus_assets.cli.output import counted, echo, print_json, table, terminal
from argus_assets.common.texts import rich_text
from argus_assets.drop.keys import printable
from argus_assets.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from argus_assets.adapters.postgres.outbox import EndpointState, Entry, Outbox
    from argus_assets.notifications.endpoints import Endpoint

_endpoint_option = click.option("--endpoint", help="Only this endpoint.")
_limit_option = click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="Events to show."
)


@click.group()
def outbox() -> None:
    """Events for other systems: list those pending, list dead letters, send them again."""


@outbox.command()
@_endpoint_option
@_limit_option
@json_option
@home_option
def ls(endpoint: str | None, limit: int, as_json: bool, home: Path | None) -> None:
    """Show the endpoints and the pending events, the next one first."""
    with _outbox(home) as (box, endpoints):
        states = [s for s in box.states([e.name for e in endpoints]) if endpoint in (None, s.endpoint)]
        entries = box.entries("pending", endpoint=endpoint, limit=limit)
    if as_json:
        print_json({"endpoints": [asdict(s) for s in states], "pending": [asdict(e) for e in entries]})
        return
    _show_states(states, {e.name: e.host for e in endpoints})
    if entries:
        _show(entries, ("endpoint", "event", "batch", "next attempt", "attempts", "last error"))


@outbox.command()
@_endpoint_option
@_limit_option
@json_option
@home_option
def dead(endpoint: str | None, limit: int, as_json: bool, home: Path | None) -> None:
    """List the events that could not be delivered, and why, the latest first."""
    with _outbox(home) as (box, _):
        entries = box.entries("dead", endpoint=endpoint, limit=limit)
    if as_json:
        print_json([asdict(e) for e in entries])
        return
    if not entries:
        echo("No dead letters.")
        return
    _show(entries, ("id", "endpoint", "event", "batch", "given up", "attempts", "last error"))
    echo("Once the receiver is repaired: argus outbox retry ID… or argus outbox retry --all")


@outbox.command()
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@_endpoint_option
@home_option
def retry(ids: tuple[str, ...], everything: bool, endpoint: str | None, home: Path | None) -> None:
    """Send dead letters again: those with IDS, or all.

    Their endpoints are enabled again, also those that had answered 410 Gone. Exits with 1 when none was found.
    """
    if everything == bool(ids):
        raise BadSetting("Give either ids or --all.", help="`argus outbox dead` lists the ids.")
    with _outbox(home) as (box, _):
        brought = box.retry(ids=ids, endpoint=endpoint, now=datetime.now(UTC))
    echo(f"{counted(brought, 'dead letter')} will be delivered again.")
    if ids and not brought:
        raise SystemExit(1)


@outbox.command()
@_endpoint_option
@home_option
def test(endpoint: str | None, home: Path | None) -> None:
    """Send a signed test event to each endpoint now. Exits with 1 if one does not accept it.

    It is an argus.AlertRaised of the vehicle `argus-test`, and is not put into the outbox.
    """
    from argus_assets.adapters.webhook_sender import WebhookSender
    from argus_assets.notifications.events import envelope, example_alert

    settings = settings_of(home)
    chosen = [e for e in _endpoints(home) if endpoint in (None, e.name)]
    if not chosen:
        raise BadSetting(
            f"No endpoint is named {endpoint!r}." if endpoint else "There are no endpoints.",
            help="ARGUS_WEBHOOKS names them.",
        )
    failed = 0
    for one in chosen:
        now = datetime.now(UTC)
        event = example_alert(now)
        with WebhookSender(one) as sender:
            reply = sender.send(event.id, envelope(event, source=settings.notifications.event_source), at=now)
        taken = reply.status is not None and 200 <= reply.status < 300
        failed += not taken
        echo(f"{one.name} at {one.host}: {f'accepted ({reply.status})' if taken else reply.error}")
    if failed:
        raise SystemExit(1)


def _endpoints(home: Path | None) -> "tuple[Endpoint, ...]":
    from argus_assets.notifications.endpoints import parse_endpoints

    given = settings_of(home).notifications
    if given.webhooks is None:
        return ()
    secrets = given.webhook_secrets.get_secret_value() if given.webhook_secrets else ""
    return parse_endpoints(given.webhooks.get_secret_value(), secrets)


@contextmanager
def _outbox(home: Path | None) -> "Generator[tuple[Outbox, tuple[Endpoint, ...]]]":
    from argus_assets.adapters.postgres.outbox import Outbox

    endpoints = _endpoints(home)
    with connected(home) as context:
        yield Outbox(context.database), endpoints


def _show_states(states: "Sequence[EndpointState]", hosts: dict[str, str]) -> None:
    if not states:
        echo("There are no endpoints: ARGUS_WEBHOOKS names none. See docs/outcomes.md.")
        return
    made = table("endpoint", "host", "state", "pending", "oldest", "dead", right=["pending", "dead"])
    now = datetime.now(UTC)
    for s in states:
        state = "ok"
        if s.endpoint not in hosts:
            state = "not in ARGUS_WEBHOOKS: nothing is sent"
        elif s.disabled_at is not None:
            state = f"disabled on {s.disabled_at:%Y-%m-%d %H:%M}: {s.disabled_why}"
        elif s.paused_until is not None and s.paused_until > now:
            state = (
                f"{counted(s.failures, 'failure')} in a row, paused until {s.paused_until.astimezone(UTC):%H:%M:%S} UTC"
            )
        oldest = f"{s.oldest.astimezone(UTC):%Y-%m-%d %H:%M}" if s.oldest else ""
        made.add_row(s.endpoint, hosts.get(s.endpoint, ""), state, f"{s.pending:,}", oldest, f"{s.dead:,}")
    terminal().print(made)


def _show(entries: "Sequence[Entry]", columns: "Sequence[str]") -> None:
    made = table(*columns)
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
        made.add_row(*(rich_text(cells[column]) for column in columns))
    terminal().print(made)
