"""`argus simulate`: write a fleet's recordings with known faults."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from argus_assets.cli.output import terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from argus_assets.simulate.fleet import Drive
    from argus_assets.simulate.releases import ReleaseFleet

STARTED_NS = 1_795_000_000 * 10**9


@click.command()
@click.option(
    "--out",
    default="fleet",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to.",
)
@click.option("--scenario", "scenarios", multiple=True, help="Scenario; may be repeated (default: all).")
@click.option("--release-change", help="A fleet over two releases, of which one changed something, instead.")
@click.option("--vehicles", default=20, show_default=True, type=click.IntRange(1), help="Of a --release-change.")
@click.option(
    "--seed", default=1, show_default=True, type=click.IntRange(0), help="The same seed gives the same fleet."
)
@click.option(
    "--seconds", default=60.0, show_default=True, type=click.FloatRange(50, 86_400), help="Length of each drive."
)
@click.option("--list", "only_list", is_flag=True, help="List the scenarios and release changes, and stop.")
def simulate(
    out: Path,
    scenarios: tuple[str, ...],
    release_change: str | None,
    vehicles: int,
    seed: int,
    seconds: float,
    only_list: bool,
) -> None:
    """Simulate one drive per scenario: recordings in OUT/<vehicle>/<batch>, ground truth in OUT/truth."""
    from rich.progress import Progress

    from argus_assets.errors import BadSetting
    from argus_assets.simulate.fleet import simulate_fleet
    from argus_assets.simulate.releases import RELEASE_CHANGES, simulate_release_change
    from argus_assets.simulate.scenarios import SCENARIOS

    console = terminal()
    if only_list:
        _list(console)
        return
    unknown = [s for s in scenarios if s not in SCENARIOS]
    if unknown:
        raise BadSetting(f"Unknown scenario: {', '.join(unknown)}.", help="`argus simulate --list` shows them.")
    if release_change is not None and scenarios:
        raise BadSetting("Both --scenario and --release-change were given.", help="A release change has its own.")
    change = None if release_change is None else RELEASE_CHANGES.get(release_change)
    if release_change is not None and change is None:
        raise BadSetting(f"Unknown release change: {release_change}.", help="`argus simulate --list` shows them.")
    chosen = list(scenarios) or list(SCENARIOS)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("Simulating", total=2 * vehicles if change else len(chosen))

        def advance(_: "Drive") -> None:
            progress.advance(task)

        if change is None:
            drives = simulate_fleet(
                out, seed=seed, scenarios=chosen, started_ns=STARTED_NS, seconds=seconds, on_drive=advance
            )
            told = _drives_table(drives)
        else:
            fleet = simulate_release_change(
                out, change, seed=seed, vehicles=vehicles, started_ns=STARTED_NS, seconds=seconds, on_drive=advance
            )
            drives = fleet.drives
            told = _releases_table(fleet)
    console.print(told)
    console.print(
        f"In {out}. Drop one with: argus drop {drives[0].folder} --vehicle … --vin … --release …", markup=False
    )


def _list(console: "Console") -> None:
    from rich.text import Text

    from argus_assets.simulate.releases import RELEASE_CHANGES
    from argus_assets.simulate.scenarios import SCENARIOS

    def entry(name: str, told: str, description: str) -> None:
        console.print(Text.assemble((name, "bold"), f"  {told}\n    ", (description, "dim")), soft_wrap=True)

    for s in SCENARIOS.values():
        entry(s.name, f"{s.root_cause or 'no fault'}: {', '.join(s.codes) or 'no codes'}", s.description)
    console.print(
        "\nRelease changes (--release-change), with the share of drives that have the fault:\n", soft_wrap=True
    )
    for c in RELEASE_CHANGES.values():
        shares = ", ".join(f"{release} {share:.0%}" for release, share in c.shares)
        entry(c.name, f"{c.scenario}: {shares}", c.description)


def _drives_table(drives: "list[Drive]") -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("vehicle/batch", "scenario, planted cause", "vin", "release", "frames"):
        table.add_column(column, overflow="fold", justify="right" if column == "frames" else "left")
    for d in drives:
        damage = f" ({d.damage.replace('_', ' ')})" if d.damage else ""
        planted = Text.assemble(f"{d.scenario}\n", (f"{d.root_cause or 'no fault'}{damage}", "dim"))
        table.add_row(f"{d.vehicle_id}/{d.batch_id}", planted, d.vin, d.release, f"{d.frames:,}")
    return table


def _releases_table(fleet: "ReleaseFleet") -> "Table":
    from rich.table import Table

    title = f"{fleet.change.scenario}: {fleet.change.description}"
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False, header_style="bold")
    for column in ("release", "drives", "hours", "with the fault", "per hour"):
        table.add_column(column, justify="left" if column == "release" else "right")
    for truth in fleet.truth:
        rate = f"{truth.faulty_drives_per_hour:.1f}"
        table.add_row(truth.release, str(truth.drives), f"{truth.hours:.2f}", str(truth.drives_with_fault), rate)
    return table
