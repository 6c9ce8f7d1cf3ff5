"""`argus simulate`: write the recordings of a fleet with known faults."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from argus_assets.cli.output import table, terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from argus_assets.simulate.fleet import Drive
    from argus_assets.simulate.releases import ReleaseFleet

STARTED_NS: Final = 1_795_000_000 * 10**9


@click.command()
@click.option(
    "--out",
    default="fleet",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to.",
)
@click.option("--scenario", "scenarios", multiple=True, help="Scenario; may be repeated (default: all).")
@click.option("--release-change", help="Simulate a fleet over two releases instead, one of which changed something.")
@click.option(
    "--vehicles", default=20, show_default=True, type=click.IntRange(1), help="Vehicles of a --release-change."
)
@click.option(
    "--seed", default=1, show_default=True, type=click.IntRange(0), help="Seed; the same one gives the same fleet."
)
@click.option(
    "--seconds", default=60.0, show_default=True, type=click.FloatRange(50, 86_400), help="Length of each drive."
)
@click.option("--list", "only_list", is_flag=True, help="List the scenarios and release changes, and exit.")
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
        raise BadSetting(
            "Both --scenario and --release-change were given.", help="A release change has its own scenarios."
        )
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
            made = _drives_table(drives)
        else:
            fleet = simulate_release_change(
                out, change, seed=seed, vehicles=vehicles, started_ns=STARTED_NS, seconds=seconds, on_drive=advance
            )
            drives = fleet.drives
            made = _releases_table(fleet)
    console.print(made)
    console.print(
        f"In {out}. Drop one with: argus drop {drives[0].folder} --vehicle … --vin … --release …", markup=False
    )


def _list(console: "Console") -> None:
    from rich.text import Text

    from argus_assets.simulate.releases import RELEASE_CHANGES
    from argus_assets.simulate.scenarios import SCENARIOS

    def entry(name: str, summary: str, description: str) -> None:
        console.print(Text.assemble((name, "bold"), f"  {summary}\n    ", (description, "dim")), soft_wrap=True)

    for s in SCENARIOS.values():
        entry(s.name, f"{s.root_cause or 'no fault'}: {', '.join(s.codes) or 'no codes'}", s.description)
    console.print(
        "\nRelease changes (--release-change), with the share of drives that have the fault:\n", soft_wrap=True
    )
    for c in RELEASE_CHANGES.values():
        shares = ", ".join(f"{release} {share:.0%}" for release, share in c.shares)
        entry(c.name, f"{c.scenario}: {shares}", c.description)


def _drives_table(drives: "list[Drive]") -> "Table":
    from rich.text import Text

    made = table("vehicle/batch", "scenario, planted cause", "vin", "release", "frames", right=["frames"])
    for d in drives:
        damage = f" ({d.damage.replace('_', ' ')})" if d.damage else ""
        planted = Text.assemble(f"{d.scenario}\n", (f"{d.root_cause or 'no fault'}{damage}", "dim"))
        made.add_row(f"{d.vehicle_id}/{d.batch_id}", planted, d.vin, d.release, f"{d.frames:,}")
    return made


def _releases_table(fleet: "ReleaseFleet") -> "Table":
    numbers = ("drives", "hours", "with the fault", "per hour")
    title = f"{fleet.change.scenario}: {fleet.change.description}"
    made = table("release", *numbers, right=numbers, title=title)
    for truth in fleet.truth:
        rate = f"{truth.faulty_drives_per_hour:.1f}"
        made.add_row(truth.release, str(truth.drives), f"{truth.hours:.2f}", str(truth.drives_with_fault), rate)
    return made
