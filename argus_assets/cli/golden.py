"""`argus golden`: the batches on which a change is tried before it is rolled out to all."""

import getpass
from datetime import UTC, datetime
from pathlib import Path

import click

from argus_assets.cli.context import connected, lake_of, settings_of
from argus_assets.cli.options import home_option, json_option
from argus_assets.cli.output import counted, echo, print_json, table, terminal
from argus_assets.pipeline import ASSETS, DROP, STAGES


@click.group()
def golden() -> None:
    """The golden set: batches with their expected outcome. `argus replay --golden` compares against it."""


@golden.command()
@click.argument("batches", nargs=-1, required=True)
@click.option("--note", default="", help="Why they are in the set.")
@home_option
def pin(batches: tuple[str, ...], note: str, home: Path | None) -> None:
    """Add BATCHES to the set with their present outcome; pin one again to accept another outcome.

    Their recordings are kept as long as they are in the set.
    """
    from argus_assets.assets.replay import recorded_outcome, save_pin
    from argus_assets.errors import BadSetting
    from argus_assets.event_log.queries import materialization_records
    from argus_assets.maintenance.replays import Pin

    with connected(home) as context:
        for partition in dict.fromkeys(map(context.partition_of, batches)):
            made = materialization_records(context.instance, [partition], assets=ASSETS).get(partition, {})
            digest = made[DROP].digest if DROP in made else ""
            if any(stage not in made or made[stage].digest != digest for stage in STAGES):
                raise BadSetting(
                    f"{partition} is not completely processed.",
                    help="Pin it once `argus status` shows it as completed.",
                )
            save_pin(
                context.lake,
                Pin(
                    partition=partition,
                    digest=digest,
                    pinned_at=datetime.now(UTC),
                    by=getpass.getuser(),
                    note=note,
                    made_with={stage: dict(made[stage].recipe) for stage in STAGES},
                    outcome=recorded_outcome(context.lake, partition),
                ),
            )
            echo(f"pinned {partition}")


@golden.command()
@click.argument("batches", nargs=-1, required=True)
@home_option
def unpin(batches: tuple[str, ...], home: Path | None) -> None:
    """Remove BATCHES from the set."""
    from argus_assets.assets.replay import pinned, remove_pin
    from argus_assets.errors import BadSetting

    lake = lake_of(settings_of(home))
    for name in batches:
        found = [key for key in pinned(lake) if key == name or key.endswith(f"_{name.replace('/', '_')}")]
        if len(found) != 1:
            raise BadSetting(
                f"{name!r} names {counted(len(found), 'batch')} of the golden set, expected 1.",
                help="See `argus golden ls`.",
            )
        remove_pin(lake, found[0])
        echo(f"unpinned {found[0]}")


@golden.command()
@json_option
@home_option
def ls(as_json: bool, home: Path | None) -> None:
    """List the set."""
    from argus_assets.assets.replay import pins

    found = pins(lake_of(settings_of(home)))
    if as_json:
        print_json([p.model_dump(mode="json") for p in found])
        return
    if not found:
        echo("The golden set is empty. Add to it with `argus golden pin BATCH`.")
        return
    made = table("batch", "pinned", "codes", "most likely cause", "note", right=["codes"])
    for one in found:
        when = f"{one.pinned_at:%Y-%m-%d} by {one.by}"
        made.add_row(one.partition, when, str(len(one.outcome.codes)), one.outcome.cause, one.note)
    terminal().print(made)
