"""`argus diagnose`: recordings in, root causes out, without a running Argus."""

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from argus_assets.cli.options import (
    decoders_option,
    faults_option,
    json_option,
    limits_option,
    load_decoders,
    load_faults,
    load_limits,
)
from argus_assets.cli.output import counted, echo, print_error, print_json, progress, table, terminal
from argus_assets.common.texts import rich_text

if TYPE_CHECKING:
    from argus_assets.diagnosis.local import LocalDrive
    from argus_assets.diagnosis.model import RootCause
    from argus_assets.faults.dictionary.lookup import Entry

_STYLES: Final = {"critical": "bold red", "error": "red", "warning": "yellow", "info": "dim"}
_DRIVABLE: Final = {"yes": "may be driven", "with_care": "drive with care", "no": "do not drive"}
_NOTHING_FOUND, _FAULTS_FOUND, _NOT_READ = 0, 1, 2
"""Exit codes."""

_MAX_ROWS: Final = 20
"""Of each table on a terminal; `--json` and `--html` have all."""


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--vehicle-platform",
    metavar="NAME",
    help="Kind of vehicle, as a manifest names it: truck, car, av or a name of your own (default: inferred from the traffic).",
)
@click.option("--html", "page", type=click.Path(path_type=Path, dir_okay=False), help="Write the page to this file.")
@json_option
@decoders_option
@faults_option
@limits_option
def diagnose(
    paths: tuple[Path, ...],
    vehicle_platform: str | None,
    page: Path | None,
    as_json: bool,
    declarations: Path | None,
    faults: Path | None,
    limits_file: Path | None,
) -> None:
    """Find the root cause of the faults in PATHS: recordings, or folders of them, taken as one drive.

    Exits with 0 if nothing was found, 1 if there are faults, and 2 if a recording could not be read.
    """
    from argus_assets.errors import ArgusError

    try:
        drive, describe = _diagnose(paths, vehicle_platform, declarations, faults, limits_file)
        if page is not None:
            _write_page(page, drive, describe)
    except ArgusError as error:
        print_error(error)
        raise SystemExit(_NOT_READ) from error
    if as_json:
        print_json(_document(drive))
    else:
        _print(drive, describe)
    for note in _notes(drive):
        echo(note, fg="yellow", err=True)
    if page is not None:
        echo(f"The page is in {page}.", err=True)
    raise SystemExit(_exit_code(drive))


def _diagnose(
    paths: Sequence[Path],
    vehicle_platform: str | None,
    declarations: Path | None,
    faults: Path | None,
    limits_file: Path | None,
) -> "tuple[LocalDrive, Callable[[str], Entry]]":
    from datetime import UTC, datetime

    from argus_assets.diagnosis.local import diagnose_files
    from argus_assets.drop.upload import collect_files

    named = {path.name for path in paths if path.is_file()}
    files = [(file.name, file.path, file.name in named) for file in collect_files(paths)]
    config = load_faults(faults)
    decoders, limits = load_decoders(declarations), load_limits(limits_file)
    with progress("reading", len(files)) as advance:
        drive = diagnose_files(
            files,
            now=datetime.now(UTC),
            vehicle_platform=vehicle_platform,
            decoders=decoders,
            limits=limits,
            faults=config,
            on_read=lambda _: advance(1),
        )
    return drive, config.dictionary.describe


def _exit_code(drive: "LocalDrive") -> int:
    if "failed" in drive.recordings["state"] or drive.recordings.is_empty():
        return _NOT_READ
    return _FAULTS_FOUND if drive.diagnosis.root_causes else _NOTHING_FOUND


def _notes(drive: "LocalDrive") -> list[str]:
    """Return what was not read, assumed or left out, a sentence each."""
    problems = [
        f"{row['recording']}: {row['kind']}: expected {row['expected']}, found {row['actual']}. {row['help']}".rstrip()
        for row in drive.problems.iter_rows(named=True)
    ]
    inferred = [f"Vehicle platform: {drive.vehicle_platform or 'unknown'}; {drive.inferred_from}."]
    others = [f"{name} is no recording of a known format, and was left out." for name in drive.others]
    return [*(inferred if drive.inferred_from else []), *others, *problems, *drive.notes, *drive.diagnosis.notes]


def _document(drive: "LocalDrive") -> dict[str, Any]:
    diagnosis = drive.diagnosis
    columns = ("code", "source", "ecu", "ecu_name", "status", "severity", "message")
    return {
        "verdict": diagnosis.verdict,
        "summary": diagnosis.summary,
        "severity": diagnosis.severity.value,
        "drivable": diagnosis.drivable,
        "mode": diagnosis.mode,
        "coverage": diagnosis.coverage,
        "vehicle_platform": drive.vehicle_platform or None,
        "root_causes": [
            {
                "cause": cause.cause,
                "title": cause.title,
                "confidence": cause.confidence,
                "explanation": cause.explanation,
                "actions": list(cause.actions),
            }
            for cause in diagnosis.root_causes
        ],
        "checks": list(diagnosis.checks),
        "events": drive.events.select(columns).to_dicts(),
        "notes": _notes(drive),
    }


# ---------------------------------------------------------------------------------------------- the terminal


def _print(drive: "LocalDrive", describe: "Callable[[str], Entry]") -> None:
    diagnosis = drive.diagnosis
    echo(diagnosis.verdict, bold=True)
    if diagnosis.root_causes:
        echo(
            f"{diagnosis.severity.value}, {_DRIVABLE[diagnosis.drivable]}",
            fg="red" if diagnosis.drivable == "no" else None,
        )
    _paragraph(diagnosis.coverage)
    if diagnosis.root_causes:
        _print_causes(diagnosis.root_causes)
        _paragraph(diagnosis.root_causes[0].explanation, before=True)
        checks = diagnosis.checks or diagnosis.root_causes[0].actions
        echo("\nWhat to check, in order:" if checks else "")
        for number, check in enumerate(checks, 1):
            _paragraph(check, mark=f"{number}. ")
    if drive.statistics.error_stats.height:
        echo()
        _print_codes(drive, describe)


def _print_causes(causes: "Sequence[RootCause]") -> None:
    rows = table("", "root cause", right=[""])
    for cause in causes:
        rows.add_row(f"{cause.confidence:.0%}", rich_text(cause.title))
    echo()
    terminal().print(rows)


def _print_codes(drive: "LocalDrive", describe: "Callable[[str], Entry]") -> None:
    """Print two lines for each code: codes and units stay whole, however narrow the terminal is."""
    stats = drive.statistics.error_stats.sort("rank")
    for row in stats.head(_MAX_ROWS).iter_rows(named=True):
        times = f", {row['occurrences']:,} times" if row["occurrences"] > 1 else ""
        line = rich_text(f"{row['severity']:<9}", style=_STYLES[row["severity"]])
        line.append_text(rich_text(row["code"], style="bold"))
        status = row["status"].replace("_", " ")
        line.append_text(rich_text(f"  {row['ecu']}, {status} from {row['seconds_into_drive']:.1f} s{times}"))
        terminal(soft_wrap=True).print(line)
        _paragraph(describe(row["code"]).text, mark=" " * 9)
    if stats.height > _MAX_ROWS:
        echo(f"and {counted(stats.height - _MAX_ROWS, 'code')} more: --json and --html have all")


def _paragraph(text: str, *, mark: str = "", before: bool = False) -> None:
    """Print a text in lines of the terminal's width; whole where no terminal is."""
    console = terminal()
    width = min(console.width, 100) if console.is_terminal else 0
    lines = textwrap.wrap(text, width - len(mark)) if width > len(mark) + 20 else [text]
    if before:
        echo()
    for number, line in enumerate(lines):
        echo(f"{mark if number == 0 else ' ' * len(mark)}{line}")


def _write_page(path: Path, drive: "LocalDrive", describe: "Callable[[str], Entry]") -> None:
    """Write the page of the drive.

    Raises:
        BadRecording: Nothing was read that a page could show.
        BadSetting: The file cannot be written.
    """
    from datetime import datetime

    from argus_assets.common.atomic_file import write_file
    from argus_assets.diagnosis.local import DRIVE
    from argus_assets.errors import BadRecording, BadSetting
    from argus_assets.report.page import PageBatch, render_page

    first, last = drive.recordings["first_timestamp"].min(), drive.recordings["last_timestamp"].max()
    if not (isinstance(first, datetime) and isinstance(last, datetime)):
        raise BadRecording("There is no page: no frame was read.", help="`argus rec info` shows what is in the files.")
    text = render_page(
        batch=PageBatch(
            partition_key=DRIVE,
            vehicle_id="",
            batch_id="",
            release="",
            platform=drive.vehicle_platform,
            recorded_from=first,
            recorded_to=last,
        ),
        recordings=drive.recordings,
        problems=drive.problems,
        events=drive.events,
        stats=drive.statistics.error_stats,
        pairs=drive.statistics.pairs,
        totals=drive.statistics.totals,
        speed=drive.statistics.speed,
        diagnosis=drive.diagnosis,
        evidence=drive.evidence,
        describe=describe,
        notes=drive.notes,
    )
    try:
        write_file(path, text.encode())
    except OSError as error:
        raise BadSetting(
            f"The page could not be written to {path}: {error.strerror or error}.", help="Give another file to --html."
        ) from error
