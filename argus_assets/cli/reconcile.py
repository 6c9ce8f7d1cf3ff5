"""`argus reconcile`: compare the whole bucket with Dagster's records now."""

from datetime import timedelta
from pathlib import Path

import click

from argus_assets.cli.context import connected
from argus_assets.cli.options import home_option, json_option
from argus_assets.cli.output import counted, echo, print_json


@click.command()
@click.option("--dry-run", is_flag=True, help="Compare, but change nothing.")
@json_option
@home_option
def reconcile(dry_run: bool, as_json: bool, home: Path | None) -> None:
    """Put batches that Dagster lost back into the inbox, and report recordings that no manifest names.

    The schedule `reconcile_bucket` does the same once a day.
    """
    from argus_assets.schedules.reconcile_bucket import run_pass

    with connected(home) as context:
        report = run_pass(
            context.instance,
            context.bucket,
            context.lake,
            retain=timedelta(days=context.settings.retention.days),
            dry_run=dry_run,
        )
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    echo(report.text())
    for name in report.put_back:
        echo(f"  {'lost' if dry_run else 'put back'}: {name}")
    for name in report.told:
        echo(f"  quarantined without a result: {name}")
    for found in report.unnamed:
        echo(f"  {found.why}: {found.where!r}: {counted(found.objects, 'object')}, {found.size_bytes:,} bytes")
