"""`argus simulate`: write a fleet's recordings with known faults."""

from pathlib import Path

import click


@click.command()
@click.option(
    "--out",
    default="fleet",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to.",
)
@click.option("--scenario", "scenarios", multiple=True, help="Scenario; may be repeated (default: all).")
@click.option(
    "--seed", default=1, show_default=True, type=click.IntRange(0), help="The same seed gives the same fleet."
)
@click.option(
    "--seconds", default=60.0, show_default=True, type=click.FloatRange(25, 86_400), help="Length of each drive."
)
@click.option("--list", "only_list", is_flag=True, help="List the scenarios and stop.")
def simulate(out: Path, scenarios: tuple[str, ...], seed: int, seconds: float, only_list: bool) -> None:
    """Simulate one drive per scenario: recordings in OUT/<vehicle>/<batch>, ground truth in OUT/truth."""
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from argus_assets.errors import BadSetting
    from argus_assets.simulate.fleet import simulate_fleet
    from argus_assets.simulate.scenarios import SCENARIOS

    console = Console(highlight=False)
    if only_list:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("scenario", "root cause", "codes", "what happens"):
            table.add_column(column, overflow="fold")
        for s in SCENARIOS.values():
            table.add_row(s.name, s.root_cause or "none", ", ".join(s.codes), s.description)
        console.print(table)
        return
    unknown = [s for s in scenarios if s not in SCENARIOS]
    if unknown:
        raise BadSetting(f"Unknown scenario: {', '.join(unknown)}.", help="`argus simulate --list` shows them.")
    chosen = list(scenarios) or list(SCENARIOS)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("Simulating", total=len(chosen))
        drives = simulate_fleet(
            out,
            seed=seed,
            scenarios=chosen,
            started_ns=1_795_000_000 * 10**9,
            seconds=seconds,
            on_drive=lambda _: progress.advance(task),
        )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("vehicle/batch", "vin", "release", "frames", "root cause"):
        table.add_column(column, overflow="fold", justify="right" if column == "frames" else "left")
    for d in drives:
        table.add_row(f"{d.vehicle_id}/{d.batch_id}", d.vin, d.release, f"{d.frames:,}", d.root_cause or "none")
    console.print(table)
    console.print(
        f"In {out}. Drop one with: argus drop {drives[0].folder} --vehicle … --vin … --release …", markup=False
    )
