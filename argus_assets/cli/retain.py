"""`argus retain`: see what is old enough to go, and let it go."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import click

from argus_assets.cli.output import echo
from argus_assets.cli.status import home_option


@click.command()
@click.option("--dry-run/--apply", "dry_run", default=True, help="Look only (the default), or remove it.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@home_option
def retain(dry_run: bool, as_json: bool, home: Path | None) -> None:
    """Remove what is older than the settings ARGUS_RETAIN_… say. Without --apply nothing is removed.

    Batches that failed, are in flight, or whose outcome was not delivered stay. Tables and pages stay. The schedule
    `retain` does the same once a day.
    """
    from argus_assets.adapters.postgres.database import Database
    from argus_assets.lake.store import Lake
    from argus_assets.runtime.connection import connect, settings_for
    from argus_assets.schedules.retain import policy_of, run_retention

    settings = settings_for(home, os.environ)
    with connect(home) as (instance, bucket):
        report = run_retention(
            instance,
            bucket,
            Lake.from_url(settings.lake_url),
            Database(os.environ["ARGUS_DATABASE_URL"]),
            policy=policy_of(settings),
            now=datetime.now(UTC),
            dry_run=dry_run,
        )
    if as_json:
        click.echo(json.dumps(report.model_dump(mode="json"), indent=2))
        return
    for line in report.lines():
        echo(line)
    for kept in report.kept:
        echo(f"kept because: {kept.because}")
        for name in kept.batches:
            echo(f"  {name}")
    if dry_run and any(g.count for g in report.gone):
        echo("Nothing was removed. `argus retain --apply` removes it.")
