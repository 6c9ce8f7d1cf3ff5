"""`argus lifecycle`: what became of each fault of a vehicle over its drives."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from argus_assets.cli.output import terminal
from argus_assets.cli.status import home_option
from argus_assets.common.texts import rich_text

if TYPE_CHECKING:
    import dagster as dg
    from rich.console import Console

    from argus_assets.lake.store import Lake
    from argus_assets.stats.lifecycle import DriveSeen, FaultLife, FaultSeen

READERS: Final = 16
SHOWN_MARKS: Final = 30
MARK: Final = {"affected": "●", "counts": "·", "too_short": "-", "cleared_by_tester": "c"}
STYLE: Final = {"back": "bold red", "new": "yellow", "recurring": "red", "cleared": "green"}


@click.command()
@click.argument("vehicle")
@click.option("--code", help="Only this code, with its episodes.")
@click.option("--last", default=100, show_default=True, type=click.IntRange(1, 1000), help="Drives to look at.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@home_option
def lifecycle(vehicle: str, code: str | None, last: int, as_json: bool, home: Path | None) -> None:
    """Show which faults of VEHICLE are new, recurring, cleared, or back after they were cleared.

    A fault counts as cleared after three drives in a row that were long enough to show it and did not, or when a
    tester cleared it. docs/operations.md has the rules.
    """
    from argus_assets.errors import BadSetting
    from argus_assets.lake.store import Lake
    from argus_assets.runtime.connection import connect, settings_for
    from argus_assets.stats.lifecycle import lifecycles

    with connect(home) as (instance, _):
        lake = Lake.from_url(settings_for(home, os.environ).lake_url)
        drives = drives_of(instance, lake, vehicle, last=last)
    if not drives:
        raise BadSetting(f"No drive of {vehicle!r} has been processed.", help="`argus status` lists all batches.")
    found = [life for life in lifecycles(drives) if code in (None, life.code)]
    if as_json:
        click.echo(json.dumps([life.model_dump(mode="json") for life in found], indent=2))
        return
    console = terminal()
    console.print(vehicle, style="bold", end="")
    console.print(
        f"  {len(drives)} drives, {drives[0].recorded_from:%Y-%m-%d} to "
        f"{drives[-1].recorded_from:%Y-%m-%d}, {sum(d.recorded_s for d in drives) / 3600:.1f} h recorded\n"
    )
    if not found:
        console.print("No fault in any of them." if code is None else f"{code} is in none of them.")
        return
    _show(console, found, episodes=code is not None)


def _show(console: "Console", found: "list[FaultLife]", *, episodes: bool) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("fault", "ecu", "state", "severity", "drives", "since", "release", "drives, oldest first"):
        table.add_column(column, overflow="fold", no_wrap=column in ("fault", "state", "since"))
    for life in found:
        marks = "".join(MARK[mark] for mark in life.marks[-SHOWN_MARKS:])
        table.add_row(
            life.code,
            life.ecu,
            rich_text(life.state, style=STYLE[life.state]),
            life.severity,
            f"{life.drives_affected}/{life.drives}",
            f"{life.first_seen:%Y-%m-%d}",
            life.first_release,
            rich_text(("…" if len(life.marks) > SHOWN_MARKS else "") + marks),
        )
    console.print(table)
    console.print("\n● in the drive  · not, and the drive was long enough  - too short to tell  c cleared by a tester")
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
                f"  {episode.first_drive} to {episode.last_drive}: {episode.drives} drives, since release "
                f"{episode.release}, {how}"
            )


def drives_of(instance: "dg.DagsterInstance", lake: "Lake", vehicle: str, *, last: int) -> "list[DriveSeen]":
    """The last drives of a vehicle whose tables are in the lake, in the order of their recording."""
    import dagster as dg
    from dagster import DagsterEventType

    from argus_assets.drop.keys import parse_partition_key
    from argus_assets.partitions import BATCHES, DATA_VERSION

    # Keys begin with the date of the recording.
    keys = sorted(
        key
        for key in instance.get_dynamic_partitions(BATCHES)
        if (parsed := parse_partition_key(key)) is not None and parsed.vehicle_id == vehicle
    )
    digests = instance.event_log_storage.get_latest_tags_by_partition(
        dg.AssetKey("vehicle_drop"), DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION], keys
    )
    wanted = [(key, tags[DATA_VERSION]) for key in keys if DATA_VERSION in (tags := digests.get(key, {}))][-last:]
    with ThreadPoolExecutor(READERS) as pool:
        read = pool.map(lambda w: _drive(lake, *w), wanted)
        found = [drive for drive in read if drive is not None]
    return sorted(found, key=lambda d: (d.recorded_from, d.partition))


def _drive(lake: "Lake", partition: str, digest: str) -> "DriveSeen | None":
    """A drive from its tables, `None` when they were not made."""
    import polars as pl

    from argus_assets.assets.batch import manifest_path
    from argus_assets.drop.keys import parse_partition_key
    from argus_assets.drop.manifest import parse_manifest
    from argus_assets.faults.schema import ERROR_EVENTS
    from argus_assets.stats.lifecycle import CLEAR_CODES, Clearing, DriveSeen, FaultSeen, clearings_of
    from argus_assets.stats.schema import DRIVE_STATS, ERROR_STATS

    folder = f"batches/{partition}"
    ref = parse_partition_key(partition)
    if ref is None or not lake.exists(f"{folder}/drive_stats.parquet"):
        return None
    manifest = parse_manifest(
        lake.read_bytes(manifest_path(partition, digest)), vehicle_id=ref.vehicle_id, batch_id=ref.batch_id
    )
    stats = lake.read_table(f"{folder}/error_stats.parquet", ERROR_STATS)
    recorded_h = lake.read_table(f"{folder}/drive_stats.parquet", DRIVE_STATS)["recorded_h"][0]
    is_clear = pl.col("code").is_in(CLEAR_CODES)
    faults: dict[tuple[str, str], FaultSeen] = {}
    for row in stats.filter(~is_clear, pl.col("status") != "previously_active").iter_rows(named=True):
        key, seen = (row["code"], row["ecu"]), faults.get((row["code"], row["ecu"]))
        fault = FaultSeen(
            first_seen=row["first_seen"],
            last_seen=row["last_seen"],
            seconds_into_drive=row["seconds_into_drive"],
            occurrences=row["occurrences"],
            severity=row["severity"],
        )
        faults[key] = fault if seen is None else _both(seen, fault)
    clearings: tuple[Clearing, ...] = ()
    if not stats.filter(is_clear).is_empty():
        events = lake.read_table(f"{folder}/error_events.parquet", ERROR_EVENTS).filter(is_clear)
        clearings = tuple(
            clearing
            for row in events.iter_rows(named=True)
            for clearing in clearings_of(row["code"], ecu=row["ecu"], message=row["message"], at=row["first_seen"])
        )
    return DriveSeen(
        partition=partition,
        recorded_from=manifest.recorded_from,
        recorded_s=recorded_h * 3600,
        release=manifest.release,
        faults=faults,
        clearings=clearings,
    )


def _both(one: "FaultSeen", other: "FaultSeen") -> "FaultSeen":
    """What two sources reported of the same code of the same ECU."""
    from argus_assets.stats.lifecycle import SEVERITIES, FaultSeen

    return FaultSeen(
        first_seen=min(one.first_seen, other.first_seen),
        last_seen=max(one.last_seen, other.last_seen),
        seconds_into_drive=min(one.seconds_into_drive, other.seconds_into_drive),
        occurrences=max(one.occurrences, other.occurrences),
        severity=min(one.severity, other.severity, key=SEVERITIES.index),
    )
