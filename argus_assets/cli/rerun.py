"""`argus rerun`: process batches again, as far as they would not come out the same."""

import getpass
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from argus_assets.cli.context import connected
from argus_assets.cli.options import home_option
from argus_assets.cli.output import counted, echo, print_json, progress, table, terminal
from argus_assets.pipeline import ASSETS, STAGES

if TYPE_CHECKING:
    import dagster as dg

    from argus_assets.maintenance.staleness import MaterializationRecord, Recipe, StaleBatch
    from argus_assets.settings import Settings

MAX_REASONS: Final = 20


@click.command()
@click.argument("batches", nargs=-1)
@click.option("--vehicle", "vehicles", multiple=True, help="Batches of this vehicle; may be repeated.")
@click.option("--release", "releases", multiple=True, help="Batches recorded with this software release.")
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
@click.option("--stale", is_flag=True, help="Batches that would come out differently with what is active now.")
@click.option("--all", "everything", is_flag=True, help="All batches.")
@click.option(
    "--from-stage",
    type=click.Choice(STAGES),
    help="Make this asset again in any case; those after it are made again if their input has changed.",
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
    """Process BATCHES again, or those that meet all of the options.

    Of each batch only what is stale is made again: what is missing, what was made by other code or configuration, and
    what follows from it if that came out differently. Reruns are queued behind new drops, and start while Argus runs.
    `argus replay` shows beforehand what would change.
    """
    from argus_assets.errors import BadSetting
    from argus_assets.maintenance.reruns import new_request
    from argus_assets.maintenance.selection import Criteria, parse_code_version, select
    from argus_assets.partitions import BATCHES
    from argus_assets.sensors.rerun_requests import save_request

    filters = [*vehicles, *releases, first_day, last_day, *code_versions, failed, failed_at, stale, everything]
    if bool(batches) == any(filters):
        raise BadSetting(
            "No batches were selected." if not batches else "Give either batches or options that select them.",
            help="Name batches, or select them: --vehicle, --release, --from, --to, --failed, --stale, --all.",
        )
    with connected(home) as context:
        instance = context.instance
        order = instance.get_dynamic_partitions(BATCHES)
        criteria = Criteria(
            partitions=tuple(dict.fromkeys(map(context.partition_of, batches))),
            vehicles=vehicles,
            first_day=first_day.date() if first_day else None,
            last_day=last_day.date() if last_day else None,
            releases=releases,
            failed=failed,
            failed_at=failed_at,
            code_versions=tuple(map(parse_code_version, code_versions)),
            stale=stale,
        )
        selected = select(criteria, order=order, records=_Records(instance), recipes=_recipes(context.settings))
        chosen, why = selected.partitions, selected.stale
        todo = chosen if from_stage else [key for key in chosen if key in why]
        if as_json:
            print_json(_rows(chosen, why, from_stage))
        else:
            show(chosen, todo, why, from_stage)
        if dry_run or not todo:
            return
        if not (yes or as_json):
            click.confirm(f"Process {counted(len(todo), 'batch')} again?", abort=True)
        request = new_request(
            todo,
            order=order,
            by=getpass.getuser(),
            text=" ".join(_words(click.get_current_context())),
            from_stage=from_stage,
            now=datetime.now(UTC),
        )
        save_request(context.lake, request)
    echo(
        f"Requested as {request.id}; its runs have the tag argus/request={request.id}. See `argus status`.", err=as_json
    )


@dataclass(frozen=True, slots=True)
class _Records:
    """`maintenance.selection.BatchRecords` on Dagster's instance."""

    instance: "dg.DagsterInstance"

    def releases(self, partitions: Sequence[str]) -> Mapping[str, str]:
        from argus_assets.event_log.queries import last_drops

        return {key: drop.release for key, drop in last_drops(self.instance, partitions).items()}

    def failed_stages(self, partitions: Sequence[str]) -> Mapping[str, str | None]:
        from argus_assets.event_log.states import partition_states
        from argus_assets.pipeline import BatchState

        states = partition_states(self.instance, partitions)
        return {key: stage for key, (state, stage) in states.items() if state is BatchState.FAILED}

    def made(self, partitions: Sequence[str]) -> "Mapping[str, Mapping[str, MaterializationRecord]]":
        from argus_assets.event_log.queries import materialization_records

        what = f"Reading records of {counted(len(partitions), 'batch')}"
        with progress(what, len(partitions) * len(ASSETS)) as advance:
            return materialization_records(self.instance, partitions, assets=ASSETS, on_progress=advance)


def _recipes(settings: "Settings") -> dict[str, "Recipe"]:
    from argus_assets.assets.recipes import current_recipes
    from argus_assets.assets.specs import CODE_VERSIONS
    from argus_assets.faults.plugins.packages import load_faults
    from argus_assets.recordings.plugins.loading import load_decoders

    return current_recipes(
        CODE_VERSIONS,
        decoders=load_decoders(settings.decoders),
        faults=load_faults(settings.faults),
        model=settings.llm.model,
    )


def _words(context: click.Context) -> Iterable[str]:
    """Yield the words of the command as it was given, for the record."""
    for name, value in context.params.items():
        if value and name not in ("home", "yes", "as_json"):
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            yield shown if name == "batches" else f"{name}={shown}"


def _rows(
    chosen: Sequence[str], why: Mapping[str, "StaleBatch"], from_stage: str | None
) -> list[dict[str, str | None]]:
    return [
        {
            "partition": key,
            "from_stage": why[key].stage if key in why else from_stage,
            "why": why[key].why if key in why else "asked for" if from_stage else "up to date",
        }
        for key in chosen
    ]


def show(chosen: Sequence[str], todo: Sequence[str], why: Mapping[str, "StaleBatch"], from_stage: str | None) -> None:
    """Print what runs again, by reason, with an example of each."""
    console = terminal()
    current = len(chosen) - len(todo)
    console.print(f"{counted(len(chosen), 'batch')} selected, {current:,} up to date.")
    if not todo:
        return
    reasons = {key: (why[key].stage, why[key].why) if key in why else (from_stage or "", "requested") for key in todo}
    made = table("batches", "from", "why", "for example", right=["batches"])
    for (stage, text), count in Counter(reasons.values()).most_common(MAX_REASONS):
        example = next(key for key, reason in reasons.items() if reason == (stage, text))
        made.add_row(f"{count:,}", stage, text, example)
    console.print(made)
