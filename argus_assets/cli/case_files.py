"""`argus case import`: cases from a file."""

from pathlib import Path
from typing import Final

import click

from argus_assets.cli.case import FILE, opened
from argus_assets.cli.options import home_option
from argus_assets.cli.output import counted, echo, progress
from argus_assets.diagnosis.case_files import COLUMNS, BadRow, format_of, near_misses, read_cases
from argus_assets.errors import BadSetting

MAX_FILE_BYTES: Final = 512 * 1024**2
MAX_BAD_ROWS: Final = 20

_HELP = "\n".join(
    [
        "Add the cases of FILE: JSON lines (.jsonl) or CSV with a header (.csv), in UTF-8.",
        "",
        "All rows or none: bad rows are reported with their line, and nothing is added unless --skip-bad is given. A case",
        "with the id of another replaces it. VINs are kept out: a row is bad if its id, batch or a code looks like a VIN,",
        "and texts are stripped of VINs, positions and mail addresses, and cut at 200 characters.",
        "",
        "\b",
        "Columns:",
        *(f"  {name:<21} {meaning}" for name, meaning in COLUMNS.items()),
        "",
        "In JSON lines, codes may also be an array of objects with code, ecu and occurrences.",
    ]
)


@click.command("import", help=_HELP)
@click.argument("file", type=FILE)
@click.option("--skip-bad", is_flag=True, help="Add the good rows and skip the bad ones, which are reported.")
@home_option
def import_(file: Path, skip_bad: bool, home: Path | None) -> None:
    """Read the file, check its rows, and add their cases."""
    kind = format_of(file.name)
    if kind is None:
        raise BadSetting(f"{file} has an unknown ending.", help="Expected .jsonl (JSON lines) or .csv.")
    text = _text(file)
    with opened(home) as site:
        titles = site.titles()
        rows = list(read_cases(text, kind, titles))
        bad = [row for row in rows if isinstance(row, BadRow)]
        cases = [row for row in rows if not isinstance(row, BadRow)]
        for row in bad[:MAX_BAD_ROWS]:
            echo(f"{file.name}: {row}", fg="yellow", err=True)
        if len(bad) > MAX_BAD_ROWS:
            echo(f"{file.name}: and {len(bad) - MAX_BAD_ROWS:,} more", fg="yellow", err=True)
        if bad and not skip_bad:
            raise BadSetting(
                f"{len(bad):,} of {counted(len(rows), 'row')} in {file} cannot be used; nothing was added.",
                help="Correct them (columns: `argus case import --help`), or skip them with --skip-bad.",
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
    skipped = f"; {counted(len(bad), 'row')} skipped" if bad else ""
    echo(f"Added {counted(new, 'case')}, replaced {len(cases) - new:,}{skipped}. Cases: {total:,}.")


def _text(file: Path) -> str:
    try:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise BadSetting(
                f"{file} has {size:,} bytes, expected at most {MAX_FILE_BYTES:,}.", help="Split it into several files."
            )
        return file.read_bytes().decode("utf-8-sig")  # spreadsheets begin a file with a mark
    except UnicodeDecodeError as error:
        raise BadSetting(f"{file} is not UTF-8: byte {error.start}.", help="Save it as UTF-8.") from error
    except OSError as error:
        raise BadSetting(f"{file} cannot be read: {error.strerror}.", help="Name a file of cases.") from error
