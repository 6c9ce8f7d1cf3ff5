"""`argus rerun`: process batches again, as far as they would not come out the same."""

import getpass
import json
import os
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from argus_assets.cli.output import echo, terminal
from argus_assets.cli.progress import progress
from argus_assets.cli.status import home_option
from argus_assets.maintenance.staleness import STAGES

if TYPE_CHECKING:
    import dagster as dg

    from argus_assets.maintenance.staleness import MadeAs, Recipe, StaleBatch
    from argus_assets.settings import Settings

SHOWN = 20


@click.command()
@click.argument("batches", nargs=-1)
@click.option("--vehicle", "vehicles", multiple=True, help="Batches of this vehicle; may be repeated.")
@click.option("--release", "releases", multiple=True, help="Batches that were recorded with this software release.")
@click.option("--from", "first_day", type=click.DateTime(["%Y-%m-%d"]), help="Recorded on this day (UTC) or later.")
@click.option("--to", "last_day", type=click.DateTime(["%Y-%m-%d"]), help="Recorded on this day (UTC) or earlier.")
@click.option(
    "--code-version",
    "code_versions",
    multiple=True,
    metavar="ASSET=VERSION",
    help="Batches whose ASSET was made by this version of its code.",
)
@click.option("--failed", is_flag=True, help="Batches that failed.")
@click.option("--failed-at", "failed_at", type=click.Choice(STAGES), multiple=True, help="Batches that failed there.")
@click.option("--stale", is_flag=True, help="Batches that would not come out the same with what is in force now.")
@click.option("--all", "everything", is_flag=True, help="All batches.")
@click.option(
    "--from-stage",
    type=click.Choice(STAGES),
    help="Make this asset again in any case. What follows is made again when its input has changed.",
)
@click.option("--dry-run", is_flag=True, help="Show what would run again, and why; start nothing.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; don't ask.")
@home_option
def rerun(
    batches: tuple[str, ...],
    vehicles: tuple[str, ...],
    releases: tuple[str, ...],
    first_day: datetime | None,
    last_day: datetime | None,
    code_versions: tuple[str, ...],
    failed: bool,
    failed_at: tuple[str, ...],
    stale: bool,
    everything: bool,
    from_stage: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    home: Path | None,
) -> None:
    """Process BATCHES again, or those that all of the options select.

    Of each batch only what is stale is made: what is missing, what was made by other code or configuration, and what
    follows from it when it came out differently. Runs come after new drops in the queue; the platform starts them when
    it runs. `argus replay` shows beforehand what would change.
    """
    from argus_assets.errors import BadSetting
    from argus_assets.lake.store import Lake
    from argus_assets.maintenance.reruns import new_request
    from argus_assets.partitions import BATCHES
    from argus_assets.runtime.connection import connect, settings_for
    from argus_assets.sensors.rerun_requests import save_request

    filters = [*vehicles, *releases, first_day, last_day, *code_versions, failed, failed_at, stale, everything]
    if bool(batches) == any(filters):
        raise BadSetting(
            "Nothing says which batches." if not batches else "Batches are named, and selected by options too.",
            help="Name batches, or select them: --vehicle, --release, --from, --to, --failed, --stale, --all.",
        )
    settings = settings_for(home, os.environ)
    with connect(home) as (instance, _):
        order = instance.get_dynamic_partitions(BATCHES)
        if batches:
            chosen = _named(instance, batches)
        else:
            chosen = _by_key(
                order, vehicles, first_day.date() if first_day else None, last_day.date() if last_day else None
            )
            chosen = _by_release(instance, chosen, releases) if releases else chosen
        if failed or failed_at:
            chosen = _by_failure(instance, chosen, failed_at)
        recipes = _recipes(settings)
        made = _made(instance, chosen)
        for wanted in code_versions:
            asset, _, version = wanted.partition("=")
            if asset not in STAGES or not version:
                raise BadSetting(
                    f"--code-version {wanted!r} cannot be used.",
                    help=f"ASSET=VERSION; ASSET is one of {', '.join(STAGES)}.",
                )
            chosen = [k for k in chosen if asset in made.get(k, {}) and made[k][asset].recipe.get("code") == version]
        why = {key: found for key in chosen if (found := _first_stale(key, made.get(key, {}), recipes)) is not None}
        if stale:
            chosen = [key for key in chosen if key in why]
        todo = chosen if from_stage else [key for key in chosen if key in why]
        if as_json:
            click.echo(_as_json(chosen, why, from_stage))
        else:
            _show(chosen, todo, why, from_stage)
        if dry_run or not todo:
            return
        if not (yes or as_json):
            click.confirm(f"Process {len(todo):,} batches again?", abort=True)
        request = new_request(
            todo,
            order=order,
            by=getpass.getuser(),
            text=" ".join(_words(click.get_current_context())),
            from_stage=from_stage,
            now=datetime.now(UTC),
        )
        save_request(Lake.from_url(settings.lake_url), request)
    echo(f"Asked for as {request.id}; runs carry the tag argus/request={request.id}. See `argus status`.", err=as_json)


def _words(context: click.Context) -> Iterable[str]:
    """The command as it was given, for the record."""
    for name, value in context.params.items():
        if value and name not in ("home", "yes", "as_json"):
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            yield shown if name == "batches" else f"{name}={shown}"


def _named(instance: "dg.DagsterInstance", names: Iterable[str]) -> list[str]:
    from argus_assets.cli.status import partition_of

    return list(dict.fromkeys(partition_of(instance, name) for name in names))


def _by_key(order: Iterable[str], vehicles: tuple[str, ...], first: date | None, last: date | None) -> list[str]:
    from argus_assets.drop.keys import parse_partition_key

    chosen: list[str] = []
    for key in order:
        ref = parse_partition_key(key)
        if (
            ref is not None
            and (not vehicles or ref.vehicle_id in vehicles)
            and (first is None or ref.recorded_on >= first)
            and (last is None or ref.recorded_on <= last)
        ):
            chosen.append(key)
    return chosen


def _by_release(instance: "dg.DagsterInstance", keys: list[str], releases: tuple[str, ...]) -> list[str]:
    from argus_assets.assets.provenance import latest_metadata

    found = latest_metadata(instance, "vehicle_drop", keys, "release")
    return [key for key in keys if found.get(key) in releases]


def _by_failure(instance: "dg.DagsterInstance", keys: list[str], stages: tuple[str, ...]) -> list[str]:
    from argus_assets.status import BatchState, partition_states

    states = partition_states(instance, keys)
    return [key for key in keys if states[key][0] is BatchState.FAILED and (not stages or states[key][1] in stages)]


def _recipes(settings: "Settings") -> dict[str, "Recipe"]:
    from argus_assets.assets.batch import CODE_VERSIONS
    from argus_assets.assets.provenance import recipes_in_force
    from argus_assets.faults.plugins.packages import load_faults
    from argus_assets.recordings.plugins.loading import load_decoders

    return recipes_in_force(
        CODE_VERSIONS,
        decoders=load_decoders(settings.decoders),
        faults=load_faults(settings.faults),
        model=settings.llm.model,
    )


def _made(instance: "dg.DagsterInstance", keys: list[str]) -> dict[str, dict[str, "MadeAs"]]:
    from argus_assets.assets.provenance import made_as

    assets = ("vehicle_drop", *STAGES)
    with progress(f"Looking at {len(keys):,} batches", len(keys) * len(assets)) as advance:
        return made_as(instance, keys, assets=assets, on_progress=advance)


def _first_stale(key: str, made: dict[str, "MadeAs"], recipes: dict[str, "Recipe"]) -> "StaleBatch | None":
    from argus_assets.maintenance.staleness import first_stale

    if "vehicle_drop" not in made:
        return None
    drop = made["vehicle_drop"]
    return first_stale(key, made, stages=STAGES, digest=drop.digest, recipes=recipes, input_version=drop.data_version)


def _as_json(chosen: list[str], why: dict[str, "StaleBatch"], from_stage: str | None) -> str:
    rows = [
        {
            "partition": key,
            "from_stage": why[key].stage if key in why else from_stage,
            "why": why[key].why if key in why else "asked for" if from_stage else "up to date",
        }
        for key in chosen
    ]
    return json.dumps(rows, indent=2)


def _show(chosen: list[str], todo: list[str], why: dict[str, "StaleBatch"], from_stage: str | None) -> None:
    """What runs again, by reason, with the first few batches of each."""
    from rich.table import Table

    console = terminal()
    current = len(chosen) - len(todo)
    console.print(f"{len(chosen):,} batches selected, {current:,} of them up to date.")
    if not todo:
        return
    reasons = {key: (why[key].stage, why[key].why) if key in why else (from_stage or "", "asked for") for key in todo}
    table = Table("Batches", "From", "Why", "Such as")
    for (stage, text), count in Counter(reasons.values()).most_common(SHOWN):
        example = next(key for key, reason in reasons.items() if reason == (stage, text))
        table.add_row(f"{count:,}", stage, text, example)
    console.print(table)
