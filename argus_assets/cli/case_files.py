"""`argus case import`: cases from a file."""

from pathlib import Path

import click

from argus_assets.cli.case import FILE, bad_rows_told, cases_told, opened
from argus_assets.cli.output import echo
from argus_assets.cli.progress import progress
from argus_assets.cli.status import home_option
from argus_assets.diagnosis.case_files import COLUMNS, BadRow, format_of, near_misses, read_cases
from argus_assets.errors import BadSetting

MAX_FILE_BYTES = 512 * 1024**2

_HELP = "\n".join(
    [
        "Add the cases of FILE: JSON lines (.jsonl) or CSV with a header (.csv), in UTF-8.",
        "",
        "All rows or none: a row that cannot be used is told with its line, and nothing is added unless --skip-bad is",
        "given. A case with the id of another replaces it. A VIN never gets in: an id, batch or code that looks like one",
        "makes its row unusable, and texts are stripped of VINs, positions and mail addresses, and cut at 200 characters.",
        "",
        "\b",
        "Columns:",
        *(f"  {name:<21} {told}" for name, told in COLUMNS.items()),
        "",
        "In JSON lines, codes may also be an array of objects with code, ecu and occurrences.",
    ]
)


@click.command("import", help=_HELP)
@click.argument("file", type=FILE)
@click.option("--skip-bad", is_flag=True, help="Add the rows that can be used, and tell the others.")
@home_option
def import_(file: Path, skip_bad: bool, home: Path | None) -> None:
    """Read, check and add."""
    kind = format_of(file.name)
    if kind is None:
        raise BadSetting(f"{file} has an unknown ending.", help="Expected .jsonl (JSON lines) or .csv.")
    text = _text(file)
    with opened(home) as site:
        titles = site.titles()
        rows = list(read_cases(text, kind, titles))
        bad = [row for row in rows if isinstance(row, BadRow)]
        cases = [row for row in rows if not isinstance(row, BadRow)]
        for line in bad_rows_told(bad):
            echo(f"{file.name}: {line}", fg="yellow", err=True)
        if bad and not skip_bad:
            raise BadSetting(
                f"{len(bad):,} of {len(rows):,} rows of {file} cannot be used; nothing was added.",
                help="Correct them (columns: `argus case import --help`), or add the others with --skip-bad.",
            )
        before = sum(site.store.counts().values())
        with progress("cases", len(cases)) as advance:
            site.store.add(cases, on_written=advance)
        total = sum(site.store.counts().values())
    for cause in sorted({case.cause for case in cases} - titles.keys()):
        near = near_misses(cause, titles)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        echo(f"New cause {cause}{meant}", fg="yellow", err=True)
    new = total - before
    left_out = f"; {len(bad):,} row{'s' if len(bad) > 1 else ''} left out" if bad else ""
    echo(f"Added {cases_told(new)}, replaced {len(cases) - new:,}{left_out}. Cases: {total:,}.")


def _text(file: Path) -> str:
    try:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise BadSetting(
                f"{file} has {size:,} bytes, expected at most {MAX_FILE_BYTES:,}.", help="Import it in several files."
            )
        return file.read_bytes().decode("utf-8-sig")  # spreadsheets begin a file with a mark
    except UnicodeDecodeError as error:
        raise BadSetting(f"{file} is not UTF-8: byte {error.start}.", help="Save it as UTF-8.") from error
    except OSError as error:
        raise BadSetting(f"{file} cannot be read: {error.strerror}.", help="Name a file of cases.") from error
