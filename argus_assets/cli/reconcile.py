"""`argus reconcile`: hold the whole bucket against Dagster's records now."""

import json
import os
from datetime import timedelta
from pathlib import Path

import click

from argus_assets.cli.output import echo
from argus_assets.cli.status import home_option


@click.command()
@click.option("--dry-run", is_flag=True, help="Look at everything, change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@home_option
def reconcile(dry_run: bool, as_json: bool, home: Path | None) -> None:
    """Put batches that Dagster lost back into the inbox, and report recordings that no manifest names.

    The schedule `reconcile_bucket` does the same once a day.
    """
    from argus_assets.lake.store import Lake
    from argus_assets.runtime.connection import connect, settings_for
    from argus_assets.schedules.reconcile_bucket import run_pass

    settings = settings_for(home, os.environ)
    with connect(home) as (instance, bucket):
        report = run_pass(
            instance,
            bucket,
            Lake.from_url(settings.lake_url),
            retain=timedelta(days=settings.retention.days),
            dry_run=dry_run,
        )
    if as_json:
        click.echo(json.dumps(report.model_dump(mode="json"), indent=2))
        return
    echo(report.text())
    for name in report.put_back:
        echo(f"  {'lost' if dry_run else 'put back'}: {name}")
    for name in report.told:
        echo(f"  quarantined without an outcome: {name}")
    for found in report.unnamed:
        echo(f"  {found.why}: {found.where!r}: {found.objects:,} objects, {found.size_bytes:,} bytes")
