"""`argus replay`: what a change would do to batches, before they are processed again."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from argus_assets.cli.context import Context, connected
from argus_assets.cli.options import home_option, json_option
from argus_assets.cli.output import counted, print_json, progress, table, terminal

if TYPE_CHECKING:
    from argus_assets.faults.config import FaultConfig
    from argus_assets.lake.store import Lake
    from argus_assets.maintenance.replays import BatchOutcome, Difference
    from argus_assets.recordings.registry import Decoders
    from argus_assets.resources.diagnosis import DiagnosisResource

EXIT_DIFFERENT: Final = 1
MAX_SHOWN: Final = 15

_KINDS: Final = {
    "code_new": "new code",
    "code_gone": "code gone",
    "code_changed": "code changed",
    "cause": "different cause",
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
    "--golden", is_flag=True, help="All batches of the golden set, compared with the outcome they were pinned with."
)
@click.option(
    "--decoders", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Instead of ARGUS_DECODERS."
)
@click.option(
    "--faults",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Instead of ARGUS_FAULTS: rules, DBC, signals.",
)
@click.option("--model", help="Instead of ARGUS_LLM_MODEL; `none` for rules only.")
@click.option("--check", is_flag=True, help=f"Exit with {EXIT_DIFFERENT} if anything came out differently.")
@json_option
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
    """Process BATCHES again with the code and settings of this command, and show what comes out differently.

    Nothing is kept: no table, event, alert or memory. Recordings are parsed again; a language model is called again, and
    its tokens count against the daily budget. If the differences are wanted, `argus rerun --stale` applies them to all
    batches.
    """
    from argus_assets.assets.replay import replay as replay_one
    from argus_assets.errors import ArgusError, BadSetting
    from argus_assets.maintenance.replays import differences

    if golden == bool(batches):
        raise BadSetting("Give either batches or --golden.", help="`argus status` lists the batches.")
    with connected(home) as context:
        wanted = _pinned(context.lake) if golden else _named(context, batches)
        formats, config, diagnostician = _active(context, decoders=decoders, faults=faults, model=model)
        found: dict[str, list[Difference]] = {}
        failed: dict[str, str] = {}
        tokens = 0
        with progress("Replaying", len(wanted)) as advance:
            for partition, (digest, before) in wanted.items():
                try:
                    after = replay_one(
                        partition,
                        digest,
                        bucket=context.bucket,
                        lake=context.lake,
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
        print_json({"differences": rows, "failed": failed, "tokens": tokens})
    else:
        show(found, failed, tokens)
    if failed or (check and any(found.values())):
        sys.exit(EXIT_DIFFERENT)


def _pinned(lake: "Lake") -> "dict[str, tuple[str, BatchOutcome]]":
    from argus_assets.assets.replay import pins
    from argus_assets.errors import BadSetting

    found = {pin.partition: (pin.digest, pin.outcome) for pin in pins(lake)}
    if not found:
        raise BadSetting("The golden set is empty.", help="Add batches to it with `argus golden pin BATCH`.")
    return found


def _named(context: Context, names: Iterable[str]) -> "dict[str, tuple[str, BatchOutcome]]":
    from argus_assets.assets.replay import recorded_outcome
    from argus_assets.errors import BadSetting
    from argus_assets.event_log.queries import latest_digest
    from argus_assets.pipeline import BATCH_REPORT

    found: dict[str, tuple[str, BatchOutcome]] = {}
    for partition in map(context.partition_of, names):
        digest = latest_digest(context.instance, BATCH_REPORT.name, partition)
        if digest is None:
            raise BadSetting(
                f"{partition} is not completely processed: there is nothing to compare a replay with.",
                help="See `argus status`.",
            )
        found[partition] = (digest, recorded_outcome(context.lake, partition))
    return found


def _active(
    context: Context, *, decoders: Path | None, faults: Path | None, model: str | None
) -> "tuple[Decoders, FaultConfig, DiagnosisResource]":
    """Return what the settings name, or what was given instead."""
    from argus_assets.faults.plugins.packages import load_faults
    from argus_assets.recordings.plugins.loading import load_decoders
    from argus_assets.resources.diagnosis import DiagnosisResource

    settings = context.settings
    if model is not None:
        llm = settings.llm.model_copy(update={"model": None if model == "none" else model})
        settings = settings.model_copy(update={"llm": llm})
    diagnostician = DiagnosisResource.of(settings, database_url=context.database_url, secrets=settings.secrets())
    return load_decoders(decoders or settings.decoders), load_faults(faults or settings.faults), diagnostician


def show(found: "Mapping[str, list[Difference]]", failed: Mapping[str, str], tokens: int) -> None:
    """Print the differences of each batch, and how many batches share them."""
    from argus_assets.maintenance.replays import summed

    console = terminal()
    changed = {key: of_one for key, of_one in found.items() if of_one}
    spent = f" {counted(tokens, 'token')} used." if tokens else ""
    console.print(f"{counted(len(found), 'batch')} replayed, {len(changed):,} came out differently.{spent}")
    if changed:
        made = table("batch", "what", "which", "before", "after")
        for key, of_one in changed.items():
            for number, d in enumerate(of_one[:MAX_SHOWN]):
                made.add_row(key if number == 0 else "", _KINDS[d.kind], d.name, d.before, d.after)
            if len(of_one) > MAX_SHOWN:
                made.add_row("", f"and {len(of_one) - MAX_SHOWN} more", "", "", "")
        console.print(made)
        if len(changed) > 1:
            console.print()
            console.print("Batches with the same difference:")
            for kind, name, count in summed(changed.values())[:MAX_SHOWN]:
                console.print(f"  {count:>5}  {_KINDS[kind]} {name}")
    for key, why in failed.items():
        console.print(f"{key} could not be replayed: ", style="red", end="")
        console.print(why)
