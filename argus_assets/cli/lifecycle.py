"""`argus lifecycle`: what became of each fault of a vehicle over its drives."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from argus_assets.cli.context import Context, connected
from argus_assets.cli.options import home_option, json_option
from argus_assets.cli.output import counted, print_json, table, terminal
from argus_assets.common.texts import rich_text

if TYPE_CHECKING:
    from rich.console import Console

    from argus_assets.stats.lifecycle import DriveSeen, FaultLife

MAX_MARKS: Final = 30
MARK: Final = {"affected": "●", "counts": "·", "too_short": "-", "cleared_by_tester": "c"}
STYLE: Final = {"back": "bold red", "new": "yellow", "recurring": "red", "cleared": "green"}


@click.command()
@click.argument("vehicle")
@click.option("--code", help="Only this code, with its episodes.")
@click.option(
    "--last", default=100, show_default=True, type=click.IntRange(1, 1000), help="Number of drives to read, the latest."
)
@json_option
@home_option
def lifecycle(vehicle: str, code: str | None, last: int, as_json: bool, home: Path | None) -> None:
    """Show which faults of VEHICLE are new, recurring, cleared, or back after they were cleared.

    A fault counts as cleared after three consecutive drives that were long enough to show it and did not, or when a
    tester cleared it. docs/operations.md has the rules.
    """
    from argus_assets.errors import BadSetting
    from argus_assets.stats.lifecycle import lifecycles

    with connected(home) as context:
        drives = _history(context, vehicle, last=last)
    if not drives:
        raise BadSetting(f"No drive of {vehicle!r} has been processed.", help="`argus status` lists all batches.")
    found = [life for life in lifecycles(drives) if code in (None, life.code)]
    if as_json:
        print_json([life.model_dump(mode="json") for life in found])
        return
    console = terminal()
    console.print(vehicle, style="bold", end="")
    console.print(
        f"  {counted(len(drives), 'drive')}, {drives[0].recorded_from:%Y-%m-%d} to "
        f"{drives[-1].recorded_from:%Y-%m-%d}, {sum(d.recorded_s for d in drives) / 3600:.1f} h recorded\n"
    )
    if not found:
        console.print("No faults in any of them." if code is None else f"{code} is in none of them.")
        return
    show(console, found, episodes=code is not None)


def show(console: "Console", found: "list[FaultLife]", *, episodes: bool) -> None:
    """Print the faults, and their episodes if asked for."""
    columns = ("fault", "ecu", "state", "severity", "drives", "since", "release", "drives, oldest first")
    made = table(*columns, whole=("fault", "state", "since"))
    for life in found:
        marks = "".join(MARK[mark] for mark in life.marks[-MAX_MARKS:])
        made.add_row(
            life.code,
            life.ecu,
            rich_text(life.state, style=STYLE[life.state]),
            life.severity,
            f"{life.drives_affected}/{life.drives}",
            f"{life.first_seen:%Y-%m-%d}",
            life.first_release,
            rich_text(("…" if len(life.marks) > MAX_MARKS else "") + marks),
        )
    console.print(made)
    console.print(
        "\n● in this drive  · absent, and the drive was long enough  - drive too short to know  c cleared by a tester"
    )
    if not episodes:
        return
    for life in found:
        console.print(f"\n{life.code}", style="bold", end="")
        console.print(f" of {life.ecu}")
        for episode in life.episodes:
            how = {
                None: "not cleared",
                "tester": f"cleared by a tester in {episode.cleared_in}",
                "drives": f"cleared with {episode.cleared_in}",
            }[episode.cleared_by]
            console.print(
                f"  {episode.first_drive} to {episode.last_drive}: {counted(episode.drives, 'drive')}, since release "
                f"{episode.release}, {how}"
            )


def _history(context: Context, vehicle: str, *, last: int) -> "list[DriveSeen]":
    """Return the last drives of a vehicle that were processed, in the order of their recording."""
    from argus_assets.event_log.queries import dropped_digests
    from argus_assets.faults.schema import ERROR_EVENTS
    from argus_assets.fleet.history import DriveTables, partitions_of_vehicle, vehicle_history
    from argus_assets.partitions import BATCHES
    from argus_assets.stats.schema import DRIVE_STATS, ERROR_STATS

    instance, batches = context.instance, context.batches
    keys = partitions_of_vehicle(instance.get_dynamic_partitions(BATCHES), vehicle)
    digests = dropped_digests(instance, keys)

    def read(partition: str) -> DriveTables | None:
        if not batches.has_table(partition, DRIVE_STATS):
            return None
        return DriveTables(
            manifest=batches.manifest(partition, digests[partition]),
            error_stats=batches.table(partition, ERROR_STATS),
            drive_stats=batches.table(partition, DRIVE_STATS),
            error_events=lambda: batches.table(partition, ERROR_EVENTS),
        )

    return vehicle_history([key for key in keys if key in digests][-last:], read)
