"""`argus rec events`: the faults in recordings, without the platform."""

import json
from pathlib import Path
from typing import Any

import click

SEVERITY_STYLE = {"critical": "bold red", "error": "red", "warning": "yellow", "info": "dim"}


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, one object for each fault.")
def events(files: tuple[Path, ...], as_json: bool) -> None:
    """Find the faults in FILES, taken as one drive: one row for each code of each ECU, the worst first.

    Exits with 1 when nothing could be read.
    """
    import polars as pl

    from argus_assets.faults.dictionary import describe
    from argus_assets.faults.finding import find_events
    from argus_assets.recordings.reading import read_recording

    read = [(path, *read_recording(path)) for path in files]
    tables = [
        pl.concat([getattr(batch, name).lazy().with_columns(recording=pl.lit(path.name)) for path, batch, _ in read])
        for name in ("frames", "logs", "diagnostics")
    ]
    findings = find_events(*tables)
    faults = (
        findings.events.sort("first_seen", maintain_order=True)
        .with_columns(badness=pl.col("severity").to_physical())
        .group_by("code", "source", "ecu", "channel", maintain_order=True)
        .agg(
            pl.col("severity", "severity_rule").get(pl.col("badness").arg_max()),
            pl.col("badness").max(),
            pl.col("message", "recording", "frame", "payload_hex").first(),
            occurrences=pl.len(),
            frame_count=pl.col("frame_count").sum(),
            active_s=pl.col("active_s").sum(),
            first_seen_ns=pl.col("first_seen").min().dt.timestamp("ns"),
            last_seen_ns=pl.col("last_seen").max().dt.timestamp("ns"),
        )
        .sort("badness", "first_seen_ns", descending=[True, False], maintain_order=True)
    )
    documents = [_document(row, describe(row["code"]).text) for row in faults.iter_rows(named=True)]
    unread = [(path, summary) for path, _, summary in read if summary.frames == 0 and summary.problems]
    if as_json:
        click.echo(json.dumps(documents, indent=2))
    else:
        frames = sum(summary.frames for _, _, summary in read)
        _print(documents, findings.notes, frames)
    for path, summary in unread:
        problem = summary.problems[0]
        click.secho(
            f"{path}: {problem.kind}: expected {problem.expected}, found {problem.actual}. {problem.help}",
            fg="yellow",
            err=True,
        )
    if len(unread) == len(read):
        raise SystemExit(1)


def _document(row: dict[str, Any], description: str) -> dict[str, Any]:
    return {
        "code": row["code"],
        "source": row["source"],
        "ecu": row["ecu"],
        "channel": row["channel"],
        "severity": row["severity"],
        "severity_rule": row["severity_rule"],
        "occurrences": row["occurrences"],
        "frame_count": row["frame_count"],
        "active_s": row["active_s"],
        "first_seen_ns": row["first_seen_ns"],
        "last_seen_ns": row["last_seen_ns"],
        "description": description,
        "message": row["message"],
        "evidence": {"recording": row["recording"], "frame": row["frame"], "payload_hex": row["payload_hex"]},
    }


def _print(documents: list[dict[str, Any]], notes: tuple[str, ...], frames: int) -> None:
    from datetime import UTC, datetime

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not documents:
        console.print(f"No faults found in {frames:,} frames.")
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("severity", "code", "meaning", "ecu", "times", "active s", "first seen (UTC)"):
            table.add_column(column, justify="right" if column in ("times", "active s") else "left", overflow="fold")
        for d in documents:
            first = datetime.fromtimestamp(d["first_seen_ns"] // 10**9, UTC)
            table.add_row(
                Text(d["severity"], style=SEVERITY_STYLE[d["severity"]]),
                Text(d["code"]),
                Text(d["description"]),
                Text(d["ecu"]),
                str(d["occurrences"]),
                f"{d['active_s']:,.1f}",
                f"{first:%Y-%m-%d %H:%M:%S}",
            )
        console.print(table)
    for note in notes:
        console.print(Text(note, style="dim"))
