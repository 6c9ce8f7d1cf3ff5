"""`argus golden`: the batches that a change is tried on before it is let loose on all."""

import getpass
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import click

from argus_assets.cli.output import echo, terminal
from argus_assets.cli.status import home_option, partition_of
from argus_assets.maintenance.staleness import STAGES


@click.group()
def golden() -> None:
    """The golden set: batches with the outcome that they are to have. `argus replay --golden` holds them against it."""


@golden.command()
@click.argument("batches", nargs=-1, required=True)
@click.option("--note", default="", help="Why they are in the set.")
@home_option
def pin(batches: tuple[str, ...], note: str, home: Path | None) -> None:
    """Put BATCHES into the set with the outcome that they have now; again, to accept another outcome.

    Their recordings are kept as long as they are in the set.
    """
    from argus_assets.assets.provenance import made_as
    from argus_assets.assets.replay import recorded_outcome, save_pin
    from argus_assets.errors import BadSetting
    from argus_assets.lake.store import Lake
    from argus_assets.maintenance.replays import Pin
    from argus_assets.runtime.connection import connect, settings_for

    lake = Lake.from_url(settings_for(home, os.environ).lake_url)
    with connect(home) as (instance, _):
        for partition in dict.fromkeys(partition_of(instance, name) for name in batches):
            made = made_as(instance, [partition], assets=("vehicle_drop", *STAGES)).get(partition, {})
            digest = made["vehicle_drop"].digest if "vehicle_drop" in made else ""
            if any(stage not in made or made[stage].digest != digest for stage in STAGES):
                raise BadSetting(
                    f"{partition} was not processed to its end.", help="Pin it when `argus status` calls it completed."
                )
            save_pin(
                lake,
                Pin(
                    partition=partition,
                    digest=digest,
                    pinned_at=datetime.now(UTC),
                    by=getpass.getuser(),
                    note=note,
                    made_with={stage: dict(made[stage].recipe) for stage in STAGES},
                    outcome=recorded_outcome(lake, partition),
                ),
            )
            echo(f"pinned {partition}")


@golden.command()
@click.argument("batches", nargs=-1, required=True)
@home_option
def unpin(batches: tuple[str, ...], home: Path | None) -> None:
    """Take BATCHES out of the set."""
    from argus_assets.assets.replay import pinned, remove_pin
    from argus_assets.errors import BadSetting
    from argus_assets.lake.store import Lake
    from argus_assets.runtime.connection import settings_for

    lake = Lake.from_url(settings_for(home, os.environ).lake_url)
    for name in batches:
        found = [key for key in pinned(lake) if key == name or key.endswith(f"_{name.replace('/', '_')}")]
        if len(found) != 1:
            raise BadSetting(
                f"{len(found)} batches of the golden set are called {name!r}.", help="See `argus golden ls`."
            )
        remove_pin(lake, found[0])
        echo(f"unpinned {found[0]}")


@golden.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@home_option
def ls(as_json: bool, home: Path | None) -> None:
    """List the set."""
    from rich.table import Table

    from argus_assets.assets.replay import pins
    from argus_assets.lake.store import Lake
    from argus_assets.runtime.connection import settings_for

    found = pins(Lake.from_url(settings_for(home, os.environ).lake_url))
    if as_json:
        click.echo(json.dumps([p.model_dump(mode="json") for p in found], indent=2))
        return
    if not found:
        echo("The golden set is empty: `argus golden pin BATCH`.")
        return
    table = Table("Batch", "Pinned", "Codes", "Most likely cause", "Note", box=None, padding=(0, 2, 0, 0))
    for one in found:
        when = f"{one.pinned_at:%Y-%m-%d} by {one.by}"
        table.add_row(one.partition, when, str(len(one.outcome.codes)), one.outcome.cause, one.note)
    terminal().print(table)
