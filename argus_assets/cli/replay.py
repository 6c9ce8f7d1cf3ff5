"""`argus replay`: what a change would do to batches, before they are processed again."""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from argus_assets.cli.output import terminal
from argus_assets.cli.progress import progress
from argus_assets.cli.status import home_option, partition_of

if TYPE_CHECKING:
    import dagster as dg

    from argus_assets.faults.config import FaultConfig
    from argus_assets.lake.store import Lake
    from argus_assets.maintenance.replays import Difference, Outcome
    from argus_assets.recordings.registry import Decoders
    from argus_assets.resources.diagnosis import DiagnosisResource
    from argus_assets.settings import Settings

DIFFERENT = 1
SHOWN = 15

_KINDS = {
    "code_new": "new code",
    "code_gone": "code gone",
    "code_changed": "code changed",
    "cause": "other cause",
    "cause_order": "order of causes",
    "confidence": "confidence",
    "severity": "severity",
    "drivable": "drivable",
    "mode": "mode",
    "frames": "frames",
    "frames_lost": "frames lost",
    "recordings_failed": "unreadable recordings",
}


@click.command()
@click.argument("batches", nargs=-1)
@click.option(
    "--golden", is_flag=True, help="All batches of the golden set, held against the outcome they were pinned with."
)
@click.option(
    "--decoders", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Instead of ARGUS_DECODERS."
)
@click.option(
    "--faults",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Instead of ARGUS_FAULTS: rules, DBC, signals.",
)
@click.option("--model", help="Instead of ARGUS_LLM_MODEL; `none` for rules alone.")
@click.option("--check", is_flag=True, help=f"End with {DIFFERENT} when anything came out differently.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@home_option
def replay(
    batches: tuple[str, ...],
    golden: bool,
    decoders: Path | None,
    faults: Path | None,
    model: str | None,
    check: bool,
    as_json: bool,
    home: Path | None,
) -> None:
    """Process BATCHES once more with the code and settings of this command, and show what comes out differently.

    Nothing is kept: no table, no event, no alert, no memory. Recordings are parsed anew; a language model is asked anew
    and its tokens count against the day's budget. When the differences are wanted, `argus rerun --stale` brings them
    to all batches.
    """
    from argus_assets.assets.replay import replay as replay_one
    from argus_assets.errors import ArgusError, BadSetting
    from argus_assets.lake.store import Lake
    from argus_assets.maintenance.replays import differences
    from argus_assets.runtime.connection import connect, settings_for

    if golden == bool(batches):
        raise BadSetting("Nothing says which batches, or too much does.", help="Name batches, or give --golden.")
    settings = settings_for(home, os.environ)
    lake = Lake.from_url(settings.lake_url)
    with connect(home) as (instance, bucket):
        wanted = _pinned(lake) if golden else _named(instance, lake, batches)
        formats, config, diagnostician = _in_force(settings, decoders=decoders, faults=faults, model=model)
        found: dict[str, list[Difference]] = {}
        failed: dict[str, str] = {}
        tokens = 0
        with progress("Replaying", len(wanted)) as advance:
            for partition, (digest, before) in wanted.items():
                try:
                    after = replay_one(
                        partition,
                        digest,
                        bucket=bucket,
                        lake=lake,
                        decoders=formats,
                        faults=config,
                        diagnostician=diagnostician,
                    )
                except ArgusError as error:
                    failed[partition] = str(error)
                else:
                    tokens += after.tokens
                    found[partition] = differences(before, after)
                advance(1)
    if as_json:
        rows = {key: [asdict(d) for d in of_one] for key, of_one in found.items()}
        click.echo(json.dumps({"differences": rows, "failed": failed, "tokens": tokens}, indent=2))
    else:
        _show(found, failed, tokens)
    if failed or (check and any(found.values())):
        sys.exit(DIFFERENT)


def _pinned(lake: "Lake") -> "dict[str, tuple[str, Outcome]]":
    from argus_assets.assets.replay import pins
    from argus_assets.errors import BadSetting

    found = {pin.partition: (pin.digest, pin.outcome) for pin in pins(lake)}
    if not found:
        raise BadSetting("The golden set is empty.", help="Put batches into it: `argus golden pin BATCH`.")
    return found


def _named(instance: "dg.DagsterInstance", lake: "Lake", names: Iterable[str]) -> "dict[str, tuple[str, Outcome]]":
    from argus_assets.assets.batch import latest_digest
    from argus_assets.assets.replay import recorded_outcome
    from argus_assets.errors import BadSetting

    found: dict[str, tuple[str, Outcome]] = {}
    for partition in (partition_of(instance, name) for name in names):
        digest = latest_digest(instance, "batch_report", partition)
        if digest is None:
            raise BadSetting(
                f"{partition} was not processed to its end: there is nothing to hold a replay against.",
                help="See `argus status`.",
            )
        found[partition] = (digest, recorded_outcome(lake, partition))
    return found


def _in_force(
    settings: "Settings", *, decoders: Path | None, faults: Path | None, model: str | None
) -> "tuple[Decoders, FaultConfig, DiagnosisResource]":
    """What the settings say, or what was given instead."""
    from argus_assets.faults.plugins.packages import load_faults
    from argus_assets.recordings.plugins.loading import load_decoders
    from argus_assets.resources.diagnosis import DiagnosisResource

    if model is not None:
        llm = settings.llm.model_copy(update={"model": None if model == "none" else model})
        settings = settings.model_copy(update={"llm": llm})
    # The database's URL is that of the embedded server too.
    diagnostician = DiagnosisResource.of(
        settings, database_url=os.environ["ARGUS_DATABASE_URL"], secrets=settings.secrets()
    )
    return load_decoders(decoders or settings.decoders), load_faults(faults or settings.faults), diagnostician


def _show(found: "Mapping[str, list[Difference]]", failed: Mapping[str, str], tokens: int) -> None:
    """The differences of each batch, and how many batches share them."""
    from rich.table import Table

    from argus_assets.maintenance.replays import summed

    console = terminal()
    changed = {key: of_one for key, of_one in found.items() if of_one}
    spent = f" {tokens:,} tokens were used." if tokens else ""
    console.print(f"{len(found):,} batches replayed, {len(changed):,} came out differently.{spent}")
    if changed:
        table = Table("Batch", "What", "Which", "Before", "After", box=None, padding=(0, 2, 0, 0))
        for key, of_one in changed.items():
            for number, d in enumerate(of_one[:SHOWN]):
                table.add_row(key if number == 0 else "", _KINDS[d.kind], d.name, d.before, d.after)
            if len(of_one) > SHOWN:
                table.add_row("", f"and {len(of_one) - SHOWN} more", "", "", "")
        console.print(table)
        if len(changed) > 1:
            console.print()
            console.print("In how many batches:")
            for kind, name, count in summed(changed.values())[:SHOWN]:
                console.print(f"  {count:>5}  {_KINDS[kind]} {name}")
    for key, why in failed.items():
        console.print(f"{key} could not be replayed: ", style="red", end="")
        console.print(why)
