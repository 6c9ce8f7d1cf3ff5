"""`argus rec events`: the faults in recordings, without a running Argus."""

from collections.abc import Sequence
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
from argus_assets.cli.output import counted, echo, print_json, table, terminal
from argus_assets.cli.reading import read_files
from argus_assets.common.texts import rich_text

if TYPE_CHECKING:
    from argus_assets.faults.config import FaultConfig
    from argus_assets.faults.detection import Findings
    from argus_assets.faults.dictionary.lookup import Dictionary
    from argus_assets.recordings.model import Limits, RecordingSummary
    from argus_assets.recordings.registry import Decoders

_STYLES: Final = {"critical": "bold red", "error": "red", "warning": "yellow", "info": "dim"}
_STATUS_WORDS: Final = {
    "active": "", "confirmed": "stored", "pending": "pending", "permanent": "permanent", "previously_active": "past",
    "occurred": "",
}  # fmt: skip


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
@decoders_option
@faults_option
@limits_option
def events(
    files: tuple[Path, ...],
    as_json: bool,
    declarations: Path | None,
    faults: Path | None,
    limits_file: Path | None,
) -> None:
    """Find the faults in FILES, taken as one drive: a row for each code of each ECU, the worst first.

    What could not be read is reported on standard error. Exits with 1 if nothing could be read of one of the files.
    """
    config = load_faults(faults)
    findings, summaries = _find(files, load_decoders(declarations), config, load_limits(limits_file))
    found = _documents(findings, config.dictionary)
    if as_json:
        print_json(found)
    elif any(_was_read(s) for s in summaries):
        _print_faults(found, frames=sum(s.frames for s in summaries))
    for path, summary in zip(files, summaries, strict=True):
        for problem in summary.problems:
            line = f"{path}: {problem.kind}: expected {problem.expected}, found {problem.actual}. {problem.help}"
            echo(line.rstrip(), fg="yellow", err=True)
    for note in findings.notes:
        echo(note, fg="yellow", err=True)
    if not all(_was_read(s) for s in summaries):
        raise SystemExit(1)


def _was_read(summary: "RecordingSummary") -> bool:
    return summary.frames > 0 or not summary.problems


def _find(
    files: Sequence[Path], decoders: "Decoders", config: "FaultConfig", limits: "Limits"
) -> "tuple[Findings, list[RecordingSummary]]":
    """Parse to temporary Parquet parts, so that memory does not grow with the recordings.

    Raises:
        BadRecording: A file cannot be opened.
        Unavailable: There is no space for the parts.
    """
    from argus_assets.containment.client import pool
    from argus_assets.faults.contained import find_contained

    with read_files(files, decoders=decoders, limits=limits) as parts:
        summaries = [part.summary for part in parts]
        named = [(name, part.folder) for name, part in zip(_names(files), parts, strict=True)]
        with pool([folder for _, folder in named]) as processes, processes.process() as process:
            found = find_contained(process, named, frames=sum(s.frames for s in summaries), config=config)
    return found, summaries


def _names(files: Sequence[Path]) -> list[str]:
    """Return the file names; whole paths where two files have the same name."""
    names = [path.name for path in files]
    return names if len(set(names)) == len(names) else [str(path) for path in files]


def _documents(findings: "Findings", dictionary: "Dictionary") -> list[dict[str, Any]]:
    """Return a JSON object for each code of each ECU on each channel: worst first, then earliest first."""
    import polars as pl

    # Events come in order of time, so that "first" is the earliest.
    faults = (
        findings.events.group_by("code", "source", "ecu", "channel", maintain_order=True)
        .agg(
            pl.col("severity", "severity_rule").get(pl.col("severity").to_physical().arg_max()),
            pl.col("message", "recording", "frame", "payload_hex").first(),
            pl.col("status").last(),
            pl.col("frame_count").sum(),
            occurrences=pl.len(),
            first_seen_ns=pl.col("first_seen").first().dt.timestamp("ns"),
            last_seen_ns=pl.col("last_seen").max().dt.timestamp("ns"),
        )
        .sort("severity", "first_seen_ns", descending=[True, False], maintain_order=True)
    )
    return [
        {
            "code": row["code"],
            "source": row["source"],
            "ecu": row["ecu"],
            "channel": row["channel"],
            "occurrences": row["occurrences"],
            "status": row["status"],
            "frame_count": row["frame_count"],
            "first_seen_ns": row["first_seen_ns"],
            "last_seen_ns": row["last_seen_ns"],
            "severity": row["severity"],
            "severity_rule": row["severity_rule"],
            "description": entry.text,
            "causes": entry.causes,
            "checks": entry.checks,
            "must_not": entry.must_not,
            "message": row["message"],
            "evidence": {key: row[key] for key in ("recording", "frame", "payload_hex")},
        }
        for row in faults.iter_rows(named=True)
        for entry in [dictionary.describe(row["code"])]
    ]


def _print_faults(faults: Sequence[dict[str, Any]], *, frames: int) -> None:
    from datetime import UTC, datetime

    if not faults:
        echo(f"no faults found in {counted(frames, 'frame')}")
        return
    # Codes stay whole, to be searched for. In a narrow terminal, meaning and ECU take several lines.
    columns = ("severity", "code", "", "meaning", "ECU", "times", "first seen")
    made = table(*columns, right=["times"], whole=set(columns) - {"meaning", "ECU"})
    made.columns[columns.index("meaning")].min_width = 16
    first_seen = [datetime.fromtimestamp(fault["first_seen_ns"] // 10**9, UTC) for fault in faults]
    for fault, moment in zip(faults, first_seen, strict=True):
        made.add_row(
            rich_text(fault["severity"], style=_STYLES[fault["severity"]]),
            # Texts of a recording are shown as they are, not taken for markup.
            rich_text(fault["code"]),
            _STATUS_WORDS[fault["status"]],
            *(rich_text(fault[key]) for key in ("description", "ecu")),
            str(fault["occurrences"]),
            f"{moment:%H:%M:%S}",
        )
    console = terminal()
    console.print(made)
    console.print(f"First seen in UTC, from {min(first_seen):%Y-%m-%d %H:%M:%S}.", style="dim")
