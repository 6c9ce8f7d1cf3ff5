"""`argus case`: what people confirmed or corrected, the memory that diagnoses read."""

import json
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from argus_assets.cli import LazyGroup
from argus_assets.cli.output import echo, terminal
from argus_assets.cli.progress import progress
from argus_assets.cli.status import home_option, partition_of
from argus_assets.common.texts import rich_text
from argus_assets.errors import BadSetting

if TYPE_CHECKING:
    import dagster as dg

    from argus_assets.adapters.postgres.cases import PostgresCaseStore
    from argus_assets.diagnosis.case_files import BadRow
    from argus_assets.diagnosis.model import Diagnosis, Evidence
    from argus_assets.diagnosis.ports import Case, CaseQuery
    from argus_assets.diagnosis.retrieval import Found
    from argus_assets.lake.store import Lake

SHOWN_ROWS = 20
FILE = click.Path(path_type=Path, dir_okay=False)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(cls=LazyGroup, commands_at={"import": "argus_assets.cli.case_files:import_"})
def case() -> None:
    """Confirm diagnoses, and keep the cases that later ones are compared with.

    A case is a drive whose cause a person knows. An answer of a model alone never becomes one.
    """


@dataclass(frozen=True, slots=True)
class Site:
    """The running (or configured) platform, as far as cases are concerned."""

    instance: "dg.DagsterInstance"
    lake: "Lake"
    store: "PostgresCaseStore"

    def titles(self) -> dict[str, str]:
        """All known causes: those of the knowledge base, and those of cases."""
        from argus_assets.diagnosis.knowledge import load_knowledge

        return {**self.store.causes(), **{cause.id: cause.title for cause in load_knowledge().causes}}


@contextmanager
def opened(home: Path | None) -> Generator[Site]:
    """Connect to instance, lake and cases."""
    from argus_assets.adapters.embeddings import embedder_of
    from argus_assets.adapters.postgres.cases import PostgresCaseStore
    from argus_assets.adapters.postgres.database import Database
    from argus_assets.lake.store import Lake
    from argus_assets.runtime.connection import connect, settings_for

    settings = settings_for(home, os.environ)
    with connect(home) as (instance, _):
        database = Database(os.environ["ARGUS_DATABASE_URL"])  # that of the embedded server too
        yield Site(instance, Lake.from_url(settings.lake_url), PostgresCaseStore(database, embedder_of(settings)))


@case.command()
@click.argument("batch")
@click.option(
    "--cause", help="What it really was: an identifier of the knowledge base (default: the diagnosis was right)."
)
@click.option("--new-cause", is_flag=True, help="Take a --cause that nobody has named before; wants --title.")
@click.option("--title", help="A new cause in plain words.")
@click.option("--fix", help="What helped, at most 200 characters.")
@click.option("--note", help="Anything else, at most 200 characters.")
@click.option("--by", help="Who says so.")
@home_option
def confirm(
    batch: str,
    cause: str | None,
    new_cause: bool,
    title: str | None,
    fix: str | None,
    note: str | None,
    by: str | None,
    home: Path | None,
) -> None:
    """Say that the diagnosis of BATCH was right, or with --cause what it should have been.

    BATCH is a partition key, VEHICLE/BATCH, or a batch id that only one vehicle has. Confirming it again replaces what
    was said before. Texts are stripped of VINs, positions and mail addresses.
    """
    from argus_assets.diagnosis.retrieval import case_of

    with opened(home) as site:
        partition = partition_of(site.instance, batch)
        evidence, diagnosis = _diagnosed(site.lake, partition)
        if not evidence.items:
            raise BadSetting(
                f"Batch {partition} has no fault codes: a case would never be found.",
                help="Confirm batches whose diagnosis names a code.",
            )
        chosen, told = _cause(site, diagnosis, cause, title, new_cause=new_cause)
        made = case_of(
            evidence,
            diagnosis,
            partition=partition,
            recorded_at=_recorded_at(site, partition),
            cause=chosen,
            title=told,
            confirmed_at=datetime.now(UTC).replace(microsecond=0),
            confirmed_by=by,
            fix=fix,
            note=note,
        )
        before = site.store.get(made.id)
        site.store.add([made])
        total = sum(site.store.counts().values())
    if made.predicted_cause == made.cause:
        said = f"as diagnosed ({made.predicted_mode}, {made.predicted_confidence:.0%} sure)"
    elif made.predicted_cause is None:
        said = "where the diagnosis named no cause"
    else:
        said = f"not {made.predicted_cause} as diagnosed ({made.predicted_mode}, {made.predicted_confidence:.0%} sure)"
    echo(f"{made.id}: {made.cause} ({made.title}), {said}.")
    if before is not None:
        echo(f"Replaces what was said on {before.confirmed_at:%Y-%m-%d}: {before.cause}.")
    codes = ", ".join(dict.fromkeys(c.code for c in made.codes))
    echo(f"Drives of platform {made.platform} with {codes} find it. Cases: {total:,}.")


@case.command()
@click.argument("file", type=FILE)
@home_option
def export(file: Path, home: Path | None) -> None:
    """Write all cases to FILE (.jsonl or .csv), which `argus case import` reads again."""
    from argus_assets.diagnosis.case_files import format_of, write_cases

    kind = format_of(file.name)
    if kind is None:
        raise BadSetting(f"{file} has an unknown ending.", help="Name it .jsonl (JSON lines) or .csv.")
    with opened(home) as site:
        cases = site.store.find()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(write_cases(cases, kind), encoding="utf-8", newline="")
    echo(f"{cases_told(len(cases))} in {file}")


@case.command()
@click.option("--platform", help="Only of this kind of vehicle.")
@click.option("--cause", help="Only of this cause.")
@click.option("--limit", default=SHOWN_ROWS, show_default=True, type=click.IntRange(1), help="How many at most.")
@json_option
@home_option
def ls(platform: str | None, cause: str | None, limit: int, as_json: bool, home: Path | None) -> None:
    """List cases, the last confirmed first."""
    with opened(home) as site:
        found = site.store.find(platform=platform, cause=cause, limit=limit)
        counts = site.store.counts()
    if as_json:
        click.echo(json.dumps([c.model_dump(mode="json") for c in found], indent=2))
        return
    if not found:
        wanted = " and ".join(f"{n} {v}" for n, v in (("platform", platform), ("cause", cause)) if v)
        echo(f"No case of {wanted}. {_counted(counts)}" if wanted else _counted(counts))
        return
    console = terminal()
    columns: Mapping[str, Callable[[Case], str]] = {
        "case": lambda c: c.id,
        "cause": lambda c: c.cause,
        "diagnosed as": _prediction,
        "platform": lambda c: c.platform,
        "release": lambda c: c.release,
        "confirmed": lambda c: f"{c.confirmed_at:%Y-%m-%d}",
        "codes": lambda c: _short_list([code.code for code in c.codes]),
    }
    console.print(_table(list(columns), [[told(c) for told in columns.values()] for c in found]))
    total = sum(counts.values())
    if len(found) < total and len(found) == limit:
        echo(f"{len(found)} of {total:,}; more with --limit.")


@case.command()
@click.argument("id")
@json_option
@home_option
def show(id: str, as_json: bool, home: Path | None) -> None:  # noqa: A002 - the argument's name
    """Show one case."""
    with opened(home) as site:
        found = site.store.get(id)
        if found is None:
            raise _no_case(site, id)
    if as_json:
        click.echo(json.dumps(found.model_dump(mode="json"), indent=2))
        return
    rows = {
        "cause": f"{found.cause} ({found.title})",
        "diagnosed as": "it was not" if found.predicted_cause is None else _prediction(found),
        "fix": found.fix or "-",
        "note": found.note or "-",
        "confirmed": f"{found.confirmed_at:%Y-%m-%d %H:%M} UTC"
        + (f" by {found.confirmed_by}" if found.confirmed_by else ""),
        "drive": f"{found.recorded_at:%Y-%m-%d %H:%M} UTC, platform {found.platform}, release {found.release}",
        "batch": found.partition or "not one of this platform's",
        "signature": found.signature or "not known",
    }
    echo(found.id, bold=True)
    for name, text in rows.items():
        echo(f"  {name:<13}{text}")
    for number, code in enumerate(found.codes):
        ecu = f" of {code.ecu}" if code.ecu else ""
        echo(f"  {'codes' if not number else '':<13}{code.code}{ecu}, {_times(code.occurrences)}")


@case.command()
@click.argument("id")
@home_option
def rm(id: str, home: Path | None) -> None:  # noqa: A002 - the argument's name
    """Remove one case. What diagnoses have made of it stays."""
    with opened(home) as site:
        found = site.store.get(id)
        if found is None or not site.store.remove(id):
            raise _no_case(site, id)
    echo(f"Removed {id} ({found.cause}). Diagnoses made from now on do not know it.")


@case.command()
@click.argument("batch")
@click.option("--limit", default=5, show_default=True, type=click.IntRange(1, 100), help="How many at most.")
@json_option
@home_option
def similar(batch: str, limit: int, as_json: bool, home: Path | None) -> None:
    """Show which cases a diagnosis of BATCH would be given now, and why.

    Similarity is the cosine of the codes' vectors, 0 to 1. Recency falls from 1 for a drive of today to 0.5 for an old
    one. Weight is their product: what cases are ranked and counted by.
    """
    from argus_assets.diagnosis.retrieval import case_query, causes_of

    with opened(home) as site:
        partition = partition_of(site.instance, batch)
        evidence, _ = _diagnosed(site.lake, partition)
        query = case_query(evidence, datetime.now(UTC), partition)
        found = site.store.search(query, limit=limit)
        counts = site.store.counts()
    votes = causes_of(found.cases)
    if as_json:
        document = {
            "batch": partition,
            "releases_compared": found.scope,
            "compared_by": found.compared_by,
            "cases": [c.model_dump(mode="json") for c in found.cases],
            "votes": dict(votes),
        }
        click.echo(json.dumps(document, indent=2))
        return
    _print_similar(partition, query, found, votes, counts, limit)


@case.command()
@home_option
def reindex(home: Path | None) -> None:
    """Make the vectors of all cases anew: after a change of ARGUS_EMBEDDING_MODEL, or of many cases."""
    with opened(home) as site, progress("cases", sum(site.store.counts().values())) as advance:
        made = site.store.reindex(on_written=advance)
        method = site.store.method
    by = "code counts" if method == "codes" else f"the embedding model {method}"
    echo(f"Vectors of {cases_told(made)} made by {by}.")


# ---------------------------------------------------------------------------------------------- inside


def _diagnosed(lake: "Lake", partition: str) -> "tuple[Evidence, Diagnosis]":
    from pydantic import ValidationError

    from argus_assets.diagnosis.model import Diagnosis, Evidence

    folder = f"batches/{partition}"
    if not lake.exists(f"{folder}/diagnosis.json"):
        raise BadSetting(
            f"Batch {partition} has no diagnosis yet.", help=f"See where it is with `argus status {partition}`."
        )
    try:
        return (
            Evidence.model_validate_json(lake.read_bytes(f"{folder}/evidence.json")),
            Diagnosis.model_validate_json(lake.read_bytes(f"{folder}/diagnosis.json")),
        )
    except ValidationError as error:
        raise BadSetting(
            f"The diagnosis of batch {partition} is of another version of Argus.",
            help="Materialise its asset `diagnosis` again, in the Dagster UI.",
        ) from error


def _recorded_at(site: Site, partition: str) -> datetime:
    from argus_assets.assets.batch import latest_digest, manifest_path
    from argus_assets.drop.keys import parse_partition_key
    from argus_assets.drop.manifest import parse_manifest

    digest, ref = latest_digest(site.instance, "vehicle_drop", partition), parse_partition_key(partition)
    if digest is None or ref is None:
        raise BadSetting(
            f"Batch {partition} has no manifest that Dagster knows.", help="Drop it with its manifest (docs/drop.md)."
        )
    raw = site.lake.read_bytes(manifest_path(partition, digest))
    return parse_manifest(raw, vehicle_id=ref.vehicle_id, batch_id=ref.batch_id).recorded_from


def _cause(
    site: Site, diagnosis: "Diagnosis", cause: str | None, title: str | None, *, new_cause: bool
) -> tuple[str, str]:
    """Identifier and title of the cause that a person names."""
    from argus_assets.diagnosis.case_files import CAUSE, near_misses
    from argus_assets.diagnosis.vocabulary import UNEXPLAINED

    if cause is None:
        first = diagnosis.root_causes[0] if diagnosis.root_causes else None
        if first is None or first.cause.startswith(UNEXPLAINED):
            what = "names no cause" if first is None else f"knows no cause of {first.cause.removeprefix(UNEXPLAINED)}"
            raise BadSetting(
                f"The diagnosis {what}: there is nothing to confirm.", help="Say what it was with --cause."
            )
        return first.cause, first.title
    titles = site.titles()
    if cause in titles:
        return cause, title or titles[cause]
    if CAUSE.fullmatch(cause) is None:
        raise BadSetting(
            f"{cause!r} is no identifier of a cause: expected lower-case letters, digits and underscores, a letter first.",
            help="Such as loose_ground_strap.",
        )
    if not new_cause or not title:
        near = near_misses(cause, titles)
        meant = f"Did you mean {' or '.join(near)}? " if near else ""
        raise BadSetting(
            f"No cause is known as {cause!r}.",
            help=f"{meant}For a cause that nobody has named before, add --new-cause --title 'in plain words'.",
        )
    return cause, title


def _print_similar(
    partition: str,
    query: "CaseQuery",
    found: "Found",
    votes: Sequence[tuple[str, float]],
    counts: Mapping[str, int],
    limit: int,
) -> None:

    codes = _short_list([c.code for c in query.codes], 10) or "no codes"
    echo(f"{partition}: platform {query.platform}, release {query.release}, {codes}")
    if not found.cases:
        if not query.codes:
            echo("A drive without codes is like no case.")
        else:
            echo(f"No case of platform {query.platform} shares a code with it. {_counted(counts)}")
        return
    rows = [
        [
            c.id,
            c.cause,
            f"{c.similarity:.2f}",
            f"{c.weight / c.similarity:.2f}" if c.similarity else "-",
            f"{c.weight:.2f}",
            _short_list(c.shared_codes) or "-",
            c.release,
            f"{c.confirmed_on}",
            c.fix or "-",
        ]
        for c in found.cases
    ]
    columns = ["case", "cause", "similarity", "recency", "weight", "shared codes", "release", "confirmed", "fix"]
    terminal().print(_table(columns, rows, right=("similarity", "recency", "weight")))
    echo("Votes: " + ", ".join(f"{cause} {share:.0%}" for cause, share in votes))
    by = "code counts" if found.compared_by == "codes" else f"the embedding model {found.compared_by}"
    if found.scope == "near releases":
        where = f"release {query.release} and up to three before and after it"
    else:
        where = f"all releases, as fewer than {limit} near {query.release} are similar enough"
    echo(f"Compared by {by}, with cases of {where}.")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> object:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in right else "left")
    for row in rows:
        table.add_row(*map(rich_text, row))
    return table


def _prediction(case: "Case") -> str:
    if case.predicted_cause is None:
        return "-"
    sure = "" if case.predicted_confidence is None else f", {case.predicted_confidence:.0%}"
    return f"the same{sure}" if case.predicted_cause == case.cause else f"{case.predicted_cause}{sure}"


def _no_case(site: Site, id: str) -> BadSetting:  # noqa: A002 - the field's name
    from difflib import get_close_matches

    near = get_close_matches(id, [c.id for c in site.store.find(limit=1000)], n=3, cutoff=0.6)
    return BadSetting(
        f"No case is known as {id!r}.",
        help=f"Did you mean {' or '.join(near)}?" if near else "`argus case ls` lists the cases.",
    )


def _counted(counts: Mapping[str, int]) -> str:
    if not counts:
        return "There are no cases yet: confirm a batch with `argus case confirm`, or `argus case import` a file."
    return "Cases: " + ", ".join(f"{platform} {count:,}" for platform, count in counts.items()) + "."


def _short_list(texts: Sequence[str], most: int = 4) -> str:
    distinct = list(dict.fromkeys(texts))
    more = f" and {len(distinct) - most} more" if len(distinct) > most else ""
    return ", ".join(distinct[:most]) + more


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def cases_told(count: int) -> str:
    """A number of cases in words."""
    return "1 case" if count == 1 else f"{count:,} cases"


def bad_rows_told(bad: Sequence["BadRow"]) -> list[str]:
    """The first rows that cannot be used, a line each."""
    more = [f"and {len(bad) - SHOWN_ROWS:,} more"] if len(bad) > SHOWN_ROWS else []
    return [*map(str, bad[:SHOWN_ROWS]), *more]
