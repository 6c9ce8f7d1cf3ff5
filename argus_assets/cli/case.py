"""`argus case`: diagnoses that people confirmed or corrected, the memory that later diagnoses read."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from argus_assets.cli import LazyGroup
from argus_assets.cli.context import Context, connected
from argus_assets.cli.options import home_option, json_option
from argus_assets.cli.output import counted, echo, print_json, progress, shortened, table, terminal
from argus_assets.common.texts import rich_text
from argus_assets.errors import BadSetting
from argus_assets.pipeline import DROP

if TYPE_CHECKING:
    from argus_assets.adapters.postgres.cases import PostgresCaseStore
    from argus_assets.diagnosis.model import Diagnosis, Evidence
    from argus_assets.diagnosis.ports import Case, CaseQuery
    from argus_assets.diagnosis.retrieval import Found

SHOWN_CASES: Final = 20
MAX_CODES: Final = 4
FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(cls=LazyGroup, commands_at={"import": "argus_assets.cli.case_files:import_"})
def case() -> None:
    """Confirm diagnoses, and manage the cases that later ones are compared with.

    A case is a drive whose cause a person knows. The answer of a model alone never becomes one.
    """


@dataclass(frozen=True, slots=True)
class Site:
    """The running (or configured) Argus with its cases."""

    context: Context
    store: "PostgresCaseStore"

    def titles(self) -> dict[str, str]:
        """Return the titles of all known causes, of the catalogue and of cases, by identifier."""
        from argus_assets.diagnosis.vehicle.catalogue import load_catalogue

        return {**self.store.causes(), **load_catalogue().titles()}


@contextmanager
def opened(home: Path | None) -> Generator[Site]:
    """Connect to Argus and its cases."""
    from argus_assets.adapters.embeddings import embedder_of
    from argus_assets.adapters.postgres.cases import PostgresCaseStore

    with connected(home) as context:
        yield Site(context, PostgresCaseStore(context.database, embedder_of(context.settings)))


@case.command()
@click.argument("batch")
@click.option("--cause", help="What it really was: a known cause (default: the diagnosis was right).")
@click.option("--new-cause", is_flag=True, help="Accept a --cause that is not known yet; requires --title.")
@click.option("--title", help="Title of a new cause, in plain words.")
@click.option("--fix", help="What helped, at most 200 characters.")
@click.option("--note", help="Anything else, at most 200 characters.")
@click.option("--by", help="Who confirms it.")
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
    """Confirm the diagnosis of BATCH, or correct it with --cause.

    BATCH is a partition key, VEHICLE/BATCH, or a batch id that only one vehicle has. Confirming it again replaces the
    earlier case. Texts are stripped of VINs, positions and mail addresses.
    """
    from argus_assets.diagnosis.confirm import confirm as confirm_diagnosis

    with opened(home) as site:
        partition = site.context.partition_of(batch)
        evidence, diagnosis = _diagnosed(site.context, partition)
        made = confirm_diagnosis(
            evidence,
            diagnosis,
            partition=partition,
            recorded_at=_recorded_at(site.context, partition),
            titles=site.titles(),
            now=datetime.now(UTC),
            cause=cause,
            title=title,
            may_be_new=new_cause,
            by=by,
            fix=fix,
            note=note,
        )
        before = site.store.get(made.id)
        site.store.add([made])
        total = sum(site.store.counts().values())
    if made.predicted_cause == made.cause:
        comparison = f"as diagnosed ({made.predicted_mode}, {made.predicted_confidence:.0%} sure)"
    elif made.predicted_cause is None:
        comparison = "where the diagnosis named no cause"
    else:
        comparison = (
            f"not {made.predicted_cause} as diagnosed ({made.predicted_mode}, {made.predicted_confidence:.0%} sure)"
        )
    echo(f"{made.id}: {made.cause} ({made.title}), {comparison}.")
    if before is not None:
        echo(f"Replaces the case of {before.confirmed_at:%Y-%m-%d}: {before.cause}.")
    codes = ", ".join(dict.fromkeys(c.code for c in made.codes))
    echo(f"Diagnoses of {made.platform} drives with {codes} will find it. Cases: {total:,}.")


@case.command()
@click.argument("file", type=FILE)
@home_option
def export(file: Path, home: Path | None) -> None:
    """Write all cases to FILE (.jsonl or .csv), which `argus case import` can read."""
    from argus_assets.diagnosis.case_files import format_of, write_cases

    kind = format_of(file.name)
    if kind is None:
        raise BadSetting(f"{file} has an unknown ending.", help="Name it .jsonl (JSON lines) or .csv.")
    with opened(home) as site:
        cases = site.store.find()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(write_cases(cases, kind), encoding="utf-8", newline="")
    echo(f"{counted(len(cases), 'case')} in {file}")


@case.command()
@click.option("--platform", help="Only this vehicle platform.")
@click.option("--cause", help="Only this cause.")
@click.option("--limit", default=SHOWN_CASES, show_default=True, type=click.IntRange(1), help="Maximum number.")
@json_option
@home_option
def ls(platform: str | None, cause: str | None, limit: int, as_json: bool, home: Path | None) -> None:
    """List cases, the latest confirmation first."""
    with opened(home) as site:
        found = site.store.find(platform=platform, cause=cause, limit=limit)
        counts = site.store.counts()
    if as_json:
        print_json([c.model_dump(mode="json") for c in found])
        return
    if not found:
        wanted = " and ".join(f"{n} {v}" for n, v in (("platform", platform), ("cause", cause)) if v)
        echo(f"No case of {wanted}. {_summary(counts)}" if wanted else _summary(counts))
        return
    console = terminal()
    columns: Mapping[str, Callable[[Case], str]] = {
        "case": lambda c: c.id,
        "cause": lambda c: c.cause,
        "diagnosed as": _prediction,
        "platform": lambda c: c.platform,
        "release": lambda c: c.release,
        "confirmed": lambda c: f"{c.confirmed_at:%Y-%m-%d}",
        "codes": lambda c: shortened([code.code for code in c.codes], MAX_CODES),
    }
    console.print(_table(list(columns), [[cell(c) for cell in columns.values()] for c in found]))
    total = sum(counts.values())
    if len(found) < total and len(found) == limit:
        echo(f"{len(found):,} of {total:,}; raise --limit to see more.")


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
        print_json(found.model_dump(mode="json"))
        return
    rows = {
        "cause": f"{found.cause} ({found.title})",
        "diagnosed as": "no cause" if found.predicted_cause is None else _prediction(found),
        "fix": found.fix or "-",
        "note": found.note or "-",
        "confirmed": f"{found.confirmed_at:%Y-%m-%d %H:%M} UTC"
        + (f" by {found.confirmed_by}" if found.confirmed_by else ""),
        "drive": f"{found.recorded_at:%Y-%m-%d %H:%M} UTC, platform {found.platform}, release {found.release}",
        "batch": found.partition or "of another installation",
        "signature": found.signature or "unknown",
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
    """Remove one case. Diagnoses that used it stay as they are."""
    with opened(home) as site:
        found = site.store.get(id)
        if found is None or not site.store.remove(id):
            raise _no_case(site, id)
    echo(f"Removed {id} ({found.cause}). Later diagnoses will not use it.")


@case.command()
@click.argument("batch")
@click.option("--limit", default=5, show_default=True, type=click.IntRange(1, 100), help="Maximum number.")
@json_option
@home_option
def similar(batch: str, limit: int, as_json: bool, home: Path | None) -> None:
    """Show which cases a diagnosis of BATCH would get now, and why.

    Similarity is the cosine of the codes' vectors, 0 to 1. Recency falls from 1 for a drive of today to 0.5 for an old
    one. Weight is their product, by which cases are ranked and counted.
    """
    from argus_assets.diagnosis.retrieval import case_query, causes_of

    with opened(home) as site:
        partition = site.context.partition_of(batch)
        evidence, _ = _diagnosed(site.context, partition)
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
        print_json(document)
        return
    _print_similar(partition, query, found, votes, counts, limit)


@case.command()
@home_option
def reindex(home: Path | None) -> None:
    """Recompute the vectors of all cases, after a change of ARGUS_EMBEDDING_MODEL or of many cases."""
    with opened(home) as site, progress("cases", sum(site.store.counts().values())) as advance:
        made = site.store.reindex(on_written=advance)
        method = site.store.method
    by = "code counts" if method == "codes" else f"the embedding model {method}"
    echo(f"Vectors of {counted(made, 'case')} made by {by}.")


# ---------------------------------------------------------------------------------------------- inside


def _diagnosed(context: Context, partition: str) -> "tuple[Evidence, Diagnosis]":
    from pydantic import ValidationError

    if not context.batches.has_diagnosis(partition):
        raise BadSetting(
            f"Batch {partition} has no diagnosis yet.", help=f"See its state with `argus status {partition}`."
        )
    try:
        return context.batches.evidence(partition), context.batches.diagnosis(partition)
    except ValidationError as error:
        raise BadSetting(
            f"The diagnosis of batch {partition} was made by another version of Argus.",
            help="Materialise its asset `diagnosis` again, in the Dagster UI.",
        ) from error


def _recorded_at(context: Context, partition: str) -> datetime:
    from argus_assets.event_log.queries import latest_digest

    digest = latest_digest(context.instance, DROP, partition)
    if digest is None:
        raise BadSetting(
            f"Dagster has no manifest of batch {partition}.", help="Drop it with its manifest (docs/drop.md)."
        )
    return context.batches.manifest(partition, digest).recorded_from


def _print_similar(
    partition: str,
    query: "CaseQuery",
    found: "Found",
    votes: Sequence[tuple[str, float]],
    counts: Mapping[str, int],
    limit: int,
) -> None:

    codes = shortened([c.code for c in query.codes], 10) or "no codes"
    echo(f"{partition}: platform {query.platform}, release {query.release}, {codes}")
    if not found.cases:
        if not query.codes:
            echo("A drive without codes resembles no case.")
        else:
            echo(f"No case of platform {query.platform} shares a code with it. {_summary(counts)}")
        return
    rows = [
        [
            c.id,
            c.cause,
            f"{c.similarity:.2f}",
            f"{c.weight / c.similarity:.2f}" if c.similarity else "-",
            f"{c.weight:.2f}",
            shortened(c.shared_codes, MAX_CODES) or "-",
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
        where = f"all releases, since fewer than {counted(limit, 'case')} near {query.release} are similar enough"
    echo(f"Compared by {by}, with cases of {where}.")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> object:
    made = table(*columns, right=right)
    for row in rows:
        made.add_row(*map(rich_text, row))
    return made


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


def _summary(counts: Mapping[str, int]) -> str:
    if not counts:
        return "There are no cases yet: confirm a batch with `argus case confirm`, or `argus case import` a file."
    return "Cases: " + ", ".join(f"{platform} {count:,}" for platform, count in counts.items()) + "."


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
