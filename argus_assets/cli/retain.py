"""`argus retain`: show what has expired, and delete it."""

from datetime import UTC, datetime
from pathlib import Path

import click

from argus_assets.cli.context import connected
from argus_assets.cli.options import home_option, json_option
from argus_assets.cli.output import echo, print_json


@click.command()
@click.option("--dry-run/--apply", "dry_run", default=True, help="Only show it (the default), or delete it.")
@json_option
@home_option
def retain(dry_run: bool, as_json: bool, home: Path | None) -> None:
    """Delete what is older than the settings ARGUS_RETAIN_… allow. Without --apply nothing is deleted.

    Batches that failed, are in flight, or whose outcome was not delivered are kept. So are tables and pages. The
    schedule `retain` does the same once a day.
    """
    from argus_assets.schedules.retain import policy_of, run_retention

    with connected(home) as context:
        report = run_retention(
            context.instance,
            context.bucket,
            context.lake,
            context.database,
            policy=policy_of(context.settings),
            now=datetime.now(UTC),
            dry_run=dry_run,
        )
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    for line in report.lines():
        echo(line)
    for kept in report.kept:
        echo(f"kept because: {kept.because}")
        for name in kept.batches:
            echo(f"  {name}")
    if dry_run and any(g.count for g in report.gone):
        echo("Nothing was deleted. `argus retain --apply` deletes it.")
